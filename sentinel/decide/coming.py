"""What makes of "available" a "not yet": a day from which it is so, or a "soon", in many languages.

All of it is looked for right beside a phrase (`bald wieder verfügbar`, `in stock again from 1 March`), in
texts folded as availability.py folds them: `only 2 in stock, order soon` says nothing of the kind.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

#: Between a phrase and what makes a "not yet" of it: `bald WIEDER verfugbar`, `back in stock AGAIN soon`.
_AGAIN: Final = (
    r"(?: (?:to be|be|back|again|more|once more|online|wieder|erneut|de nouveau|a nouveau|de retour|en ligne"
    r"|de nuevo|otra vez|nuevamente|di nuovo|nuovamente|novamente|de novo|de volta|weer|opnieuw|terug|igen"
    r"|tillbaka|tilbage|tilbake|taas|jalleen|ponownie|znow|znowu|opet|zase|znovu|opat|ujra|ismet|din nou|iar"
    r"|ponovo|znova|снова|опять|вновь|знову|отново|tekrar|yeniden|lai))*"
)
_SOON: Final = (
    r"(?:very soon|soon|shortly|expected|bald|in kurze|demnachst|voraussichtlich|bientot|prochainement|pronto"
    r"|proximamente|en breve|presto|prossimamente|a breve|em breve|brevemente|binnenkort|snart|inom kort"
    r"|innen kort|pian|piakkoin|wkrotce|niebawem|brzy|jiz brzy|coskoro|uz coskoro|hamarosan|in curand|uskoro"
    r"|kmalu|скоро|вскоре|незабаром|очаквано|yakinda|συντομα|peagi|varsti|driz|drizuma|netrukus|greitai"
    r"|segera|sap|sap co|قريبا|בקרוב)"
)
#: Before the phrase only: `will be in stock`, `wird wieder verfugbar sein`.
_WILL: Final = (
    r"(?:will be|will|wird|werden|sera|seront|estara|estaran|sara|saranno|wordt|blir|bliver|bude|budou"
    r"|budu|bedzie|beda|lesz|va fi|vor fi|bo|bodo|biti|ce biti|будет|будут|буде|будуть)"
)
#: Names of months, folded.
MONTH: Final = (
    r"(?:jan(?:uary|uar|vier|eiro|uari|uara)?|janner|enero|gennaio|stycznia|ledna|ianuarie"
    r"|feb(?:ruary|ruar|rero|braio|ruari|ruara|ruarie)?|feber|fevrier|fevereiro|lutego|unora"
    r"|mar(?:ch|s|zo|co|z|t|ts|ca|cius|tie)?|mrz|maart|brezna"
    r"|apr(?:il|ile|ila|ilis|ilie)?|avril|abril|kwietnia|dubna"
    r"|may|mai|maj|mayo|maio|maggio|mei|maja|kvetna|majus"
    r"|june?|juni|juin|junio|giugno|junho|czerwca|cervna|juna|junius|iunie"
    r"|july?|juli|juillet|julio|luglio|julho|lipca|cervence|jula|julius|iulie"
    r"|aug(?:ust|usti|ustus|usta|usztus)?|aout|agosto|sierpnia|srpna"
    r"|sept?(?:ember|embre|embra|embrie|iembre)?|settembre|setembro|wrzesnia|zari|szeptember"
    r"|o[ck]t(?:ober|obre|obra|oberja|ombrie)?|octubre|ottobre|outubro|pazdziernika|rijna|octombrie"
    r"|nov(?:ember|embre|embro|embra|iembre)?|listopadu?a?|noiembrie"
    r"|de[cz](?:ember|embre|embro|embra|embrie)?|dez|diciembre|dicembre|grudnia|prosince"
    r"|(?:tammi|helmi|maalis|huhti|touko|kesa|heina|elo|syys|loka|marras|joulu)kuu\w{0,3}"
    r"|января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря"
    r"|січня|лютого|березня|квітня|травня|червня|липня|серпня|вересня|жовтня|листопада|грудня)\.?(?!\w)"
)
_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
#: Days in figures, none of which is a price (`ab 10.50 €`): a month, then an end, a year, or no currency.
_FIGURES: Final = (
    rf"(?:{_DAY}\. ?(?:0?[1-9]|1[0-2])\.(?: ?(?:20)?\d\d)?|{_DAY}[/-](?:0?[1-9]|1[0-2])(?:[/-](?:20)?\d\d)?"
    rf"|{_DAY}\.(?:0?[1-9]|1[0-2])\.(?:20)?\d\d|20\d\d[./-]\d{{1,2}}[./-]\d{{1,2}}|(?:0?[1-9]|1[0-2])[/.]20\d\d"
    r")(?![\d.,/]*\d)(?! ?[€$£%])"
)
_WORDED: Final = (
    rf"(?:{_DAY}(?:st|nd|rd|th|er|\.|º)? ?(?:of |de |d')?{MONTH}(?: (?:de )?20\d\d)?"
    rf"|{MONTH} {_DAY}(?:st|nd|rd|th)?(?!\d)(?:,? 20\d\d)?)"
)
#: Looser: only believed after a word such as "from".
_LOOSE: Final = (
    rf"(?:(?:mid|early|late|end of|anfang|mitte|ende|debut|fin|mi|principios de|finales de|inizio|meta|fine"
    rf"|begin|eind|poczatku|konca|zacatku|konce|zaciatku)?[ -]?(?:{MONTH}(?: 20\d\d)?)"
    r"|(?:20[2-9]\d|q[1-4]|kw ?\d{1,2}|(?:calendar )?week \d{1,2}|next (?:week|month|year|spring|summer"
    r"|autumn|fall|winter)|nachste[rn]? (?:woche|monat|jahr)|la semaine prochaine|le mois prochain"
    r"|(?:la )?proxima semana|(?:el )?proximo mes|(?:la )?prossima settimana|volgende (?:week|maand)"
    r"|nasta vecka|naeste uge|neste uke|przyszlego tygodnia|pristiho tydne|buduceho tyzdna"
    r"|tomorrow|morgen|demain|manana|domani|amanha|imorgon|i morgen|huomenna|jutra|zitra|zitrka|zajtra"
    r"|zajtrajska|holnap|maine|завтра|yarin|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch)(?!\w))"
)
_FROM: Final = (
    r"(?:starting from|starting on|starting|beginning|from|ab dem|ab|erst ab|a partir d[ue]|a partir del?"
    r"|a partir d[eoa]|des le|des|desde el|desde|dal|da|od|vanaf|fran och med|fran|fra og med|fra|alkaen"
    r"|de la|din|с|от|з)"
)
#: On a day: said of no month or weekday.
_ON: Final = r"(?:on|am|le|el|il|dia|op|den|dne|dna|dnia|em|pe|на)"
_THE: Final = r"(?: the| dem| den| le| el| il| o| l')?"
_WHEN: Final = (
    rf"(?:{_FROM}{_THE} ?(?:{_FIGURES}|{_WORDED}|{_LOOSE})|{_ON}{_THE} ?(?:{_FIGURES}|{_WORDED}))"
    r"(?:,? ?(?:20\d\d|alkaen|-tol|-tol kezdve|starting|onwards|an))?"
)
#: Finnish and Hungarian and some others put the day first.
_DAY_FIRST: Final = rf"(?:{_FIGURES}|{_WORDED}) ?(?:alkaen|tol|starting|onwards|itibaren|από)"

_BEFORE: Final = re.compile(
    rf"(?<!\w)(?:(?P<soon>{_SOON}|{_WILL}(?: {_SOON})?)|(?P<day>{_WHEN}|{_DAY_FIRST})[,:]?){_AGAIN} $"
)
_AFTER: Final = re.compile(
    rf"{_AGAIN}(?: (?P<soon>{_SOON})(?!\w)|,? [(\[]?(?:{_SOON} )?(?P<day>{_WHEN}|{_DAY_FIRST})"
    rf"|\s?: ?(?P<colon>{_FIGURES}|{_WORDED}))"
)
#: A day after a "soon": `expected back in stock 12 March`.
_THEN: Final = re.compile(rf"[:,]? [(\[]?(?:{_FIGURES}|{_WORDED})")
#: Characters before a phrase that are looked at: the longest of `_BEFORE`, roughly.
_REACH: Final = 70


class Mark(NamedTuple):
    """What makes a "not yet" of a phrase."""

    #: lead_time where a day is named, out_of_stock where none is.
    status: Literal["lead_time", "out_of_stock"]
    #: Where it begins and ends, the phrase included.
    start: int
    end: int


def coming(text: str, start: int, end: int) -> Mark | None:
    """What beside the phrase at `start` to `end` says that it is so soon, or from a day on; None: nothing."""
    before = _BEFORE.search(text, max(0, start - _REACH), start)
    after = _AFTER.match(text, end)
    begin = start if before is None else before.start()
    until = end if after is None else after.end()
    if (before is not None and before["day"]) or (after is not None and not after["soon"]):
        return Mark("lead_time", begin, until)
    if before is None and after is None:
        return None
    day = _THEN.match(text, until)
    return Mark("out_of_stock", begin, until) if day is None else Mark("lead_time", begin, day.end())
