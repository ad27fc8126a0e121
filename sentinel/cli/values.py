"""What people type and read: durations, moments, field=value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

import typer

T = TypeVar("T")

#: Seconds of each unit.
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h)")


def duration(text: str) -> float:
    """Seconds of `30s`, `5m`, `1h30m`, `250ms` or a bare number of seconds."""
    position, total = 0, 0.0
    text = text.strip().lower()
    while position < len(text):
        found = _DURATION.match(text, position)
        if found is None or (found[2] is None and found[0] != text):
            break
        total += float(found[1]) * UNITS[found[2] or "s"]
        position = found.end()
    if not text or position < len(text):
        raise typer.BadParameter(f"{text!r} is not a duration such as 30s, 5m, 1h30m or 2d")
    return total


def per_second(text: str) -> float:
    """How many a second of `10/s`, `100/m`, `0.5/h`."""
    found = _RATE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"{text!r} is not a rate such as 10/s or 100/m")
    return float(found[1]) / UNITS[found[2]]


def moment(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time such as 2026-01-31T12:00:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def past(text: str) -> float:
    """Seconds since the epoch of a moment, or of a duration ago."""
    try:
        ago = duration(text)
    except typer.BadParameter:
        return moment(text)
    return datetime.now(UTC).timestamp() - ago


def pair(text: str) -> tuple[str, str]:
    """`field=value` as two texts."""
    field, sign, value = text.partition("=")
    if not sign or not field.strip():
        raise typer.BadParameter(f"{text!r} is not field=value")
    return field.strip(), value


def option(name: str, read: Callable[[str], T], text: str) -> T:
    """What `read` makes of the text of an option; its complaint names the option."""
    try:
        return read(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint=f"'{name}'") from None


def iso(seconds: float) -> str:
    """UTC ISO 8601 of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_ms(milliseconds: int) -> str:
    """UTC ISO 8601 of milliseconds since the epoch."""
    return iso(milliseconds / 1000)


def brief(seconds: float | None) -> str:
    """A duration in few characters: `850ms`, `4s`, `3m`, `5h`, `2d`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{math.floor(seconds * 1000)}ms"
    for unit, size, limit in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{math.floor(seconds / size)}{unit}"
    return f"{math.floor(seconds / 86400)}d"


def number(value: float) -> str:
    """A count with thousands separated."""
    return f"{value:,.0f}"
