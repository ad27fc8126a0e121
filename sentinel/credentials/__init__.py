"""What channels authenticate with: where a value is, how it is kept, and that nobody reads it by the way.

`Keyring` encrypts what is stored, `ChannelCredentials` finds a value when a message needs it,
`Concealer` masks known values in what is told.
"""

from __future__ import annotations

from sentinel.credentials.concealer import Concealer
from sentinel.credentials.keyring import Keyring, Place
from sentinel.credentials.lookup import (
    SIGNING_SECRET,
    ChannelCredentials,
    SealedCredential,
    defined,
    file_trouble,
    trouble,
    values_of,
)

__all__ = [
    "SIGNING_SECRET",
    "ChannelCredentials",
    "Concealer",
    "Keyring",
    "Place",
    "SealedCredential",
    "defined",
    "file_trouble",
    "trouble",
    "values_of",
]
