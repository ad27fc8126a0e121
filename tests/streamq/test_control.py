"""Control of workers that run: cancelled, told to run more or fewer jobs, kept quiet, asked where they stand."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import msgspec
import pytest
import redis.asyncio as aioredis

from streamq import Handlers, Job, Queue, RedisBroker, Snooze, Worker, WorkerOptions
from streamq.admin import Admin, WorkerView
from streamq.broker import Cancel, Order, Turn
from streamq.events import Event, JobEnded
from tests.streamq.rig import PATIENCE, Rig, eventually, job
from tests.support.servers import OwnServers

#: Heartbeats come often, so that nobody waits for one.
OPTIONS = WorkerOptions(lease=30.0, renew=0.1)


class Note(msgspec.Struct, frozen=True):
    n: int


class Shop:
    """A worker on a real server, its handler, and what came of its jobs."""

    def __init__(self, broker: RedisBroker, handler: Callable[[Job[Note]], object], concurrency: int) -> None:
        self.broker = broker
        self.admin = Admin(broker, ["notes"])
        self.queue = Queue("notes", broker)
        self.ended: dict[str, str] = {}
        handlers = Handlers()
        handlers.on("notes", Note, concurrency=concurrency)(handler)
        self.worker = Worker(broker, handlers, options=OPTIONS, observers=[self._observe])
        (self.consumer,) = self.worker.consumers

    def _observe(self, event: Event) -> None:
        if isinstance(event, JobEnded):
            self.ended[event.job_id] = event.outcome

    async def until(self, condition: Callable[[], bool]) -> None:
        async def so() -> bool:
            return condition()

        await eventually(so)

    async def put(self, *numbers: int) -> None:
        for n in numbers:
            await self.queue.enqueue(Note(n), job_id=str(n))


@contextlib.asynccontextmanager
async def open_shop(
    url: str, handler: Callable[[Job[Note]], object], *, concurrency: int = 3
) -> AsyncIterator[Shop]:
    async with RedisBroker.from_url(url) as broker:
        shop = Shop(broker, handler, concurrency)
        async with anyio.create_task_group() as group:
            with anyio.fail_after(5 * PATIENCE):
                group.start_soon(lambda: shop.worker.run(handle_signals=False))
                yield shop
                shop.worker.stop()
                shop.worker.stop()


async def test_a_running_job_that_is_cancelled_stops_at_its_next_await(server_url: str) -> None:
    stopped, answered = anyio.Event(), anyio.Event()

    async def handler(job: Job[Note]) -> None:
        if job.payload.n == 0:
            try:
                await anyio.sleep_forever()
            finally:
                stopped.set()
                with anyio.CancelScope(shield=True):
                    await answered.wait()  # who asks late is told that it has ended, and nobody has it

    async with open_shop(server_url, handler) as shop:
        await shop.put(0)
        await shop.until(lambda: shop.consumer.busy == 1)
        assert (await shop.broker.cancel("notes", "0")).worker == shop.worker.name
        await stopped.wait()
        answered.set()
        await shop.put(1)
        await shop.until(lambda: len(shop.ended) == 2)
        assert shop.ended == {"0": "cancelled", "1": "done"}
        outcomes = {one.job_id: one.outcome for one in await shop.broker.done("notes")}
        assert outcomes == {"0": "cancelled", "1": "done"}
        assert shop.consumer.handed_back == 0


async def test_a_handler_that_does_not_stop_ends_as_cancelled_all_the_same(server_url: str) -> None:
    release = threading.Event()

    def handler(_: Job[Note]) -> None:
        release.wait(PATIENCE)

    async with open_shop(server_url, handler) as shop:
        await shop.put(0)
        await shop.until(lambda: shop.consumer.busy == 1)
        await shop.broker.cancel("notes", "0")
        await shop.until(lambda: bool(shop.ended))
        release.set()
        assert shop.ended == {"0": "cancelled"}


async def test_one_that_snoozes_before_it_hears_does_not_come_again(server_url: str) -> None:
    go = anyio.Event()

    async def handler(_: Job[Note]) -> None:
        with anyio.CancelScope(shield=True):
            await go.wait()
        raise Snooze(0.0)

    async with open_shop(server_url, handler) as shop:
        await shop.put(0)
        await shop.until(lambda: shop.consumer.busy == 1)
        await shop.broker.cancel("notes", "0")
        go.set()
        await shop.until(lambda: bool(shop.ended))
        assert shop.ended == {"0": "cancelled"}
        assert (await shop.broker.stats("notes")).delayed == 0


async def test_cancelled_jobs_in_a_worker_s_way_are_never_started(server_url: str) -> None:
    """Also where they were not found and only their ids are known."""
    seen: list[int] = []

    async def handler(job: Job[Note]) -> None:
        seen.append(job.payload.n)

    async with RedisBroker.from_url(server_url) as broker:
        for n in range(20):
            await Queue("notes", broker).enqueue(Note(n), job_id=str(n))
        for n in range(0, 20, 2):
            assert (await broker.cancel("notes", str(n), look=0)).found == "sought"
    async with open_shop(server_url, handler) as shop:
        await shop.until(lambda: len(shop.ended) == 20)
        assert sorted(seen) == list(range(1, 20, 2))
        assert (await shop.broker.stats("notes")).counters["cancelled"] == 10
    assert seen == sorted(seen)


async def test_more_and_fewer_jobs_at_once_without_a_restart_and_nothing_is_cancelled(
    server_url: str,
) -> None:
    together, most = 0, 0
    hold = anyio.Event()

    async def handler(_: Job[Note]) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await hold.wait()
        together -= 1

    async with open_shop(server_url, handler, concurrency=2) as shop:
        await shop.put(*range(12))
        await shop.until(lambda: together == 2)
        await shop.broker.set_concurrency("notes", 5)  # full of long jobs: its heartbeat tells it
        await shop.until(lambda: together == 5)
        await shop.broker.set_concurrency("notes", 1)
        await shop.until(lambda: shop.consumer.concurrency == 1)
        assert together == 5, "what runs goes on"
        most = 0
        hold.set()
        await shop.until(lambda: len(shop.ended) == 12)
        assert set(shop.ended.values()) == {"done"}
        assert most <= 5
        most = 0
        hold = anyio.Event()
        await shop.put(20, 21, 22)
        await shop.until(lambda: together == 1)
        assert (await shop.broker.stats("notes")).concurrency == 1
        await shop.broker.set_concurrency("notes", None)
        await shop.until(lambda: together == 2)
        hold.set()
        await shop.until(lambda: len(shop.ended) == 15)
        assert most == 2


async def test_a_worker_s_own_number_holds_until_the_broker_asks_for_another(server_url: str) -> None:
    async def handler(_: Job[Note]) -> None:
        pass

    async with open_shop(server_url, handler, concurrency=2) as shop:
        shop.worker.set_concurrency("notes", 7)
        assert shop.consumer.concurrency == 7
        await shop.broker.set_concurrency("notes", 4)
        await shop.until(lambda: shop.consumer.concurrency == 4)
        await shop.broker.set_concurrency("notes", None)
        await shop.until(lambda: shop.consumer.concurrency == 7)


async def test_a_quiet_worker_takes_no_more_until_it_is_told_to(server_url: str) -> None:
    async def handler(_: Job[Note]) -> None:
        pass

    async with open_shop(server_url, handler) as shop:
        worker = await listed(shop)
        assert await shop.admin.order(worker, "quiet", patience=PATIENCE) == "quiet"
        await shop.until(lambda: shop.consumer.quiet)
        await shop.put(0)

        async def seen_quiet() -> bool:
            (view,) = await shop.admin.workers()
            return view.quiet and (await shop.broker.stats("notes")).ready["normal"] == 1

        await eventually(seen_quiet)
        assert "done" not in shop.ended.values(), "a read that slept may have been given it, and gave it back"
        assert "quiet" in await shop.admin.why(await shop.admin.find("0"))
        assert await shop.admin.order(worker, "resume", patience=PATIENCE) == "takes jobs"
        await shop.until(lambda: shop.ended == {"0": "done"})


async def test_jobs_that_come_after_a_worker_was_told_to_be_quiet_are_given_back_unrun(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had asked for them before, and the answer was on its way."""
    asked, go = anyio.Event(), anyio.Event()
    turn = RedisBroker.turn

    async def late(broker: RedisBroker, stream: str, worker: str, **options: Any) -> Turn:
        asked.set()
        await go.wait()
        return await turn(broker, stream, worker, **options)

    async def handler(_: Job[Note]) -> None:
        pass

    monkeypatch.setattr(RedisBroker, "turn", late)
    async with open_shop(server_url, handler) as shop:
        await asked.wait()
        await shop.put(0, 1)
        shop.worker.quiet()
        go.set()
        await shop.until(lambda: len(shop.ended) == 2)
        assert shop.ended == {"0": "released", "1": "released"}
        shop.worker.resume()
        await shop.until(lambda: shop.ended == {"0": "done", "1": "done"})


