"""From the raw text of a page to a typed value."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from sentinel.decide import units
from sentinel.decide.asked import answered
from sentinel.decide.availability import read_availability
from sentinel.decide.currency import THREE_DECIMALS
from sentinel.decide.dates import read_date
from sentinel.decide.jsonfield import canonical, plain
from sentinel.decide.money import read_price
from sentinel.decide.number import read_with_unit
from sentinel.decide.rows import read_rows
from sentinel.decide.text import read_text, shorten, visible
from sentinel.errors import CheckFailure
from sentinel.model import (
    Extracted,
    Field,
    FieldsValue,
    FieldValue,
    JsonValue,
    Normalization,
    NumberValue,
    PriceValue,
    Rule,
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


def normalise(  # noqa: C901, PLR0911 - one clause per kind
    extracted: Extracted,
    normalization: Normalization,
    *,
    separator: Separator | None = None,
    stable: Value | None = None,
) -> Normalised:
    """The typed value in `extracted`; `separator` is the rule's remembered decimal separator.

    `stable`: the value believed until now. A number is told in its unit where both measure the same, and
    it decides what `1.000` is where nothing else does.

    Raises CheckFailure EXTRACT_EMPTY_VALUE, EXTRACT_PARSE_ERROR or EXTRACT_AMBIGUOUS: empty is an
    error and never a value, unless the rule says so; then it is the empty text, whatever the kind
    (of a json_field, null and the empty text are what they are).
    """
    raw = extracted.raw
    if not visible(raw) and extracted.rows is None:
        if normalization.empty == "error":
            raise CheckFailure("EXTRACT_EMPTY_VALUE", "the selected part of the page holds no text")
        if normalization.kind != "json_field" or extracted.json is None:
            return Normalised(read_text("", normalization))
    match normalization.kind:
        case "price":
            return _price(extracted, normalization, separator)
        case "number":
            return _number(extracted, normalization, separator, stable)
        case "availability":
            return Normalised(read_availability(raw, normalization.mapping))
        case "text":
            return Normalised(read_text(raw, normalization))
        case "json_field":
            given = raw if extracted.json is None else extracted.json
            return Normalised(JsonValue(canonical=canonical(given), ordered=normalization.order_matters))
        case "date":
            return Normalised(read_date(raw, normalization))
        case "list":
            return Normalised(read_rows(extracted, normalization))
        case "record":
            raise CheckFailure("RULE_INVALID", "a record is read field by field")


def normalise_rule(
    extracted: Extracted, rule: Rule, *, separator: Separator | None = None, stable: Value | None = None
) -> Normalised:
    """The value of a rule: of a record, of each field; a page has one decimal separator for all of them.

    `stable`: the value believed until now, as for `normalise`.

    Raises CheckFailure as `normalise` does; of a record's field the detail names it.
    """
    if rule.type != "record":
        return _asked(normalise(extracted, rule.normal, separator=separator, stable=stable), extracted, rule)
    believed = stable.fields if isinstance(stable, FieldsValue) else {}
    given = extracted.fields or {}
    values: dict[str, FieldValue | None] = {}
    doubts: list[str] = []
    for name, field in rule.fields.items():
        found = _field(name, field, given.get(name), separator, believed.get(name))
        if found is None:
            values[name] = None
            continue
        values[name] = found.value if not isinstance(found.value, FieldsValue) else None
        separator = separator or found.separator
        if found.implausible is not None:
            doubts.append(f"{name}: {found.implausible}")
    whole = Normalised(FieldsValue(fields=values), separator, "; ".join(doubts) or None)
    return _asked(whole, extracted, rule)


def _asked(found: Normalised, extracted: Extracted, rule: Rule) -> Normalised:
    """With the answers to what the rule asks of long texts, while all of them is there."""
    return msgspec.structs.replace(found, value=answered(found.value, extracted, rule))


def _field(
    name: str,
    field: Field,
    extracted: Extracted | None,
    separator: Separator | None,
    stable: FieldValue | None,
) -> Normalised | None:
    """None: it is optional, and not there."""
    try:
        if extracted is None:
            raise CheckFailure("EXTRACT_EMPTY_VALUE", "it is not on the page")  # noqa: TRY301 - as what is there and empty
        return normalise(extracted, field.normal, separator=separator, stable=stable)
    except CheckFailure as failure:
        if field.optional and failure.code == "EXTRACT_EMPTY_VALUE":
            return None
        raise CheckFailure(failure.code, f"field {name}: {failure.detail}") from failure


def _price(extracted: Extracted, normalization: Normalization, separator: Separator | None) -> Normalised:
    found = read_price(
        extracted.raw,
        hint=extracted.currency,
        assumed=normalization.currency,
        separator=normalization.decimal_separator or separator,
    )
    if found is None:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"no price in {shorten(visible(extracted.raw), 80)!r}")
    implausible = _outside(found.amount, normalization)
    if implausible is None and found.guessed and normalization.decimal_separator is None:
        implausible = _strange_decimals(found.amount, found.currency)
    return Normalised(
        PriceValue(amount=found.amount, currency=found.currency),
        _learned(extracted, found.separator),
        implausible,
    )


def _number(
    extracted: Extracted, normalization: Normalization, separator: Separator | None, stable: Value | None
) -> Normalised:
    raw = extracted.raw
    before = stable if isinstance(stable, NumberValue) else None
    near = None if before is None else (before.number, before.unit)
    found = read_with_unit(raw, separator=normalization.decimal_separator or separator, near=near)
    if found is None:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"no number in {shorten(visible(raw), 80)!r}")
    reading, unit = found
    number = reading.number
    if before is not None and (converted := units.convert(number, unit, before.unit)) is not None:
        number, unit = converted, before.unit
    value = NumberValue(number=number, unit=unit)
    return Normalised(value, _learned(extracted, reading.separator), _outside(number, normalization))


def _learned(extracted: Extracted, proven: Separator | None) -> Separator | None:
    """What the rule's own selector proves; a fallback (`1299.00` in JSON-LD) writes by other rules.

    Where cents stand apart (`19<sup>99</sup>`) the page shows no mark.
    """
    return proven if extracted.selector_index == 0 and not extracted.joined else None


def _strange_decimals(amount: Decimal, currency: str | None) -> str | None:
    """Three decimals that only a remembered separator makes: `1.299` read as not quite 1.30."""
    if amount == amount.to_integral_value() or currency in THREE_DECIMALS:
        return None
    return f"{plain(amount)} has three decimals and may be thousands"


def _outside(number: Decimal, normalization: Normalization) -> str | None:
    if normalization.min is not None and number < normalization.min:
        return f"{plain(number)} is below the plausible minimum {plain(normalization.min)}"
    if normalization.max is not None and number > normalization.max:
        return f"{plain(number)} is above the plausible maximum {plain(normalization.max)}"
    return None
