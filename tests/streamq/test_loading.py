"""A server that is still reading its data: workers and producers wait for it, and nothing is lost or done twice."""

from __future__ import annotations

import anyio
import anyio.to_thread
import msgspec
import pytest
import redis

from sentinel.embedded import EmbeddedRedis
from streamq import Handlers, Job, Queue, RedisBroker, SyncQueue, Worker, WorkerOptions
from streamq.events import BrokerTrouble, Event, JobEnded
from tests.support.servers import OwnServers

#: Seconds anything here may take.
PATIENCE = 20.0
#: Keys that the server takes so many microseconds each to read, and bytes between two looks at who asks.
KEYS, DELAY, LOOK = 1500, 600, 4096


class Note(msgspec.Struct, frozen=True):
    n: int


@pytest.fixture
def slow_to_load(own_server: OwnServers) -> EmbeddedRedis:
    server = own_server(
        appendonly=False,
        config={"key-load-delay": str(DELAY), "loading-process-events-interval-bytes": str(LOOK)},
    )
    with redis.Redis.from_url(server.url) as client:
        client.mset({f"foreign:{n}": "x" * 100 for n in range(KEYS)})
    return server


async def loads(server: EmbeddedRedis) -> None:
    """Return when somebody was answered that it does."""
    with redis.Redis.from_url(server.url) as client, anyio.fail_after(PATIENCE):
        while True:
            try:
                assert not client.ping(), "it has loaded already"
            except redis.BusyLoadingError:
                return
            except redis.ConnectionError:
                await anyio.sleep(0.005)


async def test_a_worker_and_producers_ride_through_it(slow_to_load: EmbeddedRedis) -> None:
    """One job is in hand all the while, two are added while the server says LOADING."""
    server, ended, trouble = slow_to_load, list[tuple[str, str]](), list[str]()
    go = anyio.Event()

    def observe(event: Event) -> None:
        match event:
            case JobEnded():
                ended.append((event.job_id, event.outcome))
            case BrokerTrouble():
                trouble.append(event.detail)

    handlers = Handlers()

    @handlers.on("notes", Note)
    async def handler(job: Job[Note]) -> None:
        if job.payload.n == 0:
            await go.wait()

    async def until(count: int) -> None:
        while len(ended) < count:  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.005)

    options = WorkerOptions(lease=5.0, renew=0.05)
    async with RedisBroker.from_url(server.url) as broker, RedisBroker.from_url(server.url) as others:
        queue = Queue("notes", broker)
        worker = Worker(broker, handlers, options=options, observers=[observe])
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: worker.run(handle_signals=False))
                await queue.enqueue(Note(0), job_id="held")
                await queue.enqueue(Note(1), job_id="before")
                await until(1)
                with redis.Redis.from_url(server.url) as client:
                    client.save()
                server.kill()
                await loads(server)
                group.start_soon(lambda: queue.enqueue(Note(2), job_id="async"))
                blocking = SyncQueue("notes", others)
                receipt = await anyio.to_thread.run_sync(lambda: blocking.enqueue(Note(3), job_id="sync"))
                assert receipt.created
                await until(3)
                go.set()
                await until(4)
                worker.stop()
            stats = await broker.stats("notes")
    assert sorted(ended) == [(name, "done") for name in ("async", "before", "held", "sync")]
    assert any("loading the dataset" in words for words in trouble), trouble
    assert (stats.leased, sum(stats.ready.values()), stats.dead) == (0, 0, 0)
