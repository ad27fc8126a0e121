"""What differs between two observations of a rule: row by row where there are rows, else word by word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sentinel.cli.output import Output, printable
from sentinel.cli.values import iso
from sentinel.decide.values import describe, value_json
from sentinel.model import DocumentRow, JsonValue, TextValue
from sentinel.render.difference import Piece, difference, shortened
from sentinel.render.rows import rows_difference, summary
from sentinel.store import Observation

#: Of each kind of piece: how it is set off without colours, and its colour.
_SIGNS: Final = {"removed": ("[-", "-]", "31"), "added": ("{+", "+}", "32")}
_ROWS: Final = {"removed": ("-", "31"), "added": ("+", "32"), "changed": ("~", "33"), "moved": (">", "36")}


def diff_document(before: Observation, after: Observation) -> dict[str, object]:
    """`sentinel.history_diff/1`."""
    rows = rows_difference(value_json(before.value), value_json(after.value))
    pieces = () if rows is not None else difference(_text(before), _text(after))
    return {
        "schema": "sentinel.history_diff/1",
        "rule_id": after.rule_id,
        "before": _side(before),
        "after": _side(after),
        "pieces": [{"kind": piece.kind, "text": piece.text} for piece in pieces],
        "rows": None if rows is None else msgspec.to_builtins(rows),
    }


def _side(one: Observation) -> dict[str, object]:
    return {"run_id": str(one.run_id), "at": iso(one.at), "value": value_json(one.value)}


def show_diff(out: Output, before: Observation, after: Observation) -> None:
    """Both sides' times and values, then what differs."""
    for sign, one in (("-", before), ("+", after)):
        out.line(f"{sign} run {one.run_id}  {iso(one.at)[:19]}  {describe(one.value)}")
    rows = rows_difference(value_json(before.value), value_json(after.value))
    if rows is not None:
        out.line(summary(rows))
        for row in rows.changes:
            sign, colour = _ROWS[row.kind]
            out.raw(out.colored(f"  {sign} {row.key}{_cells(row)}", colour))
        return
    pieces = shortened(difference(_text(before), _text(after)))
    if all(piece.kind == "same" for piece in pieces):
        out.line("no difference")
        return
    out.raw("".join(_words(out, pieces)))


def _cells(row: DocumentRow) -> str:
    told = []
    for cell in row.cells:
        name = f"{cell.name}: " if cell.name else ""
        if row.kind == "changed":
            told.append(f"{name}{_or_dash(cell.before)} -> {_or_dash(cell.after)}")
        else:
            told.append(f"{name}{cell.after if cell.after is not None else cell.before}")
    return f"  {', '.join(told)}" if told else ""


def _or_dash(text: str | None) -> str:
    return "-" if text is None else text


def _words(out: Output, pieces: tuple[Piece, ...]) -> Iterator[str]:
    for piece in pieces:
        if piece.kind == "same":
            yield printable(piece.text)
            continue
        opening, closing, colour = _SIGNS[piece.kind]
        yield out.colored(f"{opening}{piece.text}{closing}", colour)


def _text(one: Observation) -> str:
    """What is compared: of a text all that was kept, of data one line for each of its values."""
    match one.value:
        case TextValue():
            return one.raw or one.value.text
        case JsonValue():
            data: Any = json.loads(one.value.canonical)
            return json.dumps(data, indent=1, ensure_ascii=False)
        case _:
            return describe(one.value)
