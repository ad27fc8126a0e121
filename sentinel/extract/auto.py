"""Price or availability of the page's main product, from whatever the page offers.

What the page says to machines is one witness (`schema`), what it shows near the product's heading is
another (`shown`, `stock`). Where both say the same, it is as good as certain. Where they differ, the
machine's word holds with less confidence, unless the page itself shows it as the old price: then shops
forgot to tell the machines of their sale. Where nothing is told and two amounts are as likely as each
other, nothing is told: a wrong price is an alert about nothing, and silence is a run with an error code
that somebody sees.
"""

from __future__ import annotations

from typing import Final

import msgspec
from selectolax.lexbor import LexborNode

from sentinel.decide.money import read_price
from sentinel.errors import CheckFailure, Problem
from sentinel.extract import schema, shown, state, stock
from sentinel.extract.hints import did_you_mean
from sentinel.extract.page import Page
from sentinel.extract.place import Place
from sentinel.extract.step import Found, Step

PROPERTIES: Final = ("price", "availability")

#: Confidence where two witnesses say the same, and where the machine's word stands against the other.
AGREED: Final = 0.98
DISPUTED: Final = 0.7
#: The page shows the machine's price as the old one: what it shows as the new one. It says that the thing
#: is sold out, and its button is switched off: that.
OVERRULED: Final = 0.6
#: Sellers are counted, and none says whether it has the thing.
OFFERED: Final = 0.4


def read(page: Page, step: Step) -> Found:
    """The price or the availability, with how sure that is.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND where the page tells none, EXTRACT_AMBIGUOUS
    where it tells several and not which is meant.
    """
    root = page.root(step.context)
    name = schema.canonical(step.selector)
    data = schema.StructuredData(page, root)
    found = _availability(data, root) if name == "availability" else _price(data, root)
    if found is not None:
        return found
    if data.ambiguous:
        raise CheckFailure("EXTRACT_AMBIGUOUS", data.which(name))
    raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"no {name} of a main product was found")


def trouble(selector: str) -> Problem | None:
    """What is wrong with what is asked for, or None."""
    if schema.canonical(selector) in PROPERTIES:
        return None
    return Problem(
        "", f"auto finds price or availability, not {selector[:80]!r}", did_you_mean(selector, PROPERTIES)
    )


def _price(data: schema.StructuredData, root: LexborNode) -> Found | None:
    told = data.look_up("price")
    place = Place(root)
    sells = stock.button(root, place)
    seen = shown.price(root, place, sells[0] if sells is not None else None)
    if told is not None:
        return _weighed(told, seen)
    # Parsing every script costs as much as all the rest: only where nobody else was heard.
    return _from_sight(seen, data) or state.look_up(root, "price", data.facts.titles)


def _from_sight(seen: shown.Shown, data: schema.StructuredData) -> Found | None:
    if seen.price is None:
        return None
    confidence = round(min(0.75, 0.3 + seen.points / 20), 2)
    return Found(raw=seen.price.raw, confidence=confidence, currency=seen.price.currency or data.currency)


def _weighed(told: Found, seen: shown.Shown) -> Found:
    """The machine's price against the one that is shown."""
    price = read_price(told.raw)
    if price is None or seen.price is None:
        return told
    if price.amount == seen.price.amount:
        return msgspec.structs.replace(told, confidence=AGREED)
    if price.amount in seen.old and seen.price.amount < price.amount:
        currency = seen.price.currency or told.currency
        return Found(raw=seen.price.raw, confidence=OVERRULED, currency=currency)
    return msgspec.structs.replace(told, confidence=min(DISPUTED, told.confidence))


def _availability(data: schema.StructuredData, root: LexborNode) -> Found | None:
    told = data.look_up("availability")
    if told is not None and stock.status(told.raw) is None:
        told = None
    place = Place(root)
    seen = stock.shown(root, place) or stock.said(place)
    if seen is None and told is None:
        sells = stock.button(root, place)
        seen = sells[1] if sells is not None else None
    if told is not None:
        told_here = stock.status(told.raw) == "in_stock"
        if told_here and (over := stock.sold_out(root, place, seen)) is not None:
            return msgspec.structs.replace(over, confidence=OVERRULED)
        if seen is None:
            return told
        same = stock.status(told.raw) == stock.status(seen.raw)
        return msgspec.structs.replace(told, confidence=AGREED if same else min(DISPUTED, told.confidence))
    if seen is not None:
        return seen
    scripted = state.look_up(root, "availability", data.facts.titles)
    if scripted is not None and stock.status(scripted.raw) is not None:
        return scripted
    return Found(raw="InStock", confidence=OFFERED) if data.offers > 0 else None
