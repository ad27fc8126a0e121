"""Rows under keys: the same bounds and the same answer for tables, repeated elements and feeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from sentinel.errors import CheckFailure
from sentinel.extract.hints import did_you_mean
from sentinel.extract.step import Found

#: Rows of one reading; a rule keeps fewer (sentinel.decide.rows).
MAX_ROWS: Final = 20_000
#: Columns of one row.
MAX_COLUMNS: Final = 256
#: Characters in all cells together: 4 MiB where they are ASCII.
MAX_CHARACTERS: Final = 4 << 20

#: Key, and column -> text.
Row = tuple[str, dict[str, str]]


def found(rows: Iterable[Row]) -> Found:
    """The rows as they are, in their order.

    Raises CheckFailure EXTRACT_PARSE_ERROR where there is more of them than may be.
    """
    kept: list[Row] = []
    size = 0
    for key, cells in rows:
        kept.append((key, cells))
        size += len(key) + sum(len(name) + len(text) for name, text in cells.items())
        if len(kept) > MAX_ROWS or len(cells) > MAX_COLUMNS or size > MAX_CHARACTERS:
            raise CheckFailure(
                "EXTRACT_PARSE_ERROR",
                f"more than {MAX_ROWS} rows, {MAX_COLUMNS} columns or {MAX_CHARACTERS} characters;"
                " select a smaller part",
            )
    raw = msgspec.json.encode([{"key": key, **cells} for key, cells in kept]).decode()
    return Found(raw=raw, rows=tuple(kept))


def column(wanted: str, known: Iterable[str]) -> str:
    """The name as the page writes it: exactly, or but for case and white space.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND with the names there are.
    """
    names = list(known)
    if wanted in names:
        return wanted
    for name in names:
        if _folded(name) == _folded(wanted):
            return name
    raise CheckFailure(
        "EXTRACT_SELECTOR_NOT_FOUND", f"no column {wanted[:80]!r}: {did_you_mean(wanted, names)[:300]}"
    )


def chosen(cells: Mapping[str, str], columns: list[str] | dict[str, str]) -> dict[str, str]:
    """Only the columns asked for, under the names asked for; all where none are."""
    if not columns:
        return dict(cells)
    asked = columns.items() if isinstance(columns, dict) else ((name, name) for name in columns)
    return {name: cells[column(where, cells)] for name, where in asked}


def _folded(name: str) -> str:
    return "".join(name.split()).casefold()
