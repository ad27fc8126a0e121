from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import CheckFailure
from sentinel.extract import extract, jsonld
from sentinel.model import Extraction
from tests.sentinel.extract.pages import code, page, raw

OFFER = {
    "@type": "Offer",
    "price": "129.90",
    "priceCurrency": "EUR",
    "availability": "https://schema.org/InStock",
}
WIDGET = {
    "@context": "https://schema.org",
    "@type": "Product",
    "name": "Widget",
    "sku": "W-1",
    "offers": OFFER,
}


def ld(*blocks: Any, head: str = "", body: str = "<h1>Widget</h1>") -> str:
    """A page with JSON-LD blocks; a text is put there as it is."""
    scripts = "".join(
        f'<script type="application/ld+json">{block if isinstance(block, str) else json.dumps(block)}</script>'
        for block in blocks
    )
    return f"<html><head><title>Widget | Shop</title>{head}{scripts}</head><body>{body}</body></html>"


def price(text: str) -> str:
    return raw(text, method="schema", selector="price")


def with_offers(offers: Any, **more: Any) -> dict[str, Any]:
    return {**WIDGET, "offers": offers, **more}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("price", "129.90"),
        ("availability", "https://schema.org/InStock"),
        ("currency", "EUR"),
        ("priceCurrency", "EUR"),
        ("offers.price", "129.90"),
        ("name", "Widget"),
        ("sku", "W-1"),
    ],
)
def test_a_property_of_the_product_is_read(selector: str, expected: str) -> None:
    assert raw(ld(WIDGET), method="schema", selector=selector) == expected


def test_the_currency_comes_beside_the_amount() -> None:
    found = extract(page(ld(WIDGET)), Extraction(method="schema", selector="price"))
    assert (found.raw, found.currency) == ("129.90", "EUR")


@pytest.mark.parametrize(
    "block",
    [
        pytest.param({"@graph": [{"@type": "WebSite"}, WIDGET]}, id="graph"),
        pytest.param([{"@type": "Organization"}, WIDGET], id="list"),
        pytest.param({"@type": "WebPage", "mainEntity": WIDGET}, id="main entity"),
        pytest.param({**WIDGET, "@type": ["Product", "Thing"]}, id="list of types"),
        pytest.param({**WIDGET, "@type": "http://schema.org/Product"}, id="type as address"),
        pytest.param(with_offers([OFFER]), id="list of one offer"),
        pytest.param(with_offers([OFFER, {**OFFER, "price": 129.9}]), id="equal offers"),
        pytest.param(
            with_offers({"@type": "AggregateOffer", "lowPrice": "129.90", "highPrice": "150"}), id="aggregate"
        ),
        pytest.param(
            with_offers({"@type": "AggregateOffer", "offers": [OFFER]}), id="offers in an aggregate"
        ),
        pytest.param(
            with_offers(
                {"@type": "Offer", "priceSpecification": {"price": "129.90", "priceCurrency": "EUR"}}
            ),
            id="price specification",
        ),
        pytest.param(
            with_offers(
                {
                    "@type": "Offer",
                    "priceSpecification": [
                        {"priceType": "https://schema.org/ListPrice", "price": "199.00"},
                        {"@type": "UnitPriceSpecification", "price": "129.90"},
                    ],
                }
            ),
            id="not the list price",
        ),
        pytest.param(
            {**WIDGET, "isRelatedTo": [{"@type": "Product", "offers": {"price": "1"}}]}, id="related"
        ),
        pytest.param(with_offers({**OFFER, "price": 129.90}), id="number"),
    ],
)
def test_the_shapes_shops_use(block: Any) -> None:
    assert price(ld(block)).rstrip("0") == "129.9"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param('{"@type":"Product","name":"W","offers":{"price":"129.90",},}', id="trailing commas"),
        pytest.param('<!-- {"@type":"Product","offers":{"price":"129.90"}} -->', id="HTML comment around"),
        pytest.param(
            '//<![CDATA[\n{"@type":"Product","offers":{"price":"129.90"}}\n//]]>', id="CDATA around"
        ),
        pytest.param(
            '{"@type":"Product","description":"a\nb\tc\x01","offers":{"price":"129.90"}}', id="control"
        ),
        pytest.param('{"@type":"Product", // shop\n "offers":{"price":"129.90"}}', id="comment inside"),
        pytest.param(
            '{"@type":"Product","url":"a//b, }","offers":{"price":"129.90",}}', id="markup in strings"
        ),
        pytest.param('{"@type":"Product","offers":{"price":"129.90"}};', id="semicolon"),
        pytest.param(
            '{"@type":"WebSite"}\n{"@type":"Product","offers":{"price":"129.90"}}', id="two in a row"
        ),
        pytest.param('{"@type":"Product","name":"5\\" \\x","offers":{"price":"129.90"}}', id="bad escape"),
        pytest.param(
            "{&quot;@type&quot;:&quot;Product&quot;,&quot;offers&quot;:{&quot;price&quot;:129.90}}",
            id="entities",
        ),
        pytest.param('\ufeff{"@type":"Product","offers":{"price":129.90}}', id="byte order mark"),
    ],
)
def test_broken_json_ld_is_mended_where_that_is_no_guess(broken: str) -> None:
    assert price(ld(broken)) == "129.90"


