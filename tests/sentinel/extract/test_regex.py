from __future__ import annotations

import time

import pytest

from sentinel.extract import regex
from tests.sentinel.extract.pages import code, raw


def test_the_first_group_is_the_value() -> None:
    assert raw("<p>Price: <b>12.50</b> EUR</p>", method="regex", selector=r"Price:\s*([\d.]+)") == "12.50"


def test_without_a_group_the_whole_match_is() -> None:
    assert raw("<p>in stock: 12</p>", method="regex", selector=r"stock: \d+") == "stock: 12"


def test_visible_text_is_searched_before_the_source() -> None:
    page = "<script>var price = 'price: 1'</script><p>price: 2</p>"
    assert raw(page, method="regex", selector=r"price: (\d)") == "2"


def test_what_stands_only_in_a_script_is_found_too() -> None:
    page = '<p>Widget</p><script>dataLayer=[{"price":"12.50"}]</script>'
    assert raw(page, method="regex", selector=r'"price":"([\d.]+)"') == "12.50"


def test_attribute_html_searches_the_source_alone() -> None:
    page = "<p>data-id=1</p><b data-id=2></b>"
    assert raw(page, method="regex", attribute="html", selector=r"<b data-id=(\d)") == "2"


def test_a_pattern_reads_a_page_that_is_no_markup() -> None:
    assert raw("temp=21.5;hum=40", kind="text/plain", method="regex", selector=r"temp=([\d.]+)") == "21.5"


def test_the_context_limits_where_to_look() -> None:
    page = "<div id=a>v1</div><div id=b>v2</div>"
    assert raw(page, method="regex", selector=r"v(\d)", context="#b") == "2"


def test_no_match_is_not_found_and_an_empty_group_is_empty() -> None:
    assert code("<p>x</p>", method="regex", selector="y") == "EXTRACT_SELECTOR_NOT_FOUND"
    assert code("<p>x</p>", method="regex", selector="x(y?)") == "EXTRACT_EMPTY_VALUE"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("[", "missing ]"),
        ("(a", "missing )"),
        ("a{1001}", "repetition"),
        ("((a{0,100}){0,100}){0,100}", "repetition"),
        ("a" * 1001, "1000 characters"),
        ("", "needed"),
        ("(?=a)b", "look-ahead"),
        ("(?<!a)b", "look-behind"),
        (r"(a)\1", "back-references"),
        (r"(?P<n>a)(?P=n)", "back-references"),
        ("a++", "never backtracks"),
    ],
)
def test_a_bad_pattern_is_refused_in_words_of_the_engine(pattern: str, says: str) -> None:
    problem = regex.trouble(pattern)
    assert problem is not None
    assert says in problem.message + problem.hint


def test_a_bad_pattern_leaves_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    regex.trouble("secret(")
    assert capfd.readouterr() == ("", "")


def test_no_pattern_backtracks() -> None:
    began = time.process_time()
    assert (
        code("<p>" + "a" * 5_000 + "!</p>", method="regex", selector="^(a+)+$")
        == "EXTRACT_SELECTOR_NOT_FOUND"
    )
    assert code(" " * 200_000 + "x", kind="text/plain", method="regex", selector=r"\s+$").startswith(
        "EXTRACT"
    )
    assert time.process_time() - began < 5  # re would take longer than the universe has


def test_text_with_lone_surrogates_is_searched() -> None:
    assert raw("<p>a\ud8001</p>", method="regex", selector=r"(\d)") == "1"
