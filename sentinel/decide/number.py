"""Numbers as people write them: separators of every country, units, percent, k and M.

A separator is *proven* where the text allows one reading only (`1.234,56`, `12.5`, `1.234.567`), and
*guessed* where `1.234` may be either. Only a proven one is learned: a guess that teaches would make
the next guess look certain.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Final, Literal

import msgspec

from sentinel.decide import units

Separator = Literal[".", ","]
Sense = Literal["grouping", "decimal"]

#: Longest text a number or a price is looked for in (characters).
MAX_TEXT: Final = 4000
#: More digits than this are an article number or an attack, not an amount.
MAX_DIGITS: Final = 24

_THREE: Final = 3

#: One written number. Spaces and apostrophes only ever group, dots and commas may do either.
NUMBER: Final = re.compile(
    r"""
    (?<!\d)
    (?: \d{1,3} (?:\ \d{3})+ (?!\d) (?:[.,]\d+)?
      | \d{1,3} (?:'\d{3})+ (?!\d) (?:[.,]\d+)?
      | \d+ (?:[.,]\d+)*
      | (?<![\w.,]) [.,]\d+
    )
    """,
    re.VERBOSE,
)

#: What looks like a number and is not one: dates, times, versions, addresses.
_NOT_A_NUMBER: Final = re.compile(
    r"\d{1,4}([./-])\d{1,2}\1\d{1,4}(?![.,]?\d)|\d{1,2}:\d{2}(?::\d{2})?|\d+(?:\.\d+){3,}"
)

_SPECIAL: Final = {
    "’": "'",
    "‘": "'",
    "ʼ": "'",
    "′": "'",
    "´": "'",
    "`": "'",
    "٫": ".",  # Arabic decimal separator
    "٬": "'",  # Arabic thousands separator
    "،": ",",  # Arabic comma
    "−": "-",  # minus sign
    "﹣": "-",
    "‐": "-",
    "‑": "-",
    "￡": "£",
    "￥": "¥",
    "￦": "₩",
    "￠": "¢",
}


class Reading(msgspec.Struct, frozen=True):
    """One number as it was read."""

    number: Decimal
    #: The decimal separator the text proves, or None where it proves none.
    separator: Separator | None = None
    #: True where another reading was possible.
    guessed: bool = False


def tidy(text: str) -> str:
    """`text` with every script's digits as 0-9, every space a plain one, invisible characters gone.

    Bounded to MAX_TEXT. Superscripts (footnotes, m²) become spaces: read as digits they would be money.
    """
    text = text[:MAX_TEXT]
    if not text.isascii():
        text = "".join(_plain(char) for char in text)
    return " ".join(text.split())


def _plain(char: str) -> str:
    if (special := _SPECIAL.get(char)) is not None:
        return special
    if "！" <= char <= "～":  # full-width forms lie at a fixed distance from ASCII
        return chr(ord(char) - 0xFEE0)
    match unicodedata.category(char):
        case "Cf" | "Cc" if not char.isspace():
            return ""
        case "Nd":
            return str(unicodedata.decimal(char))
        case "No":
            return " "
        case _:
            return char


def spans(text: str) -> list[re.Match[str]]:
    """Every number written in `text` (tidied), dates and times left out."""
    skipped = [match.span() for match in _NOT_A_NUMBER.finditer(text)]
    return [
        match
        for match in NUMBER.finditer(text)
        if not any(start <= match.start() < end for start, end in skipped)
    ]


def read(
    written: str,
    *,
    separator: Separator | None = None,
    ambiguous: Sense = "grouping",
) -> Reading | None:
    """Read one written number (`1.234,56`), or None where its parts make no number.

    `separator` is the decimal separator of this page, where known; it decides `1.234` and nothing else,
    so that a page which flips from `129,99` to `129.99` is read right both times. `ambiguous` is what a
    lone separator before three digits is where nothing is known.
    """
    grouped = " " in written or "'" in written
    digits = written.replace(" ", "").replace("'", "")
    if sum(map(str.isdigit, digits)) > MAX_DIGITS:
        return None
    dots, commas = digits.count("."), digits.count(",")
    if dots and commas:
        return _read_both(digits)
    if not dots and not commas:
        return Reading(Decimal(digits))
    mark: Separator = "." if dots else ","
    if dots + commas > 1:
        return _read_groups(digits, mark)
    return _read_one(digits, mark, grouped=grouped, separator=separator, ambiguous=ambiguous)


def _read_both(digits: str) -> Reading | None:
    """Both marks: the later one is decimal, `1.234,56` and `1,23,456.78`."""
    decimal: Separator = "." if digits.rindex(".") > digits.rindex(",") else ","
    whole, _, fraction = digits.rpartition(decimal)
    group = _other(decimal)
    if decimal in whole or not _well_grouped(whole.split(group)):
        return None
    return Reading(Decimal(f"{whole.replace(group, '')}.{fraction}"), decimal)


def _read_groups(digits: str, mark: Separator) -> Reading | None:
    """One mark several times: it groups, `1.234.567`."""
    if not _well_grouped(digits.split(mark)):
        return None
    return Reading(Decimal(digits.replace(mark, "")), _other(mark))


def _read_one(
    digits: str,
    mark: Separator,
    *,
    grouped: bool,
    separator: Separator | None,
    ambiguous: Sense,
) -> Reading:
    """One mark once: `12.5` is decimal, `1.234` is either."""
    whole, _, fraction = digits.partition(mark)
    decimal = Reading(Decimal(f"{whole or '0'}.{fraction}"), mark)
    certain = grouped or len(fraction) != _THREE or len(whole) > _THREE or whole[:1] in {"", "0"}
    if certain:
        return decimal
    is_decimal = separator == mark if separator else ambiguous == "decimal"
    number = decimal.number if is_decimal else Decimal(whole + fraction)
    return Reading(number, None, guessed=True)


def _well_grouped(groups: list[str]) -> bool:
    """Thousands (1,234,567) or Indian lakh and crore (12,34,567)."""
    first, *middle, last = groups
    if not 1 <= len(first) <= _THREE or len(last) != _THREE:
        return False
    return all(len(g) == _THREE for g in middle) or (len(first) <= 2 and all(len(g) == 2 for g in middle))


def _other(mark: Separator) -> Separator:
    return "," if mark == "." else "."


# --- a number with its unit ---------------------------------------------------------------------

_MACHINE: Final = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,2})?")
#: A factor written at the number (`1.2k`) or as a word after it (`3,4 Mio.`).
_GLUED_FACTOR: Final = {"k": 3, "K": 3, "M": 6, "B": 9}
_WORD_FACTOR: Final = {
    **dict.fromkeys(("thousand", "tsd", "tausend", "mille", "mil", "tis", "tys", "тыс", "тис", "duizend"), 3),
    **dict.fromkeys(("million", "millions", "millionen", "mio", "mln", "mill", "millones", "milioni"), 6),
    **dict.fromkeys(("milionů", "miliónov", "млн", "miljoen", "miljoner", "millioner", "milhões"), 6),
    **dict.fromkeys(("billion", "billions", "bn", "mrd", "milliarden", "mld", "milliards", "млрд", "mia"), 9),
    "lakh": 5,
    "crore": 7,
}
_FACTOR: Final = re.compile(r"(?P<glued>[kKMB])(?![^\W_])|\ ?(?P<word>[^\W\d_]{2,10})\.?(?![^\W_])")
_UNIT: Final = re.compile(r"\ ?(?P<unit>%|°\ ?[CFK]?|[^\W\d_][^\W_]{0,15}(?:/[^\W_]{1,8})?)")
#: A word of things that are counted, in whole numbers: no code (`USD`) and no measure.
_COUNTED: Final = re.compile(
    r"(?!(?ai:kilo|gram|milli|liter|litre|litro|meter|metre|metro|inch|ounce|unze|pound|pfund|percent|"
    r"prozent|degree|grad|dollar|euro|franken|second|sekund|hour|stunde|heure|minute|celsius|mbit|watt|volt))"
    r"[^\W\d_][^\WA-Z\d_]{3,}"
)
_SIGN: Final = re.compile(r"(?:^|[\s(\[:=])([-+])\ ?$")


def read_with_unit(
    text: str, *, separator: Separator | None = None, near: tuple[Decimal, str | None] | None = None
) -> tuple[Reading, str | None] | None:
    """The first number in `text` and the unit after it (`%`, `km/h`, `reviews`), or None: no number.

    What a lone dot or comma before three digits is, say in turn: `separator`; `near`, the last number that
    was believed, with its unit (999, then `1.000`); a word of things that are counted after it
    (`1.000 Bewertungen`). Else a dot is decimal (`1.234` from an API is no thousand), a comma groups.
    """
    text = in_figures(tidy(text))
    if _MACHINE.fullmatch(text) and "e" in text.lower() and len(text) <= MAX_DIGITS:
        return Reading(Decimal(text)), None
    for match in spans(text):
        power, end = factor(text, match.end())
        found = _UNIT.match(text, end)
        unit = found["unit"] if found else None
        counted = unit is not None and _COUNTED.fullmatch(unit) is not None
        sense: Sense = "decimal" if power or ("." in match[0] and not counted) else "grouping"
        reading = read(match[0], separator=separator, ambiguous=sense)
        if reading is None:
            continue
        if reading.guessed and separator is None and near is not None:
            reading = _nearer(match[0], reading, near, unit, power)
        sign = _SIGN.search(text, 0, match.start())
        scaled = reading.number.scaleb(power)
        if power:
            scaled = Decimal(f"{scaled:f}")
        number = -scaled if sign and sign[1] == "-" else scaled
        return msgspec.structs.replace(reading, number=number), unit
    return None


def _nearer(
    written: str, guess: Reading, near: tuple[Decimal, str | None], unit: str | None, power: int
) -> Reading:
    """Of the two readings of `1.234` the one that lies nearer, by ratio, to what was believed before."""
    last = abs(units.convert(near[0], near[1], unit) or near[0])
    if not last:
        return guess
    grouping, decimal = (read(written, ambiguous=sense) for sense in ("grouping", "decimal"))
    if grouping is None or decimal is None:
        return guess
    # The middle of two numbers by ratio is the root of their product.
    middle = grouping.number.scaleb(power) * decimal.number.scaleb(power)
    return grouping if last * last > middle else decimal


#: Ten thousands and hundred millions of East Asia: `12万8000`, `1.5億`.
_MYRIADS: Final = re.compile(
    r"(?:(?P<yi>\d{1,6}(?:[.,]\d{1,4})?)[億亿억]\ ?)?(?:(?P<wan>\d{1,6}(?:[.,]\d{1,4})?)[万萬만])?"
    r"(?:(?<=[億亿억万萬만])(?P<rest>\d{1,4})(?![\d.,]))?"
)
_MYRIAD: Final = re.compile(r"[億亿억万萬만]")


def in_figures(text: str) -> str:
    """`text` (tidied) with `12万8000` as `128000`."""
    if text.isascii() or _MYRIAD.search(text) is None:
        return text
    return _MYRIADS.sub(_figures, text)


def _figures(found: re.Match[str]) -> str:
    if found["yi"] is None and found["wan"] is None:
        return found[0]
    parts = (("yi", 8), ("wan", 4), ("rest", 0))
    total = sum(
        (Decimal((found[name] or "0").replace(",", ".")).scaleb(power) for name, power in parts), Decimal(0)
    )
    return f"{total.normalize():f}"


def factor(text: str, at: int) -> tuple[int, int]:
    """The power of ten written at `at`, and where it ends."""
    match = _FACTOR.match(text, at)
    if match is None:
        return 0, at
    if match["glued"]:
        return _GLUED_FACTOR[match["glued"]], match.end()
    word = match["word"].casefold()
    if word == "mil" and text[match.end() - 1] == ".":
        return 6, match.end()  # Czech and Slovak shorten the million, Spanish writes its thousand out
    power = _WORD_FACTOR.get(word)
    return (power, match.end()) if power else (0, at)
