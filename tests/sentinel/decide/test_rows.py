"""Rows under keys: read within bounds, compared without regard to their order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.decide import normalise, value_json
from sentinel.decide.normalise import normalise_rule
from sentinel.decide.rows import MAX_CHARACTERS, MAX_COLUMNS, MAX_ROWS, read_rows, rows_change
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
    assert value == RowsValue({"Red": {}, "Green": {}, "Red (2)": {}})


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
    assert made == after
    assert change.moved == ()


@given(st.permutations(list("abcdefg")))
def test_rows_that_moved_are_as_few_as_can_be(order: list[str]) -> None:
    before = RowsValue({key: {} for key in "abcdefg"}, ordered=True)
    moved = rows_change(before, RowsValue({key: {} for key in order}, ordered=True)).moved
    stayed = [key for key in order if key not in moved]
    assert stayed == sorted(stayed)


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
