"""What changed between two texts, word by word, in bounded time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final, Literal

import msgspec

from sentinel.decide.order import longest_rising
from sentinel.render.clean import clip

#: Words compared per side after what both begin and end with is set aside. difflib's time grows with
#: the square of it (cubed at worst); a longer middle is first taken apart at words that are there once.
MAX_WORDS: Final = 400

#: What is shown of a difference: unchanged text on each side of a change, and changed text (characters).
CONTEXT: Final = 24
MAX_CHANGED: Final = 160

_WORD: Final = re.compile(r"\s+|\w+|[^\w\s]")


class Piece(msgspec.Struct, frozen=True):
    """A run of text that was kept, taken away or put in."""

    kind: Literal["same", "removed", "added"]
    text: str


def difference(before: str, after: str) -> tuple[Piece, ...]:
    """The pieces of both texts in reading order; `same` + `removed` = before, `same` + `added` = after."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    pieces = [
        Piece("same", "".join(old[:head])),
        *_middle(middle_old, middle_new),
        Piece("same", "".join(old[len(old) - tail :])),
    ]
    return tuple(_joined(pieces))


def shortened(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The pieces fit to be read: of what did not change only what is around the changes."""
    return tuple(Piece(piece.kind, _shortened(piece)) for piece in pieces)


def _shortened(piece: Piece) -> str:
    text = piece.text
    if piece.kind != "same":
        return clip(text, MAX_CHANGED)
    return text if len(text) <= 2 * CONTEXT + 5 else f"{text[:CONTEXT]} ... {text[-CONTEXT:]}"


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    """How many words both begin with."""
    for index, (left, right) in enumerate(zip(old, new, strict=False)):
        if left != right:
            return index
    return min(len(old), len(new))


def _middle(old: list[str], new: list[str]) -> list[Piece]:
    """Word by word where both are short; else around the words that both have once."""
    if max(len(old), len(new)) <= MAX_WORDS:
        return _compared(old, new)
    pieces: list[Piece] = []
    budget = MAX_WORDS * MAX_WORDS
    start_old = start_new = 0
    for in_old, in_new in [*_anchors(old, new), (len(old), len(new))]:
        gap_old, gap_new = old[start_old:in_old], new[start_new:in_new]
        # What difflib may cost, of all gaps together no more than of one short text.
        budget -= len(gap_old) * len(gap_new)
        pieces += _compared(gap_old, gap_new) if budget >= 0 else _replaced(gap_old, gap_new)
        pieces.append(Piece("same", "".join(old[in_old : in_old + 1])))
        start_old, start_new = in_old + 1, in_new + 1
    return _joined(pieces)


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Places of words that each side has once, in the same order on both (patience; n log n)."""
    once_old, once_new = _once(old), _once(new)
    places = [(once_old[word], place) for word, place in once_new.items() if word in once_old]
    kept = longest_rising([place for place, _ in places])
    return [(in_old, in_new) for in_old, in_new in places if in_old in kept]


def _once(words: Sequence[str]) -> dict[str, int]:
    """Where each word is that is there once, in order."""
    times = Counter(words)
    return {word: place for place, word in enumerate(words) if times[word] == 1 and not word.isspace()}


def _compared(old: list[str], new: list[str]) -> list[Piece]:
    pieces = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", "".join(old[i1:i2])))
        else:
            pieces += _replaced(old[i1:i2], new[j1:j2])
    return pieces


def _replaced(old: list[str], new: list[str]) -> list[Piece]:
    return [Piece("removed", "".join(old)), Piece("added", "".join(new))]


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours of one kind as one piece, empty ones left out."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].kind == piece.kind:
            joined[-1] = Piece(piece.kind, joined[-1].text + piece.text)
        elif piece.text:
            joined.append(piece)
    return joined
