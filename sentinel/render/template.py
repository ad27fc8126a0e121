"""Words of a channel's own: templates that see the neutral document and nothing else.

A template makes text: a title and a body. What a service would take for markup is escaped after it, by
that service's formatter, so a template can no more break out of a message than a page can.

It runs in minijinja on fuel that steps, bytes and elements are paid from, and it sees literals, no object
of Python's. What fuel does not bound, `contained` does: nothing here is called outside its child but by
tests. docs/decisions/0010-templates.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import minijinja
import msgspec

from sentinel.model import ChannelTemplate, Document, DocumentRows
from sentinel.render import clean
from sentinel.render.payload import iso
from sentinel.render.rows import summary
from sentinel.render.samples import SAMPLES, sample
from sentinel.render.values import describe, describe_percent

#: What one template may burn: the most expensive thing found takes 20 ms and 2 MB of it.
FUEL: Final = 50_000
#: Characters of a body; services take less, and cut it.
MAX_BODY: Final = 16_000
#: Characters of one value that a template sees, and entries of one list.
_MAX_VALUE: Final = 2_000
_MAX_ENTRIES: Final = 25
#: Gone: one that shows the inside, and one whose values can hold themselves (printed, they end the process).
_GLOBALS: Final = ("debug", "namespace", "cycler", "joiner", "dict")

_View = str | int | bool | None | Sequence["_View"] | Mapping[str, "_View"]


class TemplateFailed(Exception):  # noqa: N818 - a result, told to people and then done without
    """The template gave nothing that can be sent."""


def in_the_words(document: Document, title: str, body: str) -> Document:
    """`document` as a template has it."""
    return msgspec.structs.replace(document, title=title, words=body)


def with_note(document: Document, failed: str) -> Document:
    """`document` as it is, and that its channel's template failed: no alert is lost to a template."""
    note = clean.line(f"This is the usual form: the channel's template failed: {failed}", 300)
    return msgspec.structs.replace(document, note=note)


def render(template: ChannelTemplate, document: Document) -> tuple[str, str]:
    """Title and body; the own title, and no body, where nothing comes out. Raises TemplateFailed."""
    view = _view(document)
    title = clean.line(_rendered(template.title, view), 300) if template.title else ""
    body = clean.block(_rendered(template.body, view), MAX_BODY).strip() if template.body else ""
    return title or document.title, body


def trouble(template: ChannelTemplate) -> dict[str, str]:
    """What is wrong with `title` and `body`, tried on a made-up alert of every kind; {} if nothing."""
    found: dict[str, str] = {}
    for name, text in (("title", template.title), ("body", template.body)):
        for kind in SAMPLES:
            one_sided = ChannelTemplate(**{name: text})
            try:
                render(one_sided, sample(kind))
            except TemplateFailed as failed:
                found.setdefault(name, f"{failed} (tried on an alert of the kind {kind})")
    return found


def _rendered(source: str, view: Mapping[str, _View]) -> str:
    # Literals in front of it, on its first line: a dict of Python's could be changed, and its methods called.
    names = "".join(f"{{% set {name} = {_literal(value)} %}}" for name, value in view.items())
    environment = minijinja.Environment(
        fuel=FUEL, undefined_behavior="strict", auto_escape_callback=_as_it_is, debug=True, pycompat=False
    )
    for name in _GLOBALS:
        environment.remove_global(name)
    try:
        made = environment.render_str(names + source)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the alert goes out without the template
        raise TemplateFailed(_words(exc)) from None
    if len(made) > MAX_BODY:
        raise TemplateFailed(f"it made {len(made)} characters; {MAX_BODY} may be sent")
    return made


def _as_it_is(_: str) -> bool:
    """No escaping: what comes out is text, which each service's formatter escapes by its own rules."""
    return False


def _words(error: Exception) -> str:
    if not isinstance(error, minijinja.TemplateError):
        return type(error).__name__
    if "out of fuel" in error.message:
        return "it takes too long, or makes too much"
    detail = error.detail or error.message.partition(" (in ")[0]
    return clean.line(f"line {error.line}: {detail}" if error.line else detail, 200)


# --- what a template sees --------------------------------------------------------------------------


def _view(document: Document) -> dict[str, _View]:
    """Names and values: docs/templates.md lists them."""
    health = document.health
    only = document.fields[0] if len(document.fields) == 1 else None
    return {
        "title": document.title,
        "summary": document.summary,
        "severity": document.severity,
        "kind": document.kind,
        "rule": document.rule,
        "link": document.link,
        "alert": document.alert_id,
        "workspace": document.workspace_id,
        "time": iso(document.occurred_at),
        "change": document.change,
        "percent": describe_percent(document.percent),
        "value": _value(only.after) if only else None,
        "before": _value(only.before) if only else None,
        "fields": [
            {
                "name": field.name,
                "before": _value(field.before),
                "after": _value(field.after),
                "rows": _rows(field.rows),
            }
            for field in document.fields[:_MAX_ENTRIES]
        ],
        "conditions": [{"id": name, "severity": severity} for name, severity in document.conditions],
        "health": None if health is None else msgspec.to_builtins(health),
        "members": [
            {
                "title": member.title,
                "rule": member.rule,
                "link": member.link,
                "before": _value(member.before),
                "after": _value(member.after),
            }
            for member in document.members[:_MAX_ENTRIES]
        ],
        "more": document.more + max(len(document.members) - _MAX_ENTRIES, 0),
    }


def _value(value: object) -> str | None:
    return None if value is None else clean.clip(describe(value), _MAX_VALUE)


def _rows(rows: DocumentRows | None) -> _View:
    if rows is None:
        return None
    told = rows.changes[:_MAX_ENTRIES]
    return {
        "summary": summary(rows),
        "changes": msgspec.to_builtins(told),
        "more": rows.untold + len(rows.changes) - len(told),
    }


def _literal(value: _View) -> str:
    """`value` as minijinja writes it: JSON, but for `none`."""
    match value:
        case None:
            return "none"
        case str() | bool() | int():
            return json.dumps(value)
        case Mapping():
            return f"{{{','.join(f'{json.dumps(key)}:{_literal(inner)}' for key, inner in value.items())}}}"
    return f"[{','.join(map(_literal, value))}]"
