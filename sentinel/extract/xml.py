"""XML without DTD, entities and network: what feeds and data are read from.

A document type declaration is refused, not read: it is where entity bombs and foreign addresses are,
and nothing that is watched needs one.
"""

from __future__ import annotations

import re
from typing import Any, Final

from lxml import etree

from sentinel.errors import CheckFailure
from sentinel.extract import html

#: What may stand before the root element.
_PROLOG: Final = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_DECLARATION: Final = re.compile(r"<!DOCTYPE", re.IGNORECASE)


def parse(text: str) -> Any:  # Any: an lxml element
    """The root element.

    Raises CheckFailure EXTRACT_PARSE_ERROR for what is no XML, or has a document type declaration.
    """
    html.refuse_costly(text)
    text = text.lstrip("\ufeff \t\r\n")
    place = 0
    while found := _PROLOG.match(text, place):
        place = found.end()
    if _DECLARATION.match(text, place):
        raise CheckFailure(
            "EXTRACT_PARSE_ERROR", "XML with a document type declaration (DOCTYPE) is not read"
        )
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        return etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError as exc:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"the XML cannot be read: {str(exc)[:200]}") from exc


def text_of(element: Any) -> str:
    """All text of an element."""
    return html.tidy("".join(element.itertext("*")))


def of(element: Any, attribute: str, selector: str) -> str:
    """What `attribute` says of an element. Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND."""
    if attribute == "text":
        return text_of(element)
    if attribute == "html":
        return html.printable(etree.tostring(element, encoding="unicode", with_tail=False))
    name = "value" if attribute == "value" else attribute.removeprefix("attr:")
    value = element.get(name)
    if value is None:
        raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"the match of {selector!r} has no {attribute}")
    return html.tidy(str(value))
