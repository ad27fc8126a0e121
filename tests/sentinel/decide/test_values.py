"""Availability, text, numbers and JSON: tables of real phrases, and what is noise."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.decide import describe, normalise, value_json
from sentinel.decide.availability import read_availability
from sentinel.decide.jsonfield import canonical
from sentinel.decide.text import neutralise
from sentinel.errors import CheckFailure
from sentinel.model import (
    AvailabilityValue,
    Extracted,
    JsonValue,
    Normalization,
    NumberValue,
    PriceValue,
    RuleState,
    TextValue,
)

TEXT = Normalization(kind="text")


@pytest.mark.parametrize(
    ("status", "phrases"),
    [
        (
            "in_stock",
            "In Stock|in-stock|Auf Lager|En stock|Disponibile|Op voorraad|I lager|På lager|Dostępny|Skladem|Skladom",
        ),
        (
            "in_stock",
            "Em estoque|În stoc|Raktáron|Varastossa|в наличии|在庫あり|5 in stock|Stock: 12|true|Add to cart",
        ),
        (
            "in_stock",
            "https://schema.org/InStock|http://schema.org/LimitedAvailability|InStoreOnly|OnlineOnly",
        ),
        (
            "in_stock",
            "Only 3 left in stock - order soon|Skladem > 5 ks|Sofort lieferbar, Lieferzeit 1-3 Tage",
        ),
        (
            "out_of_stock",
            "not in stock|Nicht auf Lager|Rupture de stock|Agotado|Non disponibile|Niet op voorraad",
        ),
        (
            "out_of_stock",
            "Slut i lager|Udsolgt|Utsolgt|Produkt niedostępny|Není skladem|Nie je skladom|Esgotado",
        ),
        (
            "out_of_stock",
            "Stoc epuizat|Nincs raktáron|Ei saatavilla|Нет в наличии|品切れ|0 in stock|Stock: 0|false",
        ),
        (
            "out_of_stock",
            "http://schema.org/OutOfStock/|SoldOut|Discontinued|Notify me when back in stock|no disponible",
        ),
        (
            "out_of_stock",
            "This item is currently not available|No longer available|Brak w magazynie|Tillfälligt slut",
        ),
        ("backorder", "schema:PreOrder|BackOrder|Out of stock - available on backorder|Vorbestellbar"),
    ],
)
def test_phrases_of_many_languages_say_whether_it_can_be_had(status: str, phrases: str) -> None:
    read = {phrase: read_availability(phrase, {}).status for phrase in phrases.split("|")}
    assert read == dict.fromkeys(phrases.split("|"), status)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("ships in 3-5 days", 5),
        ("Lieferzeit 2 Wochen", 14),
        ("Lieferzeit: ca. 3-5 Werktage", 5),
        ("Expédié sous 48h", 2),
        ("Usually dispatched within 2 to 3 weeks", 21),
        ("Available in 3 weeks", 21),
        ("Not in stock, ships in 3 weeks", 21),
        ("Dodání do 3 dnů", 3),
        ("Wysyłka w 24h", 1),
        ("2-3 Werktage", 3),
        ("delivery in 2 months", 60),
        ("Levertijd 2 weken", 14),
    ],
)
def test_a_lead_time_is_told_in_days_its_later_end(text: str, days: int) -> None:
    assert read_availability(text, {}) == AvailabilityValue("lead_time", days)


def test_the_rules_own_words_come_first() -> None:
    assert read_availability("Auf Lager (Zentrallager)", {"zentrallager": "backorder"}).status == "backorder"
    assert read_availability("???", {"??": "unknown"}).status == "unknown"


@pytest.mark.parametrize(
    ("text", "code"),
    [("hello world", "EXTRACT_PARSE_ERROR"), ("In stock online, out of stock in store", "EXTRACT_AMBIGUOUS")],
)
def test_a_text_that_says_nothing_or_both_is_an_error_not_a_guess(text: str, code: str) -> None:
    with pytest.raises(CheckFailure) as caught:
        read_availability(text, {})
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "Updated 3 minutes ago",
        "vor 3 Minuten",
        "il y a 2 h",
        "hace 5 minutos",
        "3分前",
        "5m ago",
        "an hour ago",
        "1 hour, 5 minutes ago",
        "před 3 minutami",
        "3 minuty temu",
        "2 saat önce",
        "5 минут назад",
        "för 3 timmar sedan",
        "pred 2 hodinami",
        "acum 3 ore",
        "a few seconds ago",
        "about 2 hours ago",
        "3 giorni fa",
        "há 2 horas",
        "3 dage siden",
        "3 tuntia sitten",
        "3 weken geleden",
        "10 perccel ezelőtt",
        "3 min ago 4 min ago",
        "yesterday",
        "just now",
    ],
)
def test_relative_times_are_noise(text: str) -> None:
    assert "⌚" in neutralise(text, TEXT)
    assert not any(char.isdigit() for char in neutralise(text, TEXT))


@pytest.mark.parametrize("text", ["4 Door Sedan", "Ships in 3 days", "buy 3 for 2", "iPhone 13"])
def test_other_numbers_are_news(text: str) -> None:
    assert neutralise(text, TEXT) == text


def test_white_space_case_and_invisible_characters_are_noise_where_asked() -> None:
    loud = Normalization(kind="text", ignore_case=True)
    assert neutralise(" A\u200bB\u00a0\n c\u0301", loud) == neutralise("ab ć", loud)
    exact = Normalization(kind="text", ignore_whitespace=False)
    assert neutralise("a  b", exact) != neutralise("a b", exact)


def test_a_long_text_is_shown_bounded_and_hashed_whole() -> None:
    one, other = (normalise(Extracted(raw="x" * 50_000 + end), TEXT).value for end in "ab")
    assert isinstance(one, TextValue)
    assert isinstance(other, TextValue)
    assert len(one.text) == 8000
    assert one.hash != other.hash


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("1,234 reviews", "1234", "reviews"),
        ("1.2k followers", "1200", "followers"),
        ("3,4 Mio. Euro", "3400000", "Euro"),
        ("-5 °C", "-5", "°C"),
        ("12 %", "12", "%"),
        ("80 km/h", "80", "km/h"),
        ("4.567", "4.567", None),
        ("1.5e-7", "0.00000015", None),
        ("Published 15.08.2017: 42 pages", "42", "pages"),
    ],
)
def test_a_number_is_read_with_its_unit(text: str, number: str, unit: str | None) -> None:
    assert normalise(Extracted(raw=text), Normalization(kind="number")).value == NumberValue(
        Decimal(number), unit
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_key_order_never_matters(value: object) -> None:
    def turned(part: object) -> object:
        if isinstance(part, dict):
            return {key: turned(part[key]) for key in reversed(part)}
        return [turned(item) for item in part] if isinstance(part, list) else part

    text = canonical(json.dumps(value))
    assert canonical(json.dumps(turned(value), indent=2)) == text
    assert json.loads(text) == value


def test_json_numbers_are_exact() -> None:
    assert canonical('{"b":1.0,"a":[1e2,0.10,-0]}') == '{"a":[100,0.1,0],"b":1}'
    assert canonical("123456789012345678901234567890.123") == "123456789012345678901234567890.123"
    assert canonical("1e999999999") == "1e999999999"


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', "NaN", "[Infinity]", "[" * 100_000, "{", "", "[[" * 40 + "]]" * 40]
)
def test_what_is_not_strict_json_is_refused(text: str) -> None:
    with pytest.raises(CheckFailure) as caught:
        canonical(text)
    assert caught.value.code == "EXTRACT_PARSE_ERROR"


def test_values_have_the_json_shapes_and_words_of_the_command_line() -> None:
    assert value_json(PriceValue(Decimal("129.99"), "EUR")) == {"amount": "129.99", "currency": "EUR"}
    assert value_json(AvailabilityValue("in_stock")) == {"status": "in_stock", "lead_time_days": None}
    assert value_json(NumberValue(Decimal("12.5"))) == {"number": "12.5", "unit": None}
    assert value_json(JsonValue('{"a":[1,0.1]}')) == {"a": [1, 0.1]}
    assert describe(PriceValue(Decimal("129.99"), "EUR")) == "129.99 EUR"
    assert describe(AvailabilityValue("in_stock")) == "in stock"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_a_state_survives_storage_exactly(amount: Decimal) -> None:
    state = RuleState(stable=PriceValue(amount, "EUR"), candidate=NumberValue(amount, "%"))
    assert msgspec.json.decode(msgspec.json.encode(state), type=RuleState) == state
