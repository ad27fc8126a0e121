"""What changes on pages by itself is no change: real-looking pairs, by cause; and what must stay a change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.decide.noise import without_noise
from sentinel.decide.normalise import normalise
from sentinel.decide.values import same
from sentinel.model import Extracted, Normalization, Value

#: Cause, options of the normalization, before, after.
NOISE = [
    ("format", {"kind": "price"}, "129,99 €", "€ 129.99"),
    ("format", {"kind": "price"}, "1 299,00 Kč", "1 299 Kč"),
    ("format", {"kind": "price"}, "EUR 129.99", "129.99 EUR"),
    ("format", {"kind": "number"}, "12,50 kg", "12.5 kg"),
    ("format", {"kind": "availability"}, "In stock", "https://schema.org/InStock"),
    ("format", {"kind": "date"}, "24. November 2026", "2026-11-24"),
    ("format", {"kind": "date"}, "2026-11-24T10:00:00+01:00", "2026-11-24T09:00:00Z"),
    ("white space", {"kind": "text"}, "Fish  and\n chips", "Fish and\u00a0chips"),
    ("white space", {"kind": "text"}, "In\u200b stock", "In stock"),
    ("case", {"kind": "text", "ignore_case": True}, "SOLD OUT", "Sold out"),
    ("case", {"kind": "availability"}, "SOLD OUT", "Sold out"),
    ("relative time", {"kind": "text"}, "Posted 3 minutes ago by Ann", "Posted 4 minutes ago by Ann"),
    ("relative time", {"kind": "text"}, "vor 3 Minuten geprüft", "vor einer Stunde geprüft"),
    ("relative time", {"kind": "text"}, "Pridané pred 3 minútami", "Pridané pred 2 hodinami"),
    ("relative time", {"kind": "text"}, "publié il y a 5 heures", "publié il y a 2 jours"),
    ("relative time", {"kind": "text"}, "hace 3 minutos", "hace un momento"),
    ("relative time", {"kind": "text"}, "3 minuti fa", "5 minuti fa"),
    ("relative time", {"kind": "text"}, "3 godziny temu", "5 godzin temu"),
    ("relative time", {"kind": "text"}, "před 3 minutami", "před 2 hodinami"),
    ("relative time", {"kind": "text"}, "5 минут назад", "2 часа назад"),
    ("relative time", {"kind": "text"}, "3分前", "1時間前"),
    ("relative time", {"kind": "list"}, "Ann, 3 minutes ago\nBob", "Ann, 9 minutes ago\nBob"),
    ("order", {"kind": "list"}, "Red\nGreen\nBlue", "Blue\nRed\nGreen"),
    ("order", {"kind": "text"}, "Red shoes\nBlue hats", "Blue hats\nRed shoes"),
    ("order", {"kind": "json_field"}, '["red","blue",{"a":1}]', '[{"a":1},"blue","red"]'),
    ("key order", {"kind": "json_field"}, '{"a":1,"b":[1,2.50]}', '{"b": [1, 2.5], "a": 1}'),
    ("updated", {"kind": "text", "ignore_updated": True}, "Terms. Last updated: 24 Nov 2026, 10:32 UTC. All.", "Terms. Last updated: 25 Dec 2026, 08:01 UTC. All."),
    ("updated", {"kind": "text", "ignore_updated": True}, "Stand: 24.11.2026, 10:32 Uhr – Preise", "Stand: 1.12.2026, 8:00 Uhr – Preise"),
    ("updated", {"kind": "text", "ignore_updated": True}, "Posledná aktualizácia: 24. novembra 2026 10:15 cena", "Posledná aktualizácia: 1. decembra 2026 9:00 cena"),
    ("updated", {"kind": "text", "ignore_updated": True}, "Dernière mise à jour : mardi 24 novembre 2026 Prix", "Dernière mise à jour : jeudi 3 décembre 2026 Prix"),
    ("updated", {"kind": "text", "ignore_updated": True}, "最終更新日：2026年11月24日 価格", "最終更新日：2026年12月1日 価格"),
    ("counter", {"kind": "text", "ignore_counters": True}, "Widget 1,024 views 12 comments", "Widget 1,031 views 13 comments"),
    ("counter", {"kind": "text", "ignore_counters": True}, "Widget. Views: 999", "Widget. Views: 1000"),
    ("counter", {"kind": "text", "ignore_counters": True}, "12 people are viewing this", "3 people are viewing this"),
    ("counter", {"kind": "text", "ignore_counters": True}, "Článok 3 456 zobrazení", "Článok 3 460 zobrazení"),
    ("token", {"kind": "text"}, "a csrf_token=9f8e7d6c5b4a3210 b", "a csrf_token=00aa11bb22cc33dd b"),
    ("token", {"kind": "text"}, 'nonce="r4nd0mV4lu3=="', 'nonce="0th3rV4lu3xx"'),
    ("token", {"kind": "text"}, "/cart;jsessionid=8F14E45FCEEA167A", "/cart;jsessionid=C9F0F895FB98AB91"),
    ("token", {"kind": "text"}, "Request ID: 550e8400-e29b-41d4-a716-446655440000", "Request ID: 6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ("token", {"kind": "text"}, "sid=1764014400123456 a", "sid=1764014400987654 a"),
    ("relative time", {"kind": "text"}, "for 3 dage siden af Ann", "for 5 dage siden af Ann"),
    ("relative time", {"kind": "text"}, "för 3 timmar sedan", "för 2 dagar sedan"),
    ("relative time", {"kind": "text"}, "prije 5 minuta", "prije 2 sata"),
    ("relative time", {"kind": "text"}, "The auction ends in 12 min", "The auction ends in 3 min"),
    ("tracking", {"kind": "text"}, "https://e.com/a?utm_source=x&id=7", "https://e.com/a?id=7&utm_medium=mail"),
    ("tracking", {"kind": "text"}, "https://e.com/a?fbclid=abc#top", "https://e.com/a#top"),
    ("tracking", {"kind": "list"}, "https://e.com/a?gclid=1\nhttps://e.com/b", "https://e.com/a?gclid=2\nhttps://e.com/b"),
]  # fmt: skip

#: What looks like noise and is none.
NEWS = [
    ({"kind": "price"}, "129,99 €", "129,99 $"),
    ({"kind": "text"}, "Case", "case"),
    ({"kind": "text"}, "Ships in 3 days", "Ships in 5 days"),
    ({"kind": "text"}, "Red shoes, blue hats", "Blue hats, red shoes"),
    ({"kind": "text", "order_matters": True}, "First\nSecond", "Second\nFirst"),
    ({"kind": "list", "order_matters": True}, "First\nSecond", "Second\nFirst"),
    ({"kind": "json_field", "order_matters": True}, "[1,2]", "[2,1]"),
    ({"kind": "json_field"}, '["a","b"]', '["a","c"]'),
    ({"kind": "list"}, "Red\nRed", "Red"),
    ({"kind": "text"}, "Last updated: 24 Nov 2026", "Last updated: 25 Nov 2026"),
    # The stamp, the counter itself is what is watched.
    ({"kind": "text", "ignore_updated": True}, "Last updated: 24 Nov 2026", "Last updated: 25 Nov 2026"),
    ({"kind": "text", "ignore_counters": True}, "1,024 views", "1,025 views"),
    ({"kind": "text", "ignore_updated": True}, "Stand 12 in Halle 3", "Stand 14 in Halle 3"),
    ({"kind": "text", "ignore_counters": True}, "12 rooms left", "3 rooms left"),
    ({"kind": "text"}, "https://e.com/a?id=7", "https://e.com/a?id=8"),
    ({"kind": "text"}, "a session of 3 hours", "a session of 4 hours"),
    ({"kind": "text"}, "Free returns for 30 days.", "Free returns for 14 days."),
    ({"kind": "text"}, "Warranty for 5 years", "Warranty for 2 years"),
    ({"kind": "text"}, "Delivery in 30 min", "Delivery in 90 min"),
    ({"kind": "text"}, "Zľava pre 2 dni", "Zľava pre 5 dni"),
    ({"kind": "list"}, "Rent for 12 months", "Rent for 36 months"),
    ({"kind": "text"}, "Next session: 2026-12-24", "Next session: 2026-12-31"),
    ({"kind": "text"}, "Next session: 20261224T100000Z", "Next session: 20261231T100000Z"),
    ({"kind": "text"}, "Next session: 24-December-2026", "Next session: 31-December-2026"),
    ({"kind": "text"}, "Session: Saturday", "Session: Wednesday"),
    ({"kind": "text"}, "Session: opening-remarks", "Session: closing-remarks"),
    ({"kind": "text"}, "Feature request: accepted.", "Feature request: rejected."),
    ({"kind": "text"}, "Order request: AA-2026-0001", "Order request: AA-2026-0002"),
    ({"kind": "text"}, "Visitor: 1234567890", "Visitor: 1234567891"),
    ({"kind": "date"}, "24 Nov 2026", "25 Nov 2026"),
]


def read(raw: str, options: dict[str, object]) -> Value:
    return normalise(Extracted(raw=raw), Normalization(**options)).value  # type: ignore[arg-type] - from the tables above


@pytest.mark.parametrize(("cause", "options", "before", "after"), NOISE)
def test_noise_is_no_change(cause: str, options: dict[str, object], before: str, after: str) -> None:
    assert same(read(before, options), read(after, options)), cause


@pytest.mark.parametrize(("options", "before", "after"), NEWS)
def test_what_only_looks_like_noise_is_a_change(options: dict[str, object], before: str, after: str) -> None:
    assert not same(read(before, options), read(after, options))


@given(st.text(max_size=200))
def test_nothing_is_taken_from_a_text_without_the_signs_of_noise(text: str) -> None:
    quiet = Normalization(kind="text")
    assert without_noise(text, quiet) == text or "=" in text or ":" in text


@given(st.permutations(["one", "two", "three", "four"]))
def test_lines_in_any_order_are_the_same_text(lines: list[str]) -> None:
    options: dict[str, object] = {"kind": "text"}
    assert same(read("\n".join(lines), options), read("one\ntwo\nthree\nfour", options))


def test_a_hostile_text_takes_no_longer_than_its_length() -> None:
    everything = Normalization(kind="text", ignore_updated=True, ignore_counters=True)
    for piece in ("last updated: ", "1,", "csrf=", "?a=", "views ", "updated on at ", "1 1 ", "?utm_source="):
        assert without_noise(piece * 20_000, everything)
