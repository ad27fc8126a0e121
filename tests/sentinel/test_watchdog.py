"""The watchdog: what no check can tell is told once, by whichever worker lives, and so is its end."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from sentinel.decide import judge, judge_failure
from sentinel.decide.health import overdue_from
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from sentinel.model import AlertPolicy, Incident, QuietHours, Route, Schedule
from sentinel.relay import Relay
from sentinel.scheduler import Scheduler
from sentinel.store import Ages, RunResult, Store, StoredAlert
from sentinel.watchdog import FEW, Watchdog
from streamq.broker import Again, Lease
from streamq.clock import ManualClock
from streamq.testing import MemoryBroker
from tests.sentinel.conftest import both_databases
from tests.sentinel.store.test_unreadable import spoil
from tests.sentinel.store.things import EUR_90, EUR_100, GOOD, HOUR, NOW, a_rule, load

DAY = 24 * HOUR
MINUTE = 60.0
#: Seconds between two looks in hours that are waited for.
STEP = 15 * MINUTE


class World:
    """A store, a queue, a scheduler and two watchdogs, by one clock; checks are made by hand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ManualClock(NOW)
        self.broker = MemoryBroker(self.clock)
        self.relay = Relay(store, self.broker, self.clock)
        self.scheduler = Scheduler(store, self.relay, self.clock)
        self.dogs = [Watchdog(store, self.broker, self.relay, self.clock, every=STEP) for _ in range(2)]
        self.workers = True
        self._turns = 0
        self._jobs = 0

    async def wait(self, seconds: float, *, schedules: bool = True) -> list[StoredAlert]:
        """Time goes by, and both watchdogs look at the same time, now and then; the alerts, oldest first."""
        before = {alert.id for alert in await self.store.alerts(10_000)}
        end = self.clock.time() + seconds
        while self.clock.time() < end:
            step = STEP if seconds > 30 * MINUTE else MINUTE
            self.clock.advance(min(step, end - self.clock.time()))
            if schedules:
                await self.scheduler.tick(self.clock.time())
            if self.workers:
                self._turns += 1
                await self.broker.turn(RULES_RUN, "worker", sequence=self._turns)
            async with anyio.create_task_group() as group:
                for dog in self.dogs:
                    group.start_soon(dog.look)
        found = [alert for alert in await self.store.alerts(10_000) if alert.id not in before]
        return sorted(found, key=lambda alert: alert.id)

    async def check(self, rule_id: str, code: str | None = None, *, price: object = EUR_90) -> None:
        """A check that comes to a price, or to an error code."""
        self._jobs += 1
        now = self.clock.time()
        ticket = await self.store.begin_run(rule_id, f"job-{self._jobs}", 1, "schedule", now)
        stored = ticket.stored
        verdict = (
            judge(stored.rule, stored.state, "x", price, now=now)  # type: ignore[arg-type]  # a PriceValue
            if code is None
            else judge_failure(stored.rule, stored.state, code, "", now=now)
        )
        result = GOOD if code is None else RunResult(error_code=code)
        await self.store.finish_run(
            ticket, result, verdict, "x", expected_state_version=stored.state.version, now=now
        )


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def told(alerts: list[StoredAlert]) -> list[tuple[str, str]]:
    return [(alert.kind, alert.title) for alert in alerts]


# --- nobody checks it -----------------------------------------------------------------------------


@both_databases
async def test_a_rule_overdue_by_two_intervals_is_told_once_reminded_daily_and_its_end_is_told(
    world: World,
) -> None:
    await load(world.store, a_rule())
    assert await world.wait(HOUR) == []
    late = await world.wait(HOUR + MINUTE)
    assert told(late) == [("health", "widget: not checked")]
    assert late[0].body["code"] == "SYSTEM_QUEUE_DELAY"
    assert "nobody has checked it since" in late[0].body["detail"]
    assert [one.channel_id for one in late[0].deliveries] == ["ops"]
    assert await world.wait(DAY - 2 * STEP) == []
    assert told(await world.wait(2 * STEP)) == [("health", "widget: still not checked")]
    await world.check("widget")
    assert told(await world.wait(MINUTE)) == [("recovery", "widget: checked again")]
    await world.relay.flush()
    assert sum((await world.broker.stats(ALERTS_DISPATCH)).ready.values()) == 3


async def test_a_scheduler_that_is_gone_makes_rules_overdue_as_well(world: World) -> None:
    await load(world.store, a_rule())
    assert told(await world.wait(3 * HOUR, schedules=False)) == [("health", "widget: not checked")]


