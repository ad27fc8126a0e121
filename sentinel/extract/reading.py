"""One reading of a page: a rule's selectors in turn until one gives a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from sentinel.decide.normalise import normalise
from sentinel.errors import CheckFailure
from sentinel.extract import (
    auto,
    css,
    feed,
    fingerprint,
    healing,
    jsonpath,
    postprocess,
    regex,
    rows,
    schema,
    table,
    text,
    xpath,
)
from sentinel.extract.asked import asked
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step
from sentinel.model import Extracted, Extraction, Fetched, Healed, Lost

#: Characters in a value: 1 MiB where they are ASCII.
MAX_VALUE: Final = 1 << 20

#: How each method reads.
METHODS: Final[dict[str, Callable[[Page, Step], Found]]] = {
    "css": css.read,
    "xpath": xpath.read,
    "regex": regex.read,
    "schema": schema.read,
    "auto": auto.read,
    "text": text.read,
    "jsonpath": jsonpath.read,
    "table": table.read,
    "feed": feed.read,
}

#: A later selector may succeed where an earlier one ended with one of these.
_TRY_NEXT: Final = frozenset(
    {
        "EXTRACT_SELECTOR_NOT_FOUND",
        "EXTRACT_SCHEMA_NOT_FOUND",
        "EXTRACT_EMPTY_VALUE",
        "EXTRACT_PARSE_ERROR",
        "EXTRACT_AMBIGUOUS",
    }
)


def extract(
    page: Fetched | Page,
    extraction: Extraction,
    *,
    allow_empty: bool = False,
    money: bool = False,
    lost: Lost | None = None,
) -> Extracted:
    """Read a page's value: the rule's own selector first, then its fallbacks in order.

    `page`: a `Page` where more is read from it, so that it is parsed once for all.
    `allow_empty`: an element that is there but empty is a value (`normalization.empty: value`).
    `money`: it is a price; what the element shows as asked before is left out (`sentinel.extract.asked`).
    `lost`: what to look for where nothing is found (`Extracted.healed` says that it was).
    Raises CheckFailure with the code of the rule's own selector when none gives a value:
    EXTRACT_SELECTOR_NOT_FOUND, EXTRACT_SCHEMA_NOT_FOUND, EXTRACT_EMPTY_VALUE, EXTRACT_AMBIGUOUS,
    EXTRACT_PARSE_ERROR; RULE_INVALID for a selector that is none. Uses the processor only; for
    pages and selectors that nobody vouches for there is `sentinel.extract.Extractor`.
    """
    seen = page if isinstance(page, Page) else Page(page)
    failures: list[CheckFailure] = []
    for index, step in enumerate(steps(extraction, money=money)):
        try:
            found = _read(seen, step, extraction, allow_empty=allow_empty)
        except CheckFailure as failure:
            if failure.code not in _TRY_NEXT:
                raise
            failures.append(failure)
            continue
        return Extracted(
            raw=found.raw,
            selector_index=index,
            confidence=found.confidence,
            currency=found.currency,
            joined=found.joined,
            json=found.json,
            rows=found.rows,
            fingerprint=None if found.node is None else fingerprint.take(found.node, found.raw),
        )
    if lost is not None and failures[0].code == "EXTRACT_SELECTOR_NOT_FOUND":
        healed = _healed(seen, extraction, lost)
        if healed is not None:
            return healed
    raise _verdict(failures)


def _healed(page: Page, extraction: Extraction, lost: Lost) -> Extracted | None:
    """What the element most like the lost one says, where it is still a value of the rule's kind."""
    match = healing.find(page, lost.remembered, attribute=extraction.attribute, context=extraction.context)
    if match is None:
        return None
    try:
        seen = match.raw
        if lost.normal.kind == "price" and extraction.attribute == "text":
            seen = asked(match.node).text
        raw = postprocess.apply(seen, extraction.postprocess)
        found = Extracted(
            raw=raw,
            selector_index=1 + len(extraction.fallback_selectors),
            healed=Healed(
                selector=match.selector,
                attribute=extraction.attribute,
                instead_of=f"{extraction.method} {extraction.selector!r}",
                score=match.score,
                second=match.second,
                text=raw[:120],
            ),
        )
        normalise(found, lost.normal)
    except CheckFailure:
        return None
    return found


def steps(extraction: Extraction, *, money: bool = False) -> Iterator[Step]:
    """What is tried, in order; the context and the postprocessing hold for all."""
    yield Step(
        method=extraction.method,
        selector=extraction.selector,
        attribute=extraction.attribute,
        context=extraction.context,
        content=extraction.content,
        money=money,
        row=extraction.row,
        key=extraction.key,
        columns=extraction.columns,
    )
    for fallback in extraction.fallback_selectors:
        yield Step(
            method=fallback.method,
            selector=fallback.selector,
            attribute=fallback.attribute,
            context=extraction.context,
            content=extraction.content,
            money=money,
            row=extraction.row,
            key=extraction.key,
            columns=extraction.columns,
        )


def _read(page: Page, step: Step, extraction: Extraction, *, allow_empty: bool) -> Found:
    found = METHODS[step.method](page, step)
    if found.rows is not None:
        return _cleaned(found, step, extraction, allow_empty=allow_empty)
    if len(found.raw) > MAX_VALUE:
        raise CheckFailure(
            "EXTRACT_PARSE_ERROR", f"the value has more than {MAX_VALUE} characters; select a smaller part"
        )
    raw = postprocess.apply(found.raw, extraction.postprocess)
    if len(raw) > MAX_VALUE:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"postprocessing made more than {MAX_VALUE} characters")
    if not raw.strip() and not allow_empty:
        what = "null" if found.json == "null" else "an empty text"
        raise CheckFailure("EXTRACT_EMPTY_VALUE", f"{step.method} {step.selector!r} found {what}")
    # What postprocessing made of a text is a text still.
    as_json = found.json if found.json is None or raw == found.raw else jsonpath.as_json(raw)
    return msgspec.structs.replace(found, raw=raw, json=as_json)


def _cleaned(found: Found, step: Step, extraction: Extraction, *, allow_empty: bool) -> Found:
    """Rows with the postprocessing applied to each cell; keys stay as they are."""
    given = found.rows or ()
    if not given and not allow_empty:
        raise CheckFailure("EXTRACT_EMPTY_VALUE", f"{step.method} {step.selector!r} holds no rows")
    if not extraction.postprocess:
        return found
    steps = extraction.postprocess
    return rows.found(
        (key, {name: postprocess.apply(text, steps) for name, text in cells.items()}) for key, cells in given
    )


def _verdict(failures: list[CheckFailure]) -> CheckFailure:
    """The failure of the rule's own selector, and a word on the fallbacks."""
    first, *rest = failures
    if not rest:
        return first
    return CheckFailure(first.code, f"{first.detail}; {len(rest)} fallback selectors found nothing either")
