"""Other queues under the same nemesis: their workers are killed while they run jobs, and others start at once.

Every engine runs as `bench/engines` has it, every setting by default. What ran is read from the lines each worker
writes when a job begins and when it ends, so nothing is believed that an engine says of itself.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Final, Self

import msgspec

from bench.fleet import Program, call, kill, running
from bench.server import Server

#: Workers at once, and jobs at once in each.
WORKERS = 2
CONCURRENCY = 10
#: Seconds a job takes.
TAKES = 0.1
#: Seconds without an end after which the next worker is killed all the same: what is left waits for something.
QUIET = 5.0
#: Seconds a worker may take to start.
STARTS = 20.0
_LOOK = 0.02

#: What becomes, by default, of a job whose worker was killed: read in the installed sources; of huey, Celery and
#: RQ in their manuals.
BY_DEFAULT: Final[Mapping[str, str]] = {
    "streamq": "lease of 10 s, by heartbeats",
    "bullmq": "lock of 30 s, looked at every 30 s; a job that was stalled twice fails",
    "bullmq_python": "lock of 30 s, looked at every 30 s; a job that was stalled twice fails",
    "taskiq": "claimed after 10 minutes without an acknowledgement",
    "saq": "swept each minute after its timeout; not run again: retries is 1, its first run was that",
    "streaq": "claimed 60 s after its worker last renewed it",
    "arq": "in progress until job_timeout + 10 s have passed: 310 s",
    "dramatiq": "given back when its worker has not been heard of for 60 s, by one command in a thousand",
    "huey": "off the list when a worker has it: gone",
    "celery": "acknowledged before it runs: gone; what was prefetched after an hour",
    "rq": "declared failed when its time is over; not run again: no retry by default",
}


class Survived(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine made of it."""

    jobs: int
    kills: int
    #: Had begun and not ended when their worker was killed.
    hit: int
    #: Never ended, until the patience was over.
    lost: int
    #: Ran to the end more than once.
    twice: int
    #: From the last kill until every job had ended; None: that did not come.
    seconds: float | None
    #: Seconds of all of it.
    took: float


class _Told:
    """What one worker has written so far, and how much of that was read."""

    def __init__(self, log: Path) -> None:
        log.touch()
        self.log = log
        self._at = 0
        self.began: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    def read(self) -> None:
        with self.log.open("rb") as file:
            file.seek(self._at)
            some = file.read()
        whole = some[: some.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode().splitlines():
            what, _, job = line.partition(" ")
            (self.began if what == "began" else self.ended)[job] += 1

    @property
    def in_hand(self) -> int:
        return (self.began - self.ended).total()


class _Crew:
    """Workers that live, and what all of them have told, the dead too."""

    def __init__(self, program: Program, words: list[str], folder: Path) -> None:
        self._program = program
        self._words = words
        self._folder = folder
        self._stack = ExitStack()
        self._all: list[_Told] = []
        self.living: dict[Popen[bytes], _Told] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def hire(self) -> None:
        told = _Told(self._folder / f"log-{len(self._all)}")
        words = [*self._words, "--log", str(told.log)]
        self.living[self._stack.enter_context(running(self._program, *words))] = told
        self._all.append(told)

    def kill(self, worker: Popen[bytes]) -> int:
        """How many jobs it had in hand."""
        kill(worker)
        told = self.living.pop(worker)
        told.read()
        self.hire()
        return told.in_hand

    def ended(self) -> Counter[str]:
        ended: Counter[str] = Counter()
        for told in self._all:
            told.read()
            ended += told.ended
        return ended


def survive_kills(
    program: Program, server: Server, *, jobs: int, kills: int, seed: int, patience: float
) -> Survived:
    """Every job is put in first; the i-th kill comes when so many have ended. The server is emptied before."""
    server.empty()
    call(program, "enqueue", "--url", server.url, "--jobs", str(jobs), "--bulk")
    rng = random.Random(seed)
    words = ["--url", server.url, "--jobs", str(jobs), "--slow", str(TAKES)]
    words += ["--deadline", "3600", "--concurrency", str(CONCURRENCY)]
    began = time.monotonic()
    hit = 0
    with (
        tempfile.TemporaryDirectory(prefix="sq-peers-") as folder,
        _Crew(program, words, Path(folder)) as crew,
    ):
        for _ in range(WORKERS):
            crew.hire()
        for place in range(1, kills + 1):
            hit += crew.kill(_victim(crew, rng, after=jobs * place // (kills + 1)))
        killed = time.monotonic()
        while len(ended := crew.ended()) < jobs and time.monotonic() - killed < patience:
            time.sleep(_LOOK)
        seconds = time.monotonic() - killed
        if len(ended) == jobs:
            time.sleep(2 * TAKES)  # what runs a second time may be at it
            ended = crew.ended()
    return Survived(
        jobs=jobs,
        kills=kills,
        hit=hit,
        lost=jobs - len(ended),
        twice=sum(times > 1 for times in ended.values()),
        seconds=seconds if len(ended) == jobs else None,
        took=time.monotonic() - began,
    )


def _victim(crew: _Crew, rng: random.Random, *, after: int) -> Popen[bytes]:
    """One that has jobs in hand, once so many have ended; anybody where nothing has moved for long."""
    moved, last = time.monotonic(), -1
    while True:
        ended = crew.ended().total()
        if ended != last:
            moved, last = time.monotonic(), ended
        busy = [worker for worker, told in crew.living.items() if told.in_hand]
        if ended >= after and busy:
            return rng.choice(busy)
        if time.monotonic() - moved > (QUIET if ended else STARTS):
            return rng.choice(busy or list(crew.living))
        time.sleep(_LOOK)
