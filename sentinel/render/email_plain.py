"""The plain part of an e-mail: what the HTML part says, for who reads without it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sentinel.model import Document, DocumentCell, DocumentField, DocumentMember, DocumentRow
from sentinel.render import clean
from sentinel.render.difference import Piece, difference
from sentinel.render.rows import summary as rows_summary
from sentinel.render.values import describe, describe_percent

#: Fields and rows that are told; more are counted. Characters of one value, of one difference.
MAX_FIELDS: Final = 20
MAX_ROWS: Final = 25
MAX_VALUE: Final = 600
MAX_DIFFERENCE: Final = 6_000
#: Values up to this many characters are told whole, one below the other.
SHORT: Final = 60
#: Unchanged characters told on each side of a change.
_CONTEXT: Final = 120

_MARKS: Final = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}


def to_plain_part(document: Document) -> str:
    """Paragraphs: the title, what changed, why, where."""
    parts = [f"{document.title}\n{kind(document)}, {document.severity}"]
    if document.words:
        parts.append(document.words)
    else:
        parts += told(document)
    rows = [(label, words) for label, words in frame(document) if words]
    width = max(len(label) for label, _ in rows)
    parts.append("\n".join(f"{label:<{width}}  {words}" for label, words in rows))
    if document.note:
        parts.append(f"({document.note})")
    return "\n\n".join(parts) + "\n"


def kind(document: Document) -> str:
    """What kind of message it is, in words."""
    return {
        "change": "A change",
        "health": "A rule needs attention",
        "recovery": "A rule works again",
        "digest": "Several alerts in one message",
        "test": "A test",
    }[document.kind]


def told(document: Document) -> list[str]:
    """What happened: a paragraph for each thing."""
    parts = []
    if (health := document.health) is not None:
        sentences = (health.code, health.detail, health.recommendation and f"To do: {health.recommendation}")
        parts.append("\n".join(words for words in sentences if words))
    by = describe_percent(document.percent)
    for place, field in enumerate(document.fields[:MAX_FIELDS]):
        parts.append(_field(field, by if place == 0 else ""))
    if (hidden := len(document.fields) - MAX_FIELDS) > 0:
        parts.append(f"and {hidden} more field{'s' * (hidden > 1)}")
    parts += [_member(member) for member in document.members]
    if document.more:
        parts.append(f"and {document.more} more like {'these' if document.members else 'this'}")
    return parts


def frame(document: Document) -> list[tuple[str, str]]:
    """What is told of every alert; '' where there is nothing to say."""
    met = ", ".join(f"{name} ({severity})" if severity else name for name, severity in document.conditions)
    return [
        ("Because", met),
        ("Rule", document.rule),
        ("Page", document.link),
        ("At", f"{datetime.fromtimestamp(document.occurred_at, UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ("Alert", f"{document.alert_id}, workspace {document.workspace_id}"),
    ]


def is_short(field: DocumentField) -> bool:
    """Whether both values are best told whole."""
    sides = [describe(side) for side in (field.before, field.after)]
    return None in (field.before, field.after) or max(map(len, sides)) <= SHORT


def shown(value: object) -> str:
    """A value in words, bounded."""
    return clean.block(describe(value), MAX_VALUE)


def pieces(before: object, after: object) -> list[Piece]:
    """The difference of two long values, with what did not change left out but for its edges."""
    sides = [clean.block(describe(side)) for side in (before, after)]
    kept: list[Piece] = []
    room = MAX_DIFFERENCE
    for piece in difference(*sides):
        text = _edges(piece.text) if piece.kind == "same" else clean.clip(piece.text, MAX_DIFFERENCE // 4)
        if len(text) > room:
            return [*kept, Piece("same", " … (the rest is left out)")]
        kept.append(Piece(piece.kind, text))
        room -= len(text) + 40
    return kept


def cells_besides_key(row: DocumentRow) -> list[DocumentCell]:
    """What there is to say of a row besides what it is known by."""
    return [cell for cell in row.cells if row.kind == "changed" or row.key not in (cell.before, cell.after)]


def _edges(text: str) -> str:
    return text if len(text) <= 2 * _CONTEXT + 5 else f"{text[:_CONTEXT]} … {text[-_CONTEXT:]}"


def _field(field: DocumentField, by: str) -> str:
    if field.rows is not None:
        rows = [_row(row) for row in field.rows.changes[:MAX_ROWS]]
        hidden = field.rows.untold + max(len(field.rows.changes) - MAX_ROWS, 0)
        rows += [f"  and {hidden} more"] if hidden else []
        return "\n".join([f"{field.name}: {rows_summary(field.rows)}", *rows])
    if is_short(field):
        after = f"{shown(field.after)} ({by})" if by else shown(field.after)
        return f"{field.name}\n  was: {shown(field.before)}\n  now: {after}"
    marked = "".join(_MARKS[piece.kind].format(piece.text) for piece in pieces(field.before, field.after))
    return f"{field.name} ([-removed-], {{+added+}})\n{marked}"


def _row(row: DocumentRow) -> str:
    sign = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}[row.kind]
    cells = [_cell(cell.name, cell.before, cell.after) for cell in cells_besides_key(row)]
    return f"  {sign} {row.kind} {row.key}".rstrip() + (f": {', '.join(cells)}" if cells else "")


def _cell(name: str, before: str | None, after: str | None) -> str:
    words = f"{before} -> {after}" if None not in (before, after) else (before or after or "")
    return f"{name} {words}" if name else words


def _member(member: DocumentMember) -> str:
    lines = [f"* {member.title}"]
    if member.before is not None or member.after is not None:
        was, now = (clean.line(describe(side), 300) for side in (member.before, member.after))
        lines.append(f"  was: {was}, now: {now}")
    lines += [f"  {words}" for words in (member.rule, member.link) if words]
    return "\n".join(lines)
