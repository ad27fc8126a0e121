"""A job whose next crash would bury it has its process to itself: no innocent job is buried beside a poison pill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
import redis.asyncio as aioredis

from streamq import Handlers, Job, Queue, RedisBroker, Supervisor, SupervisorOptions, Worker, WorkerOptions
from streamq.broker import Lease, Reclaimed, Release, Renewal, Turn, WorkerFacts
from streamq.clock import SystemClock
from streamq.job import new_job_id
from streamq.testing import MemoryBroker
from tests.streamq.rig import eventually

#: Seconds anything here may take.
DEADLINE = 30.0
ROOT = Path(__file__).resolve().parents[2]
#: Crashes after which the next one buries.
SPENT = {"crashes": "2"}


class Note(msgspec.Struct, frozen=True):
    n: int


class Watched(MemoryBroker):
    """Remembers turns, what was given back, and what was told of a job that is alone."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.turns = 0
        self.released: list[str] = []
        self.alone: list[str] = []

    async def turn(self, stream: str, worker: str, **more: Any) -> Turn:
        self.turns += 1
        self.released += [
            one.lease.envelope.id for one in more.get("finished", ()) if isinstance(one, Release)
        ]
        return await super().turn(stream, worker, **more)

    def renew(
        self,
        stream: str,
        worker: str,
        held: Sequence[Lease],
        facts: WorkerFacts = WorkerFacts(),  # noqa: B008 - as the broker's own
    ) -> Renewal:
        self.alone.append(facts.to_blame)
        return super().renew(stream, worker, held, facts)

    def put(self, stream: str, n: int, **fields: str) -> str:
        """A job that may have seen crashes before."""
        job_id = new_job_id()
        self.inject(stream, {"id": job_id, "payload": msgspec.json.encode(Note(n)), **fields})
        return job_id


