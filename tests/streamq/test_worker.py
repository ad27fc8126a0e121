"""The worker on real servers: exact attempts, the stream that goes on, processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import redis.asyncio as aioredis

from streamq import (
    DeadLetter,
    Handlers,
    Job,
    Queue,
    RedisBroker,
    Retry,
    Snooze,
    Worker,
    WorkerOptions,
)
from streamq.job import Envelope
from tests.support.servers import OwnServers

#: Seconds anything here may take.
DEADLINE = 100.0
#: Worker processes find this tree also where it is not installed.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


class Note(msgspec.Struct, frozen=True):
    n: int


async def work_off(broker: RedisBroker, handlers: Handlers, *, burst_wait: float = 1.0) -> None:
    with anyio.fail_after(DEADLINE):
        await Worker(broker, handlers, options=WorkerOptions(burst_wait=burst_wait)).run(handle_signals=False)


async def test_a_failing_job_is_tried_exactly_as_often_as_its_policy_says_and_never_early(
    server_url: str,
) -> None:
    starts: list[tuple[int, float, bool]] = []
    handlers = Handlers()

    @handlers.on("notes", Note, retry=Retry(delays=(0.1, 0.3)))
    async def fail(job: Job[Note]) -> None:
        starts.append((job.attempt, anyio.current_time(), job.last_attempt))
        raise ValueError("no")

    async with RedisBroker.from_url(server_url) as broker:
        await Queue("notes", broker).enqueue(Note(1), job_id="one")
        await work_off(broker, handlers)
        (letter,) = await broker.dead("notes")
    assert [(attempt, last) for attempt, _, last in starts] == [(1, False), (2, False), (3, True)]
    # Never early: the server's clock is this machine's, and only whole milliseconds count.
    assert starts[1][1] - starts[0][1] >= 0.099
    assert starts[2][1] - starts[1][1] >= 0.299
    assert (letter.envelope.id, letter.reason, letter.attempts) == ("one", "exhausted", 3)
    assert letter.error == "ValueError: no"


async def test_bad_payloads_go_to_the_dead_letters_at_once_and_the_stream_goes_on(server_url: str) -> None:
    seen: list[int] = []
    handlers = Handlers()

    @handlers.on("notes", Note, retry=Retry(delays=(60,)))
    async def note(job: Job[Note]) -> None:
        seen.append(job.payload.n)

    async with RedisBroker.from_url(server_url) as broker, aioredis.Redis.from_url(server_url) as client:
        for payload in (b"not json", b'{"n":"text"}', b"\xff\xfe", b"[]", b'{"n":1}'):
            await client.xadd("notes", {"payload": payload})
        await client.xadd("notes", {"other": b"x"})
        await work_off(broker, handlers)
        letters = await broker.dead("notes")
    assert seen == [1]
    assert [letter.reason for letter in letters] == ["invalid_payload"] * 5
    assert {letter.envelope.payload for letter in letters} == {
        b"not json",
        b'{"n":"text"}',
        b"\xff\xfe",
        b"[]",
        b"",
    }


async def test_a_handler_may_snooze_and_may_give_up(server_url: str) -> None:
    attempts: list[int] = []
    handlers = Handlers()

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        if job.payload.n == 0:
            raise DeadLetter("unwanted", "nobody asked for it")
        attempts.append(job.attempt)
        if len(attempts) < 3:
            raise Snooze(0.05)

    async with RedisBroker.from_url(server_url) as broker:
        await Queue("notes", broker).enqueue_many([Note(0), Note(1)])
        # A burst without patience still waits for what it snoozed: that job has not ended.
        await work_off(broker, handlers, burst_wait=0.0)
        (letter,) = await broker.dead("notes")
        stats = await broker.stats("notes")
    assert attempts == [1, 1, 1]
    assert letter.reason == "unwanted"
    assert stats.done == 1


async def test_a_burst_waits_for_what_is_snoozed_again_while_it_looks(server_url: str) -> None:
    attempts: list[int] = []
    handlers = Handlers()

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        attempts.append(job.attempt)
        if len(attempts) < 5:
            raise Snooze(0.1)

    class LooksLate(RedisBroker):
        """The job runs and is put off once more between the question and its answer."""

        async def delayed(self, stream: str, *, limit: int = 100) -> list[tuple[Envelope, float]]:
            ran = len(attempts)
            while len(attempts) == ran or not (found := await super().delayed(stream, limit=limit)):
                await anyio.sleep(0.002)
                if len(attempts) == 5:
                    return []
            return found

    async with LooksLate.from_url(server_url) as broker:
        await Queue("notes", broker).enqueue(Note(1))
        await work_off(broker, handlers, burst_wait=0.0)
    assert len(attempts) == 5


async def test_a_due_job_that_the_server_has_no_memory_to_make_ready_is_waited_for_calmly(
    own_server: OwnServers,
) -> None:
    ran = anyio.Event()
    handlers = Handlers()

    @handlers.on("notes", Note)
    async def note(_: Job[Note]) -> None:
        ran.set()

    server = own_server(appendonly=False)
    async with RedisBroker.from_url(server.url) as broker, aioredis.Redis.from_url(server.url) as client:
        worker = Worker(broker, handlers)

        async def work() -> None:
            await worker.run(handle_signals=False)

        async with anyio.create_task_group() as group:
            with anyio.fail_after(DEADLINE):
                group.start_soon(work)
                while not worker.consumers[0].idle:  # noqa: ASYNC110 - nobody tells
                    await anyio.sleep(0.01)
                await Queue("notes", broker).enqueue(Note(1), delay=0.5)
                await client.config_set("maxmemory", "1mb")
                while await client.zcount("{notes}:delayed", "-inf", await server_ms(client)) == 0:  # noqa: ASYNC110 - the server's clock
                    await anyio.sleep(0.01)
                before, began = await commands(client), await server_ms(client)
                while await server_ms(client) < began + 1000:  # noqa: ASYNC110 - as above
                    await anyio.sleep(0.1)
                asked = await commands(client) - before
                assert not ran.is_set()
                assert asked < 200, "a second of turns, a few commands each; not a loop without a pause"
                await client.config_set("maxmemory", "0")
                await ran.wait()
                worker.stop()


async def server_ms(client: aioredis.Redis) -> int:
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def commands(client: aioredis.Redis) -> int:
    return int((await client.info("stats"))["total_commands_processed"])


WORKER = """
import asyncio, os, sys
import msgspec
from streamq import Handlers, RedisBroker, Worker, WorkerOptions

