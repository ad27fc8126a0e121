"""Which conditions are met: once when they become so, or (level) again and again while they are.

A clause is about a state (`price_below`: it can stay so) or about an event (`value_increased`: it is
over when it is told). A state is news when it is so and was not; `all` is news when all of it is so
and some of it is news, `any` when some of it is; `not` of a state is news when that ends. What cannot
be told (an amount in another currency, a field that is not there) is neither so nor not so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from sentinel.decide.asked import found, says
from sentinel.decide.compare import compare, same_measure
from sentinel.decide.dates import days_of
from sentinel.decide.rows import text_of
from sentinel.decide.values import is_empty, number_of, same
from sentinel.model import (
    AlertPolicy,
    AvailabilityValue,
    Change,
    Clause,
    Condition,
    DateValue,
    FieldsValue,
    Fired,
    JsonValue,
    PriceValue,
    RowsValue,
    TextValue,
    Value,
)

#: Conditions whose value is an amount of the rule's currency.
_LIMITS: Final = frozenset({"price_below", "price_above", "value_below", "value_above"})
#: What fires where a rule names no condition: any confirmed change.
ANY_CHANGE: Final = Condition(id="change", type="value_changed", severity="warning")


class Before(NamedTuple):
    """A value that was believed until `at` (seconds since the epoch)."""

    at: float
    value: Value


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A confirmed reading, and all that conditions may ask about it."""

    before: Value | None
    after: Value | None
    #: None: it is as it was.
    change: Change | None
    now: float = 0.0
    #: It is the first reading: what is so already is no news.
    first: bool = False
    #: By field ('' where there are none): the currency its limits are meant in.
    currencies: Mapping[str, str | None] = {}
    #: What was believed before, for `lowest_in_days`; only where a rule asks for it.
    past: Sequence[Before] = ()
    #: As in RuleState.
    told: Mapping[str, float] = {}
    disarmed: Sequence[str] = ()
    #: Conditions met within a cooldown that is over, and what was told last: they are told now, if it is
    #: still so of what has become of that.
    owed: Sequence[str] = ()
    told_value: Value | None = None

    @property
    def since_told(self) -> Scene:
        """The same, looked at from the value that was told last."""
        if self.told_value is None:
            return self
        still = same(self.told_value, self.after)
        change = None if still else compare(self.told_value, self.after)
        return msgspec.structs.replace(self, before=self.told_value, change=change, told_value=None)


class Outcome(msgspec.Struct, frozen=True):
    """What is met, and what to remember of it."""

    met: tuple[Fired, ...]
    told: dict[str, float]
    disarmed: tuple[str, ...]
    #: Some of it was met before, within a cooldown: what is to be told begins with what was told last.
    late: bool = False


class _Answer(NamedTuple):
    """Whether something is so (None: it cannot be told), and whether that is news."""

    so: bool | None
    news: bool


def evaluate(policy: AlertPolicy, scene: Scene) -> Outcome:
    """The conditions of `policy` that are met now; none unless all are so, where `match` is `all`."""
    conditions = policy.conditions or [ANY_CHANGE]
    answers = {one.id: _answer(one, scene, negated=False) for one in conditions}
    late = {one.id for one in conditions if one.id in scene.owed and _is_due(one, scene)}
    fired = [one for one in conditions if one.id in late or _fires(one, answers[one.id], policy, scene)]
    if policy.match == "all":
        fired = (
            conditions if fired and all(one.id in late or answers[one.id].so for one in conditions) else []
        )
    so = {one.id for one in conditions if answers[one.id].so}
    levels = {one.id for one in conditions if one.mode == "level"}
    told = {name: at for name, at in scene.told.items() if name in so & levels}
    told |= {name: scene.now for name in so & levels if name not in told}
    told |= {one.id: scene.now for one in fired if one.id in levels}
    return Outcome(
        met=tuple(Fired(condition=one.id, severity=one.severity) for one in fired),
        told=told,
        disarmed=tuple(one.id for one in conditions if _waits(one, answers[one.id], scene)),
        late=any(one.id in late for one in fired),
    )


def needed_days(policy: AlertPolicy) -> Decimal | None:
    """How many days back the conditions look, or None."""
    found = [
        one.value
        for one in _clauses(policy)
        if one.type == "lowest_in_days" and isinstance(one.value, Decimal)
    ]
    return max(found, default=None)


def from_last_told(policy: AlertPolicy) -> bool:
    """Whether a condition measures from the value that was told last."""
    return any(one.from_ == "last_told" for one in _clauses(policy))


