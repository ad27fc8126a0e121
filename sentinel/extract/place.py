"""Where the main product stands on a page, and what a node near it is called.

The product's heading is found by its text (it is what the page's title says), not by being the
first `<h1>`: menus, notices and consent boxes have headings of their own. What surrounds the
heading surrounds the product; everything in a box beside it that is named as somebody else's
(related products, menus, carts), or that links to another page, is not about the product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from selectolax.lexbor import LexborNode

from sentinel.extract import html
from sentinel.extract.products import normal

#: Ancestors looked at of one element.
MAX_ANCESTORS: Final = 25
#: Elements that may be the heading.
_MAX_HEADINGS: Final = 300

_NAME: Final = (
    'h3, [itemprop~="name" i], [class*="product-name" i], [class*="product_name" i], [class*="productname" i]'
)
#: What may be the heading, the likeliest first, and the share of its words the title must hold.
_HEADINGS: Final = (
    ("h1", 0.5),
    ("h2", 0.7),
    (_NAME, 0.7),
    ('[class*="title" i], [id*="title" i]', 0.8),
)
#: Named as something around the product, which has headings of its own.
_NO_HEADING: Final = re.compile(
    r"\bnav|menu|crumb|modal|popup|notif|cookie|consent|newsletter|minicart|mini-cart|\bgallery|"
    r"carousel|hidden",
    re.IGNORECASE,
)
#: Around other products, or around nothing that is for sale.
_ELSEWHERE: Final = re.compile(
    r"related|recommend|recomend|similar|upsell|up-sell|cross-?sell|also|footer|"
    r"navbar|\bnav\b|mini-?cart|mini-?basket|cart-?preview|viewed|recent|bought|sponsor|accessor|"
    r"review|compar|suggest|wishlist|crumb|\bads?\b|banner|popular|best-?sell|analog|history|"
    r"modal|popup|tooltip|cookie|consent|newsletter",
    re.IGNORECASE,
)
#: Around other products where they link to them; around the product's own pictures and facts else.
_MANY: Final = re.compile(
    r"carousel|slider|swiper|slick|bundle|product-?(?:list|grid|tile|card|item)s?\b", re.IGNORECASE
)
_OTHER_PAGE: Final = re.compile(r"(?!#|javascript:|mailto:|tel:)\S", re.IGNORECASE)


def lineage(node: LexborNode, levels: int = MAX_ANCESTORS) -> Iterator[LexborNode]:
    """The element and what it stands in, inner first."""
    at: LexborNode | None = node
    for _ in range(levels):
        if at is None or at.tag in ("body", "html"):
            return
        yield at
        at = at.parent


def names(node: LexborNode) -> str:
    """What the page's author calls an element."""
    attributes = node.attributes
    return f"{attributes.get('id') or ''} {attributes.get('class') or ''}" if attributes else ""


def following(node: LexborNode) -> Iterator[LexborNode]:
    """Everything after an element in document order, what is inside it first."""
    at: LexborNode | None = node
    while at is not None:
        step = at.first_child or at.next
        while step is None and at is not None:
            at = at.parent
            step = at.next if at is not None else None
        at = step
        if at is not None:
            yield at


def preceding(node: LexborNode) -> Iterator[LexborNode]:
    """Everything before an element in document order, the nearest first."""
    at: LexborNode | None = node
    while at is not None:
        step = at.prev
        while step is not None and step.last_child is not None:
            step = step.last_child
        at = step if step is not None else at.parent
        if at is not None:
            yield at


