"""Limits by key as arithmetic: whatever the order of things, no window of time sees too many starts."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamq.broker import Again, Done, Lease, Release
from streamq.clock import ManualClock
from streamq.limits import Limit
from streamq.testing import MemoryBroker
from tests.streamq.rig import Rig, job

steps = st.lists(
    st.tuples(st.sampled_from(["put", "take", "done", "snooze", "release", "wait"]), st.floats(0, 3)),
    min_size=5,
    max_size=60,
)


@given(steps, st.sampled_from([0.3, 1.0, 7.0]), st.integers(1, 4), st.none() | st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_no_window_sees_more_starts_than_burst_and_rate_allow(
    steps: list[tuple[str, float]], rate: float, burst: int, running: int | None
) -> None:
    clock = ManualClock()
    limit = Limit("k", rate=rate, burst=burst, running=running)
    starts: list[float] = []

    async def go() -> None:
        rig = Rig(MemoryBroker(clock), None)
        hand = rig.hand()
        held: list[Lease] = []
        number = 0
        for step, gap in steps:
            clock.advance(gap)
            finished = []
            if step == "put":
                number += 3
                await rig.put(*(job(n, limit=limit) for n in range(3)))
            elif step in ("done", "snooze", "release") and held:
                lease = held.pop()
                end = {
                    "done": Done(lease),
                    "snooze": Again(lease, delay=gap, counts=False),
                    "release": Release(lease),
                }
                finished.append(end[step])
            turn = await hand.turn(*finished, free=5 if step != "wait" else 0)
            starts.extend(clock.monotonic() for _ in turn.leases)
            held += turn.leases
            assert running is None or len(held) <= running

    anyio.run(go)
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            allowed = burst + (starts[last] - starts[first]) * rate
            assert last - first + 1 <= allowed + 2e-3 * rate + 1e-6, "whole milliseconds"


@pytest.mark.parametrize("burst", [1, 5])
def test_who_waits_for_the_moments_that_are_told_gets_exactly_the_rate(burst: int) -> None:
    clock = ManualClock()
    limit = Limit("k", rate=10, burst=burst)

    async def go() -> int:
        rig = Rig(MemoryBroker(clock), None)
        hand = rig.hand()
        await rig.put(*(job(n, limit=limit) for n in range(100)))
        taken = turns = 0
        while taken < 100:
            turn = await hand.turn(free=10)
            taken, turns = taken + len(turn.leases), turns + 1
            if taken < 100 and not turn.leases:
                assert turn.next_due
                clock.advance(turn.next_due)
        return turns

    began = clock.monotonic()
    turns = anyio.run(go)
    assert clock.monotonic() - began == pytest.approx((100 - burst) / 10, rel=0.02)
    assert turns <= 2 * 100, "a turn for each, and one that finds when the next may start"
