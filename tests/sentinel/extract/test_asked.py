"""What an element asks now: without what is struck through or called old, cents put behind their mark."""

from __future__ import annotations

import pytest

from sentinel.decide import normalise
from sentinel.extract import extract
from sentinel.extract.contained import open_extractor
from sentinel.model import Extracted, Extraction, Fetched, Normalization, PriceValue, Rule
from tests.sentinel.extract.pages import page, raw

PRICE = Normalization(kind="price")


def shop(body: str) -> Fetched:
    return page(f"<html><head><title>Widget - Shop</title></head><body><h1>Widget</h1>{body}</body></html>")


def told(body: str, method: str = "css", selector: str = ".price") -> tuple[str, str | None, Extracted]:
    """Amount, currency, and what was read, as a price rule reads it."""
    wanted = Extraction(method=method, selector=selector)  # type: ignore[arg-type] - test convenience
    found = extract(shop(body), wanted, money=True)
    value = normalise(found, PRICE).value
    assert isinstance(value, PriceValue)
    return f"{value.amount:f}", value.currency, found


STRUCK = [
    "<del>49,99 €</del> <ins>29,99 €</ins>",
    "<s>49,99 €</s> 29,99 €",
    "<strike>49,99 €</strike> 29,99 €",
    '<span style="color: red; text-decoration: line-through">49,99 €</span> 29,99 €',
    '<span class="old-price">49,99 €</span> <span>29,99 €</span>',
    '<span class="priceOld">49,99 €</span> <span>29,99 €</span>',
    '<span class="product__price--was">49,99 €</span> <span>29,99 €</span>',
    '<span class="regular-price">49,99 €</span> <span class="sale">29,99 €</span>',
    "<del>49,99</del> <ins>29,99</ins> €",
    "<del>49,99 €</del> 29,99",
    "<del>49,99 €</del> <b>29<sup>99</sup> €</b>",
    (
        '<del aria-hidden="true">49,99 €</del> <span class="screen-reader-text">Original price was: 49,99 €.</span>'
        ' <ins aria-hidden="true">29,99 €</ins> <span class="screen-reader-text">Current price is: 29,99 €.</span>'
    ),
]


@pytest.mark.parametrize("old_and_new", STRUCK)
@pytest.mark.parametrize(
    ("method", "selector"), [("css", ".price"), ("xpath", "//p[@class='price']"), ("text", ".price")]
)
def test_a_price_drop_that_is_shown_beside_the_old_price_is_read(
    old_and_new: str, method: str, selector: str
) -> None:
    amount, currency, _ = told(f'<p class="price">{old_and_new}</p>', method, selector)
    assert (amount, currency) == ("29.99", "EUR")


@pytest.mark.parametrize("old_and_new", STRUCK[:4])
def test_auto_and_schema_read_it_too(old_and_new: str) -> None:
    shown = f'<p class="price">{old_and_new}</p><button>Add to cart</button>'
    assert told(shown, "auto", "price")[:2] == ("29.99", "EUR")
    item = f'<div itemscope itemtype="https://schema.org/Product"><b itemprop="name">Widget</b><p itemprop="price">{old_and_new}</p></div>'
    assert told(item, "schema", "price")[:2] == ("29.99", "EUR")


@pytest.mark.parametrize(
    "body",
    [
        '<p class="price"><del>49,99 €</del></p>',
        '<p class="price"><del>49,99 €</del> 2 Stück</p>',
        '<p class="price"><span class="regular-price">49,99 €</span> + 4,99 € Versand</p>',
        '<del class="price">49,99 €</del>',
        '<p><del><span class="price">49,99 €</span></del></p><div><span class="price">9,00 €</span></div>',
        '<p class="price">49,99 €<sup>1</sup></p>',
        '<p class="price">49,99<sup>12</sup> €</p>',
        '<p class="price">49,99 €1</p>',
    ],
)
def test_where_no_new_amount_remains_and_where_a_footnote_stands_the_price_is_what_is_there(
    body: str,
) -> None:
    assert told(body)[:2] == ("49.99", "EUR")


def test_of_two_matches_in_one_box_the_one_that_is_not_struck_is_read() -> None:
    box = '<p><del><span class="price">49,99 €</span></del> <ins><span class="price">29,99 €</span></ins></p>'
    assert told(box)[0] == "29.99"
    assert told(box, "xpath", "//span[@class='price']")[0] == "29.99"


@pytest.mark.parametrize(
    ("markup", "amount", "currency"),
    [
        ("$<span>19</span><sup>99</sup>", "19.99", "USD"),
        ("<span>1.299</span><sup>99</sup> €", "1299.99", "EUR"),
        ("$1,299<sup>99</sup>", "1299.99", "USD"),
        ('19 <span class="price-cents">99</span> €', "19.99", "EUR"),
        ("12<sup>,99</sup> €", "12.99", "EUR"),
    ],
)
def test_cents_that_stand_apart_are_cents(markup: str, amount: str, currency: str) -> None:
    for method, selector in (("css", ".price"), ("xpath", "//p[@class='price']")):
        assert told(f'<p class="price">{markup}</p>', method, selector)[:2] == (amount, currency)


def test_a_mark_that_is_ours_teaches_no_convention() -> None:
    _, _, found = told('<p class="price">12<sup>99</sup> €</p>')
    assert normalise(found, PRICE).separator is None


def test_what_is_no_price_is_read_whole() -> None:
    text = '<p class="price"><del>49,99 €</del> 29<sup>99</sup> €</p>'
    assert raw(text, method="css", selector=".price") == "49,99 € 2999 €"


@pytest.mark.anyio
async def test_a_price_rule_says_so_to_the_child_process_too() -> None:
    rules = [
        Rule(id="it", url="https://shop.example.com/", type="price", extraction=one)
        for one in (
            Extraction(method="css", selector=".price"),  # read here
            Extraction(method="xpath", selector="//p"),  # and in the child
        )
    ]
    async with open_extractor(1) as extractor:
        for rule in rules:
            found = await extractor.read(shop('<p class="price"><del>49,99 €</del> 29,99 €</p>'), rule)
            assert found.raw == "29,99 €"


@pytest.mark.parametrize(
    "other", ["With card: <b class='price'>$9.99</b>", "Prix conseillé <b class='price'>$59.99</b>"]
)
def test_auto_leaves_out_what_only_some_pay_and_what_is_recommended(other: str) -> None:
    body = f'<p>{other}</p><p class="price">$14.99</p><button>Add to cart</button>'
    assert told(body, "auto", "price")[:2] == ("14.99", "USD")
