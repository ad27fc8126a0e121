"""Text: what of it is noise, and the hash that says whether it changed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache
from typing import Final

import re2

from sentinel.decide.noise import without_noise
from sentinel.model import Normalization, TextValue

#: Characters kept to show to people.
MAX_SNIPPET: Final = 8000
#: Put where a relative time stood, so that "3 minutes ago" and "4 minutes ago" are the same text.
RELATIVE_TIME: Final = "⌚"

_SPACES: Final = re.compile(r"\s+")

#: The rest of a word. Written as "no ASCII but letters" because RE2 makes a small machine of that and a
#: large one of Unicode's letters.
_W: Final = r"[^\x00-@\[-`{-\x7f]"
#: What may stand before and after: the edge of the text, or a character that is no letter or digit.
_EDGE: Final = r"[\x00-/:-@\[-`{-\x7f«»„“”‚‘’–—·•…、。]"

#: A number or a word for one (`a minute ago`, `vor einer Stunde`, `il y a une heure`).
_COUNT: Final = (
    r"(?:\d{1,5}(?:[.,]\d)?\+?|an?|one|a few|few|several|einer?|einem|einigen|wenigen|une?|quelques"
    r"|un[ao]?s?|alcuni|pochi|um|uma|alguns|een|enkele|paar|ett?|några|några få|en|et|nogle|noen"
    r"|kilka|kilku|pár|několik|niekoľko|o|egy|bir|пару|несколько|кілька|одну|один)"
)
#: Units of time, abbreviations and inflections of about twenty languages.
_UNIT: Final = (
    rf"(?:s|sec{_W}*|sek{_W}*|seg{_W}*|sn|saniye{_W}*|с|сек{_W}*|másodperc{_W}*|m|mi?n{_W}*|dk|dakika{_W}*"
    rf"|мин{_W}*|хв{_W}*|perc{_W}*|h|hr?s?|hours?|std{_W}*|stund{_W}*|heures?|horas?|or[aeăe]{_W}*|uur|uren|u"
    rf"|timm?[aeı]{_W}*|t|tunti{_W}*|godz{_W}*|hod{_W}*|ór[aá]{_W}*|saat{_W}*|час{_W}*|ч|годин{_W}*"
    rf"|d|days?|tag{_W}*|jours?|j|d[ií]as?|giorn[oi]|gg?|dag(?:en|ar|er|e)?|døgn|päivä{_W}*|dni{_W}*|dzień"
    rf"|dn[yůíiův]{_W}*|den|dňa{_W}*|zi|zile|nap{_W}*|gün{_W}*|день|дня|дней|дні|днів"
    rf"|w|wks?|weeks?|wochen?|semaines?|semanas?|settiman[ae]|weken|veck{_W}*|uger?|uker?|viikko{_W}*|tyg{_W}*"
    rf"|týd{_W}*|týž{_W}*|săpt{_W}*|hét|hete{_W}*|hafta{_W}*|недел{_W}*|тижд{_W}*|тижн{_W}*"
    rf"|mos?|months?|monat{_W}*|mois|mes(?:es|e|i)?|m[eê]s{_W}*|maand(?:en)?|månad{_W}*|måned{_W}*"
    rf"|kuukau{_W}*|miesi{_W}*|měs{_W}*|mesiac{_W}*|lun[iăa]|hónap{_W}*|ay|месяц{_W}*|міся{_W}*"
    rf"|y|yrs?|years?|jahr{_W}*|ans?|années?|ann[oi]|anos?|años?|jaar|jaren|år|vuo{_W}*|lat|lata|let|ro[kč]{_W}*"
    rf"|an[iu]l?|év{_W}*|yıl{_W}*|год{_W}*|лет|рік|рок{_W}*)\.?"
)
_AND: Final = r"(?:and|und|et|y|e|i|og|och|en|a|și|и|та)"
_SPAN: Final = rf"{_COUNT} ?{_UNIT}(?:,? (?:{_AND} )?{_COUNT} ?{_UNIT})?"
_NEAR: Final = (
    r"(?:(?:about|around|over|almost|nearly|less than|more than|ca\.?|etwa|rund|über|environ|cerca de|circa"
    r"|ongeveer|około|asi|около) )?"
)
_BEFORE: Final = r"(?:vor|il y a|hace|há|fa|před|pred|acum|πριν(?: από)?|преди|cách đây)"
#: Words for "ago" that mean "for" elsewhere, with what makes them the one: "for 3 dage siden" is over,
#: "for 3 days" is a promise; so is Slovak's "pre 5 minút" beside Serbian's "pre 5 minuta".
_BOTH: Final = (
    rf"(?:for|för) {_NEAR}{_SPAN} (?:sedan|siden)"
    rf"|(?:prije|pre) {_NEAR}{_COUNT} (?:sekund[aeiu]?|minut[aeiu]?"
    rf"|sat[ai]?|dana?|tjed{_W}+|nedelj[aeu]|m?j?esec[ai]?"
    r"|godin[aeu])"
)
_AFTER: Final = (
    r"(?:ago|earlier|fa|geleden|sedan|siden|sitten|temu|önce|назад|тому(?: назад)?|atrás|în urmă|ezelőtt)"
)
#: Spans still to come are noise only where they count down to something: "starts in 5 min". "Ships in 3
#: days" is news, and so is "delivery in 30 min".
_COUNTDOWN: Final = (
    r"(?:ends?|ending|starts?|starting|begins?|closes?|closing|opens?|expires?|expiring|refresh(?:es|ing)?"
    r"|reloads?|updates?|resets?|renews?|departs?|departing|leaves"
    r"|arrives|arriving|live|next (?:update|refresh|bus|train)"
    r"|endet|beginnt|startet|schließt|öffnet|abfahrt|nächste (?:aktualisierung|abfahrt)"
    r"|termine|finit|commence|débute|expire|ferme|ouvre|départ|termina|acaba|empieza|comienza|expira|cierra|abre"
    r"|finisce|inizia|scade|chiude|apre|parte|começa|fecha|eindigt|begint|sluit|verloopt|opent|vertrekt"
    r"|končí|skončí|začína|začíná|zatvára|otvára|zavírá"
    r"|odchod|odjezd|kończy się|zaczyna się|slutar|börjar|startar"
    r"|slutter|starter|begynder|avgår|начн[её]тся|закончится|истекает|почнеться|закінчиться)"
)
_SOON: Final = (
    rf"{_COUNTDOWN} (?:in|noch|dans|en|tra|fra|over|om|o|za|через) \d{{1,3}} ?"
    rf"(?:s|secs?|sek|seconds?|sekunden?|min{_W}*)"
)
_NOW: Final = (
    r"(?:just now|right now|(?:a )?moments? ago|gerade eben|soeben|à l'instant|ahora mismo|hace un momento"
    r"|proprio ora|poco fa|agora mesmo|zojuist|nyss|lige nu|akkurat nå|juuri nyt|przed chwilą|právě teď"
    r"|práve teraz|az előbb|chiar acum|az önce|только что|щойно)"
)
_YESTERDAY: Final = (
    r"(?:yesterday|gestern|ayer|ieri|ontem|gisteren|igår|i går|eilen|wczoraj|včera|tegnap|dün|вчера|вчора)"
)
#: No spaces between words there, so no edges either.
_CJK: Final = (
    r"\d{1,4} ?(?:秒|分钟|分鐘|分|小时|小時|時間|天|日|周|週間|週|个月|個月|ヶ月|か月|月|年) ?前"
    r"|\d{1,4} ?(?:초|분|시간|일|주|개월|년) ?전"
    r"|刚刚|剛剛|たった今|방금|昨天|昨日|어제"
)


@cache
def _relative() -> re2._Regexp[str]:
    """Every relative time. RE2, because a page must not choose how long a match takes."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    past = rf"{_NEAR}{_SPAN} {_AFTER}|{_BEFORE} {_NEAR}{_SPAN}"
    words = f"{past}|{_BOTH}|{_SOON}|{_NOW}|{_YESTERDAY}"
    return re2.compile(rf"(^|{_EDGE})(?:{words})($|{_EDGE})|{_CJK}", options)


