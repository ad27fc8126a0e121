"""What a page may cost `auto`: beyond its limits, three times the page is not three times the work."""

from __future__ import annotations

import sys

import pytest

from tests.sentinel.extract.pages import code

HEAD = "<title>Wide widget</title><h1>Wide widget</h1>"
PAGES = {
    "prices": "<p class=price>1 €</p>",
    "numbers in one box": "<span>1</span>",
    "headings": "<h1 class=title>wide widgets</h1>",
    "buttons that are switched off": '<button class="add-to-cart disabled">Add to cart</button>',
    "words about no stock": "<div class=stock>x y z</div>",
    "links": "<a href=/x>add to</a>",
    "cents": "<p class=price>1<sup>11</sup></p>",
    "RDFa": "<div typeof=Product><i property=price>1</i></div>",
    "microformats": "<div class=hproduct><i class=fn>x</i></div>",
    "scripts": '<script>x = {"name": "Wide widget", "price": "1", "n": [{"a": {}}]}</script>',
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("what", ["price", "availability"])
def test_beyond_its_limits_a_page_costs_no_more(name: str, what: str) -> None:
    large, larger = (calls(HEAD + PAGES[name] * count, what) for count in (7_000, 21_000))
    assert larger < 1.25 * large + 1_000


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "<div class=price>" * 4_000 + "1 €",
        HEAD + '<div class="slider">' * 2_400 + "<a href=/x>1 €</a>",
        HEAD + "<div class=stock>x" * 4_000,
        HEAD + "<div rel=offers>" * 4_000 + "<i property=price>1</i><b typeof=Product>",
        HEAD + "<div class=hproduct>" * 4_000 + "<i class=price>1</i>",
        HEAD + "<p class=price>" + "9" * 1_000_000,
        HEAD + '<script type="application/json">' + "[" * 200_000 + "</script>",
        HEAD + "<script>" + 'x = {"a":' * 50_000 + "</script>",
        HEAD + "<script>" + "assign(" * 100_000 + "</script>",
        "<h1></h1>",
        "<title></title><h1>a</h1>",
    ],
)
def test_a_hostile_page_ends_with_a_value_or_a_code(text: str) -> None:
    for what in ("price", "availability"):
        assert code(text, method="auto", selector=what).startswith(("read: ", "EXTRACT_"))


def calls(text: str, what: str) -> int:
    """Functions called while reading a page."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        code(text, method="auto", selector=what)
    finally:
        sys.setprofile(None)
    return count
