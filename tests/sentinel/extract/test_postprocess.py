from __future__ import annotations

import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import postprocess
from sentinel.model import Postprocess, PostprocessStep


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["trim"], "Price:  12.50 eur"),
        (["trim", "uppercase"], "PRICE:  12.50 EUR"),
        (["lowercase", "collapse_whitespace"], "price: 12.50 eur"),
        ([Postprocess(op="replace", pattern="12", replacement="13"), "trim"], "Price:  13.50 eur"),
        ([Postprocess(op="replace", pattern="Price:"), "trim"], "12.50 eur"),
        ([Postprocess(op="regex_extract", pattern=r"[\d.]+")], "12.50"),
        ([Postprocess(op="regex_extract", pattern=r"(\d+)\.(\d+)", group=2)], "50"),
        ([], " Price:  12.50 eur "),
    ],
)
def test_steps_are_applied_in_order(steps: list[PostprocessStep], expected: str) -> None:
    assert postprocess.apply(" Price:  12.50 eur ", steps) == expected


def test_a_pattern_that_finds_nothing_is_not_found() -> None:
    with pytest.raises(CheckFailure, match="EXTRACT_SELECTOR_NOT_FOUND"):
        postprocess.apply("x", [Postprocess(op="regex_extract", pattern="y")])


@pytest.mark.parametrize(
    ("step", "path", "says"),
    [
        ("trimm", "", "did you mean 'trim'"),
        ("replace", "", "needs a pattern"),
        (Postprocess(op="replace"), "pattern", "text to find"),
        (Postprocess(op="regex_extract", pattern="("), "pattern", "missing )"),
        (Postprocess(op="regex_extract", pattern="(a)", group=2), "group", "1 groups"),
    ],
)
def test_a_bad_step_is_told_with_its_place(step: PostprocessStep, path: str, says: str) -> None:
    problem = postprocess.trouble(step)
    assert problem is not None
    assert problem.path == path
    assert says in problem.message + problem.hint


def test_replacing_cannot_fill_the_memory() -> None:
    with pytest.raises(CheckFailure, match="EXTRACT_PARSE_ERROR"):
        postprocess.apply("a" * 1_000_000, [Postprocess(op="replace", pattern="a", replacement="b" * 1_000)])
