"""An alert as plain text: one screen, safe on any terminal."""

from __future__ import annotations

from typing import Final

from sentinel.model import Document, DocumentField, DocumentRow
from sentinel.render import clean
from sentinel.render.difference import difference, shortened
from sentinel.render.payload import iso
from sentinel.render.rows import summary
from sentinel.render.values import describe, describe_percent

#: A screen: lines, and characters of one.
MAX_LINES: Final = 20
MAX_WIDTH: Final = 400

#: Texts longer than this are told by their difference, characters.
_SHORT: Final = 60

_KINDS: Final = {
    "change": "ALERT",
    "health": "HEALTH",
    "recovery": "RECOVERY",
    "digest": "DIGEST",
    "test": "TEST",
}


def to_text(document: Document) -> str:
    """Lines that end in a newline each: the title, then `name  what` for all there is to say."""
    lines = [f"{_KINDS[document.kind]} {document.severity}: {document.title}"]
    rows = _rows(document)
    width = min(max((len(name) for name, _ in rows), default=0), 24)
    lines += [f"  {clean.clip(name, 24):<{width}}  {words}" for name, words in rows]
    return "".join(clean.clip(line, MAX_WIDTH) + "\n" for line in lines)


def _rows(document: Document) -> list[tuple[str, str]]:
    """What is told, in order; what frames it is always told, fields while there is room."""
    frame = _frame(document)
    room = MAX_LINES - 1 - len(frame)
    told = [("", line) for line in document.words.splitlines()] if document.words else _told(document)
    more = document.more
    if len(told) + (more > 0) > room:
        more += len(told) - room + 1
        told = told[: room - 1]
    if more:
        told.append(("...", f"and {more} more"))
    return told + frame


def _told(document: Document) -> list[tuple[str, str]]:
    """What happened: a row for each field, each row of a list and each member of a digest."""
    rows = [row for field in document.fields for row in _field(field)]
    if rows and (by := describe_percent(document.percent)):
        rows[0] = (rows[0][0], f"{rows[0][1]} ({by})")
    rows += [
        ("alert", f"{member.title}{f'  {member.link}' if member.link else ''}") for member in document.members
    ]
    return rows


def _frame(document: Document) -> list[tuple[str, str]]:
    rows = []
    if document.health is not None:
        rows += [("code", document.health.code), ("detail", document.health.detail)]
        rows.append(("to do", document.health.recommendation))
    met = ", ".join(f"{name} ({severity})" if severity else name for name, severity in document.conditions)
    rows += [("because", met), ("rule", document.rule), ("page", document.link), ("note", document.note)]
    rows += [("alert", document.alert_id), ("at", iso(document.occurred_at))]
    return [(name, words) for name, words in rows if words]


def _field(field: DocumentField) -> list[tuple[str, str]]:
    if (rows := field.rows) is not None:
        told = [(field.name, summary(rows)), *(("", _row(row)) for row in rows.changes)]
        return [*told, ("...", f"and {rows.untold} more rows")] if rows.untold else told
    return [(field.name, _replaced(field))]


def _row(row: DocumentRow) -> str:
    """`changed 4711: price 5 -> 6, stock 3 -> 2`."""
    cells = [
        f"{cell.name} {' -> '.join(side for side in (cell.before, cell.after) if side is not None)}".strip()
        for cell in row.cells
    ]
    return f"{row.kind} {row.key}{':' * bool(row.key and cells)} {', '.join(cells)}".rstrip()


def _replaced(field: DocumentField) -> str:
    before, after = (clean.line(describe(side), clean.MAX_TEXT) for side in (field.before, field.after))
    if field.before is None or field.after is None or max(len(before), len(after)) <= _SHORT:
        return f"{before} -> {after}"
    return _marked(before, after)


def _marked(before: str, after: str) -> str:
    """`... the [-old-]{+new+} price ...`, as wdiff writes it, with what did not change left out."""
    marks = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    return "".join(marks[piece.kind].format(piece.text) for piece in shortened(difference(before, after)))
