"""Mending what Redis lost, and removing what is old: on a clock of its own, and beside trouble."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from sentinel.model import Rule
from sentinel.relay import Relay
from sentinel.store import Ages, Store
from sentinel.upkeep import RESTORE_WITHIN, Pace, Upkeep
from streamq import StreamqError
from streamq.broker import Done
from streamq.clock import ManualClock
from streamq.testing import MemoryBroker
from tests.sentinel.store.things import HOUR, NOW, a_rule, a_verdict, an_alert, begin, finish, load

DAY = 86400.0


def yearly(_: Rule, now: float) -> float:
    return now + 366 * DAY


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    return MemoryBroker(clock)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/sentinel.db") as opened:
        await opened.migrate()
        yield opened


@pytest.fixture
async def upkeep(store: Store, broker: MemoryBroker, clock: ManualClock) -> Upkeep:
    """Of a store with a tick that waits, a check under way and an alert to deliver, all of it in Redis."""
    await load(store, a_rule(), a_rule("gadget"), a_rule("waits"))
    await store.claim_due(NOW, limit=3, next_due=yearly)
    await finish(store, await begin(store), a_verdict(an_alert()))
    await begin(store, "under-way", rule_id="gadget")
    await Relay(store, broker, clock).flush()
    return Upkeep(store, broker, clock)


async def ready(broker: MemoryBroker) -> dict[str, int]:
    return {
        stream: sum((await broker.stats(stream)).ready.values()) for stream in (RULES_RUN, ALERTS_DISPATCH)
    }


async def test_what_a_flush_took_is_given_again_after_two_minutes_once(
    upkeep: Upkeep, broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.flush()
    clock.advance(119)
    assert await upkeep.restore() == 0
    clock.advance(3)
    assert await upkeep.restore() == 4
    assert await upkeep.restore() == 0
    assert await ready(broker) == {RULES_RUN: 2, ALERTS_DISPATCH: 2}


async def test_a_restored_job_is_the_one_it_was(
    upkeep: Upkeep, store: Store, broker: MemoryBroker, clock: ManualClock
) -> None:
    taken = await broker.turn(ALERTS_DISPATCH, "w", sequence=1, free=2)
    broker.flush()
    clock.advance(122)
    await upkeep.restore()
    again = await broker.turn(ALERTS_DISPATCH, "w", sequence=1, free=2)
    before, after = (
        {lease.envelope.id: (lease.envelope.payload, lease.envelope.lane) for lease in turn.leases}
        for turn in (taken, again)
    )
    assert before == after
    assert min(lease.fence for lease in again.leases) > max(lease.fence for lease in taken.leases)


async def test_a_job_that_waits_is_never_doubled_not_even_when_its_id_is_forgotten(
    upkeep: Upkeep, broker: MemoryBroker, clock: ManualClock
) -> None:
    before = await ready(broker)
    for _ in range(3 * 24 * 2):
        clock.advance(HOUR / 2)
        assert await upkeep.restore() == 0
    assert await ready(broker) == before


async def test_work_that_was_called_for_long_ago_is_left_alone(
    upkeep: Upkeep, broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.flush()
    clock.advance(RESTORE_WITHIN + 2)
    assert await upkeep.restore() == 0


async def test_what_others_give_redis_meanwhile_is_not_given_twice(
    upkeep: Upkeep, store: Store, broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.flush()
    clock.advance(122)
    together = [upkeep, Upkeep(store, broker, clock)]
    restored: list[int] = []

    async def restore(one: Upkeep) -> None:
        restored.append(await one.restore())

    async with anyio.create_task_group() as group:
        for one in together:
            group.start_soon(restore, one)
    assert sum(restored) == 4


async def test_a_job_that_has_ended_is_not_given_again(
    upkeep: Upkeep, broker: MemoryBroker, clock: ManualClock
) -> None:
    # A dispatch whose end the database does not know: only a person may repeat that.
    (lease,) = (await broker.turn(ALERTS_DISPATCH, "w", sequence=1, free=1)).leases
    await broker.turn(ALERTS_DISPATCH, "w", sequence=2, finished=[Done(lease)])
    clock.advance(HOUR)
    assert await upkeep.restore() == 0


async def test_a_run_whose_job_does_not_come_back_is_ended_and_what_is_old_goes(
    upkeep: Upkeep, store: Store, broker: MemoryBroker, clock: ManualClock
) -> None:
    await upkeep.prune()
    assert (await store.run_of("under-way")).status == "running"
    clock.advance(6 * HOUR + 1)
    keen = Upkeep(store, broker, clock, ages=Ages(observations=HOUR, runs=HOUR))
    await keen.prune()
    assert [run.job_id for run in await store.runs("gadget")] == []
    assert await store.history("widget") == []


class Refusing(MemoryBroker):
    """Takes nothing, with an error of its own kind each time."""

    def __init__(self, clock: ManualClock, errors: list[Exception]) -> None:
        super().__init__(clock)
        self.errors = errors

    async def enqueue(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
        raise self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]


async def test_trouble_is_logged_and_survived(
    upkeep: Upkeep, store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.advance(122)
    errors: list[Exception] = [StreamqError("a surprise"), KeyError("a bug")]
    broker = Refusing(clock, errors)
    pace = Pace(restore_after=120, restore_every=0.01)
    told: list[str] = []
    with caplog.at_level(logging.WARNING, "sentinel.upkeep"):
        async with anyio.create_task_group() as group:
            group.start_soon(Upkeep(store, broker, clock, pace=pace).run)
            with anyio.fail_after(60):
                while len(told) < 3:
                    await anyio.sleep(0.01)
                    told = [record.message for record in caplog.records]
            group.cancel_scope.cancel()
    assert set(told) == {"upkeep_failed"}


async def test_a_database_that_is_away_is_logged_in_a_line_and_survived(
    clock: ManualClock, broker: MemoryBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    async with Store.open(f"sqlite:///{tmp_path}/no/such/folder.db") as away:
        upkeep = Upkeep(away, broker, clock, pace=Pace(restore_every=0.01, prune_every=0.01))
        async with anyio.create_task_group() as group:
            group.start_soon(upkeep.run)
            with anyio.fail_after(60):
                while len(told) < 3:
                    await anyio.sleep(0.01)
                    told = [record.message for record in caplog.records if record.name == "sentinel.upkeep"]
            group.cancel_scope.cancel()
    assert set(told) == {"upkeep_trouble"}


async def test_who_does_not_lead_leaves_it_to_who_does(
    upkeep: Upkeep, store: Store, broker: MemoryBroker, clock: ManualClock
) -> None:
    broker.flush()
    clock.advance(122)
    asked = 0

    def leads() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    follower = Upkeep(store, broker, clock, pace=Pace(restore_after=120, restore_every=0.01), leads=leads)
    async with anyio.create_task_group() as group:
        group.start_soon(follower.run)
        with anyio.fail_after(60):
            while not (await ready(broker))[RULES_RUN]:  # noqa: ASYNC110 - nothing tells of it
                await anyio.sleep(0.005)
        group.cancel_scope.cancel()
    assert asked == 4
