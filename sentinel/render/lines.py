"""An alert as lines of styled words: what every chat service is told, before its own rules apply.

    told(document)     what changed, a line a field
    frame(document)    what is always told: why, which rule, when
    body(document, ..) as much of both as there is room for

A formatter writes each run in its own way, and says with `cost` what that takes of its limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec

from sentinel.model import Document, DocumentField, DocumentMember, DocumentRow
from sentinel.render import clean
from sentinel.render.difference import Piece, difference, shortened
from sentinel.render.fit import ELLIPSIS, cut
from sentinel.render.payload import iso
from sentinel.render.rows import summary
from sentinel.render.values import describe, describe_percent

#: was, now: a value that was replaced, and its successor. removed, added: parts of a longer text.
Style = Literal["plain", "strong", "was", "now", "removed", "added"]

#: Fields of one alert that a message tells; more are counted.
MAX_FIELDS: Final = 10
#: Rows of one list, and members of a digest, that are told; more are counted.
MAX_ROWS: Final = 10
MAX_MEMBERS: Final = 15
#: Pieces of one difference: Telegram takes 100 entities in a message and drops the rest unsaid.
MAX_PIECES: Final = 30
#: Values longer than this are told by their difference (characters); alone, so much of them is told.
SHORT: Final = 60
MAX_ALONE: Final = 300
#: Characters of one sentence of the frame.
MAX_WORDS: Final = 400
#: A link that is longer is left out: services refuse the whole message for it (characters).
MAX_LINK: Final = 2000


class Run(msgspec.Struct, frozen=True):
    """Words of one style."""

    text: str
    style: Style = "plain"


Line = tuple[Run, ...]


def headline(document: Document) -> str:
    """What it is, how bad, and the title: `Alert (warning): Widget: 149.99 EUR -> 129.99 EUR`."""
    kind = "Alert" if document.kind == "change" else document.kind.capitalize()
    return f"{kind} ({document.severity}): {document.title}"


def told(document: Document) -> list[Line]:
    """What changed: what a template made of it, or a line for each field, row and member of a digest."""
    if document.words:
        return [(Run(line),) for line in document.words.splitlines()]
    lines = [line for field in document.fields[:MAX_FIELDS] for line in _field(field)]
    if lines and (by := describe_percent(document.percent)):
        lines[0] = (*lines[0], Run(f" ({by})"))
    lines += _more(len(document.fields) - MAX_FIELDS, "field")
    lines += [_member(member) for member in document.members[:MAX_MEMBERS]]
    return lines + _more(document.more + max(0, len(document.members) - MAX_MEMBERS), "alert")


def _more(hidden: int, what: str) -> list[Line]:
    return [(Run(f"and {hidden} more {what}{'s' * (hidden > 1)}"),)] if hidden > 0 else []


def frame(document: Document) -> list[Line]:
    """What is always told, in the order of what matters."""
    rows = []
    if (health := document.health) is not None:
        rows += [("Code", health.code), ("Detail", health.detail), ("To do", health.recommendation)]
    rows += [("Because", because(document)), ("Rule", document.rule), ("Note", document.note)]
    rows.append(("At", iso(document.occurred_at)))
    return [(Run(label, "strong"), Run(f": {cut(words, MAX_WORDS)}")) for label, words in rows if words]


def body(document: Document, room: int, cost: Callable[[Run], int], *, line_end: int = 1) -> list[Line]:
    """What changed, then what is always told, within `room`: the frame gets its room first."""
    always = fitted(frame(document), room, cost, line_end=line_end)
    taken = sum(line_end + sum(map(cost, line)) for line in always)
    return fitted(told(document), room - taken, cost, line_end=line_end) + always


def because(document: Document) -> str:
    """The conditions that were met, in words; '' where there were none."""
    return ", ".join(f"{name} ({severity})" if severity else name for name, severity in document.conditions)


def link_of(document: Document) -> str:
    """The page's address where a service will take it, else ''."""
    return document.link if len(document.link) <= MAX_LINK else ""


def plain(run: Run) -> str:
    """A run where there are no styles: parts of a text are marked as wdiff marks them."""
    match run.style:
        case "removed":
            return f"[-{run.text}-]"
        case "added":
            return f"{{+{run.text}+}}"
    return run.text


