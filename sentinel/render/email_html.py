"""The HTML part of an e-mail: tables and inline styles, which every reader knows; nothing from outside.

Each change is told by a word, a mark and a colour. Readers that know them get dark colours by a style
sheet; the others show the light ones, readable on their own.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Final

from sentinel.model import Document, DocumentCell, DocumentField, DocumentMember, DocumentRow, DocumentRows
from sentinel.render import clean, email_plain
from sentinel.render.difference import Piece
from sentinel.render.email_plain import cells_besides_key, is_short, kind, pieces, shown
from sentinel.render.rows import summary as rows_summary
from sentinel.render.values import describe, describe_percent

#: Characters of the whole: Gmail cuts what is longer than 102 KB, and then the end is missing.
MAX_HTML: Final = 80_000
#: Columns of a row, and characters of one, that are told.
_MAX_CELLS: Final = 8
_MAX_CELL: Final = 120

_FONT: Final = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
#: Name -> style in the light, colours in the dark. White on the badges is 4.5:1 or better.
_INK: Final = {
    "page": ("background:#eef0f3;color:#1b1f24", "background:#121417;color:#e7e9ec"),
    "card": ("background:#ffffff;color:#1b1f24", "background:#1d2025;color:#e7e9ec"),
    "soft": ("color:#59636e", "color:#a9b2bd"),
    "line": ("border-color:#d9dde2", "border-color:#3a4048"),
    "was": ("background:#fdeceb;color:#8c1d18", "background:#45201d;color:#ffc8c2"),
    "now": ("background:#e5f5ea;color:#0a5727", "background:#153b24;color:#b4efc7"),
    "link": ("color:#0b57c2", "color:#8ab8ff"),
    "info": ("background:#1f5fa8;color:#ffffff", "background:#1f5fa8;color:#ffffff"),
    "warning": ("background:#8a5300;color:#ffffff", "background:#8a5300;color:#ffffff"),
    "critical": ("background:#b3261e;color:#ffffff", "background:#b3261e;color:#ffffff"),
}
_DARK: Final = "".join(
    f".{name}{{{colours.replace(';', '!important;')}!important}}" for name, (_, colours) in _INK.items()
)
_TABLE: Final = 'role="presentation" cellpadding="0" cellspacing="0" border="0"'
_MARKS: Final = {"changed": "±", "added": "+", "removed": "−", "moved": "↕"}


def to_html(document: Document) -> str:
    """A whole HTML page."""
    told = [_pre(document.words)] if document.words else _told(document)
    sections = [_head(document), *told]
    end = _end(document)
    body = "".join(_within(sections, MAX_HTML - len(end), "part"))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta name="supported-color-schemes" content="light dark">'
        f"<title>{_escape(document.title)}</title>"
        f"<style>:root{{color-scheme:light dark}}@media (prefers-color-scheme:dark){{{_DARK}}}</style>"
        "</head>\n"
        f"<body {_ink('page', 'margin:0;padding:0')}>"
        f'<table {_TABLE} width="100%" {_ink("page")}><tr><td align="center" style="padding:16px 8px">\n'
        f'<table {_TABLE} width="100%" {_ink("card", f"max-width:620px;border-radius:8px;{_FONT}")}>'
        f'<tr><td style="padding:20px;font-size:15px;line-height:1.45">\n{body}{end}</td></tr></table>\n'
        "</td></tr></table></body></html>\n"
    )


# --- the parts, from top to bottom ---------------------------------------------------------------


def _head(document: Document) -> str:
    badge = _ink(
        document.severity,
        "display:inline-block;padding:2px 8px;border-radius:4px;font-size:12px;font-weight:bold",
    )
    return (
        f"<div><span {badge}>{_escape(document.severity)}</span>"
        f" <span {_ink('soft', 'font-size:13px')}>&nbsp;{kind(document)}</span></div>\n"
        '<h1 style="margin:10px 0 14px;font-size:20px;line-height:1.3;overflow-wrap:anywhere">'
        f"{_escape(document.title)}</h1>\n"
    )


def _told(document: Document) -> list[str]:
    sections = []
    if (health := document.health) is not None:
        sections.append(_paragraph(f"<b>{_escape(health.code)}</b> {_escape(health.detail)}"))
        if health.recommendation:
            sections.append(_paragraph(f"<b>To do:</b> {_escape(health.recommendation)}"))
    by = describe_percent(document.percent)
    fields = document.fields[: email_plain.MAX_FIELDS]
    sections += [_field(field, by if place == 0 else "") for place, field in enumerate(fields)]
    if (hidden := len(document.fields) - len(fields)) > 0:
        sections.append(_soft(f"and {hidden} more field{'s' * (hidden > 1)}"))
    sections += [_member(member) for member in document.members]
    if document.more:
        sections.append(_soft(f"and {document.more} more like {'these' if document.members else 'this'}"))
    return sections


def _end(document: Document) -> str:
    """The link, and what is always told."""
    rows = "".join(
        f"<tr><td {_ink('soft', 'padding:2px 12px 2px 0;vertical-align:top;white-space:nowrap')}>{label}</td>"
        '<td style="padding:2px 0;overflow-wrap:anywhere">'
        f"{_link(words) if label == 'Page' else _escape(words)}</td></tr>\n"
        for label, words in email_plain.frame(document)
        if words
    )
    note = _soft(f"({_escape(document.note)})") if document.note else ""
    style = _ink("line", "margin-top:18px;padding-top:12px;border-top:1px solid;width:100%;font-size:13px")
    return f"<div {style}><table {_TABLE}>\n{rows}</table></div>{note}"


# --- one field ---------------------------------------------------------------------------------------


def _field(field: DocumentField, by: str) -> str:
    if field.rows is not None:
        return _named(f"{_escape(field.name)}: {_escape(rows_summary(field.rows))}", _rows(field.rows))
    if is_short(field):
        was, now = _escape(shown(field.before)), _escape(shown(field.after))
        after = f"<b>{now}</b> ({_escape(by)})" if by else f"<b>{now}</b>"
        return _named(_escape(field.name), _two(f"<del>{was}</del>", after))
    legend = (
        f" <span {_ink('soft', 'font-weight:normal;font-size:12px')}>("
        f"{_mark(Piece('removed', 'struck out'))} was there, {_mark(Piece('added', 'underlined'))} is new)"
        "</span>"
    )
    # A hair's breadth between the old word and the new one, which else read as one.
    changed = "".join(map(_mark, pieces(field.before, field.after))).replace(
        "</del><ins", "</del>&#8202;<ins"
    )
    return _named(_escape(field.name) + legend, _boxed(changed))


def _two(was: str, now: str) -> str:
    """Before and after, one below the other: side by side there is no room on a phone."""
    cell = "padding:6px 10px;overflow-wrap:anywhere"
    label = "padding:6px 10px;width:1%;white-space:nowrap;vertical-align:top"
    return (
        f'<table {_TABLE} width="100%" style="font-size:16px">\n'
        f"<tr><td {_ink('was', label)}>−&nbsp;was</td><td {_ink('was', cell)}>{was}</td></tr>\n"
        f"<tr><td {_ink('now', label)}>+&nbsp;now</td><td {_ink('now', cell)}>{now}</td></tr></table>\n"
    )


def _mark(piece: Piece) -> str:
    text = _escape(piece.text)
    match piece.kind:
        case "removed":
            return f"<del {_ink('was', 'text-decoration:line-through')}>{text}</del>"
        case "added":
            return f"<ins {_ink('now', 'text-decoration:underline')}>{text}</ins>"
    return text


def _rows(rows: DocumentRows) -> str:
    told = rows.changes[: email_plain.MAX_ROWS]
    lines = list(_within([_row(row) for row in told], MAX_HTML // 2, "row"))
    hidden = rows.untold + len(rows.changes) - len(told)
    more = _soft(f"and {hidden} more") if hidden else ""
    return f'<table {_TABLE} width="100%" style="font-size:14px">\n{"".join(lines)}</table>{more}\n'


def _row(row: DocumentRow) -> str:
    label = _ink(
        {"added": "now", "removed": "was"}.get(row.kind, "soft"),
        "padding:5px 8px;width:1%;white-space:nowrap;vertical-align:top;font-size:13px",
    )
    cells = "".join(map(_cell, cells_besides_key(row)[:_MAX_CELLS]))
    key = f"<b>{_escape(row.key)}</b>" if row.key else ""
    style = _ink("line", "padding:5px 8px;border-bottom:1px solid;overflow-wrap:anywhere")
    return f"<tr><td {label}>{_MARKS[row.kind]}&nbsp;{row.kind}</td><td {style}>{key}{cells}</td></tr>\n"


def _cell(cell: DocumentCell) -> str:
    name = f"<span {_ink('soft')}>{_escape(clean.clip(cell.name, _MAX_CELL))}</span> " if cell.name else ""
    before, after = (
        None if side is None else clean.clip(side, _MAX_CELL) for side in (cell.before, cell.after)
    )
    if before is None or after is None:
        words = _escape(before or after or "")
    else:
        words = f"{_mark(Piece('removed', before))} → {_mark(Piece('added', after))}"
    return f"<div>{name}{words}</div>"


def _member(member: DocumentMember) -> str:
    changed = ""
    if member.before is not None or member.after is not None:
        was, now = (_escape(clean.line(describe(side), 300)) for side in (member.before, member.after))
        changed = _two(f"<del>{was}</del>", f"<b>{now}</b>")
    where = " · ".join(filter(None, [_escape(member.rule), _link(member.link)]))
    return _named(_escape(member.title), changed + (_soft(where) if where else ""))


# --- what all of them are made of ------------------------------------------------------------------


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def _ink(name: str, style: str = "") -> str:
    """The attributes of an element in one of the colours."""
    light, _ = _INK[name]
    # The colours last: `border: 1px solid` would take back that of the border.
    return f'class="{name}" style="{style}{";" if style else ""}{light}"'


def _link(url: str) -> str:
    """`url` (http or https: the document holds no other) as a link that shows where it leads."""
    if not url:
        return ""
    shown_as = _escape(clean.clip(url, 300))
    return f'<a href="{_escape(url)}" {_ink("link")} rel="noopener noreferrer">{shown_as}</a>'


def _named(name: str, content: str) -> str:
    style = "margin:0 0 4px;font-weight:bold;overflow-wrap:anywhere"
    return f'<div style="margin:0 0 14px"><div style="{style}">{name}</div>\n{content}</div>\n'


def _boxed(content: str) -> str:
    box = "padding:8px 10px;border:1px solid;border-radius:4px;white-space:pre-wrap;overflow-wrap:anywhere"
    return f"<div {_ink('line', f'{box};font-size:14px')}>{content}</div>\n"


def _pre(text: str) -> str:
    return f'<div style="margin:0 0 14px;white-space:pre-wrap;overflow-wrap:anywhere">{_escape(text)}</div>\n'


def _paragraph(content: str) -> str:
    return f'<p style="margin:0 0 10px;overflow-wrap:anywhere">{content}</p>\n'


def _soft(content: str) -> str:
    return f"<p {_ink('soft', 'margin:4px 0 10px;font-size:13px;overflow-wrap:anywhere')}>{content}</p>\n"


def _within(parts: Sequence[str], room: int, noun: str) -> Iterable[str]:
    """As many parts as fit, and how many did not."""
    for place, part in enumerate(parts):
        room -= len(part)
        if room < 0:
            left = len(parts) - place
            words = f"{left} more {noun}{'s' * (left > 1)} left out: the message would be too long"
            yield f'<tr><td colspan="2">{_soft(words)}</td></tr>' if noun == "row" else _soft(words)
            return
        yield part