class Log:
    """Which jobs ran beside which."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.beside: dict[int, set[int]] = {}
        self.ended: list[int] = []

    @asynccontextmanager
    async def job(self, n: int) -> AsyncIterator[None]:
        self.running.add(n)
        for one in self.running:
            self.beside.setdefault(one, set()).update(self.running - {one})
        try:
            yield
            self.ended.append(n)
        finally:
            self.running.discard(n)


def options(**more: Any) -> WorkerOptions:
    return WorkerOptions(**({"lease": 20.0, "renew": 5.0, "burst_wait": 0.0} | more))


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:

            async def work() -> None:
                await worker.run(handle_signals=False)

            group.start_soon(work)
            yield
            worker.stop()


# --- alone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "thread"])
async def test_nothing_runs_beside_a_suspect_in_any_stream_of_its_worker(is_async: bool) -> None:
    log, handlers = Log(), Handlers()

    async def note(job: Job[Note]) -> None:
        async with log.job(job.payload.n):
            await anyio.sleep(0.01)

    def plain(job: Job[Note]) -> None:
        anyio.from_thread.run(note, job)

    for stream in ("one", "two"):
        handlers.on(stream, Note, concurrency=4)(note if is_async else plain)
    broker = Watched()
    for n in range(0, 40, 2):
        broker.put("one", n, **(SPENT if n in (10, 12, 30) else {}))
        broker.put("two", n + 1, **(SPENT if n + 1 in (5, 39) else {}))
    with anyio.fail_after(DEADLINE):
        await Worker(broker, handlers, options=options()).run(handle_signals=False)
    assert sorted(log.ended) == list(range(40))
    for suspect in (5, 10, 12, 30, 39):
        assert log.beside.get(suspect, set()) == set()
    assert any(log.beside.values()), "the others had company"
    assert (await broker.stats("one")).dead == 0


async def test_the_broker_is_told_before_a_suspect_starts_and_no_more_when_it_has_ended() -> None:
    broker, handlers, told = Watched(), Handlers(), []

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        ((_, facts),) = broker._streams["notes"].facts.values()
        told.append((facts.to_blame, [taken.key for taken in facts.taken]))

    broker.put("notes", 0, **SPENT)
    with anyio.fail_after(DEADLINE):
        await Worker(broker, handlers, options=options()).run(handle_signals=False)
    ((alone, taken),) = told
    assert taken == [alone]
    assert alone.startswith("normal/")
    worker = Worker(broker, handlers, options=options(renew=0.01))
    async with working(worker):
        broker.put("notes", 1)
        await eventually(lambda: _is(len(told) == 2))
        beats = len(broker.alone)
        await eventually(lambda: _is(len(broker.alone) > beats + 1))
    assert told[1][0] == broker.alone[-1] == ""


async def test_nothing_starts_before_the_broker_has_heard_of_a_suspects_end() -> None:
    told = anyio.Event()

    class SlowToHear(Watched):
        async def turn(self, stream: str, worker: str, **more: Any) -> Turn:
            if any(one.lease.envelope.crashes for one in more.get("finished", ())):
                await told.wait()
            return await super().turn(stream, worker, **more)

    broker, handlers, ran = SlowToHear(), Handlers(), []

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        ran.append(job.payload.n)

    handlers.on("others", Note)(note)
    worker = Worker(broker, handlers, options=options(burst_wait=None))
    async with working(worker):
        broker.put("notes", 0, **SPENT)
        await eventually(lambda: _is(ran == [0]))
        broker.put("others", 1)
        turns = broker.turns
        worker.consumers[1].look_again()
        await eventually(lambda: _is(broker.turns > turns))
        await anyio.wait_all_tasks_blocked()
        assert ran == [0]  # should the process die now, it would be said to be for the first
        told.set()
        await eventually(lambda: _is(ran == [0, 1]))


async def test_what_was_taken_with_a_suspect_goes_back_uncounted_and_ends_all_the_same() -> None:
    broker, handlers, ran = Watched(), Handlers(), []

    @handlers.on("notes", Note, concurrency=10)
    async def note(job: Job[Note]) -> None:
        ran.append((job.payload.n, job.attempt, job.crashes))

    first = [broker.put("notes", n, **SPENT) for n in range(3)]
    rest = [broker.put("notes", n) for n in range(3, 6)]
    with anyio.fail_after(DEADLINE):
        await Worker(broker, handlers, options=options()).run(handle_signals=False)
    assert sorted(ran) == [*((n, 1, 2) for n in range(3)), *((n, 1, 0) for n in range(3, 6))]
    assert set(broker.released) == {*first[1:], *rest}


async def test_a_suspect_of_one_partition_has_all_of_them_to_itself() -> None:
    log, handlers = Log(), Handlers()

    @handlers.on("notes", Note, concurrency=3)
    async def note(job: Job[Note]) -> None:
        async with log.job(job.payload.n):
            await anyio.sleep(0.005)

    broker = Watched()
    await broker.set_partitions("notes", 3)
    for n in range(30):
        broker.put(("notes", "notes.1", "notes.2")[n % 3], n, **(SPENT if n in (7, 8) else {}))
    with anyio.fail_after(DEADLINE):
        await Worker(broker, handlers, options=options()).run(handle_signals=False)
    assert sorted(log.ended) == list(range(30))
    assert log.beside.get(7, set()) == log.beside.get(8, set()) == set()
    assert any(log.beside.values())


# --- not for ever -------------------------------------------------------------------------------------


@pytest.mark.parametrize("endless", ["neighbour", "suspect"])
async def test_after_a_lease_the_worker_goes_on_beside_what_does_not_end(endless: str) -> None:
    broker, handlers, log = Watched(), Handlers(), Log()
    let_go = anyio.Event()

    @handlers.on("notes", Note, concurrency=3)
    async def note(job: Job[Note]) -> None:
        async with log.job(job.payload.n):
            if job.payload.n == 0:
                await let_go.wait()

    worker = Worker(broker, handlers, options=options(lease=0.4, renew=0.1, burst_wait=None))
    async with working(worker):
        broker.put("notes", 0, **(SPENT if endless == "suspect" else {}))
        await eventually(lambda: _is(0 in log.running))
        if endless == "neighbour":
            broker.put("notes", 1, **SPENT)
        else:
            assert any(broker.alone)
            broker.put("notes", 1)
        broker.put("notes", 2)
        await eventually(lambda: _is({1, 2} <= set(log.ended)))
        # It is not said to be alone any more: what kills the process now may be another.
        assert broker._streams["notes"].facts[worker.name][1].to_blame == ""
        assert log.running == {0}
        let_go.set()
    assert sorted(log.ended) == [0, 1, 2]


async def test_while_a_suspect_waits_nothing_is_asked_again_and_again() -> None:
    broker, handlers, log = Watched(), Handlers(), Log()
    let_go, passes = anyio.Event(), 0

    @handlers.on("notes", Note, concurrency=3)
    async def note(job: Job[Note]) -> None:
        async with log.job(job.payload.n):
            if job.payload.n == 0:
                await let_go.wait()

    @handlers.on("others", Note)
    async def other(_: Job[Note]) -> None:
        return

    worker = Worker(broker, handlers, options=options(burst_wait=None))
    async with working(worker):
        broker.put("notes", 0)
        await eventually(lambda: _is(0 in log.running))
        broker.put("notes", 1, **SPENT)
        await eventually(lambda: _is(worker._isolation.closed))
        for n in range(2, 10):
            broker.put("notes", n)
            broker.put("others", n)
        turns, cpu, began = broker.turns, time.process_time(), anyio.current_time()
        while anyio.current_time() < began + 0.5:
            passes += 1
            await anyio.sleep(0.01)
        assert broker.turns - turns <= 6
        assert log.ended == []
        assert time.process_time() - cpu < 0.4 * (anyio.current_time() - began)
        let_go.set()
        await eventually(lambda: _is(len(log.ended) == 10))
    assert log.beside.get(1, set()) == set()


async def test_a_stop_gives_a_waiting_suspect_back() -> None:
    broker, handlers, log = Watched(), Handlers(), Log()
    let_go = anyio.Event()

    @handlers.on("notes", Note, concurrency=3)
    async def note(job: Job[Note]) -> None:
        async with log.job(job.payload.n):
            await let_go.wait()

    worker = Worker(broker, handlers, options=options(burst_wait=None))
    async with working(worker):
        broker.put("notes", 0)
        await eventually(lambda: _is(0 in log.running))
        suspect = broker.put("notes", 1, **SPENT)
        await eventually(lambda: _is(worker._isolation.closed))
        worker.stop()
        await eventually(lambda: _is(suspect in broker.released))
        let_go.set()
    assert log.ended == [0]
    (one,) = await broker.waiting("notes")
    assert (one.envelope.id, one.envelope.crashes, one.envelope.attempt) == (suspect, 2, 1)
    assert await broker.workers("notes") == []


@pytest.mark.parametrize("how", ["cancelled", "lost"])
async def test_a_waiting_suspect_that_is_taken_away_opens_the_gate(how: str) -> None:
    broker, handlers, log = Watched(), Handlers(), Log()
    let_go = anyio.Event()

    @handlers.on("notes", Note, concurrency=3)
    async def note(job: Job[Note]) -> None:
        async with log.job(job.payload.n):
            if job.payload.n == 0:
                await let_go.wait()

    worker = Worker(broker, handlers, options=options(renew=0.02, burst_wait=None))
    async with working(worker):
        broker.put("notes", 0)
        await eventually(lambda: _is(0 in log.running))
        suspect = broker.put("notes", 1, **SPENT)
        await eventually(lambda: _is(worker._isolation.closed))
        if how == "cancelled":
            await broker.cancel("notes", suspect)
        else:
            (entry,) = [one.entry_id for one in await broker.pending("notes") if one.envelope.id == suspect]
            lane = broker._streams["notes"].lanes["normal"]
            lane.drop(entry)
        broker.put("notes", 2)
        await eventually(lambda: _is(log.ended == [2]))
        let_go.set()
    assert sorted(log.ended) == [0, 2]


async def _is(so: bool) -> bool:
    return so


# --- real processes, real deaths --------------------------------------------------------------------

#: A negative number kills its process, 0 never ends; says what it starts.
WORKER = """
import asyncio, os, sys
import msgspec
from streamq import Handlers, RedisBroker, Worker, WorkerOptions

