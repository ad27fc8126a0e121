"""How well price and availability are read from real product pages: micro-F1, as a table.

    python bench/product_pages.py [FOLDER] [--misses]

FOLDER holds `ground-truth.json` and `html/*.html.gz` (scrapinghub/product-extraction-benchmark).
A right answer counts for precision and recall; a wrong one against both; silence against recall.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

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


def pages(folder: Path) -> Iterator[tuple[str, Fetched, dict[str, list[str]]]]:
    """Each page with its truth."""
    truths = json.loads((folder / "ground-truth.json").read_text())
    for key, truth in truths.items():
        path = folder / "html" / f"{key}.html.gz"
        if not path.exists():
            continue
        body = gzip.decompress(path.read_bytes())
        text = body.decode("utf-8", "replace")
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
    try:
        return extract(page, msgspec.convert({"method": method, "selector": attribute}, Extraction)).raw
    except CheckFailure as failure:
        if failure.code.startswith("EXTRACT_"):
            return None
        raise


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


def measure(folder: Path, method: str, attribute: str, *, misses: bool = False) -> tuple[Score, float]:
    """The score, and seconds per page."""
    score, spent, count = Score(), 0.0, 0
    for key, page, truth in pages(folder):
        began = time.perf_counter()
        told = answer(page, method, attribute)
        spent += time.perf_counter() - began
        count += 1
        verdict = judge(attribute, told, truth)
        if verdict:
            setattr(score, verdict, getattr(score, verdict) + 1)
        if misses and verdict not in ("right", ""):
            print(f"    {verdict:9} {key[:8]} told {told!r} truth {truth.get(attribute)} {truth['url'][:60]}")
    return score, spent / max(1, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=next(f for f in FOLDERS if f.exists()))
    parser.add_argument(
        "--misses", action="store_true", help="name each page that was read wrong or not at all"
    )
    options = parser.parse_args()
    print(f"{'method':8} {'attribute':13} {'micro-F1':>8} right wrong silent invented  ms/page")
    for method in ("schema", "auto"):
        for attribute in ("price", "availability"):
            score, seconds = measure(options.folder, method, attribute, misses=options.misses)
            print(
                f"{method:8} {attribute:13} {score.f1:8.3f} {score.right:5} {score.wrong:5} {score.silent:6} "
                f"{score.invented:8} {seconds * 1000:8.1f}"
            )


if __name__ == "__main__":
    main()
