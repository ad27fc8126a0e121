"""The closer: what was held is told when its time has come, and a burst does not end before that."""

from __future__ import annotations

import anyio

from sentinel.closer import Closer
from sentinel.events import AlertRecorded, Event
from sentinel.jobs import ALERTS_DISPATCH
from sentinel.model import Digest
from sentinel.relay import Relay
from sentinel.store import Store
from streamq.clock import ManualClock
from streamq.testing.memory import MemoryBroker
from tests.sentinel.conftest import both_databases
from tests.sentinel.store.test_alerting import NOON, at, change, digests, load

END = at("2026-01-10 13:00")


@both_databases
async def test_a_window_that_closes_is_told_within_a_second_or_two(store: Store) -> None:
    clock = ManualClock(NOON)
    broker = MemoryBroker(clock)
    closer = Closer(store, Relay(store, broker, clock), clock)
    await load(store, digest=Digest(every=3600))
    await change(store)
    assert await closer.close(clock.time()) == 0
    async with anyio.create_task_group() as group:
        group.start_soon(closer.run)
        clock.advance(END - NOON)
        with anyio.fail_after(60):
            while not await digests(store):  # noqa: ASYNC110 - nobody calls us
                await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    assert closer.caught_up or await closer.close(clock.time()) == 0


@both_databases
async def test_a_burst_closes_what_is_due_and_ends(store: Store) -> None:
    clock = ManualClock(NOON)
    broker = MemoryBroker(clock)
    relay = Relay(store, broker, clock)
    told: list[Event] = []
    closer = Closer(store, relay, clock, observer=told.append)
    await load(store, digest=Digest(every=3600))
    await change(store)
    clock.advance(END - NOON)
    with anyio.fail_after(60):
        await closer.run(once=True)
    assert closer.caught_up
    await relay.flush()
    (stats,) = [await broker.stats(ALERTS_DISPATCH)]
    assert sum(stats.ready.values()) == 1
    (digest,) = await digests(store)
    assert told == [AlertRecorded(digest.id, digest.severity, "queued")], "counted like any other alert"
