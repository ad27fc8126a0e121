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
    answers = [await rig.broker.limit(rig.stream, "shop.test", rate=0.05, burst=3) for _ in range(4)]
    assert answers[:3] == [0.0, 0.0, 0.0]
    assert 10.0 < answers[3] <= 20.0, "one every twenty seconds, less what the calls took"


async def test_a_refusal_counts_nothing(rig: Rig) -> None:
    await rig.broker.limit(rig.stream, "k", rate=0.01, burst=1)
    waits = [await rig.broker.limit(rig.stream, "k", rate=0.01, burst=1) for _ in range(5)]
    assert all(0 < wait <= 100 for wait in waits)
    assert waits == sorted(waits, reverse=True)


async def test_who_waits_as_long_as_told_may_go(rig: Rig) -> None:
    assert await rig.broker.limit(rig.stream, "k", rate=1, burst=1) == 0.0
    wait = await rig.broker.limit(rig.stream, "k", rate=1, burst=1)
    assert 0 < wait <= 1
    await rig.let_pass(wait + 0.001)
    assert await rig.broker.limit(rig.stream, "k", rate=1, burst=1) == 0.0


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


async def test_each_who_is_refused_is_promised_a_moment_of_its_own(rig: Rig) -> None:
    async def ask(who: str = "") -> float:
        return await rig.broker.limit(rig.stream, "k", rate=0.1, burst=2, who=who)

    assert [await ask("a"), await ask("b")] == [0.0, 0.0]
    waits = [await ask(who) for who in "cdef"]
    assert [round(wait / 10) for wait in waits] == [1, 2, 3, 4]
    assert round(await ask("d") / 10) == 2, "a promise is kept, however often it is asked for"
    assert round(await ask() / 10) == 5, "whoever comes later comes after them"
    assert round(await ask() / 10) == 5, "and is promised nothing without a name"


async def test_who_comes_at_its_moment_may_go_and_is_counted_once(rig: Rig) -> None:
    async def ask(who: str) -> float:
        return await rig.broker.limit(rig.stream, "k", rate=1, burst=1, who=who)

    assert await ask("a") == 0.0
    wait = await ask("b")
    await rig.let_pass(wait + 0.001)
    assert await ask("b") == 0.0
    assert await ask("b") > 0.0, "its promise is used up"


@pytest.mark.parametrize(("rate", "burst"), [(3.0, 3), (0.5, 1), (20.0, 20)])
def test_fifty_at_once_each_wait_once_and_take_as_long_as_they_must(rate: float, burst: int) -> None:
    clock = ManualClock()
    began = clock.monotonic()

    async def wait_and_ask_again() -> list[float]:
        broker = MemoryBroker(clock)
        due = [(0.0, str(n)) for n in range(50)]
        asked: list[float] = []
        while due:
            due.sort()
            at, who = due.pop(0)
            clock.advance(max(0.0, began + at - clock.monotonic()))
            asked.append(clock.monotonic())
            if wait := await broker.limit("s", "k", rate=rate, burst=burst, who=who):
                due.append((clock.monotonic() - began + wait, who))
        return asked

    asked = anyio.run(wait_and_ask_again)
    assert len(asked) == 50 + 50 - burst
    assert asked[-1] - began == pytest.approx((50 - burst) / rate, rel=0.06)


async def test_many_who_come_late_together_keep_to_the_rate_all_the_same() -> None:
    clock = ManualClock()
    broker = MemoryBroker(clock)

    async def ask(who: int) -> float:
        return await broker.limit("s", "k", rate=1, burst=2, who=str(who))

    assert [await ask(who) for who in range(10)].count(0.0) == 2
    clock.advance(20)
    waits = [await ask(who) for who in range(2, 10)]
    assert waits[:2] == [0.0, 0.0]
    assert [round(wait) for wait in waits[2:]] == [1, 2, 3, 4, 5, 6]


async def test_who_is_urgent_waits_for_the_rate_and_not_for_those_who_were_promised_a_moment(
    rig: Rig,
) -> None:
    async def ask(who: str, *, urgent: bool = False) -> float:
        return await rig.broker.limit(rig.stream, "k", rate=1, burst=1, who=who, urgent=urgent)

    assert await ask("first") == 0.0
    waits = [await ask(f"rule-{number}") for number in range(20)]
    assert max(waits) > 10
    by_hand = await ask("by-hand", urgent=True)
    assert 0 <= by_hand <= 1
    if by_hand:
        await rig.let_pass(by_hand + 0.001)
        assert await ask("by-hand", urgent=True) == 0.0
    # It was counted, and was promised no moment that others would come after.
    assert 0 < await ask("by-hand-too", urgent=True) <= 1
    assert await ask("rule-20") <= max(waits) + 1.2


async def test_who_never_comes_is_forgotten_and_holds_up_nobody(rig: Rig) -> None:
    assert await rig.broker.limit(rig.stream, "k", rate=20, burst=1, who="a") == 0.0
    await rig.broker.limit(rig.stream, "k", rate=20, burst=1, who="never")
    wait = await rig.broker.limit(rig.stream, "k", rate=20, burst=1)
    await rig.let_pass(wait + 0.001)
    assert await rig.broker.limit(rig.stream, "k", rate=20, burst=1) == 0.0


async def test_no_promise_lies_further_ahead_than_an_hour(rig: Rig) -> None:
    waits = [await rig.broker.limit(rig.stream, "k", rate=0.001, burst=2, who=str(n)) for n in range(8)]
    assert waits[:2] == [0.0, 0.0]
    assert [round(wait / 1000, 1) for wait in waits[2:]] == [1.0, 2.0, 3.0, 3.6, 3.6, 3.6]


@given(
    rate=st.floats(min_value=0.01, max_value=1000),
    burst=st.integers(min_value=1, max_value=20),
    gaps=st.lists(st.floats(min_value=0, max_value=5), min_size=1, max_size=60),
    names=st.sampled_from(["", "ab", "abcdefgh"]),
)
@settings(max_examples=60, deadline=None)
def test_no_window_of_time_ever_sees_more_than_burst_plus_rate(
    rate: float, burst: int, gaps: list[float], names: str
) -> None:
    clock = ManualClock()

    async def ask_all() -> list[float]:
        broker = MemoryBroker(clock)
        went = []
        for number, gap in enumerate(gaps):
            clock.advance(gap)
            who = names[number % len(names)] if names else ""
            wait = await broker.limit("s", "k", rate=rate, burst=burst, who=who)
            assert wait <= (1 + 1.05 * len(names)) / rate + 1
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
