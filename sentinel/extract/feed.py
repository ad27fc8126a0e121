"""Entries of a feed: RSS 2.0, RSS 1.0 (RDF), Atom and JSON Feed, told in the same columns.

XML is parsed without DTD, entities and network (`sentinel.extract.xml`). Sources: RSS 2.0
specification, RSS 1.0 (web.resource.org/rss/1.0), RFC 4287, JSON Feed 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec
from selectolax.lexbor import LexborHTMLParser

from sentinel.errors import CheckFailure
from sentinel.extract import html, rows, xml
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step

# `Any` is an lxml element, or JSON.

#: The common columns, and the elements they come from, best first.
COLUMNS: Final = {
    "title": ("title",),
    "link": ("link",),
    "published": ("pubDate", "published", "date", "issued", "date_published"),
    "updated": ("updated", "modified", "date_modified"),
    "author": ("author", "creator"),
    "summary": ("description", "summary", "content_text", "content", "encoded", "content_html"),
}
_KEYS: Final = ("guid", "id")
_MARKED_UP: Final = ("title", "summary")
#: Characters of a summary, markup and all, that are looked at.
MAX_SUMMARY: Final = 20_000


def read(page: Page, step: Step) -> Found:
    """The entries, in the feed's order.

    `selector` is not asked; `row` names the element of an entry (item, entry), `columns` other elements.
    Raises CheckFailure EXTRACT_PARSE_ERROR where the page is no feed, EXTRACT_SELECTOR_NOT_FOUND for a
    column that no entry has.
    """
    if page.text.lstrip("\ufeff \t\r\n").startswith("{"):
        entries = list(islice(_of_json(page.text), rows.MAX_ROWS + 1))
    else:
        entries = list(islice(_of_xml(page.text, step.row), rows.MAX_ROWS + 1))
    return rows.found(_rows(entries, step))


def _rows(entries: list[dict[str, str]], step: Step) -> Iterator[rows.Row]:
    names = dict.fromkeys(name for entry in entries for name in entry)
    asked = step.columns if isinstance(step.columns, dict) else {name: name for name in step.columns}
    told = {name: rows.column(where, names) for name, where in asked.items()} if entries else asked
    key = rows.column(asked.get(step.key, step.key), names) if step.key and entries else None
    for entry in entries:
        shown = told or {name: name for name in COLUMNS if name in entry}
        yield (
            entry.get(key, "") if key is not None else _key(entry),
            {name: entry.get(where, "") for name, where in shown.items()},
        )


def _key(entry: dict[str, str]) -> str:
    """What an entry is known by: its id, its link, its title."""
    return next((entry[name] for name in (*_KEYS, "about", "link", "title") if entry.get(name)), "")


def _with_common(own: dict[str, str]) -> dict[str, str]:
    """An entry under its own names and the common ones."""
    entry = dict(own)
    for name, sources in COLUMNS.items():
        text = next((own[source] for source in sources if own.get(source)), None)
        if text is not None:
            entry[name] = _plain(text) if name in _MARKED_UP else text
    return entry


def _plain(text: str) -> str:
    """Without the markup that titles and summaries carry as text."""
    text = text[:MAX_SUMMARY]
    if "<" not in text and "&" not in text:
        return text
    html.refuse_costly(text)
    root = LexborHTMLParser(text.encode("utf-8", "replace")).body
    return html.visible_text(root) if root is not None else text


# --- XML ------------------------------------------------------------------------------------------

_IS_HTML: Final = re.compile(
    r"\ufeff?\s{0,100}(?:<\?xml[^<>]{0,200}>\s{0,100})?(?:<!--.{0,2000}?-->\s{0,100})?<(?:!doctype\s{1,10}html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)


def _of_xml(text: str, row: str | None) -> Iterator[dict[str, str]]:
    if row is None and _IS_HTML.match(text):
        raise CheckFailure("EXTRACT_PARSE_ERROR", "the page is HTML, not a feed")
    root = xml.parse(text)
    named = {row} if row else {"item", "entry"}
    if row is None and _local(root) not in ("rss", "RDF", "feed"):
        raise CheckFailure(
            "EXTRACT_PARSE_ERROR", f"this is no feed: its first element is {_local(root)[:40]!r}"
        )
    for element in root.iter("*"):
        if _local(element) in named:
            yield _with_common(_entry(element))


def _entry(element: Any) -> dict[str, str]:
    own: dict[str, str] = {}
    if about := next((v for k, v in element.attrib.items() if k.endswith("}about")), None):
        own["about"] = html.tidy(str(about))
    for child in islice(element.iterchildren("*"), rows.MAX_COLUMNS):
        name = _local(child)
        text = xml.text_of(child)
        if name == "link" and child.get("href"):  # Atom: the page itself, not its comments or enclosures
            if child.get("rel", "alternate") != "alternate":
                continue
            text = html.tidy(child.get("href"))
        elif name == "author" and len(child):
            text = next((xml.text_of(one) for one in child.iterchildren("*") if _local(one) == "name"), text)
        if text:
            own.setdefault(name, text)
    return own


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


# --- JSON Feed ------------------------------------------------------------------------------------


def _of_json(text: str) -> Iterator[dict[str, str]]:
    try:
        document = msgspec.json.decode(text.lstrip("\ufeff").encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as exc:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"the feed is not JSON: {str(exc)[:200]}") from exc
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise CheckFailure("EXTRACT_PARSE_ERROR", "this is no JSON Feed: it has no list `items`")
    for item in items:
        if isinstance(item, dict):
            own = {name: told for name, value in item.items() if (told := _scalar(value)) is not None}
            if "url" in own:
                own.setdefault("link", own["url"])
            authors = item.get("authors") or [item.get("author")]
            if isinstance(authors, list) and authors and isinstance(authors[0], dict):
                own["author"] = _scalar(authors[0].get("name")) or ""
            yield _with_common(own)


def _scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return html.tidy(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None
