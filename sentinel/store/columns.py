"""Column types that mean the same on SQLite and PostgreSQL: times, documents, text from outside."""

from __future__ import annotations

import re
from typing import Any, Final, Generic, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from sentinel.errors import Unreadable

T = TypeVar("T")

MICROSECONDS: Final = 1_000_000
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

#: A number that rises by itself. SQLite only counts in INTEGER columns.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def to_micros(seconds: float) -> int:
    """Seconds since the epoch as the whole microseconds the database holds."""
    return round(seconds * MICROSECONDS)


def clean(text: str) -> str:
    """Text that every database takes: NUL (PostgreSQL) and lone surrogates (UTF-8) become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


class Micros(TypeDecorator[float]):
    """A time: UTC seconds (float) in Python, whole microseconds in the database.

    SQLite hands back naive datetimes for aware ones and PostgreSQL does not; integers are integers
    everywhere, and compare exactly.
    """

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Seconds in."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> float | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Seconds out."""
        return None if value is None else value / MICROSECONDS


class Words(TypeDecorator[str]):
    """Text that may come from a web page or a user: what no database takes is replaced."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """See `clean`."""
        return None if value is None else clean(value)


class Document(TypeDecorator[T], Generic[T]):
    """A msgspec struct (or anything msgspec knows) as JSON text; Decimals are strings, so exact.

    `json`, not `jsonb`, on PostgreSQL: the text comes back as it went in, key order included.
    """

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, kind: Any) -> None:  # Any: a type form such as `Value | None` is no `type`
        super().__init__()
        self.kind = kind
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def process_bind_param(self, value: T | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """JSON text in; `Database` tells the driver to pass it on as it is."""
        if value is None:
            return None
        try:
            return msgspec.json.encode(value).decode()
        except UnicodeEncodeError:  # a lone surrogate, from a page that is not what it says
            return msgspec.json.encode(_cleaned(msgspec.to_builtins(value))).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> T | None:  # noqa: ARG002 - SQLAlchemy's signature
        """The struct out. Raises Unreadable for a document of another shape."""
        if value is None:
            return None
        try:
            return self._decoder.decode(value)
        except msgspec.DecodeError as exc:
            raise Unreadable(str(exc)) from exc

    def coerce_compared_value(self, op: Any, value: Any) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """Compare as itself (SQLAlchemy would look inside the JSON)."""
        return self


class Perhaps(TypeDecorator[T | Unreadable], Generic[T]):
    """A `Document` read where one bad row must not hide the others: the struct, or what is wrong."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, document: Document[T]) -> None:
        super().__init__()
        self.document = document

    def process_result_value(self, value: str | None, dialect: Dialect) -> T | Unreadable | None:
        """The struct, or the error that reading it by itself would raise."""
        try:
            return self.document.process_result_value(value, dialect)
        except Unreadable as unreadable:
            return unreadable


def _cleaned(value: object) -> object:
    match value:
        case str():
            return clean(value)
        case list():
            return [_cleaned(item) for item in value]
        case dict():
            return {clean(str(key)): _cleaned(item) for key, item in value.items()}
    return value
