"""Numbers from one check to the next: formats and units that flip are no news."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sentinel.decide import normalise
from sentinel.decide.compare import compare, lost_separator, same_measure
from sentinel.decide.jsonfield import plain
from sentinel.decide.number import read_with_unit
from sentinel.decide.replay import PastCheck, Replay
from sentinel.model import (
    AlertPolicy,
    Condition,
    Extracted,
    Extraction,
    Normalization,
    NumberValue,
    PriceValue,
    Rule,
)

NUMBER = Normalization(kind="number")


def story(*pages: str, condition: Condition | None = None) -> list[tuple[str, str | None, int]]:
    """What a number rule believes after each page, with its unit, and how many alerts that made."""
    policy = AlertPolicy(require_consecutive=1, conditions=[condition] if condition else [])
    rule = Rule(
        id="it",
        url="https://example.com/",
        type="number",
        extraction=Extraction(method="css", selector="p"),
        alert_policy=policy,
    )
    replay = Replay(rule)
    told = []
    for at, raw in enumerate(pages):
        outcome = replay.judge(PastCheck(run_id=at, at=1e9 + 3600 * at, extracted=Extracted(raw=raw)))
        assert isinstance(outcome.value, NumberValue)
        told.append((plain(outcome.value.number), outcome.value.unit, int(outcome.alert is not None)))
    return told


def test_a_counter_that_passes_a_thousand_does_not_fall_to_one() -> None:
    few = Condition(id="few", type="number_below", value=Decimal(10), severity="critical")
    for pages in (
        ("998 Bewertungen", "999 Bewertungen", "1.000 Bewertungen", "1.001 Bewertungen"),
        ("998", "999", "1.000", "1.001"),
        ("1.002", "1.001", "1.000", "999"),
    ):
        assert sum(alerts for _, _, alerts in story(*pages, condition=few)) == 0
    assert [number for number, _, _ in story("998", "999", "1.000", "1.001")] == [
        "998",
        "999",
        "1000",
        "1001",
    ]


def test_a_number_that_changes_its_separators_is_the_same_number() -> None:
    assert story("1 234", "1,234", "1.234", "1'234") == [("1234", None, 0)] * 4


def test_what_is_small_stays_decimal() -> None:
    assert [number for number, _, _ in story("0.998", "1.001", "1.234")] == ["0.998", "1.001", "1.234"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.000 Bewertungen", "1000"),
        ("12.345 reviews", "12345"),
        ("1.234", "1.234"),
        ("1.234 kg", "1.234"),
        ("1.084 USD", "1.084"),
        ("2.375 Liter", "2.375"),
        ("3万 downloads", "30000"),
    ],
)
def test_a_first_number_is_thousands_where_things_are_counted(text: str, number: str) -> None:
    found = read_with_unit(text)
    assert found is not None
    assert found[0].number == Decimal(number)


def test_other_units_of_the_same_measure_are_told_in_the_first_one() -> None:
    low = Condition(id="low", type="number_below", value=Decimal(5))
    assert story("6 GB free", "900 MB free", condition=low) == [("6", "GB", 0), ("0.9", "GB", 1)]
    assert story("2 kg", "2000 g", "1.000 MB") == [("2", "kg", 0), ("2", "kg", 0), ("1", "MB", 1)]
    assert story("1 GiB", "1,024 MiB", "1.5 l", "1500 ml")[1:] == [
        ("1", "GiB", 0),
        ("1.5", "l", 1),
        ("1.5", "l", 0),
    ]


def test_what_measures_something_else_is_neither_more_nor_less() -> None:
    before, after = NumberValue(Decimal(6), "GB"), NumberValue(Decimal(900), "kg")
    assert not same_measure(before, after)
    assert compare(before, after).kind == "value_changed"
    assert compare(before, after).percent is None
    # A word of the page stops nothing.
    assert same_measure(NumberValue(Decimal(1), "review"), NumberValue(Decimal(2), "reviews"))


def test_a_number_100_or_1000_times_the_old_one_is_looked_at_once_more_and_zero_is_not() -> None:
    assert lost_separator(NumberValue(Decimal("1.234")), NumberValue(Decimal(1234)))
    assert lost_separator(NumberValue(Decimal(500)), NumberValue(Decimal(5)))
    assert not lost_separator(NumberValue(Decimal(5)), NumberValue(Decimal(0)))
    assert lost_separator(PriceValue(Decimal(5)), PriceValue(Decimal(0)))


def test_a_remembered_separator_and_the_rules_own_come_before_the_last_value() -> None:
    stable = NumberValue(Decimal(999))
    one = Extracted(raw="1.234")
    assert normalise(one, NUMBER, separator=".", stable=stable).value == NumberValue(Decimal("1.234"))
    own = Normalization(kind="number", decimal_separator=".")
    assert normalise(one, own, stable=stable).value == NumberValue(Decimal("1.234"))
