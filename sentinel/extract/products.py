"""Which item on the page is the product, and what its offers say.

A product page carries many products: related ones, bought-together ones, variants, lists. The main
one is what this module finds, by how the page says it (main entity, address, heading), and where
the page does not say, it finds nothing: a neighbour's price would be a false alert some day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

# `Any` is a value of somebody's JSON-LD.

MAX_ITEMS: Final = 5_000
MAX_DEPTH: Final = 40
MAX_VARIANTS: Final = 500

_PRODUCT: Final = frozenset(
    {
        "product", "productgroup", "productmodel", "individualproduct", "someproducts", "vehicle", "car",
        "book", "softwareapplication", "mobileapplication", "webapplication", "videogame", "course", "event",
        "musicalbum", "movie", "apartment", "hotelroom", "accommodation", "offercatalogitem", "drug",
    }
)  # fmt: skip
_OFFER: Final = frozenset({"offer", "aggregateoffer", "demand"})
#: Other products, not this one.
_ELSEWHERE: Final = frozenset(
    {
        "isrelatedto", "issimilarto", "isaccessoryorsparepartfor", "isconsumablefor", "itemlistelement",
        "hasvariant", "isvariantof", "review", "reviews", "mentions", "breadcrumb", "hasoffercatalog",
        "workexample",
        "relatedlink", "significantlink", "addon", "haspart", "includesobject", "itemreviewed",
    }
)  # fmt: skip


class Offer(msgspec.Struct, frozen=True):
    """What a seller asks for the product."""

    price: str | None
    currency: str | None
    availability: str | None
    url: str | None = None


class Product(msgspec.Struct, frozen=True):
    """One product as the page describes it."""

    fields: dict[str, Any]
    offers: tuple[Offer, ...]
    #: Named as what the page is about.
    is_main: bool = False


class PageFacts(msgspec.Struct, frozen=True):
    """What the page says about itself, to tell its product from others."""

    urls: frozenset[str]
    titles: frozenset[str]


def found_in(values: list[Any]) -> list[Product]:
    """Every product in JSON-LD or microdata values that is not marked as another's neighbour."""
    products = []
    for item, is_main in _items(values):
        kinds = types(item)
        if kinds & _PRODUCT:
            products.append(Product(item, tuple(_offers(item)), is_main))
    if products:
        return products
    # An offer on its own: the page is the product.
    alone = [item for item, _ in _items(values) if types(item) & _OFFER]
    return [Product({}, tuple(made for item in alone for made in _offer(item)))] if alone else []


def variants_of(product: Product) -> list[Product]:
    """The variants of a product group, each with its own offers; at most MAX_VARIANTS."""
    listed = [one for one in _listed(product.fields.get("hasVariant")) if isinstance(one, dict)]
    return [Product(one, tuple(_offers(one))) for one in listed[:MAX_VARIANTS]]


def main(products: list[Product], facts: PageFacts) -> list[Product]:
    """The main product, told once or several times over (by theme and by plugin), or nothing."""
    candidates = [product for product in products if product.is_main] or products
    if len(candidates) < 2:
        return candidates
    here = [product for product in candidates if _names_page(product, facts)]
    if here:
        return here
    titled = [product for product in candidates if _titled(product, facts)]
    if titled:
        return titled
    names = {normal(str(product.fields.get("name", ""))) for product in candidates}
    return candidates if len(names) == 1 else []


def types(item: dict[str, Any]) -> frozenset[str]:
    """The schema.org types of an item, lower case, without the address before them."""
    kinds = item.get("@type", item.get("type"))
    listed = kinds if isinstance(kinds, list) else [kinds]
    return frozenset(re.split(r"[/#:]", kind)[-1].lower() for kind in listed if isinstance(kind, str))


