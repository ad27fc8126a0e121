"""Quiet hours and windows by the clock on the wall: over midnight, and in nights of 23 and 25 hours."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.decide.hours import quiet_until, window_end
from sentinel.model import QuietHours

BRATISLAVA = "Europe/Bratislava"
NIGHT = QuietHours(start="22:00", end="07:00")
DAY = QuietHours(start="12:00", end="13:30")


def at(text: str, zone: str = BRATISLAVA, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def utc(text: str) -> float:
    return at(text, "UTC")


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        (NIGHT, "2026-01-10 21:59:59", None),
        (NIGHT, "2026-01-10 22:00", "2026-01-11 07:00"),
        (NIGHT, "2026-01-10 23:59:59", "2026-01-11 07:00"),
        (NIGHT, "2026-01-11 00:00", "2026-01-11 07:00"),
        (NIGHT, "2026-01-11 06:59:59", "2026-01-11 07:00"),
        (NIGHT, "2026-01-11 07:00", None),
        (DAY, "2026-01-10 11:59", None),
        (DAY, "2026-01-10 12:00", "2026-01-10 13:30"),
        (DAY, "2026-01-10 13:30", None),
        (NIGHT, "2026-12-31 22:30", "2027-01-01 07:00"),
        (QuietHours(start="00:00", end="06:00"), "2026-01-10 00:00", "2026-01-10 06:00"),
        (QuietHours(start="22:00", end="00:00"), "2026-01-10 23:00", "2026-01-11 00:00"),
    ],
)
def test_quiet_hours_are_local_and_go_over_midnight(quiet: QuietHours, now: str, until: str | None) -> None:
    assert quiet_until(quiet, BRATISLAVA, at(now)) == (None if until is None else at(until))


def test_no_quiet_hours_are_never_quiet() -> None:
    assert quiet_until(None, BRATISLAVA, at("2026-01-10 23:00")) is None


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        # 2026-03-29, 02:00 -> 03:00: the night is an hour shorter.
        (NIGHT, at("2026-03-28 22:00"), utc("2026-03-29 05:00")),
        # 2026-10-25, 03:00 -> 02:00: an hour longer.
        (NIGHT, at("2026-10-24 22:00"), utc("2026-10-25 06:00")),
        # The end is left out: quiet ends when the clock jumps.
        (QuietHours(start="22:00", end="02:30"), at("2026-03-29 01:30"), utc("2026-03-29 01:00")),
        # The end comes twice: quiet both times.
        (QuietHours(start="22:00", end="02:30"), at("2026-10-25 02:10"), utc("2026-10-25 00:30")),
        (QuietHours(start="22:00", end="02:30"), at("2026-10-25 02:40"), None),
        (QuietHours(start="22:00", end="02:30"), at("2026-10-25 02:10", fold=1), utc("2026-10-25 01:30")),
    ],
)
def test_the_clock_on_the_wall_decides_when_it_is_changed(
    quiet: QuietHours, now: float, until: float | None
) -> None:
    assert quiet_until(quiet, BRATISLAVA, now) == until


@given(
    now=st.floats(min_value=1.7e9, max_value=2.0e9),
    zone=st.sampled_from([BRATISLAVA, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    start=st.times(),
    end=st.times(),
)
def test_quiet_hours_always_end_later_and_within_a_day(now: float, zone: str, start: time, end: time) -> None:
    quiet = QuietHours(start=start.strftime("%H:%M"), end=end.strftime("%H:%M"))
    until = quiet_until(quiet, zone, now)
    assert until is None or now < until <= now + 25 * 3600


@pytest.mark.parametrize(
    ("every", "now", "end"),
    [
        (3600, "2026-01-10 14:00", "2026-01-10 15:00"),
        (3600, "2026-01-10 14:59:59", "2026-01-10 15:00"),
        (86400, "2026-01-10 00:00", "2026-01-11 00:00"),
        (43200, "2026-01-10 12:00", "2026-01-11 00:00"),
        # 50,000 s do not divide a day: the second window ends with it.
        (50_000, "2026-01-10 14:00", "2026-01-11 00:00"),
        (86400, "2026-03-29 12:00", "2026-03-30 00:00"),
        (86400, "2026-10-25 23:30", "2026-10-26 00:00"),
    ],
)
def test_windows_are_counted_from_local_midnight(every: int, now: str, end: str) -> None:
    assert window_end(every, BRATISLAVA, at(now)) == at(end)


@given(
    now=st.floats(min_value=1.7e9, max_value=2.0e9),
    every=st.integers(60, 86400),
    zone=st.sampled_from([BRATISLAVA, "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_a_window_ends_after_now_and_not_later_than_it_lasts(now: float, every: int, zone: str) -> None:
    end = window_end(every, zone, now)
    assert now < end <= now + every
    assert window_end(every, zone, end - 0.001) == end, "everybody in it computes the same end"
