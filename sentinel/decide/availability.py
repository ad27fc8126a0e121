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
from sentinel.decide.coming import coming
from sentinel.decide.counted import counts, says_none
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
    r"|toimit\w*|wysylka|dostawa|czas|realizacj\w*|wysylamy|doda\w*|doruc\w*|odesl\w*|odosl\w*|dostupn\w*|dostepn\w*"
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
#: A "no" a few words before "in stock".
_NEGATED: Final = re.compile(
    r"\b(?:not|no longer|never|isn't|aren't|cannot be|nicht|nicht mehr|kein|keine|non|ne(?! reste)|n'est|pas|plus(?! que)|niet|geen|ikke|"  # noqa: E501 - one table row
    r"inte|ej|ei|nie|neni|nem|nincs|nu|nao|no|не|нет|няма|немає)(?: [^\W\d_]{1,12}){0,2} $"
)
#: The same where words have no spaces between them: before, and after.
_DENSE_NEGATED: Final = re.compile(r"(?:不|未|没|沒|无|無|非|ไม่|ไม่มี)$")
_DENSE_NEGATION: Final = re.compile(
    r" ?(?:なし|無し|切れ|ない|ません|がありません|없음|없습니다|없|아님|불가)"
)
#: "Soon" or "nearly" before "sold out": it is not yet.
_NEARLY: Final = re.compile(
    r"(?<!\w)(?:almost|nearly|soon|about to be|selling out|fast|beinahe|nahezu|bald|presque|bientot|casi"
    r"|pronto|quasi|presto|quase|bijna|nastan|snart|naesten|nesten|melkein|pian|prawie|wkrotce|temer|takmer|brzy|coskoro"
    r"|majdnem|hamarosan|aproape|skoro|skoraj|почти|скоро|майже|neredeyse|not|nicht) $"
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
    folded = _fold(text)
    status = _mapped(folded, mapping) or _schema(text)
    if status is None:
        said = _said(folded)
        status = _settle(said, text)
    lead = _find_lead(folded) if status == "lead_time" else None
    return AvailabilityValue(status=status, lead_time_days=lead.days if lead else None)


def is_phrase(raw: str) -> bool:
    """Whether a text is a phrase about stock and nothing else: `In stock.`, and not `available in blue`."""
    folded = _fold(visible(raw)[:_MAX_TEXT]).strip(" .,!:;*·✓✔•¡")
    return folded in _status_of() or _is_coming(folded)


def _is_coming(folded: str) -> bool:
    """Whether it is a phrase with nothing but a "soon" or a day beside it: `bald wieder verfugbar`."""
    found = _phrases().search(folded)
    mark = None if found is None else coming(folded, found.start(), found.end())
    return mark is not None and mark.start == 0 and mark.end == len(folded)


def is_selling_phrase(raw: str) -> bool:
    """Whether a text is what a button says that sells, and nothing else."""
    return _buttons().fullmatch(_fold(visible(raw)[:_MAX_TEXT]).strip(" .,!:;*·»>+")) is not None


def _mapped(folded: str, mapping: dict[str, AvailabilityStatus]) -> AvailabilityStatus | None:
    """The rule's own words, the longest that the text says: as whole words, and of no "not" or "not yet"."""
    hits = [key for key, status in mapping.items() if _says(folded, _fold(visible(key)), status)]
    return mapping[max(hits, key=len)] if hits else None


def _says(folded: str, words: str, status: AvailabilityStatus) -> bool:
    if not words:
        return False
    before = r"(?<!\w)" if _is_spaced(words[0]) else ""
    after = r"(?!\w)" if _is_spaced(words[-1]) else ""
    for match in islice(re.finditer(before + re.escape(words) + after, folded), _MAX_SPANS):
        start, end = match.span()
        if _is_negated(folded, start) or (not after and _DENSE_NEGATION.match(folded, end)):
            continue
        if status != "in_stock" or not (coming(folded, start, end) or says_none(folded, end)):
            return True
    return False


def _is_negated(text: str, start: int) -> bool:
    if _NEGATED.search(text, max(0, start - 40), start):
        return True
    return not _is_spaced(text[start]) and _DENSE_NEGATED.search(text, max(0, start - 3), start) is not None


def _is_spaced(char: str) -> bool:
    """Whether it is a letter of a script that puts spaces between words."""
    return (char.isalnum() or char == "_") and not _is_dense(char)


def _is_dense(char: str) -> bool:
    """Whether it is of a script without spaces (Korean is: its words grow at both ends)."""
    return char >= "\u2e80" or "\u0e00" <= char <= "\u0eff"


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
    heard = 0
    for match in _phrases().finditer(rest):
        if match.start() < heard:
            continue
        status, heard = _told(rest, match)
        if status is not None:
            said.add(status)
    numbers = counts(rest)
    if numbers:  # "0 in stock" holds the phrase "in stock": the count says it better
        said.discard("in_stock")
        said.add("in_stock" if max(numbers) > 0 else "out_of_stock")
    if not said and _buttons().search(folded):
        said.add("in_stock")
    return said


def _told(text: str, match: re.Match[str]) -> tuple[AvailabilityStatus | None, int]:
    """What a phrase says where it stands, and where what belongs to it ends."""
    status, (start, end) = _status_of()[match[0]], match.span()
    if status == "out_of_stock" and _NEARLY.search(text, max(0, start - 20), start):
        return "in_stock", end
    if status != "in_stock":
        return status, end
    if _is_doubted(text, start):
        return None, end
    if _is_negated(text, start) or says_none(text, end):
        return "out_of_stock", end
    mark = coming(text, start, end)
    # "In stock, soon sold out": the "soon" is that of the phrase after it.
    if mark is None or (mark.end > end and _phrases().match(text, mark.end + 1)):
        return status, end
    return mark.status, max(end, mark.end)


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
    spaced = "|".join(re.escape(p) for p in longest_first if not _is_dense(p[0]))
    dense = "|".join(re.escape(p) for p in longest_first if _is_dense(p[0]))
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
