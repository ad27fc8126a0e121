"""Dates as pages write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.decide.dates import days_of, read_date, same_moment
from sentinel.errors import CheckFailure
from sentinel.model import Normalization

PLAIN = Normalization(kind="date")

#: As shops, papers and feeds write them; the day is 24 November 2026.
WRITTEN = [
    "2026-11-24", "24.11.2026", "24. 11. 2026", "24/11/2026", "11/24/2026", "Nov 24, 2026", "24 November 2026",
    "Tuesday, November 24th, 2026", "24. November 2026", "Dienstag, 24. November 2026", "24 novembre 2026",
    "mardi 24 novembre 2026", "24 de noviembre de 2026", "24 de novembro de 2026", "24. novembra 2026",
    "24. listopadu 2026", "24 listopada 2026", "2026. november 24.", "24 noiembrie 2026", "24 Kasım 2026",
    "24 ноября 2026 г.", "24 листопада 2026", "24. marraskuuta 2026", "24 Νοεμβρίου 2026", "2026年11月24日",
    "2026년 11월 24일", "24 נובמבר 2026", "Published: 24 Nov 2026", "Ships on Nov 24, 2026",
]  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN)
def test_a_day_is_read_in_many_languages(written: str) -> None:
    assert read_date(written, PLAIN).date == "2026-11-24"


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00+00:00"),
        ("2026-11-24 10:00:00+01:00", "2026-11-24T10:00:00+01:00"),
        ("Tue, 24 Nov 2026 10:00:00 +0100", "2026-11-24T10:00:00+01:00"),
        ("24.11.2026 10:15 Uhr", "2026-11-24T10:15:00+00:00"),
        ("Nov 24, 2026 3:05 PM", "2026-11-24T15:05:00+00:00"),
        ("1795514400", "2026-11-24T10:00:00+00:00"),
        ("1795514400000", "2026-11-24T10:00:00+00:00"),
    ],
)
def test_a_moment_keeps_its_offset_and_is_utc_without_one(written: str, date: str) -> None:
    assert read_date(written, PLAIN).date == date


def test_a_time_without_a_zone_is_the_rule_s() -> None:
    there = Normalization(kind="date", timezone="Europe/Bratislava")
    assert read_date("24.7.2026 10:15", there).date == "2026-07-24T10:15:00+02:00"


def test_a_date_that_can_be_read_both_ways_is_ambiguous_until_the_rule_says() -> None:
    with pytest.raises(CheckFailure) as caught:
        read_date("03/04/2026", PLAIN)
    assert caught.value.code == "EXTRACT_AMBIGUOUS"
    assert "dateOrder" in caught.value.detail
    assert read_date("03/04/2026", Normalization(kind="date", date_order="mdy")).date == "2026-03-04"
    assert read_date("03/04/2026", Normalization(kind="date", date_order="dmy")).date == "2026-04-03"
    assert read_date("03.04.2026", PLAIN).date == "2026-04-03"


@pytest.mark.parametrize(
    "written", ["soon", "version 1.2.3", "12", "may", "99.99.2026", "x" * 5000, "2026-13-45"]
)
def test_what_is_no_date_is_an_error_and_nothing_is_filled_in(written: str) -> None:
    with pytest.raises(CheckFailure) as caught:
        read_date(written, PLAIN)
    assert caught.value.code == "EXTRACT_PARSE_ERROR"


def test_the_same_moment_in_two_zones_and_the_day_with_its_time_are_the_same() -> None:
    assert same_moment("2026-11-24T10:00:00+01:00", "2026-11-24T09:00:00+00:00")
    assert same_moment("2026-11-24", "2026-11-24T09:00:00+00:00")
    assert not same_moment("2026-11-24", "2026-11-25")


@given(st.dates())
def test_days_rise_with_the_date_and_every_iso_day_is_read_as_itself(day: object) -> None:
    assert read_date(str(day), PLAIN).date == str(day)
    days = days_of(str(day))
    assert days is not None
    assert days_of(f"{day}T12:00:00+00:00") == days + Decimal("0.5")
