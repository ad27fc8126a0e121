"""The page as the ways of reading see it."""

from __future__ import annotations

from functools import cached_property

from selectolax.lexbor import LexborHTMLParser, LexborNode

from sentinel.errors import CheckFailure
from sentinel.extract import css, html
from sentinel.model import Fetched


class Page:
    """One fetched page, parsed at most once.

    Methods raise CheckFailure: EXTRACT_PARSE_ERROR for markup that is not parsed,
    EXTRACT_SELECTOR_NOT_FOUND where the context is not there.
    """

    def __init__(self, fetched: Fetched) -> None:
        self.url = fetched.final_url or fetched.url
        self.content_type = fetched.content_type
        self.text = fetched.text

    def __repr__(self) -> str:
        return f"<Page {self.url} {len(self.text)} characters>"

    @cached_property
    def tree(self) -> LexborHTMLParser:
        """The whole page as a tree."""
        return html.parse(self.text)

    @property
    def is_markup(self) -> bool:
        """HTML or XML, by its type or, where that is missing or plain text, by its first character."""
        kind = self.content_type
        if "html" in kind or "xml" in kind:
            return True
        return kind in ("", "text/plain") and self.text.lstrip()[:1] == "<"

    @property
    def is_xml(self) -> bool:
        """XML by its type, and not XHTML; or by its declaration where the type says nothing."""
        kind = self.content_type
        if "xml" in kind:
            return "html" not in kind
        return kind in ("", "text/plain") and self.text.lstrip("\ufeff \t\r\n").startswith("<?xml")

    def root(self, context: str | None) -> LexborNode:
        """The part to search in: the first match of `context`, or everything."""
        if not context:
            root = self.tree.root
            if root is None:
                raise CheckFailure("EXTRACT_PARSE_ERROR", "the page is empty")
            return root
        node = css.first(self.tree, context)
        if node is None:
            raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"nothing matches the context {context!r}")
        return node
