"""Whether the conditions of a rule can ever be met, and by what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args

from sentinel.decide.dates import days_of
from sentinel.errors import Problem
from sentinel.extract.hints import did_you_mean, shown
from sentinel.extract.regex import trouble as regex_trouble
from sentinel.model import NUMERIC_CONDITIONS, AvailabilityStatus, Clause
from sentinel.rulefile.shape import BAD

# `Any` is a part of a struct as the reader made it.

_VALUE: Final = ("value_changed", "value_appeared", "value_disappeared")
_ORDERED: Final = ("value_increased", "value_decreased", "value_above", "value_below")
_NUMBER: Final = ("number_changed", "number_below", "number_above")
#: What may be asked of each type of rule, or of field.
FITTING: Final[dict[str, tuple[str, ...]]] = {
    "price": (
        "price_below",
        "price_above",
        "price_drop_percent",
        "lowest_in_days",
        *_NUMBER,
        *_VALUE,
        *_ORDERED,
    ),
    "number": ("lowest_in_days", *_NUMBER, *_VALUE, *_ORDERED),
    "availability": ("availability_is", *_VALUE),
    "text": ("text_changed", "text_contains", "text_matches", *_VALUE),
    "json_field": ("text_contains", "text_matches", "text_changed", *_VALUE, *_ORDERED),
    "date": (*_VALUE, *_ORDERED),
    "list": ("rows_added", "rows_removed", "text_contains", "text_matches", *_VALUE),
    #: Asked of the whole; with `field`, what fits that field's type.
    "record": _VALUE,
}
#: Conditions that say nothing without a value: of rows one is enough where no number is said.
_NEED_VALUE: Final = NUMERIC_CONDITIONS - {"rows_added", "rows_removed"} | {
    "availability_is",
    "text_contains",
    "text_matches",
}
_BELOW: Final = frozenset({"price_below", "number_below", "value_below"})
_ABOVE: Final = frozenset({"price_above", "number_above", "value_above"})
#: What can stay so; the others are about a change, which is over when it is told.
LASTING: Final = _BELOW | _ABOVE | {"availability_is", "text_contains", "text_matches"}
#: Days that may be looked back on.
_MAX_DAYS: Final = 3660


def clause_trouble(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Of one clause or condition by itself; paths are relative to it."""
    kind, value = parts.get("type"), parts.get("value")
    said = [name for name in ("type", "any", "all", "not_") if parts.get(name)]
    if len(said) != 1:
        told = "says nothing" if not said else f"has {' and '.join(said)}".replace("not_", "not")
        yield Problem("type", f"a condition {told}", "one of type, any, all, not")
    if kind is None or kind is BAD:
        return
    if value is None or value == "":
        if kind in _NEED_VALUE:
            yield Problem("value", f"{kind} needs a value", _value_hint(kind))
    elif kind in NUMERIC_CONDITIONS:
        yield from _range(kind, value)
    elif kind == "availability_is" and value not in get_args(AvailabilityStatus):
        hint = did_you_mean(str(value), get_args(AvailabilityStatus))
        yield Problem("value", f"{shown(str(value))} is not an availability", hint)
    elif kind == "text_matches" and (problem := regex_trouble(str(value))):
        yield Problem("value", problem.message, problem.hint)
    yield from _rearm(kind, value, parts.get("rearm"))


