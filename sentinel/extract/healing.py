"""Finding an element again whose selector finds nothing any more.

    page ──▶ elements of the same kind of value ──▶ each scored against the fingerprint
         ──▶ the best, if it is like enough and clearly ahead of the second ──▶ a selector for it

Nothing rather than a guess: no answer costs a look by a person, a wrong one is a false alert. Weights,
floor and margin are told in docs/decisions, with what they were tuned on (`python -m bench.healing`).
Uses the processor only, and only in the child process (`sentinel.extract.contained`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq
from selectolax.lexbor import LexborNode

from sentinel.errors import CheckFailure
from sentinel.extract import css, fingerprint, healing_selector, html
from sentinel.extract.page import Page
from sentinel.model import Fingerprint, Remembered

#: Elements of a page that are looked at; candidates that are looked at closely; seconds for all.
MAX_ELEMENTS: Final = 20_000
MAX_CANDIDATES: Final = 3_000
MAX_CLOSE: Final = 250
MAX_SECONDS: Final = 2.0
#: Characters of white space between tags that do not count as text.
SPACES: Final = 400
#: Below this likeness nothing is healed, and without this lead over the second neither.
FLOOR: Final = 0.68
MARGIN: Final = 0.1
#: The floor where a name of its own or its very text is as it was.
FLOOR_KNOWN: Final = 0.58
#: Names or forms of the text that are less alike than this are others.
HALF: Final = 0.5

#: What each likeness counts. A likeness that the fingerprint says nothing of is left out.
WEIGHTS: Final = {
    "tag": 0.6,
    "id": 1.5,
    "words": 2.0,
    "attributes": 1.2,
    "text": 1.5,
    "mask": 1.0,
    "path": 0.8,
    "above": 1.6,
    "depth": 0.4,
    "index": 0.3,
    "repeated": 1.4,
    "linked": 0.6,
    "before": 1.6,
    "after": 1.0,
    "heading": 2.0,
    "shape": 0.8,
}
#: Of its score, what an element keeps for a part that it plays (old price, per unit) and the other did not.
OTHER_PART: Final = {"old": 0.6, fingerprint.CROSSED: 0.0}
ANY_OTHER_PART: Final = 0.75
#: The same for a text of another form: `Save 10 %` for `9.99`.
OTHER_FORM: Final = 0.8
_INLINE: Final = frozenset(
    {"span", "b", "strong", "em", "i", "ins", "p", "div", "bdi", "data", "big", "font", "u", "dd", "td", "li"}
)
_UNSEEN: Final = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "object"})
#: Shapes that a value of one kind may take.
_ALIKE: Final = {"price": ("price", "number"), "number": ("number", "price")}


class Candidate(NamedTuple):
    """An element that could be it."""

    node: LexborNode
    text: str
    #: Its number in document order, and that of the last element inside of it.
    first: int
    last: int


class Match(NamedTuple):
    """The element that is taken for the old one."""

    node: LexborNode
    selector: str
    raw: str
    score: float
    second: float


def find(page: Page, known: Remembered, *, attribute: str, context: str | None) -> Match | None:
    """By the selector that healed it last, while that finds what is like it; else by looking anew."""
    if known.refused or page.is_xml:
        return None
    try:
        if known.healed is not None:
            before = known.healed
            node = css.first_within(page.tree, page.root(context), before.selector)
            if node is not None:
                raw = css.of(node, attribute, before.selector)
                if still_like(node, raw, known.fingerprint):
                    return Match(node, before.selector, raw, before.score, before.second)
        return heal(page, known.fingerprint, attribute=attribute, context=context)
    except CheckFailure:  # the context is not there, or the element has no such attribute
        return None


def heal(
    page: Page, known: Fingerprint, *, attribute: str = "text", context: str | None = None
) -> Match | None:
    """The element that is most like `known`, or None: there is none, or it is not clear which."""
    root = page.root(context)
    ranked = rank(candidates(root, known, attribute), known)
    if not ranked:
        return None
    score, best = ranked[0]
    second = next((other for other, one in ranked[1:] if not same_lineage(best, one)), 0.0)
    if not is_clear(known, fingerprint.take(best.node, best.text), score, second):
        return None
    best = _innermost(best, [one for other, one in ranked if other >= score - MARGIN])
    selector = healing_selector.selector_for(page.tree, root, best.node)
    if selector is None:
        return None
    try:
        raw = css.of(best.node, attribute, selector)
    except CheckFailure:
        return None
    return Match(best.node, selector, raw, round(score, 3), round(second, 3))


def is_clear(known: Fingerprint, best: Fingerprint, score: float, second: float) -> bool:
    """Like enough, and far enough ahead of the second."""
    likes = dict(_likenesses(known, best))
    own = max(likes["text"] == 1.0, likes.get("words", 0.0), likes.get("id", 0.0))
    return score >= (FLOOR_KNOWN if own >= HALF else FLOOR) and score - second >= MARGIN


def still_like(node: LexborNode, raw: str, known: Fingerprint) -> bool:
    """Whether what a healed selector finds is still something that could be healed to."""
    now = fingerprint.take(node, raw)
    return now.shape in _ALIKE.get(known.shape, (known.shape,)) and likeness(known, now) >= FLOOR_KNOWN


# --- candidates -----------------------------------------------------------------------------------


def candidates(root: LexborNode, known: Fingerprint, attribute: str) -> list[Candidate]:
    """Elements whose value has the shape of the known one, in document order."""
    shapes = _ALIKE.get(known.shape, (known.shape,))
    longest = max(80, 3 * len(known.text)) if known.shape != "long" else 1 << 20
    found = []
    for one in _elements(root, attribute, longest):
        if one.text and fingerprint.shape_of(one.text) in shapes:
            found.append(one)
            if len(found) >= MAX_CANDIDATES:
                break
    return found


class _Span(NamedTuple):
    """An element, where its texts begin and end in the page's, its number and that of its last descendant."""

    node: LexborNode
    begins: int
    ends: int
    first: int
    last: int


