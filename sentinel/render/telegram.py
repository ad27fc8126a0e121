"""An alert for Telegram's Bot API: sendMessage in HTML, counted as Telegram counts.

https://core.telegram.org/bots/api#sendmessage · https://core.telegram.org/bots/api#html-style
"""

from __future__ import annotations

import html
from typing import Any, Final

from sentinel.model import Document
from sentinel.render.fit import cut, utf16
from sentinel.render.lines import Line, Run, body, headline, inert, link_of, plain

# `Any` is JSON.

#: UTF-16 code units of the text once its tags and entities are read.
MAX_TEXT: Final = 4096
#: The same of the title.
MAX_TITLE: Final = 600
#: Telegram reads 100 entities of a message; further tags are dropped, so parts are marked in text then.
MAX_TAGS: Final = 90

_TAGS: Final = {"strong": "b", "was": "s", "now": "b", "removed": "s", "added": "b"}
_LINK: Final = "Open the page"


def to_telegram(document: Document) -> dict[str, Any]:
    """The parameters of sendMessage without the chat."""
    title = cut(headline(document), MAX_TITLE, lambda text: utf16(inert(text)))
    ends = f"alert {document.alert_id} · {document.workspace_id}"
    room = MAX_TEXT - utf16(inert(title)) - utf16(inert(ends)) - len(_LINK) - 3
    lines = body(document, room, _cost)
    written = [_tagged("b", title), *_written(lines)]
    if link := link_of(document):
        written.append(f'<a href="{html.escape(link)}">{_LINK}</a>')
    written.append(_escaped(ends))
    return {
        "text": "\n".join(written),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
        "disable_notification": document.severity == "info",
    }


def _written(lines: list[Line]) -> list[str]:
    tags = 0
    written = []
    for line in lines:
        words = ""
        for run in line:
            tag = _TAGS.get(run.style) if tags < MAX_TAGS else None
            tags += tag is not None
            words += _escaped(plain(run)) if tag is None else _tagged(tag, run.text)
        written.append(words)
    return written


def _tagged(tag: str, text: str) -> str:
    return f"<{tag}>{_escaped(text)}</{tag}>"


def _escaped(text: str) -> str:
    """No tag, and nothing that Telegram takes for a link, a mention, a tag or a command by itself."""
    return html.escape(inert(text), quote=False)


def _cost(run: Run) -> int:
    """At most: the marks of `plain` are in it whether they are written or not."""
    return utf16(inert(plain(run)))
