"""What an endpoint's answer means."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from sentinel.channels import answers
from sentinel.errors import EndpointGone, SendLater, SendRefused

NOW = 1_764_000_000.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (100, SendRefused),
        (300, SendRefused),
        (301, SendRefused),
        (302, SendRefused),
        (304, SendRefused),
        (307, SendRefused),
        (308, SendRefused),
        (400, SendRefused),
        (401, SendRefused),
        (403, SendRefused),
        (404, SendRefused),
        (422, SendRefused),
        (451, SendRefused),
        (408, SendLater),
        (425, SendLater),
        (429, SendLater),
        (500, SendLater),
        (502, SendLater),
        (503, SendLater),
        (504, SendLater),
        (599, SendLater),
        (410, EndpointGone),
    ],
)
def test_every_status_but_2xx_is_a_failure_of_one_kind(status: int, kind: type) -> None:
    failed = answers.failure(status, {}, b"", now=NOW)

    assert type(failed) is kind
    assert failed.http_status == status


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("86400", 3600.0),
        ("9" * 90, 3600.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW + 10 * 86400, usegmt=True), 3600.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("-5", None),
        ("1.5", None),
        ("١٢٠", None),
        ("soon", None),
        ("Fri, 99 Foo 99999 99:99:99 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_clamped_to_an_hour(
    header: str | None, seconds: float | None
) -> None:
    assert answers.retry_after(header, now=NOW) == seconds


def test_the_reason_is_the_beginning_of_the_answer_as_one_harmless_line() -> None:
    answer = b"no\r\nsuch\x1b[31m hook\x00 \xe2\x80\xae\xff" + b"x" * 5000

    detail = answers.failure(400, {}, answer, now=NOW).detail

    assert detail.startswith("HTTP 400: no such [31m hook")
    assert detail.isprintable()
    assert len(detail) <= len("HTTP 400: ") + answers.MAX_EXCERPT


def test_a_compressed_answer_is_not_quoted() -> None:
    assert answers.failure(500, {"content-encoding": "gzip"}, b"\x1f\x8b...", now=NOW).detail == "HTTP 500"


@pytest.mark.parametrize(
    ("found", "seconds"),
    [(0, 0.0), (7, 7.0), (0.25, 0.25), (1e9, 3600.0), (-1, None), (True, None), ("7", None), (None, None)],
)
def test_seconds_in_the_body_of_an_answer_are_read_and_clamped(found: object, seconds: float | None) -> None:
    assert answers.seconds_of(found) == seconds
