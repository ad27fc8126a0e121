"""Whether a page shows people that its product can be had: words about stock, then a button that sells.

Words come from elements that are called something about stock, and from short texts of no other content
near the heading; a button counts by its words (in many languages) or by what shop systems call it. A
button that is switched off sells nothing, and neither does one in another product's box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from selectolax.lexbor import LexborNode

from sentinel.decide.availability import is_phrase, is_selling_phrase, read_availability
from sentinel.errors import CheckFailure
from sentinel.extract import html
from sentinel.extract.place import Place, following, lineage, names
from sentinel.extract.step import Found

#: Elements looked at on one page.
MAX_ELEMENTS: Final = 1_500
#: Of those above the heading.
MAX_ABOVE: Final = 60
#: Nodes walked below the heading.
MAX_NODES: Final = 3_000
#: Elements whose words are read.
MAX_READ: Final = 120
MAX_NEAREST: Final = 50
#: Links below the heading that may be a button by their words alone.
MAX_LINKS: Final = 200
#: Longest text that may be about stock alone, and longest name of a button (characters).
MAX_WORDS: Final = 150
MAX_BUTTON: Final = 40

_STOCKED: Final = (
    '[id*="avail" i], [class*="avail" i], [id*="stock" i], [class*="stock" i], [class*="sold" i], '
    '[id*="outof" i], [class*="dispon" i], [id*="dispon" i], [class*="verfug" i], [class*="verfueg" i], '
    '[class*="lager" i], [class*="voorraad" i], [class*="sklad" i], [class*="dostup" i], '
    '[class*="dostep" i], '
    '[class*="nalich" i], [class*="zaliha" i], [class*="delivery" i], [class*="dispatch" i], '
    '[class*="lieferzeit" i], '
    '[data-availability], [data-stock], [class*="inventory" i]'
)
_BUTTONS: Final = (
    'button, [role="button" i], input[type="submit" i], input[type="button" i], input[type="image" i], '
    'a[class*="cart" i], a[class*="buy" i], a[id*="buy" i], a[id*="cart" i], a[class*="basket" i], '
    'a[class*="button" i], '
    'a[class*="btn" i], a[class*="cta" i], form a[href="#"], form a[data-id], form[action*="cart" i], '
    'a[onclick*="cart" i], a[onclick*="buy" i], a[onclick*="basket" i]'
)
#: What shop systems call a button that sells, whatever language it speaks.
_SELLING: Final = re.compile(
    r"add[-_. ]?to[-_. ]?(?:cart|basket|bag|trolley)|addtocart|button-?cart|cart-?button|add2cart|"
    r"buy[-_ ]?(?:it[-_ ]?)?now|buy[-_ ]?(?:button|btn|it)|btn[-_]?(?:buy|cart)|"
    r"purchase[-_]?(?:button|btn)",
    re.IGNORECASE,
)
#: Leads to a cart that something is in already, or to something else than buying.
_NOT_SELLING: Final = re.compile(
    r"wish|favo[u]?rit|compar|notif|alert|remind|view-?cart|minicart|mini-cart|remove", re.IGNORECASE
)
_DEAD: Final = re.compile(
    r"(?<![a-z])disabled|hidden|hide\b|d-none|invisible|template|inactive", re.IGNORECASE
)
_IS_ON: Final = re.compile(r"(?<![a-z])(?:not-?disabled|visually-hidden)", re.IGNORECASE)
_UNSHOWN: Final = frozenset(
    {"script", "style", "input", "select", "option", "body", "html", "template", "meta", "link", "noscript"}
)
_LETTERS: Final = re.compile(r"[^\W\d_]{2}")
#: One word that machines write; a person reads it as something else (a count, a switch).
_MACHINE_WORDS: Final = frozenset({"yes", "no", "true", "false"})


def status(text: str) -> str | None:
    """The availability a text tells, or None."""
    try:
        return read_availability(text, {}).status
    except CheckFailure:
        return None


def shown(root: LexborNode, place: Place) -> Found | None:
    """The first element about stock below the heading that says something."""
    for node in _nearest(root, _STOCKED, place):
        if node.tag in _UNSHOWN:
            continue
        rough = node.text(deep=True)
        if not rough or len(rough) > 8 * MAX_WORDS or place.is_elsewhere(node):
            continue
        text = html.visible_text(node)
        if not 2 < len(text) <= MAX_WORDS or not is_words(text) or status(text) is None:
            continue
        if not _is_one_state(node):
            return Found(raw=text, confidence=0.6)
    return None


def said(place: Place) -> Found | None:
    """A short text below the heading that says nothing else, whatever its element is called.

    That it can be had is believed of the nearest texts only: `available` is said of colours and shops
    too, `sold out` of nothing but the product.
    """
    if place.heading is None:
        return None
    read = 0
    for node in islice(following(place.heading), MAX_NODES):
        if node.tag != "-text":
            continue
        text = (node.text_content or "").strip()
        parent = node.parent
        if not 1 < len(text) <= MAX_BUTTON or parent is None or not _LETTERS.search(text):
            continue
        read += 1
        if read > MAX_READ:
            return None
        if _is_no_status(text, nearest=read <= MAX_NEAREST) or place.is_elsewhere(parent):
            continue
        # Buttons and choices carry the words of every state they may take, tables those of everything.
        if parent.tag not in _UNSHOWN and not _is_choice(parent) and not place.is_one_of_many(parent):
            return Found(raw=html.tidy(text), confidence=0.5)
    return None


def _is_no_status(text: str, *, nearest: bool) -> bool:
    return not is_phrase(text) or (not nearest and status(text) != "out_of_stock")


def _is_one_state(node: LexborNode) -> bool:
    """One of the captions of a button that carries them for every state; the style sheet shows one."""
    for one in lineage(node, 3):
        if one.tag in ("a", "button"):
            return len(one.text(deep=True).split()) > len(node.text(deep=True).split())
    return False


def _is_choice(node: LexborNode) -> bool:
    return any(one.tag in ("a", "button", "label", "option", "li", "td", "dd") for one in lineage(node, 3))


def button(root: LexborNode, place: Place) -> tuple[LexborNode, Found] | None:
    """The button that sells the product, by its words or by its name."""
    for node in _nearest(root, _BUTTONS, place):
        if place.is_elsewhere(node) or _is_dead(node):
            continue
        text = _caption(node)
        if text and len(text) <= MAX_BUTTON and is_words(text) and status(text) is not None:
            return node, Found(raw=text, confidence=0.5)
        if len(text) <= MAX_BUTTON and _is_called_selling(node):
            return node, Found(raw="add to cart", confidence=0.4)
    for node in islice(_nearest(root, "a, [onclick]", place), MAX_LINKS):
        words = node.text(deep=True)
        if len(words) > MAX_WORDS or not is_selling_phrase(words):
            continue
        if not place.is_elsewhere(node) and not _is_dead(node):
            return node, Found(raw=html.visible_text(node), confidence=0.4)
    return None


def sold_out(root: LexborNode, place: Place, seen: Found | None) -> Found | None:
    """What says that the product cannot be had, where no button sells it and the one that would is off.

    A button is off until a size is chosen, too: there must be words for it, its own or those `seen`.
    """
    if seen is not None and status(seen.raw) != "out_of_stock":
        return None
    dead: Found | None = None
    is_off = False
    for node in _nearest(root, _BUTTONS, place):
        text = _caption(node)
        if not 1 < len(text) <= MAX_BUTTON or place.is_elsewhere(node):
            continue
        said = status(text) if is_words(text) else None
        if not _is_dead(node):
            if said in {"in_stock", "backorder"} or _is_called_selling(node):
                return None
            continue
        is_off = is_off or said == "in_stock" or _is_called_selling(node)
        if said == "out_of_stock" and dead is None:
            dead = Found(raw=text, confidence=0.5)
    return dead or (seen if is_off else None)


def _is_called_selling(node: LexborNode) -> bool:
    called = _called(node)
    return _SELLING.search(called) is not None and _NOT_SELLING.search(called) is None


def _nearest(root: LexborNode, selector: str, place: Place) -> Iterator[LexborNode]:
    """Matches below the heading, then those above it, "
    "the nearest first: some pages begin with the box to buy.
    """
    if place.heading is None:
        yield from root.css(selector)[:MAX_ELEMENTS]
        return
    above: list[LexborNode] = []
    wanted, below = place.heading.mem_id, False
    for node in root.css(f"{place.heading.tag}, {selector}")[: 4 * MAX_ELEMENTS]:
        if node.mem_id == wanted:
            below = True
        elif below:
            yield node
        else:
            above.append(node)
    yield from reversed(above[-MAX_ABOVE:])


def is_words(text: str) -> bool:
    """Whether a text is language, and not a count or a machine's switch."""
    return _LETTERS.search(text) is not None and text.strip().casefold() not in _MACHINE_WORDS


def _caption(node: LexborNode) -> str:
    if node.tag == "form":
        return ""
    attributes = node.attributes
    if node.tag == "input":
        return html.tidy(attributes.get("value") or attributes.get("alt") or attributes.get("title") or "")
    text = html.visible_text(node) if len(node.text(deep=True)) < 400 else ""
    return text or html.tidy(attributes.get("aria-label") or attributes.get("title") or "")


def _called(node: LexborNode) -> str:
    attributes = node.attributes
    keys = (
        "name",
        "action",
        "data-action",
        "data-button-action",
        "data-test",
        "data-testid",
        "data-test-target",
        "rel",
    )
    return names(node) + " " + " ".join(attributes.get(key) or "" for key in keys)


def _is_dead(node: LexborNode) -> bool:
    attributes = node.attributes
    if "disabled" in attributes or attributes.get("aria-disabled") == "true":
        return True
    classes = attributes.get("class") or ""
    return _DEAD.search(classes) is not None and _IS_ON.search(classes) is None
