"""Error codes for people: every one has words, the page says what the program says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.cli.exits import Exit
from sentinel.cli.explain import page
from sentinel.errors import ERROR_CODES, ErrorCode
from tests.sentinel.cli.conftest import Run

PAGE = Path(__file__).parents[3] / "docs" / "error-codes.md"


def test_the_page_is_what_the_program_says() -> None:
    """Mend it: python -c 'from sentinel.cli.explain import page; print(page(), end="")' > docs/error-codes.md."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("known", ERROR_CODES.values(), ids=list(ERROR_CODES))
def test_every_code_has_a_title_a_description_and_a_recommendation_in_sentences(known: ErrorCode) -> None:
    assert known.title
    assert not known.title.endswith(".")
    assert known.description.endswith(".")
    assert known.recommendation.endswith(".")


def test_one_code_is_explained_however_it_is_written(run: Run) -> None:
    ended = run("explain", "fetch_timeout")
    assert ended.code == Exit.DONE
    assert ERROR_CODES["FETCH_TIMEOUT"].recommendation in ended.out


def test_without_a_code_all_are_listed(run: Run) -> None:
    listed = run("explain", "--json").lines
    assert [one["code"] for one in listed] == list(ERROR_CODES)


def test_a_code_that_is_none_names_the_nearest(run: Run) -> None:
    ended = run("explain", "FETCH_TIMOUT")
    assert ended.code == Exit.NOT_FOUND
    assert "explain FETCH_TIMEOUT" in ended.err


def test_what_is_no_end_of_a_check_is_named_as_such() -> None:
    head = page().partition("\n## ")[0]
    assert all(f"`{code}`" in head for code in ("SELECTOR_HEALED", "VALUE_IMPLAUSIBLE", "EXTRACT_UNSTABLE"))
