"""Our signatures against the reference verifier."""

from __future__ import annotations

import base64
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from sentinel.channels import SigningKey, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def headers(signature: str, message_id: str, timestamp: int) -> dict[str, str]:
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def test_the_example_of_the_specification_is_signed_as_there() -> None:
    # standard-webhooks/libraries/python/tests: payload, id, time and secret
    signature = sign(
        [SigningKey.parse(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    secret=st.binary(min_size=24, max_size=64),
    body=st.text(max_size=200),
    message_id=st.from_regex(r"[A-Za-z0-9_~:-]{1,60}", fullmatch=True),
)
def test_the_reference_verifier_accepts_what_we_sign(secret: bytes, body: str, message_id: str) -> None:
    text = "whsec_" + base64.b64encode(secret).decode()
    now = int(time.time())

    signature = sign([SigningKey.parse(text)], message_id, now, body.encode())

    Webhook(text).verify(body, headers(signature, message_id, now), json_parse=False)


def test_while_rotating_holders_of_either_secret_accept() -> None:
    now = int(time.time())
    both = sign([SigningKey.parse(SECRET), SigningKey.parse(OTHER)], "m", now, b"{}")

    for secret in (SECRET, OTHER):
        Webhook(secret).verify("{}", headers(both, "m", now))


@pytest.mark.parametrize(
    ("message_id", "shift", "body"), [("other", 0, "{}"), ("m", 1, "{}"), ("m", 0, "{} ")]
)
def test_another_id_time_or_body_is_not_what_was_signed(message_id: str, shift: int, body: str) -> None:
    now = int(time.time())
    signature = sign([SigningKey.parse(SECRET)], "m", now, b"{}")

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(body, headers(signature, message_id, now + shift))


@pytest.mark.parametrize("text", [SECRET, SECRET.removeprefix("whsec_"), f"  {SECRET}\n", OTHER.rstrip("=")])
def test_a_secret_is_read_as_people_paste_it(text: str) -> None:
    assert SigningKey.parse(text).signature(b"x").startswith("v1,")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_short",
        "whsec_nöt-base64!" * 3,
        "whsec_" + "A" * 200,
        "hunter2 hunter2 hunter2 hunter2 hunter2",
    ],
)
def test_a_wrong_secret_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="signing secret") as caught:
        SigningKey.parse(text)

    quoted = text.removeprefix("whsec_")[:6]
    assert not quoted or quoted not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_key_never_shows_itself() -> None:
    key = SigningKey.parse(SECRET)

    assert repr(key) == str(key) == "SigningKey(***)"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_an_id_with_a_dot_is_not_signed() -> None:
    with pytest.raises(ValueError, match="dot"):
        sign([SigningKey.parse(SECRET)], "a.b", 0, b"")
