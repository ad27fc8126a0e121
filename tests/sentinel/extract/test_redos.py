"""Patterns made to never end, each to its end, and what the loop and a thread beside it noticed of that.

The figures: python -m pytest -s tests/sentinel/extract/test_redos.py
"""

from __future__ import annotations

import threading
import time

import anyio
import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import open_extractor
from sentinel.model import Extraction
from tests.hostile.rows import OWN, SHARED, applied, read
from tests.sentinel.extract.pages import page

ROWS = [applied(row) for row in read([SHARED, OWN]) if (row.kind, row.expected) == ("regex", "bounded")]
#: Seconds between two beats.
BEAT = 0.01


class Beats:
    """The longest time between two beats."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.monotonic()

    def beat(self) -> None:
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now


async def test_every_pattern_comes_to_an_end_while_hearts_beat() -> None:
    loop, thread = Beats(), Beats()
    over = threading.Event()

    def beat_in_thread() -> None:
        while not over.wait(BEAT):
            thread.beat()

    async def beat_in_loop() -> None:
        while True:
            await anyio.sleep(BEAT)
            loop.beat()

    seconds = []
    async with open_extractor(1) as extractor, anyio.create_task_group() as group:
        # The child is started before the first is measured.
        await extractor.extract(page("<p>x</p>"), Extraction(method="regex", selector="x"))
        beating = threading.Thread(target=beat_in_thread)
        beating.start()
        group.start_soon(beat_in_loop)
        try:
            for pattern, text in ROWS:
                began = time.monotonic()
                try:
                    await extractor.extract(page(text), Extraction(method="regex", selector=pattern))
                except CheckFailure as failure:
                    assert failure.code.startswith("EXTRACT_")  # noqa: PT017 - a value is as right
                seconds.append(time.monotonic() - began)
        finally:
            loop.beat()
            over.set()
            beating.join()
            group.cancel_scope.cancel()

    assert len(seconds) == len(ROWS) >= 7
    print(
        f"\npatterns: {len(ROWS)}, the slowest {max(seconds):.2f} s; longest time between two beats of"
        f" {BEAT:g} s: {loop.longest:.2f} s on the loop, {thread.longest:.2f} s in a thread"
    )


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "((a{0,100}){0,100}){0,100}"])
async def test_what_no_linear_engine_runs_is_refused_with_a_reason(pattern: str) -> None:
    async with open_extractor(1) as extractor:
        with pytest.raises(CheckFailure) as caught:
            await extractor.extract(page("<p>a</p>"), Extraction(method="regex", selector=pattern))

    assert caught.value.code == "RULE_INVALID"
    assert len(caught.value.detail) > 10
