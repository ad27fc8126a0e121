"""What changes on pages by itself: stamps, counters, session ids, tracking. Each as its rule asks."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import re2

from sentinel.model import Normalization

#: Put where noise stood, so that two texts that differ in it alone are the same.
UPDATED: Final = "⌛"
COUNTER: Final = "#"
HIDDEN: Final = "*"

#: `Last updated`, `Stand:` and their like in 20 languages, before a date.
_STAMPS: Final = (
    r"(?:last|page|price|prices)? ?(?:updated|modified|changed|refreshed|checked"
    r"|generated)(?: on| at)?|as of"
    r"|zuletzt (?:aktualisiert|geändert)(?: am)?|aktualisiert(?: am| um)?|stand"
    r"|letzte (?:aktualisierung|änderung)"
    r"|(?:dernière )?mise à jour(?: le)?|mis à jour le|modifié le|(?:última )?actualización"
    r"|actualizado(?: el)?"
    r"|última atualização|atualizado(?: em)?|ultimo aggiornamento|aggiornato(?: il| al)?"
    r"|(?:laatst )?bijgewerkt(?: op)?"
    r"|(?:posledná )?aktualizácia|aktualizované|(?:poslední )?aktualizace|aktualizováno"
    r"|ostatnia aktualizacja"
    r"|zaktualizowano|senast uppdaterad|uppdaterad|sist oppdatert|oppdatert|sidst opdateret"
    r"|opdateret|päivitetty"
    r"|(?:utolsó )?frissítés|frissítve|ultima actualizare|actualizat|son güncelleme|güncellendi"
    r"|последнее обновление|обновлено|оновлено|最終更新(?:日)?|更新日|更新时间|最后更新|업데이트|최종 수정"
)
#: A letter that is no ASCII sign or digit: RE2 makes a small machine of this and a large one of Unicode's.
_L: Final = r"[^\x00-@\[-`{-\x7f]"
_MONTH: Final = (
    r"(?:jan|feb|fév|fev|mar|mär|mrz|apr|avr|abr|mai|may|maj|máj|mag|mei|mrt|jun|jún|jui|giu"
    r"|jul|júl|lug|aug|aoû|ago"
    r"|sep|set|okt|oct|ott|out|nov|dec|dez|déc|dic|des|gen|ene|led|úno|bře|dub|kvě|čer|srp|zář"
    r"|říj|lis|pro|sty|lut|kwi"
    r"|cze|lip|sie|wrz|paź|gru|янв|фев|мар|апр|мая|май|июн|июл|авг|сен|окт|ноя|дек|січ|лют|бер"
    r"|кві|тра|чер|лип|сер|вер"
    rf"|жов|лис|гру|tam|hei|elo|syy|lok|mar|jou|huh|tou|kes|hel|maa|oca|şub|nis|haz|tem|ağu|eyl"
    rf"|eki|kas|ara){_L}*"
)
#: A date or a time, written in any of the usual ways.
_DATE: Final = (
    rf"(?:\d{{1,4}}[./:年-]\d[^\s]*|\d{{1,2}}(?:st|nd|rd|th)?\.? (?:de )?{_MONTH}[.,]?"
    rf"|{_MONTH}[.,]? \d{{1,2}}[^\s]*)"
)
#: What may follow a stamp's words: a weekday after a colon, the date, then more of it: years, times, zones.
_WHEN: Final = (
    rf"(?:\s?[:：]\s?(?:{_L}{{2,12}}[.,]? ){{0,2}}|\s){_DATE}"
    r"(?: (?:\d[^\s]*|[-–|]|[ap]\.?m\.?|(?:uhr|utc|gmt|cest|cet|e[sd]t|p[sd]t|at|um|o|a las"
    r"|kl\.?|de)\b|à|às)){0,6}"
)
#: A count of people or their deeds, the number before or after its word.
_COUNTED: Final = (
    r"(?:views?|visits?|visitors?|likes?|shares?|followers?|subscribers?|comments?|downloads?"
    r"|watching|online"
    r"|people (?:are )?(?:viewing|watching|looking)|(?:users?|guests?|members?) online|aufrufe"
    r"|besucher|ansichten"
    r"|kommentare|personen sehen sich|vues?|visites?|visiteurs?|commentaires?|visitas"
    r"|visualizaciones|visualizações"
    r"|visualizzazioni|visite|commenti|weergaven|bezoekers|zobrazen[ií]|návštev|návštěv"
    r"|komentárov|komentářů|wyświetleń"
    r"|odsłon|komentarzy|visningar|visninger|megtekintés|vizualizări|görüntülenme|просмотр(?:ов"
    r"|а)?|перегляд(?:ів|и)?)"
)
_COUNTED_CJK: Final = r"(?:回視聴|次浏览|次观看|회 조회|人が閲覧中)"
_NUMBER: Final = r"\d{1,3}(?:[.,\x{00A0}\x{202F}' ]?\d{1,3}){0,4} ?[km]?"
#: A name that says it, and what it is: `csrf_token=9f8e...`, `PHPSESSID: ...`, `nonce-...`.
_SECRETS: Final = (
    r"((?:[a-z0-9]{0,20}[_-]?)?(?:csrf|xsrf|nonce|session|sess|sid|phpsessid|jsessionid|request"
    r"|trace|correlation|visitor)"
    r"(?:[_ -]?(?:id|token|key|middlewaretoken|nonce))?[\"']?\s?[=:]\s?[\"']?)([A-Za-z0-9+/=_.-]{12,})"
)
#: Parts of what is taken for a token, and turns between letters and digits in one: `9f8e7d` has five, and
#: `Q3-2026`, `iPhone15` or `24-December-2026` are words and days.
_PARTS: Final = re.compile(r"[A-Za-z0-9]+")
_TURNS: Final = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])")
_DIGITS: Final = re.compile(r"\d{16,}|[0-9a-fA-F]{24,}")
_DAY: Final = re.compile(r"(?:19|20)\d\d[-./]?[01]\d[-./]?[0-3]\d")
#: Characters of a token's longest part, and turns in all of it.
_PART: Final = 8
_TURNS_NEEDED: Final = 3
#: Parameters of links that say where a visitor came from, or who it is.
_TRACKING: Final = frozenset(
    [
        "gclid",
        "gclsrc",
        "dclid",
        "fbclid",
        "msclkid",
        "yclid",
        "twclid",
        "ttclid",
        "igshid",
        "mc_cid",
        "mc_eid",
        "_ga",
        "_gl",
        "wbraid",
        "gbraid",
        "srsltid",
        "ref_src",
        "spm",
        "scm",
        "vero_id",
        "oly_enc_id",
        "oly_anon_id",
        "hsctatracking",
        "_hsenc",
        "_hsmi",
        "mkt_tok",
        "sessionid",
        "phpsessid",
        "sid",
        "cachebuster",
        "_",
    ]
)
_QUERY: Final = re.compile(r"(?<=[^\s?])\?([^\s?#\"'<>=]+=[^\s#\"'<>]*)")
#: The end of a word: RE2's own knows ASCII letters alone.
_END: Final = r"($|[\x00-/:-@\[-`{-\x7f…–—])"


def without_noise(text: str, normalization: Normalization) -> str:
    """`text` without the noise that the rule names; what is nothing but noise stays as it is."""
    if normalization.ignore_tracking and "=" in text:
        text = _untracked(text)
    if normalization.ignore_tokens and ("=" in text or ":" in text):
        text = _compiled(_SECRETS).sub(_without_token, text)
    if normalization.ignore_updated:
        text = _unless_all(text, _replaced(text, rf"(^|[^A-Za-z])(?:{_STAMPS}){_WHEN}", UPDATED, around=True))
    if normalization.ignore_counters:
        # Twice: two counters side by side share the space between them, and a match takes it.
        counted = rf"(^|[^\d.,]){_NUMBER} ?{_COUNTED}{_END}"
        quiet = _replaced(_replaced(text, counted, COUNTER, around=True), counted, COUNTER, around=True)
        quiet = _replaced(quiet, rf"(^|[^A-Za-z]){_COUNTED}\s?[:：]\s?{_NUMBER}{_END}", COUNTER, around=True)
        text = _unless_all(text, _replaced(quiet, rf"{_NUMBER} ?{_COUNTED_CJK}", COUNTER))
    return text


def _without_token(match: re2._Match[str]) -> str:
    """The name and a sign in the place of its value, if that looks like one nobody chose: no word, no day."""
    value = match[2]
    longest = max(map(len, _PARTS.findall(value)), default=0)
    random = longest >= _PART and len(_TURNS.findall(value)) >= _TURNS_NEEDED
    if _DAY.match(value) or not (random or _DIGITS.search(value)):
        return str(match[0])
    return f"{match[1]}{HIDDEN}"


def _unless_all(text: str, quiet: str) -> str:
    """A rule that watches the stamp or the counter itself must not be blind to it."""
    return quiet if quiet.strip(f" {UPDATED}{COUNTER}.:,") else text


def _untracked(text: str) -> str:
    """Links without the parameters that say where a visitor came from."""

    def bare(match: re.Match[str]) -> str:
        kept = [one for one in match[1].replace("&amp;", "&").split("&") if not _is_tracking(one)]
        return f"?{'&'.join(kept)}" if kept else ""

    return _QUERY.sub(bare, text)


def _is_tracking(parameter: str) -> bool:
    name = parameter.partition("=")[0].lower()
    return name.startswith("utm_") or name in _TRACKING


def _replaced(text: str, pattern: str, replacement: str, *, around: bool = False) -> str:
    """Every match by `replacement`, between its first and second group where they are to be kept."""

    def instead(match: re2._Match[str]) -> str:
        kept = [group or "" for group in match.groups()]
        before, after = (*kept, "", "")[:2] if around else ("", "")
        return f"{before}{replacement}{after}"

    return str(_compiled(pattern).sub(instead, text))


@cache
def _compiled(pattern: str) -> re2._Regexp[str]:
    """RE2, because a page must not choose how long a match takes."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(pattern, options)
