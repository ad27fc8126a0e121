"""Conditions on texts that are longer than what is kept of them: they see all of it."""

from __future__ import annotations

import pytest

from sentinel.decide import judge
from sentinel.decide.normalise import normalise_rule
from sentinel.model import (
    AlertPolicy,
    Clause,
    Condition,
    Extracted,
    Extraction,
    Field,
    Rule,
    RuleState,
    TextValue,
    Value,
)

LONG = " ".join(f"word{number}" for number in range(2_000))
CSS = Extraction(method="css", selector="p")


def rule(kind: str, *conditions: Condition) -> Rule:
    return Rule(
        id="terms",
        url="https://shop.example.com/terms",
        type=kind,  # type: ignore[arg-type] - one of the literals
        extraction=None if kind == "record" else CSS,
        fields={"body": Field(type="text", extraction=CSS)} if kind == "record" else {},
        alert_policy=AlertPolicy(conditions=list(conditions), channels=["ops"]),
    )


def read(the_rule: Rule, text: str) -> Value:
    found = Extracted(raw=text)
    if the_rule.type == "record":
        found = Extracted(raw="", fields={"body": found})
    return normalise_rule(found, the_rule).value


def told(the_rule: Rule, *texts: str) -> list[int]:
    """At which of the texts it is told."""
    state, at = RuleState(), []
    for number, text in enumerate(texts):
        verdict = judge(the_rule, state, None, read(the_rule, text), now=1_790_000_000.0 + 3600 * number)
        state = verdict.state
        if verdict.alerts:
            at.append(number)
    return at


@pytest.mark.parametrize(
    "condition",
    [
        Condition(id="recall", type="text_contains", value="Product Recall"),
        Condition(id="recall", type="text_matches", value=r"product\s+recall today$"),
    ],
)
@pytest.mark.parametrize("kind", ["text", "record"])
def test_a_word_at_the_end_of_a_long_text_is_told_when_it_comes(kind: str, condition: Condition) -> None:
    if kind == "record":
        condition = Condition(id="recall", type=condition.type, value=condition.value, field="body")
    texts = [f"{LONG} nothing", f"{LONG} product recall today", f"{LONG} again: product recall today"]
    assert told(rule(kind, condition), *texts) == [1]


def test_a_word_that_goes_from_the_end_of_a_long_text_is_told_by_not() -> None:
    gone = Condition(id="gone", not_=Clause(type="text_contains", value="recall"))
    assert told(rule("text", gone), f"{LONG} recall", f"{LONG} nothing") == [1]


def test_what_is_kept_to_show_stays_short() -> None:
    value = read(rule("text", Condition(id="a", type="text_contains", value="recall")), f"{LONG} recall")
    assert isinstance(value, TextValue)
    assert len(value.text) <= 8_000
    assert list((value.answers or {}).values()) == [True]


def test_a_condition_added_later_is_answered_at_the_next_look_though_nothing_changed() -> None:
    old, new = (
        rule("text", Condition(id="a", type="text_contains", value=word)) for word in ("x1", "recall")
    )
    first = judge(old, RuleState(), None, read(old, f"{LONG} recall"), now=1.0)
    second = judge(new, first.state, None, read(new, f"{LONG} recall"), now=2.0)
    third = judge(new, second.state, None, read(new, f"{LONG} recall at last"), now=3.0)
    assert (second.alerts, third.alerts) == ((), ())


def test_short_texts_and_rules_that_ask_nothing_keep_no_answers() -> None:
    asks = Condition(id="a", type="text_contains", value="recall")
    assert read(rule("text", asks), "recall").answers is None  # type: ignore[union-attr] - a text
    assert read(rule("text"), LONG).answers is None  # type: ignore[union-attr] - a text
