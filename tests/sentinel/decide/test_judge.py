"""The judgement on scripted histories: no alert about nothing, every true change, every broken rule, once."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.decide import judge, judge_failure, judge_not_modified
from sentinel.errors import ERROR_CODES
from sentinel.model import (
    AlertDraft,
    AlertPolicy,
    AvailabilityValue,
    Condition,
    Confirm,
    Extraction,
    JsonValue,
    Normalization,
    NumberValue,
    PriceValue,
    Rule,
    RuleState,
    TextValue,
    Value,
    Verdict,
)

NOW = 1_790_000_000.0
HOUR = 3600.0


def rule(*conditions: Condition, kind: str = "price", currency: str | None = None, **policy: object) -> Rule:
    return Rule(
        id="widget",
        url="https://shop.example.com/widget",
        type=kind,  # type: ignore[arg-type] - one of the literals
        extraction=Extraction(method="css", selector=".price"),
        normalization=Normalization(kind=kind, currency=currency),  # type: ignore[arg-type] - one of the literals
        alert_policy=AlertPolicy(conditions=list(conditions), channels=["ops"], **policy),  # type: ignore[arg-type] - test convenience
    )


def eur(amount: object, currency: str | None = "EUR") -> PriceValue:
    return PriceValue(Decimal(str(amount)), currency)


def story(of: Rule, *steps: Value | str, state: RuleState | None = None) -> list[Verdict]:
    """A check an hour: a value was read, a code ended it, or `304`."""
    verdicts: list[Verdict] = []
    state = state or RuleState()
    for number, step in enumerate(steps):
        now = NOW + number * HOUR
        if step == "304":
            verdict = judge_not_modified(of, state, now=now)
        elif isinstance(step, str):
            verdict = judge_failure(of, state, step, "detail", now=now)
        else:
            verdict = judge(of, state, "raw", step, now=now, timezone="Europe/Bratislava")
        verdicts.append(verdict)
        state = verdict.state
    return verdicts


def alerts(verdicts: list[Verdict]) -> list[AlertDraft]:
    return [alert for verdict in verdicts for alert in verdict.alerts]


def kinds(verdicts: list[Verdict]) -> list[str]:
    return [alert.kind for alert in alerts(verdicts)]


# --- anti-flap --------------------------------------------------------------------------------


def test_the_first_good_value_becomes_stable_without_an_alert() -> None:
    (first,) = story(rule(), eur(100))
    assert (first.confirmed, first.change, first.alerts) == (True, None, ())
    assert first.state.stable == eur(100)


def test_a_new_value_is_believed_after_as_many_equal_readings_as_asked() -> None:
    told = story(rule(require_consecutive=3), eur(100), eur(90), eur(90), eur(90))
    assert [verdict.confirmed for verdict in told] == [True, False, False, True]
    assert kinds(told) == ["change"]
    assert told[-1].change is not None
    assert (told[-1].change.kind, told[-1].change.percent) == ("decreased", Decimal("-10.00"))


def test_a_blip_is_never_told_and_another_value_starts_the_count_anew() -> None:
    assert kinds(story(rule(require_consecutive=2), eur(100), eur(1), eur(100), eur(1), eur(100))) == []
    assert kinds(story(rule(require_consecutive=2), eur(100), eur(1), eur(2), eur(3), eur(4))) == []


def test_a_failed_run_touches_neither_stable_nor_candidate() -> None:
    told = story(rule(require_consecutive=2), eur(100), eur(90), "FETCH_TIMEOUT", eur(90))
    assert told[2].state.candidate == eur(90)
    assert told[2].state.stable == eur(100)
    assert kinds(told) == ["change"]


def test_a_candidate_asks_for_a_check_soon_where_the_rule_wants_it() -> None:
    told = story(rule(require_consecutive=2, confirm=Confirm(within=60)), eur(100), eur(90), eur(90))
    assert [verdict.confirm_in for verdict in told] == [None, 60, None]


def test_an_implausible_value_needs_one_reading_more() -> None:
    state = story(rule(), eur(100))[-1].state
    once = judge(rule(), state, "raw", eur(5000), now=NOW, implausible="above the maximum")
    twice = judge(rule(), once.state, "raw", eur(5000), now=NOW, implausible="above the maximum")
    assert (once.confirmed, twice.confirmed) == (False, True)


def test_a_price_a_hundred_times_the_old_is_looked_at_once_more() -> None:
    assert kinds(story(rule(), eur("129.99"), eur(12999), eur("129.99"))) == []
    assert kinds(story(rule(), eur("129.99"), eur(0), eur("129.99"))) == []


def test_not_modified_is_the_last_reading_once_more_also_for_a_candidate() -> None:
    told = story(rule(require_consecutive=2), eur(100), eur(90), "304", "304")
    assert [verdict.confirmed for verdict in told] == [True, False, True, True]
    assert kinds(told) == ["change"]


def test_not_modified_keeps_what_was_read_of_a_candidate() -> None:
    twice = rule(require_consecutive=2)
    (first,) = story(twice, eur(100))
    seen = judge(twice, first.state, "90,00 €", eur(90), now=NOW)

    believed = judge_not_modified(twice, seen.state, now=NOW)

    assert (seen.state.stable_raw, seen.state.candidate_raw) == ("raw", "90,00 €")
    assert believed.confirmed
    assert (believed.state.stable_raw, believed.state.candidate_raw) == ("90,00 €", None)


def test_not_modified_does_not_make_an_implausible_candidate_plausible() -> None:
    twice = rule(require_consecutive=2)
    (first,) = story(twice, eur(100))
    seen = judge(twice, first.state, "raw", eur(5000), now=NOW, implausible="above the maximum")

    again = judge_not_modified(twice, seen.state, now=NOW)
    third = judge_not_modified(twice, again.state, now=NOW)

    assert (seen.confirmed, again.confirmed, third.confirmed) == (False, False, True)
    assert third.state.candidate_doubt is None


def test_not_modified_does_not_make_an_implausible_first_value_plausible() -> None:
    seen = judge(rule(), RuleState(), "raw", eur(5000), now=NOW, implausible="above the maximum")

    believed = judge_not_modified(rule(), seen.state, now=NOW)

    assert (seen.confirmed, believed.confirmed) == (False, True)
    assert kinds([seen, believed]) == []


def test_a_currency_that_is_missing_for_once_is_no_change_and_is_not_forgotten() -> None:
    told = story(rule(), eur(100, None), eur(100), eur(100, None))
    assert kinds(told) == []
    assert told[-1].state.stable == eur(100)


def test_a_rule_whose_kind_was_edited_starts_anew_without_an_alert() -> None:
    told = story(rule(), NumberValue(Decimal(100)), eur(100))
    assert kinds(told) == []
    assert told[-1].state.stable == eur(100)


VALUES = (
    st.decimals(-(10**9), 10**9, places=2).map(eur)
    | st.sampled_from(["in_stock", "out_of_stock", "backorder"]).map(AvailabilityValue)
    | st.text(max_size=20).map(lambda text: TextValue(text, f"hash of {text}"))
    | st.integers(-99, 99).map(lambda number: JsonValue(str(number)))
)


@given(VALUES, st.integers(1, 4), st.integers(1, 8))
def test_equal_values_never_alert(value: Value, required: int, readings: int) -> None:
    told = story(rule(require_consecutive=required), *[value] * readings)
    assert alerts(told) == []
    assert all(verdict.change is None for verdict in told)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30), st.integers(1, 3))
def test_an_alert_always_follows_enough_equal_readings_that_differ_from_the_stable(
    readings: list[int], required: int
) -> None:
    stable: int | None = None
    for at, verdict in enumerate(story(rule(require_consecutive=required), *map(eur, readings))):
        if "change" in kinds([verdict]):
            assert readings[at] != stable
            assert readings[at - required + 1 : at + 1] == [readings[at]] * required
        assert isinstance(verdict.state.stable, PriceValue)
        stable = int(verdict.state.stable.amount)


# --- conditions -------------------------------------------------------------------------------


def text(words: str) -> TextValue:
    return TextValue(words, f"hash of {words}")


@pytest.mark.parametrize(
    ("kind", "operand", "before", "after", "fires"),
    [
        ("price_below", "100", eur(120), eur(95), True),
        ("price_below", "100", eur(120), eur(100), False),
        ("price_below", "100", eur(95), eur(97), False),  # it was told when it went under
        ("price_below", "100", eur(120), eur(95, "USD"), False),
        ("price_above", "100", eur(95), eur(120), True),
        ("price_drop_percent", "10", eur(100), eur(90), True),
        ("price_drop_percent", "10", eur(100), eur("90.01"), False),
        ("price_drop_percent", "10", eur(100), eur(110), False),
        ("price_drop_percent", "10", eur(100), eur(50, "USD"), False),
        ("value_increased", None, eur(100), eur(101), True),
        ("value_decreased", None, eur(100), eur(101), False),
        ("value_above", "5", NumberValue(Decimal(5)), NumberValue(Decimal("5.1")), True),
        ("number_below", "5", NumberValue(Decimal(6), "%"), NumberValue(Decimal(4)), True),
        (
            "availability_is",
            "in_stock",
            AvailabilityValue("out_of_stock"),
            AvailabilityValue("in_stock"),
            True,
        ),
        ("availability_is", "in_stock", AvailabilityValue("in_stock"), AvailabilityValue("backorder"), False),
        ("text_changed", None, text("a"), text("b"), True),
        ("text_contains", "Sold", text("a"), text("now sold out"), True),
        ("text_contains", "sold", text("sold"), text("sold out"), False),
        ("text_matches", r"v\d+", text("a"), text("v12"), True),
        ("text_matches", "(", text("a"), text("b"), False),
        ("value_appeared", None, text(""), text("b"), True),
        ("value_appeared", None, text(""), eur(5), True),
        ("value_disappeared", None, eur(5), text(""), True),
        ("value_below", "100", text(""), eur(95), True),
        ("value_above", "10", JsonValue("9"), JsonValue("11"), True),
    ],
)
def test_a_condition_fires_on_the_edge(
    kind: str, operand: str | None, before: Value, after: Value, fires: bool
) -> None:
    only = rule(Condition(id="it", type=kind, value=operand))  # type: ignore[arg-type] - one of the literals
    assert len(alerts(story(only, before, after))) == fires


def test_a_limit_in_the_rules_currency_is_never_met_by_a_price_in_another() -> None:
    limit = rule(Condition(id="low", type="price_below", value=Decimal(100)), currency="EUR")
    assert kinds(story(limit, eur(120, "USD"), eur(90, "USD"))) == []


def test_a_change_under_the_threshold_is_none() -> None:
    wide = rule(Condition(id="it", type="number_changed", threshold=Decimal(5)), kind="number")
    numbers = [NumberValue(Decimal(n)) for n in (10, 14, 20)]
    assert [len(v.alerts) for v in story(wide, *numbers)] == [0, 0, 1]


def test_any_fires_with_one_and_all_only_with_all_at_the_highest_severity() -> None:
    low = Condition(id="low", type="price_below", value=Decimal(100), severity="info")
    drop = Condition(id="drop", type="price_drop_percent", value=Decimal(50), severity="critical")
    assert kinds(story(rule(low, drop), eur(120), eur(90))) == ["change"]
    assert kinds(story(rule(low, drop, match="all"), eur(120), eur(90))) == []
    (alert,) = alerts(story(rule(low, drop, match="all"), eur(120), eur(40)))
    assert (alert.severity, alert.conditions) == ("critical", ("low", "drop"))


def test_within_the_cooldown_an_alert_is_recorded_as_suppressed() -> None:
    told = alerts(story(rule(cooldown_seconds=5400), eur(100), eur(90), eur(80), eur(70)))
    assert [alert.suppressed for alert in told] == [None, "cooldown", None]


RISE = Condition(id="rise", type="value_increased", severity="info")
LOW = Condition(id="low", type="price_below", value=Decimal(50), severity="critical")


def test_what_is_more_severe_passes_a_cooldown_and_begins_its_own() -> None:
    told = alerts(
        story(rule(RISE, LOW, cooldown_seconds=86_400), eur(60), eur(61), eur(40), eur(70), eur(45))
    )
    assert [(one.severity, one.suppressed) for one in told] == [
        ("info", None),
        ("critical", None),
        ("info", "cooldown"),
        ("critical", "cooldown"),
    ]


def test_what_a_cooldown_held_back_is_told_when_it_is_over_if_it_still_is_so() -> None:
    low = Condition(id="low", type="price_below", value=Decimal(50), severity="info")
    of = rule(RISE, low, cooldown_seconds=3 * 3600)
    told = alerts(story(of, eur(60), eur(61), eur(40), eur(40), eur(39), eur(39)))
    assert [(one.suppressed, one.title) for one in told] == [
        (None, "widget: 60 EUR -> 61 EUR"),
        ("cooldown", "widget: 61 EUR -> 40 EUR"),
        (None, "widget: 61 EUR -> 39 EUR"),
    ]
    assert told[-1].conditions == ("low",)
    # It is over by then: there is nothing left to tell.
    assert len(alerts(story(of, eur(60), eur(61), eur(40), eur(70), eur(61), eur(61), eur(61)))) == 3


def test_what_rose_within_a_cooldown_is_told_afterwards_of_the_value_that_was_told() -> None:
    of = rule(RISE, cooldown_seconds=3 * 3600)
    told = alerts(story(of, eur(60), eur(61), eur(65), eur(63), eur(63), eur(63), eur(63)))
    assert [(one.suppressed, one.title) for one in told] == [
        (None, "widget: 60 EUR -> 61 EUR"),
        ("cooldown", "widget: 61 EUR -> 65 EUR"),
        (None, "widget: 61 EUR -> 63 EUR"),
    ]
    assert len(alerts(story(of, eur(60), eur(61), eur(65), eur(61), eur(61), eur(61), eur(61)))) == 2


def test_a_blip_at_the_end_of_a_cooldown_tells_nothing_that_was_not_believed() -> None:
    low = Condition(id="low", type="price_below", value=Decimal(50), severity="info")
    of = rule(RISE, low, cooldown_seconds=4 * 3600, require_consecutive=2)
    prices = (60, 61, 61, 40, 40, 99, 40, 40)
    assert [one.title for one in alerts(story(of, *map(eur, prices))) if one.suppressed is None] == [
        "widget: 60 EUR -> 61 EUR",
        "widget: 61 EUR -> 40 EUR",
    ]


def test_with_all_of_them_required_what_is_owed_is_told_once_all_of_it_holds_still() -> None:
    of = rule(
        RISE, Condition(id="high", type="price_above", value=Decimal(62)), match="all", cooldown_seconds=7200
    )
    told = alerts(story(of, eur(60), eur(63), eur(70), eur(70), eur(70), eur(70)))
    assert [(one.suppressed, one.conditions) for one in told] == [
        (None, ("rise", "high")),
        ("cooldown", ("rise", "high")),
        (None, ("rise", "high")),
    ]


@pytest.mark.parametrize(
    ("condition", "values", "told"),
    [
        ({"type": "price_drop_percent", "value": Decimal(10)}, (100, 92, 85, 78), [2]),
        ({"type": "price_drop_percent", "value": Decimal(10)}, (100, 92, 85, 80, 76), [2, 4]),
        ({"type": "number_changed", "threshold": Decimal(5)}, (10, 13, 16, 19), [2]),
        ({"type": "value_increased", "threshold": Decimal(5)}, (10, 13, 10, 14, 16), [4]),
    ],
)
def test_small_steps_are_told_when_they_have_become_a_large_one_where_a_rule_asks(
    condition: dict[str, Any], values: tuple[int, ...], told: list[int]
) -> None:
    def when(**more: str) -> list[int]:
        of = rule(Condition(id="moved", **condition, **more))  # type: ignore[arg-type] - from the table above
        return [at for at, one in enumerate(story(of, *map(eur, values))) if one.alerts]

    assert when(from_="last_told") == told
    assert when() == []


def test_only_what_measures_a_change_can_be_measured_from_what_was_told() -> None:
    with pytest.raises(ValueError, match="from: last_told"):
        Condition(id="a", type="price_below", value=Decimal(5), from_="last_told")


def test_the_alert_tells_before_and_after_and_its_key_is_rule_condition_value_and_local_day() -> None:
    (alert,) = alerts(story(rule(), eur(100), eur("89.50")))
    assert alert.body["fields"] == [
        {
            "name": "price",
            "before": {"amount": "100", "currency": "EUR"},
            "after": {"amount": "89.5", "currency": "EUR"},
        }
    ]
    assert alert.body["change"] == {"kind": "decreased", "percent": "-10.50"}
    assert alert.dedupe_key.startswith("widget:change:89.50_EUR:2026-09-")
    # 22:30 UTC is the next day in Bratislava
    late = NOW - NOW % 86400 + 22.5 * 3600
    state = RuleState(stable=eur(100))
    keys = [
        judge(rule(), state, "", eur(9), now=late, timezone=zone).alerts[0].dedupe_key
        for zone in ("UTC", "Europe/Bratislava", "No/Zone")
    ]
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]


# --- health -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(code for code, known in ERROR_CODES.items() if known.retryable))
def test_one_passing_failure_breaks_no_rule(code: str) -> None:
    told = story(rule(), eur(100), code, eur(100))
    assert kinds(told) == []
    assert told[-1].state.health == 100


@pytest.mark.parametrize(
    ("code", "runs"),
    [
        ("EXTRACT_SELECTOR_NOT_FOUND", 3),
        ("FETCH_HTTP_4XX", 3),
        ("BLOCK_CAPTCHA_SUSPECTED", 4),
        ("FETCH_TIMEOUT", 5),
        ("FETCH_HTTP_5XX", 5),
        ("RULE_INVALID", 1),
    ],
)
def test_a_failure_that_stays_breaks_the_rule_and_is_told_once(code: str, runs: int) -> None:
    told = story(rule(), eur(100), *[code] * 12)
    assert kinds(told) == ["health"]
    assert told[runs].alerts
    assert told[runs].alerts[0].body["code"] == code


def test_our_own_trouble_is_never_the_rules_fault() -> None:
    assert kinds(story(rule(), eur(100), *["SYSTEM_STORE"] * 50)) == []


def test_a_broken_rule_is_remembered_once_a_day() -> None:
    assert kinds(story(rule(), eur(100), *["FETCH_HTTP_4XX"] * 52)) == ["health"] * 3


def test_recovery_is_told_once_after_more_than_one_good_run() -> None:
    told = story(rule(), eur(100), *["FETCH_HTTP_4XX"] * 3, *[eur(100)] * 6)
    assert kinds(told) == ["health", "recovery"]
    assert [v.state.health_state for v in told[3:7]] == ["broken", "broken", "ok", "ok"]


def test_a_rule_that_fails_every_second_time_is_not_called_broken() -> None:
    assert kinds(story(rule(), *[eur(100), "FETCH_TIMEOUT"] * 20)) == []


def test_a_break_is_never_shown_as_a_change() -> None:
    told = story(rule(), eur(100), *["PAGE_EMPTY"] * 8, *[eur(100)] * 4)
    assert kinds(told) == ["health", "recovery"]
    assert all(verdict.change is None for verdict in told)


CODES = [
    "FETCH_TIMEOUT",
    "FETCH_DNS",
    "FETCH_CONNECTION",
    "FETCH_TLS",
    "FETCH_HTTP_4XX",
    "FETCH_HTTP_5XX",
    "FETCH_REFUSED_ADDRESS",
    "FETCH_BAD_URL",
    "FETCH_ROBOTS",
    "FETCH_TOO_LARGE",
    "FETCH_DECODE",
    "BLOCK_CAPTCHA_SUSPECTED",
    "BLOCK_CLOUDFLARE_SUSPECTED",
    "BLOCK_FORBIDDEN_403",
    "BLOCK_RATE_LIMIT_429",
    "PAGE_LOGIN",
    "PAGE_CONSENT",
    "PAGE_MAINTENANCE",
    "PAGE_EMPTY",
    "EXTRACT_SELECTOR_NOT_FOUND",
    "EXTRACT_SCHEMA_NOT_FOUND",
    "EXTRACT_EMPTY_VALUE",
    "EXTRACT_PARSE_ERROR",
    "EXTRACT_UNSTABLE",
    "EXTRACT_AMBIGUOUS",
    "SELECTOR_HEALED",
    "VALUE_IMPLAUSIBLE",
    "RULE_INVALID",
    "SYSTEM_WORKER_CRASH",
    "SYSTEM_QUEUE_DELAY",
    "RULE_SILENT",
    "SYSTEM_BROWSER",
    "SYSTEM_SOLVER",
    "SYSTEM_STORE",
]


def test_every_error_code_tells_people_what_to_do() -> None:
    assert set(ERROR_CODES) == set(CODES)
    for code, known in ERROR_CODES.items():
        assert code == known.code
        assert known.title
        assert known.description
        assert known.recommendation
        assert 0 <= known.weight <= 100


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        # 2026-01-10 in Bratislava: 23:59 and 00:01, two minutes and a day apart.
        ("2026-01-10T22:59:00+00:00", "2026-01-10T23:01:00+00:00", False),
        # The same two moments are one day in UTC only.
        ("2026-01-09T23:30:00+00:00", "2026-01-10T22:30:00+00:00", True),
        # Days of 23 and of 25 hours.
        ("2026-03-28T23:00:00+00:00", "2026-03-29T21:59:00+00:00", True),
        ("2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00", False),
        ("2026-10-24T22:00:00+00:00", "2026-10-25T22:59:00+00:00", True),
        ("2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00", False),
    ],
)
def test_the_day_of_the_key_is_the_workspaces_also_when_the_clock_is_changed(
    first: str, second: str, same: bool
) -> None:
    keys = []
    for moment in (first, second):
        now = datetime.fromisoformat(moment).timestamp()
        verdict = judge(
            rule(Condition(id="moved", type="value_changed")), RuleState(stable=eur(100)), "90", eur(90),
            now=now, timezone="Europe/Bratislava",
        )  # fmt: skip
        keys += [draft.dedupe_key for draft in verdict.alerts]
    assert (keys[0] == keys[1]) is same


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (TextValue("short", "1"), TextValue("other", "2"), "short -> other"),
        (TextValue("long " * 20, "1"), TextValue("long " * 21, "2"), "the text changed"),
        (JsonValue("[1]"), JsonValue("[2]"), "[1] -> [2]"),
        (JsonValue("[1]"), JsonValue(f"[{'1,' * 40}1]"), "the data changed"),
    ],
)
def test_a_title_quotes_short_values_and_leaves_long_ones_to_the_difference(
    before: Value, after: Value, told: str
) -> None:
    kind = "text" if isinstance(before, TextValue) else "json_field"
    watched = rule(Condition(id="moved", type="value_changed"), kind=kind)

    *_, last = story(watched, before, after)

    assert last.alerts[0].title == f"{watched.title}: {told}"
