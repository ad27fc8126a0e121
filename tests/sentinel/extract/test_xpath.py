from __future__ import annotations

import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import check_extraction, open_extractor, xpath
from sentinel.extract import contained as contained_module
from sentinel.extract.contained import is_cheap
from sentinel.extract.page import Page
from sentinel.model import Extraction, FallbackSelector
from tests.sentinel.extract.pages import code, page, raw

PAGE = """<html><body><h1>Widget</h1><table id=facts><tr><td class=p data-x="7" @click=no>12 <b>€</b></td></tr></table>
<p>a<p>b<span hidden>no</span> c<input value=5></body></html>"""


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("//table/tbody/tr/td", "12 €"),  # as a browser copies it: tbody is not in the source
        ("/html/body/p[1]", "a"),
        ("//td[contains(@class, 'p')]", "12 €"),
        ("//td/@data-x", "7"),
        ("//p/text()", "a"),
        ("//b/..", "12 €"),
        ("count(//p)", "2"),
        ("1 div 4", "0.25"),
        ("boolean(//b)", "true"),
        ("string(//h1)", "Widget"),
        ("//p[2]", "b c"),
    ],
)
def test_the_first_match_or_what_the_expression_comes_to(expression: str, told: str) -> None:
    assert raw(PAGE, method="xpath", selector=expression) == told


def test_the_attribute_says_what_of_the_element_is_the_value() -> None:
    assert raw(PAGE, method="xpath", selector="//td", attribute="attr:data-x") == "7"
    assert raw(PAGE, method="xpath", selector="//td", attribute="html") == "12 <b>€</b>"
    assert raw(PAGE, method="xpath", selector="//input", attribute="value") == "5"
    assert code(PAGE, method="xpath", selector="//td", attribute="attr:nope") == "EXTRACT_SELECTOR_NOT_FOUND"


def test_a_context_is_not_left() -> None:
    assert raw(PAGE, method="xpath", selector="//b", context="#facts") == "€"
    assert code(PAGE, method="xpath", selector="//p", context="#facts") == "EXTRACT_SELECTOR_NOT_FOUND"


def test_nothing_found_is_no_value_and_the_fallbacks_are_of_any_method() -> None:
    assert code(PAGE, method="xpath", selector="//i") == "EXTRACT_SELECTOR_NOT_FOUND"
    assert code(PAGE, method="xpath", selector="number(//h1)") == "EXTRACT_SELECTOR_NOT_FOUND"
    behind = [FallbackSelector(method="xpath", selector="//i"), FallbackSelector(selector="h1")]
    assert raw(PAGE, method="xpath", selector="//i", fallback_selectors=behind) == "Widget"
    assert code("<p></p>", method="xpath", selector="//p") == "EXTRACT_EMPTY_VALUE"


def test_the_matches_are_the_pages_own_elements() -> None:
    found = xpath.nodes(Page(page(PAGE)), "//p | //td")
    assert [node.tag for node in found] == ["td", "p", "p"]
    assert xpath.nodes(Page(page(PAGE)), "count(//p)") == []


def test_xml_is_read_without_a_document_type() -> None:
    text = "<?xml version='1.0' encoding='latin-1'?><a xmlns='urn:x'><b id='1'>x<c>y</c>z<!-- q --></b></a>"
    where = "//*[local-name()='b']"
    assert raw(text, method="xpath", selector=where, kind="application/xml") == "xyz"
    assert raw(text, method="xpath", selector=where, kind="application/xml", attribute="attr:id") == "1"
    for bad in ("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", "<!-- c --><!doctype a><a/>", "<a><b></a>"):
        assert code(bad, method="xpath", selector="//a", kind="application/xml") == "EXTRACT_PARSE_ERROR"


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("//a[", "Invalid expression at character 5", ""),
        ("//a[@b=']", "Unfinished literal at character 10", ""),
        (".price > b", "Invalid expression", "this looks like CSS"),
        ("", "needed", "for example"),
        ("//a[lower-case(.) = 'x']", "no such function lower-case() at character 5", "translate"),
        ("//a[nomralize-space(.)]", "no such function", "did you mean 'normalize-space'"),
        ("re:test(., 'x')", "no such prefix re:", "local-name()"),
        ("//a[$x]", "no variables", ""),
        ("(" * 20 + "1" + ")" * 20, "nest 8 parentheses", ""),
    ],
)
def test_what_is_no_expression_is_refused_when_saved_and_when_run(
    expression: str, message: str, hint: str
) -> None:
    (problem,) = check_extraction(Extraction(method="xpath", selector=expression))
    assert problem.path == "selector"
    assert message in problem.message
    assert hint in problem.hint
    assert code(PAGE, method="xpath", selector=expression) == "RULE_INVALID"


@pytest.mark.parametrize(
    "expression",
    ["child::a/self::node()", "//a[@href='x:y(z)']", "//*[local-name()='a' and (@b or @c)]", "a | b", "-1"],
)
def test_what_is_an_expression_is_taken(expression: str) -> None:
    assert check_extraction(Extraction(method="xpath", selector=expression)) == []


async def test_an_expression_that_never_ends_costs_one_child_and_the_next_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = Extraction(method="xpath", selector="count(//*[count(//*[count(//*) > 1]) > 1])")
    crowded = page("<p></p>" * 3_000)
    assert not is_cheap(page("<p>"), bomb)
    monkeypatch.setattr(contained_module, "DEADLINE", 1.0)
    async with open_extractor(1) as extractor:
        with pytest.raises(CheckFailure, match="EXTRACT_PARSE_ERROR: reading the page took"):
            await extractor.extract(crowded, bomb)
        monkeypatch.undo()
        assert (
            await extractor.extract(page(PAGE), Extraction(method="xpath", selector="//h1"))
        ).raw == "Widget"


@pytest.mark.parametrize(
    "text",
    ["<div>" * 4_900 + "x", "<p>x" * 60_000, f"<p class='{'y' * 3_000_000}'>x", "<p\x00a=1>\x01x", "<🙂>x"],
)
async def test_hostile_pages_are_read_or_refused(text: str) -> None:
    async with open_extractor(1) as extractor:
        found = await extractor.extract(page(text), Extraction(method="xpath", selector="//body"))
    assert "x" in found.raw
