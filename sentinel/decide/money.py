"""Prices as shops write them: which of the numbers in a text is the price, and in which currency.

price-parser takes the first number and the first symbol. Over its own test strings that is right for
98.4 % of the amounts and 89.5 % of the currencies; we choose among the candidates instead (a currency
beside it, no `was` or `statt` before it, no `/kg` behind it) and decide `1.234` by what the page has
proven before, see docs/decisions/price-strings.md.
"""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import zip_longest
from typing import Final

import msgspec

from sentinel.decide import currency, number, price_words
from sentinel.decide.currency import Named
from sentinel.decide.number import Separator


class Price(msgspec.Struct, frozen=True):
    """A price as it was read."""

    amount: Decimal
    #: ISO 4217, or None where nobody names one.
    currency: str | None
    #: The decimal separator the text proves, or None.
    separator: Separator | None = None
    #: True where another amount was possible (`1.234`).
    guessed: bool = False
    #: What the text says of it is that it was asked before, or is asked for a part, or by some only.
    part: bool = False


class _Candidate(msgspec.Struct, frozen=True):
    amount: Decimal
    reading: number.Reading
    named: Named | None
    start: int
    #: Lower is better, see _rank.
    rank: tuple[bool, bool, bool, bool, int]


#: A whole text that says the price is nothing.
_FREE: Final = frozenset(
    {
        *("free", "for free", "free of charge", "gratis", "kostenlos", "umsonst", "gratuit", "gratuito"),
        *("zdarma", "zadarmo", "za darmo", "ingyenes", "ilmainen", "бесплатно", "безкоштовно", "ücretsiz"),
        *("無料", "免费", "免費", "무료"),
    }
)

#: An amount to the cent, and how long a whole number may be that is a footnote behind it.
_IN_CENTS: Final = re.compile(r"[.,]\d\d$")
_CENTS_LENGTH: Final = 2
#: Minutes of an hour are no cents, but where a krona follows: `12:90 kr`.
_COLON_CENTS: Final = re.compile(
    r"(?<![\d:.,])(\d{1,3}(?:\ \d{3})*|\d+):(\d{2})(?=\ ?(?:kr|SEK|NOK|DKK|ISK)\b)"
)
#: Cents apart from an amount that proves its grouping: `1.299 99 €`.
_LOOSE_CENTS: Final = re.compile(
    r"(?<![\d.,])(?:(\d{1,3}(?:\.\d{3})+)|(\d{1,3}(?:,\d{3})+))\ (\d{2})"
    r"(?=\ ?[€$£¥₽]|\ [A-Z]{3}\b|\ (?:Kč|zł|kr|lei|Ft)\b)"
)
#: `€1.5m`; a metre is behind no currency.
_GLUED_MILLION: Final = re.compile(r"m(?![^\W_])")
#: Simplified Chinese words of prices and shops: there a `¥` is a yuan.
_YUAN: Final = re.compile(r"价|促销|包邮|优惠|已售|人民币")
#: Names that stand before their amount and never behind it.
_ALWAYS_BEFORE: Final = re.compile(r"£|[A-Za-z]{1,3}\$")
#: Between the two ends of a range that share one currency (`26 to 50 €`).
_RANGE: Final = re.compile(r"\ ?(?:-|–|—|~|to|bis|à|a|al|hasta|tot|till|til|do|až|și|до)\ ?", re.IGNORECASE)
#: What may stand between an amount and the name behind it: `50,- Kč`, `5.-`, `12 €`.
_TAIL: Final = re.compile(r"(?:[.,]?[-–—=]{1,2})?[\ *]?")
#: The euro as a decimal mark: `35€ 99`, `1250€600`.
_EURO_CENTS: Final = re.compile(r"€(?:(\d{1,3})(?!\d)|\ (\d{2})(?!\d))")
#: Behind a number that is a share (40 % off) or a threshold ($49+).
_NOT_A_PRICE: Final = re.compile(r"\ ?%|\+(?!\d)")
#: Behind a number that is a size or a weight where no currency is named (`16.00 ft`; `Ft` is forint).
_MEASURE: Final = re.compile(
    r"\ ?(?:ft|feet|inch(?:es)?|cm|mm|km|kg|mg|ml|oz|lbs?|GB|MB|TB|mAh|kWh|watt|px)(?![^\W_])"
)
#: Numbers looked at in one text.
_MAX_NUMBERS: Final = 32
#: Longest text a price is looked for in (characters).
_MAX_TEXT: Final = 1000
#: Characters before a number in which `was` and `now` are looked for.
_GAP: Final = 40


