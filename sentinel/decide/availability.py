"""Whether a thing can be had: phrases of many languages, schema.org words, lead times.

Longer phrases win over those inside them (`not in stock`, `notify me when back in stock`). A text that
says two things at once is EXTRACT_AMBIGUOUS, a text that says nothing is EXTRACT_PARSE_ERROR: a guess
here would be an alert about nothing, and an `unknown` that nobody hears of a rule that broke in silence.
`unknown` itself comes from the rule's mapping only.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import islice
from math import ceil
from typing import Final

import msgspec

from sentinel.decide import phrases
from sentinel.decide.text import shorten, visible
from sentinel.errors import CheckFailure
from sentinel.model import AvailabilityStatus, AvailabilityValue

#: Longest text phrases are looked for in (characters).
_MAX_TEXT: Final = 4000

#: schema.org ItemAvailability, with or without its URL; also Open Graph's words.
_SCHEMA: Final[dict[str, AvailabilityStatus]] = {
    "instock": "in_stock",
    "instoreonly": "in_stock",
    "onlineonly": "in_stock",
    "limitedavailability": "in_stock",
    "outofstock": "out_of_stock",
    "soldout": "out_of_stock",
    "discontinued": "out_of_stock",
    "reserved": "out_of_stock",
    "backorder": "backorder",
    "preorder": "backorder",
    "presale": "backorder",
    "madetoorder": "backorder",
    "availablefororder": "backorder",
    "oos": "out_of_stock",
    "true": "in_stock",
    "yes": "in_stock",
    "1": "in_stock",
    "false": "out_of_stock",
    "no": "out_of_stock",
    "0": "out_of_stock",
    # Of single things, in small ads.
    "notsold": "in_stock",
    "unsold": "in_stock",
    "sold": "out_of_stock",
}
_SCHEMA_URL: Final = re.compile(r"schema\.org/(\w+)", re.IGNORECASE)

#: What introduces a span that says when it comes.
_LEAD: Final = re.compile(
    r"(?<!\w)(?:ships?|shipped|shipping|dispatch\w*|delivery|delivered|lead time|arrives|available|"
    r"restock\w*"
    r"|expected|estimated|lieferzeit|lieferbar|lieferung|versand|versandfertig|verfugbar|zustellung|"
    r"lieferfrist"
    r"|expedi\w*|delai|livraison|livre|entrega|envio|plazo|disponible|prazo|enviado|spedi\w*|consegna|tempi"
    r"|disponibile|levertijd|verzonden|levering|leverbaar|bezorg\w*|leverans\w*|leveringstid|skickas|sendes"
    r"|toimit\w*|wysylka|dostawa|czas|realizacj\w*|wysylamy|doda\w*|doruc\w*|odesl\w*|odosl\w*|dostupn\w*"
    r"|odberu|\w*szallit\w*|livrare|termen|isporuka|dobava|dostava|доставк\w*|срок|отправк\w*|teslim\w*|"
    r"kargo)(?!\w)"
)
_UNIT: Final = (
    r"(?:h|hours?|hrs?|std|stunden?|heures?|horas?|ore|uur|timmar|timer|godzin\w*|hodin\w*|ora|orak?|час\w*"
    r"|d|days?|tage?n?|werktage?n?|arbeitstage?n?|jours?|dias?|giorn[oi]|dagar?|dage|dagen|werkdagen|"
    r"vardagar"
    r"|hverdage[r]?|arkipaiva\w*|paiva\w*|dni|dnu|dny|dnoch|den|dnech|nap\w*|munkanap\w*|zile|dana|"
    r"дн\w*|gun"
    r"|pracovni\w* dn\w*|w|weeks?|wochen?|semaines?|semanas?|settiman[ae]|weken|veck\w+|uger?|uker?|viik\w*"
    r"|tygodni\w*|tydn\w*|tyzdn\w*|het|heten|saptaman\w*|tjedn\w*|недел\w*|hafta"
    r"|months?|monate?n?|mois|mes|meses|mesi|mese|maanden?|manad\w*|maned\w*|kuukau\w*|miesi\w*|mesic\w*"
    r"|mesiac\w*|honap\w*|luni?|месяц\w*)(?!\w)"
)
_SPAN_TEXT: Final = (
    r"(?P<first>\d{1,3})(?: ?(?:-|–|to|bis|a|al|do|till|til|tot|и|до|ou|oder|or) ?(?P<last>\d{1,3}))? ?\+?"
    rf" ?(?:(?:business|working|kalender) )?(?P<unit>{_UNIT})"
)
_SPAN: Final = re.compile(rf"(?<!\w){_SPAN_TEXT}")
#: A text that is nothing but a span: `2-3 Werktage`, `ca. 5 days`.
_BARE_SPAN: Final = re.compile(
    rf"(?:ca\.? |circa |approx\.? |about |etwa |in |within |do |za |sous |w )?{_SPAN_TEXT}\.?"
)
#: Two sentences have nothing to do with each other; `ca.` and `approx.` end none.
_SENTENCE_END: Final = re.compile(r"[;|!?]|(?<!ca)(?<!approx)(?<!min)(?<!max)\. ")
#: Spans looked at in one text.
_MAX_SPANS: Final = 50
#: Characters between what introduces a span and the span: `Lieferzeit: ca. 3 Tage`.
_LEAD_GAP: Final = 32

#: Days per unit by how the unit begins; the first that fits wins. Whatever is left is days.
_DAYS: Final = (
    (re.compile(r"h(?:$|r|o[ur]|eur|odin)|std|stund|or[ea]|uur|tim|godz|час"), 1 / 24),
    (re.compile(r"mo|me[si]|maan|man|kuu|miesi|lun|месяц|honap"), 30.0),
    (re.compile(r"w(?:$|ee|ek|k|o)|sem|sett|vec|ug|uk|viik|tyg|tyd|tyz|het|sapt|tjed|недел|haf"), 7.0),
)
_COUNTED: Final = re.compile(
    r"(?P<count>\d{1,7})\+? ?(?:x |st |stk |ks |db |buc |szt |pcs |pieces |items? |units? |stuck |left |unidades )*"  # noqa: E501 - one table row
    r"(?:left in stock|left|in stock|available|auf lager|verfugbar|en stock|disponibles?|disponibil\w*|op voorraad|"  # noqa: E501 - one table row
    r"i lager|pa lager|w magazynie|skladem|na sklade|raktaron|in stoc|remaining)\b"
    r"|\b(?:stock|lagerbestand|bestand|auf lager|skladem|in stock|na sklade|voorraad|lagersaldo|stoc|qty|quantity)"  # noqa: E501 - one table row
    r" ?[:>]? ?(?P<after>\d{1,7})\b"
)
#: A "no" a few words before "in stock".
_NEGATED: Final = re.compile(
    r"\b(?:not|no longer|never|isn't|aren't|cannot be|nicht|nicht mehr|kein|keine|non|ne|n'est|pas|plus|niet|geen|ikke|"  # noqa: E501 - one table row
    r"inte|ej|ei|nie|neni|nem|nincs|nu|nao|no|не|нет|няма|немає)(?: [^\W\d_]{1,12}){0,2} $"
)
#: What makes a sentence a question: "we don't know when or if it will be back in stock" says nothing.
_DOUBT: Final = re.compile(
    r"(?<!\w)(?:when|if|whether|once|as soon as|until|ob|wann|sobald|falls|quand|des que|quando|appena|"
    r"cuando|wanneer|zodra|"
    r"nar|kiedy|gdy|kdy|jakmile|kedy|akonahle|amint|mikor|cand|kada|kad|ko bo|kdaj|когда|если|"
    r"как только|коли|якщо)(?!\w)"
)
#: Characters before a phrase in which such a word is looked for, in the same sentence.
_DOUBT_GAP: Final = 60


def read_availability(raw: str, mapping: dict[str, AvailabilityStatus]) -> AvailabilityValue:
    """Whether the thing can be had, by the rule's mapping first, then schema.org, then phrases.

    Raises CheckFailure EXTRACT_AMBIGUOUS where the text says both yes and no, and EXTRACT_PARSE_ERROR
    where it says neither.
    """
    text = visible(raw)[:_MAX_TEXT]
    status = _mapped(text, mapping) or _schema(text)
    folded = _fold(text)
    if status is None:
        said = _said(folded)
        status = _settle(said, text)
    lead = _find_lead(folded) if status == "lead_time" else None
    return AvailabilityValue(status=status, lead_time_days=lead.days if lead else None)


def is_phrase(raw: str) -> bool:
    """Whether a text is a phrase about stock and nothing else: `In stock.`, and not `available in blue`."""
    return _fold(visible(raw)[:_MAX_TEXT]).strip(" .,!:;*·✓✔•") in _status_of()


def is_selling_phrase(raw: str) -> bool:
    """Whether a text is what a button says that sells, and nothing else."""
    return _buttons().fullmatch(_fold(visible(raw)[:_MAX_TEXT]).strip(" .,!:;*·»>+")) is not None


def _mapped(text: str, mapping: dict[str, AvailabilityStatus]) -> AvailabilityStatus | None:
    """The rule's own words, the longest that is contained."""
    lower = text.casefold()
    hits = [key for key in mapping if visible(key).casefold() in lower]
    return mapping[max(hits, key=len)] if hits else None