async def test_a_system_that_is_too_slow_is_not_told_at_every_turn(world: World) -> None:
    await load(world.store, a_rule())
    found = []
    for _ in range(4):
        found += await world.wait(2.1 * HOUR)
        await world.check("widget")
        found += await world.wait(MINUTE)
    assert Counter(alert.kind for alert in found)["health"] <= 3


@both_databases
async def test_more_than_a_few_are_one_alert_for_the_workspace_until_the_last_is_checked(
    world: World,
) -> None:
    rules = [a_rule(f"r{number}") for number in range(FEW + 1)]
    await load(world.store, *rules)
    many = await world.wait(2 * HOUR + MINUTE)
    assert told(many) == [("health", f"acme: {FEW + 1} rules are not checked")]
    assert "r0, r1" in many[0].body["detail"]
    for rule in rules[1:]:
        await world.check(rule.id)
    assert await world.wait(MINUTE) == [], "one is left"
    await world.check("r0")
    assert told(await world.wait(MINUTE)) == [("recovery", "acme: checked again")]


async def test_after_downtime_checks_get_their_chance_before_they_are_called_late(world: World) -> None:
    await load(world.store, a_rule(), a_rule("gadget"))
    world.clock.advance(3 * DAY)
    assert await world.wait(4 * MINUTE) == []
    await world.check("widget")
    await world.check("gadget")
    assert await world.wait(HOUR) == []


async def test_a_paused_stream_and_disabled_rules_are_nobodys_delay(world: World) -> None:
    await load(world.store, a_rule(), a_rule("off", enabled=False))
    await world.broker.set_paused(RULES_RUN, paused=True)
    assert await world.wait(5 * HOUR) == []
    await world.broker.set_paused(RULES_RUN, paused=False)
    assert await world.wait(4 * MINUTE) == [], "what waited has its chance"
    assert told(await world.wait(2 * MINUTE)) == [("health", "widget: not checked")]


async def test_a_rule_switched_off_or_deleted_while_it_is_late_is_forgotten_without_a_word(
    world: World,
) -> None:
    await load(world.store, a_rule(), a_rule("gadget"))
    assert len(await world.wait(2 * HOUR + MINUTE)) == 2
    await world.store.set_enabled("widget", False, world.clock.time())
    await world.store.delete_rule("gadget")
    assert await world.wait(HOUR) == []


async def test_a_check_under_way_is_not_late(world: World) -> None:
    await load(world.store, a_rule())
    await world.wait(HOUR)
    await world.store.begin_run("widget", "slow", 1, "schedule", world.clock.time())
    assert await world.wait(HOUR + 2 * MINUTE) == []


async def test_a_job_that_was_put_off_is_due_when_it_comes(world: World) -> None:
    await load(world.store, a_rule())
    await world.scheduler.tick(world.clock.time())
    await world.relay.flush()
    (lease,) = (await world.broker.turn(RULES_RUN, "worker", sequence=1, free=1)).leases
    await put_off(world, lease, 6 * HOUR)
    world._turns = 2
    assert await world.wait(6 * HOUR + 2 * STEP) == []
    assert told(await world.wait(2 * HOUR)) == [("health", "widget: not checked")]


async def put_off(world: World, lease: Lease, seconds: float) -> None:
    again = Again(lease, seconds, counts=False, note="its host's rate")
    await world.broker.turn(RULES_RUN, "worker", sequence=2, finished=[again])


async def test_where_no_worker_takes_checks_it_is_told_as_that_and_critical(world: World) -> None:
    await load(world.store, a_rule(), quiet_hours=QuietHours(start="00:00", end="23:59"))
    world.workers = False
    (alert,) = await world.wait(20 * MINUTE)
    assert (alert.title, alert.severity) == (
        "acme: 1 rule is not checked: no worker takes checks",
        "critical",
    )
    assert "run --stream rules:run" in alert.body["recommendation"]
    assert alert.suppressed is None, "critical passes quiet hours"
    world.workers = True
    await world.check("widget")
    assert told(await world.wait(2 * MINUTE)) == [("recovery", "acme: checked again")]


@pytest.mark.parametrize(
    ("schedule", "least"),
    [
        (Schedule(interval_seconds=5), 300.0),
        (Schedule(interval_seconds=3600), 3600.0),
        (Schedule(cron="0 8 * * 1-5"), DAY),
    ],
)
def test_a_rule_is_overdue_with_its_second_tick_and_never_before_five_minutes(
    schedule: Schedule, least: float
) -> None:
    late = overdue_from(schedule, NOW, seed="widget") - NOW
    assert least <= late <= 2 * max(least, 300) + 3 * DAY


# --- it never changes -----------------------------------------------------------------------------


