"""From the raw text of a page to a typed value."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from sentinel.decide.availability import read_availability
from sentinel.decide.jsonfield import canonical, plain
from sentinel.decide.money import read_price
from sentinel.decide.number import read_with_unit
from sentinel.decide.text import read_text, shorten
from sentinel.errors import CheckFailure
from sentinel.model import (
    Extracted,
    JsonValue,
    Normalization,
    NumberValue,
    PriceValue,
    Value,
)

Separator = Literal[".", ","]


class Normalised(msgspec.Struct, frozen=True):
    """A value, and what was learned on the way."""

    value: Value
    #: The decimal separator this text proves, to be remembered for ambiguous ones; None: it proves none.
    separator: Separator | None = None
    #: Why the value needs one confirmation more, or None.
    implausible: str | None = None


def normalise(
    extracted: Extracted, normalization: Normalization, *, separator: Separator | None = None
) -> Normalised:
    """The typed value in `extracted`; `separator` is the rule's remembered decimal separator.

    Raises CheckFailure EXTRACT_EMPTY_VALUE, EXTRACT_PARSE_ERROR or EXTRACT_AMBIGUOUS: empty is an
    error and never a value, unless the rule says so.
    """
    raw = extracted.raw
    if not raw.strip() and not (normalization.kind == "text" and normalization.empty == "value"):
        raise CheckFailure("EXTRACT_EMPTY_VALUE", "the selected part of the page holds no text")
    match normalization.kind:
        case "price":
            return _price(extracted, normalization, separator)
        case "number":
            return _number(raw, normalization, separator)
        case "availability":
            return Normalised(read_availability(raw, normalization.mapping))
        case "text":
            return Normalised(read_text(raw, normalization))
        case "json_field":
            return Normalised(JsonValue(canonical=canonical(raw)))


def _price(extracted: Extracted, normalization: Normalization, separator: Separator | None) -> Normalised:
    found = read_price(
        extracted.raw,
        hint=extracted.currency,
        assumed=normalization.currency,
        separator=normalization.decimal_separator or separator,
    )
    if found is None:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"no price in {shorten(extracted.raw, 80)!r}")
    return Normalised(
        PriceValue(amount=found.amount, currency=found.currency),
        found.separator,
        _outside(found.amount, normalization),
    )


def _number(raw: str, normalization: Normalization, separator: Separator | None) -> Normalised:
    found = read_with_unit(raw, separator=normalization.decimal_separator or separator)
    if found is None:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"no number in {shorten(raw, 80)!r}")
    reading, unit = found
    value = NumberValue(number=reading.number, unit=unit)
    return Normalised(value, reading.separator, _outside(reading.number, normalization))


def _outside(number: Decimal, normalization: Normalization) -> str | None:
    if normalization.min is not None and number < normalization.min:
        return f"{plain(number)} is below the plausible minimum {plain(normalization.min)}"
    if normalization.max is not None and number > normalization.max:
        return f"{plain(number)} is above the plausible maximum {plain(normalization.max)}"
    return None
