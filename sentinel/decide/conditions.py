"""Which conditions a confirmed change meets: always on the edge, never again while it stays so."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Final

import re2

from sentinel.decide.compare import same_measure
from sentinel.decide.values import is_empty, number_of, same
from sentinel.model import (
    AlertPolicy,
    AvailabilityValue,
    Change,
    Clause,
    Condition,
    Fired,
    JsonValue,
    PriceValue,
    TextValue,
    Value,
)

#: Conditions whose value is an amount of the rule's currency.
_LIMITS: Final = frozenset({"price_below", "price_above", "value_below", "value_above"})
#: What fires where a rule names no condition: any confirmed change.
ANY_CHANGE: Final = Condition(id="change", type="value_changed", severity="warning")


def fired(policy: AlertPolicy, change: Change, *, currency: str | None = None) -> tuple[Fired, ...]:
    """Conditions of `policy` that `change` meets; none unless all do, where `match` is `all`.

    `currency` is the rule's, the one its limits are meant in: a price in another never meets them.
    """
    conditions = policy.conditions or [ANY_CHANGE]
    foreign = _foreign(change.after, currency)
    met = [
        condition
        for condition in conditions
        if not (foreign and condition.type in _LIMITS) and _is_met(condition, change)
    ]
    if policy.match == "all" and len(met) < len(conditions):
        return ()
    return tuple(Fired(condition=condition.id, severity=condition.severity) for condition in met)


def _is_met(clause: Clause, change: Change) -> bool:
    return clause.type is not None and _MET[clause.type](clause, change)


def _foreign(value: Value, currency: str | None) -> bool:
    """A price in another currency than the rule's."""
    return (
        isinstance(value, PriceValue)
        and None not in {value.currency, currency}
        and value.currency != currency
    )


def _operand(condition: Clause) -> Decimal | None:
    return condition.value if isinstance(condition.value, Decimal) else None


def _numbers(change: Change) -> tuple[Decimal, Decimal] | None:
    """Before and after as numbers of one measure, or None."""
    old, new = number_of(change.before), number_of(change.after)
    if old is None or new is None or not same_measure(change.before, change.after):
        return None
    return old, new


def _sides(change: Change) -> tuple[Decimal | None, Decimal] | None:
    """Before (None where there was nothing) and after, for limits; None where they cannot be told."""
    new = number_of(change.after)
    if new is not None and is_empty(change.before):
        return None, new
    return _numbers(change)


def _below(condition: Clause, change: Change) -> bool:
    sides, limit = _sides(change), _operand(condition)
    if sides is None or limit is None:
        return False
    old, new = sides
    return new < limit and (old is None or old >= limit)


def _above(condition: Clause, change: Change) -> bool:
    sides, limit = _sides(change), _operand(condition)
    if sides is None or limit is None:
        return False
    old, new = sides
    return new > limit and (old is None or old <= limit)


def _drop_percent(condition: Clause, change: Change) -> bool:
    numbers, percent = _numbers(change), _operand(condition)
    if numbers is None or percent is None or numbers[0] <= 0:
        return False
    return (numbers[0] - numbers[1]) / numbers[0] * 100 >= percent


def _changed(condition: Clause, change: Change) -> bool:
    if same(change.before, change.after):
        return False
    numbers = _numbers(change)
    if numbers is None or condition.threshold is None:
        return True
    return abs(numbers[1] - numbers[0]) >= condition.threshold


def _increased(condition: Clause, change: Change) -> bool:
    numbers = _numbers(change)
    return numbers is not None and numbers[1] > numbers[0] and _changed(condition, change)


def _decreased(condition: Clause, change: Change) -> bool:
    numbers = _numbers(change)
    return numbers is not None and numbers[1] < numbers[0] and _changed(condition, change)


def _availability_is(condition: Clause, change: Change) -> bool:
    def is_it(value: Value | None) -> bool:
        return isinstance(value, AvailabilityValue) and value.status == condition.value

    return is_it(change.after) and not is_it(change.before)


def _text(value: Value | None) -> str:
    match value:
        case TextValue():
            return value.text
        case JsonValue():
            return value.canonical
        case _:
            return ""


def _text_changed(_: Clause, change: Change) -> bool:
    return isinstance(change.after, TextValue | JsonValue) and not same(change.before, change.after)


def _contains(condition: Clause, change: Change) -> bool:
    wanted = str(condition.value or "").casefold()
    return wanted in _text(change.after).casefold() and wanted not in _text(change.before).casefold()


def _matches(condition: Clause, change: Change) -> bool:
    pattern = _pattern(str(condition.value or ""))
    if pattern is None:
        return False
    return bool(pattern.search(_text(change.after))) and not pattern.search(_text(change.before))


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re2._Regexp[str] | None:
    """RE2, because a pattern of a user's must take linear time; None where it is none (import refuses it)."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 16 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _appeared(_: Clause, change: Change) -> bool:
    return change.kind == "value_appeared"


def _disappeared(_: Clause, change: Change) -> bool:
    return change.kind == "value_disappeared"


_MET: Final[dict[str, Callable[[Clause, Change], bool]]] = {
    "price_below": _below,
    "price_above": _above,
    "price_drop_percent": _drop_percent,
    "availability_is": _availability_is,
    "text_changed": _text_changed,
    "number_changed": _changed,
    "number_below": _below,
    "number_above": _above,
    "value_changed": _changed,
    "value_increased": _increased,
    "value_decreased": _decreased,
    "value_above": _above,
    "value_below": _below,
    "value_appeared": _appeared,
    "value_disappeared": _disappeared,
    "text_contains": _contains,
    "text_matches": _matches,
}
