"""Structured data: what the page says about its product in JSON-LD, microdata and meta tags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final
from urllib.parse import urljoin

from selectolax.lexbor import LexborNode

from sentinel.errors import CheckFailure, Problem
from sentinel.extract import html, jsonld, microdata, products, rdfa
from sentinel.extract.hints import did_you_mean
from sentinel.extract.page import Page
from sentinel.extract.products import PageFacts, Product
from sentinel.extract.step import Found, Step

#: What `selector` may ask for.
PROPERTIES: Final = (
    "price", "currency", "availability", "name", "sku", "mpn", "gtin", "brand", "description", "image", "url",
    "category", "color", "condition", "ratingValue", "reviewCount",
)  # fmt: skip

#: Property of a `<meta>` -> how much it is worth, by what it tells. A sale price is the one asked.
_META: Final = {
    "price": (
        "product:sale_price:amount",
        "product:price:amount",
        "og:price:amount",
        "og:product:price:amount",
        "product:price",
        "og:price",
        "twitter:price",
    ),
    "currency": (
        "product:sale_price:currency",
        "product:price:currency",
        "og:price:currency",
        "og:product:price:currency",
    ),
    "availability": ("product:availability", "og:availability", "og:product:availability"),
    "name": ("og:title",),
    "brand": ("product:brand", "og:brand"),
    "sku": ("product:retailer_item_id", "product:sku"),
    "description": ("og:description", "description"),
    "image": ("og:image",),
    "url": ("og:url",),
    "condition": ("product:condition",),
    "category": ("product:category",),
}
#: What a Twitter card may call them.
_CARD_LABELS: Final = {
    "price": {"price", "preis", "prix", "precio", "prezzo", "preço", "cena", "prijs", "pris", "цена", "価格"},
    "availability": {"availability", "verfügbarkeit", "disponibilité", "disponibilidad", "disponibilità"},
}
#: Confidence by source.
_SURE: Final = 0.95
_MICRODATA: Final = 0.9
_RDFA: Final = 0.85
_META_TAG: Final = 0.8
_CLASSES: Final = 0.75
_LOOSE: Final = 0.7

#: What variants are asked for beside the price; a name or a colour is each one's own.
_OF_VARIANTS: Final = frozenset({"availability", "currency", "brand", "condition", "category"})

_DIGIT: Final = re.compile(r"\d")
_ZERO: Final = re.compile(r"\D*0+(?:[.,]0+)?\D*")


def read(page: Page, step: Step) -> Found:
    """A property of the page's main product.

    Raises CheckFailure EXTRACT_SCHEMA_NOT_FOUND where the page does not tell it,
    EXTRACT_AMBIGUOUS where it tells several and does not say which.
    """
    data = StructuredData(page, page.root(step.context))
    name = canonical(step.selector)
    found = data.look_up(name)
    if found is None:
        if data.ambiguous:
            raise CheckFailure("EXTRACT_AMBIGUOUS", data.which(name))
        raise CheckFailure("EXTRACT_SCHEMA_NOT_FOUND", f"the page's structured data does not tell {name}")
    return found


def trouble(selector: str) -> Problem | None:
    """What is wrong with the property asked for, or None."""
    if canonical(selector) in PROPERTIES:
        return None
    return Problem(
        "", f"structured data is not asked for {selector[:80]!r}", did_you_mean(selector, PROPERTIES)
    )


def canonical(selector: str) -> str:
    """The property a selector means: `offers.priceCurrency` is currency, `title` is name."""
    last = re.split(r"[./]", selector.strip())[-1]
    known = {name.lower(): name for name in PROPERTIES}
    return {
        "pricecurrency": "currency",
        "lowprice": "price",
        "amount": "price",
        "title": "name",
        "itemcondition": "condition",
        "stock": "availability",
    }.get(last.lower(), known.get(last.lower(), last))


class StructuredData:
    """A page's structured data, read once and asked for several properties."""

    def __init__(self, page: Page, root: LexborNode) -> None:
        self._root = root
        self._page = page
        self.facts = _facts(page, root)
        #: True once a question had several answers.
        self.ambiguous = False
        #: What the variants of the product say, where they do not say the same.
        self._variants: list[str] = []
        self._sources = [
            (_SURE, self._main(list(jsonld.blocks(root)))),
            (_MICRODATA, self._main(list(microdata.items(root)))),
            (_RDFA, self._main(list(rdfa.items(root)))),
            (_CLASSES, self._main(list(rdfa.microformats(root)))),
        ]

    def _main(self, values: list[Any]) -> list[Product]:
        every = products.found_in(values)
        chosen = products.main(every, self.facts)
        if every and not chosen:
            self.ambiguous = True
        return chosen

    @property
    def currency(self) -> str | None:
        """The currency the page names for its prices, or None."""
        return _code(self._meta("currency"))

    @property
    def offers(self) -> int:
        """Sellers the page counts for its product."""
        return max((products.offer_count(one) for _, chosen in self._sources for one in chosen), default=0)

    def which(self, name: str) -> str:
        """Why a question has several answers, and what to do, for people."""
        if not self._variants:
            return f"the page tells several values of {name} and not which is meant"
        some = ", ".join(self._variants[:4]) + (", ..." if len(self._variants) > 4 else "")
        return (
            f"the page's product has variants with several values of {name} ({some}): name one, by the "
            "address of that variant or by a css selector of the price that is shown for it"
        )

    def look_up(self, name: str) -> Found | None:
        """The property, from the surest source that tells it; of variants what all of them say."""
        found = self._price() if name == "price" else self._own(name)
        return found if found is not None or self.ambiguous else self._of_variants(name)

    def _own(self, name: str) -> Found | None:
        for confidence, chosen in self._sources:
            for product in chosen:
                if value := _property(product, name):
                    return Found(raw=html.tidy(value), confidence=confidence)
        if value := self._meta(name):
            return Found(raw=value, confidence=_META_TAG)
        if value := self._loose(name):
            return Found(raw=value, confidence=_LOOSE)
        return None

    def _price(self) -> Found | None:
        tagged = self._meta("price")
        hints = frozenset({products.amount_key(tagged)} if tagged else ())
        currency = self._meta("currency")
        for confidence, chosen in self._sources:
            for product in chosen:
                if told := products.price_of(product, self.facts, hints):
                    amount, beside = told
                    return Found(
                        raw=html.tidy(amount), confidence=confidence, currency=_code(beside or currency)
                    )
                self.ambiguous = self.ambiguous or any(offer.price for offer in product.offers)
        if tagged:
            return Found(raw=tagged, confidence=_META_TAG, currency=_code(currency))
        if value := self._loose("price"):
            return Found(
                raw=value, confidence=_LOOSE, currency=_code(self._loose("priceCurrency") or currency)
            )
        return None

    def _of_variants(self, name: str) -> Found | None:
        for confidence, chosen in self._sources:
            told: dict[str, tuple[str, str | None]] = {}
            for one in (one for product in chosen for one in products.variants_of(product)):
                if name == "price":
                    for offer in one.offers:
                        if offer.price:
                            told[products.amount_key(offer.price)] = (offer.price, offer.currency)
                elif name in _OF_VARIANTS and (value := _property(one, name)):
                    told[value] = (value, None)
            if len(told) == 1:
                ((raw, currency),) = told.values()
                return Found(raw=html.tidy(raw), confidence=confidence, currency=_code(currency))
            if told:
                self.ambiguous, self._variants = True, [html.tidy(raw)[:40] for raw, _ in told.values()]
                return None
        return None

    @cached_property
    def _tags(self) -> dict[str, str]:
        """Content of `<meta>` by its name, lower case; the first of each."""
        found: dict[str, str] = {}
        for node in self._root.css("meta[content]")[:1_000]:
            attributes = node.attributes
            for key in ("property", "name", "itemprop"):
                if name := attributes.get(key):
                    found.setdefault(name.strip().lower(), html.tidy(attributes.get("content") or ""))
        return found

    def _meta(self, name: str) -> str | None:
        for tag in _META.get(name, ()):
            value = self._tags.get(tag)
            if value and not (name == "price" and (not _DIGIT.search(value) or _ZERO.fullmatch(value))):
                return value
        return self._card(name) if name in ("price", "availability") else None

    def _card(self, name: str) -> str | None:
        """What a Twitter card labels: `label1` says what `data1` is."""
        for number in "12":
            label = self._tags.get(f"twitter:label{number}", "").lower().strip(" :")
            value = self._tags.get(f"twitter:data{number}")
            if value and label in _CARD_LABELS[name] and (name != "price" or _DIGIT.search(value)):
                return value
        return None

    def _loose(self, name: str) -> str | None:
        """A property outside every item, where all that are there agree."""
        values = microdata.loose(self._root, name)
        if name == "price":
            values = [value for value in values if _DIGIT.search(value) and not _ZERO.fullmatch(value)]
        if len({products.amount_key(value) for value in values}) > 1:
            self.ambiguous = True
            return None
        return values[0] if values else None