async def listed(shop: Shop) -> WorkerView:
    """The worker, once it is on the list."""

    async def there() -> bool:
        return bool(await shop.admin.workers())

    await eventually(there)
    (worker,) = await shop.admin.workers()
    return worker


async def test_a_worker_answers_where_its_jobs_stand_and_since_when(server_url: str) -> None:
    hold = anyio.Event()

    async def handler(_: Job[Note]) -> None:
        await hold.wait()

    async with open_shop(server_url, handler) as shop:
        await shop.put(0)
        await shop.until(lambda: shop.consumer.busy == 1)
        answer = await shop.admin.order(await listed(shop), "trace", patience=PATIENCE)
        assert answer is not None
        assert "<Running notes 0 running>" in answer
        assert "await hold.wait()" in answer

        async def told() -> bool:
            (view,) = await shop.admin.workers()
            return [taken.key.split("/")[0] for taken in view.streams["notes"].facts.taken] == ["normal"]

        await eventually(told)
        held = (await shop.admin.find("0")).held_seconds

        async def longer() -> bool:
            seen = await shop.admin.find("0")
            return seen.held_seconds > held + 0.3 > seen.silent_seconds + 0.1

        await eventually(longer)  # renewals do not start it anew
        hold.set()


async def test_a_plain_handler_s_thread_is_told_also_when_its_job_is_past_its_time(server_url: str) -> None:
    hold = threading.Event()

    def handler(_: Job[Note]) -> None:
        hold.wait(PATIENCE)

    async with open_shop(server_url, handler) as shop:
        try:
            await shop.put(0)
            await shop.until(lambda: shop.consumer.busy == 1)
            await shop.queue.enqueue(Note(1), job_id="1", timeout=0.01)
            await shop.until(lambda: "1" in shop.ended)
            answer = await shop.admin.order(await listed(shop), "trace", patience=PATIENCE)
            assert answer is not None
            running, _, past = answer.partition(
                "goes on in its thread, its job has ended: streamq job notes 1"
            )
            assert "<Running notes 0 running>" in running
            assert running.count("hold.wait(PATIENCE)") == past.count("hold.wait(PATIENCE)") == 1
        finally:
            hold.set()


