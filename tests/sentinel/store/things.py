"""Rules, verdicts and files as these tests need them, and a look at every row there is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from sentinel.model import (
    AlertDraft,
    AlertPolicy,
    Change,
    Channel,
    Extraction,
    PriceValue,
    Rule,
    RulesFile,
    RuleState,
    Schedule,
    Verdict,
    Workspace,
)
from sentinel.store import RunResult, RunTicket, Store
from sentinel.store.tables import metadata

#: Seconds since the epoch, with a fraction that a float of milliseconds would lose.
NOW = 1_764_000_000.123456
HOUR = 3600.0
EUR_100 = PriceValue(amount=Decimal("100.00"), currency="EUR")
EUR_90 = PriceValue(amount=Decimal("90.10"), currency="EUR")


def a_rule(rule_id: str = "widget", **fields: Any) -> Rule:
    return Rule(
        **{
            "id": rule_id,
            "url": f"https://shop.example/{rule_id}",
            "type": "price",
            "extraction": Extraction(method="css", selector=".price"),
            "schedule": Schedule(interval_seconds=3600),
            "alert_policy": AlertPolicy(channels=["ops"]),
            **fields,
        }
    )


def a_file(*rules: Rule, workspace: str = "acme", **space: Any) -> RulesFile:
    return RulesFile(
        workspace=Workspace(**{"id": workspace, "timezone": "Europe/Bratislava", **space}),
        channels=[Channel(id="ops", type="console"), Channel(id="boss", type="console")],
        rules=list(rules or [a_rule()]),
    )


async def load(store: Store, *rules: Rule, due: float = NOW, **space: Any) -> None:
    await store.import_rules(a_file(*rules, **space), now=NOW, first_due=lambda _: due)


def an_alert(key: str = "widget:drop", **fields: Any) -> AlertDraft:
    return AlertDraft(
        **{
            "kind": "change",
            "severity": "warning",
            "title": "widget is cheaper",
            "body": {"rule": "widget", "fields": [{"name": "price", "after": {"amount": "90.10"}}]},
            "dedupe_key": key,
            "channels": ("ops", "boss"),
            "conditions": ("drop",),
            **fields,
        }
    )


def a_verdict(*alerts: AlertDraft, **state: Any) -> Verdict:
    return Verdict(
        state=RuleState(**{"stable": EUR_90, "stable_raw": "90,10 €", "last_run_at": NOW, **state}),
        value=EUR_90,
        change=Change(kind="decreased", before=EUR_100, after=EUR_90, percent=Decimal("-9.9")),
        confirmed=True,
        alerts=alerts,
    )


GOOD = RunResult(
    mode="http",
    http_status=200,
    final_url="https://shop.example/widget?a=1",
    bytes=1234,
    timings={"fetch": 0.25},
    content_hash="ab" * 32,
    selector_index=0,
)


async def begin(store: Store, job_id: str = "job-1", fence: int = 1, rule_id: str = "widget") -> RunTicket:
    return await store.begin_run(rule_id, job_id, fence, "schedule", NOW)


async def finish(store: Store, ticket: RunTicket, verdict: Verdict, **more: Any) -> Any:
    return await store.finish_run(
        ticket,
        more.pop("result", GOOD),
        verdict,
        "90,10 €",
        **{"expected_state_version": ticket.stored.state.version, "now": NOW + 1, **more},
    )


async def raised_alert(store: Store, **fields: Any) -> str:
    """The id of an alert that a finished run raised."""
    finished = await finish(store, await begin(store), a_verdict(an_alert(**fields)))
    alert_id: str = finished.alerts[0]
    return alert_id


async def every_row(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """The whole database, table by table."""
    found = {}
    async with store._database.reading() as connection:
        for table in metadata.sorted_tables:
            rows = await connection.execute(sa.select(table))
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found
