"""An alert for a Teams Workflows webhook: an Adaptive Card 1.4 whose words are never Markdown.

TextBlock and Fact read Markdown, so a page's words go into the text runs of RichTextBlock, which do not.
https://adaptivecards.io/explorer/RichTextBlock.html · https://learn.microsoft.com/connectors/teams
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from sentinel.model import Document
from sentinel.render.fit import cut
from sentinel.render.lines import Run, body, headline, link_of

# `Any` is JSON.

#: Bytes. The limit is 28 KB of nobody says what; so much fits it in UTF-8 and in UTF-16. It matters: the
#: webhook answers 202 and the flow fails later, where nobody hears of it.
MAX_PAYLOAD: Final = 14_000
#: Characters of the title.
MAX_TITLE: Final = 300

_WEIGHTS: Final = frozenset(("strong", "now", "added"))
_STRUCK: Final = frozenset(("was", "removed"))


def to_teams(document: Document) -> dict[str, Any]:
    """The body of the POST."""
    title = _block([_run(Run(cut(headline(document), MAX_TITLE), "strong")) | {"size": "Large"}])
    known_as = f"alert {document.alert_id} · workspace {document.workspace_id}"
    foot = _block([_run(Run(cut(known_as, MAX_TITLE))) | {"size": "Small", "isSubtle": True}])
    room = MAX_PAYLOAD - _size(_message(document, [title, foot]))
    lines = body(document, room, lambda run: _size(_run(run)) + 1, line_end=_size(_block([])) + 1)
    blocks = [_block([_run(run) for run in line]) for line in lines if line]
    return _message(document, [title, *blocks, foot])


def _message(document: Document, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": _text(cut(headline(document), MAX_TITLE)),
        "msteams": {"width": "Full"},
        "body": blocks,
    }
    if link := link_of(document):
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the page", "url": link}]
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _block(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": runs}


def _run(run: Run) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "TextRun", "text": _text(run.text)}
    if run.style in _WEIGHTS:
        text["weight"] = "Bolder"
    if run.style in _STRUCK:
        text["strikethrough"] = True
    return text


def _text(text: str) -> str:
    """`{{DATE(...)}}` and `{{TIME(...)}}` are read in any text of a card."""
    return text.replace("{{", "{ {")


def _size(part: dict[str, Any]) -> int:
    return len(msgspec.json.encode(part))
