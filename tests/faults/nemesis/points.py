"""Deterministic kill points: one life of a producer and a worker, ended at every line and at every command.

    lines      SIGKILL at every line of streamq that is executed, the first and the second time it is (a line that
               runs a hundred times a life, in the heartbeat say, is no hundred points)
    commands   SIGKILL before the N-th command reaches Redis, and after its reply has come back unseen
    cuts       the connection alone is cut there, and the life has to end well by itself

After each the same jobs are enqueued again under the same ids, as a producer does that does not know, and a clean
worker drains. Then every job must have ended exactly once, with one effect.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

import anyio
import msgspec

import streamq
from sentinel.embedded import EmbeddedRedis
from streamq import Queue, RedisBroker, Worker, WorkerOptions
from streamq.loop import run
from tests.faults.nemesis import crew, history, mutants
from tests.faults.nemesis.checker import Verdict, check
from tests.faults.nemesis.crew import Work
from tests.faults.nemesis.history import History
from tests.faults.nemesis.ledger import Ledger
from tests.faults.nemesis.nursery import Nursery
from tests.faults.nemesis.proxy import Action, Proxy
from tests.faults.nemesis.storm import look
from tests.support.servers import find_valkey

Kind = Literal["lines", "kill before", "kill after", "cut before", "cut after"]
KINDS: Final[tuple[Kind, ...]] = ("lines", "kill before", "kill after", "cut before", "cut after")
#: Seconds. Short: a clean worker waits a lease for the dead one; it may be too short on a busy machine, and then
#: a job runs once more, which changes nothing that is judged here.
LEASE, RENEW = 0.5, 0.1
#: Seconds after which a life that nobody ended is stuck; it takes a third of one.
LIFE = 10.0
#: Lives in one batch: their children run before one clean worker drains them all.
BATCH = 60
#: Children at once.
SIDE_BY_SIDE = 2
#: Job numbers of one life.
_NUMBERS: Final = 20
#: Executions of one line that count as points.
_TIMES: Final = 2
_PACKAGE = str(Path(streamq.__file__).parent)


def works_of(life: int) -> list[Work]:
    """One job of every fate: done, failing once, snoozing, dying, failing twice; in all lanes, two under a
    uniqueness key (by its number, `crew.new_job`).
    """
    first = life * _NUMBERS
    return [
        Work(first),
        Work(first + 1, fails=1),
        Work(first + 2, snoozes=True),
        Work(first + 3, fails=3),
        Work(first + 4, fails=2),
    ]


class Point(msgspec.Struct, frozen=True):
    """Where a life is ended; number 0: nowhere, and the life says how many points there are."""

    kind: Kind
    number: int
    #: Commands of that name alone are counted (a script's, or XREADGROUP); empty: all.
    site: str = ""


class Found(msgspec.Struct, frozen=True):
    """What became of one life and of what it left."""

    point: Point
    #: How the child ended: below 0 by that signal.
    status: int
    verdict: Verdict
    #: Its last words.
    said: str = ""

    @property
    def broken(self) -> dict[str, object]:
        """What is wrong, or empty. That jobs ran again needs no explanation here."""
        wrong = {what: which for what, which in self.verdict.broken.items() if what != "unexplained"}
        if self.point.kind.startswith("cut") and self.status:
            wrong["the life ended badly"] = self.said or self.status
        if self.point.kind.startswith("cut") and self.verdict.disowned:
            wrong["told that its end was refused"] = self.verdict.disowned
        return wrong


# --- in the child -------------------------------------------------------------------------------------


def live(
    *,
    url: str,
    socket: str,
    life: int,
    folder: str,
    kind: Kind,
    number: int,
    site: str = "",
    mutant: str = "",
) -> None:
    """Enqueue, work until all is done; on the way, the point. Leaves the number of points it passed in a file."""
    logging.basicConfig(level=logging.CRITICAL)
    mutants.plant(mutant)
    ledger = Ledger(Path(folder) / "effects.db").of(os.getpid())
    told = History(Path(folder))
    works = works_of(life)
    passed: list[int] = [0]
    if kind == "lines":
        _at_lines(number, passed)
    else:
        url = _at_commands(socket, Point(kind, number, site), passed).url

    async def whole_life() -> None:
        with anyio.fail_after(LIFE):
            async with RedisBroker.from_url(url) as broker:
                await Queue(_stream(life), broker).enqueue_jobs([crew.new_job(one) for one in works])
                told.write("enqueued", job=works[0].number, last=works[-1].number)
                await _drain(broker, (_stream(life),), told, ledger)

    run(whole_life)
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    _passed(Path(folder), life).write_text(str(passed[0]))


def drain(*, url: str, lives: Sequence[int], folder: str) -> None:
    """The producers again, who do not know whether their jobs are in; and a clean worker for all that is left."""
    logging.basicConfig(level=logging.CRITICAL)
    ledger = Ledger(Path(folder) / "effects.db").of(os.getpid())
    told = History(Path(folder))

    async def clean() -> None:
        async with RedisBroker.from_url(url) as broker:
            for life in lives:
                works = works_of(life)
                await Queue(_stream(life), broker).enqueue_jobs([crew.new_job(one) for one in works])
                told.write("enqueued", job=works[0].number, last=works[-1].number)
            await _drain(broker, tuple(map(_stream, lives)), told, ledger)

    run(clean)


def _stream(life: int) -> str:
    return f"life-{life}"


def _passed(folder: Path, life: int) -> Path:
    return folder / f"passed-{life}"


async def _drain(broker: RedisBroker, streams: tuple[str, ...], told: History, ledger: Ledger) -> None:
    handlers = crew.handlers_of(told, ledger, concurrency=2, streams=streams)
    options = WorkerOptions(lease=LEASE, renew=RENEW, burst_wait=1.0)
    await Worker(broker, handlers, options=options, observers=[crew.ends_into(told)]).run(
        handle_signals=False
    )


def _at_lines(number: int, passed: list[int]) -> None:
    """SIGKILL at that point, in whichever thread; the one number in `passed` counts them."""
    times: Counter[tuple[str, int]] = Counter()

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            times[line] += 1
            if times[line] <= _TIMES:
                passed[0] += 1
                if passed[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    def on_call(frame: FrameType, _: str, __: Any) -> Any:
        return on_line if frame.f_code.co_filename.startswith(_PACKAGE) else None

    threading.settrace(on_call)
    sys.settrace(on_call)


def _at_commands(socket: str, point: Point, passed: list[int]) -> Proxy:
    what, _, when = point.kind.partition(" ")

    def decide(_: int, name: str) -> Action:
        passed[0] += point.site in ("", name)
        if passed[0] != point.number or point.site not in ("", name):
            return "pass"
        print(f"{point.kind} command {point.number}, {name}", flush=True)
        if what == "kill" and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        return "cut before" if when == "before" else "cut after"

    def unseen() -> None:
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

    return Proxy(socket, decide, on_cut=unseen)


# --- the runs -----------------------------------------------------------------------------------------


class Runs:
    """Many lives on one server."""

    def __init__(self, server: EmbeddedRedis, folder: Path, nursery: Nursery, *, mutant: str = "") -> None:
        self._server = server
        self._folder = folder
        self._nursery = nursery
        self._mutant = mutant
        self._lives = itertools.count(1)

    def count(self, kind: Kind) -> int:
        """Points of that kind in a life that nothing happens to."""
        life = next(self._lives)
        self._nursery.wait(self._live(Point(kind, 0), life))
        return int(_passed(self._folder, life).read_text())

    def run(self, points: Sequence[Point]) -> list[Found]:
        """A life each, and what became of it."""
        found: list[Found] = []
        for first in range(0, len(points), BATCH):
            found += anyio.run(self._batch, points[first : first + BATCH])
        return found

    async def _batch(self, points: Sequence[Point]) -> list[Found]:
        lives = {next(self._lives): point for point in points}
        children: dict[int, int] = {}
        for life, point in lives.items():
            children[life] = self._live(point, life)
            running = [child for child in children.values() if child not in self._nursery.ended]
            if len(running) >= SIDE_BY_SIDE:
                self._nursery.wait(running[0])
        self._nursery.wait(*children.values())
        cleaner = self._nursery.start(
            "tests.faults.nemesis.points:drain",
            url=self._server.url,
            lives=list(lives),
            folder=str(self._folder),
        )
        self._nursery.wait(cleaner)
        events = history.read(self._folder)
        ledger = Ledger(self._folder / "effects.db")
        effects = ledger.entries()
        ledger.close()
        found = []
        async with RedisBroker.from_url(self._server.url) as broker:
            for life, point in lives.items():
                works = {one.number: one for one in works_of(life)}
                mine = [event for event in events if event.job in works]
                written = [entry for entry in effects if entry.job.startswith(f"{_stream(life)}/")]
                end = await look(broker, self._server.url, _stream(life), 100)
                status = self._nursery.ended[children[life]]
                said = self._nursery.log_of(children[life]) if status > 0 else ""
                found.append(Found(point, status, check(mine, written, end, works), said))
        for file in self._folder.glob("history-*"):
            file.unlink()
        (self._folder / "effects.db").unlink()
        return found

    def _live(self, point: Point, life: int) -> int:
        return self._nursery.start(
            "tests.faults.nemesis.points:live",
            url=self._server.url,
            socket=str(self._server.socket),
            life=life,
            folder=str(self._folder),
            kind=point.kind,
            number=point.number,
            site=point.site,
            mutant=self._mutant,
        )


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What all lives came to."""

    #: Kind -> points there are, and points that were tried.
    points: Mapping[str, tuple[int, int]]
    #: Of those tried, in how many the life was ended by it.
    killed: int
    #: Jobs of all lives.
    jobs: int
    deliveries: int
    broken: Sequence[tuple[Point, Mapping[str, object]]]
    seconds: float