def test_a_worker_whose_loop_is_blocked_tells_what_blocks_it(valkey_url: str) -> None:
    hold, took = threading.Event(), threading.Event()

    def stuck() -> None:
        took.set()
        hold.wait(2 * PATIENCE)

    async def handler(_: Job[Note]) -> None:
        stuck()

    async def work() -> None:
        async with RedisBroker.from_url(valkey_url) as broker:
            await Queue("notes", broker).enqueue(Note(0))
            options = WorkerOptions(lease=30.0, renew=0.1, burst_wait=0)
            handlers = Handlers()
            handlers.on("notes", Note)(handler)
            await Worker(broker, handlers, options=options).run(handle_signals=False)

    async def ask() -> str | None:
        async with RedisBroker.from_url(valkey_url) as broker:
            admin = Admin(broker, ["notes"])
            (view,) = await admin.workers()
            return await admin.order(view, "trace", patience=PATIENCE)

    worker = threading.Thread(target=asyncio.run, args=[work()])
    worker.start()
    try:
        assert took.wait(PATIENCE)
        answer = asyncio.run(ask())
    finally:
        hold.set()
        worker.join(PATIENCE)
    assert answer is not None
    assert "the event loop is at it and does nothing else" in answer
    assert "hold.wait(2 * PATIENCE)" in answer


