"""Single promises, counted a thousand times: zombies refused, attempts exact, nothing early, a blocked loop survived."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import msgspec

from sentinel.embedded import EmbeddedRedis
from streamq import Handlers, Job, Queue, RedisBroker, Retry, Worker, WorkerOptions
from streamq.broker import Again, Bury, Done, Finish, Lease, Release
from streamq.job import NewJob, new_job_id
from tests.faults.nemesis import crew, history
from tests.faults.nemesis.crew import STREAM, Work
from tests.faults.nemesis.history import Event
from tests.faults.nemesis.ledger import Ledger
from tests.faults.nemesis.nursery import Nursery
from tests.support.servers import find_valkey

#: Jobs put in or taken at once.
_BATCH = 100


@contextmanager
def server() -> Iterator[EmbeddedRedis]:
    """A Valkey of the drill's own, nothing on disk."""
    program = find_valkey()
    if program is None:
        raise FileNotFoundError("no Valkey to drill on")
    with tempfile.TemporaryDirectory(prefix="sq-drill-") as folder:
        running = EmbeddedRedis(Path(folder), binary=program, appendonly=False)
        with running:
            yield running


class Zombies(msgspec.Struct, frozen=True):
    """What deliveries that were taken away could still do."""

    jobs: int
    #: Ends of every kind that were tried, and those that were not refused.
    tried: int
    accepted: int
    #: Leases that a stale heartbeat kept.
    renewed: int
    #: Fenced writes to the database that were let through.
    written: int
    #: Of all jobs, those that ended once when their real holder ended them.
    ended_once: int


async def zombies(broker: RedisBroker, ledger: Ledger, jobs: int) -> Zombies:
    """Every job is taken, taken away, taken by another; then its first holder comes back and tries everything."""
    queue = Queue("zombies", broker)
    numbers = itertools.count(1)

    async def turn(worker: str, *finished: Finish, free: int = 0) -> tuple[Sequence[Lease], frozenset[str]]:
        told = await broker.turn("zombies", worker, sequence=next(numbers), finished=finished, free=free)
        return told.leases, told.refused

    tried = accepted = renewed = written = ended = 0
    for first in range(0, jobs, _BATCH):
        await queue.enqueue_many(range(first, min(jobs, first + _BATCH)))
        stale, _ = await turn("zombie", free=_BATCH)
        for lease in stale:
            ledger.begin(lease.envelope.id, lease.fence)
        await broker.reclaim("zombies", "zombie", beat=None, crash_budget=3)
        fresh, _ = await turn("living", free=_BATCH)
        for lease in fresh:
            ledger.begin(lease.envelope.id, lease.fence)
        kept = broker.renew("zombies", "zombie", stale).lost
        renewed += sum(lease.key not in kept for lease in stale)
        for end in (
            Done,
            lambda lease: Again(lease, 0.0, counts=True),
            lambda lease: Bury(lease, "stale"),
            Release,
        ):
            _, refused = await turn("zombie", *map(end, stale))
            tried += len(stale)
            accepted += len(stale) - len(refused)
        written += sum(ledger.write(lease.envelope.id, lease.fence) != "stale" for lease in stale)
        _, refused = await turn("living", *map(Done, fresh))
        ended += len(fresh) - len(refused)
    return Zombies(jobs, tried, accepted, renewed, written, ended)


class Retries(msgspec.Struct, frozen=True):
    """Jobs that always fail."""

    jobs: int
    #: Attempts made -> jobs.
    attempts: dict[int, int]
    #: Dead letters: their number of attempts -> letters.
    letters: dict[int, int]
    #: Attempts that began before their delay was over.
    early: int