def _elements(root: LexborNode, attribute: str, longest: int) -> Iterator[Candidate]:
    """Every element with what `attribute` says of it, texts no longer than `longest`; nothing hidden."""
    wants_text = attribute == "text"
    spans, texts = _spans(root, skip_hidden=wants_text)
    lengths = [0, *accumulate(map(len, texts))]
    for span in spans:
        if (span.node.tag or "") in _UNSEEN:
            continue
        if not wants_text:
            told = _attribute(span.node, attribute) or ""
        elif lengths[span.ends] - lengths[span.begins] <= longest + SPACES:
            told = html.tidy(" ".join(texts[span.begins : span.ends])).replace("\n", " ")
        else:
            continue
        if told and len(told) <= longest:
            yield Candidate(span.node, told, span.first, span.last)


def _spans(root: LexborNode, *, skip_hidden: bool) -> tuple[list[_Span], list[str]]:
    """The elements in document order, and the texts between their tags: one walk, however deep."""
    open_ones: list[tuple[LexborNode, int, int]] = []
    spans: list[_Span] = []
    texts: list[str] = []
    count = 0

    def close() -> None:
        node, begins, first = open_ones.pop()
        spans.append(_Span(node, begins, len(texts), first, count))

    node: LexborNode | None = root
    while node is not None and count < MAX_ELEMENTS:
        tag = node.tag or "-"
        if tag == "-text":
            texts.append(node.text_content or "")
        elif node.mem_id == root.mem_id or not tag.startswith(("-", "!")):
            count += 1
            open_ones.append((node, len(texts), count))
            seen = tag not in _UNSEEN and not (skip_hidden and html.is_hidden(node))
            if seen and (child := node.first_child) is not None:
                node = child
                continue
            close()
        while node is not None and open_ones and node.next is None:
            node = node.parent
            close()
        node = node.next if node is not None and open_ones else None
    while open_ones:
        close()
    return sorted(spans, key=lambda span: span.first), texts


def _attribute(node: LexborNode, attribute: str) -> str | None:
    try:
        return css.of(node, attribute, "")
    except CheckFailure:
        return None


