"""An HTML page as a tree, and what a person would see of it.

Built once per page, however many selectors look at it. Text is told as a reader sees it: no
scripts, styles or templates, nothing marked hidden, a line per block, one space for any white
space, and no invisible characters (a zero-width space in a price is a change nobody can see).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from sentinel.errors import CheckFailure

#: Nesting that is still parsed. Browsers stop at 512; lexbor's time grows with the square of it
#: (0.15 s at 10,000, 0.8 s at 20,000, over 30 s at 100,000).
MAX_DEPTH: Final = 5_000
#: Tags (opening and closing) that are still parsed: about 180 bytes of tree for each.
MAX_TAGS: Final = 600_000
#: Formatting elements (`<b>`, `<font>` ...) left open: the parser opens each again in every later
#: paragraph, so 2,000 `<p><font a=1>` in 40 KB became 2,000,000 nodes and 894 MiB. This many nodes
#: (open ones times tags of the page) may come of it.
MAX_REOPENED: Final = 2_000_000
#: With this many `<`, all of them left open, no more than MAX_REOPENED can come of it.
_HARMLESS_TAGS: Final = math.isqrt(MAX_REOPENED)


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


_VOID: Final = _words(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr"
)
#: Opened again in the next paragraph when left open (`a` is not: a second one ends the first).
_FORMATTING: Final = _words("b big code em font i nobr s small strike strong tt u")
#: Closed by the next of their kind or by their parent, so an open one does not mean a level more.
_SELF_ENDING: Final = _words(
    "a p li dt dd option optgroup tr td th thead tbody tfoot colgroup html head body"
)
#: Shown to nobody, or shown only where the browser lacks something.
_UNSEEN: Final = _words(
    "script style noscript template head title iframe object embed canvas audio video datalist svg math"
)
#: Begin and end a line.
_BLOCK: Final = _words(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li listing main menu "
    "nav ol optgroup option p plaintext pre search section select summary table tbody tfoot thead tr ul xmp"
)
#: Apart from its neighbour, on the same line.
_CELL: Final = frozenset({"td", "th", "button", "img"})

_TAG: Final = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9:-]{0,30})")
# What it may begin with is asked first: most tags are others, and one look is enough for them.
_FORMATTING_TAG: Final = re.compile(
    rf"<(?=/?[bcefinstuBCEFINSTU])(/?(?ai:{'|'.join(sorted(_FORMATTING))}))(?![a-zA-Z0-9:-])"
)

# Soft hyphen, zero-width space, marks and overrides of direction, word joiner and its invisible
# kin, byte order mark, tag characters. Joiners (200C, 200D) stay: they shape letters and emoji.
_INVISIBLE: Final = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SPACES: Final = re.compile(r"[^\S\n]+")
_LINES: Final = re.compile(r"\s*\n\s*")
_HIDING_STYLE: Final = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)


def parse(text: str) -> LexborHTMLParser:
    """The tree of a page.

    Raises CheckFailure EXTRACT_PARSE_ERROR for markup that would cost more than a page may.
    """
    refuse_costly(text)
    try:
        return LexborHTMLParser(text.encode("utf-8", "replace"))
    except (SelectolaxError, ValueError, MemoryError) as exc:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"the page could not be parsed: {exc}") from exc


def refuse_costly(text: str) -> None:
    """Raise EXTRACT_PARSE_ERROR where parsing would take seconds or hundreds of megabytes.

    A look at the tags alone, generous to real pages and blind to cunning: what hides from it is
    stopped by the limits of the child process (`sentinel.extract.contained`).
    """
    count = text.count("<")
    if count <= _HARMLESS_TAGS:
        return
    if count > MAX_TAGS:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"the page has more than {MAX_TAGS} tags")
    if count > MAX_DEPTH and deepest(text) > MAX_DEPTH:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"elements are nested deeper than {MAX_DEPTH}")
    formatting = left_open(text)
    if formatting * count > MAX_REOPENED:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"{formatting} formatting elements are left open")


def deepest(text: str) -> int:
    """Greatest nesting. One pass in C: a page may have a hundred thousand tags."""
    return max(accumulate(map(_LEVELS.__getitem__, _TAG.findall(text))), default=0)


@lru_cache(maxsize=1)  # whether it is cheap is asked right before it is parsed
def left_open(text: str) -> int:
    """How many formatting elements are left open at the end."""
    counted = Counter(map(str.lower, _FORMATTING_TAG.findall(text)))
    return sum(max(0, counted[name] - counted["/" + name]) for name in _FORMATTING)


class _Levels(dict[str, int]):
    """What a tag (`div`, `/div`) does to the nesting: one more, one less, nothing."""

    def __missing__(self, tag: str) -> int:
        name = tag.lstrip("/").lower()
        level = 0 if name in _VOID or name in _SELF_ENDING else -1 if tag.startswith("/") else 1
        if len(self) < 1_000:  # pages invent names
            self[tag] = level
        return level


_LEVELS: Final = _Levels()


def visible_text(node: LexborNode) -> str:
    """What a reader sees of an element: a line per block, nothing hidden.

    A page that hides everything until its script runs has no visible text; then all of its text
    is told.
    """
    if node.tag in ("script", "style", "textarea", "title", "noscript", "template"):
        return tidy(node.text(deep=True))  # asked for by name: its content is the value
    return shown_text(node) or tidy("".join(_pieces(node, skip_hidden=False)))


def shown_text(
    node: LexborNode, without: Container[int] = (), ahead: Mapping[int, str] = MappingProxyType({})
) -> str:
    """The same, and '' where all of it is hidden. `without`: elements (by mem_id) that are left out.

    `ahead`: what is told before elements, by mem_id.
    """
    return tidy("".join(_pieces(node, skip_hidden=True, without=without, ahead=ahead)))


def tidy(text: str) -> str:
    """Without invisible characters; white space as one space or one line break."""
    seen = _INVISIBLE.sub("", text)
    return _LINES.sub("\n", _SPACES.sub(" ", seen)).strip()


def printable(text: str) -> str:
    """Without invisible characters, white space as it is."""
    return _INVISIBLE.sub("", text)


def _pieces(
    root: LexborNode,
    *,
    skip_hidden: bool,
    without: Container[int] = (),
    ahead: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Text in document order, with line breaks at blocks. Walks, never recurses: pages are deep."""
    node: LexborNode | None = root
    while node is not None:
        tag = node.tag or ""
        descend = None
        if tag == "-text":
            # Source line breaks are white space; only blocks break a line.
            yield (node.text_content or "").replace("\n", " ").replace("\r", " ")
        elif tag == "br":
            yield "\n"
        elif not tag.startswith("-") and (
            node is root
            or not (tag in _UNSEEN or (skip_hidden and _is_unseen(node)) or node.mem_id in without)
        ):
            yield _edge(tag) + ahead.get(node.mem_id, "")
            descend = node.first_child
        if descend is not None:
            node = descend
            continue
        while node is not None and node.next is None:
            if node.mem_id == root.mem_id:
                return
            node = node.parent
            if node is not None:
                yield _edge(node.tag or "")
        if node is None or node.mem_id == root.mem_id:
            return
        node = node.next


