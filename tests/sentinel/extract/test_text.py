from __future__ import annotations

from tests.sentinel.extract.pages import code, raw

PAGE = """<html><head><title>T</title><style>p{}</style></head><body>
<nav>Menu</nav><article><h1>Head   line</h1><p>One
two</p><p>Three</p></article><script>x()</script><noscript>no</noscript><template>t</template></body></html>"""


def test_all_visible_text_a_line_per_block() -> None:
    assert raw(PAGE, method="text") == "Menu\nHead line\nOne two\nThree"


def test_a_selector_names_the_part() -> None:
    assert raw(PAGE, method="text", selector="article") == "Head line\nOne two\nThree"
    assert code(PAGE, method="text", selector="aside") == "EXTRACT_SELECTOR_NOT_FOUND"


def test_what_is_no_markup_is_told_as_it_is() -> None:
    assert raw("a  b\n<c", kind="text/plain", method="text") == "a  b\n<c"
    assert raw('{"a": 1}', kind="application/json", method="text") == '{"a": 1}'


def test_an_empty_page_is_empty() -> None:
    assert code("", method="text") == "EXTRACT_EMPTY_VALUE"
    assert code("<script>app()</script>", method="text") == "EXTRACT_EMPTY_VALUE"


def test_a_value_is_bounded() -> None:
    assert code("<p>" + "x" * 1_100_000, method="text") == "EXTRACT_PARSE_ERROR"


def test_entities_of_a_doctype_are_not_expanded() -> None:
    laughs = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">]><l>&a;!</l>'
    assert "ha" not in raw(laughs, kind="application/xml", method="text").replace("&a;", "")


def test_what_is_said_to_be_no_text_is_none() -> None:
    assert (
        raw("<p>Sold <i aria-hidden=true>x</i>out<span hidden> today</span></p>", method="text") == "Sold out"
    )
    price = "<p class=price><span aria-hidden='TRUE'>$12<sup>99</sup></span><span>$12.99</span></p>"
    assert raw(price, method="css", selector=".price") == "$12.99"
    assert (
        raw("<p class=price><span aria-hidden=true>$12</span></p>", method="css", selector=".price") == "$12"
    )


def test_the_page_behind_an_open_dialog_is_still_the_page() -> None:
    behind = "<body><div id=app aria-hidden=true><p>Content</p></div><div role=dialog>Cookies?</div></body>"
    assert raw(behind, method="text") == "Content\nCookies?"
    assert raw(behind, method="text", content="main") == "Content"
