"""Which words changed."""

from __future__ import annotations

from hypothesis import given
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


@given(
    st.text("ab \n.,", max_size=60),
    st.text("ab \n.,", max_size=60),
)
def test_the_pieces_put_together_give_both_texts_back(before: str, after: str) -> None:
    pieces = difference(before, after)

    assert "".join(piece.text for piece in pieces if piece.kind != "added") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "removed") == after


def test_a_long_middle_is_one_replacement_so_that_no_page_can_make_us_compare_for_minutes() -> None:
    before = "same start " + "a b " * MAX_WORDS + "same end"
    after = "same start " + "b c a " * MAX_WORDS + "same end"

    kinds = [piece.kind for piece in difference(before, after)]

    assert kinds == ["same", "removed", "added", "same"]
