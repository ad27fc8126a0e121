"""What an element asks now, where it also shows what it asked before, or its cents apart.

`<del>49,99 €</del> 29,99 €` asks 29,99 €, and `$19<sup>99</sup>` asks $19.99. What is struck through (by its
tag, by its own style) or called old is left out, as long as an amount remains that may be the new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec
from selectolax.lexbor import LexborNode

from sentinel.decide import number
from sentinel.decide.money import Price, read_price
from sentinel.extract import html
from sentinel.extract.place import lineage, names

#: Elements looked at inside of one, and matches of a selector.
MAX_ELEMENTS: Final = 400
MAX_OTHERS: Final = 20
#: Longest text that is one amount and what it was (characters).
MAX_TEXT: Final = 1_000
#: The same with what is hidden and with all of its white space.
MAX_SOURCE: Final = 20_000
#: Share of the old amount that a new one may be where it stands without a currency, and where the old one
#: is only called a list price or a regular one: less than that is a number of pieces, or shipping.
_LEAST: Final = {"struck": 0.05, "named": 0.05, "compared": 0.2}

_STRUCK_TAGS: Final = frozenset({"del", "s", "strike"})
_STRUCK_STYLE: Final = re.compile(r"text-decoration[^;]*line-through", re.IGNORECASE)
#: Called what was asked before.
_NAMED_OLD: Final = re.compile(
    r"(?<![a-z])old|(?<![a-z])was(?![a-z])|strike|cross(?:ed)?|barred|previous|compare|line-?through|"
    r"discounted-from|(?<![a-z])before|"
    r"(?:^|[-_ ])(?:del|stare?|vecchio|ancien|antes|staraya|prev)(?:$|[-_ ])",
    re.IGNORECASE,
)
#: Called what others ask, or what is asked at other times: old only beside another amount.
_COMPARED: Final = re.compile(
    r"list-?_?price|regular|msrp|rrp|\buvp|srp\b|original|initial|full-?price|(?:^|[-_ ])alt(?:$|[-_ ])",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(
    r"our-?price|current|actual|final|(?<![a-z])sale(?![a-z])|special|now\b|product-?_?price|"
    r"price-?_?now|new-?price|"
    r"price-?_?new|offer-?_?price|selling|today|main|buy-?_?box|\bpdp|detail",
    re.IGNORECASE,
)
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SMALL_TAGS: Final = frozenset({"sup", "span", "small", "b", "em", "i", "strong"})
_CENTS_NAME: Final = re.compile(r"cent|decimal|fraction|penny|penni|kopek|minor|small|sup\b", re.IGNORECASE)
_FOOTNOTE: Final = re.compile(r"foot-?note|\bnote|\bref(?:erence)?\b", re.IGNORECASE)
_FIGURES: Final = re.compile(r"\d{1,2}")
_WHOLE: Final = re.compile(r"\d(?:[\d.,'’]|\s(?=\d{3}(?!\d)))*$")
#: Where a decimal mark is to stand; no character of any text.
_HERE: Final = "\ufdd0"
_MARK: Final = re.compile(rf"\s*{_HERE}([.,])\s*")


class Asked(msgspec.Struct, frozen=True):
    """A text that shows what is asked now."""

    text: str
    #: Named by what was left out, where the rest names none.
    currency: str | None = None
    #: The decimal mark is ours: the page shows cents apart, and proves none.
    joined: bool = False


def asked(node: LexborNode) -> Asked:
    """The text of an element, as `html.visible_text` tells it, without what it asked before."""
    parts = [one for one in node.css("*")[:MAX_ELEMENTS] if one.mem_id != node.mem_id]
    if not parts or len(node.text(deep=True)) > MAX_SOURCE:
        return Asked(html.visible_text(node))
    marks, notes = _small_print(node, parts)
    full = _text(node, marks=marks, without=notes)
    if len(full) > MAX_TEXT:
        return Asked(html.visible_text(node))
    old = list(_old_ones(parts))
    before = read_price(full) if old else None
    if before is not None:
        for kinds in (("struck", "named", "compared"), ("struck", "named"), ("struck",)):
            out = {one.mem_id for one, kind in old if kind in kinds}
            rest = _text(node, without=out | notes, marks=marks) if out else ""
            price = read_price(rest) if rest != full else None
            if price is not None and _may_be_new(price, before, max(_LEAST[kind] for kind in kinds)):
                return Asked(rest, None if price.currency else before.currency, bool(marks))
    return Asked(full, joined=bool(marks))


def first_asked(matches: list[LexborNode]) -> LexborNode:
    """The first match; where it is struck through, the first in the box around that which is not."""
    first = matches[0]
    struck = next((one for one in lineage(first, 4) if _is_struck(one)), None)
    around = struck.parent if struck is not None else None
    if around is None or around.tag in ("body", "html"):
        return first
    for one in matches[1:MAX_OTHERS]:
        if any(part.mem_id == around.mem_id for part in lineage(one, 8)) and not is_struck(one):
            return one
    return first


def is_struck(node: LexborNode) -> bool:
    """Whether an element, or what it stands in, is struck through."""
    return any(_is_struck(one) for one in lineage(node, 4))


def is_called_old(called: list[str]) -> bool:
    """Of names, the innermost first: the first that says when the price holds decides."""
    for name in called:
        if _NAMED_OLD.search(name) or _COMPARED.search(name):
            return True
        if _ASKED.search(name):
            return False
    return False


def is_called_asked(name: str) -> bool:
    """Whether a name says that this is what is asked now."""
    return _ASKED.search(name) is not None


def _is_struck(node: LexborNode) -> bool:
    return node.tag in _STRUCK_TAGS or bool(_STRUCK_STYLE.search(node.attributes.get("style") or ""))


def _may_be_new(price: Price, before: Price, least: float) -> bool:
    """Whether what remains is an amount of the same thing."""
    if price.part or (price.currency is not None and before.currency not in {None, price.currency}):
        return False
    is_near = float(before.amount) * least <= float(price.amount) <= float(before.amount)
    return is_near or (least < max(_LEAST.values()) and price.currency is not None)


def _old_ones(parts: list[LexborNode]) -> Iterator[tuple[LexborNode, str]]:
    """Elements that show a number and are struck through or called old, and what says so."""
    for node in parts:
        kind = _old(node)
        if kind is not None and any(char.isdigit() for char in node.text(deep=True)):
            yield node, kind


def _old(node: LexborNode) -> str | None:
    if _is_struck(node):
        return "struck"
    called = _CAPITAL.sub("-", names(node))
    if not called or _ASKED.search(called):
        return None
    if _NAMED_OLD.search(called):
        return "named"
    return "compared" if _COMPARED.search(called) else None


def _small_print(root: LexborNode, parts: list[LexborNode]) -> tuple[dict[int, str], set[int]]:
    """Elements that are the cents of the number before them, with their mark, and those of footnotes."""
    marks: dict[int, str] = {}
    notes: set[int] = set()
    for node in parts:
        if node.tag not in _SMALL_TAGS or (node.tag != "sup" and not _CENTS_NAME.search(names(node))):
            continue
        text = (node.text(deep=True) or "").strip()
        if _FIGURES.fullmatch(text) is None:
            continue
        before = html.tidy(_text_before(root, node))
        mark = None if _is_footnote(node) or len(text) == 1 else _mark_behind(before)
        if mark is not None:
            marks[node.mem_id] = mark
        elif node.tag == "sup" and before and before[-1] not in ".,":
            notes.add(node.mem_id)
    return marks, notes


def _mark_behind(before: str) -> str | None:
    """The mark that goes between a whole number at the end of a text and its cents."""
    whole = _WHOLE.search(before)
    reading = None if whole is None or not whole[0][-1].isdigit() else number.read(whole[0])
    if whole is None or reading is None or reading.number != reading.number.to_integral_value():
        return None
    return "," if "." in whole[0] else "."


def _is_footnote(node: LexborNode) -> bool:
    return _FOOTNOTE.search(names(node)) is not None or node.css_first("a[href]") is not None


def _text_before(root: LexborNode, node: LexborNode) -> str:
    pieces = []
    for one in root.traverse(include_text=True):
        if one.mem_id == node.mem_id:
            break
        if one.tag == "-text":
            pieces.append(one.text_content or "")
    return "".join(pieces)[-100:]


def _text(node: LexborNode, *, marks: dict[int, str], without: set[int] | None = None) -> str:
    if not marks and not without:
        return html.visible_text(node)
    ahead = {one: _HERE + mark for one, mark in marks.items()}
    return _MARK.sub(r"\1", html.shown_text(node, without or (), ahead))
