"""Dates and times in many languages, to ISO 8601.

dateparser knows the months and orders of 200 locales. What it would guess is not asked of it: today's
date (a check has no clock here), a day that is missing, and which of 03/04/2026 is the month.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import dateparser

from sentinel.decide.text import shorten, visible
from sentinel.errors import CheckFailure
from sentinel.model import DateValue, Normalization

#: Characters that are looked at: a date with its weekday and zone has sixty.
MAX_TEXT: Final = 120
#: Words before the date (`Published on:`) that are passed over.
_LABEL_WORDS: Final = 4
#: `03/04/2026`: the dot is written by people who write the day first.
_NUMERIC: Final = re.compile(r"(?<!\d)(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_CLOCK: Final = re.compile(
    r"\d{1,2}\s*[:.h時点시]\s*\d{2}(?!\d|[./-])|\d\s*(?:[ap]\.?m\b|uhr)|T\d{2}", re.IGNORECASE
)
_STAMP: Final = re.compile(r"\d{10}(?:\d{3})?")
_FULL_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:$|[T ])")
_ORDERS: Final[dict[str, Literal["DMY", "MDY", "YMD"]]] = {"dmy": "DMY", "mdy": "MDY", "ymd": "YMD"}
#: What is missing is never filled in from the clock; strict parsing refuses it, this makes it sure.
_BASE: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - dateparser wants it naive
_EPOCH: Final = date(1970, 1, 1)
_DAY: Final = Decimal(86400)


def read_date(raw: str, normalization: Normalization) -> DateValue:
    """The day or moment a text names.

    Raises CheckFailure EXTRACT_PARSE_ERROR, and EXTRACT_AMBIGUOUS for a 03/04/2026 that nothing settles.
    """
    text = visible(raw)
    if len(text) > MAX_TEXT:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"no date: the text has {len(text)} characters")
    moment = _stamp(text) or _iso(text)
    if moment is None:
        order = normalization.date_order
        if order is None and (doubtful := _ambiguous(text)):
            detail = f"{doubtful} may name the day or the month first; set normalization.dateOrder"
            raise CheckFailure("EXTRACT_AMBIGUOUS", detail)
        moment = _read(text, order or ("mdy" if _month_first(text) else "dmy"))
    if moment is None:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"no date in {shorten(text, 80)!r}")
    if not isinstance(moment, datetime):
        return DateValue(moment.isoformat())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(normalization.timezone or "UTC"))
    return DateValue(moment.isoformat(timespec="seconds"))


def days_of(iso: str) -> Decimal | None:
    """Days since 1970, the time of day as their fraction; None for what is no ISO 8601 date."""
    moment = _iso(iso)
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        return Decimal((moment - _EPOCH).days)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (Decimal(since // timedelta(seconds=1)) / _DAY).quantize(Decimal("0.000001"))


def same_moment(one: str, other: str) -> bool:
    """Whether two ISO dates are the same moment in any zone, or the same day where one has no time."""
    if one == other:
        return True
    if len(one) == len("2026-01-31") or len(other) == len("2026-01-31"):
        return one[:10] == other[:10]
    return datetime.fromisoformat(one) == datetime.fromisoformat(other)


def _stamp(text: str) -> datetime | None:
    """Seconds or milliseconds since 1970, as JSON has them."""
    if not _STAMP.fullmatch(text):
        return None
    return datetime.fromtimestamp(int(text[:10]), UTC)


def _iso(text: str) -> date | datetime | None:
    if not _FULL_ISO.match(text):
        return None
    try:
        return date.fromisoformat(text) if len(text) == len("2026-01-31") else datetime.fromisoformat(text)
    except ValueError:
        return None


def _ambiguous(text: str) -> str:
    """The numeric date in a text that can be read both ways, or ''."""
    found = _NUMERIC.search(text)
    if found is None or found[2] == ".":
        return ""
    return found[0] if found[1] != found[3] and int(found[1]) <= 12 and int(found[3]) <= 12 else ""


def _month_first(text: str) -> bool:
    found = _NUMERIC.search(text)
    return found is not None and int(found[3]) > 12


def _read(text: str, order: str) -> date | datetime | None:
    # Any: dateparser's settings are a dictionary of anything.
    settings: dict[str, Any] = {
        "STRICT_PARSING": True,
        "PARSERS": ["absolute-time"],
        "RELATIVE_BASE": _BASE,
        "DATE_ORDER": _ORDERS[order],
        "PREFER_LOCALE_DATE_ORDER": False,
        "CACHE_SIZE_LIMIT": 100,
    }
    for part in _parts(text):
        try:
            found = dateparser.parse(part, settings=settings)
        except (ValueError, OverflowError, RecursionError):
            continue
        if found is not None:
            return found if _CLOCK.search(part) else found.date()
    return None


def _parts(text: str) -> Iterator[str]:
    """The text, and what is left of it without a label before the date."""
    label, colon, rest = text.partition(": ")
    if colon and not any(char.isdigit() for char in label):
        text = rest  # first: a text that is no date at all is looked for in all locales, which takes its time
    yield text
    words = text.split(" ")
    for count in range(1, min(_LABEL_WORDS + 1, len(words))):
        rest = " ".join(words[count:])
        if any(char.isdigit() for char in " ".join(words[:count])):
            return
        yield rest