def _schema(text: str) -> AvailabilityStatus | None:
    url = _SCHEMA_URL.search(text)
    word = url[1] if url else text
    return _SCHEMA.get(re.sub(r"[\s_:./-]", "", word).casefold().removeprefix("schema"))


def _settle(said: set[AvailabilityStatus], text: str) -> AvailabilityStatus:
    """One status from everything the text says."""
    shown = shorten(text, 120)
    match said:
        case _ if not said:
            raise CheckFailure("EXTRACT_PARSE_ERROR", f"says nothing about availability: {shown!r}")
        case _ if "in_stock" in said and "out_of_stock" in said:
            raise CheckFailure("EXTRACT_AMBIGUOUS", f"says both in stock and out of stock: {shown!r}")
        case _ if "in_stock" in said:  # "In stock, delivery in 2 days", "3 in stock (can be backordered)"
            return "in_stock"
        case _ if "backorder" in said:  # "Out of stock, available on backorder"
            return "backorder"
        case _ if "lead_time" in said:  # "Not in stock, ships in 3 weeks"
            return "lead_time"
        case _:
            return "out_of_stock"


def _said(folded: str) -> set[AvailabilityStatus]:
    """Every status the text names."""
    lead = _find_lead(folded)
    # "Available in 3 weeks" holds the word "available": the span says it better.
    rest = folded if lead is None else f"{folded[: lead.start]} | {folded[lead.end :]}"
    said: set[AvailabilityStatus] = set() if lead is None else {"lead_time"}
    for match in _phrases().finditer(rest):
        status = _status_of()[match[0]]
        if status == "in_stock" and _is_doubted(rest, match.start()):
            continue
        if status == "in_stock" and _NEGATED.search(rest, max(0, match.start() - 40), match.start()):
            status = "out_of_stock"
        said.add(status)
    counts = [int(match["count"] or match["after"]) for match in _COUNTED.finditer(rest)]
    if counts:  # "0 in stock" holds the phrase "in stock": the count says it better
        said.discard("in_stock")
        said.add("in_stock" if max(counts) > 0 else "out_of_stock")
    if not said and _buttons().search(folded):
        said.add("in_stock")
    return said


