"""What the parts of `Store` share."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa

from sentinel.store.database import Database

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


if TYPE_CHECKING:
    #: A row of whatever columns were asked for.
    AnyRow: TypeAlias = sa.Row[*tuple[Any, ...]]
else:
    AnyRow = sa.Row


class Part:
    """A noun of the store; `Store` is all of them over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def new_id(now: float) -> str:
    """An id that sorts by time: 9 characters of milliseconds, 13 of chance."""
    number = (int(now * 1000) << 65) | secrets.randbits(65)
    digits = []
    for _ in range(22):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))
