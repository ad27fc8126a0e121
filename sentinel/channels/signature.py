"""Signatures of Standard Webhooks 1.0.0, symmetric (v1): HMAC-SHA256 over id, time and the body's bytes.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

#: Bytes of a secret, by the specification.
MIN_SECRET: Final = 24
MAX_SECRET: Final = 64

_PREFIX: Final = "whsec_"


class SigningKey:
    """A secret that signs and never shows itself."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError (which does not quote it) for a secret of the wrong length."""
        if not MIN_SECRET <= len(secret) <= MAX_SECRET:
            raise ValueError(
                f"a signing secret has {MIN_SECRET} to {MAX_SECRET} bytes, this has {len(secret)}"
            )
        self._secret = secret

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """The key that `whsec_<base64>` spells. Raises ValueError, which does not quote it."""
        encoded = text.strip().removeprefix(_PREFIX).rstrip("=")
        try:
            # Padding is often lost on the way.
            secret = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            # Not `from`: the foreign error may hold the text.
            raise ValueError("not a signing secret: whsec_ and base64 are expected") from None
        return cls(secret)

    def signature(self, content: bytes) -> str:
        """`v1,<base64>` of `content`."""
        digest = hmac.new(self._secret, content, hashlib.sha256).digest()
        return "v1," + base64.b64encode(digest).decode()

    def __repr__(self) -> str:
        return "SigningKey(***)"

    def __reduce__(self) -> str:
        raise TypeError("a SigningKey is not pickled")


def sign(keys: Iterable[SigningKey], message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature a key, so that receivers may rotate at leisure.

    `timestamp` in whole seconds since the epoch. Raises ValueError for an id with a dot: the dot is
    what separates it from the time in what is signed.
    """
    if "." in message_id:
        raise ValueError("a message id holds no dot")
    content = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(key.signature(content) for key in keys)
