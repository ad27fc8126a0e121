"""From a stored alert to words and JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from sentinel.model import AvailabilityValue, Document, JsonValue, NumberValue, PriceValue, TextValue
from sentinel.render import describe, document, to_json, to_text
from sentinel.render.payload import MAX_BODY
from sentinel.render.samples import SAMPLES, SampleKind, sample
from sentinel.render.text import MAX_LINES, MAX_WIDTH

BODY: dict[str, Any] = {
    "rule": "Widget",
    "url": "https://shop.example.com/widget",
    "fields": [
        {
            "name": "price",
            "before": {"amount": "149.99", "currency": "EUR"},
            "after": {"amount": "129.99", "currency": "EUR"},
        }
    ],
    "change": {"kind": "decreased", "percent": "-13.334222"},
    "conditions": [{"condition": "drop", "severity": "warning"}],
}


def made(body: dict[str, Any] = BODY, **other: Any) -> Document:
    columns: dict[str, Any] = {
        "alert_id": "al_1",
        "workspace_id": "acme",
        "rule_id": "widget-price",
        "kind": "change",
        "severity": "warning",
        "title": "Widget: price fell",
        "occurred_at": 1_764_000_000.25,
    }
    return document(**columns | other, body=body)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        ("as it is", "as it is"),
        (PriceValue(Decimal("129.99"), "EUR"), "129.99 EUR"),
        ({"amount": "5", "currency": None}, "5"),
        (AvailabilityValue("out_of_stock"), "out of stock"),
        (AvailabilityValue("lead_time", 5), "available later, 5 days"),
        ({"status": "lead_time", "lead_time_days": 1}, "available later, 1 day"),
        (NumberValue(Decimal("12.5"), "%"), "12.5 %"),
        (TextValue("hello", "00"), "hello"),
        (JsonValue('{"a":1}'), '{"a":1}'),
        ([1, "two", None], '[1,"two",null]'),
    ],
)
def test_a_value_is_described_in_the_words_people_use(value: object, words: str) -> None:
    assert describe(value) == words


def test_a_change_as_text_says_what_was_and_what_is_why_and_where() -> None:
    assert to_text(made()) == (
        "ALERT warning: Widget: price fell\n"
        "  price    149.99 EUR -> 129.99 EUR (-13.3 %)\n"
        "  because  drop (warning)\n"
        "  rule     Widget\n"
        "  page     https://shop.example.com/widget\n"
        "  alert    al_1\n"
        "  at       2025-11-24T16:00:00.250Z\n"
    )


def test_a_change_as_json_has_the_documented_shape() -> None:
    assert json.loads(to_json(made())) == {
        "type": "alert.change",
        "timestamp": "2025-11-24T16:00:00.250Z",
        "data": {
            "alertId": "al_1",
            "workspaceId": "acme",
            "ruleId": "widget-price",
            "rule": "Widget",
            "severity": "warning",
            "title": "Widget: price fell",
            "summary": "price: 149.99 EUR -> 129.99 EUR (-13.3 %)",
            "url": "https://shop.example.com/widget",
            "change": {"kind": "decreased", "percent": "-13.334222"},
            "fields": BODY["fields"],
            "conditions": [{"id": "drop", "severity": "warning"}],
            "health": None,
            "occurredAt": "2025-11-24T16:00:00.250Z",
            "truncated": False,
        },
    }


def test_the_same_alert_is_the_same_bytes_every_time() -> None:
    assert to_json(made()) == to_json(made())


def test_a_broken_rule_says_what_is_wrong_and_what_to_do() -> None:
    alert = made(
        {
            "rule": "Widget",
            "url": BODY["url"],
            "code": "EXTRACT_SELECTOR_NOT_FOUND",
            "detail": ".price",
            "recommendation": "Look at the page.",
        },
        kind="health",
        severity="critical",
        title="Widget is broken",
    )

    text, data = to_text(alert), json.loads(to_json(alert))
    assert text.startswith("HEALTH critical: Widget is broken\n")
    assert "to do   Look at the page." in text
    assert data["type"] == "alert.health"
    assert data["data"]["health"] == {
        "code": "EXTRACT_SELECTOR_NOT_FOUND",
        "detail": ".price",
        "recommendation": "Look at the page.",
    }
    assert data["data"]["change"] is None


def test_long_texts_are_told_by_their_difference() -> None:
    before = "The quick brown fox jumps over the lazy dog. " * 3 + "It was Monday."
    alert = made(
        {
            "fields": [
                {
                    "name": "text",
                    "before": {"text": before, "hash": "0"},
                    "after": {"text": before.replace("Monday", "Tuesday"), "hash": "1"},
                }
            ]
        }
    )

    assert "[-Monday-]{+Tuesday+}." in to_text(alert)


HOSTILE_TEXTS = [
    '<a href="javascript:alert(1)">price</a> in a diff',
    "\u202eمtxt.exe bidi override in a title",
    "[click](javascript:alert(1))",
    "ok\n2026-01-01 ERROR forged line",
    "\x1b[2J\x1b[H\x1b]0;owned\x07ALERT info: all is well",
    "\ud800",
    "{{ config }} %s {0} ${PATH} `id`",
    "@everyone <!channel>",
    "x" * 100_000,
    "\n" * 1000 + "deep",
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_text_of_a_page_stays_one_alert_on_one_screen_wherever_it_stands(text: str) -> None:
    body = {
        "rule": text,
        "url": text,
        "fields": [{"name": text, "before": text, "after": {"text": text, "hash": "0"}}] * 100,
        "change": {"kind": text, "percent": text},
        "conditions": [{"condition": text, "severity": text}, text],
        "code": text,
        "detail": text,
        "recommendation": text,
    }
    alert = made(body, title=text)

    shown = to_text(alert)
    lines = shown.splitlines()
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= MAX_WIDTH
    assert lines[0].startswith("ALERT warning: ")
    assert all(line.startswith("  ") for line in lines[1:])
    assert not set(shown) & set("\x1b\x07\u202e\x00")
    assert shown.count("\n") == len(lines)
    assert alert.link == ""
    sent = to_json(alert)
    assert len(sent) <= MAX_BODY
    assert not set(str(json.loads(sent))) & set("\x1b\x07\u202e\x00")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fields": "no list", "change": [], "conditions": 7, "rule": {"a": 1}, "url": 5},
        {"fields": [None, 3, {"name": None}, {}], "conditions": [None, {}], "change": {"percent": "NaN"}},
        {"change": {"kind": "increased", "percent": "1E+999999"}, "fields": [{}]},
    ],
)
def test_an_odd_stored_alert_is_still_told(body: dict[str, Any]) -> None:
    alert = made(body)

    assert to_text(alert).startswith("ALERT warning: Widget: price fell\n")
    assert json.loads(to_json(alert))["data"]["alertId"] == "al_1"


def test_a_body_too_large_is_cut_and_says_so() -> None:
    long = {"text": "ž" * 16_000, "hash": "0"}
    alert = made({"fields": [{"name": f"f{i}", "before": None, "after": long} for i in range(10)]})

    sent = to_json(alert)
    data = json.loads(sent)["data"]
    assert len(sent) <= MAX_BODY
    assert data["truncated"] is True
    assert len(data["fields"]) == 10
    assert data["fields"][0]["after"]["text"].endswith("… [truncated, 16000 characters in all]")


def test_a_body_that_no_cutting_makes_fit_goes_without_its_fields() -> None:
    rows = {"rows": {f"{i}" * 30: {"c" * 150 + str(j): "v" for j in range(200)} for i in range(10, 200)}}
    alert = made({"fields": [{"name": "rows", "before": rows, "after": rows}]})

    sent = to_json(alert)
    assert len(sent) <= MAX_BODY
    assert json.loads(sent)["data"]["fields"] == []
    assert json.loads(sent)["data"]["truncated"] is True


DIGEST: dict[str, Any] = {
    "members": [
        {
            "title": "Widget\x1b[31m: price fell",
            "rule": "Widget",
            "url": "https://shop.example.com/widget",
            "before": {"amount": "149.99", "currency": "EUR"},
            "after": {"amount": "129.99", "currency": "EUR"},
        },
        {"title": "Terms changed", "url": "javascript:alert(1)"},
        "not a member",
    ],
    "more": 3,
}


def test_a_digest_holds_its_members_cleaned_and_counts_the_rest() -> None:
    digest = made(DIGEST, kind="digest", title="5 alerts")

    assert [member.title for member in digest.members] == ["Widget: price fell", "Terms changed"]
    assert [member.link for member in digest.members] == ["https://shop.example.com/widget", ""]
    assert (digest.more, digest.summary) == (3, "5 alerts")
    many = made({"members": DIGEST["members"][:1] * 80, "more": True}, kind="digest")
    assert (len(many.members), many.more) == (50, 30)


def test_a_digest_as_json_holds_its_members_and_fits() -> None:
    body = json.loads(to_json(made(DIGEST, kind="digest")))

    assert body["type"] == "alert.digest"
    assert body["data"]["more"] == 3
    assert body["data"]["members"][1] == {
        "title": "Terms changed",
        "rule": "",
        "url": "",
        "before": None,
        "after": None,
    }
    huge = {"members": [dict(DIGEST["members"][0], before="x" * 9999, after="y" * 9999)] * 50}
    assert len(to_json(made(huge, kind="digest"))) <= MAX_BODY


def test_rows_of_a_list_are_in_the_document_and_in_the_json() -> None:
    field = {
        "name": "products",
        "before": {"canonical": '[{"id":"a","price":5}]'},
        "after": {"canonical": '[{"id":"a","price":6},{"id":"b","price":1}]'},
    }
    alert = made(BODY | {"fields": [field]})

    assert alert.summary == "products: 1 row changed, 1 added"
    rows = json.loads(to_json(alert))["data"]["fields"][0]["rows"]
    assert (rows["changed"], rows["added"], rows["removed"], rows["moved"]) == (1, 1, 0, 0)
    assert rows["changes"][0] == {
        "kind": "changed",
        "key": "a",
        "cells": [{"name": "price", "before": "5", "after": "6"}],
    }


def test_ten_thousand_rows_fit_into_the_json() -> None:
    rows = [{"id": n, "text": "\u20ac" * 300, "more": "x" * 300} for n in range(5000)]
    before, after = (
        {"canonical": json.dumps(side, ensure_ascii=False)} for side in (rows[:2500], rows[2500:])
    )

    body = to_json(made({"fields": [{"name": f"f{n}", "before": before, "after": after} for n in range(3)]}))

    assert len(body) <= MAX_BODY
    assert json.loads(body)["data"]["fields"][0]["rows"]["added"] == 2500


def test_a_digest_as_text_has_a_line_for_each_member() -> None:
    assert to_text(made(DIGEST, kind="digest", title="5 alerts", severity="info")) == (
        "DIGEST info: 5 alerts\n"
        "  alert  Widget: price fell  https://shop.example.com/widget\n"
        "  alert  Terms changed\n"
        "  ...    and 3 more\n"
        "  rule   widget-price\n"
        "  alert  al_1\n"
        "  at     2025-11-24T16:00:00.250Z\n"
    )


def test_rows_as_text_are_a_line_each() -> None:
    field = {"name": "products", "before": [{"id": "a", "p": 5}], "after": [{"id": "a", "p": 6}, {"id": "b"}]}

    assert to_text(made({"fields": [field]})).splitlines()[1:4] == [
        "  products  1 row changed, 1 added",
        "            changed a: p 5 -> 6",
        "            added b: id b",
    ]


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_kind_of_alert_is_one_screen_of_text(kind: SampleKind) -> None:
    lines = to_text(sample(kind)).splitlines()

    assert 2 < len(lines) <= MAX_LINES
