"""Credentials at rest: AES-256-GCM, one text per value, bound to the place it was made for.

    v1.<key id>.<base64url of nonce, ciphertext and tag>

The key id says which key opens it (eight hex digits of a hash of the key), so that a list of keys can
be rotated row by row. Workspace, channel and name are authenticated with it: a text that was copied
to another channel opens nothing. Why it is so: docs/decisions/0007-credentials-at-rest.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from sentinel.errors import CredentialUnreadable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Bytes of AES-GCM's nonce and tag.
NONCE: Final = 12
TAG: Final = 16

_VERSION: Final = "v1"
_KEY_ID: Final = b"sentinel credential key id\x00"
_BINDING: Final = "sentinel credential v1"


class Place(msgspec.Struct, frozen=True):
    """What a sealed value is for."""

    workspace: str
    channel: str
    name: str


class Keyring:
    """The keys of SENTINEL_SECRET_KEY: the first seals, all of them open."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        """`keys` have 32 bytes each; none: nothing can be sealed or opened."""
        #: By key id, in the order given; of a key given twice the first place counts.
        self._keys: dict[str, bytes] = {}
        for key in keys:
            self._keys.setdefault(key_id(key), key)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def seal(self, text: str, place: Place) -> str:
        """`text` under the first key, another ciphertext each time. Raises CredentialUnreadable: no key."""
        if not self._keys:
            raise CredentialUnreadable("no key is set (SENTINEL_SECRET_KEY)")
        first, key = next(iter(self._keys.items()))
        # By chance: the same key would have to seal 2^32 values before a repetition is to be feared.
        nonce = secrets.token_bytes(NONCE)
        sealed = _cipher(key).encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bound(place))
        return f"{_VERSION}.{first}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: Place) -> str:
        """What was sealed for `place`. Raises CredentialUnreadable, which quotes nothing."""
        key_name, content = _parts(sealed)
        key = self._keys.get(key_name)
        if key is None:
            raise CredentialUnreadable(
                f"it is encrypted under the key {key_name}, which is not in SENTINEL_SECRET_KEY here",
                key_missing=True,
            )
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see _cipher

        try:
            text = _cipher(key).decrypt(content[:NONCE], content[NONCE:], _bound(place))
        except InvalidTag:
            raise CredentialUnreadable("it was changed, or made for another channel") from None
        return text.decode("utf-8", "surrogatepass")

    def is_current(self, sealed: str) -> bool:
        """Under the first key already. Raises CredentialUnreadable where it is no sealed value."""
        return _parts(sealed)[0] == next(iter(self._keys), None)

    def __repr__(self) -> str:
        return f"<Keyring {', '.join(self._keys) or 'empty'}>"

    def __reduce__(self) -> str:
        raise TypeError("a Keyring is not pickled")


def key_id(key: bytes) -> str:
    """A name for a key, which says nothing about it."""
    return hashlib.sha256(_KEY_ID + key).hexdigest()[:8]


def _parts(sealed: str) -> tuple[str, bytes]:
    """Key id, and nonce with ciphertext. Raises CredentialUnreadable."""
    version, _, rest = sealed.partition(".")
    key_name, _, encoded = rest.partition(".")
    try:
        content = base64.b64decode(encoded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if version != _VERSION or len(content) < NONCE + TAG:
        raise CredentialUnreadable("it is not in a form that this program reads")
    return key_name, content


def _bound(place: Place) -> bytes:
    # JSON of a list: no two places are written the same way.
    return msgspec.json.encode((_BINDING, place.workspace, place.channel, place.name))


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - most commands do without it

    return AESGCM(key)
