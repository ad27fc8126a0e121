"""How often a selector matches, for people who try a rule; a check itself needs the first match only."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from selectolax.lexbor import SelectolaxError

from sentinel.errors import CheckFailure
from sentinel.extract import css, regex, xpath
from sentinel.extract.page import Page
from sentinel.extract.step import Step
from sentinel.model import Extraction, Fetched

#: Nobody needs to know how many more.
MOST: Final = 10_000


def each_alone(extraction: Extraction) -> Iterator[Extraction]:
    """The rule's own selector, then each fallback, as an extraction without fallbacks."""
    yield msgspec.structs.replace(extraction, fallback_selectors=[])
    for fallback in extraction.fallback_selectors:
        yield msgspec.structs.replace(
            extraction,
            method=fallback.method,
            selector=fallback.selector,
            attribute=fallback.attribute,
            fallback_selectors=[],
        )


def matches(page: Fetched, extraction: Extraction) -> int | None:
    """Matches of the extraction's own selector; None where its method has nothing to count.

    For the limited child process: what is built to be costly is costly here as well.
    """
    try:
        match extraction.method:
            case "css" if css.trouble(extraction.selector) is None:
                return len(Page(page).root(extraction.context).css(extraction.selector)[:MOST])
            case "xpath":
                return xpath.count(Page(page), extraction.selector, extraction.context)
            case "regex":
                return _of_pattern(Page(page), extraction)
    except (CheckFailure, SelectolaxError):
        return None
    return None


def _of_pattern(page: Page, extraction: Extraction) -> int:
    """In the text that a check would find the first one in."""
    pattern = regex.compiled(extraction.selector)
    step = Step(method="regex", selector=extraction.selector, attribute=extraction.attribute)
    for text in regex.haystacks(page, msgspec.structs.replace(step, context=extraction.context)):
        if count := sum(1 for _ in islice(pattern.finditer(text), MOST)):
            return count
    return 0