def read_price(
    raw: str,
    *,
    hint: str | None = None,
    assumed: str | None = None,
    separator: Separator | None = None,
) -> Price | None:
    """The price `raw` names, or None where it names none.

    `hint` is a currency found elsewhere on the page, `assumed` the rule's; both decide only what the
    text leaves open. `separator` is the decimal separator known of this page.
    """
    text = _spelled(number.tidy(raw[:_MAX_TEXT]))
    if text.casefold().strip(" !.*") in _FREE:
        return Price(Decimal(0), currency.currency_of(hint, assumed) or assumed)
    named = currency.named_in(text)
    page = currency.currency_of(hint, assumed)
    certain = next((n.codes[0] for n in named if len(n.codes) == 1 and n.trust == "anywhere"), None)
    if certain is None and (page or assumed) is None and _YUAN.search(text):
        certain = "CNY"
    prefer = (certain, page, assumed)
    candidates = _candidates(text, named, prefer, separator)
    if not candidates:
        return None
    best = min(candidates, key=lambda candidate: candidate.rank)
    return Price(
        best.amount,
        _currency(best, named, prefer),
        best.reading.separator,
        best.reading.guessed,
        best.rank[1],
    )


def _spelled(text: str) -> str:
    """`text` with amounts in one piece, and words for what would be taken for an amount."""
    text = number.in_figures(text)
    if ":" in text:
        text = _COLON_CENTS.sub(r"\1,\2", text)
    text = _LOOSE_CENTS.sub(
        lambda found: f"{found[1]},{found[3]}" if found[1] else f"{found[2]}.{found[3]}", text
    )
    return price_words.LOWEST_OF_DAYS.sub(" was ", text) if "30" in text else text


def _currency(best: _Candidate, named: list[Named], prefer: tuple[str | None, ...]) -> str | None:
    """The name beside the amount, else any trusted name in the text, else the page's, else the rule's."""
    if best.named is not None:
        near = _code_near(best.named, named)
        return currency.resolve(best.named, near, *prefer)
    for name in named:
        if name.trust == "anywhere" and not name.cents:
            return currency.resolve(name, *prefer)
    return prefer[1] or prefer[2]


def _code_near(beside: Named, named: list[Named]) -> str | None:
    """A code that tells which dollar: `$12 CAD`, `AUD $5`."""
    if len(beside.codes) == 1:
        return None
    codes = [n for n in named if len(n.codes) == 1 and n.codes[0] in beside.codes]
    close = sorted(codes, key=lambda n: min(abs(n.start - beside.end), abs(beside.start - n.end)))
    return close[0].codes[0] if close else None


class _Place(msgspec.Struct, frozen=True):
    """A number in its text, with what is known around it."""

    text: str
    match: re.Match[str]
    #: The number after it, if any.
    following: re.Match[str] | None
    #: Where the number before it ended.
    previous_end: int
    named: list[Named]
    #: What chooses among the currencies of one name: the text's, the page's, the rule's.
    prefer: tuple[str | None, str | None, str | None]


def _candidates(
    text: str,
    named: list[Named],
    prefer: tuple[str | None, str | None, str | None],
    separator: Separator | None,
) -> list[_Candidate]:
    spans = number.spans(text)[:_MAX_NUMBERS]
    ends = [0, *(match.end() for match in spans)]
    places = [
        _Place(text, match, following, ends[at], named, prefer)
        for at, (match, following) in enumerate(zip_longest(spans, spans[1:]))
    ]
    found = [_candidate(place, separator) for place in places]
    return [candidate for candidate in found if candidate is not None]


def _candidate(place: _Place, separator: Separator | None) -> _Candidate | None:
    text, match = place.text, place.match
    start, end = match.span()
    if _NOT_A_PRICE.match(text, end) or (not place.named and _MEASURE.match(text, end)):
        return None
    factor, scaled_end = number.factor(text, end)
    name = _beside(place, scaled_end if factor else end)
    if factor and (name is None or name.start < scaled_end <= name.end):
        factor, name = 0, _beside(place, end)
    if not factor and name is not None and name.end == start and _GLUED_MILLION.match(text, end):
        factor = 6
    name = name or _shared(place)
    three = name is not None and currency.resolve(name, *place.prefer) in currency.THREE_DECIMALS
    decimal = bool(factor) or (three and "." in match[0])
    reading = number.read(match[0], separator=separator, ambiguous="decimal" if decimal else "grouping")
    if reading is None:
        return None
    reading = _with_euro_cents(text, end, reading)
    amount = -reading.number if _negative(text, start, name) else reading.number
    if name is not None and name.cents:
        amount = amount.scaleb(-2)
    if factor:
        amount = Decimal(f"{amount.scaleb(factor):f}")
    return _Candidate(amount, reading, name, start, _rank(place, name))


