"""The product in a page's scripts: what a page that builds itself in the browser was given to build from.

`<script type="application/json">` (`__NEXT_DATA__` and its kin), `window.x = {...}` and
`dataLayer.push({...})`. An object counts where its name is the page's heading or title and it has a price
or a stock of its own; scripts know many products, and one whose name the page does not say is another's.
Nothing is run: only what is JSON is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from selectolax.lexbor import LexborNode

from sentinel.extract.products import amount_key, normal
from sentinel.extract.step import Found

# `Any` is a value of somebody's JSON.

MAX_SCRIPTS: Final = 150
#: Characters of all scripts together.
MAX_TEXT: Final = 3 << 20
MAX_OBJECTS: Final = 30_000
MAX_DEPTH: Final = 40
CONFIDENCE: Final = 0.55

_NAMES: Final = ("name", "title", "productname", "product_name", "displayname", "producttitle")
#: What is asked now before what was; `price` last of those that may be it.
_PRICES: Final = (
    "saleprice", "sale_price", "specialprice", "special_price", "currentprice", "current_price",
    "finalprice", "final_price", "offerprice", "sellingprice", "salesprice", "discountedprice", "price",
    "unitprice", "unit_price",
)  # fmt: skip
#: Where an object writes its price as an object of its own.
_AMOUNTS: Final = ("value", "amount", "current", "now", "final", "price")
_CURRENCIES: Final = ("currency", "currencycode", "pricecurrency", "currency_code", "currencyiso")
_STOCK_FLAGS: Final = (
    "instock", "in_stock", "isinstock", "is_in_stock", "available", "isavailable", "is_available",
    "buyable", "purchasable",
)  # fmt: skip
_NO_STOCK_FLAGS: Final = (
    "outofstock", "isoutofstock", "out_of_stock", "soldout", "sold_out", "issoldout", "is_sold_out",
)  # fmt: skip
_STOCK_WORDS: Final = (
    "availability", "stockstatus", "stock_status", "availabilitystatus", "inventorystatus",
    "stocklevelstatus",
)  # fmt: skip
_START: Final = re.compile(r"(?:=|push\(|\bassign\([^{]{0,80},)\s*(?=\{)")
_DECODER: Final = json.JSONDecoder(
    strict=False, parse_float=str, parse_int=str, parse_constant=lambda _: None
)
_PLAIN: Final = re.compile(r"\d{1,9}(?:\.\d{1,4})?")


def look_up(root: LexborNode, name: str, titles: frozenset[str]) -> Found | None:
    """The price or availability of the product the page names, where its scripts agree on one."""
    if not titles:
        return None
    told: dict[str, Found] = {}
    for item, currency in _objects(root):
        if not _is_named(item, titles):
            continue
        found = _price(item, currency) if name == "price" else _stock(item)
        if found is not None:
            told.setdefault(amount_key(found.raw), found)
    return next(iter(told.values())) if len(told) == 1 else None


def _objects(root: LexborNode) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Every object with the currency named around it."""
    waiting: list[tuple[Any, str | None, int]] = [(value, None, 0) for value in _values(root)]
    seen = 0
    while waiting:
        value, currency, depth = waiting.pop()
        if depth > MAX_DEPTH:
            continue
        if isinstance(value, list):
            waiting.extend((one, currency, depth + 1) for one in value)
        elif isinstance(value, dict):
            seen += 1
            if seen > MAX_OBJECTS:
                return
            lower = {key.lower(): one for key, one in value.items()}
            currency = _text(lower, _CURRENCIES) or currency
            yield lower, currency
            waiting.extend(
                (one, currency, depth + 1) for one in value.values() if isinstance(one, (dict, list))
            )


def _values(root: LexborNode) -> Iterator[Any]:
    left = MAX_TEXT
    for script in root.css("script:not([src])")[:MAX_SCRIPTS]:
        kind = (script.attributes.get("type") or "").lower()
        if "ld+json" in kind:
            continue
        text = script.text(deep=True)
        left -= len(text)
        if left < 0:
            return
        if "json" in kind:
            yield from _decoded(text, 0)
        elif kind in ("", "text/javascript", "module"):
            for start in list(_START.finditer(text))[:20]:
                yield from _decoded(text, start.end())


def _decoded(text: str, at: int) -> Iterator[Any]:
    try:
        yield _DECODER.raw_decode(text.lstrip() if not at else text, at)[0]
    except (ValueError, RecursionError):
        return


def _is_named(item: dict[str, Any], titles: frozenset[str]) -> bool:
    name = normal((_text(item, _NAMES) or "")[:500])
    return len(name) > 3 and any(name == title or f" {name} " in f" {title} " for title in titles)


def _price(item: dict[str, Any], currency: str | None) -> Found | None:
    for key in _PRICES:
        value = item.get(key)
        if isinstance(value, dict):
            inner = {name.lower(): one for name, one in value.items()}
            currency = _text(inner, _CURRENCIES) or currency
            value = next((inner[name] for name in _AMOUNTS if name in inner), None)
        if isinstance(value, str) and _PLAIN.fullmatch(value.strip()) and float(value) > 0:
            return Found(raw=value.strip(), confidence=CONFIDENCE, currency=currency)
    return None


def _stock(item: dict[str, Any]) -> Found | None:
    words = _text(item, _STOCK_WORDS)
    if words is not None:
        return Found(raw=words, confidence=CONFIDENCE)
    flags = {key: item[key] for key in (*_STOCK_FLAGS, *_NO_STOCK_FLAGS) if isinstance(item.get(key), bool)}
    for key, value in flags.items():
        return Found(raw="InStock" if value == (key in _STOCK_FLAGS) else "OutOfStock", confidence=CONFIDENCE)
    return None


def _text(item: dict[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = item.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()[:500]
    return None
