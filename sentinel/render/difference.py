"""What changed between two texts, word by word, in bounded time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final, Literal

import msgspec

from sentinel.render.clean import clip

#: Words compared per side after what both begin and end with is set aside. difflib's time grows with
#: the square of it (cubed at worst); a longer middle is told as one replacement.
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
    return tuple(piece for piece in pieces if piece.text)


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
    if max(len(old), len(new)) > MAX_WORDS:
        return [Piece("removed", "".join(old)), Piece("added", "".join(new))]
    pieces = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("same", "".join(old[i1:i2])))
        else:
            pieces.append(Piece("removed", "".join(old[i1:i2])))
            pieces.append(Piece("added", "".join(new[j1:j2])))
    return pieces
