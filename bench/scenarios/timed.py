"""Timed: how long after its time a job starts, when a few come a second and when thousands become due."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from bench.fleet import EngineFailed, Program, call, running
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes
from bench.server import Server

#: Jobs a second of the pickup.
PACE = 200
#: Seconds until the first delayed job is due: putting them in, and starting a worker, takes that long.
FIRST = 20.0
#: Seconds in which they become due.
OVER = 10.0


class Pickup:
    """An idle worker, and now and then a job."""

    name = "pickup"
    title = f"from enqueue to the handler, {PACE} jobs a second, concurrency 10, ms"
    every_round = True
    by_default = True
    sizes = Sizes(quick=400, short=1_000, long=4_000)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        words = ["--url", server.url, "--jobs", str(setting.jobs)]
        with _Timed(program, *words) as worker:
            call(program, "enqueue", *words, "--pace", str(PACE), deadline=setting.deadline)
            return _measure(self.name, program, setting, round_number, worker.said(10.0))


class Delayed:
    """Jobs that were put in before, due one after another."""

    name = "delayed"
    title = f"delayed jobs, due over {OVER:g} s, ms after their time"
    every_round = False
    by_default = True
    sizes = Sizes(quick=500, short=5_000, long=10_000)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        words = ["--url", server.url, "--jobs", str(setting.jobs)]
        when = ["--first", str(FIRST), "--over", str(OVER)]
        call(program, "enqueue", *words, *when, deadline=setting.deadline)
        with _Timed(program, *words) as worker:
            return _measure(self.name, program, setting, round_number, worker.said(FIRST + OVER + 45.0))


class _Timed:
    """A timed worker, whose answer comes in a file."""

    def __init__(self, program: Program, *words: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._said = Path(self._folder.name) / "said.json"
        self._running = running(program, *words, "--timed", "--deadline", "3600", "--answer", str(self._said))
        self._program = program

    def __enter__(self) -> Self:
        self._running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__(None, None, None)
        self._folder.cleanup()

    def said(self, seconds: float) -> dict[str, Any]:
        """What it says when all jobs have run. Raises EngineFailed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._said.exists():
                found = json.loads(self._said.read_text())
                assert isinstance(found, dict)
                return found
            time.sleep(0.05)
        raise EngineFailed(f"{self._program.name} had not run all jobs {seconds:g} s after the last was due")


def _measure(
    name: str, program: Program, setting: Setting, round_number: int, said: dict[str, Any]
) -> Measure:
    return Measure(
        scenario=name,
        engine=program.name,
        round=round_number,
        jobs=setting.jobs,
        p50_ms=said["p50_ms"],
        p99_ms=said["p99_ms"],
        early=said["early"],
        missing=said["missing"],
        twice=said["twice"],
    )
