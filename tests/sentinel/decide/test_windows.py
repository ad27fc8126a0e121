"""Active hours: by the clock on the wall, over midnight, across daylight saving, with intervals and cron."""

from __future__ import annotations

import math
from datetime import datetime, time
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sentinel.decide.schedule import backed_off, check, first_due, in_zone, is_allowed, next_due
from sentinel.decide.windows import days_of, is_active, windows
from sentinel.model import ActiveHours, Day, Schedule

BRATISLAVA = "Europe/Bratislava"
OFFICE = [ActiveHours(days=["weekdays"], start="08:00", end="18:00")]
#: Whole and half hours of daylight saving, in both hemispheres, at midnight, and none.
ZONES = (BRATISLAVA, "America/New_York", "Australia/Lord_Howe", "America/Santiago", "America/Havana", "UTC")
WALL = st.times().map(lambda one: one.strftime("%H:%M"))
DAYS: list[Day] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
HOURS = st.builds(
    ActiveHours,
    days=st.lists(st.sampled_from(DAYS), unique=True, max_size=3),
    start=WALL,
    end=WALL | st.just("24:00"),
).filter(lambda one: one.start != one.end)
#: 2026 and 2027.
MOMENTS = st.floats(1767225600, 1830297600)

#: A machine that is busy with something else makes no property wrong.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def local(moment: float, zone: str = BRATISLAVA) -> str:
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%a %H:%M")


def by_the_clock(hours: list[ActiveHours], zone: str, moment: float) -> bool:
    """What a person would say who looks at the clock on the wall."""
    # Down to the second: a datetime would round up what is less than a microsecond away from it.
    seen = datetime.fromtimestamp(math.floor(moment), ZoneInfo(zone))
    for one in hours:
        start = time.fromisoformat(one.start)
        end = time.max if one.end == "24:00" else time.fromisoformat(one.end)
        today, yesterday = seen.weekday() in days_of(one), (seen.weekday() - 1) % 7 in days_of(one)
        if (
            start < end
            and today
            and (start <= seen.time() < end or (end == time.max and seen.time() >= start))
        ):
            return True
        if start > end and ((today and seen.time() >= start) or (yesterday and seen.time() < end)):
            return True
    return False


@UNHURRIED
@given(hours=st.lists(HOURS, min_size=1, max_size=3), zone=st.sampled_from(ZONES), moment=MOMENTS)
@example(hours=[ActiveHours(start="00:00", end="01:00")], zone=BRATISLAVA, moment=1830297599.9999998)
@example(hours=[ActiveHours(start="02:15", end="02:45")], zone=BRATISLAVA, moment=1792888200.0)
@example(hours=[ActiveHours(start="23:30", end="00:30")], zone="America/Santiago", moment=1775359800.0)
def test_hours_are_those_of_the_clock_on_the_wall(hours: list[ActiveHours], zone: str, moment: float) -> None:
    assert is_active(hours, ZoneInfo(zone), moment) == by_the_clock(hours, zone, moment)