def _edge(tag: str) -> str:
    if tag in _BLOCK:
        return "\n"
    return " " if tag in _CELL else ""


def is_hidden(node: LexborNode) -> bool:
    """Marked as not shown, by attribute or by its own style."""
    attributes = node.attributes
    if not attributes:
        return False
    if "hidden" in attributes:
        return True
    style = attributes.get("style")
    return bool(style and _HIDING_STYLE.search(style))


def is_seen(node: LexborNode) -> bool:
    """Whether an element inside of one that is read is part of its text."""
    return (node.tag or "") not in _UNSEEN and not _is_unseen(node)


def _is_unseen(node: LexborNode) -> bool:
    """Hidden, or said to be no text (`aria-hidden`): icons, copies for the eye, slides that wait.

    Right below `<body>` it says nothing: there a script sets it on the page behind an open dialog.
    """
    attributes = node.attributes
    if not attributes:
        return False
    if (attributes.get("aria-hidden") or "").strip().lower() == "true":
        parent = node.parent
        if node.tag != "main" and parent is not None and parent.tag not in ("body", "html"):
            return True
    return is_hidden(node)


def inner_html(node: LexborNode) -> str:
    """The markup inside an element."""
    return printable(node.inner_html or "")


def form_value(node: LexborNode) -> str | None:
    """The value an element carries: a field's, a choice's, a `<meta>`'s, a `<data>`'s, a `<time>`'s."""
    attributes = node.attributes
    match node.tag:
        case "textarea":
            return node.text(deep=True)
        case "select":
            chosen = node.css_first("option[selected]") or node.css_first("option")
            return None if chosen is None else form_value(chosen)
        case "option" if "value" not in attributes:
            return visible_text(node)
    for name in ("value", "content", "datetime"):
        if name in attributes:
            return attributes[name] or ""
    return None