class Note(msgspec.Struct, frozen=True):
    n: int

handlers = Handlers()

@handlers.on("notes", Note, concurrency=4, crash_budget=1000)
async def note(job):
    await asyncio.sleep(0.02)
    line = f"{job.payload.n} {job.fence}\\n".encode()
    fd = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line)
    os.close(fd)

async def main():
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers, options=WorkerOptions(lease=1.0, renew=0.3)).run()

asyncio.run(main())
"""


async def test_killed_workers_lose_no_job(server_url: str, tmp_path: Path) -> None:
    script, effects = tmp_path / "worker.py", tmp_path / "effects"
    script.write_text(WORKER)
    jobs, kills = 200, 3

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(script), server_url, str(effects)], env=ENVIRONMENT)

    def written() -> int:
        return len(effects.read_bytes().splitlines()) if effects.exists() else 0

    async with RedisBroker.from_url(server_url) as broker:
        await Queue("notes", broker).enqueue_many([Note(n) for n in range(jobs)])
        workers = [start(), start()]
        try:
            with anyio.fail_after(DEADLINE):
                for kill in range(kills):
                    while written() < (kill + 1) * jobs // (kills + 2):  # noqa: ASYNC110 - another process works
                        await anyio.sleep(0.01)
                    victim = workers.pop(0)
                    os.kill(victim.pid, signal.SIGKILL)
                    victim.wait()
                    workers.append(start())
                while (await broker.stats("notes")).counters.get("done", 0) < jobs:  # noqa: ASYNC110 - as above
                    await anyio.sleep(0.05)
            stats = await broker.stats("notes")
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    ran = [int(line.split()[0]) for line in effects.read_bytes().splitlines()]
    again = len(ran) - len(set(ran))
    print(
        f"{jobs} jobs, {kills} SIGKILLs: lost {jobs - len(set(ran))}, ran again {again}, done {stats.counters['done']}"
    )
    assert set(ran) == set(range(jobs))
    assert stats.counters["done"] == jobs
    assert (stats.leased, stats.delayed, stats.dead, sum(stats.ready.values())) == (0, 0, 0, 0)
    # What ran twice was in the hands of a killed worker: at most its four slots and what it had read ahead.
    assert again <= kills * 8


HOLDER = """
import asyncio, sys
import msgspec
from streamq import Handlers, RedisBroker, Worker, WorkerOptions

class Note(msgspec.Struct, frozen=True):
    n: int

handlers = Handlers()

@handlers.on("notes", Note, concurrency=4)
async def note(job):
    print("has it", job.crashes, flush=True)
    if job.crashes == 0:
        await asyncio.sleep(3600)

async def main():
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers, options=WorkerOptions(lease=1.5, renew=0.3)).run()