@UNHURRIED
@given(hours=st.lists(HOURS, min_size=1, max_size=3), zone=st.sampled_from(ZONES), moment=MOMENTS)
def test_windows_are_those_hours_apart_from_each_other_and_in_order(
    hours: list[ActiveHours], zone: str, moment: float
) -> None:
    found = list(islice(windows(hours, ZoneInfo(zone), moment), 4))
    assert found
    assert found[0][1] > moment
    assert all(start < end for start, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    for start, end in found[:-1]:  # the last ends where nobody looked further
        assert [by_the_clock(hours, zone, one) for one in (start, (start + end) / 2, end - 1)] == [True] * 3
        assert not by_the_clock(hours, zone, end)
    if found[0][0] > moment:
        assert not by_the_clock(hours, zone, moment)


@UNHURRIED
@given(
    schedule=st.builds(
        Schedule,
        interval_seconds=st.integers(1, 14 * 86400),
        jitter_seconds=st.integers(0, 86400),
        timezone=st.sampled_from(ZONES),
        active_hours=st.lists(HOURS, min_size=1, max_size=3),
    ),
    moment=MOMENTS,
    seed=st.text(max_size=5),
    failures=st.integers(0, 6),
)
def test_a_rule_is_due_within_its_hours_whatever_its_interval_jitter_and_failures(
    schedule: Schedule, moment: float, seed: str, failures: int
) -> None:
    def within(moment: float) -> bool:
        return by_the_clock(schedule.active_hours, schedule.timezone or "", moment)

    after = moment
    for _ in range(3):
        due = next_due(schedule, after, seed=seed)
        assert due > after
        assert within(due)
        after = due
    assert within(backed_off(schedule, moment, failures, seed=seed))
    first = first_due(schedule, moment, seed=seed)
    assert first == moment if within(moment) else within(first)


@UNHURRIED
@given(
    hours=st.lists(HOURS, min_size=1, max_size=2),
    zone=st.sampled_from(ZONES),
    moment=MOMENTS,
    cron=st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * 1-5"]),
    jitter=st.integers(0, 7200),
)
def test_a_cron_rule_is_due_within_its_hours(
    hours: list[ActiveHours], zone: str, moment: float, cron: str, jitter: int
) -> None:
    schedule = Schedule(cron=cron, jitter_seconds=jitter, timezone=zone, active_hours=hours)
    due = next_due(schedule, moment, seed="r")
    assert due > moment
    assert by_the_clock(hours, zone, due) or bool(check(schedule))


def test_an_interval_goes_on_at_its_own_pace_in_office_hours_and_rests_at_night_and_at_the_weekend() -> None:
    schedule = Schedule(interval_seconds=3600, timezone=BRATISLAVA, active_hours=OFFICE)
    due, after = [], at("2026-11-20T00:00+01:00")  # a Friday
    for _ in range(20):
        after = next_due(schedule, after, seed="rule")
        due.append(local(after))
    assert [one[:6] for one in due] == [f"{day} {hour:02}" for day in ("Fri", "Mon") for hour in range(8, 18)]
    assert len({one[6:] for one in due}) == 1


def test_rules_do_not_all_run_as_the_hours_begin() -> None:
    schedule = Schedule(interval_seconds=3600, timezone="UTC", active_hours=OFFICE)
    due = [next_due(schedule, at("2026-11-20T00:00Z"), seed=f"r{n}") for n in range(200)]
    assert max(due) - min(due) > 3000


def test_an_interval_longer_than_the_window_runs_once_in_each_spread_over_it() -> None:
    hours = [ActiveHours(start="09:00", end="10:00")]
    schedule = Schedule(interval_seconds=6 * 3600, timezone="UTC", active_hours=hours)
    for seed in map(str, range(50)):
        after, days = at("2026-11-20T12:00Z"), []
        for _ in range(5):
            after = next_due(schedule, after, seed=seed)
            days.append(datetime.fromtimestamp(after, ZoneInfo("UTC")).day)
        assert days == [21, 22, 23, 24, 25]
    due = [next_due(schedule, at("2026-11-20T12:00Z"), seed=f"r{n}") for n in range(200)]
    assert max(due) - min(due) > 2400


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    hours = [ActiveHours(days=["friday"], start="22:00", end="06:00")]
    zone = ZoneInfo("UTC")
    assert next(windows(hours, zone, at("2026-11-20T12:00Z"))) == (
        at("2026-11-20T22:00Z"),
        at("2026-11-21T06:00Z"),
    )
    assert not is_active(hours, zone, at("2026-11-20T03:00Z"))
    assert is_active(hours, zone, at("2026-11-21T03:00Z"))


@pytest.mark.parametrize(
    ("start", "end", "day", "expected"),
    [
        # The hour from two to three is left out.
        ("02:30", "05:00", "2026-03-29", ("2026-03-29T01:00Z", "2026-03-29T03:00Z")),
        ("01:00", "02:30", "2026-03-29", ("2026-03-29T00:00Z", "2026-03-29T01:00Z")),
        ("02:00", "03:00", "2026-03-29", None),
        # It comes twice.
        ("01:00", "04:00", "2026-10-25", ("2026-10-24T23:00Z", "2026-10-25T03:00Z")),
        ("02:00", "02:30", "2026-10-25", ("2026-10-25T00:00Z", "2026-10-25T00:30Z")),
    ],
)
def test_a_window_that_daylight_saving_touches(
    start: str, end: str, day: str, expected: tuple[str, str] | None
) -> None:
    hours = [ActiveHours(start=start, end=end)]
    found = next(windows(hours, ZoneInfo(BRATISLAVA), at(f"{day}T00:00+00:00") - 7200))
    if expected is None:
        assert found[0] > at(f"{day}T12:00Z")
    else:
        assert found == tuple(map(at, expected))


def test_cron_times_outside_of_the_hours_are_left_out() -> None:
    schedule = Schedule(cron="0 */6 * * *", timezone=BRATISLAVA, active_hours=OFFICE)
    after, due = at("2026-11-20T13:00+01:00"), []
    for _ in range(3):
        after = next_due(schedule, after, seed="r")
        due.append(local(after))
    assert due == ["Mon 12:00", "Tue 12:00", "Wed 12:00"]


def test_jitter_does_not_lead_out_of_the_hours() -> None:
    hours = [ActiveHours(start="09:00", end="09:30")]
    schedule = Schedule(cron="29 9 * * *", jitter_seconds=7200, timezone="UTC", active_hours=hours)
    due = [next_due(schedule, at("2026-11-20T00:00Z"), seed=f"r{n}") for n in range(50)]
    assert len(set(due)) > 40
    assert max(due) < at("2026-11-20T09:30Z")


def test_a_tick_may_be_a_little_late_and_is_not_made_up_for_when_the_hours_are_over() -> None:
    schedule = Schedule(interval_seconds=60, timezone="UTC", active_hours=OFFICE)
    due = at("2026-11-20T17:59:59Z")
    assert is_allowed(schedule, due, due + 5)
    assert not is_allowed(schedule, due, due + 3600)
    assert not is_allowed(schedule, due - 3600, due + 5)
    assert is_allowed(schedule, due - 14 * 3600, due)


def test_a_new_rule_is_due_at_once_in_its_hours_and_else_when_they_begin() -> None:
    schedule = Schedule(interval_seconds=600, timezone="UTC", active_hours=OFFICE)
    assert first_due(schedule, at("2026-11-20T12:00Z"), seed="r") == at("2026-11-20T12:00Z")
    assert 0 < first_due(schedule, at("2026-11-20T20:00Z"), seed="r") - at("2026-11-23T08:00Z") <= 600


def test_a_schedule_without_a_zone_is_meant_in_the_workspaces() -> None:
    assert in_zone(Schedule(cron="0 9 * * *"), BRATISLAVA).timezone == BRATISLAVA
    assert in_zone(Schedule(interval_seconds=60, active_hours=OFFICE), BRATISLAVA).timezone == BRATISLAVA
    assert in_zone(Schedule(cron="0 9 * * *", timezone="UTC"), BRATISLAVA).timezone == "UTC"


@pytest.mark.parametrize(
    ("schedule", "path", "words"),
    [
        (
            Schedule(interval_seconds=60, active_hours=[ActiveHours(start="08:00", end="08:00")]),
            "activeHours[0]",
            "ends when it starts",
        ),
        (
            Schedule(interval_seconds=60, active_hours=[*OFFICE, ActiveHours(days=["monday", "monday"])]),
            "activeHours[1].days",
            "twice",
        ),
        (Schedule(cron="0 3 * * *", active_hours=OFFICE), "activeHours", "never comes due"),
        (Schedule(cron="0 9 * * 6", active_hours=OFFICE), "activeHours", "never comes due"),
    ],
)
def test_hours_that_make_no_sense_are_named(schedule: Schedule, path: str, words: str) -> None:
    (problem,) = check(schedule)
    assert problem.path == path
    assert words in problem.message
    assert problem.hint
    now = at("2026-11-24T00:00Z")
    assert next_due(schedule, now, seed="r") > now


def test_good_hours_have_no_problem() -> None:
    hours = [
        *OFFICE,
        ActiveHours(days=["saturday"], start="22:00", end="02:00"),
        ActiveHours(days=["sunday"]),
    ]
    assert check(Schedule(interval_seconds=60, active_hours=hours)) == []
    assert check(Schedule(cron="0 12 * * *", active_hours=hours)) == []
