"""The rate limiter: so many at once, so many a second, and the exact wait for the rest."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamq.clock import ManualClock
from streamq.testing import MemoryBroker
from tests.streamq.rig import Rig


async def test_a_burst_goes_at_once_and_the_next_is_told_when(rig: Rig) -> None:
    answers = [await rig.broker.limit(rig.stream, "shop.test", rate=0.5, burst=3) for _ in range(4)]
    assert answers[:3] == [0.0, 0.0, 0.0]
    assert 1.0 < answers[3] <= 2.0, "one every two seconds, less what the calls took"


async def test_a_refusal_counts_nothing(rig: Rig) -> None:
    await rig.broker.limit(rig.stream, "k", rate=0.01, burst=1)
    waits = [await rig.broker.limit(rig.stream, "k", rate=0.01, burst=1) for _ in range(5)]
    assert all(0 < wait <= 100 for wait in waits)
    assert waits == sorted(waits, reverse=True)


async def test_who_waits_as_long_as_told_may_go(rig: Rig) -> None:
    assert await rig.broker.limit(rig.stream, "k", rate=20, burst=1) == 0.0
    wait = await rig.broker.limit(rig.stream, "k", rate=20, burst=1)
    assert 0 < wait <= 0.05
    await rig.let_pass(wait + 0.001)
    assert await rig.broker.limit(rig.stream, "k", rate=20, burst=1) == 0.0


async def test_keys_and_streams_are_limited_apart(rig: Rig) -> None:
    for stream, key in ((rig.stream, "a"), (rig.stream, "b"), ("other", "a")):
        assert await rig.broker.limit(stream, key, rate=0.01, burst=1) == 0.0


async def test_many_askers_at_once_get_no_more_than_the_burst(rig: Rig) -> None:
    answers: list[float] = []

    async def ask() -> None:
        answers.append(await rig.broker.limit(rig.stream, "k", rate=0.01, burst=4))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert answers.count(0.0) == 4


@given(
    rate=st.floats(min_value=0.01, max_value=1000),
    burst=st.integers(min_value=1, max_value=20),
    gaps=st.lists(st.floats(min_value=0, max_value=5), min_size=1, max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_no_window_of_time_ever_sees_more_than_burst_plus_rate(
    rate: float, burst: int, gaps: list[float]
) -> None:
    clock = ManualClock()

    async def ask_all() -> list[float]:
        broker = MemoryBroker(clock)
        went = []
        for gap in gaps:
            clock.advance(gap)
            wait = await broker.limit("s", "k", rate=rate, burst=burst)
            assert wait <= burst / rate + 1
            if wait == 0.0:
                went.append(clock.monotonic())
        return went

    went = anyio.run(ask_all)
    for first in range(len(went)):
        for last in range(first, len(went)):
            allowed = burst + (went[last] - went[first]) * rate
            assert last - first + 1 <= allowed + 1e-3 * (1 + rate), "a microsecond of rounding each"


@pytest.mark.parametrize("burst", [1, 7])
def test_an_asker_that_obeys_gets_exactly_its_rate(burst: int) -> None:
    clock = ManualClock()

    async def obey() -> float:
        broker = MemoryBroker(clock)
        for _ in range(100):
            while wait := await broker.limit("s", "k", rate=10, burst=burst):
                clock.advance(wait)
        return clock.monotonic()

    assert anyio.run(obey) == pytest.approx((100 - burst) / 10, abs=0.01)
