"""The hostile inputs that reach extraction, each as the list says (data/hostile.csv)."""

from __future__ import annotations

import ast
import csv
import time
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import check_extraction, open_extractor
from sentinel.model import Extraction
from tests.sentinel.extract.pages import code, page, raw

DATA = Path(__file__).parent / "data"
ROWS = list(csv.DictReader((DATA / "hostile.csv").read_text(encoding="utf-8").splitlines()))


def value(text: str) -> str:
    """`py:` before an input is a Python expression: ours, from the list."""
    return str(eval(text[3:], {})) if text.startswith("py:") else text  # noqa: S307 - the list is part of this repository


def rows(kind: str) -> list[Any]:
    return [pytest.param(row, id=row["why"][:50]) for row in ROWS if row["kind"] == kind]


@pytest.mark.parametrize("row", rows("regex") + rows("css") + rows("xpath") + rows("jsonpath"))
async def test_selectors_and_patterns(row: dict[str, str]) -> None:
    written, _, text = row["input"].partition(" ON ")
    selector = value(written)
    extraction = Extraction(method=row["kind"], selector=selector)  # type: ignore[arg-type] # the kinds asked for are methods
    problems = check_extraction(extraction)
    if row["expected"] == "refuse":
        assert problems
        assert all(problem.message for problem in problems)
        assert code("<p>x</p>", method=row["kind"], selector=selector) == "RULE_INVALID"
        return
    assert not problems
    if row["expected"] == "allow":
        return
    began = time.monotonic()
    async with open_extractor(1) as extractor:
        try:
            await extractor.extract(page(value(text)), extraction)
        except CheckFailure as failure:
            assert failure.code.startswith("EXTRACT_")  # noqa: PT017 - a value is as right as a clean error
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("row", rows("xml"))
def test_entities_are_not_expanded_and_nothing_is_fetched(row: dict[str, str]) -> None:
    source = row["input"]
    text = (
        str(ast.literal_eval(source[3:]))
        if source.startswith('py:"') and "+" not in source
        else value(source)
    )
    told = code(text, kind="application/xml", method="text")
    assert len(told) < len(text) + 100


def test_a_direction_override_does_not_reach_an_alert() -> None:
    (spoof,) = (row["input"] for row in ROWS if row["kind"] == "html" and "bidi" in row["input"])
    assert "\u202e" in spoof
    assert "\u202e" not in raw(f"<title>x</title><p>{spoof}</p>", method="text")
