"""Workers fire ticks: sleeping ones at the moment, quiet ones too, and many processes each tick once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis.asyncio as aioredis

from streamq import BrokerUnavailable, Every, Handlers, Job, Recurring, RedisBroker, Worker, WorkerOptions
from streamq.broker import Broker, Renewal, Schedules
from streamq.clock import SystemClock
from streamq.events import Event, TickFired
from streamq.schedules import tick_words
from streamq.testing import MemoryBroker
from tests.support.servers import OwnServers

#: Seconds anything here may take.
DEADLINE = 60.0
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
#: No heartbeat while a test runs.
SILENT = WorkerOptions(lease=1000.0, renew=500.0)
LIVELY = WorkerOptions(lease=5.0, renew=0.05)


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[None]:
    """Until its streams are idle, and then beside what follows."""

    async def work() -> None:
        await worker.run(handle_signals=False)

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await until(lambda: all(consumer.idle for consumer in worker.consumers))
            yield
            worker.stop()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells
        await anyio.sleep(0.005)


async def in_a_moment(broker: Broker, stream: str, seconds: float) -> float:
    """So many seconds from now by the broker's clock, in seconds since the epoch."""
    return (await broker.schedules(stream)).server_ms / 1000 + seconds


async def test_a_sleeping_worker_is_woken_for_a_tick_that_is_added_and_fires_every_one_after(
    server_url: str, handlers: Handlers
) -> None:
    ran: list[str] = []
    told: list[TickFired] = []

    @handlers.on("beats", dict)
    async def beat(job: Job[dict[str, Any]]) -> None:
        ran.append(job.headers["streamq-tick"])

    def observe(event: Event) -> None:
        if isinstance(event, TickFired):
            told.append(event)

    async with RedisBroker.from_url(server_url) as broker:
        worker = Worker(broker, handlers, options=SILENT, observers=[observe])
        async with working(worker):
            start = await in_a_moment(broker, "beats", 0.2)
            await Recurring("beats", broker).add("beat", Every(1), {}, start=start, max_runs=3)
            await until(lambda: len(ran) == 3)
    first = round(start * 1000)
    assert ran == [tick_words(first + n * 1000) for n in range(3)]
    assert [event.schedule_id for event in told] == ["beat"] * 3
    assert all(event.lateness >= 0 for event in told)
    print(f"\n3 ticks, one sleeping worker: late {[round(1000 * event.lateness, 1) for event in told]} ms")


async def test_a_worker_that_takes_nothing_learns_of_a_tick_from_its_heartbeat(
    server_url: str, handlers: Handlers
) -> None:
    fired = anyio.Event()

    @handlers.on("beats", dict)
    async def beat(_: Job[dict[str, Any]]) -> None:
        pass

    async with RedisBroker.from_url(server_url) as broker:
        worker = Worker(
            broker, handlers, options=LIVELY, observers=[lambda e: isinstance(e, TickFired) and fired.set()]
        )
        worker.quiet()
        async with working(worker):
            start = await in_a_moment(broker, "beats", 0.2)
            await Recurring("beats", broker).add("beat", Every(1), {}, start=start, max_runs=1)
            await fired.wait()
        assert (await broker.stats("beats")).ready["normal"] == 1


async def test_a_tick_that_came_while_the_stream_was_paused_is_fired_when_it_is_resumed(
    server_url: str, handlers: Handlers
) -> None:
    ran = anyio.Event()

    @handlers.on("beats", dict)
    async def beat(_: Job[dict[str, Any]]) -> None:
        ran.set()

    async with RedisBroker.from_url(server_url) as broker, working(Worker(broker, handlers, options=SILENT)):
        await broker.set_paused("beats", paused=True)
        start = await in_a_moment(broker, "beats", 0.05)
        await Recurring("beats", broker).add("beat", Every(1), {}, start=start, max_runs=1)
        while (await broker.schedules("beats")).next_due != 0:  # noqa: ASYNC110 - the server's clock
            await anyio.sleep(0.01)
        assert not ran.is_set()
        await broker.set_paused("beats", paused=False)
        await ran.wait()


async def test_what_the_code_declares_is_there_again_after_a_flush(
    server_url: str, handlers: Handlers
) -> None:
    @handlers.on("beats", dict)
    async def beat(_: Job[dict[str, Any]]) -> None:
        pass

    handlers.recur("beats", "yearly", Every(366 * 86400), {})
    handlers.no_longer("beats", "old")
    async with RedisBroker.from_url(server_url) as broker, aioredis.Redis.from_url(server_url) as client:
        recurring = Recurring("beats", broker)
        await recurring.add("old", Every(60), {})
        async with working(Worker(broker, handlers, options=LIVELY)):
            assert [one.schedule.id for one in await recurring.list()] == ["yearly"]
            await client.flushdb()
            while not await recurring.list():  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)


