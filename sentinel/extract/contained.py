"""Reading pages where they can do no harm: small and plain ones here, the rest in a child process.

A page may be built to take minutes (selectors are matched by backtracking: `.x ~ p ~ p` over 4,000
paragraphs took a minute) or gigabytes, and all that time this process could not renew a lease.
So what is not cheap by a look at it goes to a child with limits of memory and processor time; when
it breaks them, the child dies and the check ends with EXTRACT_PARSE_ERROR.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

import anyio
import msgspec

from sentinel.child import GONE, LimitedChild
from sentinel.decide.healing import lost_part
from sentinel.errors import CheckFailure
from sentinel.extract import css, html
from sentinel.extract.child import MAX_CPU, Answer, Question
from sentinel.extract.page import Page
from sentinel.extract.reading import extract, steps
from sentinel.model import Extracted, Extraction, Fetched, Lost, Remembered, Rule

#: Characters and elements of a page that is read here: a few milliseconds.
SMALL_TEXT: Final = 256 * 1024
SMALL_TAGS: Final = 2_000
#: Comparisons a selector may need on a page that is read here: 2 to 5 ns each.
CHEAP: Final = 20_000_000
#: Elements that formatting left open may become on a page that is read here.
SMALL_REOPENED: Final = 100_000
#: Seconds a child may take by the clock; the kernel ends it after MAX_CPU seconds of work.
DEADLINE: Final = 2.0 * MAX_CPU
#: Questions after which a child makes room for a fresh one.
RECYCLE_AFTER: Final = 2_000

#: What says that a field is not on the page; of an optional one that is no failure.
NOT_THERE: Final = frozenset(
    {"EXTRACT_SELECTOR_NOT_FOUND", "EXTRACT_SCHEMA_NOT_FOUND", "EXTRACT_EMPTY_VALUE"}
)

NOTHING_KNOWN: Final[Mapping[str, Remembered]] = MappingProxyType({})
_PROGRAM: Final = "from sentinel.extract.child import main; main()"


class Extractor:
    """Reads pages; open one per process with `open_extractor`."""

    def __init__(self, processes: int) -> None:
        self._slots = anyio.CapacityLimiter(processes)
        self._idle: list[LimitedChild] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"<Extractor {self._slots.borrowed_tokens} of {self._slots.total_tokens} children busy>"

    async def extract(
        self,
        page: Fetched,
        extraction: Extraction,
        *,
        allow_empty: bool = False,
        money: bool = False,
        lost: Lost | None = None,
    ) -> Extracted:
        """As `sentinel.extract.extract`; also EXTRACT_PARSE_ERROR for a page that takes too much."""
        seen = Page(page)
        return await self._extract(page, seen, extraction, allow_empty=allow_empty, money=money, lost=lost)

    async def _extract(
        self,
        page: Fetched,
        seen: Page,
        extraction: Extraction,
        *,
        allow_empty: bool,
        money: bool,
        lost: Lost | None,
    ) -> Extracted:
        """`seen`: the same page, for what is read here.

        A lost element is looked for in a child only: on the largest pages it takes a second.
        """
        if is_cheap(page, extraction):
            try:
                return extract(seen, extraction, allow_empty=allow_empty, money=money)
            except CheckFailure as failure:
                if lost is None or failure.code != "EXTRACT_SELECTOR_NOT_FOUND":
                    raise
        question = _question(page, extraction, allow_empty=allow_empty, money=money, lost=lost)
        async with self._slots:
            answer = await self._ask(question)
        if answer.extracted is None:
            raise CheckFailure(answer.code, answer.detail)
        return answer.extracted

    async def count(self, page: Fetched, extraction: Extraction) -> int | None:
        """How often the extraction's own selector matches; None where there is nothing to count."""
        async with self._slots:
            try:
                return (await self._ask(_question(page, extraction, count=True))).count
            except CheckFailure:
                return None

    async def read(
        self, page: Fetched, rule: Rule, elements: Mapping[str, Remembered] = NOTHING_KNOWN
    ) -> Extracted:
        """What a rule reads: its one value, or each field of a record (`Extracted.fields`).

        `elements`: by part of the rule, what to look for where its selectors find nothing.

        Raises CheckFailure as `extract` does; of a record the detail names the field.
        """
        if rule.type != "record":
            ((name, only),) = rule.parts.items()
            return await self.extract(
                page,
                only.extraction,
                allow_empty=only.normal.empty == "value",
                money=only.normal.kind == "price",
                lost=lost_part(elements.get(name), only),
            )
        found: dict[str, Extracted] = {}
        seen = Page(page)
        for name, field in rule.fields.items():
            allow_empty = field.normal.empty == "value"
            try:
                # What may be missing is missing: it is not looked for elsewhere.
                lost = None if field.optional else lost_part(elements.get(name), field)
                found[name] = await self._extract(
                    page,
                    seen,
                    field.extraction,
                    allow_empty=allow_empty,
                    money=field.normal.kind == "price",
                    lost=lost,
                )
            except CheckFailure as failure:
                if not field.optional or failure.code not in NOT_THERE:
                    raise CheckFailure(failure.code, f"field {name}: {failure.detail}") from failure
        raw = msgspec.json.encode({name: one.raw for name, one in found.items()}).decode()
        return Extracted(raw=raw, fields=found)

    async def _ask(self, question: Question) -> Answer:
        child = self._idle.pop() if self._idle else await LimitedChild.start(_PROGRAM)
        try:
            with anyio.fail_after(DEADLINE):
                frame = await child.ask(msgspec.msgpack.encode(question))
        except (*GONE, TimeoutError) as exc:
            raise await _post_mortem(child) from exc
        except BaseException:
            await child.end()  # cancelled in the middle: its answer would be taken for the next one's
            raise
        if child.asked >= RECYCLE_AFTER or self._closed:
            await child.end()
        else:
            self._idle.append(child)
        return msgspec.msgpack.decode(frame, type=Answer)

    async def aclose(self) -> None:
        """End the children."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()


@asynccontextmanager
async def open_extractor(processes: int | None = None) -> AsyncIterator[Extractor]:
    """An Extractor with at most that many children (as many as processors), started when needed."""
    extractor = Extractor(processes or os.cpu_count() or 1)
    try:
        yield extractor
    finally:
        await extractor.aclose()


def _question(
    page: Fetched,
    extraction: Extraction,
    *,
    allow_empty: bool = False,
    money: bool = False,
    lost: Lost | None = None,
    count: bool = False,
) -> Question:
    return Question(
        page.final_url or page.url,
        page.content_type,
        page.text.encode("utf-8", "replace").decode(),  # a lone surrogate cannot travel
        extraction,
        allow_empty,
        lost,
        count,
        money,
    )


def is_cheap(page: Fetched, extraction: Extraction) -> bool:
    """True where reading cannot take more than a few milliseconds and megabytes, by a look at it."""
    if any(step.method in ("xpath", "feed") for step in steps(extraction)):
        return False
    text = page.text
    if len(text) > SMALL_TEXT:
        return False
    tags = text.count("<")  # with those that close: most pages have few enough all the same
    if tags > SMALL_TAGS:
        tags -= text.count("</")
    if tags > SMALL_TAGS:
        return False
    if html.left_open(text) * tags > SMALL_REOPENED:
        return False
    selectors = [extraction.context or ""]
    selectors += [step.selector for step in steps(extraction) if step.method in ("css", "text", "table")]
    selectors.append(extraction.row or "")
    # Most selectors are cheap at any depth; only for the others it is measured.
    dear = [selector for selector in selectors if css.cost(selector, tags, tags) > CHEAP]
    return not dear or all(css.cost(selector, tags, html.deepest(text)) <= CHEAP for selector in dear)


async def _post_mortem(child: LimitedChild) -> CheckFailure:
    """What the death of a child means for its check."""
    await child.end()
    if child.never_spoke:
        return CheckFailure("SYSTEM_WORKER_CRASH", "the process that reads pages does not start")
    return CheckFailure(
        "EXTRACT_PARSE_ERROR",
        f"reading the page took more than {MAX_CPU} s of processor time or too much memory",
    )
