"""The jobs of a storm, and the workers that run them: what a job does is decided by its number and the seed."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from streamq import Handlers, Job, Limit, RedisBroker, Retention, Retry, Snooze, Worker, WorkerOptions
from streamq.events import Event as Told
from streamq.events import JobEnded
from streamq.job import NewJob
from streamq.loop import run
from tests.faults.nemesis import mutants
from tests.faults.nemesis.history import History
from tests.faults.nemesis.ledger import Ledger

STREAM = "storm"
#: Seconds between the attempts of a job that fails.
RETRY = Retry(delays=(0.05, 0.1))
#: Jobs of one limit key that may run at once.
AT_ONCE = 3
#: Workers that may die with one job in hand: more than a storm kills, so that dead letters are the job's own.
BUDGET = 1000


class Kicked(Exception):  # noqa: N818 - what the job is made to do
    """The job fails, as it was made to."""


class Work(msgspec.Struct, frozen=True):
    """What a job is made to do."""

    number: int
    #: Seconds the handler takes.
    seconds: float = 0.0
    #: Attempts that fail; 3: all of them.
    fails: int = 0
    #: Snoozes once, before its first attempt counts.
    snoozes: bool = False
    #: Blocks the event loop for its seconds, instead of waiting.
    blocks: bool = False
    #: Due so many milliseconds of the wall clock, or 0.
    due_ms: int = 0
    #: Key of which AT_ONCE may run at once, or "".
    limit: str = ""

    @property
    def dies(self) -> bool:
        """Ends as a dead letter."""
        return self.fails >= RETRY.attempts


def name_of(number: int) -> str:
    return f"job-{number:06}"


def plain(number: int, seed: int, seconds: float) -> Work:
    """Job `number` of the storm `seed`, not delayed: one in ten fails, one in fifty always, one in twenty snoozes;
    one in five has a limit, of two keys.
    """
    rng = random.Random(f"{seed}/{number}")
    fails = rng.choices((0, 1, 2, 3), (88, 7, 3, 2))[0]
    takes, snoozes = rng.random() * 2 * seconds, rng.random() < 0.05
    limit = ("red", "blue")[number % 2] if number % 5 == 0 else ""
    return Work(number, takes, fails, snoozes=snoozes, limit=limit)


def new_job(work: Work) -> NewJob:
    """As the producer sends it: one in four under a uniqueness key of its own, in all three lanes."""
    number = work.number
    return NewJob(
        payload=msgspec.json.encode(work),
        id=name_of(number),
        id_is_callers=True,
        lane=("normal", "high", "low", "normal")[number % 4],
        unique=f"key-{number}" if number % 4 == 0 else None,
        at=work.due_ms / 1000 if work.due_ms else None,
        limit=Limit(work.limit, running=AT_ONCE) if work.limit else None,
    )


def handlers_of(
    history: History,
    ledger: Ledger,
    *,
    concurrency: int,
    streams: tuple[str, ...] = (STREAM,),
    keep: int = 1000,
) -> Handlers:
    """Every stream's jobs run the same way; effects are kept apart by the stream's name."""
    handlers = Handlers()

    async def work(job: Job[Work]) -> None:
        made = job.payload
        name = f"{job.stream}/{job.id}"
        wall_ms = int(time.time() * 1000)
        ledger.begin(name, job.fence)
        facts = {"job": made.number, "attempt": job.attempt, "crashes": job.crashes, "fence": job.fence}
        history.write("start", **facts, wall_ms=wall_ms)
        if made.blocks:
            time.sleep(made.seconds)  # noqa: ASYNC251 - that is what is tried
        elif made.seconds:
            await asyncio.sleep(made.seconds)
        if made.snoozes and job.attempt == 1 and ledger.may_snooze(name):
            history.write("snoozed", **facts)
            raise Snooze(0.05)
        if job.attempt <= made.fails:
            history.write("raised", **facts)
            raise Kicked
        history.write("effect", **facts, verdict=ledger.write(name, job.fence))

    for stream in streams:
        handlers.on(
            stream,
            Work,
            concurrency=concurrency,
            retry=RETRY,
            crash_budget=BUDGET,
            retention=Retention(done_count=keep),
        )(work)
    return handlers


def ends_into(history: History) -> Callable[[Told], None]:
    """An observer that writes down what became of each job."""

    def tell(event: Told) -> None:
        if isinstance(event, JobEnded):
            job = int(event.job_id.rpartition("-")[2])
            history.write("ended", job=job, attempt=event.attempt, verdict=event.outcome)

    return tell


def work(
    *,
    url: str,
    folder: str,
    concurrency: int,
    lease: float,
    renew: float,
    jobs: int,
    mutant: str = "",
) -> None:
    """A worker of the storm, until it is stopped or killed."""
    logging.basicConfig(level=logging.ERROR)
    mutants.plant(mutant)
    history = History(Path(folder))
    ledger = Ledger(Path(folder) / "effects.db").of(os.getpid())

    async def live() -> None:
        handlers = handlers_of(history, ledger, concurrency=concurrency, keep=2 * jobs)
        options = WorkerOptions(lease=lease, renew=renew, drain_timeout=20)
        async with RedisBroker.from_url(url) as broker:
            await Worker(broker, handlers, options=options, observers=[ends_into(history)]).run()

    run(live)
