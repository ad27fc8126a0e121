"""Rows under keys: what a table, a feed or a plain list says, bounded, and what became of each row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

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
#: Characters of the hash that stands for what is longer.
_MARK: Final = 12


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
    shown: dict[str, dict[str, str]] = {}
    numbered: dict[str, str] = {}
    size = 0
    for name, cells in given:
        _bound_columns(cells)
        plain = _bounded(neutralise(visible(name), normalization), MAX_KEY)
        key = _free(plain, rows)
        if key != plain:
            numbered[key] = plain
        rows[key], seen = {}, {"": shorten(visible(name), MAX_KEY)} if visible(name) != plain else {}
        for column, text in cells.items():
            page = visible(text)
            rows[key][visible(column)] = neutral = _bounded(neutralise(page, normalization), MAX_CELL)
            if page != neutral:
                seen[visible(column)] = shorten(page, MAX_CELL)
        if seen:
            shown[key] = seen
        size += len(key) + sum(len(column) + len(text) for column, text in rows[key].items())
        if size > MAX_CHARACTERS:
            detail = f"the rows have more than {MAX_CHARACTERS} characters; select fewer rows or columns"
            raise CheckFailure("EXTRACT_PARSE_ERROR", detail)
    return RowsValue(rows=rows, ordered=normalization.order_matters, shown=shown, numbered=numbered)


def _bound_columns(cells: Mapping[str, str]) -> None:
    if len(cells) > MAX_COLUMNS:
        detail = f"{len(cells)} columns are more than {MAX_COLUMNS}; name those that count"
        raise CheckFailure("EXTRACT_PARSE_ERROR", detail)


def _bounded(text: str, limit: int) -> str:
    """The text, or its beginning and the hash of all of it: what changes further on is a change too."""
    if len(text) <= limit:
        return text
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_MARK]
    return f"{shorten(text, limit - _MARK - 1)} {mark}"


def _free(key: str, taken: Mapping[str, object]) -> str:
    """The key, numbered where it is taken."""
    number, free = 1, key
    while free in taken:
        number += 1
        free = f"{key} ({number})"
    return free


def aligned(before: RowsValue, after: RowsValue) -> RowsValue:
    """`after`, its keys that come more than once numbered as equal rows are in `before`.

    The page's order gives the numbers: a row more on top would be a change of all below it.
    """
    plain = dict.fromkeys((*before.numbered.values(), *after.numbered.values()))
    names = {key: _renumbered(key, before, after) for key in plain}
    renamed = {old: new for group in names.values() for old, new in group.items() if old != new}
    rows = {renamed.get(key, key): cells for key, cells in after.rows.items()}
    # Names that a page chose to look like numbers of ours: rather told as changed than lost.
    if not renamed or len(rows) < len(after.rows):
        return after
    return RowsValue(
        rows=rows,
        ordered=after.ordered,
        shown={renamed.get(key, key): cells for key, cells in after.shown.items()},
        numbered={new: key for key, group in names.items() for new in group.values() if new != key},
    )


def _renumbered(plain: str, before: RowsValue, after: RowsValue) -> dict[str, str]:
    """The keys of all rows of `after` that the page calls `plain`, and what they are to be."""
    free = {key: before.rows[key] for key in _group(plain, before)}
    coming = _group(plain, after)
    names: dict[str, str] = {}
    equal: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key, cells in reversed(free.items()):
        equal.setdefault(tuple(sorted(cells.items())), []).append(key)
    for key in coming:
        if same := equal.get(tuple(sorted(after.rows[key].items()))):
            names[key] = same.pop()
            del free[names[key]]
    left = iter(free)
    taken: dict[str, object] = dict.fromkeys(
        (*before.rows, *(key for key in after.rows if key not in coming))
    )
    for key in coming:
        if key in names:
            continue
        names[key] = next(left, "") or _free(plain, taken)
        taken[names[key]] = None
    return names


def _group(plain: str, value: RowsValue) -> list[str]:
    return [key for key in value.rows if value.numbered.get(key, key) == plain]


def rows_change(before: RowsValue, after: RowsValue) -> RowsChange:
    """Which rows differ. Of rows whose order matters, the fewest that must have changed places."""
    was, now = before.rows, after.rows
    new, gone = columns_change(was.values(), now.values())
    apart = {*new, *gone}
    moved: list[str] = []
    if after.ordered:
        places = {key: place for place, key in enumerate(was)}
        common = [key for key in now if key in places]
        kept = longest_rising([places[key] for key in common])
        moved = [key for key in common if places[key] not in kept]
    return RowsChange(
        added=tuple(key for key in now if key not in was),
        removed=tuple(key for key in was if key not in now),
        changed=tuple(
            key for key in now if key in was and without(now[key], apart) != without(was[key], apart)
        ),
        moved=tuple(moved),
        new_columns=new,
        gone_columns=gone,
    )


Cell = TypeVar("Cell")


def columns_change(
    was: Iterable[Mapping[str, object]], now: Iterable[Mapping[str, object]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that came and went, of tables that have one in common; else all rows are others.

    A column is what half of the rows have or more: what a few entries of a feed gain is theirs.
    """
    before, after = list(was), list(now)
    old, new = (Counter(column for cells in rows for column in cells) for rows in (before, after))
    if not old.keys() & new.keys():
        return (), ()
    return (
        tuple(one for one, times in new.items() if one not in old and 2 * times >= len(after)),
        tuple(one for one, times in old.items() if one not in new and 2 * times >= len(before)),
    )


def without(cells: Mapping[str, Cell], columns: Collection[str]) -> Mapping[str, Cell]:
    """A row without some of its columns."""
    return {column: text for column, text in cells.items() if column not in columns} if columns else cells


def columns_told(new: Sequence[str], gone: Sequence[str]) -> list[str]:
    """`column Stock added`, for each."""
    return [f"column {one} added" for one in new] + [f"column {one} removed" for one in gone]


def summary(change: RowsChange) -> str:
    """`2 rows added, 1 changed`."""
    counts = {
        "added": change.added,
        "removed": change.removed,
        "changed": change.changed,
        "moved": change.moved,
    }
    columns = columns_told(change.new_columns, change.gone_columns)
    told = [(len(keys), kind) for kind, keys in counts.items() if keys]
    if not told:
        return ", ".join(columns) or "no row changed"
    (count, kind), *rest = told
    first = f"{count} {'row' if count == 1 else 'rows'} {kind}"
    return ", ".join([*columns, first, *(f"{number} {name}" for number, name in rest)])


def same_rows(one: RowsValue, other: RowsValue) -> bool:
    """Whether they say the same; in another order too, unless it matters."""
    if one.rows != other.rows:
        return False
    return not (one.ordered and other.ordered) or list(one.rows) == list(other.rows)


def text_of(value: RowsValue, keys: Iterable[str] | None = None) -> str:
    """The rows as lines, as people are shown them: for conditions on text."""
    lines = []
    for key in value.rows if keys is None else [key for key in keys if key in value.rows]:
        shown = value.shown.get(key, {})
        cells = {"": value.numbered.get(key, key), **value.rows[key], **shown}
        lines.append(" ".join(cells.values()))
    return "\n".join(lines)
