"""Text cut to what a service takes, by the measure that service counts in, never inside a character."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

ELLIPSIS: Final = "…"
#: Code points of one character as people see it that are looked at; a longer pile is cut anywhere.
_MAX_CLUSTER: Final = 32

_JOINER: Final = "\u200d"


def utf16(text: str) -> int:
    """Length in UTF-16 code units: what JavaScript, and so most chat services, call characters."""
    return len(text) + sum(character > "\uffff" for character in text)


def utf8(text: str) -> int:
    """Length in bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def cut(text: str, limit: int, measure: Callable[[str], int] = utf16) -> str:
    """`text`, or its longest beginning that ends in an ellipsis and measures at most `limit`; '' if none.

    `measure` must not shrink when text is added.
    """
    if measure(text) <= limit:
        return text
    low, high = 0, len(text)  # a beginning of `low` fits, one of `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        if measure(text[:middle] + ELLIPSIS) <= limit:
            low = middle
        else:
            high = middle
    kept = text[: _boundary(text, low)].rstrip() + ELLIPSIS
    return kept if measure(kept) <= limit else ""


def _boundary(text: str, index: int) -> int:
    """`index`, or the place before it where the character that it would cut through begins."""
    for place in range(index, max(index - _MAX_CLUSTER, 0), -1):
        if place == len(text) or not _continues(text, place):
            return place
    return index if index > _MAX_CLUSTER else 0


def _continues(text: str, index: int) -> bool:
    """Whether the code point at `index` belongs to the character before it (the common cases of UAX 29)."""
    here, before = text[index], text[index - 1]
    if _JOINER in (here, before) or unicodedata.category(here).startswith("M"):
        return True
    if "\U0001f3fb" <= here <= "\U0001f3ff":  # skin tones
        return True
    if _is_flag(here) and _is_flag(before):  # flags are pairs of letters: count back to where they begin
        start = index
        while start and _is_flag(text[start - 1]) and index - start < _MAX_CLUSTER:
            start -= 1
        return (index - start) % 2 == 1
    return False


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
