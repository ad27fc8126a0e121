"""Every channel's payload, of real alerts of every kind, against what that service documents.

Run with -s: a line a channel says how many were accepted and how near to its limits they came.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from sentinel.channels import Sender
from sentinel.decide import judge, judge_failure
from sentinel.decide.jsonfield import canonical
from sentinel.decide.text import read_text
from sentinel.model import (
    AlertDraft,
    AlertPolicy,
    AvailabilityValue,
    Channel,
    Condition,
    Document,
    Extraction,
    JsonValue,
    PriceValue,
    Rule,
    RuleState,
    Value,
)
from sentinel.render import document
from tests.support import receivers
from tests.support.receivers import RECEIVERS, Teams

Senders = Callable[..., Sender]
LeadingTo = Callable[..., Channel]

#: What a page says that wants to be more than text, in one service or another.
HOSTILE = (
    "<!channel> <@U1> @everyone @here [x](javascript:alert(1)) **b** __u__ ~~s~~ ||s|| `c` ```p``` "
    "</b></code><script>a</script> &lt;i&gt; {{DATE(2017-02-14T06:00:00Z)}} https://evil.example/x?a=b "
    "\u202etxt.exe\u202c a\u200bb \x1b]0;title\x07 \x1b[31m 🧑‍🤝‍🧑🇸🇰é \x00\x85\u2028"
)
NAMES = {"plain": "Widget at Example", "hostile": HOSTILE[:299], "long": ("Widget " * 50)[:300]}


def rule(kind: str, name: str, condition: str, value: Any = None) -> Rule:
    return Rule(
        id=f"{kind}-rule",
        name=name,
        url="https://shop.example.com/widget?a=1&b=%22x%22",
        type=kind,  # type: ignore[arg-type] # one of the types
        extraction=Extraction(method="css", selector=".x"),
        alert_policy=AlertPolicy(
            channels=["ops"],
            conditions=[Condition(id="met", type=condition, value=value, severity="critical")],  # type: ignore[arg-type] # one of the conditions
        ),
    )


def change_of(of: Rule, before: Value, after: Value) -> AlertDraft:
    """The alert of a confirmed change, as the judgement makes it."""
    first = judge(of, RuleState(), "", before, now=1.0)
    (alert,) = judge(of, first.state, "", after, now=2.0).alerts
    return alert


def alerts(name: str, page: str) -> dict[str, AlertDraft]:
    """One of every kind, of rules called `name`, on pages that say `page`."""
    price = rule("price", name, "number_changed")
    stock = rule("availability", name, "availability_is", "out_of_stock")
    text = rule("text", name, "text_changed")
    field = rule("json_field", name, "value_changed")
    rows = [{"id": n, "name": page[:200]} for n in range(40)]
    broken = RuleState()
    failed: tuple[AlertDraft, ...] = ()
    while not failed:
        verdict = judge_failure(price, broken, "EXTRACT_SELECTOR_NOT_FOUND", page[:900], now=3.0)
        broken, failed = verdict.state, verdict.alerts
    well = broken
    recovered: tuple[AlertDraft, ...] = ()
    while not recovered:
        verdict = judge(price, well, "", PriceValue(Decimal(1), "EUR"), now=4.0)
        well, recovered = verdict.state, tuple(one for one in verdict.alerts if one.kind == "recovery")
    return {
        "price": change_of(price, PriceValue(Decimal("149.99"), "EUR"), PriceValue(Decimal("129.99"), "EUR")),
        "availability": change_of(stock, AvailabilityValue("in_stock"), AvailabilityValue("out_of_stock")),
        "text": change_of(
            text,
            read_text("The old words. " * 30 + page, text.normal),
            read_text(page + " The new words." * 30, text.normal),
        ),
        "rows": change_of(field, json_of(rows), json_of([*rows[5:], {"id": 99, "name": page[:200]}])),
        "health": failed[0],
        "recovery": recovered[0],
    }


def json_of(rows: list[dict[str, Any]]) -> JsonValue:
    return JsonValue(canonical(json.dumps(rows)))


def documents() -> dict[str, Document]:
    """The documents of all of them, by a name for people."""
    pages = {"plain": "All is well.", "hostile": HOSTILE, "long": HOSTILE * 60}
    found = {}
    for style, name in NAMES.items():
        for kind, alert in alerts(name, pages[style]).items():
            found[f"{kind}, {style}"] = document(
                alert_id=str(len(found) + 1),
                workspace_id="acme",
                rule_id=f"{kind}-rule",
                kind=alert.kind,
                severity=alert.severity,
                title=alert.title,
                body=alert.body,
                occurred_at=1_764_000_000.0,
            )
    return found


@pytest.mark.parametrize("kind", RECEIVERS)
async def test_every_payload_is_by_the_services_schema_and_limits(
    kind: str, sender_of: Senders, leading_to: LeadingTo
) -> None:
    told = documents()
    async with receivers.opened(RECEIVERS[kind]) as service:
        channel, sender = leading_to(service), sender_of(kind)
        for number, words in enumerate(told.values()):
            await sender.send(channel, words, message_id=f"job-{number}:ops")

        sizes = [len(request.body) for request in service.requests]
        print(
            f"{kind:<10} {len(service.accepted)} of {len(told)} accepted, {len(service.refused)} refused; "
            f"bytes {min(sizes)} to {max(sizes)}"
        )
        assert service.refused == []
        assert len(service.accepted) == len(told)
        if isinstance(service, Teams):
            assert service.lost == []


def test_the_alerts_are_of_every_kind_and_some_are_cut() -> None:
    told = documents()

    assert {words.kind for words in told.values()} == {"change", "health", "recovery"}
    assert len(told) == 18