def _clauses(policy: AlertPolicy) -> Iterator[Clause]:
    waiting: list[Clause] = list(policy.conditions)
    while waiting:
        clause = waiting.pop()
        waiting += clause.parts
        yield clause


def _is_due(condition: Condition, scene: Scene) -> bool:
    """Whether what a cooldown held back is still so."""
    return bool(_answer(condition, scene.since_told, negated=False).so)


def _fires(condition: Condition, answer: _Answer, policy: AlertPolicy, scene: Scene) -> bool:
    if scene.first or not answer.so:
        return False
    if condition.mode == "level":
        told = scene.told.get(condition.id)
        every = condition.repeat_seconds or policy.cooldown_seconds
        return told is None or (every > 0 and scene.now - told >= every)
    return answer.news and condition.id not in scene.disarmed


def _waits(condition: Condition, answer: _Answer, scene: Scene) -> bool:
    """Whether it is not to be told before the number was on the other side of `rearm`."""
    if condition.rearm is None:
        return False
    if answer.so:
        return True
    number = number_of(_of(scene.after, condition.field))
    if condition.id not in scene.disarmed or number is None:
        return condition.id in scene.disarmed
    below = condition.type in {"price_below", "number_below", "value_below"}
    return number < condition.rearm if below else number > condition.rearm


# --- clauses ----------------------------------------------------------------------------------


def _answer(clause: Clause, scene: Scene, *, negated: bool) -> _Answer:
    if clause.not_ is not None:
        return _answer(clause.not_, scene, negated=not negated)
    if clause.any or clause.all:
        parts = [_answer(one, scene, negated=negated) for one in clause.parts]
        return _every(parts) if bool(clause.all) != negated else _some(parts)
    if clause.type in _STATES:
        return _of_state(clause, scene, negated=negated)
    return _of_event(clause, scene, negated=negated)


def _every(parts: Sequence[_Answer]) -> _Answer:
    so = all(part.so for part in parts)
    return _Answer(so, so and any(part.news for part in parts))


def _some(parts: Sequence[_Answer]) -> _Answer:
    return _Answer(any(part.so for part in parts), any(part.news for part in parts))


def _of_state(clause: Clause, scene: Scene, *, negated: bool) -> _Answer:
    before, after = _of(scene.before, clause.field), _of(scene.after, clause.field)
    if clause.type in _LIMITS and _foreign(after, scene.currencies.get(clause.field or "")):
        return _Answer(None, news=False)
    if isinstance(after, RowsValue) and not negated:
        return _Answer(_is(clause, after), _new_rows(clause, scene))
    so = _is(clause, after)
    # Where there was nothing, nothing was so; 100 USD do not say whether it was under 100 EUR.
    was = False if before is None or is_empty(before) else _is(clause, before)
    comparable = number_of(after) is None or is_empty(before) or same_measure(before, after)
    if negated:
        so, was = _other(so), _other(was)
    return _Answer(so, bool(so) and was is False and comparable and scene.change is not None)


