from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.extract import jsonpath
from tests.sentinel.extract.pages import code, raw

STORE = json.dumps(
    {
        "store": {
            "book": [
                {"title": "Sayings", "price": 8.95, "isbn": "a"},
                {"title": "Sword", "price": 12.90},
                {"title": "Moby", "price": 8.99, "isbn": "b"},
            ],
            "bicycle": {"color": "red", "price": 399},
        },
        "a.b": True,
        "none": None,
    }
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.store.book[0].title", "Sayings"),
        ("$.store.book[-1].title", "Moby"),
        ("$['store'][\"bicycle\"].price", "399"),
        ("$.store.book[1].price", "12.9"),
        ("$.store.book[*].title", '["Sayings","Sword","Moby"]'),
        ("$.store.book[0:2].title", '["Sayings","Sword"]'),
        ("$.store.book[::-1].title", '["Moby","Sword","Sayings"]'),
        ("$.store.book[0,2].title", '["Sayings","Moby"]'),
        ("$..price", "[8.95,12.9,8.99,399]"),
        ("$..book[0].isbn", "a"),
        ("$['a.b']", "true"),
        ("$.store.bicycle", '{"color":"red","price":399}'),
        ("$.store.book[?@.isbn].title", '["Sayings","Moby"]'),
        ("$.store.book[?(@.price > 10)].title", "Sword"),
        ("$.store.book[?@.title == 'Moby'].price", "8.99"),
        ("$.store.*.color", "red"),
    ],
)
def test_a_path_reads_its_value(path: str, expected: str) -> None:
    assert raw(STORE, kind="application/json", method="jsonpath", selector=path) == expected


def test_amounts_keep_their_zeros() -> None:
    assert (
        raw('{"price": 129.90}', kind="application/json", method="jsonpath", selector="$.price") == "129.90"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.gone", "EXTRACT_SELECTOR_NOT_FOUND"),
        ("$.store.book[9]", "EXTRACT_SELECTOR_NOT_FOUND"),
        ("$.none", "EXTRACT_EMPTY_VALUE"),
        ("store.book", "RULE_INVALID"),
        ("$.store[", "RULE_INVALID"),
        ("$.store.book[?(@.price ~ 1)]", "RULE_INVALID"),
    ],
)
def test_what_a_path_does_not_find_has_a_code(path: str, expected: str) -> None:
    assert code(STORE, kind="application/json", method="jsonpath", selector=path) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": 1',
        "9" * 10_000,
    ],
)
def test_what_is_no_json_is_a_parse_error(text: str) -> None:
    assert code(text, kind="application/json", method="jsonpath", selector="$.a") == "EXTRACT_PARSE_ERROR"


def test_json_in_a_script_is_read_through_its_context() -> None:
    page = '<p>x</p><script id="__DATA__" type="application/json">{"price": "9.90"}</script>'
    assert raw(page, method="jsonpath", selector="$.price", context="#__DATA__") == "9.90"
    assert code(page, method="jsonpath", selector="$.price") == "EXTRACT_PARSE_ERROR"


@pytest.mark.parametrize("prefix", [")]}',\n", "\ufeff", "while(1);", " \n"])
def test_what_apis_put_before_json_is_taken_off(prefix: str) -> None:
    assert raw(prefix + '{"a": 1}', kind="application/json", method="jsonpath", selector="$.a") == "1"


def test_a_path_that_asks_for_everything_of_everything_is_stopped() -> None:
    text = "[" * 200 + "]" * 200
    assert (
        code(text, kind="application/json", method="jsonpath", selector="$..*..*..*") == "EXTRACT_PARSE_ERROR"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)


def _below(value: Any) -> list[Any]:
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [found for child in children for found in [child, *_below(child)]]


@given(JSON)
def test_everything_below_is_found_once(document: Any) -> None:
    found = jsonpath.find(jsonpath.parsed("$..*"), document)
    assert sorted(map(repr, found)) == sorted(map(repr, _below(document)))


@given(st.text(alphabet="$.[]*'\"?@()=<>,:-01ab \\", max_size=40))
def test_any_text_is_a_path_or_refused(path: str) -> None:
    assert code('{"a": [1]}', kind="application/json", method="jsonpath", selector=path).startswith(
        ("read", "EXTRACT_", "RULE_INVALID")
    )