class Place:
    """Where the main product is on one page."""

    def __init__(self, root: LexborNode) -> None:
        self.heading = _heading(root)
        self._around = (
            frozenset(one.mem_id for one in lineage(self.heading))
            if self.heading is not None
            else frozenset()
        )
        #: Whether an element (by mem_id) is in another's box; boxes are asked many times.
        self._known: dict[int, bool] = {}
        #: The same of names: one page has few, and says each hundreds of times.
        self._called: dict[str, bool | None] = {}

    def is_around(self, node: LexborNode) -> bool:
        """Whether the heading stands in this element."""
        return node.mem_id in self._around

    def is_elsewhere(self, node: LexborNode) -> bool:
        """True for what stands in another product's box, in a menu, or is not shown."""
        path: list[int] = []
        verdict = False
        for one in lineage(node):
            known = self._known.get(one.mem_id)
            if known is None and one.mem_id in self._around:
                known = False
            if known is None and self._is_others(one):
                known = True
            if known is not None:
                verdict = known
                break
            path.append(one.mem_id)
        self._known.update(dict.fromkeys(path, verdict))
        return verdict

    def _is_others(self, node: LexborNode) -> bool:
        if node.tag in ("footer", "nav", "aside") or html.is_hidden(node):
            return True
        called = names(node)
        if called not in self._called:
            self._called[called] = _whose(called)
        known = self._called[called]
        return _leads_away(node) if known is None else known

    def link(self, node: LexborNode) -> LexborNode | None:
        """The link to another page an element stands in, inside the product's own box."""
        for one in lineage(node, 8):
            if one.mem_id in self._around:
                return None
            if one.tag == "a" and _OTHER_PAGE.match((one.attributes.get("href") or "").strip()):
                return one
        return None

    def is_one_of_many(self, node: LexborNode) -> bool:
        """One of three boxes or more that look alike, with a number and something to click: a list."""
        for one in lineage(node, 8):
            parent = one.parent
            if parent is None or one.mem_id in self._around:
                return False
            if one.tag in ("li", "div", "article", "label", "a", "option") and _alike(one, parent) > 2:
                return True
        return False


def _whose(called: str) -> bool | None:
    """Whether a name is somebody else's; None where that depends on what is inside."""
    if _ELSEWHERE.search(called):
        return True
    return None if _MANY.search(called) else False


def _leads_away(node: LexborNode) -> bool:
    """Whether a box links to another page."""
    return any(
        _OTHER_PAGE.match((link.attributes.get("href") or "").strip()) for link in node.css("a[href]")[:20]
    )


def _alike(node: LexborNode, parent: LexborNode) -> int:
    """Children of a box that have this one's tag and class, a number and something to click."""
    wanted, count = node.attributes.get("class"), 0
    child = parent.first_child
    for _ in range(60):
        if child is None:
            break
        if (
            child.tag == node.tag
            and child.attributes.get("class") == wanted
            and any(char.isdigit() for char in child.text(deep=True)[:400])
            and (child.tag == "a" or child.css_first("a[href], input, button") is not None)
        ):
            count += 1
        child = child.next
    return count


# --- the heading ----------------------------------------------------------------------------------


def _heading(root: LexborNode) -> LexborNode | None:
    """The element that says what the page's title says, an `<h1>` rather than another."""
    titles = [title for title in (normal(text)[:500] for text in _titles(root)) if title]
    first: LexborNode | None = None
    for selector, enough in _HEADINGS:
        best: tuple[float, LexborNode] | None = None
        for node in root.css(selector)[:_MAX_HEADINGS]:
            text = node.text(deep=True)
            if not 2 < len(text) < 2_000 or (first is not None and not titles) or not _may_be_heading(node):
                continue
            if first is None and selector == "h1":
                first = node
            share = _shared(normal(text)[:500], titles)
            if share >= enough and (best is None or share > best[0]):
                best = (share, node)
        if best is not None:
            return best[1]
    return first


def _titles(root: LexborNode) -> Iterator[str]:
    for node in root.css("head > title, title")[:1]:
        yield node.text(deep=True)
    for node in root.css('meta[property="og:title" i], meta[name="twitter:title" i]')[:3]:
        yield node.attributes.get("content") or ""


def _may_be_heading(node: LexborNode) -> bool:
    for one in lineage(node, 8):
        if one.tag == "main":
            return True
        if one.tag in ("nav", "footer", "aside", "select", "head") or html.is_hidden(one):
            return False
        if _NO_HEADING.search(names(one)):
            return False
    return True


def _shared(heading: str, titles: list[str]) -> float:
    """How much of a heading the title says: 1 for all of it, else its share of words (titles are cut)."""
    words = set(heading.split())
    best = 0.0
    for title in titles:
        if len(heading) > 3 and (f" {heading} " in f" {title} " or f" {title} " in f" {heading} "):
            return 1.0
        shared = len(words & set(title.split()))
        if shared > 1:
            best = max(best, shared / len(words))
    return best
