"""Values as the outside sees them: JSON shapes (docs/cli), words for people, and what counts as equal."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from math import isfinite
from typing import Any

from sentinel.decide.currency import written
from sentinel.decide.dates import days_of, same_moment
from sentinel.decide.jsonfield import plain, same_json
from sentinel.decide.rows import same_rows
from sentinel.decide.text import shorten
from sentinel.model import (
    AvailabilityValue,
    DateValue,
    FieldsValue,
    JsonValue,
    NumberValue,
    PriceValue,
    RowsValue,
    TextValue,
    Value,
)

#: A JSON number of a size to reckon with.
_NUMBER = re.compile(r"-?\d{1,24}(?:\.\d{1,24})?")
#: Characters of a text told in a title.
_TOLD = 80


def value_json(value: Value | None) -> Any:  # noqa: PLR0911 - one clause per kind; Any: JSON
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
        case DateValue():
            return {"date": value.date}
        case RowsValue():
            return {"rows": value.rows} | ({"shown": value.shown} if value.shown else {})
        case FieldsValue():
            return {"fields": {name: value_json(one) for name, one in value.fields.items()}}
        case None:
            return None


def _float_or_text(written: str) -> float | str:
    """A JSON number no float holds exactly stays text: `1e999` would be printed as Infinity."""
    number = float(written)
    return number if isfinite(number) and Decimal(repr(number)) == Decimal(written) else written


def describe(value: Value | None) -> str:  # noqa: PLR0911 - one clause per kind
    """A value in a few words."""
    match value:
        case PriceValue():
            return f"{written(plain(value.amount), value.currency)} {value.currency or ''}".strip()
        case AvailabilityValue():
            days = f" ({value.lead_time_days} days)" if value.lead_time_days is not None else ""
            return value.status.replace("_", " ") + days
        case NumberValue():
            return f"{plain(value.number)} {value.unit or ''}".strip()
        case TextValue():
            return shorten(value.text, _TOLD)
        case JsonValue():
            return shorten(value.canonical, _TOLD)
        case DateValue():
            return value.date
        case RowsValue():
            return f"{len(value.rows)} {'row' if len(value.rows) == 1 else 'rows'}"
        case FieldsValue():
            told = ", ".join(f"{name} {describe(one)}" for name, one in value.fields.items())
            return shorten(told, 2 * _TOLD)
        case None:
            return "nothing"


def number_of(value: Value | None) -> Decimal | None:
    """What can be compared as a number, or None; of dates, days."""
    match value:
        case PriceValue():
            return value.amount
        case NumberValue():
            return value.number
        case JsonValue() if _NUMBER.fullmatch(value.canonical):
            return Decimal(value.canonical)
        case DateValue():
            return days_of(value.date)
        case _:
            return None


def same(one: Value | None, other: Value | None) -> bool:  # noqa: PLR0911 - one clause per kind
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
            return one.hash == other.hash or (one.lines != "" and one.lines == other.lines)
        case JsonValue(), JsonValue():
            return same_json(one, other)
        case DateValue(), DateValue():
            return same_moment(one.date, other.date)
        case RowsValue(), RowsValue():
            return same_rows(one, other)
        case FieldsValue(), FieldsValue():
            names = one.fields.keys() | other.fields.keys()
            return all(same(one.fields.get(name), other.fields.get(name)) for name in names)
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
        case RowsValue():
            return not value.rows
        case FieldsValue():
            return all(map(is_empty, value.fields.values()))
        case _:
            return value is None
