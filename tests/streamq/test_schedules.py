"""When ticks are, and which of them are fired: grids, time zones, policies; by examples and by properties."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamq import Handlers, Job
from streamq.broker import ScheduleChange
from streamq.clock import ManualClock
from streamq.errors import InvalidJob, InvalidPayload, StreamqError, UnknownStream
from streamq.recurring import Recurring, next_ticks, record_of
from streamq.schedules import (
    BATCH,
    CatchUp,
    Cron,
    Every,
    Record,
    Schedule,
    added,
    due_of,
    fire,
    new_schedule,
    next_tick,
    paused,
    resumed,
    tick_words,
    upcoming,
)
from streamq.testing import MemoryBroker
from streamq.ticker import fire_due

#: 2026-01-01T00:00:00Z, ms.
NEW_YEAR = 1_767_225_600_000
ZONE = "Europe/Bratislava"


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def schedule(when: Every | Cron, **options: Any) -> Schedule:
    return new_schedule("s", when, {}, **options)


def ticks(when: Every | Cron, after: str, count: int, **options: Any) -> list[str]:
    return [tick_words(tick) for tick in upcoming(schedule(when, **options), ms(after), count)]


# --- the grid ------------------------------------------------------------------------------------------------


def test_an_interval_ticks_on_its_multiples_or_from_its_start_on() -> None:
    after = "2026-01-01T00:59:59.999+00:00"
    assert ticks(Every(3600), after, 2) == ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]
    start = ms("2026-01-01T00:10:00+00:00") / 1000
    assert ticks(Every(3600), after, 1, start=start) == ["2026-01-01T01:10:00Z"]
    assert ticks(Every(3600), "2025-01-01T00:00:00+00:00", 1, start=start) == ["2026-01-01T00:10:00Z"]
    assert ticks(Every(1.5), "2026-01-01T00:00:00+00:00", 1) == ["2026-01-01T00:00:01.500Z"]


def test_no_tick_is_before_the_start_or_after_the_end() -> None:
    start, end = NEW_YEAR / 1000, NEW_YEAR / 1000 + 120
    assert ticks(Every(60), "2025-06-01T00:00:00+00:00", 9, start=start, end=end) == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:00Z",
        "2026-01-01T00:02:00Z",
    ]
    assert ticks(Cron("* * * * *"), "2025-06-01T00:00:00+00:00", 9, start=start, end=end) == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:00Z",
        "2026-01-01T00:02:00Z",
    ]


# From Debian's cron(8), on changes of the clock; the last column is what real time makes of it.
@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            "2026-03-28T12:00:00+01:00",
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
            id="a time that is skipped runs right after the gap",
        ),
        pytest.param(
            "30 2 * * *",
            "2026-10-24T12:00:00+02:00",
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
            id="a time that is doubled runs once",
        ),
        pytest.param(
            "*/30 * * * *",
            "2026-10-25T01:45:00+02:00",
            [
                *("2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
                *("2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"),
            ],
            id="every half hour goes on through the doubled hour",
        ),
        pytest.param(
            "*/30 * * * *",
            "2026-03-29T01:45:00+01:00",
            ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
            id="and over the gap",
        ),
        pytest.param(
            "0 2,3 * * *",
            "2026-03-28T12:00:00+01:00",
            ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
            id="two times that fall upon one moment are one tick",
        ),
    ],
)
def test_daylight_saving(expression: str, after: str, expected: list[str]) -> None:
    assert ticks(Cron(expression, timezone=ZONE), after, len(expected)) == expected


@pytest.mark.parametrize("zone", ["Europe/Bratislava", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "15 */2 * * *", "0 0,1,2,3 * * *"])
@pytest.mark.parametrize("begin", ["2026-03-01T00:00:00+00:00", "2026-09-25T00:00:00+00:00"])
def test_ticks_over_a_change_of_the_clock_are_the_same_asked_for_one_by_one_and_rise(
    expression: str, zone: str, begin: str
) -> None:
    cron = schedule(Cron(expression, timezone=zone))
    at, end, asked = ms(begin), ms(begin) + 45 * 86_400_000, list[int]()
    while at < end:
        tick = next_tick(cron, at)
        assert tick is not None
        assert tick > at
        asked.append(at := tick)
    assert asked == list(upcoming(cron, ms(begin), len(asked)))
    if expression == "30 2 * * *":
        local = [datetime.fromtimestamp(tick / 1000, ZoneInfo(zone)) for tick in asked]
        days = [moment.date() for moment in local]
        assert days == [days[0] + timedelta(days=n) for n in range(len(days))], "once a day"
    if expression == "*/20 * * * *" and zone != "Australia/Lord_Howe":  # whose clock moves by half an hour
        assert {b - a for a, b in itertools.pairwise(asked)} == {1_200_000}


# --- what may not be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "options", "words"),
    [
        (Every(0.5), {}, "not between 1 and"),
        (Every(float("nan")), {}, "not between 1 and"),
        (Every(60), {"jitter": 59.0}, "of the interval"),
        (Every(60), {"max_runs": 0}, "max_runs"),
        (Every(60), {"start": -1.0}, "start"),
        (Every(60), {"start": 100.0, "end": 99.0}, "no tick between"),
        (Every(60), {"overlap": "skip", "catch_up": "every"}, "cannot each have a job"),
        (Every(60), {"overlap": "never"}, "overlap"),
        (Every(60), {"grace": -1.0}, "grace"),
        (Every(60), {"timeout": -1.0}, "timeout"),
        (Every(60), {"lane": "fast"}, "lane"),
        (Cron("61 * * * *"), {}, "not a cron expression"),
        (Cron("every day"), {}, "not a cron expression"),
        (Cron("0 0 31 2 *"), {}, "31 2"),
        (Cron("* * * * *", timezone="Mars/Olympus"), {}, "no such time zone"),
        (Cron("* * * * *", timezone="../../etc/passwd"), {}, "no such time zone"),
        (Cron("* * * * *"), {"jitter": 1e9}, "jitter"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_added(
    when: Every | Cron, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(StreamqError, match=words):
        schedule(when, **options)


@pytest.mark.parametrize("schedule_id", ["", "a@b", "a b", "a{b}", "x" * 201])
def test_an_id_that_cannot_be_is_refused(schedule_id: str) -> None:
    with pytest.raises(InvalidJob, match="its id must have"):
        new_schedule(schedule_id, Every(60), None)


class Note(msgspec.Struct, frozen=True):
    n: int


def test_a_payload_that_its_handler_would_not_be_given_is_refused_when_it_is_added() -> None:
    handlers = Handlers()

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        pass

    handlers.recur("notes", "good", Every(60), Note(1))
    with pytest.raises(InvalidPayload, match=r"schedule 'bad': .*Expected `int`, got `str`"):
        handlers.recur("notes", "bad", Every(60), {"n": "x"})
    with pytest.raises(InvalidPayload):
        handlers.recur("notes", "bad", Every(60), b"not json")
    with pytest.raises(InvalidJob, match="cannot be written as JSON"):
        handlers.recur("notes", "bad", Every(60), object())
    with pytest.raises(UnknownStream):
        handlers.recur("others", "good", Every(60), Note(1))
    for declare in (
        lambda: handlers.recur("notes", "good", Every(9), Note(1)),
        lambda: handlers.no_longer("notes", "good"),
    ):
        with pytest.raises(InvalidJob, match="is declared"):
            declare()
    handlers.no_longer("notes", "old")
    assert ([one.id for one in handlers.recurring("notes")], handlers.gone("notes")) == (["good"], ("old",))


def test_neither_cron_nor_time_zones_are_imported_before_somebody_uses_them() -> None:
    program = (
        "import sys, streamq; streamq.Every(60); h = streamq.Handlers(); "
        "h.on('s', dict)(print); h.recur('s', 'a', streamq.Every(60), {});"
        "print([name for name in ('cronsim', 'zoneinfo') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


# --- which ticks are fired -----------------------------------------------------------------------------------


def after_two_hours(**options: Any) -> tuple[list[str], str | None]:
    """Ticks that have a job when nobody looked from 00:30 to 02:10, and the next one."""
    record = added(None, schedule(**({"when": Every(1800)} | options)), NEW_YEAR)
    record = msgspec.structs.replace(record, tick=NEW_YEAR + 1_800_000)
    fired = []
    while (firing := fire(record, NEW_YEAR + 7_800_000)) is not None:
        fired += [job.id.partition("@")[2] for job in firing.jobs]
        record = firing.record
    return fired, None if record.tick is None else tick_words(record.tick)


def test_missed_ticks_have_one_job_or_each_one_or_none() -> None:
    next_one = "2026-01-01T02:30:00Z"
    assert after_two_hours() == (["2026-01-01T02:00:00Z"], next_one)
    assert after_two_hours(catch_up="every") == (
        [f"2026-01-01T0{time}:00Z" for time in ("0:30", "1:00", "1:30", "2:00")],
        next_one,
    )
    assert after_two_hours(catch_up="skip") == ([], next_one)
    assert after_two_hours(catch_up="skip", grace=900.0) == (["2026-01-01T02:00:00Z"], next_one)
    assert after_two_hours(catch_up="every", max_runs=3)[0][-1] == "2026-01-01T01:30:00Z"
    assert after_two_hours(when=Cron("0 * * * *")) == (["2026-01-01T02:00:00Z"], "2026-01-01T03:00:00Z")
    assert after_two_hours(end=NEW_YEAR / 1000 + 7200) == (["2026-01-01T02:00:00Z"], None)


def test_years_of_missed_seconds_are_one_job_at_once_and_a_batch_at_a_time_where_each_is_wanted() -> None:
    much_later = NEW_YEAR + 3 * 366 * 86_400_000
    for when in (Every(1), Cron("* * * * * *")):
        firing = fire(Record(schedule=schedule(when), tick=NEW_YEAR), much_later)
        assert firing is not None
        assert firing.ticks == (much_later,)
    firing = fire(Record(schedule=schedule(Every(1), catch_up="every"), tick=NEW_YEAR), much_later)
    assert firing is not None
    assert len(firing.ticks) == BATCH


def test_jitter_moves_a_ticks_job_always_to_the_same_moment_and_never_before_the_tick() -> None:
    jittered = schedule(Every(60), jitter=30.0)
    moments = [due_of(jittered, tick) - tick for tick in upcoming(jittered, NEW_YEAR, 200)]
    assert moments == [due_of(jittered, tick) - tick for tick in upcoming(jittered, NEW_YEAR, 200)]
    assert all(0 <= moment < 30_000 for moment in moments)
    assert len(set(moments)) > 190
    record = added(None, jittered, NEW_YEAR)
    assert record.tick is not None
    assert record.due_ms is not None
    assert fire(record, record.due_ms - 1) is None
    firing = fire(record, record.due_ms)
    assert firing is not None
    assert firing.ticks == (record.tick,)


def test_a_pause_is_not_made_up_for_and_the_count_of_runs_goes_on() -> None:
    record = added(None, schedule(Every(60), max_runs=2), NEW_YEAR)
    firing = fire(record, NEW_YEAR + 60_000)
    assert firing is not None
    stopped = paused(firing.record)
    assert (stopped.tick, stopped.due_ms, fire(stopped, NEW_YEAR * 2)) == (None, None, None)
    again = resumed(stopped, NEW_YEAR + 3_600_000)
    assert again.tick == NEW_YEAR + 3_660_000
    assert resumed(again, NEW_YEAR * 2) == again
    firing = fire(again, NEW_YEAR + 3_660_000)
    assert firing is not None
    assert firing.record.tick is None, "two runs in all"
    longer = added(firing.record, schedule(Every(60), max_runs=3), NEW_YEAR + 4_000_000)
    assert longer.tick == NEW_YEAR + 4_020_000


@settings(max_examples=60, deadline=None)
@given(
    interval=st.sampled_from([1.0, 7.5, 60.0, 3600.0]),
    catch_up=st.sampled_from(["once", "every", "skip"]),
    steps=st.lists(
        st.tuples(st.floats(0.0, 20_000.0), st.permutations([0, 1, 2]), st.integers(1, 3)), max_size=8
    ),
    offset=st.floats(0.0, 100.0),
)
def test_whatever_workers_and_clocks_do_the_ticks_that_are_fired_are_those_of_the_grid(
    interval: float,
    catch_up: CatchUp,
    steps: list[tuple[float, list[int], int]],
    offset: float,
) -> None:
    """`steps`: seconds that pass, in which order three workers then act on what each has seen, and how many."""
    asyncio.run(_the_grid(interval, catch_up, steps, offset))


async def _the_grid(
    interval: float, catch_up: CatchUp, steps: list[tuple[float, list[int], int]], offset: float
) -> None:
    clock = ManualClock(NEW_YEAR / 1000 + round(offset, 3))
    broker = MemoryBroker(clock)
    begun = int(clock.time() * 1000 + 0.001)
    await Recurring("jobs", broker).add("s", Every(interval), None, catch_up=catch_up)
    expected: list[str] = []
    fired_up_to = begun
    for seconds, order, workers in steps:
        clock.advance(min(round(seconds, 3), 200 * interval))
        now = int(clock.time() * 1000 + 0.001)
        # Each of them has seen the same record; then they act one after the other.
        seen = [await broker.due_schedules("jobs") for _ in range(3)]
        for worker in order[:workers]:
            for stored in seen[worker].found:
                record = record_of("jobs", stored)
                assert record is not None
                firing = fire(record, seen[worker].server_ms)
                assert firing is not None
                change = ScheduleChange(
                    schedule_id="s",
                    expected=stored.revision,
                    body=msgspec.json.encode(firing.record),
                    due_ms=firing.record.due_ms,
                    not_before_ms=firing.not_before_ms,
                    jobs=firing.jobs,
                )
                await broker.change_schedule("jobs", change)
        await fire_due(broker, "jobs", lambda _: None)

        step = round(interval * 1000)
        grid = [tick for tick in range(0, now + 1 - NEW_YEAR, step) if tick + NEW_YEAR > fired_up_to]
        due = [tick_words(tick + NEW_YEAR) for tick in grid]
        if due and catch_up == "every":
            expected += due
        elif due and (catch_up == "once" or now - (grid[-1] + NEW_YEAR) <= 60_000):
            expected.append(due[-1])
        fired_up_to = now
    jobs = [one.envelope.id.partition("@")[2] for one in await broker.waiting("jobs", limit=100_000)]
    assert jobs == expected


async def test_next_ticks_are_told_and_none_while_it_is_paused() -> None:
    broker = MemoryBroker(ManualClock(NEW_YEAR / 1000))
    recurring = Recurring("jobs", broker)
    await recurring.add("s", Every(60), None)
    found = next_ticks(await recurring.get("s"), 2)
    assert [datetime.fromtimestamp(tick, UTC).minute for tick in found] == [1, 2]
    assert next_ticks(await recurring.pause("s"), 2) == []
