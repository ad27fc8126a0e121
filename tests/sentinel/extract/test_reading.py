from __future__ import annotations

import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import check_extraction, extract
from sentinel.model import Extraction, FallbackSelector, Postprocess
from tests.sentinel.extract.pages import code, page

PAGE = '<p class="price"> 12 € </p><p class="empty"></p><script type="application/ld+json">{"@type":"Product","offers":{"price":"12"}}</script>'


def _with(selector: str, *fallbacks: FallbackSelector, **more: object) -> Extraction:
    return Extraction(method="css", selector=selector, fallback_selectors=list(fallbacks), **more)  # type: ignore[arg-type] # each test names real fields


def test_the_rules_own_selector_has_number_zero() -> None:
    assert extract(page(PAGE), _with(".price")).selector_index == 0


@pytest.mark.parametrize("own", [".gone", ".empty"])
def test_fallbacks_are_tried_in_order_and_the_one_that_worked_is_told(own: str) -> None:
    found = extract(
        page(PAGE),
        _with(own, FallbackSelector(selector=".gone"), FallbackSelector(method="schema", selector="price")),
    )
    assert (found.raw, found.selector_index) == ("12", 2)


def test_when_all_fail_the_code_is_that_of_the_rules_own_selector() -> None:
    with pytest.raises(CheckFailure, match=r"nothing matches '\.gone'; 1 fallback") as failure:
        extract(page(PAGE), _with(".gone", FallbackSelector(method="schema", selector="sku")))
    assert failure.value.code == "EXTRACT_SELECTOR_NOT_FOUND"


def test_a_page_that_is_no_json_falls_back_to_the_next_method() -> None:
    extraction = Extraction(
        method="jsonpath", selector="$.price", fallback_selectors=[FallbackSelector(selector=".price")]
    )
    assert extract(page(PAGE), extraction).raw == "12 €"


def test_postprocessing_holds_for_fallbacks_too() -> None:
    found = extract(
        page(PAGE),
        _with(
            ".gone",
            FallbackSelector(selector=".price"),
            postprocess=[Postprocess(op="regex_extract", pattern=r"\d+")],
        ),
    )
    assert found.raw == "12"


def test_empty_is_an_error_unless_the_rule_takes_it_for_a_value() -> None:
    assert code(PAGE, method="css", selector=".empty") == "EXTRACT_EMPTY_VALUE"
    assert extract(page(PAGE), _with(".empty"), allow_empty=True).raw == ""
    with pytest.raises(CheckFailure, match="EXTRACT_SELECTOR_NOT_FOUND"):
        extract(page(PAGE), _with(".gone"), allow_empty=True)


def test_every_problem_of_an_extraction_is_told_with_its_place() -> None:
    problems = check_extraction(
        Extraction(
            method="regex",
            selector="(",
            context="div[",
            postprocess=["trim", "uper"],
            fallback_selectors=[
                FallbackSelector(selector=".ok"),
                FallbackSelector(method="jsonpath", selector="a.b", attribute="txt"),
                FallbackSelector(method="schema", selector="prise"),
                FallbackSelector(method="auto", selector="colour"),
                FallbackSelector(method="text", selector=""),
            ],
        )
    )
    assert [problem.path for problem in problems] == [
        "context",
        "selector",
        "fallbackSelectors[1].selector",
        "fallbackSelectors[1].attribute",
        "fallbackSelectors[2].selector",
        "fallbackSelectors[3].selector",
        "postprocess[1]",
    ]
    assert "did you mean 'text'?" in {problem.hint for problem in problems}
    assert "did you mean 'price'?" in {problem.hint for problem in problems}
