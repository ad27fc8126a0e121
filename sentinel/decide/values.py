"""Values as the outside sees them: JSON shapes (docs/cli), words for people, and what counts as equal."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from sentinel.decide.jsonfield import plain
from sentinel.decide.text import shorten
from sentinel.model import (
    AvailabilityValue,
    JsonValue,
    NumberValue,
    PriceValue,
    TextValue,
    Value,
)

#: Characters of a text told in a title.
_TOLD = 80


def value_json(value: Value | None) -> Any:  # Any: JSON
    """The JSON shape of a value; Decimals as text, so that no reader rounds them."""
    match value:
        case PriceValue():
            return {"amount": plain(value.amount), "currency": value.currency}
        case AvailabilityValue():
            return {"status": value.status, "lead_time_days": value.lead_time_days}
        case NumberValue():
            return {"number": plain(value.number), "unit": value.unit}
        case TextValue():
            return {"text": value.text, "hash": value.hash}
        case JsonValue():
            return json.loads(value.canonical)
        case None:
            return None


def describe(value: Value | None) -> str:
    """A value in a few words."""
    match value:
        case PriceValue():
            return f"{plain(value.amount)} {value.currency or ''}".strip()
        case AvailabilityValue():
            days = f" ({value.lead_time_days} days)" if value.lead_time_days is not None else ""
            return value.status.replace("_", " ") + days
        case NumberValue():
            return f"{plain(value.number)} {value.unit or ''}".strip()
        case TextValue():
            return shorten(value.text, _TOLD)
        case JsonValue():
            return shorten(value.canonical, _TOLD)
        case None:
            return "nothing"


def number_of(value: Value | None) -> Decimal | None:
    """What can be compared as a number, or None."""
    match value:
        case PriceValue():
            return value.amount
        case NumberValue():
            return value.number
        case _:
            return None


def same(one: Value | None, other: Value | None) -> bool:
    """Whether two values mean the same.

    A price that once names its currency and once does not is the same price, and a text is the same
    when its neutralised form is.
    """
    match one, other:
        case PriceValue(), PriceValue():
            unknown = one.currency is None or other.currency is None
            return one.amount == other.amount and (unknown or one.currency == other.currency)
        case NumberValue(), NumberValue():
            return one.number == other.number and one.unit == other.unit
        case TextValue(), TextValue():
            return one.hash == other.hash
        case _:
            return one == other