@both_databases
async def test_a_rule_without_a_change_for_longer_than_expected_is_told_and_a_change_ends_it(
    world: World,
) -> None:
    policy = AlertPolicy(channels=["ops"], require_consecutive=1)
    await load(world.store, a_rule(expected_change_every=2 * HOUR, alert_policy=policy))
    for _ in range(2):
        await world.check("widget", price=EUR_100)
        assert await world.wait(HOUR) == []
    await world.check("widget", price=EUR_100)
    await world.wait(MINUTE)
    await world.check("widget", price=EUR_100)
    (alert,) = await world.wait(MINUTE)
    assert (alert.title, alert.body["code"]) == ("widget: no change for 2 h", "RULE_SILENT")
    await world.check("widget", price=EUR_90)
    assert told(await world.wait(MINUTE)) == [("recovery", "widget: changes again")]


async def test_a_rule_that_fails_is_not_called_silent(world: World) -> None:
    await load(world.store, a_rule(expected_change_every=2 * HOUR))
    await world.check("widget")
    for _ in range(4):
        assert [alert.body["code"] for alert in await world.wait(HOUR) if alert.kind == "health"] == []
        await world.check("widget", "FETCH_TIMEOUT")


# --- it cannot be read ----------------------------------------------------------------------------


@both_databases
async def test_a_rule_that_cannot_be_read_is_told_once_on_its_channels_and_reminded_daily(
    world: World,
) -> None:
    await load(world.store, a_rule("bad"), routes=[Route(channels=["boss"])])
    await spoil(world.store, "bad")
    (alert,) = await world.wait(2 * MINUTE)
    assert (alert.title, alert.body["code"], alert.severity) == (
        "bad: not watching: The rule is not valid",
        "RULE_INVALID",
        "critical",
    )
    assert "colour" in alert.body["detail"]
    assert alert.body["url"] == "https://shop.example/bad"
    assert [one.channel_id for one in alert.deliveries] == ["boss"]
    assert await world.wait(23 * HOUR) == []
    assert told(await world.wait(2 * HOUR)) == [("health", "bad: still not watching: The rule is not valid")]
    await load(world.store, a_rule("bad", name="bad"), due=world.clock.time() + DAY)
    for _ in range(3):
        await world.check("bad")
    alerts = await world.store.alerts(10, rule_id="bad")
    assert Counter(alert.kind for alert in alerts) == {"health": 2, "recovery": 1}


async def test_one_that_cannot_be_read_and_has_no_route_is_told_to_everybody(world: World) -> None:
    await load(world.store, a_rule("bad"))
    await spoil(world.store, "bad")
    (alert,) = await world.wait(2 * MINUTE)
    assert {one.channel_id for one in alert.deliveries} == {"ops", "boss"}


async def test_ten_of_one_host_that_cannot_be_read_are_one_incident(world: World) -> None:
    rules = [a_rule(f"bad{number}") for number in range(10)]
    await load(world.store, *rules, incident=Incident(rules=3, within=600), routes=[Route(channels=["ops"])])
    for rule in rules:
        await spoil(world.store, rule.id)
    alerts = await world.wait(2 * MINUTE)
    assert len([alert for alert in alerts if alert.suppressed is None]) == 1
    assert Counter(alert.suppressed for alert in alerts)["incident"] == 10


# --- it fails -------------------------------------------------------------------------------------


async def test_a_broken_rule_is_told_when_it_breaks_once_a_day_and_when_it_works_again(world: World) -> None:
    await load(world.store, a_rule())
    await world.check("widget")
    found = 0
    for _ in range(3 * 6):
        await world.check("widget", "EXTRACT_SELECTOR_NOT_FOUND")
        world.clock.advance(4 * HOUR)
        found += await world.dogs[0].look()
    for _ in range(3):
        await world.check("widget")
    alerts = await world.store.alerts(100, rule_id="widget")
    titles = [alert.title.partition(":")[2].strip() for alert in reversed(alerts)]
    broken = "not watching: The selector finds nothing"
    assert titles == [broken, f"still {broken}", f"still {broken}", "watching again"]
    assert found == 0, "the watchdog has nothing to add"


async def test_troubles_that_are_over_are_forgotten_a_day_later(world: World) -> None:
    await load(world.store, a_rule())
    await world.wait(2 * HOUR + MINUTE)
    await world.check("widget")
    await world.wait(MINUTE)
    await world.store.prune(world.clock.time(), Ages())
    for _ in range(7):
        world.clock.advance(4 * HOUR)
        await world.check("widget")
    await world.wait(MINUTE)
    assert await world.store.keep_troubles("overdue", [], world.clock.time()) == 0
