"""A price that is struck through or called old is told from the price of now, and never healed to."""

from __future__ import annotations

import pytest

from sentinel.extract import css, fingerprint, healing
from sentinel.extract.page import Page
from sentinel.model import Fetched, Fingerprint


def page(value: str) -> Page:
    text = f"<html><body><main><h1>Widget</h1><div class=box>{value}<button>Buy</button></div></main></body></html>"
    url = "https://shop.example/"
    return Page(
        Fetched(
            url=url, final_url=url, status=200, headers={"content-type": "text/html"}, body=b"", text=text
        )
    )


def taken(value: str, selector: str = "[data-it]") -> Fingerprint:
    node = css.first(page(value).tree, selector)
    assert node is not None
    return fingerprint.take(node, css.of(node, "text", selector))


@pytest.mark.parametrize(
    "value",
    [
        "<span data-it class='ek-slider-priceold'>99 €</span>",
        "<span data-it class='oldPrice'>99 €</span>",
        "<span data-it class='price--was'>99 €</span>",
        "<span data-it id='rrp'>99 €</span>",
        "<b data-it class='uvp'>99 €</b>",
        "<del><span data-it>99 €</span></del>",
        "<span data-it><s>99 €</s></span>",
        "<span data-it><span>€</span><span class='rrp'>99</span></span>",
        "<span data-it style='text-decoration: line-through'>99 €</span>",
        "<div class='was-price'><span data-it>99 €</span></div>",
        "<span data-it><i class='sr-only'>Was</i> £99</span>",
        "<em>statt </em><span data-it>99 €</span>",
    ],
)
def test_an_old_price_is_told_as_one(value: str) -> None:
    assert fingerprint.CROSSED in taken(value).roles


@pytest.mark.parametrize(
    "value",
    [
        "<del>99 €</del> <span data-it class='price'>79 €</span>",
        "<div class='has-old-price'><s>99 €</s><span data-it class='amount'>79 €</span></div>",
        "<div class='was-now-price'><span data-it>79 €</span></div>",
        "<div data-it class='box'><del>99 €</del> <ins>79 €</ins></div>",
        "<span data-it class='threshold'>79 €</span>",
        "<span>Was £99</span> <span data-it>Now £79</span>",
    ],
)
def test_a_price_of_now_is_not_though_an_old_one_is_near(value: str) -> None:
    assert fingerprint.CROSSED not in taken(value).roles


@pytest.mark.parametrize("swapped", [False, True])
def test_one_is_never_healed_to_the_other(*, swapped: bool) -> None:
    now, old = "<span class='price'>79 €</span>", "<span class='price-old'>79 €</span>"
    lost, left = (old, now) if swapped else (now, old)
    known = taken(lost, "span")

    assert healing.heal(page(left), known) is None
    found = healing.heal(page(lost.replace("class='", "class='x ")), known)
    assert found is not None