def fitted(lines: Iterable[Line], room: int, cost: Callable[[Run], int], *, line_end: int = 1) -> list[Line]:
    """As many whole runs as `room` holds, the next one cut, and what is left out marked by an ellipsis.

    `cost` is what a run takes, `line_end` what each line takes besides. A room too small for anything
    gives no lines.
    """
    kept: list[Line] = []
    for line in lines:
        left = room - line_end
        runs: list[Run] = []
        for run in line:
            if not run.text:
                continue
            if (price := cost(run)) > left:
                runs += _beginning(run, left, cost)
                return [*kept, tuple(runs)] if runs else _ended(kept, cost)
            runs.append(run)
            left -= price
        kept.append(tuple(runs))
        room = left
    return kept


def _beginning(run: Run, room: int, cost: Callable[[Run], int]) -> list[Run]:
    """What fits of a run that does not fit whole."""
    text = cut(run.text, room, lambda text: cost(Run(text, run.style)))
    return [Run(text, run.style)] if text else []


def _ended(kept: list[Line], cost: Callable[[Run], int]) -> list[Line]:
    """Nothing more fits, not even an ellipsis: the last run ends in one, and takes no more than it did."""
    if not kept or not kept[-1]:
        return kept
    *before, last = kept[-1]
    # Longer than it may be, so that it is cut.
    text = cut(f"{last.text} more", cost(last), lambda text: cost(Run(text, last.style)))
    return [*kept[:-1], (*before, Run(text, last.style))]


def _field(field: DocumentField) -> list[Line]:
    name = (Run(field.name, "strong"), Run(": "))
    if (rows := field.rows) is not None:
        listed = [_row(row) for row in rows.changes[:MAX_ROWS]]
        untold = rows.untold + max(0, len(rows.changes) - MAX_ROWS)
        return [(*name, Run(summary(rows))), *listed, *_more(untold, "row")]
    before, after = (clean.line(describe(side), clean.MAX_TEXT) for side in (field.before, field.after))
    if field.before is None or field.after is None or max(len(before), len(after)) <= SHORT:
        return [(*name, *_replaced(before, after))]
    return [(*name, *_runs(shortened(difference(before, after))))]


def _replaced(before: str, after: str) -> Line:
    old, new = clean.clip(before, MAX_ALONE), clean.clip(after, MAX_ALONE)
    return (Run(old, "was"), Run(" → "), Run(new, "now"))


def _row(row: DocumentRow) -> Line:
    """`changed 4711: price 5 → 6, stock 3 → 2`."""
    runs = [Run(f"{row.kind} "), Run(row.key, "strong")]
    for index, cell in enumerate(row.cells):
        name = f" {cell.name}" if cell.name else ""
        runs.append(Run(f"{',' if index else ':' * bool(row.key)}{name} "))
        if row.kind == "changed":
            runs += _replaced(cell.before or "nothing", cell.after or "nothing")
        else:
            runs.append(Run(cell.after or cell.before or "nothing"))
    return tuple(runs)


def _member(member: DocumentMember) -> Line:
    return (Run("• "), Run(member.title, "strong"), Run(f" ({member.rule})" if member.rule else ""))


def _runs(pieces: Sequence[Piece]) -> Iterable[Run]:
    styles: dict[str, Style] = {"same": "plain", "removed": "removed", "added": "added"}
    for piece in pieces[:MAX_PIECES]:
        yield Run(piece.text, styles[piece.kind])
    if len(pieces) > MAX_PIECES:
        yield Run(f" {ELLIPSIS}")


# --- what apps turn into links and mentions by themselves -----------------------------------------

#: Where a mention, a tag, a command, a host name or a scheme would be recognised.
_ACTS: Final = re.compile(r"(?<=[@#$/])(?=\w)|(?<=\.)(?=[^\W\d_]{2})|(?<=:)(?=/)")
#: WORD JOINER: no width, no break; enough that no app takes what is around it for one thing.
_APART: Final = "\u2060"


def inert(text: str) -> str:
    """`text` that an app shows and does not turn into links, mentions, tags or commands."""
    return _ACTS.sub(_APART, text)
