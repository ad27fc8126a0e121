"""The relay: what committed rows call for reaches the streams once, whoever dies or is away on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import pytest

from sentinel import relay as relay_module
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN, RunRule
from sentinel.relay import Relay
from sentinel.store import NewOutboxJob, Store, database
from sentinel.store.outbox import RELAY_LEASE, add_jobs
from streamq import BrokerUnavailable, RedisBroker
from streamq.broker import Done
from streamq.clock import ManualClock
from streamq.testing.memory import MemoryBroker
from tests.sentinel.conftest import both_databases
from tests.sentinel.store.things import NOW, load
from tests.support.servers import OwnServers

#: Seconds anything here may take.
DEADLINE = 60.0
TREE = Path(__file__).resolve().parents[2]


def a_job(job_id: str, **options: object) -> NewOutboxJob:
    payload = RunRule(rule_id="widget", trigger="schedule", requested_at="2026-01-31T12:00:00Z")
    return NewOutboxJob(**{"stream": RULES_RUN, "job_id": job_id, "payload": payload, **options})  # type: ignore[arg-type] - a test's options


async def commit(store: Store, *jobs: NewOutboxJob) -> None:
    """Rows as a check or a scheduler writes them."""
    async with store._database.writing() as connection:
        await add_jobs(store._database, connection, "acme", jobs, NOW)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - nobody calls us
            await anyio.sleep(0.01)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture(autouse=True)
async def _workspace(store: Store) -> None:
    await load(store)


# --- what arrives -------------------------------------------------------------------------------


async def test_a_row_becomes_the_job_it_describes(store: Store, clock: ManualClock, server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        now = 4_000_000_000.0  # what is due then is delayed by any clock
        await commit(
            store,
            a_job("urgent", lane="high", unique="k", unique_for=300.0),
            a_job("later", available_at=now),
            a_job("mail", stream=ALERTS_DISPATCH),
        )

        assert await Relay(store, broker, clock).flush() == 3

        (lease,) = (await broker.turn(RULES_RUN, "w", sequence=1, free=5)).leases
        assert (lease.envelope.id, lease.envelope.lane) == ("urgent", "high")
        assert RunRule(rule_id="widget", trigger="schedule", requested_at="2026-01-31T12:00:00Z") == (
            msgspec.json.decode(lease.envelope.payload, type=RunRule)
        )
        ((later, due),) = [(one.id, at) for one, at in await broker.delayed(RULES_RUN, limit=5)]
        assert (later, due) == ("later", now)
        assert sum((await broker.stats(ALERTS_DISPATCH)).ready.values()) == 1
    assert (await store.counts(NOW)).outbox == 0


async def test_nothing_to_send_is_nothing_sent(store: Store, clock: ManualClock) -> None:
    assert await Relay(store, MemoryBroker(clock), clock).flush() == 0


# --- once ---------------------------------------------------------------------------------------


@both_databases
async def test_however_many_relays_run_every_row_becomes_one_job(
    store: Store, other: Store, clock: ManualClock, valkey_url: str
) -> None:
    names = [f"job-{number}" for number in range(500)]
    await commit(store, *(a_job(name) for name in names))
    async with RedisBroker.from_url(valkey_url) as broker:

        async def drain(through: Store) -> None:
            while await Relay(through, broker, clock).flush():
                pass

        async with anyio.create_task_group() as group:
            for through in (store, other, store, other):
                group.start_soon(drain, through)
        await drain(store)

        leases = (await broker.turn(RULES_RUN, "w", sequence=1, free=1000)).leases
    assert Counter(lease.envelope.id for lease in leases) == dict.fromkeys(names, 1)
    assert (await store.counts(NOW)).outbox == 0


KILLED = """
import asyncio, sys
from sentinel.relay import Relay
from sentinel.store import Store
from streamq import RedisBroker
from streamq.clock import ManualClock

async def main():
    async with Store.open(sys.argv[1]) as store, RedisBroker.from_url(sys.argv[2]) as broker:
        async def never(ids):
            print("enqueued", flush=True)
            await asyncio.sleep(600)
        store.mark_sent = never
        await Relay(store, broker, ManualClock(float(sys.argv[3]))).flush()

