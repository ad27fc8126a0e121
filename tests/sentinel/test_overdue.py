"""After a night off everything is due at once: nobody's rules, and no test by hand, wait for the heap."""

from __future__ import annotations

from collections import Counter
from zoneinfo import ZoneInfo

import anyio
import pytest

from sentinel import relay as relay_module
from sentinel import scheduler as scheduler_module
from sentinel.decide.windows import is_active
from sentinel.jobs import RULES_RUN, RunRule
from sentinel.model import ActiveHours, Rule, Schedule
from sentinel.relay import Relay
from sentinel.scheduler import Scheduler, due_after
from sentinel.store import Store
from streamq import BrokerUnavailable, Queue, RedisBroker
from streamq.broker import Done, Lease
from streamq.clock import ManualClock
from streamq.testing.memory import MemoryBroker
from tests.sentinel.conftest import both_databases
from tests.sentinel.store.things import HOUR, NOW, a_rule, load

#: Seconds anything here may take.
DEADLINE = 300.0
#: Jobs that the worker takes at once.
SLOTS = 25
#: Rules of somebody else, and where they must be among the first.
OTHERS = 20


def minutely(rule_id: str, **fields: object) -> Rule:
    return a_rule(rule_id, schedule=Schedule(interval_seconds=60), **fields)


