"""Time, passed in and never looked up.

Seconds as float in Python; milliseconds as int at the broker. The broker's own clock decides when
a delayed job is due; this one measures waits inside a process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What a part of streamq may know of time."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()


class ManualClock:
    """A clock that moves only when told to (tests, the in-memory broker)."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._now = start
        self._listeners: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._now - self._start

    def time(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward (or back, when negative) by `seconds`."""
        self._now += seconds
        for moved in self._listeners:
            moved()

    def on_move(self, moved: Callable[[], None]) -> None:
        """Call `moved` after every advance: who waits by this clock looks whether its time has come."""
        self._listeners.append(moved)

    def __repr__(self) -> str:
        return f"<ManualClock +{self.monotonic():g} s>"
