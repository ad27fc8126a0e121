"""How well price and availability are read from real product pages: micro-F1, as a table.

    python bench/product_pages.py [FOLDER] [--misses] [--folds] [--without data] [--without names]

FOLDER holds `ground-truth.json` and `html/*.html.gz` (scrapinghub/product-extraction-benchmark).
A right answer counts for precision and recall; a wrong one against both; silence against recall.

`--folds` prints both halves of the pages too, split by a hash of the shop's name, so that a shop is in
one half only: rules that know their pages are much better on one half than on the other. extruct is the
second opinion where it is installed (bench/requirements/extruct.txt); ours stays without it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import importlib.util
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from sentinel.decide.availability import read_availability
from sentinel.decide.money import read_price
from sentinel.errors import CheckFailure
from sentinel.extract import extract
from sentinel.model import Extraction, Fetched

HERE = Path(__file__).resolve().parent
FOLDERS = (
    HERE.parent.parent / "shared" / "corpora" / "product-pages",
    HERE.parent / "tests/sentinel/extract/data",
)


class Score(msgspec.Struct):
    """Counts of one attribute over all pages."""

    right: int = 0
    wrong: int = 0
    silent: int = 0
    #: Told although the ground truth knows none.
    invented: int = 0

    @property
    def f1(self) -> float:
        precision = self.right / max(1, self.right + self.wrong + self.invented)
        recall = self.right / max(1, self.right + self.wrong + self.silent)
        return 2 * precision * recall / max(1e-9, precision + recall)


#: Extruct in an environment of its own, as `./dev bench` makes it.
PEER = next(iter(HERE.parent.glob(".venv/bench/extruct/lib/*/site-packages")), None)

_DATA = re.compile(
    r"<script[^>]*ld\+json.*?</script>|\s(?:item(?:prop|scope|type)|property|typeof)=(?:\"[^\"]*\"|'[^']*')",
    re.IGNORECASE | re.DOTALL,
)
_NAMES = re.compile(r"(?<=\s)(class|id)=([\"'])(.*?)\2", re.IGNORECASE | re.DOTALL)


def without(text: str, what: list[str]) -> str:
    """A page without what tells most."""
    if "data" in what:
        text = _DATA.sub(" ", text)
    if "names" in what:
        text = _NAMES.sub(lambda found: f'{found[1]}="{_hashed(found[3])}"', text)
    return text


def _hashed(called: str) -> str:
    return " ".join(f"x{hashlib.sha256(name.encode()).hexdigest()[:6]}" for name in called.split())


def pages(folder: Path, less: list[str] | None = None) -> Iterator[tuple[str, Fetched, dict[str, list[str]]]]:
    """Each page with its truth."""
    truths = json.loads((folder / "ground-truth.json").read_text())
    for key, truth in truths.items():
        path = folder / "html" / f"{key}.html.gz"
        if not path.exists():
            continue
        body = gzip.decompress(path.read_bytes())
        text = without(body.decode("utf-8", "replace"), less or [])
        headers = {"content-type": "text/html"}
        yield (
            key,
            Fetched(
                url=truth["url"], final_url=truth["url"], status=200, headers=headers, body=body, text=text
            ),
            truth,
        )


def answer(page: Fetched, method: str, attribute: str) -> str | None:
    """What is read, or None."""
    if method == "extruct":
        return by_extruct(page, attribute)
    try:
        return extract(page, msgspec.convert({"method": method, "selector": attribute}, Extraction)).raw
    except CheckFailure as failure:
        if failure.code.startswith("EXTRACT_"):
            return None
        raise


def by_extruct(page: Fetched, attribute: str) -> str | None:
    """The first product's first offer, as a user of extruct reads it."""
    extruct = importlib.import_module("extruct")
    syntaxes = ["json-ld", "microdata", "opengraph", "rdfa"]
    data = extruct.extract(page.text, base_url=page.url, syntaxes=syntaxes, uniform=True, errors="ignore")
    for syntax in syntaxes:
        for item in products_in(data[syntax]):
            if told := offered(item, attribute):
                return told
    return None