def test_a_block_cut_off_does_not_hide_the_next() -> None:
    assert price(ld('{"@type":"Product","name":"W', WIDGET)) == "129.90"


def test_a_list_of_other_products_is_not_the_product() -> None:
    others = {
        "@type": "ItemList",
        "itemListElement": [{"@type": "Product", "name": "X", "offers": {"price": "1"}}],
    }
    assert price(ld(others, WIDGET)) == "129.90"
    assert code(ld(others), method="schema", selector="price") == "EXTRACT_SCHEMA_NOT_FOUND"


def test_of_several_products_the_one_the_page_is_about_is_read() -> None:
    other = {"@type": "Product", "name": "Gadget", "offers": {"price": "1"}}
    by_name = ld([other, WIDGET])
    by_address = ld(
        [{**other, "name": "A"}, {**WIDGET, "name": "B", "url": "https://www.shop.example.com/widget/"}]
    )
    assert price(by_name) == "129.90"
    assert price(by_address) == "129.90"


def test_where_the_page_does_not_say_which_nothing_is_told() -> None:
    several = [
        {"@type": "Product", "name": name, "offers": {"price": amount}} for name, amount in ("A1", "B2")
    ]
    assert code(ld(several), method="schema", selector="price") == "EXTRACT_AMBIGUOUS"
    two = with_offers([{"@type": "Offer", "price": "1"}, {"@type": "Offer", "price": "2"}])
    assert code(ld(two), method="schema", selector="price") == "EXTRACT_AMBIGUOUS"


def test_a_meta_tag_decides_between_offers() -> None:
    two = with_offers([{"@type": "Offer", "price": "1.00"}, {"@type": "Offer", "price": "2.00"}])
    head = '<meta property="product:price:amount" content="2.00">'
    assert price(ld(two, head=head)) == "2.00"


def test_one_offer_in_stock_is_enough() -> None:
    offers = [{**OFFER, "availability": "OutOfStock"}, {**OFFER, "availability": "http://schema.org/InStock"}]
    assert (
        raw(ld(with_offers(offers)), method="schema", selector="availability") == "http://schema.org/InStock"
    )


def test_zero_is_a_placeholder_and_not_a_price() -> None:
    free = with_offers({**OFFER, "price": "0.00"})
    assert code(ld(free), method="schema", selector="price") == "EXTRACT_SCHEMA_NOT_FOUND"
    assert price(ld(free, head='<meta property="og:price:amount" content="9.90">')) == "9.90"


MICRODATA = """<div itemscope itemtype="http://schema.org/Product"><h1 itemprop="name">Widget</h1>
<div itemprop="offers" itemscope itemtype="http://schema.org/Offer"><span itemprop="price" content="129.90">129,90</span>
<meta itemprop="priceCurrency" content="EUR"><link itemprop="availability" href="http://schema.org/InStock"></div>
<div itemprop="isRelatedTo" itemscope itemtype="http://schema.org/Product"><b itemprop="price">1</b></div></div>"""


def test_microdata_is_read_the_same_way() -> None:
    found = extract(page(MICRODATA), Extraction(method="schema", selector="price"))
    assert (found.raw, found.currency) == ("129.90", "EUR")
    assert raw(MICRODATA, method="schema", selector="availability") == "http://schema.org/InStock"
    assert raw(MICRODATA, method="schema", selector="name") == "Widget"


