"""Who shares a budget, and how long a server asked us to wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.fetch.politeness import MAX_RETRY_AFTER, parse_retry_after, rate_key

NOW = 1_750_000_000.0  # 2025-06-15T15:06:40Z


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://Shop.Example.com/a", "shop.example.com"),
        ("http://shop.example.com.:8080/b?c", "shop.example.com"),
        ("https://例え.jp/", "xn--r8jz45g.jp"),
        ("http://[2606:4700:0::1]/", "2606:4700::1"),
        ("http://127.0.0.1:34567/", "127.0.0.1"),
        ("http://localhost:34567/", "localhost"),
        ("nonsense", "invalid"),
        ("http://2130706433/", "invalid"),
        ("", "invalid"),
    ],
)
def test_every_spelling_of_a_host_is_one_key(url: str, key: str) -> None:
    assert rate_key(url) == key


@given(st.text(max_size=80))
def test_any_text_has_a_key_of_bounded_length(text: str) -> None:
    assert 0 < len(rate_key("http://" + text)) <= 253


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("abc", None),
        ("1.5", None),
        ("-1", None),
        ("+1", None),
        ("１０", None),
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("00030", 30.0),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 10_000, MAX_RETRY_AFTER),
        ("Sun, 15 Jun 2025 15:07:40 GMT", 60.0),
        ("Sunday, 15-Jun-25 15:07:40 GMT", 60.0),
        ("Sun Jun 15 15:07:40 2025", 60.0),
        ("Sun, 15 Jun 2025 17:07:40 +0200", 60.0),
        ("Sun, 15 Jun 2014 15:07:40 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Fri, 99 Dec 2025 99:99:99 GMT", None),
        ("2025-06-15T15:07:40Z", None),
    ],
)
def test_a_retry_after_is_read_in_both_forms_and_kept_within_a_day(
    value: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.text(max_size=60))
def test_any_text_is_a_wait_within_a_day_or_none(text: str) -> None:
    wait = parse_retry_after(text, now=NOW)
    assert wait is None or 0 <= wait <= MAX_RETRY_AFTER
