"""Which rows changed."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.model import DocumentCell, DocumentRow, DocumentRows
from sentinel.render.rows import MAX_CELLS, MAX_ROWS, MAX_TOLD, MAX_WORDS, rows_difference, summary


def found(before: Any, after: Any) -> DocumentRows:
    rows = rows_difference(before, after)
    assert rows is not None
    return rows


def test_rows_are_known_by_the_column_that_names_them_wherever_they_stand() -> None:
    before = [{"sku": "a", "price": 5, "left": 1}, {"sku": "b", "price": 7}, {"sku": "c", "price": 9}]
    after = [{"sku": "b", "price": 7}, {"sku": "a", "price": 6, "left": 1}, {"sku": "d", "price": 1}]

    rows = found(before, after)

    assert rows.changes == (
        DocumentRow("changed", "a", (DocumentCell("price", "5", "6"),)),
        DocumentRow("added", "d", (DocumentCell("sku", None, "d"), DocumentCell("price", None, "1"))),
        DocumentRow("removed", "c", (DocumentCell("sku", "c", None), DocumentCell("price", "9", None))),
        DocumentRow("moved", "b"),
    )
    assert summary(rows) == "1 row changed, 1 added, 1 removed, 1 moved"


def test_a_row_that_only_changed_its_place_is_told_as_moved_and_as_few_as_can_be() -> None:
    before = [{"id": n} for n in range(6)]
    after = [{"id": n} for n in (5, 0, 1, 2, 3, 4)]

    assert found(before, after).changes == (DocumentRow("moved", "5"),)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (["a", "b"], ["b", "c"], "1 row added, 1 removed"),
        (["a", "a"], ["a"], "1 row removed"),
        ([["x", "1"], ["y", "2"]], [["x", "1"], ["y", "3"]], "1 row changed"),
        ({"price": 1, "stock": 2}, {"price": 1, "stock": 3}, "1 row changed"),
        ([{"price": 1}, {"price": 2}], [{"price": 1}, {"price": 3}], "1 row added, 1 removed"),
        ([], [1, 2], "2 rows added"),
        ({"canonical": '[{"id":1,"p":1.50}]'}, {"canonical": '[{"id":1,"p":1.6}]'}, "1 row changed"),
    ],
)
def test_lists_tables_and_objects_are_compared_row_by_row(before: Any, after: Any, words: str) -> None:
    assert summary(found(before, after)) == words


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "b"),
        (None, [1]),
        ([1], {"a": 1}),
        ([1, 2], [1, 2]),
        ({"canonical": "[1"}, {"canonical": "[2]"}),
        ({"canonical": "[NaN]"}, {"canonical": "[2]"}),
        ({"canonical": "[" * 100_000}, {"canonical": "[2]"}),
        ([0] * (MAX_ROWS + 1), [1]),
        ({"amount": "1", "currency": None}, {"amount": "2", "currency": "EUR"}),
        ({"text": "[1]", "hash": "a"}, {"text": "[2]", "hash": "b"}),
    ],
)
def test_what_is_no_two_lists_or_does_not_differ_has_no_rows(before: Any, after: Any) -> None:
    assert rows_difference(before, after) is None


def test_numbers_are_told_as_the_page_wrote_them() -> None:
    rows = found({"canonical": '[{"id":1,"p":0.10}]'}, {"canonical": '[{"id":1,"p":1e999999999}]'})

    assert rows.changes[0].cells == (DocumentCell("p", "0.10", "1E+999999999"),)


def test_what_a_page_says_is_cleaned_and_cut() -> None:
    rows = found(
        [], [{"id": "x\u202e\x1b[31m" + "y" * 999, "a\nb": "<b>", **{f"c{n}": n for n in range(40)}}]
    )

    row = rows.changes[0]
    assert len(row.cells) == MAX_CELLS
    assert row.key == "x" + "y" * (MAX_WORDS - 2) + "…"
    assert row.cells[1] == DocumentCell("a b", None, "<b>")


def shuffled_ten_thousand() -> tuple[Any, Any]:
    before = [{"id": n, "name": f"n{n}", "price": n / 2, "parts": [n, {"x": n}]} for n in range(MAX_ROWS)]
    after = [dict(row) for row in before]
    random.Random(5).shuffle(after)
    return before, after


def nameless_ten_thousand() -> tuple[Any, Any]:
    row = {f"column{n}": "same" for n in range(40)}
    return [dict(row) for _ in range(MAX_ROWS)], [dict(row, other=n) for n in range(MAX_ROWS)]


@pytest.mark.parametrize("make", [shuffled_ten_thousand, nameless_ten_thousand])
def test_ten_thousand_rows_are_compared_at_once_and_told_in_bounded_room(make: Any) -> None:
    before, after = make()

    rows = found(before, after)

    assert len(rows.changes) == MAX_TOLD
    assert rows.untold > 9_000
    assert len(msgspec.json.encode(rows)) < 4 * MAX_TOLD * MAX_CELLS * MAX_WORDS


_CELLS = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text("ab1", max_size=3))
_TABLES = st.one_of(
    st.lists(_CELLS, max_size=6),
    st.lists(st.dictionaries(st.sampled_from(["id", "name", "p"]), _CELLS, max_size=3), max_size=6),
    st.lists(st.lists(_CELLS, max_size=3), max_size=6),
    st.dictionaries(st.text("ab", max_size=2), _CELLS, max_size=4),
)


@settings(deadline=None)
@given(_TABLES, _TABLES)
def test_what_was_added_less_what_was_removed_is_how_much_longer_the_list_got(
    before: Any, after: Any
) -> None:
    rows = rows_difference(before, after)
    back = rows_difference(after, before)

    if rows is None:
        assert back is None
        return
    assert back is not None
    assert len(before) + rows.added - rows.removed == len(after)
    assert (rows.added, rows.removed, rows.changed) == (back.removed, back.added, back.changed)
    assert rows.untold == 0


@settings(deadline=None)
@given(_TABLES, _TABLES)
def test_from_text_it_is_the_same_as_from_values(before: Any, after: Any) -> None:
    texts = [{"canonical": json.dumps(side)} for side in (before, after)]

    assert rows_difference(*texts) == rows_difference(before, after)


def test_cells_are_told_as_the_page_has_them_and_compared_without_noise() -> None:
    before = {
        "rows": {"⌚ Ann": {"at": "⌚", "said": "hi"}},
        "shown": {"⌚ Ann": {"": "1 h ago Ann", "at": "1 h ago"}},
    }
    after = {
        "rows": {"⌚ Ann": {"at": "⌚", "said": "yo"}},
        "shown": {"⌚ Ann": {"": "2 h ago Ann", "at": "2 h ago"}},
    }
    (row,) = found(before, after).changes
    assert row == DocumentRow("changed", "2 h ago Ann", (DocumentCell("said", "hi", "yo"),))
    (gone,) = found(before, {"rows": {}}).changes
    assert gone == DocumentRow(
        "removed", "1 h ago Ann", (DocumentCell("at", "1 h ago", None), DocumentCell("said", "hi", None))
    )


def test_a_column_that_came_is_told_in_place_of_its_cells() -> None:
    before = {"rows": {"x": {"Price": "1"}, "y": {"Price": "2"}}}
    after = {"rows": {"x": {"Price": "1", "Stock": "5"}, "y": {"Price": "2", "Stock": "6"}}}
    rows = found(before, after)
    assert (rows.changes, rows.new_columns, rows.untold) == ((), ("Stock",), 0)
    assert summary(rows) == "column Stock added"
    assert summary(found(after, before)) == "column Stock removed"
