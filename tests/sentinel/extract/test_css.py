from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import CheckFailure
from sentinel.extract import css, html
from tests.sentinel.extract.pages import code, raw

SHOP = """<!doctype html><html><body>
<div class="related"><span class="price">5,00 €</span></div>
<main id="product"><h1>Widget</h1>
  <p class="price">129,<b>99</b>\u00a0€<script>var x = 1</script><span hidden>old</span></p>
  <p class="price">99,00 €</p>
  <input name="qty" value="3"><select><option value="s">Small<option value="m" selected>Medium</select>
  <a href="/buy?x=1" data-sku=" W-1 ">Buy</a><meta itemprop="sku" content="W-1">
</main></body></html>"""


def test_the_first_match_in_document_order_is_read() -> None:
    assert raw(SHOP, method="css", selector=".price") == "5,00 €"


def test_the_context_limits_where_to_look() -> None:
    assert raw(SHOP, method="css", selector=".price", context="#product") == "129,99 €"


def test_a_selector_may_name_what_is_above_its_context_as_in_browsers() -> None:
    assert raw(SHOP, method="css", selector="body #product .price", context="#product") == "129,99 €"


def test_a_context_that_is_not_there_is_not_found() -> None:
    assert code(SHOP, method="css", selector=".price", context="#gone") == "EXTRACT_SELECTOR_NOT_FOUND"


@pytest.mark.parametrize(
    ("selector", "attribute", "expected"),
    [
        ("a", "attr:href", "/buy?x=1"),
        ("a", "attr:data-sku", "W-1"),
        ("a", "attr:DATA-SKU", "W-1"),
        ("input", "value", "3"),
        ("select", "value", "m"),
        ("meta[itemprop=sku]", "value", "W-1"),
        ("b", "html", "99"),
        (
            "#product .price",
            "html",
            '129,<b>99</b>&nbsp;€<script>var x = 1</script><span hidden="">old</span>',
        ),
        ("script", "text", "var x = 1"),
    ],
)
def test_an_attribute_says_which_side_of_the_element_is_read(
    selector: str, attribute: str, expected: str
) -> None:
    assert raw(SHOP, method="css", selector=selector, attribute=attribute) == expected


@pytest.mark.parametrize("attribute", ["attr:title", "value"])
def test_an_element_without_the_attribute_is_not_found(attribute: str) -> None:
    assert code(SHOP, method="css", selector="h1", attribute=attribute) == "EXTRACT_SELECTOR_NOT_FOUND"


def test_nothing_matching_is_not_found_and_nothing_inside_is_empty() -> None:
    assert code(SHOP, method="css", selector=".gone") == "EXTRACT_SELECTOR_NOT_FOUND"
    assert code("<p class=price> \u200b</p>", method="css", selector=".price") == "EXTRACT_EMPTY_VALUE"


def test_text_of_blocks_and_cells_does_not_run_together() -> None:
    table = "<table id=t><tr><td>Price</td><td>12 €</td></tr><tr><td>Stock<td>3</table>"
    assert raw(table, method="css", selector="#t") == "Price 12 €\nStock 3"


def test_text_inside_a_word_stays_one_word() -> None:
    assert raw("<p>un<em>believ</em>able<br>news</p>", method="css", selector="p") == "unbelievable\nnews"


def test_invisible_characters_are_removed() -> None:
    sneaky = "<p>1\u200b29\u00ad,\ufeff99\u202e \u2066€\u2069</p>"
    assert raw(sneaky, method="css", selector="p") == "129,99 €"


def test_what_is_marked_hidden_is_not_visible_text_unless_all_is() -> None:
    assert raw("<p>now <s style='display: none'>was</s>5</p>", method="css", selector="p") == "now 5"
    assert raw("<div><p hidden>5</p></div>", method="css", selector="div") == "5"


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("", "for example"),
        ("div[class", "do not match"),
        ("div >", "combinator"),
        ("//div/span", "XPath"),
        ("a::text", "attribute: text"),
        ("p:contains('x')", "lexbor-contains"),
        ("li:eq(2)", "jQuery"),
        ("$.a.b", "jsonpath"),
        (":not(" * 9 + "a" + ")" * 9, "class or id"),
    ],
)
def test_a_bad_selector_is_refused_with_a_hint(selector: str, hint: str) -> None:
    problem = css.trouble(selector)
    assert problem is not None
    assert hint in problem.hint


@pytest.mark.parametrize(
    "selector", [".a > b + c ~ d", "p:nth-child(2n+1)", "a[href^='http' i]", "é", "a, b"]
)
def test_a_good_selector_is_not_refused(selector: str) -> None:
    assert css.trouble(selector) is None


def test_a_bad_selector_in_a_stored_rule_ends_the_check_not_the_worker() -> None:
    assert code(SHOP, method="css", selector="div[") == "RULE_INVALID"


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param("<div>" * 20_001, id="nested deeper than lexbor can bear"),
        pytest.param(
            "".join(f"<p><font a={i}>x" for i in range(2_000)), id="formatting opened again and again"
        ),
        pytest.param("<i>" * 700_000, id="more tags than memory"),
    ],
)
def test_markup_that_would_cost_too_much_is_not_parsed(bomb: str) -> None:
    with pytest.raises(CheckFailure, match="EXTRACT_PARSE_ERROR"):
        html.parse(bomb)


@pytest.mark.parametrize(
    "fine",
    [
        "<ul>" + "<li>item" * 20_000,
        "<table>" + "<tr><td>1<td>2" * 20_000,
        "<div><p>text</p></div>" * 20_000,
        "<p>" * 20_000,
        "<a name=x>" * 9_000,
        "<br>" * 50_000,
    ],
)
def test_long_flat_pages_are_parsed(fine: str) -> None:
    html.parse(fine)


def test_a_page_nested_as_deep_as_allowed_is_walked_without_recursion() -> None:
    assert raw("<div>" * 4_900 + "deep", method="css", selector="body") == "deep"


@given(st.text(max_size=300))
def test_any_text_can_be_asked_as_a_selector(selector: str) -> None:
    assert css.trouble(selector) is None or css.trouble(selector) is not None
    assert code("<p>x</p>", method="css", selector=selector).startswith(
        ("read: ", "EXTRACT_", "RULE_INVALID")
    )


@given(st.text(alphabet=st.sampled_from("<>/=\"'!- abipdv&;\u200b\x00\ud800"), max_size=400))
def test_any_tag_soup_is_read_or_refused(soup: str) -> None:
    assert code(soup, method="text").startswith(("read: ", "EXTRACT_"))


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs")), max_size=30)
    )
)
def test_visible_text_holds_every_word_of_plain_paragraphs(words: list[str]) -> None:
    escaped = [word.replace("&", "&amp;").replace("<", "&lt;") for word in words]
    body = html.parse("<body>" + "".join(f"<p>{word}</p>" for word in escaped)).body
    assert body is not None
    shown = html.visible_text(body)
    assert shown.split() == " ".join(words).split()
