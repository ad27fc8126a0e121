"""A field of an API is a value whatever JSON it is: a text is none the less JSON for having no quotes left."""

from __future__ import annotations

import pytest

from sentinel.decide.normalise import normalise
from sentinel.errors import CheckFailure
from sentinel.extract import extract
from sentinel.model import Extraction, JsonValue, Normalization, Postprocess
from tests.sentinel.extract.pages import page


def read(document: str, path: str = "$.a", *, empty: bool = False, **extraction: object) -> str:
    """The canonical JSON, or the error's code and detail."""
    rule = Extraction(method="jsonpath", selector=path, **extraction)  # type: ignore[arg-type] # as YAML gives it
    try:
        found = extract(page(document, kind="application/json"), rule, allow_empty=empty)
        value = normalise(found, Normalization(kind="json_field", empty="value" if empty else "error")).value
    except CheckFailure as failure:
        return f"{failure.code}: {failure.detail}"
    assert isinstance(value, JsonValue)
    return value.canonical


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ('"in stock"', '"in stock"'),
        ('"1.0"', '"1.0"'),
        ("1.0", "1"),
        ('"true"', '"true"'),
        ("true", "true"),
        ("false", "false"),
        ("0", "0"),
        ('"null"', '"null"'),
        ('"{\\"b\\": 1}"', '"{\\"b\\": 1}"'),
        ('{"b": 1.50, "a": null}', '{"a":null,"b":1.5}'),
        ('["x", 1, null]', '["x",1,null]'),
        ('"caf\u00e9 \\"quoted\\""', '"caf\u00e9 \\"quoted\\""'),
    ],
)
def test_any_json_is_a_value_and_keeps_its_type(written: str, canonical: str) -> None:
    assert read(f'{{"a": {written}}}') == canonical


def test_several_matches_are_an_array() -> None:
    assert read('{"a": [{"b": "x"}, {"b": null}]}', "$.a[*].b") == '["x",null]'


def test_what_is_empty_is_an_error_unless_the_rule_says_so() -> None:
    assert read('{"a": null}') == "EXTRACT_EMPTY_VALUE: jsonpath '$.a' found null"
    assert read('{"a": ""}') == "EXTRACT_EMPTY_VALUE: jsonpath '$.a' found an empty text"
    assert read('{"a": null}', empty=True) == "null"
    assert read('{"a": ""}', empty=True) == '""'


def test_a_text_that_was_postprocessed_is_a_text() -> None:
    assert read('{"a": "In Stock"}', postprocess=["lowercase"]) == '"in stock"'
    assert read('{"a": "v 12"}', postprocess=[Postprocess(op="replace", pattern="v ")]) == '"12"'


def test_what_a_page_shows_is_json_or_an_error() -> None:
    text = page("<pre>{'a': 1}</pre>")
    with pytest.raises(CheckFailure) as caught:
        normalise(extract(text, Extraction(method="css", selector="pre")), Normalization(kind="json_field"))
    assert caught.value.code == "EXTRACT_PARSE_ERROR"
