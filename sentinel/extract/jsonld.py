"""JSON-LD as shops really write it.

Blocks are cut off by theme editors, wrapped in HTML comments, end in a comma too many, carry line
breaks inside strings, come as one object, a list, a `@graph`, or several in one script. What can
be read without guessing is read; the rest is left out, never an error: a page may hold other blocks.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from selectolax.lexbor import LexborNode

# `Any` in this module is a value of somebody's JSON; numbers are kept as the text they were.

MAX_BLOCKS: Final = 200
#: Characters in one block.
MAX_BLOCK: Final = 4 << 20

_WRAPPERS: Final = re.compile(
    r"^\s*(?:<!--|//\s*<!\[CDATA\[|<!\[CDATA\[|/\*\s*<!\[CDATA\[\s*\*/)"
    r"|(?:-->|//\s*\]\]>|/\*\s*\]\]>\s*\*/|\]\]>)\s*$"
)
# A string (kept), or what JSON does not have between strings: comments, a comma before a bracket.
# What is not closed goes to the end, or every later quote would start a search to the end again.
_BETWEEN: Final = re.compile(
    r'("(?:\\.|[^"\\])*+(?:"|\\?\Z))|//[^\n]*|/\*.*?(?:\*/|\Z)|,(?=\s*[}\]])', re.DOTALL
)
_BAD_ESCAPE: Final = re.compile(r"\\(?![\"\\/bfnrtu])")
_SPACE: Final = re.compile(r"[\s;,]*")

_DECODER: Final = json.JSONDecoder(
    strict=False, parse_float=str, parse_int=str, parse_constant=lambda _: None
)


def blocks(root: LexborNode) -> Iterator[Any]:
    """Every JSON-LD value on the page that can be read, in document order."""
    for number, script in enumerate(root.css('script[type*="ld+json" i]')):
        if number >= MAX_BLOCKS:
            return
        yield from decode(script.text(deep=True))


def decode(text: str) -> list[Any]:
    """The values in one block: one as a rule, several where a shop put them one after another."""
    if len(text) > MAX_BLOCK:
        return []
    text = _unwrapped(text)
    for candidate in (text, _repaired(text)):
        values = _values(candidate)
        if values is not None:
            return values
    if "&quot;" in text:
        return _values(html.unescape(text)) or []
    return []


def _unwrapped(text: str) -> str:
    return _WRAPPERS.sub("", _WRAPPERS.sub("", text.strip("\ufeff \t\r\n\0"))).strip()


def _repaired(text: str) -> str:
    cleaned = _BETWEEN.sub(lambda match: match[1] or "", text)
    return _BAD_ESCAPE.sub(r"\\\\", cleaned)


def _values(text: str) -> list[Any] | None:
    """All values in a row, or None where the text breaks off or is no JSON."""
    found: list[Any] = []
    at = _SPACE.match(text).end()  # type: ignore[union-attr] # matches the empty text too
    while at < len(text):
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(value)
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr] # as above
    return found or None
