"""Values as the outside sees them: JSON shapes (docs/cli), words for people, and what counts as equal."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from math import isfinite
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

#: A JSON number of a size to reckon with.
_NUMBER = re.compile(r"-?\d{1,24}(?:\.\d{1,24})?")
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
            return json.loads(value.canonical, parse_float=_float_or_text)
        case None:
            return None


def _float_or_text(written: str) -> float | str:
    """A JSON number no float holds exactly stays text: `1e999` would be printed as Infinity."""
    number = float(written)
    return number if isfinite(number) and Decimal(repr(number)) == Decimal(written) else written


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
        case JsonValue() if _NUMBER.fullmatch(value.canonical):
            return Decimal(value.canonical)
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
            return one.number == other.number and _same_unit(one.unit, other.unit)
        case TextValue(), TextValue():
            return one.hash == other.hash
        case _:
            return one == other


def _same_unit(one: str | None, other: str | None) -> bool:
    """`12 Reviews` is `12 reviews`, and a unit that is missing for once is the same."""
    return one is None or other is None or one.casefold() == other.casefold()


def is_empty(value: Value | None) -> bool:
    """Whether it is the empty text (`empty: value`) or JSON's null."""
    match value:
        case TextValue():
            return not value.text
        case JsonValue():
            return value.canonical in {"null", '""'}
        case _:
            return value is None
