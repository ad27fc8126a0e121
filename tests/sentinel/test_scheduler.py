"""The scheduler: every tick once, however many of them run, and none for a rule that is off."""

from __future__ import annotations

import sqlite3
from collections import Counter

import anyio
import pytest

from sentinel import scheduler as scheduler_module
from sentinel.jobs import RULES_RUN
from sentinel.model import Rule, Schedule
from sentinel.relay import Relay
from sentinel.scheduler import Scheduler, due_after
from sentinel.store import Store, database
from streamq.clock import ManualClock
from streamq.testing.memory import MemoryBroker
from tests.sentinel.conftest import both_databases
from tests.sentinel.store.things import HOUR, NOW, a_rule, load

#: Seconds anything here may take.
DEADLINE = 60.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def new_scheduler(store: Store, clock: ManualClock) -> Scheduler:
    return Scheduler(store, Relay(store, MemoryBroker(clock), clock), clock)


async def ticks(store: Store, now: float) -> list[str]:
    """Job ids of the checks that were claimed, those taken before not again."""
    return [row.job_id for row in await store.unsent(10_000, now, lease=10 * HOUR) if row.stream == RULES_RUN]


def minutely(rule_id: str, **fields: object) -> Rule:
    return a_rule(rule_id, schedule=Schedule(interval_seconds=60), **fields)


# --- once ---------------------------------------------------------------------------------------


@both_databases
async def test_however_many_schedulers_run_each_tick_is_one_job(
    store: Store, other: Store, clock: ManualClock
) -> None:
    rules = [f"r{number}" for number in range(40)]
    await load(store, *map(minutely, rules))
    found: list[str] = []
    schedulers = [new_scheduler(through, clock) for through in (store, other, store, other)]
    for _ in range(4):
        async with anyio.create_task_group() as group:
            for one in schedulers:
                group.start_soon(one.tick, clock.time())
        # Who met only locked rows gave up early; its next look is a second away.
        await schedulers[0].tick(clock.time())
        found += await ticks(store, clock.time())
        clock.advance(60)

    assert len(set(found)) == len(found)
    assert Counter(job_id.partition("@")[0] for job_id in found) == dict.fromkeys(rules, 4)


@both_databases
async def test_after_a_night_off_a_rule_is_due_once_and_then_at_its_own_pace(
    store: Store, clock: ManualClock
) -> None:
    await load(store, minutely("r"))
    clock.advance(8 * HOUR)
    scheduler = new_scheduler(store, clock)
    assert [await scheduler.tick(clock.time()) for _ in range(3)] == [1, 0, 0]
    clock.advance(60)
    assert await scheduler.tick(clock.time()) == 1
    assert len(await ticks(store, clock.time())) == 2


async def test_a_cron_rule_is_due_at_its_own_hour_where_it_lives(store: Store, clock: ManualClock) -> None:
    at_eight = Schedule(cron="0 8 * * *", timezone="Europe/Bratislava")
    rule = a_rule("r", schedule=at_eight)
    # 2025-11-24 16:00 UTC; the next eight o'clock there is seven in UTC.
    assert due_after(rule, NOW) == pytest.approx(1_764_054_000.0)


async def test_the_ticks_of_a_rule_with_jitter_are_its_own_and_the_same_for_every_scheduler() -> None:
    schedule = Schedule(interval_seconds=3600, jitter_seconds=600)
    rules = [a_rule(f"r{number}", schedule=schedule) for number in range(20)]
    first, second = ([due_after(rule, NOW) for rule in rules] for _ in range(2))
    assert first == second
    assert len(set(first)) > 10
    assert all(0 < due - NOW <= HOUR + 600 for due in first)


async def test_a_rule_that_is_off_has_no_ticks(store: Store, clock: ManualClock) -> None:
    await load(store, minutely("r"))
    await store.set_enabled("r", False, NOW)
    assert await new_scheduler(store, clock).tick(clock.time()) == 0


async def test_a_rule_that_cannot_be_read_is_told_and_the_others_have_their_tick(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture, database_url: str
) -> None:
    await load(store, minutely("bad"), minutely("good"))
    connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    connection.execute("""UPDATE rule SET definition = '{"colour": "red"}' WHERE id = 'bad'""")
    connection.commit()
    connection.close()

    await new_scheduler(store, clock).tick(clock.time())

    assert [job_id.partition("@")[0] for job_id in await ticks(store, NOW)] == ["good"]
    assert "rule_invalid" in caplog.text


# --- running ------------------------------------------------------------------------------------


async def test_once_claims_all_that_is_due_now_and_nothing_that_becomes_due_meanwhile(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "BATCH", 7)
    await load(store, *(minutely(f"r{number}") for number in range(20)), due=NOW)
    await load(store, minutely("later"), due=NOW + 1)
    scheduler = new_scheduler(store, clock)
    assert not scheduler.caught_up
    claim, store_claim = scheduler.tick, []

    async def slowly(now: float) -> int:
        clock.advance(90)
        store_claim.append(now)
        return await claim(now)

    monkeypatch.setattr(scheduler, "tick", slowly)

    with anyio.fail_after(DEADLINE):
        await scheduler.run(once=True)

    assert scheduler.caught_up
    assert store_claim == [NOW] * 3
    assert sorted(await ticks(store, clock.time())) == sorted(f"r{n}@{int(NOW * 1000)}" for n in range(20))


async def test_a_burst_with_nothing_due_is_caught_up_at_once(store: Store, clock: ManualClock) -> None:
    scheduler = new_scheduler(store, clock)
    await scheduler.run(once=True)
    assert scheduler.caught_up


async def test_a_running_scheduler_knocks_at_the_relay_and_sees_a_rule_that_comes_later(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "LOOK_EVERY", 0.02)
    broker = MemoryBroker(clock)
    relay = Relay(store, broker, clock)
    async with anyio.create_task_group() as beside:
        beside.start_soon(relay.run)
        beside.start_soon(Scheduler(store, relay, clock).run)
        await load(store, minutely("r"))
        with anyio.fail_after(DEADLINE):
            while not sum((await broker.stats(RULES_RUN)).ready.values()):  # noqa: ASYNC110 - nobody calls us
                await anyio.sleep(0.01)
        beside.cancel_scope.cancel()


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The waits are the code's; only their length is the test's. Where the trouble is told."""
    monkeypatch.setattr(database, "LOCK_WAIT", 0.1)
    monkeypatch.setattr(scheduler_module, "LOOK_EVERY", 0.05)
    return caplog


@pytest.mark.parametrize("once", [False, True])
async def test_a_scheduler_survives_a_database_that_is_away(
    store: Store,
    clock: ManualClock,
    database_url: str,
    impatience: pytest.LogCaptureFixture,
    once: bool,
) -> None:
    await load(store, minutely("r"))
    async with Store.open(database_url) as impatient, anyio.create_task_group() as beside:
        writer = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        scheduler = new_scheduler(impatient, clock)
        beside.start_soon(lambda: scheduler.run(once=once))
        with anyio.fail_after(DEADLINE):
            while "scheduler_trouble" not in impatience.text:  # noqa: ASYNC110 - a log tells nobody
                await anyio.sleep(0.01)
            assert not scheduler.caught_up
            writer.rollback()
            writer.close()
            while not scheduler.caught_up:  # noqa: ASYNC110 - nobody calls us
                await anyio.sleep(0.01)
        beside.cancel_scope.cancel()
    assert len(await ticks(store, NOW)) == 1
