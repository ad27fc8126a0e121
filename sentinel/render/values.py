"""Values in the words people use."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from sentinel.decide.currency import written

_STATUS: Final = {
    "in_stock": "in stock",
    "out_of_stock": "out of stock",
    "backorder": "on backorder",
    "lead_time": "available later",
    "unknown": "unknown availability",
}


def describe(value: object) -> str:
    """A value of sentinel.model, or its JSON shape, as `129.99 EUR`, `out of stock`, `12.5 kg`.

    Text comes back as it is: whoever shows it cuts and cleans it.
    """
    if value is None:
        return "nothing"
    return _in_words(msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value)


def describe_percent(percent: str | None) -> str:
    """`-13.3 %` of the exact number as text; '' where there is none."""
    try:
        number = Decimal(percent or "")
    except InvalidOperation:
        return ""
    if not number.is_finite():
        return ""
    # A number of absurd size must not become a megabyte of digits.
    return f"{number:+.1f} %" if number.adjusted() < 7 else f"{number:+.1e} %"


def _in_words(value: object) -> str:  # noqa: PLR0911 - one clause per kind
    match value:
        case {"amount": amount, **rest}:
            return _joined(written(str(amount), rest.get("currency")), rest.get("currency"))
        case {"status": str(status), **rest}:
            return _availability(status, rest.get("lead_time_days"))
        case {"number": number, **rest}:
            return _joined(number, rest.get("unit"))
        case {"date": str(date)}:
            return date.replace("T", " ")
        case {"rows": dict(rows)}:
            return f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}"
        case {"fields": dict(fields)}:
            return ", ".join(f"{name} {describe(one)}" for name, one in fields.items())
        case {"text": str(text)} | {"canonical": str(text)} | (str() as text):
            return text
    return msgspec.json.encode(value).decode()


def _joined(number: object, unit: object) -> str:
    return f"{number} {unit}" if unit else str(number)


def _availability(status: str, days: object) -> str:
    words = _STATUS.get(status, status)
    if not days:
        return words
    return f"{words}, {days} day" if days == 1 else f"{words}, {days} days"
