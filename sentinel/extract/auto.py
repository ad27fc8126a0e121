"""Price or availability of the page's main product, from whatever the page offers.

What the page says to machines is believed first (`schema`), then what it shows near the product's
heading. Everything shown elsewhere belongs to somebody: to related products, to a cart, to a bundle.
So where two amounts are as likely as each other, nothing is told: a wrong price is an alert about
nothing, and silence is a run with an error code that somebody sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec
from selectolax.lexbor import LexborNode

from sentinel.decide.availability import read_availability
from sentinel.decide.money import read_price
from sentinel.errors import CheckFailure, Problem
from sentinel.extract import html, schema
from sentinel.extract.hints import did_you_mean
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step

PROPERTIES: Final = ("price", "availability")

#: Elements looked at on one page.
MAX_CANDIDATES: Final = 400
#: Ancestors looked at of each.
MAX_ANCESTORS: Final = 25
#: Points the best amount must have, and must be ahead of the next.
ENOUGH: Final = 2.0
MARGIN: Final = 1.0

_PRICED: Final = (
    'h1, [itemprop="price" i], [class*="price" i], [id*="price" i], [class*="amount" i], [data-price], '
    '[class*="prix" i], [class*="preis" i], [class*="prezzo" i], [class*="precio" i], [class*="preco" i], '
    '[class*="cena" i], [class*="prijs" i], [class*="pris" i], [class*="tsena" i]'
)
_STOCKED: Final = (
    'h1, [id*="avail" i], [class*="avail" i], [id*="stock" i], [class*="stock" i], [class*="sold" i], '
    '[id*="outof" i], [class*="dispon" i], [id*="dispon" i], [class*="verfug" i], [class*="lager" i], '
    '[class*="sklad" i], [class*="dostup" i], [class*="nalich" i], [class*="delivery" i], '
    '[class*="dispatch" i]'
)
_BUTTONS: Final = (
    'h1, button, input[type="submit" i], input[type="button" i], a[class*="cart" i], a[class*="buy" i], '
    'a[class*="button" i], a[class*="btn" i]'
)

#: Around other products, or around nothing that is for sale.
_ELSEWHERE: Final = re.compile(
    r"relat|recommend|similar|carousel|slider|swiper|slick|upsell|cross-?sell|also|footer|navbar|"
    r"\bnav\b|minicart|mini-cart|basket|viewed|recent|bought|sponsor|accessor|bundle|review|compar|suggest|"
    r"wishlist|breadcrumb|\bads?\b|banner|sims|popular|bestsell|"
    r"product-?(?:list|grid|tile|card|item)s?\b|vertical|analog|sopostav|modal|popup",
    re.IGNORECASE,
)
#: An amount that is not the one asked now, or not for the whole thing.
_NOT_ASKED: Final = re.compile(
    r"old|was\b|list-?price|strike|cross|before|regular|msrp|rrp|uvp|srp|original|saving|save|discount-?price|discount-?amount|"
    r"initial|full-?price|previous|tax|excl|unit|per-|shipping|delivery|install|month|financ|credit|leas|"
    r"rating|bonus|points|deposit|wholesale|min-?price|max-?price|range|filter|from",
    re.IGNORECASE,
)
_ASKED: Final = re.compile(
    r"our-?price|buy-?box|current|actual|final|sale|special|now|product-?price|price-?now|new-?price|price-?new|"
    r"main|offer-?price|selling|today|std_price|priceblock|pdp|detail",
    re.IGNORECASE,
)
#: Names of buttons that sell, whatever language they speak.
_SELLING: Final = re.compile(
    r"add-?_?to-?_?(?:cart|basket|bag|trolley)|button-?cart|cart-?button|buy-?_?now|buy-?_?button|go-?to-?buy",
    re.IGNORECASE,
)
_DEAD_BUTTON: Final = re.compile(r"disabled|hidden|hide\b|d-none|invisible|template", re.IGNORECASE)


class Candidate(msgspec.Struct, frozen=True):
    """An element that may show the value."""

    raw: str
    amount: Decimal
    score: float


def read(page: Page, step: Step) -> Found:
    """The price or the availability, with how sure that is.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND where the page tells none, EXTRACT_AMBIGUOUS
    where it tells several and not which is meant.
    """
    root = page.root(step.context)
    name = schema.canonical(step.selector)
    data = schema.StructuredData(page, root)
    told = data.look_up(name)
    found = _availability(told, root) if name == "availability" else told or _shown_price(root)
    if found is not None:
        return found
    if data.ambiguous:
        raise CheckFailure(
            "EXTRACT_AMBIGUOUS", f"the page tells several values of {name} and not which is meant"
        )
    raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"no {name} of a main product was found")


def trouble(selector: str) -> Problem | None:
    """What is wrong with what is asked for, or None."""
    if schema.canonical(selector) in PROPERTIES:
        return None
    return Problem(
        "", f"auto finds price or availability, not {selector[:80]!r}", did_you_mean(selector, PROPERTIES)
    )


# --- price ----------------------------------------------------------------------------------------


def _shown_price(root: LexborNode) -> Found | None:
    best = _best(_priced(root))
    if best is None:
        return None
    return Found(raw=best.raw, confidence=min(0.65, 0.3 + best.score / 20))


def _best(candidates: list[Candidate]) -> Candidate | None:
    """The amount with the most points, if it is clearly ahead. Saying it twice is worth something."""
    points: dict[Decimal, float] = {}
    for one in candidates:
        points[one.amount] = max(points.get(one.amount, 0.0), one.score) + (
            0.5 if one.amount in points else 0
        )
    ranked = sorted(points.items(), key=lambda item: -item[1])
    if not ranked or ranked[0][1] < ENOUGH:
        return None
    if len(ranked) > 1 and ranked[0][1] - ranked[1][1] < MARGIN:
        return None
    return max((one for one in candidates if one.amount == ranked[0][0]), key=lambda one: one.score)


def _priced(root: LexborNode) -> list[Candidate]:
    found: list[Candidate] = []
    place = _Place(root)
    after_heading = 0
    heading_seen = not place.has_heading
    for node in root.css(_PRICED)[:MAX_CANDIDATES]:
        if node.tag == "h1":
            heading_seen, after_heading = True, 0
            continue
        text = _leaf_text(node)
        if text is None or place.is_elsewhere(node) or _marks(node, _NOT_ASKED) or _struck(node):
            continue
        price = read_price(text)
        if price is None or not price.amount:
            continue
        after_heading += heading_seen
        score = 3.0 if heading_seen and after_heading <= 3 else 1.0 if heading_seen else 0.0
        score += 2.0 if _ASKED.search(_names(node)) else 0.0
        score += 1.0 if price.currency else 0.0
        found.append(Candidate(text, price.amount, score))
    return found


def _leaf_text(node: LexborNode) -> str | None:
    """The text of an element that shows one amount; None where it shows something else or more."""
    if node.tag in ("script", "style", "input", "meta", "link", "select", "option", "template"):
        return None
    hidden_twin = node.css_first(".a-offscreen, .visually-hidden, .sr-only")
    text = html.visible_text(hidden_twin if hidden_twin is not None else node)
    if not text or len(text) > 40 or not any(char.isdigit() for char in text):
        return None
    numbers = re.findall(r"\d[\d\s.,'\u00a0]*", text)
    return text if len(numbers) <= 2 else None


def _struck(node: LexborNode) -> bool:
    return any(one.tag in ("del", "s", "strike") for one in _lineage(node, 4)) or (
        node.css_first("del, s, strike") is not None
    )


# --- availability ---------------------------------------------------------------------------------


def _availability(told: Found | None, root: LexborNode) -> Found | None:
    """What the page tells machines; where that is no word for it, what it shows."""
    if told is not None and _status(told.raw) is not None:
        return told
    return _shown_stock(root) or _shown_button(root)


def _shown_stock(root: LexborNode) -> Found | None:
    """The first element after the heading that is about stock and says something."""
    place = _Place(root)
    for node in _after_heading(root, _STOCKED):
        if node.tag in ("script", "style", "input", "select", "option", "body", "html", "template"):
            continue
        text = html.visible_text(node)
        if 2 < len(text) <= 150 and not place.is_elsewhere(node) and _status(text) is not None:
            return Found(raw=text, confidence=0.6)
    return None


def _shown_button(root: LexborNode) -> Found | None:
    """A button that sells, by its words or by its name."""
    place = _Place(root)
    for node in _after_heading(root, _BUTTONS):
        text = (
            html.tidy(node.attributes.get("value") or "") if node.tag == "input" else html.visible_text(node)
        )
        if len(text) > 40 or place.is_elsewhere(node):
            continue
        attributes = node.attributes
        if "disabled" in attributes or _DEAD_BUTTON.search(attributes.get("class") or ""):
            continue
        if text and _status(text) is not None:
            return Found(raw=text, confidence=0.5)
        if _SELLING.search(_names(node)):
            return Found(raw="add to cart", confidence=0.4)
    return None


def _after_heading(root: LexborNode, selector: str) -> Iterator[LexborNode]:
    """Matches below the first heading, or all of them on a page without one."""
    seen = root.css_first("h1") is None
    for node in root.css(selector)[: 4 * MAX_CANDIDATES]:
        if node.tag == "h1":
            seen = True
        elif seen:
            yield node


def _status(text: str) -> str | None:
    try:
        return read_availability(text, {}).status
    except CheckFailure:
        return None


# --- where an element stands ----------------------------------------------------------------------


def _lineage(node: LexborNode, levels: int = MAX_ANCESTORS) -> Iterator[LexborNode]:
    """The element and what it stands in, inner first."""
    at: LexborNode | None = node
    for _ in range(levels):
        if at is None or at.tag in ("body", "html"):
            return
        yield at
        at = at.parent


def _names(node: LexborNode) -> str:
    attributes = node.attributes
    return f"{attributes.get('id') or ''} {attributes.get('class') or ''}"


class _Place:
    """Where the main product is: what surrounds its heading surrounds the product too."""

    def __init__(self, root: LexborNode) -> None:
        heading = root.css_first("h1")
        self.has_heading = heading is not None
        self._around = {one.mem_id for one in _lineage(heading)} if heading is not None else set()

    def is_elsewhere(self, node: LexborNode) -> bool:
        """True for what stands in another product's box, in a menu, or is not shown."""
        for one in _lineage(node):
            if one.mem_id in self._around:
                return False
            if one.tag in ("footer", "nav", "aside") or html.is_hidden(one) or _ELSEWHERE.search(_names(one)):
                return True
        return False


def _marks(node: LexborNode, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(_names(one)) for one in _lineage(node, 3))
