"""Rows under keys: what a table, a feed or a plain list says, bounded, and what became of each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sentinel.decide.order import longest_rising
from sentinel.decide.text import neutralise, shorten, visible
from sentinel.errors import CheckFailure
from sentinel.model import Extracted, Normalization, RowsChange, RowsValue

#: Rows and columns of a value, and characters of all of it: it is stored with every observation.
MAX_ROWS: Final = 2_000
MAX_COLUMNS: Final = 64
MAX_CHARACTERS: Final = 256 * 1024
#: Characters of a key and of a cell that are kept.
MAX_KEY: Final = 300
MAX_CELL: Final = 2_000


def read_rows(extracted: Extracted, normalization: Normalization) -> RowsValue:
    """The rows, without what the rule calls noise.

    Where the method gives no rows, each line of the text is a row without columns. A key that comes twice
    is numbered in the page's order: `Widget`, `Widget (2)`. Raises CheckFailure EXTRACT_EMPTY_VALUE, and
    EXTRACT_PARSE_ERROR for more than may be kept: nothing is left out in silence.
    """
    given = extracted.rows
    if given is None:
        given = tuple((line, {}) for line in extracted.raw.splitlines() if visible(line))
    if not given and normalization.empty == "error":
        raise CheckFailure("EXTRACT_EMPTY_VALUE", "the selected part of the page holds no rows")
    if len(given) > MAX_ROWS:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"{len(given)} rows are more than {MAX_ROWS}; select fewer")
    rows: dict[str, dict[str, str]] = {}
    size = 0
    for name, cells in given:
        if len(cells) > MAX_COLUMNS:
            detail = f"{len(cells)} columns are more than {MAX_COLUMNS}; name those that count"
            raise CheckFailure("EXTRACT_PARSE_ERROR", detail)
        key = _free(shorten(neutralise(visible(name), normalization), MAX_KEY), rows)
        rows[key] = {visible(column): _cell(text, normalization) for column, text in cells.items()}
        size += len(key) + sum(len(column) + len(text) for column, text in rows[key].items())
        if size > MAX_CHARACTERS:
            detail = f"the rows have more than {MAX_CHARACTERS} characters; select fewer rows or columns"
            raise CheckFailure("EXTRACT_PARSE_ERROR", detail)
    return RowsValue(rows=rows, ordered=normalization.order_matters)


def _cell(text: str, normalization: Normalization) -> str:
    return shorten(neutralise(visible(text), normalization), MAX_CELL)


def _free(key: str, taken: Mapping[str, object]) -> str:
    """The key, numbered where it is taken."""
    number, free = 1, key
    while free in taken:
        number += 1
        free = f"{key} ({number})"
    return free


def rows_change(before: RowsValue, after: RowsValue) -> RowsChange:
    """Which rows differ. Of rows whose order matters, the fewest that must have changed places."""
    was, now = before.rows, after.rows
    moved: list[str] = []
    if after.ordered:
        places = {key: place for place, key in enumerate(was)}
        common = [key for key in now if key in places]
        kept = longest_rising([places[key] for key in common])
        moved = [key for key in common if places[key] not in kept]
    return RowsChange(
        added=tuple(key for key in now if key not in was),
        removed=tuple(key for key in was if key not in now),
        changed=tuple(key for key in now if key in was and now[key] != was[key]),
        moved=tuple(moved),
    )


def summary(change: RowsChange) -> str:
    """`2 rows added, 1 changed`."""
    counts = {
        "added": change.added,
        "removed": change.removed,
        "changed": change.changed,
        "moved": change.moved,
    }
    told = [(len(keys), kind) for kind, keys in counts.items() if keys]
    if not told:
        return "no row changed"
    (count, kind), *rest = told
    first = f"{count} {'row' if count == 1 else 'rows'} {kind}"
    return ", ".join([first, *(f"{number} {name}" for number, name in rest)])


def same_rows(one: RowsValue, other: RowsValue) -> bool:
    """Whether they say the same; in another order too, unless it matters."""
    if one.rows != other.rows:
        return False
    return not (one.ordered and other.ordered) or list(one.rows) == list(other.rows)


def text_of(rows: Mapping[str, Mapping[str, str]], keys: Iterable[str] | None = None) -> str:
    """The rows as lines, for conditions on text."""
    wanted = rows if keys is None else [key for key in keys if key in rows]
    return "\n".join(" ".join((key, *rows[key].values())) for key in wanted)