def _is_doubted(text: str, start: int) -> bool:
    before = text[max(0, start - _DOUBT_GAP) : start]
    return _DOUBT.search(_SENTENCE_END.split(before)[-1]) is not None


class _Lead(msgspec.Struct, frozen=True):
    """A span of time and what introduces it."""

    start: int
    end: int
    #: Until it comes, the later end, rounded up.
    days: int


def _find_lead(folded: str) -> _Lead | None:
    """The first span of time that something introduces, or that is the whole text."""
    bare = _BARE_SPAN.fullmatch(folded)
    if bare is not None:
        return _Lead(0, len(folded), _days(bare))
    for span in islice(_SPAN.finditer(folded), _MAX_SPANS):
        introduced = list(_LEAD.finditer(folded, max(0, span.start() - _LEAD_GAP), span.start()))
        if introduced and not _SENTENCE_END.search(folded, introduced[-1].end(), span.start()):
            return _Lead(introduced[-1].start(), span.end(), _days(span))
    return None


def _days(span: re.Match[str]) -> int:
    count = int(span["last"] or span["first"])
    per_unit = next((days for unit, days in _DAYS if unit.match(span["unit"])), 1.0)
    return max(1, ceil(count * per_unit))


@cache
def _status_of() -> dict[str, AvailabilityStatus]:
    """Every phrase, folded as texts are."""
    tables: tuple[tuple[list[str], AvailabilityStatus], ...] = (
        (phrases.IN_STOCK, "in_stock"),
        (phrases.OUT_OF_STOCK, "out_of_stock"),
        (phrases.BACKORDER, "backorder"),
    )
    return {_fold(phrase): status for table, status in tables for phrase in table}


@cache
def _phrases() -> re.Pattern[str]:
    return _any_of(list(_status_of()))


@cache
def _buttons() -> re.Pattern[str]:
    return _any_of([_fold(phrase) for phrase in phrases.BUTTONS])


def _any_of(phrases: list[str]) -> re.Pattern[str]:
    """Any of `phrases`, longest first, as whole words (scripts without spaces: anywhere)."""
    longest_first = sorted(phrases, key=len, reverse=True)
    spaced = "|".join(re.escape(p) for p in longest_first if p[0] < "⺀")
    dense = "|".join(re.escape(p) for p in longest_first if p[0] >= "⺀")
    return re.compile(rf"(?<!\w)(?:{spaced})(?!\w)" + (f"|{dense}" if dense else ""))


def _fold(text: str) -> str:
    """Lower case, without accents, hyphens and underscores as spaces: `In-Stock`, `Verfügbar`."""
    lower = text.casefold().replace("ł", "l").replace("ø", "o").replace("æ", "ae").replace("đ", "d")
    lower = lower.replace("’", "'").replace("ı", "i")
    bare = "".join(char if "Ѐ" <= char <= "ӿ" or char >= "⺀" else _base(char) for char in lower)
    return " ".join(re.sub(r"(?<=[^\W\d_])[-_](?=[^\W\d_])", " ", bare).split())


def _base(char: str) -> str:
    if char.isascii():
        return char
    return "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
