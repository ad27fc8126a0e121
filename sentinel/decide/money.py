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

from sentinel.decide import currency, number
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

#: Words before a number that is not what the thing costs now.
_OLD: Final = re.compile(
    r"(?<![^\W\d_])(?:was|were|old|before|regular|original|originally|list|rrp|msrp|retail|instead|save|saved?|"
    r"savings?|you save|off|over|orders?|above|shipping|delivery|plus|deposit|"
    r"statt|uvp|bisher|früher|alter|vorher|sparen|ersparnis|spare|zzgl|versand|versandkosten|pfand|grundpreis|"
    r"au lieu|ancien|avant|économi\w*|livraison|antes|ahorr\w*|envío|precio original|"
    r"invece|anziché|risparmi\w*|spedizione|de:|era|sconto|"
    r"van|adviesprijs|bespaar|verzend\w*|ord|ordinarie|tidigare|spara|frakt|før|spar|"
    r"před|původní|původně|ušetř\w*|běžná|doprava|pôvodn\w*|predtým|ušetr\w*|doprava|"
    r"zamiast|stara|poprzednia|najniższa|oszczęd\w*|dostawa|było|"
    r"korábbi|eredeti|régi|szállítás|vechi|economis\w*|înainte|pvp|prp|"
    r"старая|было|вместо|скидка|экономия|доставка)(?![^\W\d_])",
    re.IGNORECASE,
)
#: Words before a number that is.
_NOW: Final = re.compile(
    r"(?<![^\W\d_])(?:now|current|sale|special|today|only|our|jetzt|nur|aktuell\w*|angebot\w*|sonderpreis|maintenant|"
    r"promo|ahora|oferta|adesso|ora|offerta|por|nu|rea|tilbud|nyní|nyni|akce|akční|teraz|naše|"
    r"promocja|obecnie|akciós|most|acum|сейчас|теперь|şimdi)(?![^\W\d_])",
    re.IGNORECASE,
)
#: Behind a number that is a price per unit (`12,50 €/kg`).
_PER_UNIT: Final = re.compile(
    r"[^\d/]{0,6}(?:/|\bper\b|\bpro\b|\bje\b|\bpar\b|\bau\b|\bal\b)\ ?(?:\d{1,4}\ ?)?"
    r"(?:kg|g|l|ml|cl|dl|m|m2|cm|oz|lb|lbs|kwh|wh|100|1000|liter|litre|kilo|meter)\b",
    re.IGNORECASE,
)
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
    text = number.tidy(raw[:_MAX_TEXT])
    if text.casefold().strip(" !.*") in _FREE:
        return Price(Decimal(0), currency.currency_of(hint, assumed) or assumed)
    named = currency.named_in(text)
    page = currency.currency_of(hint, assumed)
    certain = next((n.codes[0] for n in named if len(n.codes) == 1 and n.trust == "anywhere"), None)
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
    )


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
    name = _beside(place) or _shared(place)
    three = name is not None and currency.resolve(name, *place.prefer) in currency.THREE_DECIMALS
    reading = number.read(
        match[0], separator=separator, ambiguous="decimal" if three and "." in match[0] else "grouping"
    )
    if reading is None:
        return None
    reading = _with_euro_cents(text, end, reading)
    amount = -reading.number if _negative(text, start, name) else reading.number
    if name is not None and name.cents:
        amount = amount.scaleb(-2)
    return _Candidate(amount, reading, name, start, _rank(place, name))


def _rank(place: _Place, name: Named | None) -> tuple[bool, bool, bool, bool, int]:
    """What speaks against a number, worst first; among equals the first in the text wins."""
    text, assumed = place.text, place.prefer[2]
    start, end = place.match.span()
    before = text[max(place.previous_end, start - _GAP) : start]
    olds = [m.start() for m in _OLD.finditer(before)]
    nows = [m.start() for m in _NOW.finditer(before)]
    old = bool(olds) and not (nows and nows[-1] > olds[-1])
    foreign = name is None or (assumed is not None and assumed not in name.codes)
    glued = text[start - 1 : start].isalpha() or text[end : end + 1].isalpha()
    per_unit = _PER_UNIT.match(text, end) is not None
    return foreign, old or per_unit, glued and name is None, not nows, start


def _beside(place: _Place) -> Named | None:
    """The currency right before or right behind the number."""
    text, named = place.text, place.named
    start, end = place.match.span()
    tail = _TAIL.match(text, end)
    after = tail.end() if tail else end
    behind = [n for n in named if n.start in {end, after} and _may_stand(n, text, start, end)]
    before = [n for n in named if _touches(text, n.end, start) and _may_stand(n, text, start, end)]
    # In "10 € 9 $" every amount but the first has a name on both sides: the one before is taken already.
    taken = [n for n in before if text[: n.start].rstrip()[-1:].isdigit()]
    free = [n for n in before if n not in taken]
    glued = [n for n in (*before, *behind) if n.end == start or n.start == end]
    strong = [n for n in (*free, *behind) if n.trust == "anywhere"]
    return next(iter((*glued, *strong, *free, *behind, *taken)), None)


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