async def test_a_worker_that_is_gone_does_not_answer(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        broker.renew("notes", "gone", [])
        admin = Admin(broker, ["notes"])
        (worker,) = await admin.workers()
        assert await admin.order(worker, "trace", patience=0.2) is None
        await broker.retire("notes", "gone")
        assert await admin.workers() == []
        assert await admin.order(worker, "trace", patience=PATIENCE) is None, "and nobody waits for it"


async def test_drained_says_what_is_left_and_returns_when_nothing_is(server_url: str) -> None:
    hold = anyio.Event()

    async def handler(_: Job[Note]) -> None:
        await hold.wait()

    async with open_shop(server_url, handler, concurrency=1) as shop:
        await shop.put(0, 1)
        await shop.queue.enqueue(Note(2), delay=60)
        await shop.until(lambda: shop.consumer.busy == 1)
        left = await shop.admin.drained("notes", within=0.05)
        assert (left.leased + left.ready["normal"], left.delayed) == (2, 1)
        hold.set()
        after = await shop.admin.drained("notes")
        assert (after.leased, after.ready["normal"], after.delayed) == (0, 0, 1)


@pytest.mark.parametrize("rate", [None, 20.0])
async def test_dead_letters_are_requeued_in_order_and_not_faster_than_wanted(
    server_url: str, rate: float | None
) -> None:
    seen: list[int] = []

    async def handler(job: Job[Note]) -> None:
        seen.append(job.payload.n)
        if len(seen) <= 10:
            raise ValueError

    async with open_shop(server_url, handler, concurrency=1) as shop:
        await shop.put(*range(10))
        await shop.until(lambda: list(shop.ended.values()) == ["dead"] * 10)
        letters = [letter async for letter in shop.admin.dead_letters("notes")]
        entry_ids = [letter.entry_id for letter in reversed(letters)]
        edited = {entry_ids[3]: b'{"n":33}'}
        start = anyio.current_time()
        made = await shop.admin.requeue("notes", entry_ids, rate=rate, payloads=edited)
        took = anyio.current_time() - start
        assert made.ready == tuple(str(n) for n in range(10))
        await shop.until(lambda: list(shop.ended.values()) == ["done"] * 10)
        assert seen[10:] == [0, 1, 2, 33, 4, 5, 6, 7, 8, 9]
        assert rate is None or took >= 0.39  # the ninth comes 8/20 s after the first; a busy machine is later
        assert await shop.admin.purge("notes", entry_ids) == 0


async def test_a_server_without_memory_can_be_steered(own_server: OwnServers) -> None:
    server = own_server(appendonly=False)
    async with RedisBroker.from_url(server.url) as broker, aioredis.Redis.from_url(server.url) as client:
        rig = Rig(broker, client)
        await rig.put(job(id="running"), job(id="waiting"), job(id="far"), job(id="delayed", delay=60))
        alice = rig.hand()
        lease = await alice.take_one()
        alice.renew(lease)
        await client.config_set("maxmemory", "1mb")
        found = [(await broker.cancel("jobs", one)).found for one in ("running", "waiting", "delayed")]
        assert found == ["running", "waiting", "delayed"]
        assert (await broker.cancel("jobs", "far", look=0)).found == "sought"
        assert await broker.order("jobs", "alice", Order("o1", "quiet"))
        await broker.set_concurrency("jobs", 1)
        renewal = alice.renew(lease)
        assert (renewal.cancelled, renewal.concurrency) == ({lease.key}, 1)
        assert len(renewal.orders) == 1
        turn = await alice.turn(Cancel(lease), free=1)
        assert [(one.envelope.id, one.cancelled) for one in turn.leases] == [("far", True)]
        assert await alice.finish(Cancel(turn.leases[0])) == frozenset()
        assert await rig.places() == {"done": 4}
