"""What every Python engine does here, and the program around it. Needs nothing but the standard library.

    python -m bench.engines.NAME about
    python -m bench.engines.NAME enqueue --url URL --jobs N [--bulk]
    python -m bench.engines.NAME work --url URL --jobs N --concurrency C [--profile FILE]

The last line of its output is one JSON object; bullmq.mjs speaks the same.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import platform
import pstats
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

#: Called by a handler with the `ruleId` of the payload it was given.
Ran = Callable[[str], None]
Payload = dict[str, Any]

#: Seconds a worker goes on after the last job, so that jobs that run twice are seen.
SETTLE = 0.5
#: The first of so many jobs warm a worker up, unmeasured: Node compiles while it runs.
WARM_UP = 10
#: Jobs that are handed to a producer in one call of `many`.
BULK = 500


class Producer(Protocol):
    """Puts jobs into the engine's queue, as its manual says."""

    async def one(self, payload: Payload) -> None:
        """One job; returns when the server has it."""

    async def many(self, payloads: Sequence[Payload]) -> None:
        """Many jobs, the fastest way the engine offers."""


class Engine(Protocol):
    """A queue under test."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions whose versions belong to the result."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What was set, and what was left as it is by default, for the record."""

    @property
    def loop(self) -> str:
        """The event loop its authors recommend: `uvloop` or `asyncio`."""

    def producer(self, url: str) -> AbstractAsyncContextManager[Producer]:
        """Connected to the server at `url`."""

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        """Run jobs until cancelled; each handler decodes its payload and calls `ran`."""


def payloads(jobs: int) -> Iterator[Payload]:
    """Jobs as `rules:run` has them, about 130 bytes of JSON each; the rule's id numbers them."""
    for number in range(jobs):
        yield {
            "ruleId": f"r-{number:08}-7f3a-4c1e-9b2d-5e8f60a1c3d4",
            "trigger": "schedule",
            "requestedAt": "2026-11-24T07:15:42.381Z",
            "debug": False,
        }


class Tally:
    """Counts every job of a drain; the watch runs from the first job after the warm-up to the last."""

    def __init__(self, jobs: int) -> None:
        self._counts = array("L", bytes(jobs * array("L").itemsize))
        self._left = jobs
        self._warm = jobs - jobs // WARM_UP
        self.all_ran = asyncio.Event()
        self._began: tuple[float, float] | None = None
        self._ended: tuple[float, float] | None = None

    def ran(self, rule_id: str) -> None:
        """A handler has this job's payload in hand."""
        number = int(rule_id[2:10])
        self._counts[number] += 1
        if self._counts[number] == 1:
            self._left -= 1
            if self._left == self._warm:
                self._began = _watch()
            if self._left == 0:
                self._ended = _watch()
                self.all_ran.set()

    def report(self) -> dict[str, Any]:
        """Seconds and CPU seconds of the jobs after the warm-up, and how often jobs ran."""
        ended = self._ended or _watch()
        began = self._began or ended
        return {
            "measured": self._warm - self._left,
            "seconds": ended[0] - began[0],
            "cpu_seconds": ended[1] - began[1],
            "runs": sum(self._counts),
            "missing": self._left,
            "twice": sum(count > 1 for count in self._counts),
        }


def _watch() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


async def _drain(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    tally = Tally(options.jobs)
    working = asyncio.ensure_future(engine.work(options.url, options.concurrency, tally.ran))
    waiting = asyncio.ensure_future(tally.all_ran.wait())
    await asyncio.wait({working, waiting}, timeout=options.deadline, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()  # raises what went wrong
    if tally.all_ran.is_set():
        await asyncio.sleep(SETTLE)
    return tally.report()


async def _enqueue(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    """One job is sent ahead unmeasured: it connects, and loads scripts."""
    first, *jobs = payloads(options.jobs)
    async with engine.producer(options.url) as producer:
        await producer.one(first)
        began = _watch()
        if options.bulk:
            for start in range(0, len(jobs), BULK):
                await producer.many(jobs[start : start + BULK])
        else:
            for job in jobs:
                await producer.one(job)
        ended = _watch()
    return {"seconds": ended[0] - began[0], "cpu_seconds": ended[1] - began[1], "measured": len(jobs)}


def _about(engine: Engine) -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in engine.packages}
    return {
        "versions": versions | {"python": platform.python_version()},
        "settings": {"event loop": engine.loop, **engine.settings},
    }


def run(engine: Engine, argv: Sequence[str] | None = None) -> None:
    """The program. Ends without a farewell: what a cancelled worker still does is not measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("about", "enqueue", "work"))
    parser.add_argument("--url", default="")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--bulk", action="store_true")
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds until a drain is given up")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the worker here")
    options = parser.parse_args(argv)
    if options.verb == "about":
        said = _about(engine)
    else:
        story = _drain if options.verb == "work" else _enqueue
        with asyncio.Runner(loop_factory=_loop_factory(engine.loop)) as runner:
            said = _perhaps_profiled(options.profile, lambda: runner.run(story(engine, options)))
            print(json.dumps(said), flush=True)
            os._exit(0)
    print(json.dumps(said))


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


def _perhaps_profiled(file: Path | None, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if file is None:
        return work()
    profile = cProfile.Profile()
    said = profile.runcall(work)
    profile.dump_stats(file)
    stats = pstats.Stats(profile, stream=sys.stderr)
    stats.sort_stats("tottime").print_stats(40)
    return said