async def retries(broker: RedisBroker, jobs: int) -> Retries:
    """Three attempts each, 20 and 40 ms apart."""
    delays = (0.02, 0.04)
    begun: dict[str, list[float]] = {}
    failed: dict[str, float] = {}
    early = 0
    handlers = Handlers()

    @handlers.on("retries", int, concurrency=50, retry=Retry(delays=delays))
    async def fail(job: Job[int]) -> None:
        nonlocal early
        starts = begun.setdefault(job.id, [])
        if starts and time.monotonic() < failed[job.id] + delays[len(starts) - 1] - 0.001:
            early += 1
        starts.append(time.monotonic())
        failed[job.id] = time.monotonic()
        raise crew.Kicked

    await Queue("retries", broker).enqueue_many(range(jobs))
    await Worker(broker, handlers, options=WorkerOptions(burst_wait=1)).run(handle_signals=False)
    letters = await broker.dead("retries", limit=jobs + 100)
    return Retries(
        jobs,
        dict(Counter(len(starts) for starts in begun.values())),
        dict(Counter(letter.attempts for letter in letters)),
        early,
    )


class Lateness(msgspec.Struct, frozen=True):
    """Delayed jobs, so many due each second."""

    jobs: int
    rate: int
    early: int
    #: Seconds, sorted.
    late: Sequence[float]


async def lateness(broker: RedisBroker, *, rate: int, seconds: float) -> Lateness:
    """All are in before the first is due; one worker, which does nothing else."""
    late: list[float] = []
    handlers = Handlers()

    @handlers.on("late", float, concurrency=100)
    async def look(job: Job[float]) -> None:
        late.append(time.time() - job.payload)

    jobs = int(rate * seconds)
    first = time.time() + 2.0 + jobs / 20_000
    made = []
    for number in range(jobs):
        due = int((first + number / rate) * 1000) / 1000
        made.append(NewJob(payload=msgspec.json.encode(due), id=new_job_id(), at=due))
    await Queue("late", broker).enqueue_jobs(made)
    options = WorkerOptions(burst_wait=seconds + 10)
    await Worker(broker, handlers, options=options).run(handle_signals=False)
    late.sort()
    # The server counts whole milliseconds, and so does this.
    return Lateness(jobs, rate, sum(one < -0.001 for one in late), late)


class Blocked(msgspec.Struct, frozen=True):
    """One handler that blocks its event loop for longer than the lease, another worker beside it."""

    jobs: int
    #: Seconds.
    blocked: float
    lease: float
    #: Jobs that ran more than once, and that did not end.
    again: int
    lost: int
    #: Longest wait from being enqueued to starting, of jobs the other worker ran, and of the blocked one's: seconds.
    beside: float
    behind: float


def blocked(running: EmbeddedRedis, *, jobs: int, lease: float = 1.0) -> Blocked:
    """The first job blocks for three leases."""
    works = [Work(0, seconds=3 * lease, blocks=True)] + [
        Work(number, seconds=0.02) for number in range(1, jobs)
    ]
    with tempfile.TemporaryDirectory(prefix="sq-blocked-") as name:
        folder = Path(name)
        with Nursery(folder) as nursery:
            began = time.monotonic()
            anyio.run(_put, running.url, works)
            children = [
                nursery.start(
                    "tests.faults.nemesis.crew:work",
                    url=running.url,
                    folder=name,
                    concurrency=4,
                    lease=lease,
                    renew=lease / 4,
                    jobs=jobs,
                )
                for _ in range(2)
            ]
            done = anyio.run(_until_done, running.url, jobs)
            for child in children:
                os.kill(child, signal.SIGTERM)
            nursery.wait(*children)
        events = [event for event in history.read(folder) if event.kind == "start"]
    starts: dict[int, list[Event]] = {}
    for event in events:
        starts.setdefault(event.job, []).append(event)
    (blocker,) = {event.worker for event in starts[0]}
    return Blocked(
        jobs,
        3 * lease,
        lease,
        again=sum(len(mine) > 1 for mine in starts.values()),
        lost=jobs - done,
        beside=max((one.at - began for one in events if one.worker != blocker), default=0.0),
        behind=max((one.at - began for one in events if one.worker == blocker), default=0.0),
    )


async def _put(url: str, works: Sequence[Work]) -> None:
    async with RedisBroker.from_url(url) as broker:
        await Queue(STREAM, broker).enqueue_jobs([crew.new_job(one) for one in works])


async def _until_done(url: str, jobs: int) -> int:
    async with RedisBroker.from_url(url) as broker:
        done = 0
        with anyio.move_on_after(60):
            while done < jobs:
                await anyio.sleep(0.02)
                done = (await broker.stats(STREAM)).counters.get("done", 0)
        return done
