"""When a rule is due: intervals that spread and do not drift, cron across daylight saving."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.decide.schedule import check, next_due
from sentinel.model import Schedule

#: A machine that is busy with something else makes no property wrong.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def ticks(schedule: Schedule, after: float, count: int, seed: str = "rule") -> list[float]:
    found = []
    for _ in range(count):
        after = next_due(schedule, after, seed=seed)
        found.append(after)
    return found


@UNHURRIED
@given(
    interval=st.integers(1, 86400),
    jitter=st.integers(0, 86400),
    after=st.floats(1e9, 3e9),
    seed=st.text(max_size=10),
)
def test_an_interval_is_never_early_never_doubled_and_does_not_drift(
    interval: int, jitter: int, after: float, seed: str
) -> None:
    schedule = Schedule(interval_seconds=interval, jitter_seconds=jitter)
    due = ticks(schedule, after, 20, seed)
    assert due == ticks(schedule, after, 20, seed)
    assert all(later > earlier for earlier, later in pairwise([after, *due]))
    assert due[-1] - due[0] == pytest.approx(19 * interval, abs=min(jitter, interval) + 1e-3)


def test_rules_with_the_same_interval_are_spread_over_it() -> None:
    due = [next_due(Schedule(interval_seconds=3600), 1e9, seed=f"rule-{n}") for n in range(200)]
    assert max(due) - min(due) > 3000


def test_what_was_missed_is_caught_up_with_one_tick() -> None:
    schedule = Schedule(interval_seconds=60)
    assert 0 < next_due(schedule, 1e9 + 86400, seed="r") - (1e9 + 86400) <= 60


def test_cron_runs_by_the_clock_of_its_zone() -> None:
    schedule = Schedule(cron="0 9 * * 1-5", timezone="Europe/Bratislava")
    assert ticks(schedule, at("2026-11-20T12:00Z"), 1) == [at("2026-11-23T08:00Z")]
    assert ticks(schedule, at("2026-07-01T12:00Z"), 1) == [at("2026-07-02T07:00Z")]


def test_an_hour_that_daylight_saving_skips_runs_once_right_after() -> None:
    schedule = Schedule(cron="30 2 * * *", timezone="Europe/Bratislava")
    assert ticks(schedule, at("2026-03-28T12:00Z"), 2) == [at("2026-03-29T01:00Z"), at("2026-03-30T00:30Z")]


@pytest.mark.parametrize(
    "after", ["2026-10-25T00:00Z", "2026-10-25T00:40Z", "2026-10-25T01:10Z", "2026-10-25T01:40Z"]
)
def test_an_hour_that_daylight_saving_doubles_runs_once_and_never_in_the_past(after: str) -> None:
    schedule = Schedule(cron="30 2 * * *", timezone="Europe/Bratislava")
    first = at("2026-10-25T00:30Z")
    expected = first if at(after) < first else at("2026-10-26T01:30Z")
    assert next_due(schedule, at(after), seed="r") == expected


@UNHURRIED
@given(
    schedule=st.builds(
        Schedule,
        interval_seconds=st.integers(1, 86400),
        jitter_seconds=st.integers(1, 86400),
        cron=st.sampled_from([None, "*/5 * * * *", "30 2 * * *", "0 0 1 * *"]),  # it goes before the interval
        timezone=st.sampled_from(["UTC", "Europe/Bratislava", "America/New_York"]),
    ),
    after=st.floats(1.7e9, 1.9e9),
    seed=st.text(max_size=10),
)
def test_jitter_makes_a_tick_later_never_earlier_and_never_by_more_than_it_says(
    schedule: Schedule, after: float, seed: str
) -> None:
    most: float = schedule.jitter_seconds
    if schedule.cron is None:
        most = min(most, 0.9 * (schedule.interval_seconds or 0))
    plain = next_due(msgspec.structs.replace(schedule, jitter_seconds=0), after, seed=seed)
    due = next_due(schedule, after, seed=seed)
    assert after < due
    assert 0 <= due - plain < most + 1e-3
    assert due == next_due(schedule, after, seed=seed)


#: Zone; the nights in which the clock goes on and back, 2026 (from two to three, and from three, or two, back).
NIGHTS = [
    ("Europe/Bratislava", "2026-03-29", "2026-10-25"),
    ("America/New_York", "2026-03-08", "2026-11-01"),
]


def by_the_wall(schedule: Schedule, day: str, zone: str) -> list[str]:
    """All ticks from that local midnight to the next."""
    place = ZoneInfo(zone)
    begin = datetime.combine(date.fromisoformat(day), time(), place).timestamp()
    over = datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), place).timestamp()
    found, moment = [], begin - 1
    while (moment := next_due(schedule, moment, seed="r")) < over:
        found.append(f"{datetime.fromtimestamp(moment, place):%H:%M%z}")
    return found


@pytest.mark.parametrize(("zone", "spring", "autumn"), NIGHTS)
def test_cron_in_the_nights_that_the_clock_is_set_in_two_zones(zone: str, spring: str, autumn: str) -> None:
    def cron(expression: str, day: str) -> list[str]:
        return [tick[:5] for tick in by_the_wall(Schedule(cron=expression, timezone=zone), day, zone)]

    # A time that is left out comes once, right after; one that comes twice is had once; others as ever.
    assert cron("30 2 * * *", spring) == ["03:00"]
    assert cron("30 2 * * *", autumn) == ["02:30"]
    for day in (spring, autumn):
        assert cron("0 9 * * *", day) == ["09:00"]
        assert cron("59 23 * * *", day) == ["23:59"]
    # What comes every hour comes in every hour that there is.
    assert len(cron("15 * * * *", spring)) == 23
    assert len(cron("15 * * * *", autumn)) == 25


@pytest.mark.parametrize(("zone", "spring", "autumn"), NIGHTS)
@pytest.mark.parametrize("interval", [600, 3600, 86400])
def test_an_interval_does_not_notice_that_the_clock_is_set(
    zone: str, spring: str, autumn: str, interval: int
) -> None:
    schedule = Schedule(interval_seconds=interval, timezone=zone)
    for day in (spring, autumn):
        due = ticks(schedule, at(f"{day}T00:00Z") - 86400, 3 * 86400 // interval)
        assert {round(later - earlier, 3) for earlier, later in pairwise(due)} == {interval}


@pytest.mark.parametrize(
    ("schedule", "path"),
    [
        (Schedule(cron="61 * * * *"), "cron"),
        (Schedule(cron="0 0 30 2 *"), "cron"),
        (Schedule(cron="* * *"), "cron"),
        (Schedule(interval_seconds=60, timezone="Mars/Olympus"), "timezone"),
        (Schedule(interval_seconds=60, timezone="../../etc/passwd"), "timezone"),
        (Schedule(), ""),
        (Schedule(interval_seconds=60, cron="* * * * *"), ""),
    ],
)
def test_a_bad_schedule_is_named_with_a_hint_and_ends_no_scheduler(schedule: Schedule, path: str) -> None:
    problems = check(schedule)
    assert [problem.path for problem in problems] == [path]
    assert problems[0].hint
    now = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
    assert next_due(schedule, now, seed="r") > now


def test_a_good_schedule_has_no_problem() -> None:
    assert check(Schedule(cron="*/5 8-18 * * 1-5", timezone="Europe/Bratislava")) == []
