"""Real product pages with their truth, rules on them, and how a shop would change them.

`load()` gives the committed pages (MIT, see data/LICENSE); `load(folder)` a whole corpus: a folder
with `ground-truth.json` and `html/*.html.gz`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sentinel.decide import normalise, value_json
from sentinel.errors import CheckFailure
from sentinel.extract import extract
from sentinel.model import Extraction, Fetched, Normalization

TESTS = Path(__file__).resolve().parents[1]
OWN = Path(__file__).parent / "data"
#: Where the committed pages lie: three tests each keep their own, none twice.
COMMITTED = (
    (TESTS / "sentinel/extract/data/ground-truth.json", TESTS / "sentinel/extract/data/html"),
    (OWN / "ground-truth.json", TESTS / "sentinel/fetch/data/pages"),
    (OWN / "ground-truth.json", OWN / "html"),
)

#: Selectors a person would write after a look at the page: (page, type) -> selector, attribute.
SELECTORS = {
    ("16606e09", "price"): ("#product-price-68705", "text"),
    ("16606e09", "availability"): (".availability", "text"),
    ("16962698", "price"): (".price-old-live", "text"),
    ("36dbaefc", "price"): (".ek-slider-pricenew", "text"),
    ("442c155e", "price"): ("[itemprop=price]", "attr:content"),
    ("5579758b", "price"): ("meta[itemprop=price]", "attr:content"),
    ("572368ce", "price"): (".markets__price", "text"),
    ("5d84948a", "price"): (".std_price", "text"),
    ("5dc513be", "price"): (".product__price", "text"),
    ("6299847d", "price"): (".lowestPrice", "text"),
    ("6299847d", "availability"): ("link[itemprop=availability]", "attr:href"),
    ("75cde739", "price"): (".gtmActualPrice", "text"),
    ("75cde739", "availability"): (".availability", "text"),
    ("7a838a16", "price"): ("span[itemprop=price]", "text"),
    ("bddc08f5", "price"): (".prices", "text"),
    ("f09ca5f0", "price"): ("#priceblock_ourprice", "text"),
    ("f09ca5f0", "availability"): ("#availability", "text"),
    ("f86ea57a", "price"): (".markets__price", "text"),
    ("f94bb87d", "price"): (".range-revamp-price__integer", "text"),
}


@dataclass(frozen=True)
class Page:
    key: str
    body: bytes
    #: Right answers, several where several are right; None: the page tells none.
    price: tuple[str, ...] | None
    availability: tuple[str, ...] | None

    @property
    def name(self) -> str:
        return self.key[:8]


@dataclass(frozen=True)
class Watch:
    """One rule on one page."""

    page: str
    type: str
    extraction: dict[str, str]

    @property
    def id(self) -> str:
        return f"{self.page}-{self.type}-{self.extraction['method']}"


def load(folder: Path | None = None) -> list[Page]:
    """The pages, by their names."""
    places = COMMITTED if folder is None else ((folder / "ground-truth.json", folder / "html"),)
    pages = []
    for truths, bodies in places:
        for key, truth in json.loads(truths.read_text()).items():
            path = bodies / f"{key}.html.gz"
            if path.exists():
                price, availability = (
                    tuple(truth[name]) if truth.get(name) else None for name in ("price", "availability")
                )
                pages.append(Page(key, gzip.decompress(path.read_bytes()), price, availability))
    return sorted(pages, key=lambda page: page.key)


# --- rules ------------------------------------------------------------------------------------------


def watches(pages: Sequence[Page]) -> list[Watch]:
    """Price and availability of each page by `auto` and `schema`, and by `css` where a selector is known."""
    found = []
    for page in pages:
        for kind in ("price", "availability"):
            found += [Watch(page.name, kind, {"method": m, "selector": kind}) for m in ("auto", "schema")]
            if (page.name, kind) in SELECTORS:
                selector, attribute = SELECTORS[page.name, kind]
                how = {"method": "css", "selector": selector, "attribute": attribute}
                found.append(Watch(page.name, kind, how))
    return found


def rules_file(rules: Sequence[Watch], *, site: str, webhook: str, interval: int = 1) -> str:
    """The YAML a person would write. A change is told when two checks in a row saw it."""
    return yaml.safe_dump(
        {
            # All of them are on one host here, and those that cannot be read are no incident of it.
            "workspace": {"id": "shops", "timezone": "Europe/Bratislava", "incident": None},
            "channels": [{"id": "ops", "type": "webhook", "url": webhook}],
            "rules": [
                {
                    "id": rule.id,
                    "url": f"{site}/{rule.page}",
                    "type": rule.type,
                    "extraction": rule.extraction,
                    "schedule": {"intervalSeconds": interval},
                    "alertPolicy": {
                        "requireConsecutive": 2,
                        "channels": ["ops"],
                        "conditions": [{"id": "changed", "type": "value_changed"}],
                    },
                }
                for rule in rules
            ],
        },
        sort_keys=False,
    )


def reading(rule: Watch, body: bytes) -> Any:  # Any: JSON
    """What the rule reads from a page, as JSON; its error code where it reads nothing.

    Called here, on the page's bytes: no worker, queue, network or database in between.
    """
    return _reading(rule.type, tuple(rule.extraction.items()), body)


@cache
def _reading(kind: str, extraction: tuple[tuple[str, str], ...], body: bytes) -> Any:  # Any: JSON
    headers = {"content-type": "text/html; charset=utf-8"}
    text = body.decode("utf-8", "replace")
    page = Fetched(url="", final_url="", status=200, headers=headers, body=body, text=text)
    try:
        found = extract(page, Extraction(**dict(extraction)))  # type: ignore[arg-type] # what YAML holds
        return value_json(normalise(found, Normalization(kind=kind)).value)  # type: ignore[arg-type]
    except CheckFailure as failure:
        return failure.code


def is_right(rule: Watch, page: Page, value: Any) -> bool | None:
    """Whether a value is the truth; None: the truth is not known."""
    truth = page.price if rule.type == "price" else page.availability
    if truth is None:
        return None
    if rule.type == "price":
        return Decimal(value["amount"]) in {Decimal(one.strip()) for one in truth}
    return ("OutOfStock" if value["status"] == "out_of_stock" else "InStock") in truth


# --- changes ----------------------------------------------------------------------------------------

#: What stands within this many bytes before a number that is a price.
_PRICE_BEFORE = re.compile(
    rb"pri[cx]|prezzo|cena|amount|offer|value|content=|[$\xa3\xac]|&euro;", re.IGNORECASE
)
_NEAR = 160
_IN_STOCK = re.compile(rb"(?<=schema\.org/)InStock\b|(?<=[\"'])InStock(?=[\"'])")
_OUT_OF_STOCK = re.compile(rb"(?<=schema\.org/)OutOfStock\b|(?<=[\"'])OutOfStock(?=[\"'])")


def with_new_price(page: Page) -> bytes | None:
    """The page with its price a tenth lower wherever its markup says it, spelt the same way; None: nowhere."""
    try:
        old = Decimal(page.price[0].strip()) if page.price else None
    except InvalidOperation:
        old = None
    if old is None or old <= 1:
        return None
    places = 0 if old == old.to_integral_value() else 2
    new = round(old * Decimal("0.9"), places)
    body = page.body
    for before, after in zip(_spellings(old), _spellings(new), strict=True):
        body = _replaced(body, before.encode(), after.encode())
    return None if body == page.body else body


def _spellings(amount: Decimal) -> list[str]:
    """The ways shops write an amount."""
    whole, _, cents = f"{amount:.2f}".partition(".")
    grouped = f"{int(whole):,}"
    wholes = [whole] if grouped == whole else [whole, *(grouped.replace(",", mark) for mark in ".,\u00a0 ")]
    spelt = [
        f"{one}{mark}{cents}" for one in wholes for mark in ".," if not (len(wholes) > 1 and mark in one)
    ]
    if cents == "00":
        spelt += [f"{one}{mark}0" for one in wholes[:1] for mark in ".,"] + wholes
    return list(dict.fromkeys(spelt)) if amount else []


def _replaced(body: bytes, before: bytes, after: bytes) -> bytes:
    if before not in body:  # most spellings are not there, and a pattern costs fifty times as much
        return body

    def one(match: re.Match[bytes]) -> bytes:
        near = body[max(0, match.start() - _NEAR) : match.start()]
        return after if _PRICE_BEFORE.search(near) else match[0]

    whole_number = rb"(?<![\d.,\w#-])" + re.escape(before) + rb"(?![\d\w%]|[.,]\d)"
    return re.sub(whole_number, one, body)


def with_other_availability(page: Page) -> bytes | None:
    """The page sold out where it was in stock, and the other way round; None: its markup does not say."""
    if _IN_STOCK.search(page.body):
        return _IN_STOCK.sub(b"OutOfStock", page.body)
    if _OUT_OF_STOCK.search(page.body):
        return _OUT_OF_STOCK.sub(b"InStock", page.body)
    return None