def rule_trouble(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Of the conditions beside the rule they belong to; paths are relative to the rule."""
    kind, policy = parts.get("type"), parts.get("alert_policy")
    if kind is None or policy in (None, BAD):
        return
    fields = parts.get("fields") or {}
    for index, condition in enumerate(policy.conditions):
        if condition is BAD:
            continue
        path = f"alertPolicy.conditions[{index}]"
        yield from _fitting(condition, kind, fields, path)
        if condition.mode == "level":
            yield from _level(condition, policy.cooldown_seconds, path)


def _fitting(clause: Clause, kind: str, fields: Mapping[str, Any], path: str) -> Iterator[Problem]:
    asked = kind
    if clause.field is not None:
        if kind != "record":
            yield Problem(f"{path}.field", f"a {kind} rule has no fields", "leave it out, or type: record")
            return
        if clause.field not in fields:
            yield Problem(
                f"{path}.field",
                f"there is no field {shown(clause.field)}",
                did_you_mean(clause.field, list(fields)),
            )
            return
        if fields[clause.field] is BAD:
            return
        asked = fields[clause.field].type
    if clause.type is not None and clause.type not in FITTING[asked]:
        what = f"a {asked} rule" if asked == kind else f"the {asked} field {clause.field}"
        names = "; with field: what fits the field" if asked == "record" else ""
        hint = "for this type: " + ", ".join(FITTING[asked]) + names
        yield Problem(f"{path}.type", f"{clause.type} cannot be asked of {what}", hint)
    elif clause.type in ("value_above", "value_below") and clause.value is not None:
        yield from _dated(clause, asked, path)
    for name, inner in _inner(clause):
        if inner is not BAD:
            yield from _fitting(inner, kind, fields, f"{path}.{name}")


def _inner(clause: Clause) -> Iterator[tuple[str, Any]]:
    yield from ((f"any[{index}]", one) for index, one in enumerate(clause.any))
    yield from ((f"all[{index}]", one) for index, one in enumerate(clause.all))
    if clause.not_ is not None:
        yield "not", clause.not_


def _dated(clause: Clause, asked: str, path: str) -> Iterator[Problem]:
    if asked == "date" and (isinstance(clause.value, Decimal) or days_of(str(clause.value)) is None):
        yield Problem(f"{path}.value", f"{clause.type} of a date needs a date", 'value: "2026-01-31"')
    elif asked != "date" and not isinstance(clause.value, Decimal):
        yield Problem(f"{path}.value", f"{clause.type} of a {asked} needs a number", "value: a number")


def _level(condition: Any, cooldown: int, path: str) -> Iterator[Problem]:
    passing = [one for one in _types(condition) if one not in LASTING]
    if passing:
        yield Problem(
            f"{path}.mode",
            f"{passing[0]} is about a change and cannot stay so",
            "mode: edge; level is for " + ", ".join(sorted(LASTING)),
        )
    if condition.repeat_seconds is None and not cooldown:
        yield Problem(
            f"{path}.repeatSeconds", "mode: level tells again and again: how often?", "repeatSeconds: 86400"
        )


def _types(clause: Any) -> Iterator[str]:
    if clause is BAD:
        return
    if clause.type is not None:
        yield clause.type
    for part in clause.parts:
        yield from _types(part)


def _range(kind: str, value: Any) -> Iterator[Problem]:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return  # a date, or the struct itself says so
    if kind == "price_drop_percent" and not 0 < number <= 100:
        yield Problem("value", f"a drop of {number} percent cannot happen", "a number over 0, up to 100")
    elif kind == "lowest_in_days" and not 0 < number <= _MAX_DAYS:
        yield Problem("value", f"{number} days cannot be looked back on", f"over 0, up to {_MAX_DAYS}")
    elif kind in ("rows_added", "rows_removed") and (number < 1 or number != number.to_integral_value()):
        yield Problem("value", f"{number} is no number of rows", "rows at least: 1 where it is left out")


def _rearm(kind: str, value: Any, rearm: Any) -> Iterator[Problem]:
    if rearm is None or rearm is BAD:
        return
    if kind not in _BELOW | _ABOVE:
        yield Problem("rearm", f"{kind} has no limit to be armed again at", "it is for below and above")
    elif isinstance(value, Decimal | int) and (rearm < value if kind in _BELOW else rearm > value):
        side = "under" if kind in _BELOW else "over"
        yield Problem("rearm", f"{rearm} is {side} the limit {value}: it would never wait", f"rearm: {value}")


def _value_hint(kind: str) -> str:
    if kind in NUMERIC_CONDITIONS:
        return "value: a number"
    if kind == "availability_is":
        return "value: one of " + ", ".join(get_args(AvailabilityStatus))
    return "value: the text or pattern"


def fields_trouble(parts: Mapping[str, Any]) -> Iterator[Problem]:
    """Of what a rule reads: kinds that are not the type's. Paths are relative to the rule."""
    kind, normalization = parts.get("type"), parts.get("normalization")
    if kind is not None and normalization not in (None, BAD) and normalization.kind != kind:
        yield _other_kind("", "rule", kind, normalization.kind)
    for name, field in (parts.get("fields") or {}).items():
        if field is not BAD and field.normalization is not None and field.normalization.kind != field.type:
            yield _other_kind(f"fields.{name}.", "field", field.type, field.normalization.kind)


def _other_kind(path: str, what: str, kind: str, found: str) -> Problem:
    return Problem(
        f"{path}normalization.kind",
        f"a {what} of type {kind} cannot have values of kind {found}",
        f"kind: {kind}",
    )
