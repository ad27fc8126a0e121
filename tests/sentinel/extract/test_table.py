from __future__ import annotations

from typing import Any

import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import check_extraction, extract, open_extractor
from sentinel.model import Extraction, FallbackSelector
from tests.sentinel.extract.pages import page

TABLE = """<h1>x</h1><table id=prices><caption>Prices</caption>
<thead><tr><th>Article<th>Net  price<th>Stock</thead>
<tr><td>Widget<td>12 €<td><table><tr><td>5<td>pieces</table>
<tr><th>Gadget<td>8 €<td>none</table>"""
CARDS = """<ul id=offers><li class=card data-sku=W1><h3>Widget</h3><b class=price>12 €</b><a href=/w>see</a>
<li class=card data-sku=G1><h3>Gadget</h3><a href=/g>see</a></ul>"""


def rows(text: str, **extraction: Any) -> list[tuple[str, dict[str, str]]]:
    found = extract(page(text), Extraction(method="table", **extraction))
    assert found.rows is not None
    return list(found.rows)


def code(text: str, **extraction: Any) -> str:
    with pytest.raises(CheckFailure) as failure:
        rows(text, **extraction)
    return failure.value.code


def test_a_table_is_rows_under_their_first_column() -> None:
    assert rows(TABLE) == [
        ("Widget", {"Article": "Widget", "Net price": "12 €", "Stock": "5 pieces"}),
        ("Gadget", {"Article": "Gadget", "Net price": "8 €", "Stock": "none"}),
    ]


def test_key_and_columns_are_headings_but_for_case_and_white_space() -> None:
    told = rows(TABLE, selector="#prices", key="net price", columns=["Stock"])
    assert told == [("12 €", {"Stock": "5 pieces"}), ("8 €", {"Stock": "none"})]
    assert rows(TABLE, key="what", columns={"what": "ARTICLE", "asked": "Net price"})[1] == (
        "Gadget",
        {"what": "Gadget", "asked": "8 €"},
    )


def test_a_column_that_is_not_there_is_said_with_a_guess() -> None:
    with pytest.raises(
        CheckFailure, match="EXTRACT_SELECTOR_NOT_FOUND: no column 'Stok': did you mean 'Stock'"
    ):
        rows(TABLE, columns=["Stok"])


def test_spans_are_spread_and_two_lines_of_headings_are_one_name() -> None:
    text = """<table><tr><th rowspan=2>Country<th colspan=2>Price<tr><th>2025<th>2026
    <tr><td rowspan=2>SK<td>1<td>2<tr><td>3<td>4</table>"""
    assert rows(text) == [
        ("SK", {"Country": "SK", "Price 2025": "1", "Price 2026": "2"}),
        ("SK", {"Country": "SK", "Price 2025": "3", "Price 2026": "4"}),
    ]


def test_a_table_without_headings_has_numbered_columns() -> None:
    assert rows("<table><tr><td>a<td>1<tr><td>b") == [("a", {"1": "a", "2": "1"}), ("b", {"1": "b", "2": ""})]
    assert rows("<table><tr><th>a<td>1<tr><th>b<td>2") == [
        ("a", {"1": "a", "2": "1"}),
        ("b", {"1": "b", "2": "2"}),
    ]


def test_elements_that_repeat_are_rows_with_places_for_their_columns() -> None:
    told = rows(
        CARDS, selector="#offers", row=".card", key="@data-sku", columns={"price": ".price", "link": "a@href"}
    )
    assert told == [("W1", {"price": "12 €", "link": "/w"}), ("G1", {"price": "", "link": "/g"})]
    assert [key for key, _ in rows(CARDS, row=".card", key="name", columns={"name": "h3"})] == [
        "Widget",
        "Gadget",
    ]
    assert rows(CARDS, row=".card h3") == [("Widget", {"text": "Widget"}), ("Gadget", {"text": "Gadget"})]


def test_what_is_not_there_and_what_is_empty() -> None:
    assert code("<p>x", selector="#prices") == "EXTRACT_SELECTOR_NOT_FOUND"
    assert code("<p>x") == "EXTRACT_SELECTOR_NOT_FOUND"
    assert code(CARDS, row=".gone") == "EXTRACT_SELECTOR_NOT_FOUND"
    assert code(CARDS, row=".card", columns={"old": ".old"}) == "EXTRACT_SELECTOR_NOT_FOUND"
    assert code("<table></table>") == "EXTRACT_EMPTY_VALUE"
    nothing = Extraction(method="table")
    assert extract(page("<table></table>"), nothing, allow_empty=True).rows == ()


def test_each_cell_is_cleaned_and_a_fallback_may_find_the_table() -> None:
    behind = [FallbackSelector(method="table", selector="table")]
    told = rows(
        TABLE, selector=".gone", fallback_selectors=behind, columns=["Article"], postprocess=["uppercase"]
    )
    assert told == [("Widget", {"Article": "WIDGET"}), ("Gadget", {"Article": "GADGET"})]


def test_what_is_wrong_with_rows_is_said_when_saved() -> None:
    (problem,) = check_extraction(Extraction(method="table", row="div["))
    assert problem.path == "row"
    (problem,) = check_extraction(Extraction(method="css", selector="p", key="x"))
    assert problem.path == "key"
    assert check_extraction(Extraction(method="table")) == []


@pytest.mark.parametrize(
    "text",
    [
        "<table>" + "<tr><td colspan=1000 rowspan=60000>x" * 500,
        "<table><tr>" + "<td>x" * 50_000,
        "<table>" + "<tr><td>x" * 60_000,
        "<table><tr><td>" * 1_500,
    ],
)
async def test_a_hostile_table_is_read_or_refused(text: str) -> None:
    async with open_extractor(1) as extractor:
        try:
            found = await extractor.extract(page(text), Extraction(method="table"))
        except CheckFailure as failure:
            assert failure.code in ("EXTRACT_PARSE_ERROR", "EXTRACT_EMPTY_VALUE")  # noqa: PT017 - as right as rows
        else:
            assert found.rows is not None
