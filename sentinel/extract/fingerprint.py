"""What an element is like: enough to know it again when its page has been built anew.

Taken at good checks, from the element and its surroundings only: no walk over the whole page, so it
costs a fraction of a millisecond. Everything is bounded, for a page may be built to be costly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from selectolax.lexbor import LexborNode

from sentinel.decide.availability import is_phrase
from sentinel.extract import html
from sentinel.model import Fingerprint

#: Characters of a text, a heading, an attribute's value; words of classes; attributes.
MAX_TEXT: Final = 120
MAX_LABEL: Final = 60
MAX_VALUE: Final = 40
MAX_WORDS: Final = 12
MAX_ATTRIBUTES: Final = 8
#: Levels above that are looked at, and how many of them give their words.
MAX_PATH: Final = 12
NAMED_LEVELS: Final = 4
#: Nodes gone back (or on) in search of a text or a heading.
MAX_BACK: Final = 400
#: Elements inside that are asked what part they play.
MAX_INSIDE: Final = 6
#: Siblings that are compared.
MAX_SIBLINGS: Final = 40
#: A text with more characters is long: its own words count less.
LONG: Final = 160

HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_UNSEEN: Final = frozenset({"script", "style", "noscript", "template", "head", "svg", "iframe"})

_DIGIT: Final = re.compile(r"\d")
_NUMBER: Final = re.compile(r"\d[\d.,'\s\u00a0\u202f]*")
_MONEY: Final = re.compile(
    r"[$€£¥₹₽₩₺₴₪฿₫₱]|\b(?:EUR|USD|GBP|CHF|CZK|PLN|HUF|SEK|NOK|DKK|JPY|CNY|INR|AUD|CAD|BRL|RUB|TRY|UAH|RON)\b"
    r"|(?<=\d)\s?(?:kr|Kč|zł|Ft|lei|лв|₸|руб|р\.)|\bkr\.?\s?(?=\d)|R\$|Rs\.?\s?(?=\d)",
    re.IGNORECASE,
)
_DATE: Final = re.compile(r"\b\d{4}-\d\d?-\d\d?\b|\b\d\d?[./]\s?\d\d?[./]\s?\d{2,4}\b")
#: Camel case and digits are ends of words too.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_LETTERS_DIGITS: Final = re.compile(r"[a-zA-Z]{2,}\d{1,2}")
_VOWEL: Final = re.compile(r"[aeiouy]", re.IGNORECASE)

#: What a number is beside the value itself, by words in names and texts around it.
_ROLES: Final = {
    "old": "old was were before previous former regular list rrp msrp uvp statt strike striked crossed"
    " compare instead avant barre ancien prima antes vorher alt",
    "unit": "unit per pro je kg litre liter 100g 100ml stück basic base grundpreis",
    "shipping": "shipping delivery versand postage freight livraison envio spedizione dodanie doprava",
    "saving": "save saving savings saved discount rabatt spar sparen sleva zľava off",
    "monthly": "month monthly monat mo installment instalment rate financing leasing mesačne",
}
_ROLE_OF: Final = {word: role for role, words in _ROLES.items() for word in words.split()}
_STRUCK: Final = frozenset({"del", "s", "strike"})
#: The part of a price that is not asked any more: not one near an old price, but the old price itself.
#: Between it and any other price nothing is healed.
CROSSED: Final = "crossed"
_PRICE_WORD: Final = "price|preis|prix|precio|preco|prezzo|cena|pris|prijs"
#: By a name, its words joined by `-`: `old-price`, `slider-priceold`, `rrp`, `compare-at-price`.
_CROSSED_NAME: Final = re.compile(
    r"(?:^|-)(?:rrp|msrp|uvp|was|statt|strike\w*|striked|struck|crossed(?:out)?|line-through|prix-barre|durchgestrichen)"
    r"(?:-|$)"
    rf"|(?:^|-)(?:old|was|rrp|msrp|uvp|former|previous|prev|compare(?:-?at)?|strike|crossed|stara|puvodni|povodna)"
    rf"-?(?:{_PRICE_WORD})s?(?:-|$)"
    rf"|(?:^|-)(?:{_PRICE_WORD})s?-?(?:old|was|rrp|msrp|uvp|former|previous|prev|compare|strike|crossed|before)"
    r"(?:-|$)"
    r"|(?:^|-)old(?:-|$)"
)
#: A name that speaks of the price of now too says nothing.
_NOW_NAME: Final = re.compile(r"(?:^|-)(?:now|new|current|special|sale|final|actual|aktuell)")
#: By what is said right before the number, to the eye or to a screen reader.
_CROSSED_LABEL: Final = re.compile(
    r"\b(?:was|r\.?r\.?p\.?|m\.?s\.?r\.?p\.?|uvp|statt|instead of|(?:old|list|original|former|previous) price"
    r"|prima|antes|vorher|původn[ěí](?: cena)?|pôvodn[eá](?: cena)?)[\s:.]*\W{0,3}$",
    re.IGNORECASE,
)


def take(node: LexborNode, told: str) -> Fingerprint:
    """The fingerprint of an element whose value is `told` (its text, or an attribute's)."""
    attributes = node.attributes
    above = _above(node)
    before, after = text_before(node), text_after(node)
    words = words_of(attributes.get("class"))
    roles = _roles(node, above, words, before, after)
    if _is_crossed(node, above, before, told):
        roles.add(CROSSED)
    named = [name for level in above[:NAMED_LEVELS] for name in _names(level)][:MAX_WORDS]
    return Fingerprint(
        tag=node.tag or "",
        shape=shape_of(told),
        text=told[:MAX_TEXT],
        id=(attributes.get("id") or "")[:MAX_VALUE],
        words=words,
        attributes=_others(attributes),
        path=tuple((level.tag or "")[:20] for level in above),
        above=tuple(named),
        depth=len(above),
        index=_index(node),
        repeated=_repeated([node, *above[:5]]),
        linked=any(level.tag == "a" for level in (node, *above[:5])),
        before=before,
        after=after,
        heading=heading_above(node),
        roles=tuple(sorted(roles)),
    )


# --- texts ----------------------------------------------------------------------------------------


def mask(text: str) -> str:
    """A text with every digit as 9: what stays when a number changes."""
    return _DIGIT.sub("9", text)


def numbers(text: str) -> tuple[str, ...]:
    """The digits of each number in a text, the first few."""
    found = (re.sub(r"\D", "", one) for one in _NUMBER.findall(text[:400]))
    return tuple(found)[:6]


def shape_of(text: str) -> str:
    """The kind of value that a text looks like."""
    if len(text) > LONG:
        return "long"
    if _DIGIT.search(text):
        if _MONEY.search(text):
            return "price"
        if _DATE.search(text):
            return "date"
        letters = sum(char.isalpha() for char in text)
        if letters <= MAX_LABEL // 4:
            return "number"
    if text and is_phrase(text):
        return "availability"
    return "text"


# --- names ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def words_of(name: str | None) -> tuple[str, ...]:
    """The stable words of a class or an id, in order; what a build tool made up is left out."""
    if not name:
        return ()
    found: dict[str, None] = {}
    for part in re.split(r"[\s\-_:/.\[\]]+", name[:400]):
        if not part or is_hash(part):
            continue
        for word in _WORD.findall(part):
            if len(word) > 1:
                found[word.lower()] = None
    return tuple(found)[:MAX_WORDS]


def is_hash(part: str) -> bool:
    """Made up by a build tool: `1x2y3z`, `bdVaJa`, `kFz9`; not `price`, `col2`, `gtmActualPrice`."""
    if part.isdigit():
        return len(part) > 2
    has_digit = _DIGIT.search(part) is not None
    if has_digit:
        return _LETTERS_DIGITS.fullmatch(part) is None
    pieces = _WORD.findall(part)
    if len(pieces) > 1 and len(part) / len(pieces) < 3.0:
        return True
    return len(part) > 4 and _VOWEL.search(part) is None


def _names(node: LexborNode) -> tuple[str, ...]:
    attributes = node.attributes
    return words_of(attributes.get("class")) + words_of(attributes.get("id"))


def _others(attributes: dict[str, str | None]) -> tuple[str, ...]:
    """Attributes that say what an element is; digits of values are not part of it."""
    kept = [
        f"{name}={mask((value or '')[:MAX_VALUE])}"
        for name, value in attributes.items()
        if name not in ("class", "id", "style", "href", "src") and len(name) < MAX_VALUE
    ]
    return tuple(sorted(kept)[:MAX_ATTRIBUTES])


# --- surroundings ---------------------------------------------------------------------------------


def _above(node: LexborNode) -> list[LexborNode]:
    found: list[LexborNode] = []
    parent = node.parent
    while parent is not None and len(found) < MAX_PATH and not (parent.tag or "-").startswith(("-", "#")):
        found.append(parent)
        parent = parent.parent
    return found


def _index(node: LexborNode) -> int:
    count, sibling = 0, node.prev
    while sibling is not None and count < MAX_SIBLINGS:
        count += not (sibling.tag or "-").startswith(("-", "!"))
        sibling = sibling.prev
    return count


def _repeated(levels: list[LexborNode]) -> bool:
    """One of a row of at least three that are called the same."""
    for level in levels:
        called = level.attributes.get("class") or ""
        if not called and level.tag not in ("li", "tr", "article"):
            continue
        like = 0
        for beside in (*_beside(level, back=True), *_beside(level, back=False)):
            like += beside.tag == level.tag and (beside.attributes.get("class") or "") == called
            if like >= 2:
                return True
    return False


def _beside(node: LexborNode, *, back: bool) -> Iterator[LexborNode]:
    sibling = node.prev if back else node.next
    left = MAX_SIBLINGS // 4
    while sibling is not None and left:
        if not (sibling.tag or "-").startswith(("-", "!")):
            yield sibling
            left -= 1
        sibling = sibling.prev if back else sibling.next


def _roles(
    node: LexborNode, above: list[LexborNode], words: tuple[str, ...], before: str, after: str
) -> set[str]:
    near = [*words, *words_of(node.attributes.get("id"))]
    near += [name for level in above[:2] for name in _names(level)]
    inside = list(_inside(node))
    near += [name for one in inside for name in _names(one)]
    near += re.findall(r"[^\W_]+", f"{before[-30:]} {after[:14]}".lower())
    found = {_ROLE_OF[word] for word in near if word in _ROLE_OF}
    if any(level.tag in _STRUCK for level in (node, *above[:3], *inside)):
        found.add("old")
    return found


def _is_crossed(node: LexborNode, above: list[LexborNode], before: str, told: str) -> bool:
    """Whether the very number is struck through or called old; a box around it and another says nothing."""
    for level in (node, *above[:3], *_inside(node)):
        if (_says_crossed(level) or _is_struck(level)) and (level is node or _says_only(level, told)):
            return True
    first = _NUMBER.search(told)
    label = _MONEY.sub("", told[: first.start()]) if first is not None else ""
    return _CROSSED_LABEL.search(label if re.search(r"\w\w", label) else before) is not None


def _says_crossed(node: LexborNode) -> bool:
    """By its class or its id."""
    attributes = node.attributes
    names = ("-".join(words_of(attributes.get(name))) for name in ("class", "id"))
    return any(_CROSSED_NAME.search(name) and not _NOW_NAME.search(name) for name in names if name)


def _is_struck(node: LexborNode) -> bool:
    return node.tag in _STRUCK or "line-through" in (node.attributes.get("style") or "").lower()


def _says_only(node: LexborNode, told: str) -> bool:
    """Whether its numbers are those of what was told, and no others."""
    said = numbers(node.text(deep=True)[:400])
    return bool(said) and said == numbers(told)


def _inside(node: LexborNode) -> Iterator[LexborNode]:
    """The first elements inside of it."""
    here, left = node.first_child, 2 * MAX_INSIDE
    while here is not None and left:
        left -= 1
        if not (here.tag or "-").startswith(("-", "!")):
            yield here
        step = here.first_child or here.next
        while step is None and here.parent is not None and here.parent.mem_id != node.mem_id:
            here = here.parent
            step = here.next
        here = step


def _back(node: LexborNode) -> Iterator[LexborNode]:
    """What stands before an element, nearest first, without the elements it is inside of."""
    here: LexborNode | None = node
    left = MAX_BACK
    while here is not None and left > 0:
        left -= 1
        before: LexborNode | None = here.prev
        if before is None:
            here = here.parent
            continue
        while before.tag not in _UNSEEN and (last := before.last_child) is not None and left > 0:
            before = last
            left -= 1
        yield before
        here = before


def _on(node: LexborNode) -> Iterator[LexborNode]:
    """What stands after an element."""
    here: LexborNode | None = node
    inside = False
    for _ in range(MAX_BACK):
        child = here.first_child if inside and here is not None and here.tag not in _UNSEEN else None
        if child is None:
            while here is not None and here.next is None:
                here = here.parent
            child = here.next if here is not None else None
        if child is None:
            return
        yield child
        here, inside = child, True


def _text(node: LexborNode) -> str:
    return html.tidy(node.text_content or "") if node.tag == "-text" else ""


def text_before(node: LexborNode) -> str:
    """The nearest text before an element: its label, as a rule."""
    for one in _back(node):
        if text := _text(one):
            return mask(text.replace("\n", " ")[-MAX_LABEL:])
    return ""


def text_after(node: LexborNode) -> str:
    """The nearest text after it."""
    for one in _on(node):
        if text := _text(one):
            return mask(text.replace("\n", " ")[:MAX_LABEL])
    return ""


def heading_above(node: LexborNode) -> str:
    """The nearest heading before it in the page, or the one it is inside of."""
    seen = {node.mem_id}  # what is no heading is asked once: neighbours have their parents in common
    for one in _back(node):
        parent: LexborNode | None = one
        for _ in range(4):
            if parent is None or parent.mem_id in seen:
                break
            if parent.tag in HEADINGS:
                return html.tidy(parent.text(deep=True))[:MAX_LABEL]
            seen.add(parent.mem_id)
            parent = parent.parent
    return ""