def read_text(raw: str, normalization: Normalization) -> TextValue:
    """The text as shown to people, bounded, and the hash of what is left when the noise is gone."""
    shown = visible(raw)
    neutral = neutralise(raw, normalization)
    lines = ""
    if not normalization.order_matters:
        # Beside the whole text, not in its place: where white space is noise, so are line breaks.
        found = sorted(neutralise(line, normalization) for line in raw.splitlines() if visible(line))
        lines = _digest("\n".join(found)) if len(found) > 1 else ""
    return TextValue(text=shorten(shown, MAX_SNIPPET), hash=_digest(neutral), lines=lines)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def neutralise(raw: str, normalization: Normalization) -> str:
    """`raw` without what the rule calls noise; two texts equal here are the same text."""
    text = without_invisible(raw)
    text = squeeze(text) if normalization.ignore_whitespace else text.replace("\r\n", "\n")
    if normalization.ignore_relative_times:
        text = _without_relative_times(text)
    text = without_noise(text, normalization)
    return text.casefold() if normalization.ignore_case else text


def _without_relative_times(text: str) -> str:
    def replace(match: re2._Match[str]) -> str:
        return f"{match[1] or ''}{RELATIVE_TIME}{match[2] or ''}"

    # Twice: two times side by side share the space between them, and a match takes it.
    return str(_relative().sub(replace, _relative().sub(replace, text)))


def visible(raw: str) -> str:
    """`raw` as one line a person can read: NFC, single spaces, no control or invisible characters."""
    return squeeze(without_invisible(raw))


def squeeze(text: str) -> str:
    """Every run of white space as one space, none at the ends."""
    return _SPACES.sub(" ", text).strip()


def without_invisible(text: str) -> str:
    """NFC, and no character that shows nothing: zero-width, bidi controls, soft hyphens, control codes."""
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFC", text)
    return "".join(
        char for char in text if char.isspace() or unicodedata.category(char) not in {"Cf", "Cc", "Cs"}
    )


def shorten(text: str, limit: int) -> str:
    """`text`, or its beginning with an ellipsis: never longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
