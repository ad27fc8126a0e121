"""What changed between two lists, row by row, in bounded time.

Rows are known by a key: the column that names each row on both sides (`id`, `sku` ... first), the key
of an object, or else the whole row, which then can only come, go and move.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, Literal, NoReturn

import msgspec

from sentinel.decide.order import longest_rising
from sentinel.decide.rows import columns_change, columns_told, without
from sentinel.model import DocumentCell, DocumentRow, DocumentRows
from sentinel.render import clean

#: Larger lists are told as values: rows of one side, characters of its JSON.
MAX_ROWS: Final = 10_000
MAX_SOURCE: Final = 4 * 1024 * 1024
#: Rows that are told, all kinds together; cells of one row; characters of a key or cell.
MAX_TOLD: Final = 50
MAX_CELLS: Final = 12
MAX_WORDS: Final = 200
#: Columns that are looked at in search of a key.
_MAX_COLUMNS: Final = 64

#: Columns that name a row where there are several that could, the likeliest first.
_NAMES: Final = ("id", "key", "sku", "gtin", "ean", "uuid", "code", "slug", "url", "link", "name", "title")

#: What the other values of sentinel.model look like: no tables.
_VALUES: Final = frozenset(
    map(
        frozenset,
        (
            ("amount", "currency"),
            ("status", "lead_time_days"),
            ("number", "unit"),
            ("text", "hash"),
            ("date",),
            ("fields",),
        ),
    )
)

_Kind = Literal["changed", "added", "removed", "moved"]
#: A row by its columns; "" is the column of a row that is no object.
_Row = Mapping[str, object]


class _Table(msgspec.Struct, frozen=True):
    """One side."""

    #: By key, in order.
    rows: dict[str, _Row]
    #: Whether the order is the page's own.
    ordered: bool
    #: Whether the keys are names; else each is its row, written out.
    named: bool = True
    #: By key: cells as the page has them, where they are compared otherwise; '' is the key itself.
    seen: Mapping[str, Mapping[str, object]] = {}


class _Keyed(msgspec.Struct, frozen=True):
    """Rows that bring their keys: sentinel.model.RowsValue."""

    rows: Mapping[str, object]
    shown: Mapping[str, Mapping[str, object]] = {}


def rows_difference(before: object, after: object, *, ordered: bool = True) -> DocumentRows | None:
    """The rows that differ between two values in JSON shape; None where they are not lists of the same kind.

    `ordered`: another order is a difference. Of the rows that are told those that changed come first, then
    added, removed and moved ones.
    """
    old, new_value = _parsed(before), _parsed(after)
    keyed = isinstance(old, _Keyed) and isinstance(new_value, _Keyed)
    tables = _tables(old, new_value, ordered=ordered)
    if tables is None:
        return None
    was, now = tables
    new, gone = columns_change(was.rows.values(), now.rows.values()) if keyed else ((), ())
    apart = {*new, *gone}
    told: list[DocumentRow] = []
    counts: dict[_Kind, int] = {}
    found: Sequence[tuple[_Kind, list[str]]] = (
        (
            "changed",
            [key for key in now.rows if key in was.rows and _differ(was.rows[key], now.rows[key], apart)],
        ),
        ("added", [key for key in now.rows if key not in was.rows]),
        ("removed", [key for key in was.rows if key not in now.rows]),
        ("moved", _moved(was, now)),
    )
    for kind, keys in found:
        counts[kind] = len(keys)
        room = MAX_TOLD - len(told)
        told += [_row(kind, key, was, now) for key in keys[:room]]
    if not told and not apart:
        return None
    return DocumentRows(
        changes=tuple(told),
        changed=counts["changed"],
        added=counts["added"],
        removed=counts["removed"],
        moved=counts["moved"],
        new_columns=_cleaned(new),
        gone_columns=_cleaned(gone),
    )


def _differ(was: _Row, now: _Row, apart: Collection[str]) -> bool:
    """Whether they do in what both tables have."""
    return without(was, apart) != without(now, apart)


def _cleaned(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(clean.line(one, MAX_WORDS) for one in columns[:MAX_CELLS])


def summary(rows: DocumentRows) -> str:
    """`2 rows changed, 1 added`."""
    counts = (
        ("changed", rows.changed),
        ("added", rows.added),
        ("removed", rows.removed),
        ("moved", rows.moved),
    )
    columns = columns_told(rows.new_columns, rows.gone_columns)
    told = [(count, kind) for kind, count in counts if count]
    if columns and not told:
        return ", ".join(columns)
    first, *rest = told or [(0, "changed")]
    noun = "row" if first[0] == 1 else "rows"
    return ", ".join(
        [*columns, f"{first[0]} {noun} {first[1]}", *(f"{count} {kind}" for count, kind in rest)]
    )


# --- from a value to a table -------------------------------------------------------------------


def _parsed(value: object) -> object:
    """The list or object that a value is, or that its text spells; else None."""
    match value:
        case {"canonical": str(text), **rest} if not rest:
            return _loads(text)
        case {"rows": dict(rows), **rest} if not rest:
            return _Keyed(rows)
        case {"rows": dict(rows), "shown": dict(shown), **rest} if not rest:
            return _Keyed(rows, {key: cells for key, cells in shown.items() if isinstance(cells, dict)})
        case dict() if frozenset(value) in _VALUES:
            return None
        case list() | dict():
            return value
    return None


def _loads(text: str) -> object:
    if len(text) > MAX_SOURCE or text[:1] not in ("[", "{"):
        return None
    try:
        # Decimal: 0.1 is shown as 0.1.
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _tables(old: object, new: object, *, ordered: bool) -> tuple[_Table, _Table] | None:
    match old, new:
        case (_Keyed(), _Keyed()) if max(len(old.rows), len(new.rows)) <= MAX_ROWS:
            return _of_object(old.rows, old.shown, ordered=ordered), _of_object(
                new.rows, new.shown, ordered=ordered
            )
        case (dict(), dict()) if max(len(old), len(new)) <= MAX_ROWS:
            return _of_object(old, {}, ordered=False), _of_object(new, {}, ordered=False)
        case (list(), list()) if max(len(old), len(new)) <= MAX_ROWS:
            was, now = [_cells(row) for row in old], [_cells(row) for row in new]
            column = _key_column(was, now)
            return _of_list(was, column, ordered=ordered), _of_list(now, column, ordered=ordered)
    return None


def _of_object(
    found: Mapping[str, object], shown: Mapping[str, Mapping[str, object]], *, ordered: bool
) -> _Table:
    return _Table({str(key): _cells(row) for key, row in found.items()}, ordered=ordered, seen=shown)


def _of_list(rows: Sequence[_Row], column: str | None, *, ordered: bool) -> _Table:
    if column is not None:
        return _Table({str(row[column]): row for row in rows}, ordered=ordered)
    table: dict[str, _Row] = {}
    times: Counter[str] = Counter()
    for row in rows:
        written = _ENCODER.encode(row).decode()
        times[written] += 1
        table[f"{written}{times[written]}"] = row
    return _Table(table, ordered=ordered, named=False)


def _cells(row: object) -> _Row:
    match row:
        case dict():
            return {str(name): cell for name, cell in row.items()}
        case list():
            return {str(place): cell for place, cell in enumerate(row, 1)}
    return {"": row}


def _key_column(was: Sequence[_Row], now: Sequence[_Row]) -> str | None:
    """The column that names every row of both sides; the best one, or None."""
    first = next(iter(now or was), {})
    columns = sorted(islice(first, _MAX_COLUMNS), key=_rank)
    return next((column for column in columns if _names(column, was) and _names(column, now)), None)


def _rank(column: str) -> int:
    plain = column.lower()
    return _NAMES.index(plain) if plain in _NAMES else len(_NAMES)


def _names(column: str, rows: Sequence[_Row]) -> bool:
    """Whether each row has a name of its own in that column."""
    seen = set()
    for row in rows:
        cell = row.get(column)
        # A number may be a price that happens to be unique; it names rows only where it says so.
        if not isinstance(cell, str | int | Decimal) or isinstance(cell, bool):
            return False
        if not isinstance(cell, str) and _rank(column) == len(_NAMES):
            return False
        seen.add(cell)
    return len(seen) == len(rows)


# --- what became of the rows -------------------------------------------------------------------


def _moved(was: _Table, now: _Table) -> list[str]:
    """The fewest rows, equal on both sides, that change places to get from one order to the other."""
    if not now.ordered:
        return []
    places = {key: place for place, key in enumerate(was.rows)}
    common = [key for key in now.rows if key in places]
    kept = longest_rising([places[key] for key in common])
    return [key for key in common if places[key] not in kept and was.rows[key] == now.rows[key]]


def _row(kind: _Kind, key: str, old: _Table, new: _Table) -> DocumentRow:
    was, now = old.rows.get(key, {}), new.rows.get(key, {})
    if not new.named:
        row = now or was
        if tuple(row) == ("",):  # a plain value: it is its own name
            return DocumentRow(kind, _words(row[""]))
        return DocumentRow(kind, "", _shown(dict.fromkeys(row), was, now))
    names = dict.fromkeys((*now, *was)) if kind != "moved" else {}
    if kind == "changed":
        names = {name: None for name in names if was.get(name, _MISSING) != now.get(name, _MISSING)}
    was_seen, now_seen = old.seen.get(key, {}), new.seen.get(key, {})
    name = _words(now_seen.get("", was_seen.get("", key)))
    return DocumentRow(kind, name, _shown(names, _as_seen(was, was_seen), _as_seen(now, now_seen)))


def _as_seen(row: _Row, seen: Mapping[str, object]) -> _Row:
    return {name: seen.get(name, cell) for name, cell in row.items()} if seen else row


def _shown(names: Iterable[str], was: _Row, now: _Row) -> tuple[DocumentCell, ...]:
    return tuple(
        DocumentCell(
            clean.line(name, MAX_WORDS),
            _words(was[name]) if name in was else None,
            _words(now[name]) if name in now else None,
        )
        for name in islice(names, MAX_CELLS)
    )


_MISSING: Final = object()
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def _words(cell: object) -> str:
    match cell:
        case str():
            words = cell
        case None:
            words = "nothing"
        case bool():
            words = "yes" if cell else "no"
        case int() | Decimal():
            words = str(cell)
        case _:
            words = _ENCODER.encode(cell).decode()
    # Cut before it is cleaned, which takes its time: a cell may be as long as a page.
    return clean.line(words[: 4 * MAX_WORDS], MAX_WORDS)
