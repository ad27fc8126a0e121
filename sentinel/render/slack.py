"""An alert for Slack's incoming webhooks: Block Kit, with nothing of a page where Slack parses text.

A page's words go into `plain_text` and the text elements of `rich_text`, which have no markup at all.
Only the fallback `text` (notifications, and servers that know no blocks) is parsed: it is escaped.
https://docs.slack.dev/reference/block-kit/blocks · https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

from typing import Any, Final

from sentinel.model import Document
from sentinel.render.fit import cut, utf16
from sentinel.render.lines import Line, Run, body, headline, inert, link_of

# `Any` is JSON.

#: Characters of a header block.
MAX_HEADER: Final = 150
#: Characters of the rich text. Undocumented: beyond some 13,000 in all blocks Slack answers
#: msg_blocks_too_long (https://github.com/slackapi/bolt-js/issues/2509).
MAX_RICH_TEXT: Final = 9_000
#: Characters of the fallback: a notification shows no more.
MAX_FALLBACK: Final = 1_000

_STYLES: Final[dict[str, dict[str, bool]]] = {
    "strong": {"bold": True},
    "was": {"strike": True},
    "now": {"bold": True},
    "removed": {"strike": True},
    "added": {"bold": True},
}


def to_slack(document: Document) -> dict[str, Any]:
    """The body of the POST."""
    title = headline(document)
    fallback = cut(f"{title}\n{document.summary}".strip(), MAX_FALLBACK, lambda text: utf16(_escaped(text)))
    return {
        "text": _escaped(fallback),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": _blocks(document, title),
    }


def _blocks(document: Document, title: str) -> list[dict[str, Any]]:
    lines = body(document, MAX_RICH_TEXT, lambda run: utf16(run.text))
    elements = _elements(lines)
    if link := link_of(document):
        elements.append({"type": "link", "url": link, "text": "Open the page"})
    known_as = f"alert {document.alert_id} · workspace {document.workspace_id}"
    return [
        {"type": "header", "text": _plain(cut(title, MAX_HEADER))},
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]},
        {"type": "context", "elements": [_plain(cut(known_as, MAX_HEADER * 2))]},
    ]


def _elements(lines: list[Line]) -> list[dict[str, Any]]:
    """Text elements in order; each line ends in a newline of its own."""
    return [_element(run) for line in lines for run in (*line, Run("\n"))]


def _element(run: Run) -> dict[str, Any]:
    element: dict[str, Any] = {"type": "text", "text": run.text}
    return element | {"style": _STYLES[run.style]} if run.style in _STYLES else element


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escaped(text: str) -> str:
    """Slack's three control characters as entities: no `<!channel>`, no `<url|label>`."""
    return inert(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