def _property(product: Product, name: str) -> str | None:
    match name:
        case "availability":
            return products.availability_of(product)
        case "currency":
            told = {offer.currency for offer in product.offers if offer.currency}
            return told.pop() if len(told) == 1 else None
        case "condition":
            return products.text_of(product, "itemCondition")
        case "ratingValue" | "reviewCount":
            rating = product.fields.get("aggregateRating")
            return products.text_of(Product(rating, ()), name) if isinstance(rating, dict) else None
    return products.text_of(product, name)


def _facts(page: Page, root: LexborNode) -> PageFacts:
    urls = {products.address(page.url)}
    for node in root.css('link[rel="canonical" i], meta[property="og:url" i]')[:5]:
        attributes = node.attributes
        if (named := attributes.get("href") or attributes.get("content")) and len(named) < 8192:
            urls.add(products.address(_absolute(page.url, named)))
    titles = {products.normal(title) for title in _titles(root)}
    return PageFacts(frozenset(urls - {""}), frozenset(titles - {""}))


def _absolute(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError:
        return ""


def _titles(root: LexborNode) -> Iterator[str]:
    for node in root.css("title, h1")[:4]:
        yield html.visible_text(node)[:500]
    for node in root.css('meta[property="og:title" i]')[:2]:
        yield (node.attributes.get("content") or "")[:500]


def _code(text: str | None) -> str | None:
    """A currency as the page writes it, upper case where it is a code."""
    if not text:
        return None
    text = html.tidy(text)[:20]
    return text.upper() if re.fullmatch(r"[A-Za-z]{3}", text) else text