def _rank(place: _Place, name: Named | None) -> tuple[bool, bool, bool, bool, int]:
    """What speaks against a number, worst first; among equals the first in the text wins."""
    text, assumed = place.text, place.prefer[2]
    start, end = place.match.span()
    before = text[max(place.previous_end, start - _GAP) : start]
    olds = [m.start() for m in price_words.OLD.finditer(before)]
    nows = [m.start() for m in price_words.NOW.finditer(before)]
    old = bool(olds) and not (nows and nows[-1] > olds[-1])
    foreign = name is None or (assumed is not None and assumed not in name.codes)
    glued = text[start - 1 : start].isalpha() or text[end : end + 1].isalpha()
    part = (
        _is_part(place, before)
        or price_words.PER_UNIT.match(text, end) is not None
        or price_words.EVERY_SO_OFTEN.match(text, end) is not None
    )
    return foreign, old or part, glued and name is None, not nows, start


def _is_part(place: _Place, before: str) -> bool:
    """Whether what stands before a number says that it is not what everybody pays for the whole."""
    if price_words.INSTALMENT.fullmatch(before) or price_words.FOR_SOME.search(before):
        return True
    at = place.match.start()
    if price_words.UNIT_BEFORE.search(place.text, max(0, at - _GAP), at) is None:
        return False
    # `12,50 €/kg: 3,87 €`: what is said of the amount before is not said of this one.
    return place.previous_end == 0 or price_words.PER_UNIT.match(place.text, place.previous_end) is None


def _beside(place: _Place, end: int) -> Named | None:
    """The currency right before the number, or right behind it: behind `end`, where its factor ends."""
    text, named = place.text, place.named
    start = place.match.start()
    tail = _TAIL.match(text, end)
    after = tail.end() if tail else end
    behind = [
        n
        for n in named
        if n.start in {end, after} and _may_stand(n, text, start, end) and not _is_of_next(n, place, end)
    ]
    before = [n for n in named if _touches(text, n.end, start) and _may_stand(n, text, start, end)]
    # In "10 € 9 $" every amount but the first has a name on both sides: the one before is taken already.
    taken = [n for n in before if text[: n.start].rstrip()[-1:].isdigit()]
    free = [n for n in before if n not in taken]
    glued = [n for n in (*before, *behind) if n.end == start or n.start == end]
    strong = [n for n in (*free, *behind) if n.trust == "anywhere"]
    return next(iter((*glued, *strong, *free, *behind, *taken)), None)


def _is_of_next(name: Named, place: _Place, end: int) -> bool:
    """Whether a name behind a number belongs to the one after it: `Pack of 2 $799`, `Size 42 £ 89`."""
    following = place.following
    if following is None or name.start == end:
        return False
    if _IN_CENTS.search(place.match[0]) and len(following[0]) <= _CENTS_LENGTH and following[0].isdigit():
        return False  # `19,90 €1`: a footnote
    gap = following.start() - name.end
    return gap == 0 or (gap == 1 and _ALWAYS_BEFORE.fullmatch(place.text, name.start, name.end) is not None)


def _touches(text: str, name_end: int, start: int) -> bool:
    """Nothing but a space, a colon or a sign lies between."""
    return (
        name_end <= start and text[name_end:start].strip(" ") in {"", "-", "+", ":"} and start - name_end <= 2
    )


def _may_stand(name: Named, text: str, start: int, end: int) -> bool:
    if name.trust != "alone":
        return True
    rest = text[: min(name.start, start)] + text[max(name.end, end) :]
    return not rest.strip(" .,*:-")


def _shared(place: _Place) -> Named | None:
    """The currency behind the other end of a range."""
    text, end, following = place.text, place.match.end(), place.following
    gap = _RANGE.match(text, end)
    if gap is None or following is None or gap.end() != following.start():
        return None
    tail = _TAIL.match(text, following.end())
    after = tail.end() if tail else following.end()
    return next((n for n in place.named if n.start in {following.end(), after} and n.trust != "alone"), None)


def _with_euro_cents(text: str, end: int, reading: number.Reading) -> number.Reading:
    cents = _EURO_CENTS.match(text, end)
    if cents is None or text.count("€") != 1 or reading.number != reading.number.to_integral_value():
        return reading
    return number.Reading(Decimal(f"{reading.number:f}.{cents[1] or cents[2]}"))


def _negative(text: str, start: int, name: Named | None) -> bool:
    """A minus glued to the amount, or to the currency before it: `-5`, `-$5`, `€ -5`; `12-15` is none."""
    head = name.start if name is not None and name.end <= start else start
    return any(text[at - 1 : at] == "-" and not text[at - 2 : at - 1].isalnum() for at in {head, start})
