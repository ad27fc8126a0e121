"""What every Python engine does here, and the program around it. Needs nothing but the standard library.

    python -m bench.engines.NAME about
    python -m bench.engines.NAME enqueue --url URL --jobs N [--bulk | --pace PER_SECOND | --first S --over S]
    python -m bench.engines.NAME work --url URL --jobs N --concurrency C [--profile FILE]
        [--counts FILE] [--enough N] [--timed] [--fail-once] [--slow S [--slow-first N] --log FILE]

The last line of its output is one JSON object; bullmq.mjs speaks the same.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import multiprocessing
import os
import platform
import pstats
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

Payload = dict[str, Any]

#: Seconds a worker goes on after the last job, so that jobs that run twice are seen.
SETTLE = 0.5
#: The first of so many jobs warm a worker up, unmeasured: Node compiles while it runs.
WARM_UP = 10
#: Jobs that are handed to a producer in one call of `many`.
BULK = 500
#: Seconds until a job that failed is to be tried again.
RETRY_DELAY = 1.0
#: Seconds between the first paced job and the others: workers start meanwhile.
PACE_AFTER = 3.0
#: Seconds between two tellings of how many have run.
TELL_EVERY = 0.02
#: Delayed jobs that are put in at once.
AT_ONCE = 50


class FailedOnce(Exception):  # noqa: N818 - reads as what it is
    """A handler that was told to fail at its job's first run."""


class Ran:
    """What a handler calls with the `ruleId` of the payload it was given, once it has it."""

    def __init__(
        self,
        tally: Tally,
        *,
        slow: float = 0.0,
        slow_first: int | None = None,
        log: Path | None = None,
        fails: bool = False,
        later: bool = False,
    ) -> None:
        #: Seconds a job takes: the handler then awaits `pause` (or calls `wait`) first.
        self.slow = slow
        self._slow_first = slow_first
        #: Jobs are due later, or are tried again later: an engine may need more than a worker for that.
        self.later = later or fails
        #: Jobs fail at their first run; the engine is to try again after RETRY_DELAY, by its own means.
        self.fails = fails
        self._tally = tally
        self._log = log
        self._failed: set[str] = set()

    def __call__(self, rule_id: str) -> None:
        """Raises FailedOnce where it is to fail."""
        if self.fails and rule_id not in self._failed:
            self._failed.add(rule_id)
            self._tally.first = self._tally.first or time.perf_counter()
            raise FailedOnce(rule_id)
        self._tally.ran(rule_id)
        if self._log is not None:
            self._write("ended", rule_id)

    async def pause(self, rule_id: str) -> None:
        """For a handler that awaits."""
        self._write("began", rule_id)
        await asyncio.sleep(self._seconds(rule_id))

    def wait(self, rule_id: str) -> None:
        """For one in a thread."""
        self._write("began", rule_id)
        time.sleep(self._seconds(rule_id))

    def _seconds(self, rule_id: str) -> float:
        first = self._slow_first
        return self.slow if first is None or _number(rule_id) < first else 0.0

    def _write(self, what: str, rule_id: str) -> None:
        if self._log is not None:
            with self._log.open("a") as log:
                log.write(f"{what} {rule_id}\n")


class Producer(Protocol):
    """Puts jobs into the engine's queue, as its manual says."""

    async def one(self, payload: Payload) -> None:
        """One job; returns when the server has it."""

    async def many(self, payloads: Sequence[Payload]) -> None:
        """Many jobs, the fastest way the engine offers."""

    async def later(self, payload: Payload, seconds: float) -> None:
        """One job that is due in so many seconds."""


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

    def producer(self, url: str, retries: bool) -> AbstractAsyncContextManager[Producer]:
        """Connected to the server at `url`.

        `retries`: its jobs are to be tried again after RETRY_DELAY, where that is said with each.
        """

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        """Run jobs until cancelled; each handler decodes its payload and calls `ran`."""


def payloads(jobs: int) -> Iterator[Payload]:
    """Jobs as `rules:run` has them, about 130 bytes of JSON each; the rule's id numbers them."""
    for number in range(jobs):
        yield payload(number)


def _number(rule_id: str) -> int:
    return int(rule_id[2:10])


def payload(number: int, stamp: float | None = None) -> Payload:
    """`stamp`: seconds since the epoch, which a timed worker reads out of the rule's id."""
    rest = "7f3a-4c1e-9b2d-5e8f60a1c3d4" if stamp is None else f"{int(stamp * 1e9):016x}-8f60a1c3d4"
    return {
        "ruleId": f"r-{number:08}-{rest}",
        "trigger": "schedule",
        "requestedAt": "2026-11-24T07:15:42.381Z",
        "debug": False,
    }