def _items(values: list[Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every object, outer ones first, with whether it is the page's main entity."""
    waiting: list[tuple[Any, bool, int]] = [(value, False, 0) for value in reversed(values)]
    seen = 0
    while waiting:
        value, is_main, depth = waiting.pop()
        if depth > MAX_DEPTH:
            continue
        if isinstance(value, list):
            waiting.extend((one, is_main, depth + 1) for one in reversed(value))
        elif isinstance(value, dict):
            seen += 1
            if seen > MAX_ITEMS:
                return
            yield value, is_main
            if "itemlist" in types(value) or "offercatalog" in types(value):
                continue
            waiting.extend(
                (child, key.lower() in ("mainentity", "mainentityofpage"), depth + 1)
                for key, child in reversed(value.items())
                if isinstance(child, (dict, list)) and key.lower() not in _ELSEWHERE
            )


# --- offers ---------------------------------------------------------------------------------------


def _offers(item: dict[str, Any]) -> Iterator[Offer]:
    for key in ("offers", "offer"):
        for offer in _listed(item.get(key)):
            if isinstance(offer, dict):
                yield from _offer(offer)
    if "offers" not in item and (price := _amount(item.get("price"))):
        yield Offer(price, _text(item.get("priceCurrency")), _text(item.get("availability")))


def _offer(offer: dict[str, Any]) -> Iterator[Offer]:
    nested = [one for one in _listed(offer.get("offers")) if isinstance(one, dict)]
    own = _single(offer)
    inner = [made for one in nested for made in [_single(one)]]
    if own.price is None and inner:
        yield from (_with_defaults(one, own) for one in inner)
    elif own.availability is None and inner:
        kinds = {one.availability for one in inner}
        yield Offer(own.price, own.currency, kinds.pop() if len(kinds) == 1 else _best(kinds), own.url)
    else:
        yield own


def _single(offer: dict[str, Any]) -> Offer:
    price = _amount(offer.get("price")) or _amount(offer.get("lowPrice"))
    currency = _text(offer.get("priceCurrency"))
    specification = _specification(offer.get("priceSpecification"))
    if specification is not None:
        price = price or _amount(specification.get("price")) or _amount(specification.get("minPrice"))
        currency = currency or _text(specification.get("priceCurrency"))
    return Offer(price, currency, _text(offer.get("availability")), _text(offer.get("url")))


def _with_defaults(offer: Offer, outer: Offer) -> Offer:
    return Offer(
        offer.price, offer.currency or outer.currency, offer.availability or outer.availability, offer.url
    )


def _specification(value: Any) -> dict[str, Any] | None:
    """The price asked now: list prices and crossed-out ones are not it."""
    listed = [one for one in _listed(value) if isinstance(one, dict)]
    asked = [
        one
        for one in listed
        if not re.search(r"list|strike|srp|msrp|regular", str(one.get("priceType", "")), re.IGNORECASE)
    ]
    return asked[0] if asked else None


def _best(kinds: set[str | None]) -> str | None:
    """Of several offers one in stock is enough."""
    named = sorted(kind for kind in kinds if kind)
    for kind in named:
        if re.search(r"in_?stock$", kind, re.IGNORECASE):
            return kind
    return named[0] if named else None


def price_of(
    product: Product, facts: PageFacts, hints: frozenset[str] = frozenset()
) -> tuple[str, str | None] | None:
    """The amount (as written) and currency asked for a product, or None where several are asked.

    `hints`: amounts the page names as its price elsewhere (meta tags); they decide between offers.
    """
    offers = [offer for offer in product.offers if offer.price]
    here = [
        offer for offer in offers if offer.url and address(offer.url) in facts.urls and "#" not in offer.url
    ]
    if len({offer.price for offer in offers}) > 1 and 0 < len(here) < len(offers):
        offers = here
    amounts = {amount_key(offer.price or ""): offer for offer in reversed(offers)}
    if len(amounts) > 1:
        hinted = [key for key in amounts if key in hints]
        amounts = {key: amounts[key] for key in hinted}
    if len(amounts) != 1:
        return None
    (offer,) = amounts.values()
    return (offer.price or "", offer.currency)


def offer_count(product: Product) -> int:
    """How many offers an AggregateOffer of the product counts."""
    counts = [
        _text(offer.get("offerCount"))
        for offer in _listed(product.fields.get("offers"))
        if isinstance(offer, dict) and "aggregateoffer" in types(offer)
    ]
    return max((int(count) for count in counts if count and re.fullmatch(r"[0-9]{1,6}", count)), default=0)


def availability_of(product: Product) -> str | None:
    """The availability told for a product, as written (`https://schema.org/InStock`), or None."""
    told = {offer.availability for offer in product.offers if offer.availability}
    if not told:
        return _text(product.fields.get("availability"))
    return told.pop() if len(told) == 1 else _best(set(told))


# --- small things ---------------------------------------------------------------------------------


def amount_key(text: str) -> str:
    """`19.90` and `19.9` are one amount."""
    try:
        return str(Decimal(text.strip()).normalize())
    except InvalidOperation:
        return text.strip()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(value: Any) -> str | None:
    """Text of a property: of `{"@id": ...}` and `{"@value": ...}` too, the first of a list."""
    for one in _listed(value):
        if isinstance(one, dict):
            one = one.get("@value", one.get("@id", one.get("name")))  # noqa: PLW2901 - unwraps the loop's value
        if isinstance(one, str) and one.strip():
            return one.strip()
    return None


def _amount(value: Any) -> str | None:
    """An amount as text; none where it is zero: that is a placeholder far more often than a gift."""
    text = _text(value)
    if text is None or len(text) > 60 or not re.search(r"\d", text):
        return None
    return None if re.fullmatch(r"\D*0+(?:[.,]0+)?\D*", text) else text


def text_of(product: Product, name: str) -> str | None:
    """A property of the product by its schema.org name: name, sku, brand, gtin ..."""
    wanted = name.lower()
    for key, value in product.fields.items():
        if key.lower() == wanted:
            return _text(value)
    if wanted == "gtin":
        for key in ("gtin13", "gtin14", "gtin12", "gtin8"):
            if (found := _text(product.fields.get(key))) is not None:
                return found
    return None


def address(url: str) -> str:
    """What makes two addresses the same page: host without www, path without a last slash."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return ""
    return (parts.netloc.lower().removeprefix("www.") + unquote(parts.path).rstrip("/")).lower()


def normal(text: str) -> str:
    """Text to compare titles by."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _names_page(product: Product, facts: PageFacts) -> bool:
    named = (_text(product.fields.get(key)) for key in ("url", "@id", "mainEntityOfPage"))
    addresses = {address(name) for name in named if name and "/" in name}
    return bool({name for name in addresses if "/" in name} & facts.urls)


def _titled(product: Product, facts: PageFacts) -> bool:
    name = normal(_text(product.fields.get("name")) or "")
    return len(name) > 3 and any(name == title or f" {name} " in f" {title} " for title in facts.titles)
