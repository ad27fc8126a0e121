"""What kind of change lies between two values."""

from __future__ import annotations

from decimal import Decimal

from sentinel.decide.values import number_of
from sentinel.model import AvailabilityValue, Change, ChangeKind, PriceValue, TextValue, Value


def compare(before: Value, after: Value) -> Change:
    """The change from `before` to `after`, which differ."""
    return Change(kind=_kind(before, after), before=before, after=after, percent=_percent(before, after))


def same_measure(before: Value | None, after: Value | None) -> bool:
    """Whether their numbers may be compared: 100 EUR and 100 USD may not."""
    if isinstance(before, PriceValue) and isinstance(after, PriceValue):
        return before.currency is None or after.currency is None or before.currency == after.currency
    return getattr(before, "unit", None) == getattr(after, "unit", None)


def _kind(before: Value, after: Value) -> ChangeKind:
    if isinstance(before, TextValue) and isinstance(after, TextValue):
        if not before.text.strip():
            return "value_appeared"
        return "text_diff" if after.text.strip() else "value_disappeared"
    if isinstance(after, AvailabilityValue):
        return "status_change"
    old, new = number_of(before), number_of(after)
    if old is None or new is None or old == new or not same_measure(before, after):
        return "value_changed"
    return "increased" if new > old else "decreased"


def _percent(before: Value, after: Value) -> Decimal | None:
    """Relative change in percent, two places; None where there is none (from zero, other currency)."""
    old, new = number_of(before), number_of(after)
    if old is None or new is None or old == 0 or not same_measure(before, after):
        return None
    return ((new - old) / abs(old) * 100).quantize(Decimal("0.01"))