class Taker:
    """A worker that does nothing but take, and remembers what."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker
        self._sequence = 0
        self._held: list[Lease] = []
        self.taken: list[str] = []

    async def turn(self) -> list[str]:
        self._sequence += 1
        finished = [Done(lease, 0.0) for lease in self._held]
        turn = await self._broker.turn(RULES_RUN, "w", sequence=self._sequence, finished=finished, free=SLOTS)
        self._held = list(turn.leases)
        ids = [lease.envelope.id for lease in turn.leases]
        self.taken += ids
        return ids


@pytest.mark.parametrize(
    ("rules", "crowd", "batch"),
    [
        pytest.param(1_500, 200, 50, id="short"),
        pytest.param(
            10_000, scheduler_module.CROWD, scheduler_module.BATCH, id="long", marks=pytest.mark.soak
        ),
    ],
)
async def test_a_heap_is_made_rule_by_rule_once_each_and_keeps_nobody_waiting(  # noqa: PLR0917 - fixtures
    store: Store, valkey_url: str, monkeypatch: pytest.MonkeyPatch, rules: int, crowd: int, batch: int
) -> None:
    monkeypatch.setattr(scheduler_module, "CROWD", crowd)
    monkeypatch.setattr(scheduler_module, "BATCH", batch)
    monkeypatch.setattr(scheduler_module, "LOOK_FOR_ROOM", 0.01)
    heap = [minutely(f"heap-{number}", url="https://big.example/") for number in range(rules)]
    others = [minutely(f"other-{number}") for number in range(OTHERS)]
    await load(store, *heap, due=NOW - 8 * HOUR, workspace="big")
    await load(store, *others, due=NOW - 8 * HOUR, workspace="small")
    clock = ManualClock(NOW)
    deepest = 0
    async with RedisBroker.from_url(valkey_url) as broker, anyio.create_task_group() as beside:
        relay, taker = Relay(store, broker, clock), Taker(broker)
        beside.start_soon(relay.run)
        beside.start_soon(Scheduler(store, relay, clock).run)
        with anyio.fail_after(DEADLINE):
            while await relay.depth(RULES_RUN) < crowd:  # noqa: ASYNC110 - nobody calls us
                await anyio.sleep(0.01)
            by_hand = RunRule(rule_id="heap-7", trigger="manual_test", requested_at="2026-01-31T12:00:00Z")
            await Queue(RULES_RUN, broker).enqueue(by_hand, job_id="by-hand", lane="high")
            assert "by-hand" in await taker.turn()

            while len(taker.taken) < rules + OTHERS + 1:
                deepest = max(deepest, await relay.depth(RULES_RUN))
                if not await taker.turn():
                    await anyio.sleep(0.01)
        beside.cancel_scope.cancel()

    counted = Counter(job_id.partition("@")[0] for job_id in taker.taken)
    assert counted == dict.fromkeys([one.id for one in [*heap, *others]], 1) | {"by-hand": 1}
    assert await store.claim_due(NOW, limit=10, next_due=lambda _, now: now + 60) == []
    # What waits is bounded: but for the batch claimed last, and what the relay has in both places.
    assert crowd <= deepest < crowd + batch + relay_module.BATCH
    first = [job_id for job_id in taker.taken[: 2 * batch] if job_id.startswith("other-")]
    assert len(first) == OTHERS


async def test_while_redis_is_away_nothing_is_claimed_and_then_each_rule_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler_module, "LOOK_EVERY", 0.02)
    await load(store, *(minutely(f"r{number}") for number in range(5)))
    clock = ManualClock(NOW)
    broker = MemoryBroker(clock)
    relay = Relay(store, broker, clock)
    away = True

    async def stats(stream: str) -> object:
        if away:
            raise BrokerUnavailable
        return await MemoryBroker.stats(broker, stream)

    monkeypatch.setattr(broker, "stats", stats)
    async with anyio.create_task_group() as beside:
        beside.start_soon(Scheduler(store, relay, clock).run)
        with anyio.fail_after(DEADLINE):
            while caplog.text.count("scheduler_trouble") < 3:
                clock.advance(60)
                await anyio.sleep(0.01)
            assert await store.unsent_of(RULES_RUN) == 0
            away = False
            while await store.unsent_of(RULES_RUN) < 5:  # noqa: ASYNC110 - nobody calls us
                await anyio.sleep(0.01)
        beside.cancel_scope.cancel()
    ids = [row.job_id.partition("@")[0] for row in await store.unsent(100, clock.time())]
    assert Counter(ids) == {f"r{number}": 1 for number in range(5)}


@both_databases
async def test_of_a_host_the_latest_by_its_own_pace_goes_first(store: Store) -> None:
    def every(seconds: int, rule_id: str) -> Rule:
        return a_rule(rule_id, url="https://one.example/", schedule=Schedule(interval_seconds=seconds))

    nightly = Schedule(cron="0 3 * * *", timezone="UTC")
    late = [
        (every(60, "minutely"), 170.0),  # nearly three times its pace
        (every(3600, "hourly"), 2.5 * HOUR),
        (every(86400, "daily"), 2 * HOUR),  # as if it were hourly
        (a_rule("nightly", url="https://one.example/", schedule=nightly), 1.5 * HOUR),
        (every(3600, "half-hour-late"), 0.5 * HOUR),
    ]
    for rule, seconds in late:
        await load(store, rule, due=NOW - seconds)

    order = []
    for _ in late:
        order += [
            one.rule_id for one in await store.claim_due(NOW, limit=1, next_due=lambda _, now: now + 60)
        ]

    assert order == ["minutely", "hourly", "daily", "nightly", "half-hour-late"]


@both_databases
async def test_what_was_due_in_active_hours_that_are_over_is_left_to_the_next(store: Store) -> None:
    # 17:00 in Bratislava.
    at_noon = [ActiveHours(start="11:30", end="12:30")]
    schedule = Schedule(interval_seconds=300, active_hours=at_noon)
    await load(store, a_rule("rests", schedule=schedule), a_rule("runs"), due=NOW - 5 * HOUR)

    claimed = await store.claim_due(NOW, limit=10, next_due=due_after)

    assert {one.rule_id: one.out_of_hours for one in claimed} == {"rests": True, "runs": False}
    assert [row.job_id.partition("@")[0] for row in await store.unsent(10, NOW)] == ["runs"]
    again = (await store.rule("rests")).next_due
    assert is_active(at_noon, ZoneInfo("Europe/Bratislava"), again)
    assert 18 * HOUR < again - NOW < 20 * HOUR
    assert [waiting.rule_id for waiting in await store.waiting(NOW + 301, patience=300)] == ["runs"]