def same_lineage(one: Candidate, other: Candidate) -> bool:
    """A wrapper and what is inside of it, with the same numbers or, without any, the same text."""
    if not (one.first <= other.first <= one.last or other.first <= one.first <= other.last):
        return False
    mine, others = fingerprint.numbers(one.text), fingerprint.numbers(other.text)
    return mine == others and (bool(mine) or one.text == other.text)


def _innermost(best: Candidate, rivals: Sequence[Candidate]) -> Candidate:
    """Of a lineage, the element that says the value and least else."""
    line = [one for one in rivals if same_lineage(best, one)]
    return min(line, key=lambda one: (len(one.text), -one.first), default=best)


# --- likeness -------------------------------------------------------------------------------------


def rank(found: Sequence[Candidate], known: Fingerprint) -> list[tuple[float, Candidate]]:
    """The likeness of each, the best first."""
    close = list(found)
    if len(close) > MAX_CLOSE:
        close.sort(key=lambda one: _rough(one, known), reverse=True)
        del close[MAX_CLOSE:]
    began = time.monotonic()
    ranked = []
    for one in close:
        if time.monotonic() - began > MAX_SECONDS:
            return []  # half a ranking has no second
        ranked.append((likeness(known, fingerprint.take(one.node, one.text)), one))
    ranked.sort(key=lambda pair: -pair[0])
    return ranked


def _rough(one: Candidate, known: Fingerprint) -> float:
    """A likeness that costs little, where there are many."""
    attributes = one.node.attributes
    return (
        (one.node.tag == known.tag)
        + 2.0 * _overlap(known.words, fingerprint.words_of(attributes.get("class")))
        + (bool(known.id) and attributes.get("id") == known.id)
        + fuzz.ratio(known.text, one.text[: fingerprint.MAX_TEXT]) / 100
    )


def likeness(known: Fingerprint, other: Fingerprint) -> float:
    """0 to 1."""
    likes = dict(_likenesses(known, other))
    score = sum(WEIGHTS[name] * like for name, like in likes.items()) / sum(WEIGHTS[name] for name in likes)
    if likes["mask"] < HALF and likes["text"] < 1.0:
        score *= OTHER_FORM
    for part in set(known.roles) ^ set(other.roles):
        score *= OTHER_PART.get(part, ANY_OTHER_PART)
    return score


def _likenesses(known: Fingerprint, other: Fingerprint) -> Iterator[tuple[str, float]]:
    """Each likeness by its name, 0 to 1."""
    inline = known.tag in _INLINE and other.tag in _INLINE
    yield "tag", 1.0 if known.tag == other.tag else 0.6 if inline else 0.0
    yield "shape", float(known.shape == other.shape)
    if known.id:
        yield "id", 1.0 if known.id == other.id else _overlap(_id_words(known), _id_words(other)) * 0.8
    if known.words:
        yield "words", _overlap(known.words, other.words)
    if known.attributes:
        yield "attributes", _overlap(known.attributes, other.attributes)
    yield "text", float(known.text == other.text) if known.shape != "text" else _ratio(known.text, other.text)
    yield "mask", _ratio(fingerprint.mask(known.text), fingerprint.mask(other.text))
    if known.path:
        yield "path", LCSseq.normalized_similarity(known.path, other.path)
    if known.above:
        yield "above", _overlap(known.above, other.above)
    yield "depth", max(0.0, 1.0 - abs(known.depth - other.depth) / 4)
    yield "index", max(0.0, 1.0 - abs(known.index - other.index) / 3)
    yield "repeated", float(known.repeated == other.repeated)
    yield "linked", float(known.linked == other.linked)
    if known.before:
        yield "before", _ratio(known.before, other.before)
    if known.after:
        yield "after", _ratio(known.after, other.after)
    if known.heading:
        yield "heading", _ratio(known.heading, other.heading)


def _id_words(one: Fingerprint) -> tuple[str, ...]:
    return fingerprint.words_of(one.id)


def _overlap(known: Sequence[str], other: Sequence[str]) -> float:
    """Shared ones among all."""
    mine, others = set(known), set(other)
    return len(mine & others) / len(mine | others) if mine | others else 1.0


def _ratio(known: str, other: str) -> float:
    """0 below half: strings of one language are half alike anyway."""
    return max(0.0, fuzz.ratio(known, other) / 50 - 1.0)