class Tally:
    """Counts every job of a drain; the watch runs from the first job after the warm-up to the last."""

    def __init__(
        self, jobs: int, *, enough: int | None = None, timed: bool = False, told: Path | None = None
    ) -> None:
        """`enough`: that many will do. `timed`: jobs carry a stamp. `told`: a file that says every few
        milliseconds how many have run here.
        """
        self._counts = array("L", bytes(jobs * array("L").itemsize))
        self._told = told
        self._left = enough or jobs
        self._warm = self._left - self._left // WARM_UP
        self._late: list[float] | None = [] if timed else None
        self._lock = threading.Lock()  # some engines run handlers in threads
        self._loop = asyncio.get_running_loop()
        self.all_ran = asyncio.Event()
        #: When the first handler was called, whatever came of it.
        self.first: float | None = None
        self._began: tuple[float, float] | None = None
        self._ended: tuple[float, float] | None = None

    def tell(self) -> None:
        """Write down how many have run, and do it again soon."""
        if self._told is not None:
            self._told.write_text(str(sum(self._counts)))
            self._loop.call_later(TELL_EVERY, self.tell)

    def ran(self, rule_id: str) -> None:
        """A handler has this job's payload in hand."""
        number = _number(rule_id)
        with self._lock:
            self._counts[number] += 1
            if self._counts[number] != 1:
                return
            if self._late is not None and self._left <= self._warm:
                self._late.append(time.time() - int(rule_id[11:27], 16) / 1e9)
            self._left -= 1
            if self._left == self._warm:
                self._began = _watch()
            if self._left == 0:
                self._ended = _watch()
                self._loop.call_soon_threadsafe(self.all_ran.set)

    def report(self) -> dict[str, Any]:
        """Seconds and CPU seconds of the jobs after the warm-up, and how often jobs ran."""
        ended = self._ended or _watch()
        began = self._began or ended
        late = sorted(self._late or ())
        return {
            "measured": self._warm - max(0, self._left),  # it may have run more than enough
            "seconds": ended[0] - began[0],
            "cpu_seconds": ended[1] - began[1],
            "all_seconds": ended[0] - (self.first or ended[0]),
            "runs": sum(self._counts),
            "missing": max(0, self._left),
            "twice": sum(count > 1 for count in self._counts),
        } | (
            {
                "p50_ms": late[len(late) // 2] * 1000,
                "p99_ms": late[int(len(late) * 0.99)] * 1000,
                "early": sum(one < 0 for one in late),
            }
            if late
            else {}
        )


def _watch() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


async def _drain(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    tally = Tally(options.jobs, enough=options.enough, timed=options.timed, told=options.counts)
    tally.tell()
    ran = Ran(
        tally,
        slow=options.slow,
        slow_first=options.slow_first,
        log=options.log,
        fails=options.fail_once,
        later=options.timed,
    )
    working = asyncio.ensure_future(engine.work(options.url, options.concurrency, ran))
    waiting = asyncio.ensure_future(tally.all_ran.wait())
    await asyncio.wait({working, waiting}, timeout=options.deadline, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()  # raises what went wrong
    if tally.all_ran.is_set():
        await asyncio.sleep(SETTLE)
    return tally.report()


async def _enqueue(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    """One job is sent ahead unmeasured: it connects, and loads scripts."""
    async with engine.producer(options.url, options.fail_once) as producer:
        if options.over:
            return await _delayed(producer, options.jobs, options.first, options.over)
        await producer.one(payload(0, time.time()) if options.pace else payload(0))
        if options.pace:
            return await _paced(producer, options.jobs, options.pace)
        jobs = [payload(number) for number in range(1, options.jobs)]
        began = _watch()
        if options.bulk:
            for start in range(0, len(jobs), BULK):
                await producer.many(jobs[start : start + BULK])
        else:
            for job in jobs:
                await producer.one(job)
        ended = _watch()
    return {"seconds": ended[0] - began[0], "cpu_seconds": ended[1] - began[1], "measured": len(jobs)}


async def _paced(producer: Producer, jobs: int, per_second: float) -> dict[str, Any]:
    """So many a second, each with the time of its sending."""
    await asyncio.sleep(PACE_AFTER)
    began = time.perf_counter()
    for number in range(1, jobs):
        await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        await producer.one(payload(number, time.time()))
    return {"seconds": time.perf_counter() - began, "cpu_seconds": 0.0, "measured": jobs}


async def _delayed(producer: Producer, jobs: int, first: float, over: float) -> dict[str, Any]:
    """Due one after another in `over` seconds from `first` on, each with the time at which it is due."""
    began = time.time()

    async def put(number: int) -> None:
        due = began + first + number * over / jobs
        await producer.later(payload(number, due), due - time.time())

    for start in range(0, jobs, AT_ONCE):
        await asyncio.gather(*(put(number) for number in range(start, min(jobs, start + AT_ONCE))))
    spent = time.time() - began
    if spent > first:
        raise SystemExit(f"putting {jobs} delayed jobs in took {spent:.1f} s, the first was due before that")
    return {"seconds": spent, "cpu_seconds": 0.0, "measured": jobs}


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
    parser.add_argument("--pace", type=float, help="so many jobs a second, stamped")
    parser.add_argument("--first", type=float, default=0.0, help="seconds until the first delayed job is due")
    parser.add_argument("--over", type=float, help="seconds in which the delayed jobs are due, stamped")
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--enough", type=int, help="end after so many of the jobs")
    parser.add_argument("--counts", type=Path, help="say here every few milliseconds how many have run")
    parser.add_argument("--timed", action="store_true", help="tell how late stamped jobs were")
    parser.add_argument("--fail-once", action="store_true", help="every job fails at its first run")
    parser.add_argument("--answer", type=Path, help="write the answer here too")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds a job takes")
    parser.add_argument("--slow-first", type=int, help="only so many of the jobs, by their number, take that")
    parser.add_argument("--log", type=Path, help="a line for every job that began or ended")
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds until a drain is given up")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the worker here")
    options = parser.parse_args(argv)
    if options.verb == "about":
        said = _about(engine)
    else:
        story = _drain if options.verb == "work" else _enqueue
        with asyncio.Runner(loop_factory=_loop_factory(engine.loop)) as runner:
            said = _perhaps_profiled(options.profile, lambda: runner.run(story(engine, options)))
            if options.answer is not None:
                whole = options.answer.with_suffix(".part")
                whole.write_text(json.dumps(said))
                whole.rename(options.answer)
            print(json.dumps(said), flush=True)
            for child in multiprocessing.active_children():  # RQ's scheduler
                child.kill()
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
