"""An alert for Discord's webhooks: one embed, no mentions allowed, a page's words free of markup.

https://docs.discord.com/developers/resources/message#embed-object-embed-limits
"""

from __future__ import annotations

import re
from typing import Any, Final

from sentinel.model import Document
from sentinel.render.fit import cut, utf16
from sentinel.render.lines import Line, Run, fitted, frame, headline, link_of, told
from sentinel.render.payload import iso

# `Any` is JSON.

#: Documented: title 256, description 4,096, 25 fields, name 256, value 1,024, footer 2,048; together
#: 6,000. Ours stay under the sum whatever they hold: 256 + 3,000 + 6 fields of 20 + 400 + 200.
MAX_TITLE: Final = 256
MAX_DESCRIPTION: Final = 3_000
MAX_VALUE: Final = 400
MAX_FOOTER: Final = 200

#: Beside the words, never instead of them.
_COLOURS: Final = {"info": 0x3B82F6, "warning": 0xF59E0B, "critical": 0xDC2626}
_RECOVERED: Final = 0x16A34A

#: Whatever Discord's Markdown, mentions, emoji, timestamps or links begin with; a backslash before
#: any of them makes it the character it is.
_MARKUP: Final = re.compile(r"([\\`*_~|<>\[\](){}#@:!+=-]|(?<=\d)\.)")
_WRAPPED: Final = {"strong": "**", "was": "~~", "now": "**", "removed": "~~", "added": "**"}


def to_discord(document: Document) -> dict[str, Any]:
    """The body of the POST."""
    title = cut(headline(document), MAX_TITLE, lambda text: utf16(_escaped(text)))
    embed: dict[str, Any] = {
        "title": _escaped(title),
        "description": _text(fitted(told(document), MAX_DESCRIPTION, _cost)),
        "color": _RECOVERED if document.kind == "recovery" else _COLOURS[document.severity],
        "fields": [_field(line) for line in frame(document)],
        "footer": {"text": cut(f"alert {document.alert_id} · {document.workspace_id}", MAX_FOOTER)},
        "timestamp": iso(document.occurred_at),
    }
    if link := link_of(document):
        embed["url"] = link
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _field(line: Line) -> dict[str, Any]:
    """`Rule: Widget` as a field: the label is ours, the words are not."""
    label, words = line
    value = cut(words.text.removeprefix(": "), MAX_VALUE, lambda text: utf16(_escaped(text)))
    return {"name": label.text, "value": _escaped(value) or "-", "inline": False}


def _text(lines: list[Line]) -> str:
    return "\n".join("".join(map(_written, line)) for line in lines)


def _written(run: Run) -> str:
    mark = _WRAPPED.get(run.style, "") if run.text.strip() else ""
    return f"{mark}{_escaped(run.text)}{mark}"


def _cost(run: Run) -> int:
    return utf16(_written(run))


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)