class Note(msgspec.Struct, frozen=True):
    n: int

handlers = Handlers()

async def handle(job):
    print(job.payload.n, flush=True)
    await asyncio.sleep(0.02 if job.payload.n else 3600)
    if job.payload.n < 0:
        os._exit(1)

for stream in ("notes", "others"):
    handlers.on(stream, Note, concurrency=8)(handle)

async def main():
    options = WorkerOptions(lease=float(sys.argv[3]), renew=0.2)
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers, name=sys.argv[2], options=options).run()

asyncio.run(main())
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


async def test_of_jobs_beside_those_that_kill_their_process_only_the_killers_are_buried(
    server_url: str,
) -> None:
    async with RedisBroker.from_url(server_url) as broker, anyio.create_task_group() as group:
        supervisor = Supervisor(
            lambda number: [sys.executable, "-c", WORKER, server_url, f"w{number}", "1.0"],
            processes=2,
            env={**ENVIRONMENT},
            options=SupervisorOptions(stop_timeout=10.0, young=0.0, backoff=(0.02, 0.1)),
        )
        for stream in ("notes", "others"):
            notes = [Note(n) for n in range(1, 21)]
            notes[5] = notes[15] = Note(-1)
            await Queue(stream, broker).enqueue_many(notes)
        group.start_soon(lambda: supervisor.run(handle_signals=False))
        done, letters = 0, []
        with anyio.fail_after(DEADLINE):
            while done + len(letters) < 40:
                await anyio.sleep(0.05)
                stats = [await broker.stats(stream) for stream in ("notes", "others")]
                done = sum(one.counters.get("done", 0) for one in stats)
                letters = [letter for one in stats for letter in await broker.dead(one.stream)]
        group.cancel_scope.cancel()
    assert {letter.envelope.payload for letter in letters} == {b'{"n":-1}'}
    assert [(one.reason, one.envelope.crashes) for one in letters] == [("crashed", 3)] * 4