@contextmanager
def runs(*, mutant: str = "") -> Iterator[Runs]:
    """With a server and a nursery of their own."""
    program = find_valkey()
    if program is None:
        raise FileNotFoundError("no Valkey to work on")
    folder = Path(tempfile.mkdtemp(prefix="sq-points-"))
    try:
        server = EmbeddedRedis(folder / "redis", binary=program, appendonly=False)
        with server, Nursery(folder) as nursery:
            yield Runs(server, folder, nursery, mutant=mutant)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_points(
    *, share: float = 1.0, seed: int = 1, kinds: Sequence[Kind] = KINDS, least: int = 10
) -> Summary:
    """Every point of each kind, or that share of them (at least `least`), drawn by the seed."""
    began = time.monotonic()
    rng = random.Random(seed)
    points: list[Point] = []
    tried: dict[str, tuple[int, int]] = {}
    with runs() as made:
        for kind in kinds:
            there = made.count(kind)
            some = sorted(rng.sample(range(1, there + 1), min(there, max(least, round(there * share)))))
            tried[kind] = (there, len(some))
            points += [Point(kind, number) for number in some]
        found = made.run(points)
    return Summary(
        points=tried,
        killed=sum(one.status == -signal.SIGKILL for one in found),
        jobs=sum(one.verdict.jobs for one in found),
        deliveries=sum(one.verdict.deliveries for one in found),
        broken=[(one.point, one.broken) for one in found if one.broken],
        seconds=time.monotonic() - began,
    )
