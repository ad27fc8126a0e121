from __future__ import annotations

import pytest

from sentinel.decide.availability import read_availability
from sentinel.extract import extract
from sentinel.model import Extraction
from tests.sentinel.extract.pages import code, page, raw


def shop(main: str, around: str = "") -> str:
    return f"<body><nav class=menu><span class=price>1 €</span></nav><main><h1>Widget</h1>{main}</main>{around}</body>"


def test_structured_data_is_believed_first_and_less_where_the_page_shows_something_else() -> None:
    data = '<script type="application/ld+json">{"@type":"Product","offers":{"price":"9.90"}}</script>'
    confidence = {}
    for shown in ("", '<p class="price">9,90 €</p>', '<p class="price">99 €</p>'):
        found = extract(page(shop(data + shown)), Extraction(method="auto", selector="price"))
        assert found.raw == "9.90"
        confidence[shown[-10:]] = found.confidence
    nothing, same, other = confidence.values()
    assert same > nothing > 0.9 > other


def test_a_price_shown_below_the_heading_is_found_with_less_confidence() -> None:
    text = shop(
        '<p class="price">19,90 €</p>', '<div class="related-products"><p class="price">5 €</p></div>'
    )
    found = extract(page(text), Extraction(method="auto", selector="price"))
    assert found.raw == "19,90 €"
    assert found.confidence < 0.7


@pytest.mark.parametrize(
    "old",
    [
        '<p class="old-price">29,90 €</p>',
        '<del class="price">29,90 €</del>',
        '<p class="price price--was">29,90 €</p>',
        '<p class="unit-price">29,90 €</p>',
        '<aside><p class="price">29,90 €</p></aside>',
        '<p class="price" hidden>29,90 €</p>',
    ],
)
def test_what_is_not_asked_now_is_not_the_price(old: str) -> None:
    assert (
        raw(shop(f'{old}<p class="current-price">19,90 €</p>'), method="auto", selector="price") == "19,90 €"
    )


def test_two_prices_as_likely_as_each_other_are_none() -> None:
    two = shop('<p class="price">19 €</p><p class="price">29 €</p>')
    assert code(two, method="auto", selector="price") == "EXTRACT_SELECTOR_NOT_FOUND"


def test_a_page_without_a_product_has_no_price() -> None:
    assert code("<h1>News</h1><p>It cost 5 € in 1990.</p>", method="auto", selector="price") == (
        "EXTRACT_SELECTOR_NOT_FOUND"
    )


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        ('<div id="availability">In stock</div>', "In stock"),
        ('<div class="stock">Nicht auf Lager</div>', "Nicht auf Lager"),
        ('<div class="stock"></div><button>Add to cart</button>', "Add to cart"),
        ('<button id="button-cart">Naroči</button>', "add to cart"),
        (
            '<link itemprop="availability" href="https://schema.org/OutOfStock">',
            "https://schema.org/OutOfStock",
        ),
    ],
)
def test_availability_is_read_from_data_words_and_buttons(main: str, expected: str) -> None:
    assert raw(shop(main), method="auto", selector="availability") == expected


@pytest.mark.parametrize(
    "main",
    [
        "<p>A text about stock markets, in stock and out.</p>",
        "<button disabled>Add to cart</button>",
        '<div class="related"><p class="stock">In stock</p></div>',
    ],
)
def test_where_the_page_does_not_say_nothing_is_told(main: str) -> None:
    assert code(shop(main), method="auto", selector="availability") == "EXTRACT_SELECTOR_NOT_FOUND"


IN_STOCK = (
    '<script type="application/ld+json">{"@type":"Product","name":"Widget",'
    '"offers":{"price":"10","availability":"https://schema.org/InStock"}}</script>'
)


@pytest.mark.parametrize(
    "main",
    [
        "<p>Sold out</p><button disabled>Sold out</button>",
        "<button disabled>Sold out</button>",
        '<p class="stock">Ausverkauft</p><button disabled>In den Warenkorb</button>',
        '<p>Sold out</p><button name="add-to-cart" disabled>Kaufen</button>',
    ],
)
def test_a_page_that_says_sold_out_and_sells_nothing_is_not_in_stock_whatever_its_data_say(main: str) -> None:
    found = extract(page(shop(IN_STOCK + main)), Extraction(method="auto", selector="availability"))
    assert read_availability(found.raw, {}).status == "out_of_stock"
    assert found.confidence == 0.6


@pytest.mark.parametrize(
    "main",
    [
        "<button disabled>Add to cart</button>",  # until a size is chosen
        "<p>Sold out</p><button>Add to cart</button>",
        "<button>Add to cart</button><button disabled>Sold out</button>",
        '<p>Sold out</p><div class="related"><button disabled>Sold out</button></div>',
    ],
)
def test_where_the_page_does_not_say_both_its_data_hold(main: str) -> None:
    assert raw(shop(IN_STOCK + main), method="auto", selector="availability") == "https://schema.org/InStock"