class CountingBroker(MemoryBroker):
    """Counts what a worker asks, and is away when told to."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.asked: Counter[str] = Counter()
        self.away = 0

    async def due_schedules(self, stream: str, *, limit: int = 100) -> Schedules:
        self.asked["due"] += 1
        if self.away:
            self.away -= 1
            raise BrokerUnavailable
        return await super().due_schedules(stream, limit=limit)

    async def schedules(self, stream: str, *, schedule_ids: Sequence[str] = ()) -> Schedules:
        self.asked["read"] += 1
        return await super().schedules(stream, schedule_ids=schedule_ids)

    def renew(self, *args: Any, **options: Any) -> Renewal:
        self.asked["beats"] += 1
        return super().renew(*args, **options)


async def test_between_two_ticks_nothing_is_asked(handlers: Handlers) -> None:
    @handlers.on("beats", dict)
    async def beat(_: Job[dict[str, Any]]) -> None:
        pass

    handlers.recur("beats", "yearly", Every(366 * 86400), {})
    broker = CountingBroker()
    async with working(Worker(broker, handlers, options=LIVELY)):
        before = broker.asked.copy()
        await until(lambda: broker.asked["beats"] >= before["beats"] + 10)
        assert {name: broker.asked[name] - before[name] for name in ("due", "read")} == {"due": 0, "read": 0}


async def test_a_broker_that_is_away_at_the_moment_is_asked_again(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamq.ticker.RECONNECT", (0.0, 0.01))
    ran = anyio.Event()

    @handlers.on("beats", dict)
    async def beat(_: Job[dict[str, Any]]) -> None:
        ran.set()

    broker = CountingBroker()
    broker.away = 3  # at its start, and after it
    await Recurring("beats", broker).add("beat", Every(1), {}, start=SystemClock().time() + 0.01)
    async with working(Worker(broker, handlers, options=SILENT)):
        await ran.wait()


async def test_who_stops_fires_no_more(handlers: Handlers) -> None:
    @handlers.on("beats", dict)
    async def beat(_: Job[dict[str, Any]]) -> None:
        pass

    broker = CountingBroker()
    worker = Worker(broker, handlers, options=SILENT)
    async with working(worker):
        pass
    await Recurring("beats", broker).add("beat", Every(1), {}, start=1.0)
    assert worker._ticker is not None
    await worker._ticker.begin()
    assert (await broker.stats("beats")).ready["normal"] == 0


# --- many processes, which are killed, on a Redis that is killed ---------------------------------------------

WORKER = """
import asyncio, sys
from streamq import Every, Handlers, Retention, RedisBroker, Worker, WorkerOptions

handlers = Handlers()

@handlers.on("beats", dict, concurrency=2, crash_budget=1000)
async def beat(job):
    await asyncio.sleep(0.05)

for name in ("a", "b", "c"):
    handlers.recur("beats", name, Every(1), {}, catch_up="every", jitter=0.5 if name == "c" else 0)

async def main():
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers, options=WorkerOptions(lease=1.0, renew=0.3)).run()

asyncio.run(main())
"""


async def ended(broker: RedisBroker) -> list[str]:
    try:
        return [record.job_id for record in await broker.done("beats", limit=1000)]
    except BrokerUnavailable:
        return []


async def until_ended(broker: RedisBroker, jobs: int) -> None:
    with anyio.fail_after(DEADLINE):
        while len(await ended(broker)) < jobs:  # noqa: ASYNC110 - other processes work
            await anyio.sleep(0.02)


async def until_so(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - other processes work
            await anyio.sleep(0.02)


async def every_tick_once(own_server: OwnServers, folder: Path, *, rounds: int) -> str:
    """Four workers; in each round one is killed, then Redis; every tick of three schedules has one job."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    server = own_server(appendonly=True)
    names = ("a", "b", "c")

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(script), server.url], env=ENVIRONMENT)

    workers = [start() for _ in range(4)]
    try:
        async with RedisBroker.from_url(server.url) as broker:
            for jobs_before in range(0, 9 * rounds, 9):
                await until_ended(broker, jobs_before + 3)
                victim = workers.pop(0)
                os.kill(victim.pid, signal.SIGKILL)
                victim.wait()
                workers.append(start())
                await until_ended(broker, jobs_before + 6)
                server.kill(restart=False)
                server.start()
                await until_ended(broker, jobs_before + 9)
            for name in names:
                await Recurring("beats", broker).pause(name)

            async def is_quiet() -> bool:
                stats = await broker.stats("beats")
                return stats.leased + stats.ready["normal"] + stats.delayed == 0

            await until_so(is_quiet)
            jobs, dead = await ended(broker), await broker.dead("beats")
            seen = await Recurring("beats", broker).list()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert dead == []
    for one in seen:
        name = one.schedule.id
        assert one.last_tick is not None
        last = round(one.last_tick * 1000)
        grid = [f"{name}@{tick_words(last - n * 1000)}" for n in range(one.runs)]
        assert sorted(job for job in jobs if job.startswith(f"{name}@")) == sorted(grid)
    return (
        f"{len(jobs)} ticks of {len(names)} schedules, 4 workers, {rounds} SIGKILLs of a worker and of Redis"
    )


async def test_four_workers_of_which_one_is_killed_and_a_redis_that_is_killed_fire_every_tick_once(
    own_server: OwnServers, tmp_path: Path
) -> None:
    print(f"\n{await every_tick_once(own_server, tmp_path, rounds=1)}: each has one job")


@pytest.mark.soak
async def test_killed_again_and_again_they_fire_every_tick_once(
    own_server: OwnServers, tmp_path: Path
) -> None:
    print(f"\n{await every_tick_once(own_server, tmp_path, rounds=12)}: each has one job")
