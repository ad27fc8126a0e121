"""Alerts of every kind, made up: to look at a channel's form, and to try a template before it is needed."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

from sentinel.model import Document
from sentinel.render.document import document

# `Any` is JSON, as sentinel.decide writes it.

SampleKind = Literal["price", "availability", "text", "rows", "health", "recovery", "digest"]
SAMPLES: Final[tuple[SampleKind, ...]] = get_args(SampleKind)

#: 1 January 2026, 00:05 UTC.
_AT: Final = 1_767_225_900.0
_PAGE: Final = "https://shop.example.com/widget"

_TERMS: Final = (
    "You may return what you bought within 30 days. Unopened goods are refunded in full. "
    "Shipping is free for orders over 50 EUR; below that it costs 4.90 EUR. "
    "Parcels leave our warehouse within two working days."
)
_NEW_TERMS: Final = (
    "You may return what you bought within 14 days. Unopened goods are refunded in full. "
    "Shipping is free for orders over 75 EUR; below that it costs 4.90 EUR. "
    "Parcels leave our warehouse within two working days. Gift cards are not refunded."
)
_ROWS: Final = [
    {"sku": "W-1", "name": "Widget", "price": "149.99", "stock": 12},
    {"sku": "W-2", "name": "Widget Pro", "price": "219.00", "stock": 0},
    {"sku": "W-3", "name": "Widget Mini", "price": "89.00", "stock": 40},
]
_NEW_ROWS: Final = [
    {"sku": "W-1", "name": "Widget", "price": "129.99", "stock": 9},
    {"sku": "W-3", "name": "Widget Mini", "price": "89.00", "stock": 40},
    {"sku": "W-4", "name": "Widget Max", "price": "349.00", "stock": 5},
]


def _change(name: str, before: Any, after: Any, kind: str, percent: str | None = None) -> dict[str, Any]:
    return {
        "rule": "Widget at Example",
        "url": _PAGE,
        "fields": [{"name": name, "before": before, "after": after}],
        "change": {"kind": kind, "percent": percent},
        "conditions": [{"condition": "moved", "severity": "warning"}],
    }


_OLD_PRICE: Final = {"amount": "149.99", "currency": "EUR"}
_NEW_PRICE: Final = {"amount": "129.99", "currency": "EUR"}

_BODIES: Final[dict[SampleKind, tuple[str, dict[str, Any]]]] = {
    "price": (
        "Widget at Example: 149.99 EUR -> 129.99 EUR",
        _change("price", _OLD_PRICE, _NEW_PRICE, "decreased", "-13.33"),
    ),
    "availability": (
        "Widget at Example: out of stock -> in stock",
        _change(
            "availability",
            {"status": "out_of_stock", "lead_time_days": None},
            {"status": "in_stock", "lead_time_days": None},
            "status_change",
        ),
    ),
    "text": (
        "Terms of Example: the text changed",
        _change("text", {"text": _TERMS, "hash": "1"}, {"text": _NEW_TERMS, "hash": "2"}, "text_diff"),
    ),
    "rows": (
        "Products of Example: 1 row changed, 1 added, 1 removed",
        _change("json_field", _ROWS, _NEW_ROWS, "rows_changed"),
    ),
    "health": (
        "Widget at Example: not watching: The selector finds nothing",
        {
            "rule": "Widget at Example",
            "url": _PAGE,
            "code": "EXTRACT_SELECTOR_NOT_FOUND",
            "detail": "css .price matches nothing on the page",
            "recommendation": "Open the page, pick the element again and correct the selector.",
        },
    ),
    "recovery": ("Widget at Example: watching again", {"rule": "Widget at Example", "url": _PAGE}),
    "digest": (
        "5 alerts",
        {
            "members": [
                {
                    "title": "Widget at Example: 149.99 EUR -> 129.99 EUR",
                    "rule": "Widget at Example",
                    "url": _PAGE,
                    "before": _OLD_PRICE,
                    "after": _NEW_PRICE,
                },
                {
                    "title": "Gadget at Example: out of stock -> in stock",
                    "rule": "Gadget at Example",
                    "url": "https://shop.example.com/gadget",
                    "before": {"status": "out_of_stock", "lead_time_days": None},
                    "after": {"status": "in_stock", "lead_time_days": None},
                },
            ],
            "more": 3,
        },
    ),
}


def sample(kind: SampleKind) -> Document:
    """A made-up alert of that kind."""
    title, body = _BODIES[kind]
    told: dict[str, Literal["health", "recovery", "digest"]] = {
        "health": "health",
        "recovery": "recovery",
        "digest": "digest",
    }
    return document(
        alert_id="7",
        workspace_id="acme",
        rule_id="widget",
        kind=told.get(kind, "change"),
        severity="info" if kind == "recovery" else "warning",
        title=title,
        body=body,
        occurred_at=_AT,
    )