asyncio.run(main())
"""


@both_databases
async def test_a_relay_killed_between_redis_and_its_mark_doubles_nothing(
    store: Store, clock: ManualClock, database_url: str, valkey_url: str
) -> None:
    await commit(store, a_job("one"))
    process = subprocess.Popen(  # noqa: ASYNC220 - a start and a line, both short
        [sys.executable, "-c", KILLED, database_url, valkey_url, str(NOW)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(TREE)},
    )
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"enqueued\n"
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, DEADLINE)
    finally:
        process.kill()
        process.communicate()
    async with RedisBroker.from_url(valkey_url) as broker:
        (lease,) = (await broker.turn(RULES_RUN, "w", sequence=1, free=9)).leases
        await broker.turn(RULES_RUN, "w", sequence=2, finished=[Done(lease, 0.1)])
        relay = Relay(store, broker, clock)
        assert await relay.flush() == 0, "the dead relay's lease holds"

        clock.advance(RELAY_LEASE)
        assert await relay.flush() == 1

        stats = await broker.stats(RULES_RUN)
        assert (sum(stats.ready.values()), stats.leased, stats.done) == (0, 0, 1)
    assert (await store.counts(NOW)).outbox == 0


# --- what is away -------------------------------------------------------------------------------


async def test_while_redis_is_away_rows_wait_and_go_out_as_soon_as_it_is_back(
    store: Store, clock: ManualClock, own_server: OwnServers
) -> None:
    server = own_server()
    async with RedisBroker.from_url(server.url) as broker:
        await broker.ping()
        relay = Relay(store, broker, clock)
        server.kill(restart=False)
        await commit(store, a_job("one"))
        with pytest.raises(BrokerUnavailable):
            await relay.flush()
        assert (await store.counts(NOW)).outbox == 1

        server.start()
        server.wait_until_answering()
        assert await relay.flush() == 1, "not only when the lease of the failed try ends"
        assert sum((await broker.stats(RULES_RUN)).ready.values()) == 1


class Moody(MemoryBroker):
    """A broker that can be away."""

    away = False

    async def enqueue(self, stream: str, *args: object, **options: object) -> list[object]:  # type: ignore[override] - passed on
        if self.away:
            raise BrokerUnavailable("gone fishing")
        return await super().enqueue(stream, *args, **options)  # type: ignore[arg-type, return-value] - as above


async def test_a_running_relay_survives_an_absence_of_redis(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_module, "LOOK_EVERY", 0.05)
    broker = Moody(clock)
    broker.away = True
    relay = Relay(store, broker, clock)
    await commit(store, a_job("one"))
    async with anyio.create_task_group() as beside:
        beside.start_soon(relay.run)

        async def troubled() -> bool:
            return "relay_trouble" in caplog.text

        await eventually(troubled)
        broker.away = False

        async def arrived() -> bool:
            return sum((await broker.stats(RULES_RUN)).ready.values()) == 1

        await eventually(arrived)
        beside.cancel_scope.cancel()


async def test_a_running_relay_survives_a_database_that_is_away(
    store: Store,
    clock: ManualClock,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import sqlite3

    monkeypatch.setattr(database, "LOCK_WAIT", 0.1)
    monkeypatch.setattr(relay_module, "LOOK_EVERY", 0.05)
    broker = MemoryBroker(clock)
    await commit(store, a_job("one"))
    async with Store.open(database_url) as impatient, anyio.create_task_group() as beside:
        writer = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        beside.start_soon(Relay(impatient, broker, clock).run)

        async def troubled() -> bool:
            return "relay_trouble" in caplog.text

        await eventually(troubled)
        writer.rollback()
        writer.close()

        async def arrived() -> bool:
            return sum((await broker.stats(RULES_RUN)).ready.values()) == 1

        await eventually(arrived)
        beside.cancel_scope.cancel()


async def test_a_relay_that_is_stopped_half_way_leaves_its_rows_to_the_next_at_once(
    store: Store, clock: ManualClock
) -> None:
    reached = anyio.Event()

    class Slow(MemoryBroker):
        async def enqueue(self, *args: object, **options: object) -> list[object]:  # type: ignore[override] - never returns
            reached.set()
            await anyio.sleep_forever()
            return []

    await commit(store, a_job("one"))
    async with anyio.create_task_group() as beside:
        beside.start_soon(Relay(store, Slow(clock), clock).flush)
        await reached.wait()
        beside.cancel_scope.cancel()

    broker = MemoryBroker(clock)
    assert await Relay(store, broker, clock).flush() == 1


# --- how much and when --------------------------------------------------------------------------


async def test_a_backlog_goes_out_batch_after_batch_without_a_pause(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "BATCH", 10)
    monkeypatch.setattr(relay_module, "LOOK_EVERY", 3600.0)
    broker = MemoryBroker(clock)
    await commit(store, *(a_job(f"job-{number}") for number in range(35)))
    async with anyio.create_task_group() as beside:
        beside.start_soon(Relay(store, broker, clock).run)

        async def arrived() -> bool:
            return sum((await broker.stats(RULES_RUN)).ready.values()) == 35

        await eventually(arrived)
        beside.cancel_scope.cancel()


async def test_a_knock_during_a_flush_is_heard(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "LOOK_EVERY", 3600.0)
    broker = MemoryBroker(clock)
    relay = Relay(store, broker, clock)
    mark_sent = store.mark_sent

    async def meanwhile(ids: list[int]) -> None:
        monkeypatch.setattr(store, "mark_sent", mark_sent)
        await commit(store, a_job("two"))
        relay.poke()
        await mark_sent(ids)

    monkeypatch.setattr(store, "mark_sent", meanwhile)
    await commit(store, a_job("one"))
    async with anyio.create_task_group() as beside:
        beside.start_soon(relay.run)

        async def arrived() -> bool:
            return sum((await broker.stats(RULES_RUN)).ready.values()) == 2

        await eventually(arrived)
        beside.cancel_scope.cancel()


async def test_a_row_that_can_be_no_job_is_told_and_holds_up_nobody(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    broker = MemoryBroker(clock)
    await commit(store, a_job("x" * 2000), a_job("good"), a_job("odd", unique="k", unique_for=-1.0))

    await Relay(store, broker, clock).flush()

    (lease,) = (await broker.turn(RULES_RUN, "w", sequence=1, free=9)).leases
    assert lease.envelope.id == "good"
    assert (await store.counts(NOW)).outbox == 0, "or a burst would wait for it for ever"
    assert caplog.text.count("outbox_row_refused") == 2
