"""What a way of reading is asked, and what it answers."""

from __future__ import annotations

import msgspec
from selectolax.lexbor import LexborNode

from sentinel.model import ContentName, ExtractMethod


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to try: the rule's own selector, or one of its fallbacks."""

    method: ExtractMethod
    selector: str
    attribute: str = "text"
    #: It is read as a price: what was asked before is left out, see sentinel.extract.asked.
    money: bool = False
    #: CSS selector of the part of the page to search in, or None for all of it.
    context: str | None = None
    #: text: all of it, or the main content.
    content: ContentName = "page"
    #: table, feed: see sentinel.model.Extraction.
    row: str | None = None
    key: str | None = None
    columns: list[str] | dict[str, str] = []


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one way of reading found."""

    raw: str
    #: 0 to 1.
    confidence: float = 1.0
    #: As the page writes it beside the amount: ISO 4217 where it is one.
    currency: str | None = None
    #: The decimal mark in `raw` is ours, and proves nothing of the page's.
    joined: bool = False
    #: jsonpath: the same as JSON, where `raw` is not: of a text, and of null, whose text is empty.
    json: str | None = None
    #: table, feed: (key, column -> text) of each row.
    rows: tuple[tuple[str, dict[str, str]], ...] | None = None
    #: css, xpath: the element it was read from.
    node: LexborNode | None = None
