"""Known secrets are masked however a text writes them."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.credentials import Concealer

SLACK = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/abcdefghijklmnopqrstuvwx"
SMTP = "smtp://robot%40example.com:p%40ss%2Fw0rd!@mail.example.com:587"
TEAMS = "https://x.logic.azure.com/workflows/0123456789abcdef/triggers/manual/paths/invoke?api-version=1&sig=QmFzZTY0U2lnbmF0dXJl"


def knowing(*secrets: str) -> Concealer:
    concealer = Concealer()
    concealer.learn(*secrets)
    return concealer


@pytest.mark.parametrize(
    ("secret", "told", "shown"),
    [
        ("xoxb-1-secret", "bad token xoxb-1-secret!", "bad token ***!"),
        ("xoxb-1-secret", "xoxb-1-secretxoxb-1-secret", "******"),
        ("a/b c+d", json.dumps({"echo": "a/b c+d"}).replace("/", "\\/"), '{"echo": "***"}'),
        ("a/b c+d", f"GET /?k={quote('a/b c+d', safe='')}", "GET /?k=***"),
        ('pass"word', json.dumps('pass"word'), '"***"'),
        ("pässwörd", json.dumps("pässwörd"), '"***"'),
        ("<pass&word>", "<b>&lt;pass&amp;word&gt;</b>", "<b>***</b>"),
        ("hunter22", base64.b64encode(b"hunter22").decode(), "***="),
        ("whsec_MfKQ9r8GKYqrTwjUPD8I", "key MfKQ9r8GKYqrTwjUPD8I", "key ***"),
        (SLACK, f"no such hook: {SLACK}", "no such hook: https://hooks.slack.com***"),
        (SLACK, "POST /services/T0AAAAAAA/B0BBBBBBB/abcdefghijklmnopqrstuvwx", "POST ***"),
        (SLACK, "token abcdefghijklmnopqrstuvwx is gone", "token *** is gone"),
        (SMTP, "535 no p@ss/w0rd! here", "535 no *** here"),
        (SMTP, "535 " + base64.b64encode(b"\0robot@example.com\0p@ss/w0rd!").decode(), "535 ***"),
        (TEAMS, "sig=QmFzZTY0U2lnbmF0dXJl", "sig=***"),
    ],
)  # fmt: skip
def test_a_secret_is_masked(secret: str, told: str, shown: str) -> None:
    assert knowing(secret).conceal(told) == shown


def test_the_host_of_a_secret_url_and_ordinary_words_stay() -> None:
    told = "hooks.slack.com said 404: services at https://mail.example.com are closed"

    assert knowing(SLACK, SMTP, TEAMS).conceal(told) == told


def test_a_secret_that_the_end_cuts_off_is_masked() -> None:
    concealer = knowing("xoxb-123456-secret")

    assert concealer.conceal("HTTP 400: token xoxb-1234") == "HTTP 400: token ***"
    assert concealer.conceal("HTTP 400: token xoxb-") == "HTTP 400: token xoxb-", "as many begin so"


def test_the_query_of_an_address_is_masked_and_its_path_is_not() -> None:
    concealer = Concealer()
    concealer.learn_query("https://hooks.example.com/in/a-long-enough-path?key=0123456789abcdef")

    assert (
        concealer.conceal("/in/a-long-enough-path?key=0123456789abcdef") == "/in/a-long-enough-path?key=***"
    )


def test_of_an_address_the_password_is_masked_and_nothing_else() -> None:
    concealer = Concealer()
    for url in (
        "postgresql://worker:p%40ss-1/@db:5432/sentinel",
        "redis://lonely@cache:6379/0",
        "unix:///run/redis.sock",
    ):
        concealer.learn_login(url)

    assert (
        concealer.conceal("worker p%40ss-1/ p@ss-1/ lonely db cache /run/redis.sock")
        == "worker *** *** *** db cache /run/redis.sock"
    )


@given(st.text(min_size=4, max_size=40), st.text(max_size=60), st.text(max_size=60))
def test_no_text_keeps_a_known_secret(secret: str, before: str, after: str) -> None:
    shown = knowing(secret).conceal(before + secret + after)

    assert secret not in shown or secret in "***" * 9 + before + after


def test_nothing_is_learned_of_nothing() -> None:
    concealer = knowing("", "abc")
    concealer.learn(None)
    concealer.learn_query(None)

    assert concealer.conceal("abc ***") == "abc ***"
    assert repr(concealer) == "<Concealer of 0 forms>"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.credentials.concealer.MAX_FORMS", 100)
    concealer = Concealer()
    for number in range(1000):
        concealer.learn(f"secret-{number:05}")

    assert len(concealer._forms) <= 100
    assert sum(map(len, concealer._by_head.values())) == len(concealer._forms)
    assert concealer.conceal("secret-00999") == "***"
    concealer.learn("secret-00000")
    assert concealer.conceal("secret-00000") == "***"


def test_thousands_of_secrets_do_not_slow_a_line_of_log() -> None:
    concealer = knowing(*(f"{number:06}-{number * 7919:012x}" for number in range(5000)))
    line = "2026-01-01 worker: delivery_ended job_id=abc alert_id=01J channel_id=ops outcome=sent " * 2

    began = time.process_time()
    for _ in range(100):
        concealer.conceal(line)
    each = (time.process_time() - began) / 100

    print(f"concealing {len(line)} characters with 5000 known secrets: {each * 1e6:.0f} us")
    assert each < 0.01
