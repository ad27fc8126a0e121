"""Clocks: the machine's, and the one that is moved by hand."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.clock import Clock, ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock: Clock = ManualClock(start=100.0)
    assert (clock.time(), clock.monotonic()) == (100.0, 0.0)
    assert clock.time() == 100.0


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_both_readings_of_a_manual_clock_move_together(steps: list[float]) -> None:
    clock = ManualClock()
    start = clock.time()
    for step in steps:
        clock.advance(step)
    assert clock.time() - start == clock.monotonic()
    assert clock.monotonic() == pytest.approx(sum(steps), abs=1e-3)


def test_whoever_asked_is_told_after_every_move() -> None:
    clock = ManualClock()
    seen: list[float] = []
    clock.on_move(lambda: seen.append(clock.monotonic()))
    clock.advance(1.5)
    clock.advance(2.5)
    assert seen == [1.5, 4.0]


def test_the_repr_says_how_far_it_was_moved() -> None:
    clock = ManualClock()
    clock.advance(90)
    assert repr(clock) == "<ManualClock +90 s>"


def test_the_systems_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.time(), time.monotonic()
    now = clock.time(), clock.monotonic()
    after = time.time(), time.monotonic()
    assert before[0] <= now[0] <= after[0]
    assert before[1] <= now[1] <= after[1]