def products_in(values: Any) -> Iterator[dict[str, Any]]:  # Any: somebody's structured data
    for one in values if isinstance(values, list) else [values]:
        if isinstance(one, dict):
            kind = one.get("@type")
            if "Product" in (kind if isinstance(kind, list) else [kind]):
                yield one
            yield from products_in(one.get("@graph") or one.get("mainEntity") or [])


def offered(item: dict[str, Any], attribute: str) -> str | None:
    offers = item.get("offers")
    for offer in (*(offers if isinstance(offers, list) else [offers]), item):
        if isinstance(offer, dict):
            keys = (
                ("price", "lowPrice", "product:price:amount") if attribute == "price" else ("availability",)
            )
            for key in (*keys, f"product:{attribute}"):
                if isinstance(value := offer.get(key), (str, int, float)) and str(value):
                    return str(value)
    return None


def amount(text: str) -> Decimal | None:
    """The amount as a rule would read it."""
    price = read_price(text)
    return None if price is None else price.amount


def status(text: str) -> str:
    """As the ground truth writes it: it can be had (now or later), or not."""
    try:
        said = read_availability(text, {}).status
    except CheckFailure:
        return "unreadable"
    return "OutOfStock" if said == "out_of_stock" else "InStock"


def judge(attribute: str, told: str | None, truth: dict[str, list[str]]) -> str:
    """right, wrong, silent, invented or '' (rightly silent)."""
    expected = truth.get(attribute, [])
    if told is None:
        return "silent" if expected else ""
    if not expected:
        return "invented"
    if attribute == "price":
        return "right" if amount(told) in [amount(one) for one in expected] else "wrong"
    return "right" if status(told) in expected else "wrong"


def fold(truth: dict[str, Any]) -> int:
    """0 or 1: the half a page belongs to, by its shop."""
    host = urlsplit(truth["url"]).hostname or ""
    shop = max(host.split("."), key=len)
    return hashlib.sha256(shop.encode()).digest()[0] & 1


def measure(
    folder: Path,
    method: str,
    attribute: str,
    *,
    misses: bool = False,
    half: int | None = None,
    less: list[str] | None = None,
) -> tuple[Score, float]:
    """The score, and seconds of CPU on the median page (parsing included)."""
    score, spent = Score(), [0.0]
    for key, page, truth in pages(folder, less):
        if half is not None and fold(truth) != half:
            continue
        began = time.process_time()
        told = answer(page, method, attribute)
        spent.append(time.process_time() - began)
        verdict = judge(attribute, told, truth)
        if verdict:
            setattr(score, verdict, getattr(score, verdict) + 1)
        if misses and verdict not in ("right", ""):
            print(f"    {verdict:9} {key[:8]} told {told!r} truth {truth.get(attribute)} {truth['url'][:60]}")
    return score, statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=next(f for f in FOLDERS if f.exists()))
    parser.add_argument(
        "--misses", action="store_true", help="name each page that was read wrong or not at all"
    )
    parser.add_argument("--folds", action="store_true", help="each half of the pages too")
    parser.add_argument("--without", action="append", choices=("data", "names"), help="make the pages harder")
    options = parser.parse_args()
    if PEER is not None:
        sys.path.append(str(PEER))  # last: only what we have not ourselves comes from there
    has_peer = importlib.util.find_spec("extruct") is not None
    print(f"{'method':8} {'attribute':13} pages {'micro-F1':>8} right wrong silent invented  CPU ms")
    for method in ("schema", "auto", *(["extruct"] if has_peer else [])):
        for attribute in ("price", "availability"):
            for half in (None, 0, 1) if options.folds else (None,):
                misses = options.misses and half is None
                score, seconds = measure(
                    options.folder, method, attribute, misses=misses, half=half, less=options.without
                )
                half_name = "all" if half is None else "AB"[half]
                print(
                    f"{method:8} {attribute:13} {half_name:5} {score.f1:8.3f} {score.right:5} "
                    f"{score.wrong:5} {score.silent:6} {score.invented:8} {seconds * 1000:8.1f}"
                )


if __name__ == "__main__":
    main()
