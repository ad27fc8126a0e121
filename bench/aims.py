"""What streamq set out to reach, beside what a run shows: python -m bench --show FILE --aims

They come from one quiet machine with two cores: on another, only the ratios mean anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from bench import table
from bench.measure import Measure, Results

OURS, NODE, LIMIT = table.OURS, "bullmq", "raw"


class Run:
    """The best runs of one results file."""

    def __init__(self, results: Results) -> None:
        self._found: dict[tuple[str, str], list[Measure]] = {}
        for one in results.measures:
            self._found.setdefault((one.scenario, one.engine), []).append(one)

    def best(self, scenario: str, engine: str = OURS) -> Measure | None:
        """The run of an engine that was disturbed least; None: it did not run."""
        found = self._found.get((scenario, engine))
        return table.best(found) if found else None

    def rate(self, scenario: str, engine: str = OURS) -> float | None:
        """Jobs a second."""
        one = self.best(scenario, engine)
        return one.rate if one else None

    def python_peer(self, scenario: str) -> float | None:
        """Jobs a second of the best peer written in Python."""
        rates = [
            self.rate(scenario, engine)
            for where, engine in self._found
            if where == scenario and engine not in {OURS, NODE, LIMIT}
        ]
        return max((rate for rate in rates if rate is not None), default=None)


class Aim(msgspec.Struct, frozen=True):
    """One thing to reach."""

    scenario: str
    what: str
    bound: float
    less: bool
    seen: Callable[[Run], float | None]

    def met(self, seen: float) -> bool:
        """Whether that is as good as the aim."""
        return seen <= self.bound if self.less else seen >= self.bound


def _at_most(scenario: str, what: str, field: str, bound: float) -> Aim:
    return Aim(scenario, what, bound, True, lambda run: getattr(run.best(scenario), field, None))


def _at_least(scenario: str, what: str, bound: float) -> Aim:
    return Aim(scenario, what, bound, False, lambda run: run.rate(scenario))


def _times(scenario: str, what: str, bound: float, other: Callable[[Run], float | None]) -> Aim:
    def seen(run: Run) -> float | None:
        mine, its = run.rate(scenario), other(run)
        return mine / its if mine and its else None

    return Aim(scenario, what, bound, False, seen)


AIMS: Final = (
    _at_least("drain-10", "jobs/s", 25_000),
    _times("drain-10", "× BullMQ (Node)", 1.5, lambda run: run.rate("drain-10", NODE)),
    _at_most("drain-10", "process µs", "process_us", 35),
    _at_most("drain-10", "server µs", "server_us", 12),
    _at_most("drain-10", "commands", "commands", 2),
    _at_least("drain-100", "jobs/s", 50_000),
    _times("drain-100", "× BullMQ (Node)", 2.7, lambda run: run.rate("drain-100", NODE)),
    _times("drain-100", "× the best Python peer", 8, lambda run: run.python_peer("drain-100")),
    _at_most("drain-100", "process µs", "process_us", 18),
    _at_most("drain-100", "server µs", "server_us", 8),
    _at_most("drain-100", "commands", "commands", 0.2),
    _at_least("enqueue-one", "jobs/s", 6_000),
    _at_least("enqueue-bulk", "jobs/s", 50_000),
    _times("appendonly-10", "× without a file", 0.85, lambda run: run.rate("drain-10")),
    _at_most("pickup", "50 %, ms", "p50_ms", 0.7),
    _at_most("pickup", "99 %, ms", "p99_ms", 1.3),
    _at_most("delayed", "50 %, ms", "p50_ms", 3),
    _at_most("delayed", "99 %, ms", "p99_ms", 10),
    _at_most("delayed", "early", "early", 0),
    _at_most("retries", "seconds", "seconds", 1.6),
    _at_most("memory", "bytes/job", "bytes", 190),
    _at_most("kept", "bytes/job", "bytes", 150),
    _at_most("idle", "requests/s", "idle_reads", 1),
    _at_most("killed", "seconds", "seconds", 17),
    _at_least("processes-2", "jobs/s", 35_000),
    _times("processes-2", "× one process", 1.4, lambda run: run.rate("drain-10")),
)


def render(results: Results) -> str:
    """The table; what was not measured is left out."""
    run = Run(results)
    rows = [["aim", "", "wanted", "seen", ""], *_rows(run)]
    return "\n".join(["streamq beside its aims", *table.aligned(rows)]) + "\n"


def _rows(run: Run) -> Iterator[list[str]]:
    for aim in AIMS:
        seen = aim.seen(run)
        if seen is not None:
            wanted = f"{'≤' if aim.less else '≥'} {_short(aim.bound)}"
            yield [aim.scenario, aim.what, wanted, _short(seen), "met" if aim.met(seen) else "not met"]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
