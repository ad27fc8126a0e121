"""Conditions about states and events, alone and combined: when they are told, and when not again."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sentinel.decide import judge
from sentinel.decide.conditions import Before, needed_days
from sentinel.errors import ERROR_CODES
from sentinel.model import (
    AlertPolicy,
    AvailabilityValue,
    Clause,
    Condition,
    DateValue,
    Extraction,
    Field,
    FieldsValue,
    PriceValue,
    RowsValue,
    Rule,
    RuleState,
    TextValue,
    Value,
    Verdict,
)

NOW = 1_790_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR
CSS = Extraction(method="css", selector="p")


def rule(*conditions: Condition, kind: str = "price", **policy: object) -> Rule:
    fields = {
        "price": Field(type="price", extraction=CSS),
        "stock": Field(type="availability", extraction=CSS, optional=True),
    }
    return Rule(
        id="widget",
        url="https://shop.example.com/widget",
        type=kind,  # type: ignore[arg-type] - one of the literals
        extraction=None if kind == "record" else CSS,
        fields=fields if kind == "record" else {},
        alert_policy=AlertPolicy(conditions=list(conditions), channels=["ops"], **policy),  # type: ignore[arg-type] - test convenience
    )


def eur(amount: object, currency: str = "EUR") -> PriceValue:
    return PriceValue(Decimal(str(amount)), currency)


def offer(price: object, stock: str | None) -> FieldsValue:
    return FieldsValue({"price": eur(price), "stock": None if stock is None else AvailabilityValue(stock)})  # type: ignore[arg-type] - one of the literals


def rows(*keys: str, ordered: bool = False, **cells: str) -> RowsValue:
    return RowsValue({key: dict(cells) for key in keys}, ordered=ordered)


def story(of: Rule, *values: Value, every: float = HOUR) -> list[Verdict]:
    state, verdicts = RuleState(), []
    for number, value in enumerate(values):
        verdict = judge(of, state, "raw", value, now=NOW + number * every)
        state = verdict.state
        verdicts.append(verdict)
    return verdicts


def told(of: Rule, *values: Value, every: float = HOUR) -> list[int]:
    """Which of the readings (from 0) were told."""
    return [at for at, verdict in enumerate(story(of, *values, every=every)) if verdict.fired]


# --- any, all, not ----------------------------------------------------------------------------

CHEAP = Clause(type="price_below", value=Decimal(100), field="price")
THERE = Clause(type="availability_is", value="in_stock", field="stock")


def test_all_is_told_when_the_last_of_it_becomes_so_whichever_that_is() -> None:
    both = rule(Condition(id="buy", all=[CHEAP, THERE]), kind="record")
    gone, there = "out_of_stock", "in_stock"
    assert told(both, offer(120, gone), offer(90, gone), offer(90, there), offer(80, there)) == [2]
    assert told(both, offer(120, gone), offer(120, there), offer(90, there)) == [2]
    assert told(both, offer(120, gone), offer(90, there), offer(90, gone), offer(90, there)) == [1, 3]


def test_any_is_told_when_some_of_it_becomes_so() -> None:
    either = rule(Condition(id="look", any=[CHEAP, THERE]), kind="record")
    assert told(either, offer(120, "backorder"), offer(90, "backorder"), offer(90, "in_stock")) == [1, 2]


def test_not_of_a_state_is_told_when_it_ends() -> None:
    ends = rule(Condition(id="gone", not_=THERE), kind="record")
    assert told(ends, offer(9, "in_stock"), offer(9, "out_of_stock"), offer(9, "backorder")) == [1]


def test_not_of_an_event_is_told_of_every_other_change() -> None:
    other = rule(Condition(id="other", not_=Clause(type="value_increased")))
    assert told(other, eur(10), eur(11), eur(9), eur(12), eur(8)) == [2, 4]


def test_an_event_within_all_is_told_each_time_while_the_rest_stays_so() -> None:
    falls = Clause(type="value_decreased")
    under = Clause(type="price_below", value=Decimal(100))
    assert told(
        rule(Condition(id="x", all=[falls, under])), eur(120), eur(110), eur(90), eur(80), eur(85)
    ) == [
        2,
        3,
    ]


def test_conditions_nest() -> None:
    deep = Clause(any=[Clause(type="price_above", value=Decimal(150)), Clause(type="value_increased")])
    low = Clause(type="price_below", value=Decimal(100))
    nested = rule(Condition(id="x", all=[low, Clause(not_=deep)]))
    assert told(nested, eur(120), eur(90), eur(95), eur(85)) == [1, 3]


def test_what_is_in_another_currency_is_neither_under_a_limit_nor_not() -> None:
    never = rule(Condition(id="x", not_=Clause(type="price_below", value=Decimal(100))))
    assert told(never, eur(90), eur(90, "USD"), eur(120, "USD")) == [2]


def test_a_field_that_is_not_there_meets_no_state() -> None:
    there = rule(Condition(id="x", all=[THERE]), kind="record")
    assert told(there, offer(9, None), offer(9, "in_stock"), offer(9, None)) == [1]


def test_the_change_of_a_record_is_told_field_by_field() -> None:
    of = rule(Condition(id="any", type="value_changed"), kind="record")
    (_, one, two) = story(of, offer(120, "in_stock"), offer(90, "in_stock"), offer(80, None))
    assert one.change is not None
    assert (one.change.kind, list(one.change.fields), str(one.change.percent)) == (
        "decreased",
        ["price"],
        "-25.00",
    )
    assert two.change is not None
    assert (two.change.kind, two.change.fields["stock"].kind) == ("value_changed", "value_disappeared")
    assert [field["name"] for field in two.alerts[0].body["fields"]] == ["price", "stock"]


# --- level and re-arm -------------------------------------------------------------------------


def test_level_is_told_again_while_it_stays_so_and_not_before_its_time() -> None:
    low = Condition(
        id="low", type="price_below", value=Decimal(100), mode="level", repeat_seconds=int(3 * HOUR)
    )
    assert told(rule(low), eur(120), eur(90), *[eur(90)] * 7, eur(120), eur(120), eur(80)) == [1, 4, 7, 11]


def test_level_after_the_cooldown_where_no_time_is_said_and_each_time_is_told_as_its_own() -> None:
    low = Condition(id="low", type="price_below", value=Decimal(100), mode="level")
    verdicts = story(rule(low, cooldown_seconds=7200), eur(120), eur(90), eur(90), eur(90), eur(90), eur(90))
    alerts = [alert for verdict in verdicts for alert in verdict.alerts]
    assert len(alerts) == len({alert.dedupe_key for alert in alerts}) == 3
    assert [alert.suppressed for alert in alerts] == [None] * 3
    assert alerts[1].title == "widget: still 90 EUR"


def test_what_is_so_at_the_first_reading_is_no_news_but_level_comes_back_to_it() -> None:
    low = Condition(
        id="low", type="price_below", value=Decimal(100), mode="level", repeat_seconds=int(2 * HOUR)
    )
    assert told(rule(low), *[eur(90)] * 6) == [2, 4]


@pytest.mark.parametrize(
    ("kind", "limit", "rearm", "readings", "expected"),
    [
        ("price_below", 100, 105, (120, 99, 101, 99, 104, 98, 105, 99), [1, 7]),
        ("price_above", 100, 95, (90, 101, 99, 102, 96, 103, 95, 101), [1, 7]),
        ("price_below", 100, 100, (120, 99, 100, 99), [1, 3]),
    ],
)
def test_a_condition_with_rearm_waits_until_the_number_was_on_the_other_side(
    kind: str, limit: int, rearm: int, readings: tuple[int, ...], expected: list[int]
) -> None:
    of = rule(Condition(id="x", type=kind, value=Decimal(limit), rearm=Decimal(rearm)))  # type: ignore[arg-type] - one of the literals
    assert told(of, *map(eur, readings)) == expected


# --- rows, dates, the lowest in days ----------------------------------------------------------


def test_rows_added_and_removed_are_counted() -> None:
    two = rule(
        Condition(id="more", type="rows_added", value=Decimal(2)),
        Condition(id="gone", type="rows_removed"),
        kind="list",
    )
    verdicts = story(two, rows("a"), rows("a", "b"), rows("a", "b", "c", "d"), rows("d"))
    assert [[one.condition for one in verdict.fired] for verdict in verdicts] == [[], [], ["more"], ["gone"]]
    assert verdicts[2].change is not None
    assert verdicts[2].change.kind == "rows_changed"


def test_another_order_of_rows_is_no_change_unless_it_matters() -> None:
    of = rule(Condition(id="x", type="value_changed"), kind="list")
    assert told(of, rows("a", "b", "c"), rows("c", "a", "b")) == []
    (_, moved) = story(of, rows("a", "b", "c", ordered=True), rows("c", "a", "b", ordered=True))
    assert moved.change is not None
    assert moved.change.rows is not None
    assert moved.change.rows.moved == ("c",)


def test_a_text_in_a_list_is_looked_for_in_rows_that_are_new_or_changed() -> None:
    of = rule(Condition(id="x", type="text_contains", value="urgent"), kind="list")
    old = RowsValue({"1": {"t": "Urgent: now"}, "2": {"t": "calm"}})
    assert told(
        of, old, RowsValue({**old.rows, "3": {"t": "calm"}}), RowsValue({**old.rows, "4": {"t": "URGENT"}})
    ) == [2]
    assert told(of, old, RowsValue({**old.rows, "2": {"t": "urgent too"}})) == [1]


def test_dates_are_compared_as_days() -> None:
    of = rule(
        Condition(id="early", type="value_below", value="2026-12-01"),
        Condition(id="later", type="value_increased"),
        kind="date",
    )
    days = [DateValue("2026-12-24"), DateValue("2026-12-30"), DateValue("2026-11-30T10:00:00+01:00")]
    assert [[one.condition for one in verdict.fired] for verdict in story(of, *days)] == [
        [],
        ["later"],
        ["early"],
    ]


def test_the_lowest_in_days_looks_at_what_was_believed_within_them() -> None:
    of = rule(Condition(id="best", type="lowest_in_days", value=Decimal(30)))
    assert needed_days(of.alert_policy) == 30
    state = story(of, eur(100))[0].state
    past = [
        Before(NOW - 40 * DAY, eur(50)),
        Before(NOW - 20 * DAY, eur(80)),
        Before(NOW - DAY, eur(10, "USD")),
    ]
    fires = [bool(judge(of, state, "", eur(new), now=NOW, past=past).fired) for new in (79, 80, 90, 110)]
    assert fires == [True, False, False, False]


# --- flapping, shrunk pages -------------------------------------------------------------------


def test_a_value_that_never_holds_still_is_told_once_as_unstable() -> None:
    of = rule(require_consecutive=2)
    alerts = [
        alert for verdict in story(of, *(eur(number) for number in range(1, 40))) for alert in verdict.alerts
    ]
    assert [(alert.kind, alert.body["code"]) for alert in alerts] == [("health", "EXTRACT_UNSTABLE")]
    assert alerts[0].body["recommendation"] == ERROR_CODES["EXTRACT_UNSTABLE"].recommendation


def test_single_blips_far_apart_are_not_unstable() -> None:
    of = rule(require_consecutive=2)
    blips = [eur(number) for blip in range(20) for number in (100, 100, 100, blip + 1)]
    assert [verdict.alerts for verdict in story(of, *blips) if verdict.alerts] == []


def test_a_page_that_shrank_by_most_of_its_size_is_looked_at_once_more() -> None:
    of = rule()
    state = judge(of, RuleState(), "raw", eur(100), now=NOW, page_size=50_000).state
    small = judge(of, state, "raw", eur(90), now=NOW, page_size=9_000)
    assert (small.confirmed, small.state.candidate_doubt) == (
        False,
        "the page shrank from 50000 characters to 9000",
    )
    assert judge(of, small.state, "raw", eur(90), now=NOW, page_size=9_000).fired
    assert judge(of, state, "raw", eur(90), now=NOW, page_size=40_000).confirmed


def test_a_text_whose_lines_changed_places_is_the_same_text_unless_order_matters() -> None:
    of = rule(Condition(id="x", type="text_changed"), kind="text")
    assert told(of, TextValue("a b", "1", "sorted"), TextValue("b a", "2", "sorted")) == []
    assert told(of, TextValue("a b", "1"), TextValue("b a", "2")) == [1]
