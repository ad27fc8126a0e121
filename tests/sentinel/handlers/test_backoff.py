"""Rules that keep failing are due less and less often, and as their schedule says once they do not."""

from __future__ import annotations

import msgspec
import pytest

from sentinel.decide.schedule import backed_off
from sentinel.model import Extraction, Schedule
from tests.sentinel.handlers.checking import World, page
from tests.support.http import Reply

HOUR = 3600.0
GONE = Reply(status=404)


def wait(schedule: Schedule, failures: int) -> float:
    return backed_off(schedule, 1e9, failures, seed="r") - 1e9


def test_the_interval_doubles_with_each_failure_after_the_second_up_to_a_day() -> None:
    every = Schedule(interval_seconds=3600)
    first = wait(every, 0)
    assert [round((wait(every, n) - first) / HOUR) + 1 for n in range(10)] == [
        1,
        1,
        1,
        2,
        4,
        8,
        16,
        24,
        24,
        24,
    ]


def test_an_interval_of_more_than_a_day_stays_what_it_is() -> None:
    weekly = Schedule(interval_seconds=7 * 86400)
    assert {wait(weekly, n) for n in (0, 3, 50, 10**6)} == {wait(weekly, 0)}


def test_a_cron_rule_that_fails_is_put_off_to_a_time_of_its_own_schedule() -> None:
    nightly = Schedule(cron="0 3 * * *")
    office = Schedule(cron="*/30 8-17 * * *")
    assert wait(nightly, 9) == wait(nightly, 0)
    for failures in range(3, 12):
        due = backed_off(office, 1e9, failures, seed="r")
        assert due % 1800 == 0
        assert 8 <= due % 86400 / HOUR < 18
        assert due - 1e9 <= 86400 + 14.5 * HOUR, "a day, and what the office is closed"


async def fail(world: World, times: int) -> None:
    for _ in range(times):
        await world.check()


async def test_a_rule_that_fails_is_due_later_and_the_first_good_run_brings_its_interval_back(
    checks: World,
) -> None:
    await checks.watch(GONE)
    await fail(checks, 6)
    stored = await checks.store.rule("widget")
    assert stored.state.backoff == 6
    assert 15 * HOUR < stored.next_due - checks.clock.time() <= 16 * HOUR
    checks.site.route("/widget", page())
    await checks.check()
    stored = await checks.store.rule("widget")
    assert stored.state.backoff == 0
    assert 0 < stored.next_due - checks.clock.time() <= HOUR


@pytest.mark.parametrize("what", ["edit", "enable", "by hand"])
async def test_a_person_who_sees_to_it_brings_the_interval_back(checks: World, what: str) -> None:
    await checks.watch(GONE)
    await fail(checks, 8)
    match what:
        case "edit":
            await checks.load(checks.rule(extraction=Extraction(method="css", selector=".other")))
        case "enable":
            await checks.store.set_enabled("widget", False, checks.clock.time())
            await checks.store.set_enabled("widget", True, checks.clock.time())
        case _:
            await checks.check(checks.job(trigger="manual_test"))
    stored = await checks.store.rule("widget")
    assert stored.state.backoff == (1 if what == "by hand" else 0)
    assert stored.state.fail_streak == (9 if what == "by hand" else 8)
    assert stored.next_due - checks.clock.time() <= HOUR


async def test_a_file_that_is_imported_as_it_was_changes_nothing(checks: World) -> None:
    await checks.watch(GONE)
    await fail(checks, 5)
    before = await checks.store.rule("widget")
    await checks.load(checks.rule())
    assert msgspec.structs.asdict(await checks.store.rule("widget")) == msgspec.structs.asdict(before)
