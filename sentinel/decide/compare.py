"""What kind of change lies between two values."""

from __future__ import annotations

from decimal import Context, Decimal

from sentinel.decide import units
from sentinel.decide.rows import rows_change
from sentinel.decide.values import is_empty, number_of, same
from sentinel.model import (
    AvailabilityValue,
    Change,
    ChangeKind,
    DateValue,
    FieldsValue,
    JsonValue,
    NumberValue,
    PriceValue,
    RowsValue,
    TextValue,
    Value,
)

#: Amounts have at most 24 digits (sentinel.decide.number): nothing is rounded but the percent itself.
_EXACT = Context(prec=80)
#: What a lost or invented separator multiplies by.
_LOST = (100, 1000)


def compare(before: Value | None, after: Value | None) -> Change:
    """The change from `before` to `after`, which differ. None: an optional field that is not there."""
    if isinstance(before, FieldsValue) and isinstance(after, FieldsValue):
        return _of_fields(before, after)
    rows = (
        rows_change(before, after) if isinstance(before, RowsValue) and isinstance(after, RowsValue) else None
    )
    return Change(
        kind=_kind(before, after), before=before, after=after, percent=_percent(before, after), rows=rows
    )


def _of_fields(before: FieldsValue, after: FieldsValue) -> Change:
    """A record's change is that of its only field that changed, or `value_changed` of several."""
    changes = {
        name: compare(before.fields.get(name), value)
        for name, value in after.fields.items()
        if not same(before.fields.get(name), value)
    }
    only = next(iter(changes.values())) if len(changes) == 1 else None
    return Change(
        kind="value_changed" if only is None else only.kind,
        before=before,
        after=after,
        percent=None if only is None else only.percent,
        fields=changes,
    )


def same_measure(before: Value | None, after: Value | None) -> bool:
    """Whether their numbers may be compared: 100 EUR and 100 USD may not, nor 5 % and 5, or GB and kg.

    Other units are words of the page (`1 review`, `2 reviews`) and stop no comparison. What measures the
    same (GB, MB) was brought to one unit when it was read, see `sentinel.decide.normalise`.
    """
    match before, after:
        case PriceValue(), PriceValue():
            return before.currency is None or after.currency is None or before.currency == after.currency
        case NumberValue(), NumberValue():
            percent = [value.unit == "%" for value in (before, after) if value.unit is not None]
            return len(set(percent)) < 2 and not units.are_different(before.unit, after.unit)
        case (JsonValue(), JsonValue()) | (DateValue(), DateValue()):
            return True
    return False


def lost_separator(before: Value | None, after: Value | None) -> bool:
    """Whether one is exactly 100 or 1000 times the other (`129,99` read as `12999`), or a price is nothing.

    True changes of that size are rare enough to be looked at once more. Of a record: of any field.
    """
    if isinstance(before, FieldsValue) and isinstance(after, FieldsValue):
        return any(lost_separator(before.fields.get(name), one) for name, one in after.fields.items())
    old, new = number_of(before), number_of(after)
    if not isinstance(after, PriceValue | NumberValue) or old is None or new is None or old == 0:
        return False
    if new == 0:
        return isinstance(after, PriceValue)
    return any(new == old * times or new * times == old for times in _LOST)


def _kind(before: Value | None, after: Value | None) -> ChangeKind:  # noqa: PLR0911 - one clause per kind
    if is_empty(before) != is_empty(after):
        return "value_disappeared" if is_empty(after) else "value_appeared"
    if type(before) is not type(after):
        return "format_changed"  # the rule's kind was edited: there is nothing to compare with
    match before, after:
        case TextValue(), TextValue():
            return "text_diff"
        case RowsValue(), RowsValue():
            return "rows_changed"
        case AvailabilityValue(), AvailabilityValue():
            return "status_change" if before.status != after.status else "value_changed"
    old, new = number_of(before), number_of(after)
    if old is None or new is None or old == new or not same_measure(before, after):
        return "value_changed"
    return "increased" if new > old else "decreased"


def _percent(before: Value | None, after: Value | None) -> Decimal | None:
    """Relative change in percent, two places; None where there is none (from zero, other currency, dates)."""
    old, new = number_of(before), number_of(after)
    if old is None or new is None or old == 0 or not same_measure(before, after):
        return None
    if isinstance(after, DateValue):
        return None
    share = _EXACT.divide(_EXACT.multiply(new - old, Decimal(100)), abs(old))
    return share.quantize(Decimal("0.01"), context=_EXACT)
