"""Which currency a text names: symbols, ISO 4217 codes and words of many languages.

A name may belong to several currencies (`$`, `kr`, `Rs`). The first of its list is the default; a code
elsewhere in the text, what the page says and what the rule says choose among the list, and never
outside of it: `€` stays EUR whatever the rule hopes.

How far a name is trusted depends on where it stands: `zł` names a currency anywhere, `din` only beside
an amount, `L` only where it and the amount are the whole text.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, Literal

import msgspec

from sentinel.decide.number import tidy

#: Longest text a currency is looked for in where no amount stands beside it (characters).
_MAX_HINT: Final = 200

#: More names than this in one text are a list of currencies, not a price.
MAX_NAMES: Final = 64

Trust = Literal["anywhere", "beside", "alone"]

_DOLLARS: Final = (
    "USD CAD AUD NZD SGD HKD MXN ARS CLP COP TWD BRL UYU DOP JMD TTD BBD BZD BSD BMD BND FJD GYD KYD LRD "
    "NAD SBD SRD XCD CUP"
)
_RUPEES: Final = "INR PKR LKR NPR MUR SCR"
_KRONER: Final = "SEK NOK DKK ISK"
_FRANCS: Final = "CHF XOF XAF XPF RWF BIF DJF GNF KMF CDF"
_RIALS: Final = "SAR QAR OMR YER IRR"
_DINARS: Final = "RSD KWD BHD JOD IQD LYD DZD TND MKD"

#: Names trusted wherever they stand, in exactly this case.
_ANYWHERE: Final = {
    "EUR": "€ Euro EURO euro euros Euros ευρώ евро",
    "GBP": "£ GB£ UK£ STG",
    "JPY": "JP¥ 円 日元",
    "CNY": "CN¥ RMB 人民币 人民幣 元 圆",
    "RUB": "₽ руб руб. рублей рубля рубль RUR",
    "UAH": "₴ грн грн. гривень гривні",
    "CZK": "Kč",
    "PLN": "zł Zł ZŁ złotych złoty",
    "HUF": "Ft forint",
    "RON": "lei Lei LEI",
    "BGN": "лв лв. лева",
    "CHF": "SFr SFr. sFr. Fr. CHf",
    "TRY": "₺",
    "ILS": "₪ ש'ח ש\"ח ש״ח ש.ח",
    "INR": "₹ रु रुपये ரூ",
    "THB": "฿ บาท",
    "KRW": "₩ 원",
    "VND": "₫ VNĐ đồng",
    "PHP": "₱",
    "NGN": "₦",
    "GHS": "₵ GH₵ GH¢ GHC",
    "KZT": "₸ тенге тңг тңг.",
    "GEL": "₾ ლარი ლ",
    "AMD": "֏ դր դր. դրամ",
    "AZN": "₼ ман.",
    "MNT": "₮",
    "KHR": "៛",
    "LAK": "₭",
    "CRC": "₡",
    "PYG": "₲",
    "AFN": "؋",
    "BDT": "৳ টকা",
    "BTN": "Nu.",
    "LKR": "රු SLRs",
    "NPR": "नेरू NPRs",
    "PKR": "PKRs",
    "MUR": "MURs",
    "IRR": "﷼ ریال",
    # The toman is ten rials and has no ISO code; IRT is what everybody writes, and IRR would be wrong
    # by a factor of ten.
    "IRT": "تومان تومن",
    "AED": "د.إ د.إ.",
    "SAR": "ر.س ر.س.",
    "QAR": "ر.ق ر.ق.",
    "OMR": "ر.ع ر.ع.",
    "YER": "ر.ي ر.ي.",
    "KWD": "د.ك د.ك.",
    "BHD": "د.ب د.ب.",
    "IQD": "د.ع د.ع.",
    "JOD": "د.ا د.ا. د.أ د.أ.",
    "DZD": "د.ج د.ج. دج",
    "MAD": "د.م د.م.",
    "TND": "د.ت د.ت.",
    "LYD": "د.ل د.ل.",
    "EGP": "ج.م ج.م. E£ L.E.",
    "SDG": "ج.س ج.س.",
    "SYP": "ل.س ل.س. SY£",
    "LBP": "ل.ل ل.ل. LB£",
    "ETB": "ብር",
    "ERN": "ናቕፋ Nfk",
    "IDR": "Rp Rp.",
    "BRL": "R$",
    "USD": "US$ U$S U$D USD$",
    "CAD": "CA$ CAN$ CDN$ Can$",
    "AUD": "A$ AU$ AUD$",
    "NZD": "NZ$",
    "SGD": "S$ SG$",
    "HKD": "HK$",
    "TWD": "NT$",
    "MXN": "MX$ Mex$",
    "ARS": "AR$",
    "CLP": "CL$ CLP$",
    "COP": "CO$ COL$",
    "UYU": "$U UY$",
    "DOP": "RD$",
    "JMD": "J$ JA$",
    "TTD": "TT$",
    "BBD": "Bds$",
    "BZD": "BZ$",
    "BSD": "B$",
    "BND": "BN$",
    "FJD": "FJ$",
    "GYD": "GY$ G$",
    "XCD": "EC$",
    "NAD": "N$",
    "LRD": "L$ LD$",
    "SRD": "SR$",
    "WST": "WS$",
    "TOP": "T$",
    "ZWL": "Z$ ZW$",
    "CUC": "CUC$",
    "MOP": "MOP$",
    "CVE": "CV$",
    "PAB": "B/.",
    "VES": "Bs.S Bs.F. Bs.D",
    "XAF": "FCFA",
    "XPF": "CFP F.CFP",
    "KES": "KSh KShs Ksh Kshs",
    "TZS": "TSh TShs Tsh",
    "UGX": "USh UShs Ush",
    "SOS": "Ssh SoSh",
    "BIF": "FBu",
    "DJF": "Fdj",
    "MVR": "MRf",
    "ISK": "Ikr",
    "DKK": "Dkr DKr",
    "NOK": "Nkr NKr",
}
#: The same, where several currencies share the name.
_ANYWHERE_SHARED: Final = {
    "$ ＄ dollars dollar": _DOLLARS,
    "C$": "CAD NIO",
    "kr kr. Kr Kr. KR": _KRONER,
    "¥": "JPY CNY",
    "Rs Rs. ₨": _RUPEES,
    "р. Р.": "RUB BYN",
    "CFA F.CFA": "XOF XAF",
    "ريال": _RIALS,
    "درهم": "AED MAD",
    "جنيه": "EGP SDG GBP",
    "دينار": "KWD BHD JOD IQD LYD DZD TND",
    "ƒ": "AWG ANG",
    "₣": "FRF CHF",
}
#: Names trusted only right beside an amount, in any case.
_BESIDE: Final = {
    "eur": "EUR",
    "pounds quid": "GBP",
    "yen": "JPY CNY",
    "yuan": "CNY",
    "р": "RUB BYN",
    "rub rubles roubles": "RUB BYN",
    "hrn uah": "UAH",
    "kč kc czk korun": "CZK",
    "zl zlotych": "PLN",
    "leu": "RON MDL",
    "lv lv. leva": "BGN",
    "fr. franc francs franken": _FRANCS,
    "lira liras": "TRY ITL",
    "nis shekel shekels": "ILS",
    "rupees rupee": _RUPEES,
    "baht": "THB",
    "won": "KRW",
    "đ vnd": "VND",
    "pesos peso": "MXN PHP ARS CLP COP UYU DOP CUP",
    "lari": "GEL",
    "din din. dinara дин дин. динара динар dinar dinars": _DINARS,
    "دينار كويتي": "KWD",
    "ден ден.": "MKD",
    "lek lekë": "ALL",
    "kuna": "HRK",
    "ش.ج": "ILS",
    "бел.руб. бел.р.": "BYN",
    "сум so'm soʻm": "UZS",
    "сом": "KGS",
    "тг тг.": "KZT",
    "manat": "AZN TMT",
    "cordoba córdoba": "NIO",
}
#: The same for names that are words or units in another case (`km`, `ks` = pieces, `da` = from).
_BESIDE_EXACT: Final = {
    "TL": "TRY",
    "SR": "SAR",
    "QR": "QAR",
    "LE": "EGP",
    "LL": "LBP",
    "RM": "MYR",
    "RS": _RUPEES,
    "S/ S/.": "PEN",
    "R": "ZAR",
    "VT Vt": "VUV",
    "KM": "BAM",
    "kn": "HRK",
    "DA": "DZD",
    "DT": "TND",
    "KD": "KWD",
    "BD": "BHD",
    "JD": "JOD",
    "LD": "LYD LRD",
    "Dh DH dh Dhs DHS dhs": "AED MAD",
    "RF FRw Frw": "RWF",
    "FG": "GNF",
    "Db": "STN",
    "MT MTn": "MZN",
    "MK": "MWK",
    "ZK": "ZMW",
    "Kz": "AOA",
    "Ks": "MMK",
    "Tk Tk.": "BDT",
    "Br": "BYN ETB",
    "Bs Bs.": "BOB VES",
    "Gs Gs.": "PYG",
}
#: Names trusted only where they and the amount are the whole text, in exactly this case.
_ALONE: Final = {
    "L": "HNL LSL SZL ITL",
    "D": "GMD",
    "K": "PGK MMK ZMW",
    "G": "HTG",
    "P": "PHP BWP",
    "E": "SZL",
    "q": "GTQ",
    "Q": "GTQ",
    "T": "TMT",
    "Nu": "BTN",
    "Le": "SLE",
    "Ar": "MGA",
}
#: Hundredths, told apart because the amount must be divided: `99¢`, `99p`.
_CENTS: Final = {"¢": "USD CAD AUD NZD", "cents": "USD CAD AUD EUR"}
_CENTS_ALONE: Final = {"p": "GBP", "ct": "EUR"}

#: ISO 4217, the codes in use and those pages still show.
_CODES: Final = frozenset(
    (  # noqa: SIM905 - 150 quoted codes are harder to read and to compare with the standard
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN "
        "BZD CAD CDF CHF CLF CLP CNY COP CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
        "GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR "
        "KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN "
        "MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR "
        "SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
        "USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL IRT"
    ).split()
)
#: Codes that are words or brands too: trusted beside an amount only.
_WORDY_CODES: Final = frozenset(
    "ALL ANG BAM BOB COP CUP ERN GEL LAK MAD MOP NIO PEN RON SHP SLE SOS STN TOP TRY".split()  # noqa: SIM905 - as above
)
#: Currencies whose amounts have three decimals, so that a dot before three digits is decimal.
THREE_DECIMALS: Final = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
#: Currencies that are not written with decimals.
NO_DECIMALS: Final = frozenset(
    {
        *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"),
        *("XAF", "XOF", "XPF"),
    }
)


class Named(msgspec.Struct, frozen=True):
    """A currency named at one place of a text."""

    start: int
    end: int
    #: ISO 4217 codes the name may stand for, the usual one first.
    codes: tuple[str, ...]
    trust: Trust
    #: True where the name stands for hundredths.
    cents: bool = False


def _table() -> tuple[dict[str, Named], dict[str, Named]]:
    """Names in exact case, and names in any case (lower)."""
    exact: dict[str, Named] = {}
    lower: dict[str, Named] = {}

    def add(table: dict[str, Named], names: str, codes: str, trust: Trust, *, cents: bool = False) -> None:
        for name in names.split(" "):
            table[name] = Named(0, 0, tuple(codes.split()), trust, cents)

    for code in sorted(_CODES):
        add(exact, f"{code} {code}$", code, "beside" if code in _WORDY_CODES else "anywhere")
        add(lower, code.lower(), code, "beside")
    for code, names in _ANYWHERE.items():
        add(exact, names, code, "anywhere")
    by_names: tuple[tuple[dict[str, Named], dict[str, str], Trust, bool], ...] = (
        (exact, _ANYWHERE_SHARED, "anywhere", False),
        (exact, _BESIDE_EXACT, "beside", False),
        (exact, _ALONE, "alone", False),
        (exact, _CENTS_ALONE, "alone", True),
        (lower, _BESIDE, "beside", False),
        (lower, _CENTS, "beside", True),
    )
    for table, entries, trust, cents in by_names:
        for names, codes in entries.items():
            add(table, names, codes, trust, cents=cents)
    lower["دينار كويتي"] = Named(0, 0, ("KWD",), "beside")  # the one name with a space in it
    return exact, lower


_EXACT, _LOWER = _table()


def _pattern(names: list[str]) -> re.Pattern[str]:
    """Any of `names`, longest first, never inside a word.

    Case-sensitive and with plain literals side by side, because that is what `re` compiles to one look
    at the first character; with IGNORECASE a price costs ten times as much.
    """

    def either(*, first_is_letter: bool, last_is_letter: bool) -> str:
        chosen = [n for n in names if (n[0].isalpha(), n[-1].isalpha()) == (first_is_letter, last_is_letter)]
        return "|".join(map(re.escape, sorted(chosen, key=len, reverse=True))) or r"(?!)"

    letter = r"[^\W\d_]"
    return re.compile(
        rf"(?<!{letter})(?:{either(first_is_letter=True, last_is_letter=False)}"
        rf"|(?:{either(first_is_letter=True, last_is_letter=True)})(?!{letter}))"
        rf"|{either(first_is_letter=False, last_is_letter=False)}"
        rf"|(?:{either(first_is_letter=False, last_is_letter=True)})(?!{letter})"
    )


_EXACT_NAMES: Final = _pattern(list(_EXACT))
_LOWER_NAMES: Final = _pattern(list(_LOWER))


def named_in(text: str) -> list[Named]:
    """Every currency named in `text` (tidied), in order, whatever its trust; at most MAX_NAMES."""
    lower = text.lower()
    if len(lower) != len(text):  # a few capitals have no lower case of one character
        lower = text
    found = [_at(match, _EXACT[match[0]]) for match in islice(_EXACT_NAMES.finditer(text), MAX_NAMES)]
    taken = {at for named in found for at in range(named.start, named.end)}
    found += [
        _at(match, _LOWER[match[0]])
        for match in islice(_LOWER_NAMES.finditer(lower), MAX_NAMES)
        if match.start() not in taken
    ]
    return sorted(found, key=lambda named: named.start)[:MAX_NAMES]


def _at(match: re.Match[str], named: Named) -> Named:
    return msgspec.structs.replace(named, start=match.start(), end=match.end())


def decimals(code: str | None) -> int:
    """How many decimals amounts of a currency are written with where they have any (ISO 4217)."""
    return 0 if code in NO_DECIMALS else 3 if code in THREE_DECIMALS else 2


def written(amount: str, code: object) -> str:
    """An exact amount (`12.9`) as people write it in its currency: `12.90`; whole ones stay whole."""
    whole, point, fraction = amount.partition(".")
    if not point or not fraction.isdigit():
        return amount
    return f"{whole}.{fraction.ljust(decimals(code if isinstance(code, str) else None), '0')}"


def resolve(named: Named, *preferred: str | None) -> str:
    """The code `named` stands for: the first of `preferred` it may stand for, else the usual one."""
    return next((code for code in preferred if code in named.codes), named.codes[0])


def currency_of(hint: str | None, *preferred: str | None) -> str | None:
    """The ISO 4217 code a short text names (`EUR`, `$`, `Cena v Kč`), or None."""
    if not hint:
        return None
    text = tidy(hint[:_MAX_HINT])
    rest = text.strip(" 0123456789.,'-:()")
    found = named_in(text)
    whole = [named for named in found if named.end - named.start >= len(rest)]
    trusted = [named for named in found if named.trust == "anywhere"]
    certain = [named for named in (*whole, *trusted) if len(named.codes) == 1]
    choice = next(iter((*whole, *trusted)), None)
    if choice is None:
        return None
    return resolve(choice, *(named.codes[0] for named in certain), *preferred)
