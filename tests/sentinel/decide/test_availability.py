"""Whether a thing can be had: what is said beside a phrase, how many there are, and the rule's own words."""

from __future__ import annotations

import pytest

from sentinel.decide.availability import is_phrase, read_availability
from sentinel.errors import CheckFailure
from sentinel.model import AvailabilityStatus

#: By what they say; apart by `|`.
TEXTS = {
    "in_stock": (
        "In stock|Only 2 left in stock - order soon|Available now|Available until 12.12.2027|"
        "verfügbar ab sofort|ab sofort verfügbar|Available from $10|lieferbar ab 9,99 €|"
        "Lieferbar ab 10.50 €|Verfügbar ab Lager|In stock (12)|In stock (0 reviews)|"
        "In Stock, soon sold out|Bald ausverkauft|Almost sold out|Presque épuisé|Letzte 3 Stück|残り2点|"
        "仅剩3件|Quedan 2 unidades|¡Últimas 2 unidades!|Ostatnie 2 sztuki|Poslední 2 kusy|Posledné kusy|"
        "Осталось 2 шт.|Son 3 ürün|Még raktáron|Not sold out|Available in blue|3 of 20 available|"
        "snel leverbaar|Auf Lager: 5 Stück|Stock: 12|Available: 5|In stock: 5 pcs|Zbývají 3 kusy|"
        "Kun 2 tilbage|Endast 2 kvar|Vain 3 jäljellä|Plus que 2 en stock|"
        "Il ne reste plus que 3 articles|Ne restano solo 2|Restam 2 unidades|"
        "In stock - order by 12 March|Auf Lager, Lieferung ab 01.12.|In stock. Ships from 12 March|"
        "Available since 1 March|In stock as of 24 Nov 2026|有库存|재고 있음"
    ),
    "out_of_stock": (
        "In Stock (0)|In stock: 0|Available: 0|Available: 0 pcs|0 left|0 of 20 in stock|Verfügbar: 0|"
        "Disponible (0)|Auf Lager: nein|Available: No|Skladem: ne|En stock : non|"
        "Bald wieder verfügbar|Bald verfügbar|Demnächst wieder lieferbar|Available soon|"
        "Soon available|soon back in stock|In stock again soon|More in stock soon|Bientôt disponible|"
        "Bientôt de nouveau disponible|Disponible prochainement|Disponible pronto|"
        "Próximamente disponible|Presto disponibile|Disponibile a breve|Disponível em breve|"
        "Binnenkort weer op voorraad|Snart i lager|Snart tillgänglig|Pian saatavilla|Wkrótce dostępny|"
        "Brzy skladem|Čoskoro na sklade|Hamarosan kapható|Uskoro dostupno|Скоро в наличии|"
        "Незабаром в наявності|yakında mevcut|We're sold out, but more in stock soon|"
        "Will be available|Wird wieder verfügbar sein|ไม่มีสินค้า|无库存|没有库存|販売終了|無庫存|Bientôt de retour|"
        "Vuelve pronto|Quedan 0 unidades|在庫：0|库存: 0|残り0点|재고 0개"
    ),
    "lead_time": (
        "Verfügbar ab 12.12.2027|Available from 1 March|Auf Lager ab 01.12.|"
        "Wieder verfügbar ab Dezember|Ab 01.12. wieder verfügbar|Disponible à partir du 3 mars|"
        "Disponible dès le 3 mars|Disponible a partir del 3 de marzo|Disponible desde el 3 de marzo|"
        "Disponibile dal 12 marzo|Disponibile dal 12/03/2027|Disponível a partir de 3 de março|"
        "Op voorraad vanaf 12 maart|Vanaf 12 maart leverbaar|Skladem od 1. 12.|Na sklade od 1.12.2026|"
        "Dostępny od 12 grudnia|I lager från 12 mars|Tilgjengelig fra 12. mars|"
        "Disponibil din 12 martie|Available on 12 March 2027|Wieder verfügbar am 12.12.|"
        "Available again on 12/12/2027|Back in stock on March 12|Expected back in stock 12 March|"
        "Available: 12.12.2027|В наличии с 12 декабря|Доступно з 12 грудня|Available from March 2027|"
        "Available from next week|lieferbar ab KW 12|In stock (from 12 March)|"
        "Available soon: 12 March|Dostępny w ciągu 3 dni|Available from 2027-03-01|"
        "saatavilla 1.12. alkaen|Available starting December 12, 2027|"
        "Sold out. Available from 12 March"
    ),
    "backorder": ("入荷待ち|Vorbestellbar, lieferbar ab 12.12."),
    "EXTRACT_PARSE_ERROR": ("Quedan 2 días|Noch 3 Tage|only 2 days|Осталось 2 дня|Last 30 days|Rated only 2"),
}


def said(text: str, mapping: dict[str, AvailabilityStatus] | None = None) -> str:
    """The status, or the code of the error."""
    try:
        return read_availability(text, mapping or {}).status
    except CheckFailure as failure:
        return failure.code


@pytest.mark.parametrize("status", TEXTS)
def test_soon_from_a_day_on_and_none_of_it_are_not_in_stock(status: str) -> None:
    read = {text: said(text) for text in TEXTS[status].split("|")}
    assert {text: one for text, one in read.items() if one != status} == {}


@pytest.mark.parametrize(
    ("text", "mapping", "status"),
    [
        ("Currently unavailable", {"available": "in_stock"}, "out_of_stock"),
        ("Nicht verfügbar", {"verfügbar": "in_stock", "ausverkauft": "out_of_stock"}, "out_of_stock"),
        ("Derzeit leider nicht lieferbar", {"lieferbar": "lead_time"}, "out_of_stock"),
        ("Bald wieder verfügbar", {"verfügbar": "in_stock"}, "out_of_stock"),
        ("Available: 0", {"available": "in_stock"}, "out_of_stock"),
        ("Zentrallager", {"lager": "in_stock"}, "EXTRACT_PARSE_ERROR"),
        ("Not available here. Now available at X", {"available": "backorder"}, "backorder"),
        ("IN-STOCK!", {"in stock": "backorder"}, "backorder"),
        ("ships next week!", {"ships next week": "lead_time"}, "lead_time"),
        ("今日有货", {"有货": "backorder"}, "backorder"),
        ("没有货", {"有货": "in_stock"}, "out_of_stock"),
        ("現在在庫なし", {"在庫": "in_stock"}, "out_of_stock"),
        ("???", {"??": "unknown"}, "unknown"),
    ],
)
def test_a_rules_own_words_are_whole_words_and_not_negated(
    text: str, mapping: dict[str, AvailabilityStatus], status: str
) -> None:
    assert said(text, mapping) == status


def test_a_phrase_with_its_day_is_a_phrase_and_nothing_else() -> None:
    assert is_phrase("Bald wieder verfügbar")
    assert is_phrase("Verfügbar ab 12.12.2027")
    assert not is_phrase("Available soon in blue")


@pytest.mark.parametrize(
    "piece",
    ["available from ", "soon be back in stock again ", "12. 12.", "1 of ", "last 22 ", "in stock (0 "],
)
def test_a_hostile_text_is_read_to_its_end(piece: str) -> None:
    assert said(piece * 20_000, {"again": "in_stock"})
