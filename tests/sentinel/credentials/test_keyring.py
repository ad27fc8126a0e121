"""A sealed value opens with its key, in its place, and nowhere else."""

from __future__ import annotations

import base64
import pickle
import secrets

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sentinel.credentials import Keyring, Place
from sentinel.credentials.keyring import key_id
from sentinel.errors import CredentialUnreadable

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
HERE = Place("acme", "ops", "url")
VALUE = "https://hooks.slack.com/services/T000/B000/XXXXXXXX"


@given(st.text(max_size=300))
def test_what_was_sealed_opens_to_the_same(text: str) -> None:
    ring = Keyring([OLD])

    assert ring.open(ring.seal(text, HERE), HERE) == text


def test_a_sealed_value_tells_its_key_and_nothing_of_the_value() -> None:
    one, other = (Keyring([OLD]).seal(VALUE, HERE) for _ in range(2))

    assert one != other, "equal values are not seen to be equal"
    assert one.startswith(f"v1.{key_id(OLD)}.")
    assert VALUE.encode() not in base64.urlsafe_b64decode(one.split(".")[2])


def test_it_is_aes_256_gcm_as_the_page_says() -> None:
    content = base64.urlsafe_b64decode(Keyring([OLD]).seal(VALUE, HERE).split(".")[2])

    bound = msgspec.json.encode(["sentinel credential v1", "acme", "ops", "url"])

    assert AESGCM(OLD).decrypt(content[:12], content[12:], bound).decode() == VALUE


@pytest.mark.parametrize(
    "elsewhere",
    [
        Place("acme", "ops", "token"),
        Place("acme", "dev", "url"),
        Place("other", "ops", "url"),
        Place("acm", "eops", "url"),
    ],
)
def test_moved_to_another_place_it_opens_nothing(elsewhere: Place) -> None:
    sealed = Keyring([OLD]).seal(VALUE, HERE)

    with pytest.raises(CredentialUnreadable, match="another channel"):
        Keyring([OLD]).open(sealed, elsewhere)


def test_a_changed_byte_anywhere_is_seen() -> None:
    ring = Keyring([OLD])
    head, content = ring.seal("hunter22", HERE).rsplit(".", 1)
    read = base64.urlsafe_b64decode(content)

    for place in range(len(read)):
        changed = bytearray(read)
        changed[place] ^= 1
        with pytest.raises(CredentialUnreadable):
            ring.open(f"{head}.{base64.urlsafe_b64encode(changed).decode()}", HERE)


@pytest.mark.parametrize(
    "text", ["", "v1", "v1..", "v2.00000000.AAAA", "v1.00000000.!!!", "v1.00000000.AAAA", "hunter2"]
)
def test_what_is_no_sealed_value_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(CredentialUnreadable) as caught:
        Keyring([OLD]).open(text, HERE)
    assert "hunter2" not in str(caught.value)


def test_the_first_key_seals_and_all_open() -> None:
    before, both, after = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])
    sealed = before.seal(VALUE, HERE)

    assert both.open(sealed, HERE) == VALUE
    assert not both.is_current(sealed)
    again = both.seal(both.open(sealed, HERE), HERE)
    assert both.is_current(again)
    assert after.open(again, HERE) == VALUE
    with pytest.raises(CredentialUnreadable, match=key_id(NEW)) as caught:
        before.open(again, HERE)
    assert caught.value.key_missing


def test_without_a_key_nothing_is_sealed() -> None:
    assert not Keyring()
    with pytest.raises(CredentialUnreadable, match="SENTINEL_SECRET_KEY"):
        Keyring().seal(VALUE, HERE)


def test_a_keyring_does_not_show_its_keys() -> None:
    ring = Keyring([secrets.token_bytes(32)])

    assert str(ring) == f"<Keyring {next(iter(ring._keys))}>"
    with pytest.raises(TypeError):
        pickle.dumps(ring)