def _other(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _of_event(clause: Clause, scene: Scene, *, negated: bool) -> _Answer:
    change = _change_of(scene.since_told if clause.from_ == "last_told" else scene, clause.field)
    happened = change is not None and clause.type is not None and _EVENTS[clause.type](clause, change, scene)
    so = not happened if negated else happened
    news = so and scene.change is not None
    return _Answer(news, news)


def _of(value: Value | None, field: str | None) -> Value | None:
    if field is None:
        return value
    return value.fields.get(field) if isinstance(value, FieldsValue) else None


def _change_of(scene: Scene, field: str | None) -> Change | None:
    if field is None or scene.change is None:
        return scene.change
    return scene.change.fields.get(field)


def _foreign(value: Value | None, currency: str | None) -> bool:
    """A price in another currency than the rule's."""
    return (
        isinstance(value, PriceValue)
        and None not in {value.currency, currency}
        and value.currency != currency
    )


# --- states: what is so of one value ----------------------------------------------------------


def _is(clause: Clause, value: Value | None) -> bool | None:
    return None if clause.type is None else _STATES[clause.type](clause, value)


def _operand(clause: Clause, value: Value | None) -> Decimal | None:
    if isinstance(value, DateValue):
        return days_of(str(clause.value))
    return clause.value if isinstance(clause.value, Decimal) else None


def _below(clause: Clause, value: Value | None) -> bool | None:
    number, limit = number_of(value), _operand(clause, value)
    return None if number is None or limit is None else number < limit


def _above(clause: Clause, value: Value | None) -> bool | None:
    number, limit = number_of(value), _operand(clause, value)
    return None if number is None or limit is None else number > limit


def _availability_is(clause: Clause, value: Value | None) -> bool | None:
    return isinstance(value, AvailabilityValue) and value.status == clause.value


def _text(value: Value | None) -> str:
    match value:
        case JsonValue():
            return value.canonical
        case RowsValue():
            return text_of(value)
        case _:
            return ""


def _finds(clause: Clause, value: Value | None) -> bool | None:
    return says(clause, value) if isinstance(value, TextValue) else found(clause, _text(value))


def _new_rows(clause: Clause, scene: Scene) -> bool:
    """Whether a row that is new, or otherwise than it was, says it: of a list older rows may say it too."""
    change = _change_of(scene, clause.field)
    if change is None or change.rows is None or not isinstance(change.after, RowsValue):
        return False
    before = change.before if isinstance(change.before, RowsValue) else RowsValue({})

    def tells(rows: RowsValue, key: str) -> bool:
        return key in rows.rows and found(clause, text_of(rows, [key]))

    keys = change.after.rows if change.rows.new_columns else (*change.rows.added, *change.rows.changed)
    return any(tells(change.after, key) and not tells(before, key) for key in keys)


_STATES: Final[dict[str, Callable[[Clause, Value | None], bool | None]]] = {
    "price_below": _below,
    "price_above": _above,
    "number_below": _below,
    "number_above": _above,
    "value_below": _below,
    "value_above": _above,
    "availability_is": _availability_is,
    "text_contains": _finds,
    "text_matches": _finds,
}


# --- events: what a change did ----------------------------------------------------------------


def _numbers(change: Change) -> tuple[Decimal, Decimal] | None:
    """Before and after as numbers of one measure, or None."""
    old, new = number_of(change.before), number_of(change.after)
    if old is None or new is None or not same_measure(change.before, change.after):
        return None
    return old, new


def _drop_percent(clause: Clause, change: Change, _: Scene) -> bool:
    numbers, percent = _numbers(change), _operand(clause, None)
    if numbers is None or percent is None or numbers[0] <= 0:
        return False
    return (numbers[0] - numbers[1]) / numbers[0] * 100 >= percent


def _changed(clause: Clause, change: Change, _: Scene) -> bool:
    if same(change.before, change.after):
        return False
    numbers = _numbers(change)
    if numbers is None or clause.threshold is None:
        return True
    return abs(numbers[1] - numbers[0]) >= clause.threshold


def _increased(clause: Clause, change: Change, scene: Scene) -> bool:
    numbers = _numbers(change)
    return numbers is not None and numbers[1] > numbers[0] and _changed(clause, change, scene)


def _decreased(clause: Clause, change: Change, scene: Scene) -> bool:
    numbers = _numbers(change)
    return numbers is not None and numbers[1] < numbers[0] and _changed(clause, change, scene)


def _text_changed(_: Clause, change: Change, __: Scene) -> bool:
    return isinstance(change.after, TextValue | JsonValue) and not same(change.before, change.after)


def _appeared(_: Clause, change: Change, __: Scene) -> bool:
    return change.kind == "value_appeared"


def _disappeared(_: Clause, change: Change, __: Scene) -> bool:
    return change.kind == "value_disappeared"


def _rows(clause: Clause, keys: Sequence[str]) -> bool:
    return len(keys) >= (_operand(clause, None) or 1)


def _rows_added(clause: Clause, change: Change, _: Scene) -> bool:
    return change.rows is not None and _rows(clause, change.rows.added)


def _rows_removed(clause: Clause, change: Change, _: Scene) -> bool:
    return change.rows is not None and _rows(clause, change.rows.removed)


def _lowest(clause: Clause, change: Change, scene: Scene) -> bool:
    """Lower than anything believed in so many days, the value until now included."""
    numbers, days = _numbers(change), _operand(clause, None)
    if numbers is None or days is None or numbers[1] >= numbers[0]:
        return False
    since = scene.now - float(days) * 86400
    # Of what was believed before, only what can be compared with it: another currency says nothing.
    earlier = [_of(one.value, clause.field) for one in scene.past if one.at >= since]
    comparable = [number_of(one) for one in earlier if same_measure(one, change.after)]
    return all(one is None or numbers[1] < one for one in comparable)


_EVENTS: Final[dict[str, Callable[[Clause, Change, Scene], bool]]] = {
    "price_drop_percent": _drop_percent,
    "text_changed": _text_changed,
    "number_changed": _changed,
    "value_changed": _changed,
    "value_increased": _increased,
    "value_decreased": _decreased,
    "value_appeared": _appeared,
    "value_disappeared": _disappeared,
    "rows_added": _rows_added,
    "rows_removed": _rows_removed,
    "lowest_in_days": _lowest,
}
