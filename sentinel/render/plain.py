"""An alert as a title and a plain text, for services that Apprise knows and we do not."""

from __future__ import annotations

from typing import Final

from sentinel.model import Document
from sentinel.render.fit import cut, utf16
from sentinel.render.lines import Run, body, headline, inert, link_of, plain

#: Characters. Apprise cuts to each service's limits by itself; this is what people read.
MAX_TITLE: Final = 250
MAX_TEXT: Final = 2_000


def to_plain(document: Document) -> tuple[str, str]:
    """Title and text."""
    title = inert(cut(headline(document), MAX_TITLE, lambda text: utf16(inert(text))))
    lines = body(document, MAX_TEXT, lambda run: utf16(_written(run)))
    ends = [link_of(document), f"alert {document.alert_id} · {document.workspace_id}"]
    return title, "\n".join([*("".join(map(_written, line)) for line in lines), *filter(None, ends)])


def _written(run: Run) -> str:
    return inert(plain(run))
