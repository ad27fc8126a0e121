"""Units that measure the same: what one is in another, so that 6 GB and 900 MB can be compared.

Only powers of ten and of 1024, and only what pages write in one way: `M` is a factor, `t` and `min` are
words of many meanings. Any other unit is a word of the page (`reviews`, `Stück`), and is left alone.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

_TEN: Final = Decimal(10)
#: A binary unit in a decimal one is no short fraction.
_SIGNIFICANT: Final = Context(prec=15)


def _table() -> dict[str, tuple[str, Decimal]]:
    """Unit in lower case -> what it measures, and how much of it."""
    found: dict[str, tuple[str, Decimal]] = {
        "bytes": ("bytes", Decimal(1)),
        "byte": ("bytes", Decimal(1)),
    }
    for power, letter in enumerate("kmgtp", start=1):
        found[f"{letter}b"] = ("bytes", _TEN ** (3 * power))
        found[f"{letter}ib"] = ("bytes", Decimal(1024) ** power)
        for written in ("bit/s", "bps"):
            found[f"{letter}{written}"] = ("bits a second", _TEN ** (3 * power))
    powers = {
        "mass": {"mg": -3, "g": 0, "kg": 3},
        "volume": {"ml": -3, "cl": -2, "dl": -1, "l": 0, "hl": 2},
        "length": {"mm": -3, "cm": -2, "dm": -1, "m": 0, "km": 3},
        "energy": {"wh": 0, "kwh": 3},
    }
    for measure, units in powers.items():
        found |= {unit: (measure, _TEN**power) for unit, power in units.items()}
    return found


_UNITS: Final = _table()


def scale(unit: str | None, to: str | None) -> Decimal | None:
    """How much one `unit` is in `to`, or None where they are not known to measure the same."""
    one, other = _known(unit), _known(to)
    if one is None or other is None or one[0] != other[0]:
        return None
    return _SIGNIFICANT.divide(one[1], other[1])


def convert(number: Decimal, unit: str | None, to: str | None) -> Decimal | None:
    """So much of `unit` in `to`, at 15 digits where it takes more, or None."""
    factor = scale(unit, to)
    if factor is None:
        return None
    return number if factor == 1 else _SIGNIFICANT.multiply(number, factor)


def are_different(unit: str | None, other: str | None) -> bool:
    """Whether both are known and are not the same amount of the same: they cannot be compared as they are."""
    one, two = _known(unit), _known(other)
    return one is not None and two is not None and one != two


def _known(unit: str | None) -> tuple[str, Decimal] | None:
    return None if unit is None else _UNITS.get(unit.casefold())
