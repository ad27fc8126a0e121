"""The main content of a page: what is left when everything that is around it is left out.

It takes away rather than picks the best part: what goes is decided by each part itself, so that a change
in one place cannot change what is read in another. Elements go by their tag, role and name, lists by
being made of links; then the `<main>`, the only `<article>`, or the part with the prose is told.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from selectolax.lexbor import LexborNode

from sentinel.extract import html
from sentinel.extract.place import names


def _words(*lines: str, between: str | None = None) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split(between))


#: Around the content, whatever they hold.
_AROUND_TAGS: Final = _words("nav footer aside dialog button select textarea menu search")
_AROUND_ROLES: Final = _words(
    "navigation banner contentinfo complementary search dialog alertdialog menu menubar toolbar tablist",
    "tooltip button",
)
#: Words of ids and classes. Whole words: `ad` is not in `address`.
_AROUND_WORDS: Final = _words(
    "nav navbar navi navigation menu submenu megamenu topbar breadcrumb breadcrumbs crumbs footer sidebar",
    "sidenav cookie cookies cookiebar cookiebanner consent gdpr cmp onetrust didomi usercentrics",
    "newsletter subscribe signup related recommended recommendation recommendations recommend similar",
    "upsell upsells crosssell crosssells viewed recently bestsellers sharing sharebar social socials",
    "comments comment disqus ad ads advert adverts advertisement advertising adsense sponsored sponsor",
    "promo popup modal toast overlay pagination pager paging skip skiplink tooltip minicart minibasket",
    "wishlist loginbox",
)
#: The same, of two words.
_AROUND_PAIRS: Final = _words(
    "side bar|cross sell|up sell|also bought|also like|also viewed|most read|most viewed|read next",
    "more from|more stories|might like|mini cart|mini basket|back top|sign up|best sellers|site header",
    "main header|global header|top bar|share bar|share buttons|share links|login form|language switcher",
    between="|",
)
#: What a heading says over a box of other things.
_ELSEWHERE: Final = re.compile(
    r"related\b|you (?:may|might) (?:also )?(?:like|be interested)|recommended\b|recently viewed|"
    r"(?:customers|others|people) (?:also|who)\b|more (?:from|stories|articles|news|in)\b|"
    r"most (?:read|popular|viewed)|read (?:next|also|more)|similar (?:products|items|articles)|"
    r"share this|leave a (?:comment|reply)|\d* ?comments?\b|popular (?:now|posts)|trending\b|"
    r"newsletter\b|follow us|das könnte (?:sie|dich|ihnen|dir)|ähnliche |mehr (?:zum thema|aus|von)|"
    r"kunden (?:kauften|haben)|zuletzt angesehen|meistgelesen|vous aimerez|"
    r"produits (?:similaires|associés)|à lire aussi|articles (?:liés|similaires|associés)|"
    r"también te|productos (?:relacionados|similares)|artículos relacionados|te puede interesar|"
    r"potrebbe(?:ro)? (?:anche )?interessar|prodotti correlati|leggi anche|mohlo by vás|související|"
    r"podobné |súvisiace|mogłoby ci|zobacz (?:też|także)|podobne |gerelateerd|lees ook|"
    r"anderen bekeken|relaterade|läs också|veja também|produtos relacionados|похожие|читайте также|"
    r"рекомендуем|関連|おすすめ|相关|推荐|관련",
    re.IGNORECASE,
)
#: A name longer than this is a framework's.
_MAX_NAME: Final = 400
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
#: Characters of a heading at most.
_MAX_HEADING: Final = 80
_HEADINGS: Final = frozenset({"h2", "h3", "h4", "h5", "h6"})
_PARTS: Final = frozenset({"div", "section", "ul", "ol", "dl", "table", "p", "form", "center"})
#: Links that make a list one of links, and their share of its characters.
_MANY_LINKS: Final = 3
_LINKED: Final = 0.7
#: Characters of text outside of links from which a page has prose, so that lists of links are around it.
_PROSE: Final = 200
#: Share of the prose that a part must hold to be all of it.
_MOST: Final = 0.9
#: Share of the page's text that a `<main>` or `<article>` must hold: some hold a slogan.
_MUCH: Final = 0.25
#: Share of the page's text that is not left out by a name: a page may call all of itself `with-sidebar`.
_ALL: Final = 0.6


class _Part:
    """An element that is shown, and what is in it."""

    __slots__ = ("chars", "gone", "inside", "linked", "links", "node", "parent", "tag", "title")

    def __init__(self, node: LexborNode, tag: str, parent: int, *, inside: bool = False) -> None:
        self.node = node
        self.tag = tag
        #: Index of the one that it is in; the first is in itself.
        self.parent = parent
        #: Characters, those in links, and how many links.
        self.chars = self.linked = self.links = 0
        #: It holds an `<h1>`.
        self.title = tag == "h1"
        #: It is a `<main>`, or in one: a footer there is not the site's.
        self.inside = inside or tag == "main"
        self.gone = False


def main_text(root: LexborNode) -> str:
    """What a reader came for, a line per block; '' where all of it is around something."""
    parts = _parts(root)
    gone: frozenset[int] = frozenset()
    # Step by step: only without what is around can be seen what is a list of links, or where the prose is.
    for leave_out in (_without_named, _without_other_things, _without_link_lists):
        leave_out(parts)
        if any(part.gone for part in parts):
            gone |= {part.node.mem_id for part in parts if part.gone}
            parts = _parts(root, gone)
    return html.shown_text(_core(parts), gone)


def _parts(root: LexborNode, gone: frozenset[int] = frozenset()) -> list[_Part]:
    """Every element shown in document order, with what it holds. Walks, never recurses: pages are deep."""
    parts = [_Part(root, root.tag or "", 0)]
    todo: list[tuple[LexborNode, int, bool]] = []

    def open_up(node: LexborNode, index: int, *, in_link: bool) -> None:
        child = node.last_child
        while child is not None:
            todo.append((child, index, in_link))
            child = child.prev

    open_up(root, 0, in_link=False)
    while todo:
        node, parent, in_link = todo.pop()
        tag = node.tag or ""
        if tag == "-text":
            size = len((node.text_content or "").strip())
            parts[parent].chars += size
            parts[parent].linked += size if in_link else 0
        elif not tag.startswith("-") and html.is_seen(node) and node.mem_id not in gone:
            parts.append(_Part(node, tag, parent, inside=parts[parent].inside))
            link = tag == "a" and not in_link
            parts[-1].links = int(link)
            open_up(node, len(parts) - 1, in_link=in_link or link)
    for part in reversed(parts[1:]):
        above = parts[part.parent]
        above.chars += part.chars
        above.linked += part.linked
        above.links += part.links
        above.title = above.title or part.title
    return parts


def _without_named(parts: list[_Part]) -> None:
    """Leave out what is around by its tag, its role, or what its author calls it."""
    total = parts[0].chars
    for part in parts[1:]:
        if part.tag == "footer":
            part.gone = not part.inside
        elif part.tag in _AROUND_TAGS:
            part.gone = True
        elif not part.title and part.chars < _ALL * total:
            part.gone = part.tag == "header" or _is_around(part)


def _is_around(part: _Part) -> bool:
    attributes = part.node.attributes
    if not attributes or part.tag in ("html", "body", "main", "article"):
        return False
    if (attributes.get("role") or "").lower() in _AROUND_ROLES or "aria-modal" in attributes:
        return True
    words = [word.lower() for word in _WORD.findall(names(part.node)[:_MAX_NAME])]
    return not _AROUND_WORDS.isdisjoint(words) or any(
        f"{one} {two}" in _AROUND_PAIRS for one, two in pairwise(words)
    )


def _without_other_things(parts: list[_Part]) -> None:
    """Leave out what stands under a heading that leads elsewhere, if it has a box of its own."""
    total = parts[0].chars
    for part in parts[1:]:
        if part.tag not in _HEADINGS or part.chars > _MAX_HEADING:
            continue
        if not _ELSEWHERE.match(html.visible_text(part.node)):
            continue
        part.gone = True
        box = parts[part.parent]
        while box.chars == part.chars and box.parent:  # the heading's wrapper
            box = parts[box.parent]
        if box.tag in _PARTS and not box.title and box.chars < _ALL * total:
            box.gone = _begins_with(box.node, part.node)


def _begins_with(box: LexborNode, heading: LexborNode) -> bool:
    """Whether nothing is said in a box before its heading."""
    at: LexborNode | None = heading
    while at is not None and at.mem_id != box.mem_id:
        before = at.prev
        while before is not None:
            if before.text(deep=True).strip():
                return False
            before = before.prev
        at = at.parent
    return at is not None


def _without_link_lists(parts: list[_Part]) -> None:
    """Leave out menus without a name, where there is prose that they are not."""
    if parts[0].chars - parts[0].linked < _PROSE:
        return
    for part in parts[1:]:
        if part.tag in _PARTS and part.links >= _MANY_LINKS and not part.title:
            part.gone = part.linked >= _LINKED * part.chars


def _core(parts: list[_Part]) -> LexborNode:
    """The `<main>`, the only `<article>`, or the smallest part with the title and most of the prose."""
    mains = [part for part in parts if part.chars and _is_main(part)]
    articles = [part for part in parts if part.tag == "article" and part.title >= parts[0].title]
    for found in (mains, articles):
        if len(found) == 1 and found[0].chars >= _MUCH * parts[0].chars:
            return found[0].node
    prose = parts[0].chars - parts[0].linked
    best = 0
    if prose >= _PROSE:
        for index, part in enumerate(parts[1:], 1):
            whole = part.chars - part.linked >= _MOST * prose and part.title >= parts[0].title
            if whole and part.parent == best and part.tag not in ("p", "pre", "table"):
                best = index
    return parts[best].node


def _is_main(part: _Part) -> bool:
    role = part.node.attributes.get("role") if part.node.attributes else None
    return part.tag == "main" or (role or "").lower() == "main"
