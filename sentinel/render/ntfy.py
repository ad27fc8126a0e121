"""An alert for ntfy: a message in plain text, published as JSON.

https://docs.ntfy.sh/publish/#publish-as-json · https://docs.ntfy.sh/publish/#limitations
"""

from __future__ import annotations

from typing import Any, Final

from sentinel.model import Document
from sentinel.render.fit import cut, utf8
from sentinel.render.lines import Run, body, headline, inert, link_of, plain

# `Any` is JSON.

#: Bytes of a message: a longer one becomes a file attached to it.
MAX_MESSAGE: Final = 4096
#: Bytes of a title: none is documented, and a phone shows less.
MAX_TITLE: Final = 250

#: 1 to 5; 4 and 5 vibrate longer, 5 stays in view.
_PRIORITIES: Final = {"info": 3, "warning": 4, "critical": 5}
#: Shown as emoji before the title, which says the same in words.
_TAGS: Final = {"info": "information_source", "warning": "warning", "critical": "rotating_light"}


def to_ntfy(document: Document) -> dict[str, Any]:
    """The body of the POST without the topic."""
    ends = f"alert {document.alert_id} · {document.workspace_id}"
    lines = body(document, MAX_MESSAGE - utf8(ends), lambda run: utf8(_written(run)))
    payload: dict[str, Any] = {
        "title": inert(cut(headline(document), MAX_TITLE, lambda text: utf8(inert(text)))),
        "message": "\n".join([*("".join(map(_written, line)) for line in lines), ends]),
        "priority": 3 if document.kind == "recovery" else _PRIORITIES[document.severity],
        "tags": ["white_check_mark" if document.kind == "recovery" else _TAGS[document.severity]],
    }
    if link := link_of(document):
        payload["click"] = link
    return payload


def _written(run: Run) -> str:
    return inert(plain(run))
