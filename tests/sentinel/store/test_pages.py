"""Lists are read page by page, each from behind the last row of the one before, whatever they have in common."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from sentinel.store import Place, RunResult, Store
from sentinel.store.tables import alert
from tests.sentinel.store.test_plans import analyze, plan_of
from tests.sentinel.store.things import NOW, a_verdict, begin, finish, load

T = TypeVar("T")


async def all_pages(
    read: Callable[[Place | None], Awaitable[list[T]]], place_of: Callable[[T], Place]
) -> list[T]:
    """Two at a time."""
    found: list[T] = []
    place = None
    while rows := await read(place):
        assert len(rows) <= 2
        found += rows
        place = place_of(rows[-1])
    return found


async def fill_alerts(store: Store, count: int, **columns: Any) -> None:
    """`alert-000000` on, all of one rule and state, three of each time."""
    told = [
        {
            "id": f"alert-{number:06}",
            "workspace_id": "acme",
            "rule_id": "widget",
            "kind": "change",
            "severity": "info",
            "title": "t",
            "body": {},
            "dedupe_key": f"key-{number}",
            "channels": ("ops",),
            "conditions": (),
            "state": "sent",
            "pattern": f"pattern {number % 100}",
            "created_at": NOW + number // 3,
            "updated_at": NOW,
            **columns,
        }
        for number in range(count)
    ]
    async with store._database.writing() as connection:
        await connection.execute(sa.insert(alert), told)


async def test_rows_of_one_time_are_on_one_page_each(store: Store) -> None:
    await load(store)
    for number in range(7):
        ticket = await begin(store, f"job-{number}")
        if number < 5:
            await finish(store, ticket, a_verdict())
        else:
            await store.note_failure(
                "widget", ticket.job_id, 1, RunResult(error_code="SYSTEM_STORE"), ended_at=NOW
            )

    runs = await all_pages(
        lambda place: store.runs("widget", 2, after=place), lambda run: Place(run.started_at, run.run_id)
    )
    failed = await all_pages(
        lambda place: store.runs("widget", 2, after=place, failed=True),
        lambda run: Place(run.started_at, run.run_id),
    )
    seen = await all_pages(
        lambda place: store.history("widget", 2, after=place), lambda one: Place(one.at, one.run_id)
    )

    assert runs == await store.runs("widget")
    assert [run.run_id for run in runs] == sorted((run.run_id for run in runs), reverse=True)
    assert len(runs) == 7
    assert failed == runs[:2]
    assert seen == await store.history("widget")
    assert len(seen) == 5


@pytest.mark.parametrize("only", [{}, {"rule_id": "widget"}, {"state": "sent"}])
async def test_alerts_of_one_time_are_on_one_page_each(store: Store, only: Any) -> None:
    await load(store)
    await fill_alerts(store, 7)
    found = await all_pages(
        lambda place: store.alerts(2, after=place, **only), lambda one: Place(one.created_at, one.id)
    )
    assert [one.id for one in found] == [f"alert-{number:06}" for number in (6, 5, 4, 3, 2, 1, 0)]


ALERTS = {
    "first": (lambda store: store.alerts(20), "ix_alert_newest"),
    "middle": (lambda store: store.alerts(20, after=MIDDLE), "ix_alert_newest"),
    "of a rule": (lambda store: store.alerts(20, rule_id="widget", after=MIDDLE), "ix_alert_rule"),
    "of a state": (lambda store: store.alerts(20, state="failed", after=MIDDLE), "ix_alert_state"),
    "prune": (lambda store: store._prune(alert.c.id, alert.c.created_at, 0.0, NOW + 9), r"created_at ?<"),
}
MIDDLE = Place(NOW + 500, "alert-001500")


async def test_a_page_of_alerts_is_read_as_it_lies_in_an_index(store: Store) -> None:
    await load(store)
    await fill_alerts(store, 3_000)
    async with store._database.writing() as connection:
        few = sa.update(alert).where(alert.c.id.like("alert-%00"))
        await connection.execute(few.values(state="failed", rule_id="gadget"))
        await connection.execute(sa.update(alert).where(alert.c.id.like("alert-%0")).values(rule_id="widget"))
        others = sa.update(alert).where(alert.c.id.not_like("alert-%0"))
        await connection.execute(others.values(rule_id=sa.literal("rule ") + alert.c.pattern))
    await analyze(store, "alert")
    for name, (ask, index) in ALERTS.items():
        plan = await plan_of(store, ask)
        assert re.search(index, plan), (name, plan)
        assert "Seq Scan on alert" not in plan, (name, plan)
        assert "SCAN alert\n" not in plan + "\n", (name, plan)
        # The deliveries of a page are few, and put in order; the alerts are not.
        of_alerts = plan.split("delivery")[0]
        assert "TEMP B-TREE" not in of_alerts, (name, plan)
