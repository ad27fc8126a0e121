"""What kind of change lies between two values."""

from __future__ import annotations

from decimal import Context, Decimal

from sentinel.decide.values import is_empty, number_of
from sentinel.model import (
    AvailabilityValue,
    Change,
    ChangeKind,
    JsonValue,
    NumberValue,
    PriceValue,
    TextValue,
    Value,
)

#: Amounts have at most 24 digits (sentinel.decide.number): nothing is rounded but the percent itself.
_EXACT = Context(prec=80)
#: What a lost or invented separator multiplies by.
_LOST = (100, 1000)


def compare(before: Value, after: Value) -> Change:
    """The change from `before` to `after`, which differ."""
    return Change(kind=_kind(before, after), before=before, after=after, percent=_percent(before, after))


def same_measure(before: Value | None, after: Value | None) -> bool:
    """Whether their numbers may be compared: 100 EUR and 100 USD may not, nor 5 % and 5 pieces.

    Other units are words of the page (`1 review`, `2 reviews`) and stop no comparison.
    """
    if isinstance(before, PriceValue) and isinstance(after, PriceValue):
        return before.currency is None or after.currency is None or before.currency == after.currency
    if isinstance(before, NumberValue) and isinstance(after, NumberValue):
        percent = [value.unit == "%" for value in (before, after) if value.unit is not None]
        return len(set(percent)) < 2
    return isinstance(before, JsonValue) and isinstance(after, JsonValue)


def lost_separator(before: Value | None, after: Value) -> bool:
    """Whether an amount is exactly 100 or 1000 times the other (`129,99` read as `12999`), or became nothing.

    True changes of that size are rare enough to be looked at once more.
    """
    old, new = number_of(before), number_of(after)
    if not isinstance(after, PriceValue) or old is None or new is None or old == 0:
        return False
    return new == 0 or any(new == old * times or new * times == old for times in _LOST)


def _kind(before: Value, after: Value) -> ChangeKind:
    if is_empty(before) != is_empty(after):
        return "value_disappeared" if is_empty(after) else "value_appeared"
    if type(before) is not type(after):
        return "format_changed"  # the rule's kind was edited: there is nothing to compare with
    if isinstance(after, TextValue):
        return "text_diff"
    if isinstance(before, AvailabilityValue) and isinstance(after, AvailabilityValue):
        return "status_change" if before.status != after.status else "value_changed"
    old, new = number_of(before), number_of(after)
    if old is None or new is None or old == new or not same_measure(before, after):
        return "value_changed"
    return "increased" if new > old else "decreased"


def _percent(before: Value, after: Value) -> Decimal | None:
    """Relative change in percent, two places; None where there is none (from zero, other currency)."""
    old, new = number_of(before), number_of(after)
    if old is None or new is None or old == 0 or not same_measure(before, after):
        return None
    share = _EXACT.divide(_EXACT.multiply(new - old, Decimal(100)), abs(old))
    return share.quantize(Decimal("0.01"), context=_EXACT)
