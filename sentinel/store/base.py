"""What the parts of `Store` share."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa

from sentinel.store.database import Database
from sentinel.store.records import Place

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


def behind(time: sa.Column[float], key: sa.Column[Any], place: Place) -> sa.ColumnElement[bool]:
    """What comes behind a place in a list that is ordered by both, newest first; found by its index."""
    at = sa.bindparam(None, place.at, type_=time.type)
    here = sa.tuple_(at, sa.bindparam(None, place.id, type_=key.type))
    # The first says nothing new, but lets PostgreSQL leave months out.
    return sa.and_(time <= at, sa.tuple_(time, key) < here)


def new_id(now: float) -> str:
    """An id that sorts by time: 9 characters of milliseconds, 13 of chance."""
    number = (int(now * 1000) << 65) | secrets.randbits(65)
    digits = []
    for _ in range(22):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))
