"""Rows under keys: read within bounds, compared without regard to their order."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.decide import normalise, value_json
from sentinel.decide.normalise import normalise_rule
from sentinel.decide.rows import (
    MAX_CHARACTERS,
    MAX_COLUMNS,
    MAX_KEY,
    MAX_ROWS,
    aligned,
    read_rows,
    rows_change,
    summary,
    text_of,
    without,
)
from sentinel.decide.values import same
from sentinel.errors import CheckFailure
from sentinel.model import Extracted, Extraction, Field, Normalization, RowsValue, Rule

LIST = Normalization(kind="list")
CSS = Extraction(method="css", selector="p")


def table(*rows: tuple[str, dict[str, str]]) -> Extracted:
    return Extracted(raw="", rows=rows)


def test_rows_keep_their_order_and_a_key_that_comes_twice_is_numbered() -> None:
    found = read_rows(table(("a", {"p": " 1\n"}), ("b", {}), ("a", {"p": "2"}), ("a", {})), LIST)
    assert list(found.rows.items()) == [("a", {"p": "1"}), ("b", {}), ("a (2)", {"p": "2"}), ("a (3)", {})]
    assert value_json(found) == {"rows": {"a": {"p": "1"}, "b": {}, "a (2)": {"p": "2"}, "a (3)": {}}}


def test_the_lines_of_a_text_are_rows_without_columns() -> None:
    value = normalise(Extracted(raw="Red\n\n  Green \nRed"), LIST).value
    assert value == RowsValue({"Red": {}, "Green": {}, "Red (2)": {}}, numbered={"Red (2)": "Red"})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (table(*((str(number), {}) for number in range(MAX_ROWS + 1))), "rows are more than"),
        (table(("a", {str(number): "" for number in range(MAX_COLUMNS + 1)})), "columns are more than"),
        (
            table(*((str(number), {"p": "x" * 1900}) for number in range(MAX_CHARACTERS // 1900 + 1))),
            "characters",
        ),
    ],
)
def test_more_than_can_be_kept_is_an_error_and_never_left_out_in_silence(given: Extracted, says: str) -> None:
    with pytest.raises(CheckFailure, match=says) as caught:
        normalise(given, LIST)
    assert caught.value.code == "EXTRACT_PARSE_ERROR"


def test_no_rows_are_an_error_unless_the_rule_says_so() -> None:
    with pytest.raises(CheckFailure) as caught:
        normalise(table(), LIST)
    assert caught.value.code == "EXTRACT_EMPTY_VALUE"
    assert normalise(table(), Normalization(kind="list", empty="value")).value == RowsValue({})


keyed = st.dictionaries(
    st.sampled_from("abcdefgh"), st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"))
)


@given(keyed, keyed)
def test_added_removed_and_changed_make_the_one_of_the_other(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> None:
    change = rows_change(RowsValue(before), RowsValue(after))
    made = {key: row for key, row in before.items() if key not in change.removed}
    made |= {key: after[key] for key in (*change.added, *change.changed)}
    apart = {*change.new_columns, *change.gone_columns}
    assert {key: without(row, apart) for key, row in made.items()} == {
        key: without(row, apart) for key, row in after.items()
    }
    assert change.moved == ()


@given(st.permutations(list("abcdefg")))
def test_rows_that_moved_are_as_few_as_can_be(order: list[str]) -> None:
    before = RowsValue({key: {} for key in "abcdefg"}, ordered=True)
    moved = rows_change(before, RowsValue({key: {} for key in order}, ordered=True)).moved
    stayed = [key for key in order if key not in moved]
    assert stayed == sorted(stayed)


def lines(*rows: tuple[str, dict[str, str]], **options: object) -> RowsValue:
    return read_rows(table(*rows), Normalization(kind="list", **options))  # type: ignore[arg-type] - test convenience


def change_of(before: RowsValue, after: RowsValue) -> str:
    return summary(rows_change(before, aligned(before, after)))


def test_of_rows_with_the_same_key_equal_ones_are_the_same() -> None:
    old = [("A", {"p": "1"}), ("A", {"p": "2"}), ("A", {"p": "3"})]
    before = lines(*old)
    assert change_of(before, lines(("A", {"p": "9"}), *old)) == "1 row added"
    assert change_of(before, lines(*old[1:])) == "1 row removed"
    assert change_of(before, lines(old[0], ("A", {"p": "5"}), old[2])) == "1 row changed"
    assert change_of(before, lines(*reversed(old))) == "no row changed"
    assert same(before, aligned(before, lines(*reversed(old))))


def test_numbers_given_once_stay_with_their_rows_from_reading_to_reading() -> None:
    old = [("A", {"p": "1"}), ("A", {"p": "2"})]
    second = aligned(lines(*old), lines(("A", {"p": "9"}), *old))
    assert second.rows == {"A (3)": {"p": "9"}, "A": {"p": "1"}, "A (2)": {"p": "2"}}
    third = aligned(second, lines(("A", {"p": "9"}), *old))
    assert third == second
    fourth = aligned(third, lines(("A", {"p": "9"})))
    assert (fourth.rows, fourth.numbered) == ({"A (3)": {"p": "9"}}, {"A (3)": "A"})


def test_names_that_only_look_numbered_are_names() -> None:
    before = lines(("A", {"p": "1"}), ("A (2)", {"p": "2"}))
    assert change_of(before, lines(("A", {"p": "2"}), ("A (2)", {"p": "1"}))) == "2 rows changed"
    odd = lines(("A", {}), ("A", {}), ("A (2)", {}))
    assert len(aligned(before, odd).rows) == 3


@given(st.lists(st.sampled_from("ab"), max_size=5), st.lists(st.sampled_from("ab"), max_size=5))
def test_as_many_rows_come_and_go_as_the_lists_differ_by(before: list[str], after: list[str]) -> None:
    was, now = (
        read_rows(table(*(("k", {"p": one}) for one in side)), Normalization(kind="list", empty="value"))
        for side in (before, after)
    )
    change = rows_change(was, aligned(was, now))
    lost, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    assert len(change.changed) == min(lost.total(), new.total())
    assert len(change.added) - len(change.removed) == len(after) - len(before)


def test_a_new_column_is_told_once_and_not_as_a_change_of_every_row() -> None:
    before = lines(("x", {"Price": "1"}), ("y", {"Price": "2"}))
    after = lines(("x", {"Price": "1", "Stock": "5"}), ("y", {"Price": "3", "Stock": "6"}))
    assert change_of(before, after) == "column Stock added, 1 row changed"
    assert change_of(after, before) == "column Stock removed, 1 row changed"
    assert (
        change_of(before, lines(("x", {"Price": "1", "Stock": "5"}), ("y", {"Price": "2"})))
        == "column Stock added"
    )
    feed = [(str(number), {"title": "t"}) for number in range(5)]
    assert (
        change_of(lines(*feed), lines(("0", {"title": "t", "author": "Ann"}), *feed[1:])) == "1 row changed"
    )


def test_people_are_shown_the_page_and_not_what_is_compared() -> None:
    value = lines(("Ann, 3 minutes ago", {"Said": "Hello  3 MINUTES ago"}), ignore_case=True)
    assert value.rows == {"ann, ⌚": {"Said": "hello ⌚"}}
    assert value.shown == {"ann, ⌚": {"": "Ann, 3 minutes ago", "Said": "Hello 3 MINUTES ago"}}
    assert text_of(value) == "Ann, 3 minutes ago Hello 3 MINUTES ago"
    assert same(value, lines(("Ann, 9 minutes ago", {"Said": "Hello 4 minutes ago"}), ignore_case=True))


def test_what_changes_behind_what_is_kept_of_a_cell_or_a_key_is_a_change() -> None:
    def of(end: str) -> RowsValue:
        return lines(("k" * 400 + end, {"c": "x" * 3_000 + end}))

    assert not same(of("1"), of("2"))
    assert list(of("1").rows) != list(of("2").rows)
    assert all(len(key) <= MAX_KEY for key in of("1").rows)


# --- records ----------------------------------------------------------------------------------

OFFER = Rule(
    id="offer",
    url="https://shop.example.com/",
    type="record",
    fields={
        "price": Field(type="price", extraction=CSS),
        "stock": Field(type="availability", extraction=CSS, optional=True),
        "sizes": Field(type="list", extraction=CSS, optional=True),
    },
)


def test_a_record_is_read_field_by_field_and_an_optional_one_may_be_missing() -> None:
    fields = {"price": Extracted(raw="1.299,00 €"), "sizes": Extracted(raw="S\nM")}
    read = normalise_rule(Extracted(raw="", fields=fields), OFFER)
    assert value_json(read.value) == {
        "fields": {
            "price": {"amount": "1299", "currency": "EUR"},
            "stock": None,
            "sizes": {"rows": {"S": {}, "M": {}}},
        }
    }
    assert read.separator == ","


@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({}, "EXTRACT_EMPTY_VALUE", "field price: "),
        ({"price": Extracted(raw="soon")}, "EXTRACT_PARSE_ERROR", "field price: "),
        ({"price": Extracted(raw=" ")}, "EXTRACT_EMPTY_VALUE", "field price: "),
    ],
)
def test_a_field_that_fails_ends_the_check_and_is_named(
    fields: dict[str, Extracted], code: str, detail: str
) -> None:
    with pytest.raises(CheckFailure) as caught:
        normalise_rule(Extracted(raw="", fields=fields), OFFER)
    assert caught.value.code == code
    assert caught.value.detail.startswith(detail)


def test_a_field_outside_its_plausible_range_makes_the_record_doubtful() -> None:
    price = Field(type="price", extraction=CSS, normalization=Normalization(kind="price", max=Decimal(100)))
    rule = Rule(id="offer", url="https://shop.example.com/", type="record", fields={"price": price})
    read = normalise_rule(Extracted(raw="", fields={"price": Extracted(raw="500 €")}), rule)
    assert read.implausible == "price: 500 is above the plausible maximum 100"
