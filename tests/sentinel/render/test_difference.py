"""Which words changed."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.render import Piece, difference
from sentinel.render.difference import MAX_WORDS


def test_only_the_words_that_changed_are_told_as_changed() -> None:
    pieces = difference("Only 3 left in stock, order soon", "Only 2 left in stock, order soon")

    assert pieces == (
        Piece("same", "Only "),
        Piece("removed", "3"),
        Piece("added", "2"),
        Piece("same", " left in stock, order soon"),
    )


def test_equal_texts_are_one_piece_and_empty_ones_none() -> None:
    assert difference("a b", "a b") == (Piece("same", "a b"),)
    assert difference("", "") == ()
    assert difference("", "new") == (Piece("added", "new"),)


@settings(deadline=None)
@given(
    st.text("ab \n.,", max_size=60),
    st.text("ab \n.,", max_size=60),
)
def test_the_pieces_put_together_give_both_texts_back(before: str, after: str) -> None:
    pieces = difference(before, after)

    assert "".join(piece.text for piece in pieces if piece.kind != "added") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == after


_WORDS = st.lists(st.sampled_from(["a", "b", "c", *(f"w{n}" for n in range(40))]), max_size=40)


@settings(deadline=None)
@given(_WORDS, _WORDS)
def test_of_long_texts_too_the_pieces_give_both_back(before: list[str], after: list[str]) -> None:
    texts = ["x y " + " ".join(words) + " z " * 300 + " ".join(words[::-1]) for words in (before, after)]

    pieces = difference(*texts)

    assert "".join(piece.text for piece in pieces if piece.kind != "added") == texts[0]
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == texts[1]
    assert all(one.kind != other.kind for one, other in pairwise(pieces))


def test_two_words_far_apart_in_a_long_text_are_told_as_two_changes() -> None:
    words = [f"word{n}" for n in range(10_000)]
    before, after = " ".join(words), " ".join(["first", *words[1:9_000], "other", *words[9_001:]])

    told = [(piece.kind, piece.text) for piece in difference(before, after) if piece.kind != "same"]

    assert told == [("removed", "word0"), ("added", "first"), ("removed", "word9000"), ("added", "other")]


def unique() -> tuple[str, str]:
    words = [f"w{n}" for n in range(15_000)]
    shuffled = random.Random(1).sample(words, len(words))
    return " ".join(words), " ".join(shuffled)


def alike() -> tuple[str, str]:
    return "a b " * 25_000, "b a a " * 17_000


def sparse() -> tuple[str, str]:
    gaps = [("a b " * 90, "b a a " * 60)] * 140
    return tuple(" ".join(f"k{n} {gap[side]}" for n, gap in enumerate(gaps)) for side in (0, 1))  # type: ignore[return-value]  # two


@pytest.mark.parametrize("texts", [unique(), alike(), sparse()], ids=["unique", "alike", "sparse"])
def test_no_page_of_100_kb_can_make_us_compare_for_minutes(texts: tuple[str, str]) -> None:
    pieces = difference(*texts)

    assert "".join(piece.text for piece in pieces if piece.kind != "added") == texts[0]


def test_a_long_middle_is_one_replacement_so_that_no_page_can_make_us_compare_for_minutes() -> None:
    before = "same start " + "a b " * MAX_WORDS + "same end"
    after = "same start " + "b c a " * MAX_WORDS + "same end"

    kinds = [piece.kind for piece in difference(before, after)]

    assert kinds == ["same", "removed", "added", "same"]