asyncio.run(main())
"""


async def test_a_frozen_worker_does_not_swallow_what_is_taken_back_from_it(
    server_url: str, tmp_path: Path
) -> None:
    """It has free slots, so a read of its own waits at the server when it is frozen."""
    script = tmp_path / "holder.py"
    script.write_text(HOLDER)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(script), server_url], env=ENVIRONMENT, stdout=subprocess.PIPE
        )

    async with RedisBroker.from_url(server_url) as broker:
        frozen = start()
        workers = [frozen]
        try:
            with anyio.fail_after(DEADLINE):
                await Queue("notes", broker).enqueue(Note(1))
                assert await said(frozen) == b"has it 0\n"
                os.kill(frozen.pid, signal.SIGSTOP)
                workers.append(start())
                # Handed to the frozen one's read first, it would come as its second crash.
                assert await said(workers[1]) == b"has it 1\n"
                while (await broker.stats("notes")).counters.get("done", 0) == 0:  # noqa: ASYNC110 - another process works
                    await anyio.sleep(0.02)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
                if worker.stdout is not None:
                    worker.stdout.close()


async def said(process: subprocess.Popen[bytes]) -> bytes:
    """The next line a process says."""
    stdout = process.stdout
    assert stdout is not None
    return await anyio.to_thread.run_sync(stdout.readline, abandon_on_cancel=True)


async def test_a_job_whose_end_needs_memory_keeps_none_whose_end_frees_some(own_server: OwnServers) -> None:
    server = own_server(appendonly=False)
    handlers, gone_on = Handlers(), anyio.Event()

    @handlers.on("notes", Note, concurrency=2, retry=Retry(delays=(0.05,)))
    async def handle(job: Job[Note]) -> None:
        if job.payload.n >= 0:
            await gone_on.wait()  # the failing ones are told of first, and alone
        elif job.attempt == 1:
            raise ValueError("once")

    async with RedisBroker.from_url(server.url) as broker, aioredis.Redis.from_url(server.url) as client:
        queue = Queue("notes", broker)
        await queue.enqueue_many([Note(n) for n in (-1, -2, -3, *range(30))])
        await client.config_set("maxmemory", "1mb")
        worker = Worker(broker, handlers, options=WorkerOptions(drain_timeout=0.1))
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as group:
                group.start_soon(worker.run)
                while worker.running("notes") < 2:  # noqa: ASYNC110 - the worker knows
                    await anyio.sleep(0.01)
                assert (await broker.stats("notes")).done == 0
                gone_on.set()
                while (await broker.stats("notes")).done < 30:  # noqa: ASYNC110 - the worker knows
                    await anyio.sleep(0.01)
                await client.config_set("maxmemory", "0")
                while (await broker.stats("notes")).done < 33:  # noqa: ASYNC110 - the worker knows
                    await anyio.sleep(0.01)
                worker.stop()
        counters = (await broker.stats("notes")).counters
    assert counters["retried"] == 3
    assert "dead" not in counters


async def test_a_worker_that_is_told_to_stop_does_not_wait_for_a_broker_that_is_gone(
    own_server: OwnServers,
) -> None:
    server = own_server(appendonly=False)
    handlers, started = Handlers(), anyio.Event()

    @handlers.on("notes", Note)
    async def handle(job: Job[Note]) -> None:
        started.set()
        await anyio.sleep_forever()

    async with RedisBroker.from_url(server.url) as broker:
        await Queue("notes", broker).enqueue(Note(1))
        worker = Worker(broker, handlers, options=WorkerOptions(drain_timeout=1000))
        results = []
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as group:

                async def run() -> None:
                    results.append(await worker.run(handle_signals=False))

                group.start_soon(run)
                await started.wait()
                server.kill(restart=False)
                worker.stop()
                worker.stop()
    assert [result.handed_back for result in results] == [1]


async def test_a_worker_takes_back_what_its_own_name_left_and_not_what_another_has(server_url: str) -> None:
    handlers, runs, both = Handlers(), [], anyio.Event()

    @handlers.on("notes", Note)
    async def handle(job: Job[Note]) -> None:
        runs.append((job.payload.n, job.crashes))
        await both.wait()

    async with RedisBroker.from_url(server_url) as broker, anyio.create_task_group() as group:
        other = Worker(broker, handlers, name="a~b")
        group.start_soon(other.run)
        await Queue("notes", broker).enqueue(Note(1))
        with anyio.fail_after(DEADLINE):
            while not runs:  # noqa: ASYNC110 - the worker knows
                await anyio.sleep(0.01)
            worker = Worker(broker, handlers, name="a")
            group.start_soon(worker.run)
            await Queue("notes", broker).enqueue(Note(2))
            while len(runs) < 2:  # noqa: ASYNC110 - the workers know
                await anyio.sleep(0.01)
            both.set()
            while (await broker.stats("notes")).done < 2:  # noqa: ASYNC110 - the workers know
                await anyio.sleep(0.01)
        other.stop()
        worker.stop()
    assert runs == [(1, 0), (2, 0)]