STUCK = """
import asyncio, sys, time
from streamq import Handlers, RedisBroker, Worker, WorkerOptions

handlers = Handlers()

@handlers.on("notes", dict, concurrency=2, hard_limit=1.2)
def stuck(job):
    time.sleep(3600)  # in a thread: the loop goes on, and takes what comes a lease later

async def main():
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers, name="w", options=WorkerOptions(lease=0.5, renew=0.1)).run()

asyncio.run(main())
"""


async def test_a_job_that_runs_longer_than_a_lease_and_into_its_hard_limit_is_buried_at_its_budget(
    server_url: str,
) -> None:
    async with RedisBroker.from_url(server_url) as broker, anyio.create_task_group() as group:
        supervisor = Supervisor(
            lambda _: [sys.executable, "-c", STUCK, server_url],
            processes=1,
            env={**ENVIRONMENT},
            options=SupervisorOptions(stop_timeout=10.0, young=0.0, backoff=(0.02, 0.1)),
        )
        await Queue("notes", broker).enqueue({})
        group.start_soon(lambda: supervisor.run(handle_signals=False))
        with anyio.fail_after(DEADLINE):
            while not (letters := await broker.dead("notes")):  # noqa: ASYNC110 - another process works
                await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    assert [(one.reason, one.envelope.crashes) for one in letters] == [("crashed", 3)]


@pytest.mark.parametrize("started", [False, True], ids=["lay-in-hand", "ran"])
async def test_a_suspect_whose_worker_is_killed_is_buried_only_if_it_ran(
    server_url: str, started: bool
) -> None:
    async with RedisBroker.from_url(server_url) as broker, aioredis.Redis.from_url(server_url) as client:
        process = subprocess.Popen(  # noqa: ASYNC220 - it is killed by its id
            [sys.executable, "-c", WORKER, server_url, "w", "30"], env=ENVIRONMENT, stdout=subprocess.PIPE
        )
        try:
            with anyio.fail_after(DEADLINE):
                if not started:
                    await Queue("notes", broker).enqueue(Note(0))
                    assert await _said(process) == b"0\n"  # and does not end: nobody is alone here
                await client.xadd("others", {"payload": '{"n":0}', "id": "suspect", "crashes": "2"})
                if started:
                    assert await _said(process) == b"0\n"
                await eventually(lambda: _leased(broker, "others"))
                (worker,) = await broker.workers("others")
                os.kill(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        made = await broker.reclaim("others", worker.name, beat=None, crash_budget=3)
        assert made == (Reclaimed(dead=1) if started else Reclaimed(ready=1))
        seen = await broker.find("others", "suspect")
    assert seen.envelope is not None
    assert (seen.state, seen.envelope.crashes) == ("dead" if started else "ready", 3)


async def _leased(broker: RedisBroker, stream: str) -> bool:
    return (await broker.stats(stream)).leased == 1


async def _said(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