def test_meta_tags_stand_behind() -> None:
    metas = (
        '<meta property="product:price:amount" content="199"><meta property="product:sale_price:amount" content="149.00">'
        '<meta property="product:sale_price:currency" content="usd"><meta property="og:availability" content="instock">'
    )
    found = extract(page(metas), Extraction(method="schema", selector="price"))
    assert (found.raw, found.currency) == ("149.00", "USD")
    assert found.confidence < 0.9
    assert raw(metas, method="schema", selector="availability") == "instock"


def test_a_property_outside_every_item_is_read_where_all_agree() -> None:
    assert price('<span itemprop="price">9.90</span><b itemprop="price" content="9.9"></b>') == "9.90"
    assert code('<i itemprop="price">1</i><i itemprop="price">2</i>', method="schema", selector="price") == (
        "EXTRACT_AMBIGUOUS"
    )


def test_a_page_without_any_has_its_own_code() -> None:
    assert code("<p>129 €</p>", method="schema", selector="price") == "EXTRACT_SCHEMA_NOT_FOUND"


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("[" * 200_000, id="deep"),
        pytest.param("/*" * 400_000, id="open comments"),
        pytest.param('"' + '\\"' * 400_000, id="open string"),
        pytest.param(", " * 400_000, id="commas"),
        pytest.param("{" * 50_000 + "}" * 50_000, id="braces"),
        pytest.param('{"a":"' * 50_000, id="strings"),
    ],
)
def test_hostile_blocks_cost_no_more_than_their_length(hostile: str) -> None:
    began = time.process_time()
    assert jsonld.decode(hostile) == []
    assert time.process_time() - began < 5


def test_items_nested_into_each_other_without_end_are_walked_within_limits() -> None:
    deep: dict[str, Any] = WIDGET
    for _ in range(200):
        deep = {"@type": "Thing", "subjectOf": deep}
    assert code(ld(deep), method="schema", selector="price") == "EXTRACT_SCHEMA_NOT_FOUND"
    assert code("<div itemscope itemprop=a>" * 1_000, method="schema", selector="price").startswith("EXTRACT")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=8)
        | st.sampled_from(["Product", "Offer"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["@type", "@graph", "offers", "price", "name", "url", "mainEntity", "priceSpecification"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=25,
    ),
    st.sampled_from(["price", "availability", "currency", "name", "gtin", "ratingValue"]),
)
def test_any_json_ld_is_read_or_refused(block: Any, selector: str) -> None:
    assert code(ld(block), method="schema", selector=selector).startswith(("read: ", "EXTRACT_"))


def group(*variants: dict[str, object]) -> str:
    data = {
        "@type": "ProductGroup",
        "name": "Widget",
        "hasVariant": [{"@type": "Product"} | one for one in variants],
    }
    return (
        f'<title>Widget</title><h1>Widget</h1><script type="application/ld+json">{json.dumps(data)}</script>'
    )


def test_a_product_with_variants_at_several_prices_asks_for_one_of_them() -> None:
    two = group(
        {"offers": {"price": "10", "priceCurrency": "EUR"}},
        {"offers": {"price": "25", "priceCurrency": "EUR"}},
    )
    for method in ("schema", "auto"):
        with pytest.raises(CheckFailure) as caught:
            extract(page(two), Extraction(method=method, selector="price"))
        assert caught.value.code == "EXTRACT_AMBIGUOUS"
        assert "variants with several values of price (10, 25): name one" in caught.value.detail


def test_what_all_variants_say_is_told() -> None:
    both = group(
        {"offers": {"price": "10.00", "priceCurrency": "EUR", "availability": "https://schema.org/InStock"}},
        {"offers": {"price": "10", "priceCurrency": "EUR", "availability": "https://schema.org/OutOfStock"}},
    )
    found = extract(page(both), Extraction(method="schema", selector="price"))
    assert (found.raw, found.currency) == ("10", "EUR")
    assert code(both, method="schema", selector="availability") == "EXTRACT_AMBIGUOUS"
    assert code(both, method="schema", selector="name") == "read: Widget"
