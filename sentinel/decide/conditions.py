"""Which conditions a confirmed change meets: always on the edge, never again while it stays so."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import re2

from sentinel.decide.compare import same_measure
from sentinel.decide.values import number_of, same
from sentinel.errors import CheckFailure
from sentinel.model import AlertPolicy, AvailabilityValue, Change, Condition, Fired, TextValue, Value

#: What fires where a rule names no condition: any confirmed change.
ANY_CHANGE: Final = Condition(id="change", type="value_changed", severity="warning")


def fired(policy: AlertPolicy, change: Change) -> tuple[Fired, ...]:
    """Conditions of `policy` that `change` meets; none unless all do, where `match` is `all`."""
    conditions = policy.conditions or [ANY_CHANGE]
    met = [condition for condition in conditions if _MET[condition.type](condition, change)]
    if policy.match == "all" and len(met) < len(conditions):
        return ()
    return tuple(Fired(condition=condition.id, severity=condition.severity) for condition in met)


def _operand(condition: Condition) -> Decimal | None:
    return condition.value if isinstance(condition.value, Decimal) else None


def _numbers(change: Change) -> tuple[Decimal, Decimal] | None:
    """Before and after as numbers of one measure, or None."""
    old, new = number_of(change.before), number_of(change.after)
    if old is None or new is None or not same_measure(change.before, change.after):
        return None
    return old, new


def _below(condition: Condition, change: Change) -> bool:
    numbers, limit = _numbers(change), _operand(condition)
    return numbers is not None and limit is not None and numbers[1] < limit <= numbers[0]


def _above(condition: Condition, change: Change) -> bool:
    numbers, limit = _numbers(change), _operand(condition)
    return numbers is not None and limit is not None and numbers[0] <= limit < numbers[1]


def _drop_percent(condition: Condition, change: Change) -> bool:
    numbers, percent = _numbers(change), _operand(condition)
    if numbers is None or percent is None or numbers[0] <= 0:
        return False
    return (numbers[0] - numbers[1]) / numbers[0] * 100 >= percent


def _changed(condition: Condition, change: Change) -> bool:
    if same(change.before, change.after):
        return False
    numbers = _numbers(change)
    if numbers is None or condition.threshold is None:
        return True
    return abs(numbers[1] - numbers[0]) >= condition.threshold


def _increased(condition: Condition, change: Change) -> bool:
    numbers = _numbers(change)
    return numbers is not None and numbers[1] > numbers[0] and _changed(condition, change)


def _decreased(condition: Condition, change: Change) -> bool:
    numbers = _numbers(change)
    return numbers is not None and numbers[1] < numbers[0] and _changed(condition, change)


def _availability_is(condition: Condition, change: Change) -> bool:
    def is_it(value: Value | None) -> bool:
        return isinstance(value, AvailabilityValue) and value.status == condition.value

    return is_it(change.after) and not is_it(change.before)


def _text(value: Value | None) -> str:
    return value.text if isinstance(value, TextValue) else ""


def _text_changed(_: Condition, change: Change) -> bool:
    return isinstance(change.after, TextValue) and not same(change.before, change.after)


def _contains(condition: Condition, change: Change) -> bool:
    wanted = str(condition.value or "").casefold()
    return wanted in _text(change.after).casefold() and wanted not in _text(change.before).casefold()


def _matches(condition: Condition, change: Change) -> bool:
    """RE2: a pattern of a user's takes linear time."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 16 << 20
    try:
        pattern = re2.compile(str(condition.value or ""), options)
    except re2.error as exc:
        raise CheckFailure("RULE_INVALID", f"condition {condition.id}: {exc}") from exc
    return bool(pattern.search(_text(change.after))) and not pattern.search(_text(change.before))


def _appeared(_: Condition, change: Change) -> bool:
    return change.kind == "value_appeared"


def _disappeared(_: Condition, change: Change) -> bool:
    return change.kind == "value_disappeared"


_MET: Final[dict[str, Callable[[Condition, Change], bool]]] = {
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
