"""The price a page shows to people: every amount near the product's heading, and what speaks for each.

Amounts are found by what they are (a number and a currency, or a number in an element that is called a
price), not by one shop's class names. What is struck through, called old, or said to be off, is kept
apart as old; parts (per kilogram, a month, shipping, tax) are no price of the product at all. The rest
gets points, each for a reason in `_points`; two amounts that are as likely as each other are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Final

import msgspec
from selectolax.lexbor import LexborNode

from sentinel.decide import currency, number, price_words
from sentinel.decide.money import read_price
from sentinel.extract import html
from sentinel.extract.asked import asked, is_called_asked, is_called_old, is_struck
from sentinel.extract.place import Place, following, lineage, names, preceding

#: Nodes walked on one page, and amounts looked at.
MAX_NODES: Final = 6_000
MAX_TEXTS: Final = 400
MAX_AMOUNTS: Final = 24
#: Texts looked at before the heading.
MAX_BEFORE: Final = 60
#: Longest text of an element that shows one amount (characters).
MAX_TEXT: Final = 60
#: Letters beside an amount in an element that is not called a price, its currency among them.
MAX_LETTERS: Final = 12
#: Points the best amount must have, and must be ahead of the next.
ENOUGH: Final = 3.5
MARGIN: Final = 1.25

_PRICED: Final = re.compile(
    r"price|amount|\bprix|preis|prezzo|precio|preco|cena\b|prijs|\bpris\b|tsena|\bhinta|fiyat|\bcost\b",
    re.IGNORECASE,
)
#: Not the whole thing, or not what it costs.
_PART: Final = re.compile(
    r"saving|\bsave|you-?save|discount-?(?:amount|value|label)|price-?tax|tax-?excl|without-?(?:tax|"
    r"vat)|excl|unit|per-?(?:unit|month|kg|item)|"
    r"shipping|delivery|versand|instal|parcel|month|financ|"
    r"credit|leas|rating|bonus|points|deposit|wholesale|min-?price|max-?price|range-?(?:slider|filter|"
    r"input)|filter|"
    r"cuota|rata\b|coupon|voucher|trade-?in|threshold|subtotal|total(?![a-z])",
    re.IGNORECASE,
)
#: Words before an amount: what it is.
_SAYS_OLD: Final = re.compile(
    r"(?<![^\W\d_])de:? ?(?=r\$)|"
    r"(?<![^\W\d_])(?:was|were|old|before|regular|original|list price|rrp|msrp|srp|"
    r"retail|instead of|"
    r"statt|uvp|bisher|vorher|"
    r"au lieu|ancien|avant|antes|invece|anziché|prezzo di listino|van|adviesprijs|tidigare|ord\.?|før|"
    r"před|původní|běžná|pôvodn\w*|"
    r"zamiast|poprzednia|korábbi|eredeti|régi|vechi|înainte|pvp|prp|старая|было|вместо|原價|原价|定価|"
    r"通常価格|정가|preço de|precio normal|"
    r"stara|redovna|редовна|стара|conseillé|prix public|anterior|recomendado|consigliato|listino|regularna|"
    r"katalogowa|doporučená|odporúčaná|bežná|recommended|suggested|streichpreis|listenpreis|normalpris|"
    r"recomandat|listaár|обычная|рекомендованная|市场价|定价|吊牌价|希望小売価格)(?![^\W\d_])",
    re.IGNORECASE,
)
_SAYS_PART: Final = re.compile(
    r"(?<![^\W\d_])(?:sem juros|sin intereses|im monat|pro monat|par mois|al mese|al mes|per maand|"
    r"\d+ ?x(?: de)?|save|saved?|saving|you save|off|over|orders?|shipping|delivery|deposit|per month|"
    r"monthly|/mo|sparen|ersparnis|"
    r"versand\w*|pfand|grundpreis|économi\w*|livraison|ahorr\w*|envío|risparmi\w*|spedizione|bespaar|"
    r"verzend\w*|spara|frakt|spar|"
    r"ušetř\w*|doprava|ušetr\w*|oszczęd\w*|dostawa|najniższa|szállítás|economis\w*|скидка|экономия|"
    r"доставка|в месяц|cuotas?|rate da|"
    r"from over|coupon|bonus|cashback|tax|vat|excl|ex\.|netto|bez dph|bez pdv|sin iva|ht|現省|節省|運費|"
    r"送料|할인|משלוח|חסכון)(?![^\W\d_])",
    re.IGNORECASE,
)
_SAYS_NOW: Final = re.compile(
    r"(?<![^\W\d_])(?:price|now|current|sale|special|today|only|our|preis|jetzt|nur|prix|maintenant|"
    r"precio|ahora|oferta|prezzo|adesso|"
    r"ora|offerta|preço|por|prijs|pris|nu|cena|nyní|akční|teraz|promocja|ár|akciós|preț|acum|цена|"
    r"сейчас|ціна|fiyat|hinta|"
    r"價格|价格|特價|售價|価格|販売価格|税込|가격|판매가|מחיר|السعر|最低價|cijena)(?![^\W\d_])",
    re.IGNORECASE,
)
_PERCENT: Final = re.compile(r"(?<![\d.,])(\d{1,2})(?:[.,]\d)?\s?%|%\s?(\d{1,2})(?!\d)")
#: Said to screen readers in one piece, beside pieces for the eye.
_SPOKEN: Final = re.compile(r"off-?screen|visually-?hidden|sr-only|screen-?reader", re.IGNORECASE)
_NO_TEXT: Final = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "textarea",
        "select",
        "option",
        "title",
        "head",
        "svg",
        "iframe",
    }
)
_DIGIT: Final = re.compile(r"\d")
_LETTER: Final = re.compile(r"[^\W\d_]")
_WORD_OR_SIGN: Final = re.compile(r"[^\d\s.,:;()\[\]/+%x-]")
#: A space groups thousands; any other parts two numbers.
_NUMBERS: Final = re.compile(r"\d(?:[\d.,'’]|\s(?=\d{3}(?!\d)))*")


class Amount(msgspec.Struct, frozen=True):
    """An amount the page shows."""

    raw: str
    amount: Decimal
    currency: str | None
    node: LexborNode
    #: Texts between the heading and this one; below zero before the heading.
    at: int
    #: Its text, and what was said right before it.
    said: str
    is_old: bool


class Shown(msgspec.Struct, frozen=True):
    """What the page shows: the price, if one is clearly ahead, and what it was before."""

    price: Amount | None
    points: float
    old: frozenset[Decimal]
    #: Two were as likely as each other.
    tied: bool = False


def price(root: LexborNode, place: Place, sells: LexborNode | None = None) -> Shown:
    """The price shown for the main product. `sells`: the button that sells it."""
    found, percents, sells_at = _amounts(root, place, sells)
    now = [one for one in found if not one.is_old]
    old = [one for one in found if one.is_old]
    if not now:
        # A mark is a comparison: an old price without a new one is the price, unless it is struck.
        now, old = [one for one in old if not is_struck(one.node) and not _says_old(one.said)], []
    reduced = _reduced(now, old, percents)
    now = [one for one in now if one.amount not in reduced.values() or one.amount in reduced]
    ranked = _ranked(now, place, sells_at, frozenset(reduced))
    olds = frozenset(one.amount for one in old) | frozenset(reduced.values())
    if not ranked or ranked[0][0] < ENOUGH:
        return Shown(None, ranked[0][0] if ranked else 0.0, olds)
    if len(ranked) > 1 and ranked[0][0] - ranked[1][0] < MARGIN:
        return Shown(None, ranked[0][0], olds, tied=True)
    return Shown(ranked[0][1], ranked[0][0], olds)


def _ranked(
    amounts: list[Amount], place: Place, sells_at: int | None, reduced: frozenset[Decimal]
) -> list[tuple[float, Amount]]:
    """The best element of each amount with its points, the best amount first."""
    best: dict[Decimal, tuple[float, Amount]] = {}
    times: dict[Decimal, int] = {}
    rank = 0
    for one in amounts:
        rank += one.at >= 0 and one.amount not in best
        points = _points(one, rank, place) + (3.0 if one.amount in reduced else 0.0)
        if sells_at is not None and 0 < sells_at - one.at <= 40:
            points += 1.0
        times[one.amount] = times.get(one.amount, 0) + 1
        if one.amount not in best or points > best[one.amount][0]:
            best[one.amount] = (points, one)
    scored = [(points + 0.5 * min(2, times[amount] - 1), one) for amount, (points, one) in best.items()]
    return sorted(scored, key=lambda item: -item[0])


def _points(one: Amount, rank: int, place: Place) -> float:
    """What speaks for an amount, and what against it. `rank`: the how many-th amount below the heading."""
    called = " ".join(names(part) for part in lineage(one.node, 3))
    points = 2.0 if one.currency else 0.0
    points += 1.5 if _PRICED.search(called) else 0.0
    points += 1.5 if is_called_asked(called) else 0.0
    said_now = _SAYS_NOW.search(one.said)
    # "Price:" and nothing else before it is a label; the word in a sentence is a word.
    points += 2.0 if said_now and one.said[said_now.end() :].lstrip(" :").startswith(one.raw) else 0.0
    points += 0.5 if said_now else 0.0
    if one.at < 0:
        points -= 1.5
    elif place.heading is not None:
        points += ({1: 2.0, 2: 1.0, 3: 0.5}.get(rank, 0.0) if one.at <= 120 else 0.0) + (
            1.0 if one.at <= 25 else 0.0
        )
    points -= 2.0 if place.link(one.node) is not None else 0.0
    points -= 1.5 if place.is_one_of_many(one.node) else 0.0
    return points


def _reduced(now: list[Amount], old: list[Amount], percents: list[int]) -> dict[Decimal, Decimal]:
    """Lower amount -> higher one, where the page says the per cent that lie between them."""
    found: dict[Decimal, Decimal] = {}
    if not percents:
        return found
    near = sorted({one.amount for one in (*now[:8], *old[:4]) if one.amount > 0})
    lower = {one.amount for one in now[:8]}
    for low in near:
        for high in near:
            if low < high and low in lower:
                off = 100 * (1 - low / high)
                if off >= 3 and any(abs(off - said) <= Decimal("1.01") for said in percents):
                    found.setdefault(low, high)
    return found


# --- finding amounts ------------------------------------------------------------------------------


def _amounts(
    root: LexborNode, place: Place, sells: LexborNode | None
) -> tuple[list[Amount], list[int], int | None]:
    """Amounts in document order, the percentages said near them, and where the button stands."""
    found: list[Amount] = []
    percents: list[int] = []
    seen: set[int] = set()
    #: Elements of more than an amount. All their children ask, and one may have thousands.
    wide: set[int] = set()
    sells_at: int | None = None
    written: dict[str, Decimal] = {}
    for at, before, raw, parent in _texts(root, place, sells):
        if parent is sells:
            sells_at = at
            continue
        if len(raw) > 4 * MAX_TEXT or not _DIGIT.search(raw) or place.is_elsewhere(parent):
            continue
        text = html.tidy(raw)
        if len(text) > MAX_TEXT:
            continue
        if "%" in text and 0 <= at < 80:
            percents += [int(match[1] or match[2]) for match in _PERCENT.finditer(text)]
        made = _amount_at(parent, at, html.tidy(before[-60:])[-40:], wide)
        if made is not None and made.node.mem_id not in seen:
            seen.add(made.node.mem_id)
            # 229.99 for the ear and 229<span>99</span> for the eye are one amount.
            digits = re.sub(r"\D", "", made.raw)
            if written.setdefault(digits, made.amount) * 100 == made.amount:
                continue
            found.append(made)
            if len(found) >= MAX_AMOUNTS:
                break
    return found, percents, sells_at


def _texts(
    root: LexborNode, place: Place, sells: LexborNode | None
) -> Iterator[tuple[int, str, str, LexborNode]]:
    """Every text with its place after the heading, the text before it, and the element it stands in.

    Of the texts before the heading only the last ones: a price may stand above the name.
    """
    button = sells.mem_id if sells is not None else None
    before, at = "", 0
    if place.heading is not None:
        earlier = list(islice(_spoken(islice(preceding(place.heading), MAX_NODES // 4)), MAX_BEFORE))
        for back, (text, parent) in enumerate(reversed(earlier)):
            yield back - len(earlier), before, text, parent
            before = text
    for node in islice(following(place.heading or root), MAX_NODES):
        if node.tag != "-text":
            if button is not None and sells is not None and node.mem_id == button:
                yield at, "", "", sells
            continue
        for text, parent in _spoken(iter((node,))):
            at += 1
            yield at, before, text, parent
            before = text
        if at > MAX_TEXTS:
            return


def _spoken(nodes: Iterator[LexborNode]) -> Iterator[tuple[str, LexborNode]]:
    """Texts a reader sees, each with the element it stands in."""
    for node in nodes:
        if node.tag != "-text":
            continue
        text = node.text_content or ""
        if not text or text.isspace():
            continue
        parent = node.parent
        if parent is not None and parent.tag not in _NO_TEXT:
            yield text, parent


def _amount_at(parent: LexborNode, at: int, label: str, wide: set[int]) -> Amount | None:
    """The smallest element around a text that shows one amount, or None."""
    best: tuple[LexborNode, str, bool] | None = None
    node: LexborNode | None = parent
    for _ in range(4):
        if node is None or node.tag in ("body", "html", "main") or node.mem_id in wide:
            break
        if len(node.text(deep=True)) > 3 * MAX_TEXT:
            wide.add(node.mem_id)
            break
        text = amount_text(node)
        if len(text) > MAX_TEXT or _several(text, 2 if best is None else 1):
            break
        if _DIGIT.search(text):
            names_money = _names_money(text)
            best = (node, text, names_money)
            if names_money:
                break
        node = node.parent
    return None if best is None else _judged(*best, at, label)


def _names_money(text: str) -> bool:
    """Whether a currency is named; a bare number names none, and most texts with digits are that."""
    return _WORD_OR_SIGN.search(text) is not None and bool(currency.named_in(number.tidy(text)))


def _judged(node: LexborNode, text: str, names_money: bool, at: int, label: str) -> Amount | None:
    called = [names(one) for one in lineage(node, 3)]
    if not names_money and not any(map(_PRICED.search, called)):
        return None
    if not any(map(_PRICED.search, called)) and not _is_amount_alone(text):
        return None
    said = text if _DIGIT.search(label) else f"{label} {text}"
    if _says_part(said) or any(map(_PART.search, called)) or _in_no_text(node):
        return None
    price = read_price(text)
    if (
        price is None
        or price.amount <= 0
        or (price.currency is None and not any(map(_PRICED.search, called)))
    ):
        return None
    is_old = is_struck(node) or _says_old(said) or is_called_old(called)
    return Amount(text, price.amount, price.currency, node, at, said, is_old)


def _says_old(said: str) -> bool:
    return _SAYS_OLD.search(said) is not None or price_words.LOWEST_OF_DAYS.search(said) is not None


def _says_part(said: str) -> bool:
    return _SAYS_PART.search(said) is not None or price_words.FOR_SOME.search(said) is not None


def _is_amount_alone(text: str) -> bool:
    """An amount and a word or two (`From 70 €`, `最低價$99元起/包`), and no sentence that names one."""
    numbers = [match for match in _NUMBERS.finditer(text) if text[match.end() : match.end() + 1] != "%"]
    return len(numbers) == 1 and len(_LETTER.findall(text)) <= MAX_LETTERS


def amount_text(node: LexborNode) -> str:
    """The text of an element without what it asked before, cents that stand apart put behind their mark.

    Where one piece of it is for screen readers, that piece: beside it the pieces for the eye say it again.
    """
    if node.first_child is None:
        return ""
    for child in node.css("span, sup, small, b, em, i")[:12]:
        text = (child.text(deep=True) or "").strip()
        if text and _SPOKEN.search(names(child)) and _DIGIT.search(text):
            return html.tidy(text)
    return asked(node).text


def _several(text: str, most: int) -> bool:
    """More numbers than `most` that are no percentage and no cents: two prices, a table, a date."""
    found = [match for match in _NUMBERS.finditer(text) if text[match.end() : match.end() + 1] != "%"]
    return len([match for match in found if match is found[0] or len(match[0].strip()) != 2]) > most


def _in_no_text(node: LexborNode) -> bool:
    return any(one.tag in _NO_TEXT for one in lineage(node, 6))
