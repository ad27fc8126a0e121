"""What a scenario is."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from bench.fleet import Program
from bench.measure import Measure
from bench.server import Server


class Sizes(msgspec.Struct, frozen=True):
    """Jobs of one run, by form; the quicker ones are noisier."""

    quick: int
    short: int
    long: int


class Setting(msgspec.Struct, frozen=True):
    """What the caller asks of every run."""

    jobs: int
    #: Seconds until a drain is given up.
    deadline: float = 120.0
    #: Further words for a worker's program (`--profile FILE`).
    words: tuple[str, ...] = ()


class Scenario(Protocol):
    """Something to measure."""

    name: str
    title: str
    sizes: Sizes
    #: What varies is measured in every round; what does not, in the first.
    every_round: bool
    #: Measured unless it is named; else in the long form or by its name only: it takes minutes an engine.
    by_default: bool

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        """One engine, once, on a server that holds nothing. Raises EngineFailed."""


def per_job(seconds: float, jobs: int) -> float:
    """Microseconds a job."""
    return seconds * 1e6 / max(1, jobs)


def rate(said: dict[str, Any]) -> float:
    """Jobs a second, as an engine's program says it."""
    return float(said["measured"]) / max(1e-9, float(said["seconds"]))
