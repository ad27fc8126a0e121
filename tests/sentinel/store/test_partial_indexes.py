"""The few that are going on are found among the many that are over, by the index that is for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from sentinel.model import Flood
from sentinel.store import Store
from sentinel.store.tables import alert, delivery, digest, incident, metadata, run
from tests.sentinel.store.test_pages import fill_alerts
from tests.sentinel.store.test_plans import analyze, plan_of
from tests.sentinel.store.things import NOW, load

MANY = 3_000


async def everything(store: Store) -> None:
    async for _ in store.unfinished(after=NOW - 60, before=NOW + 60):
        pass


#: Index -> what is asked.
ASKED: dict[str, tuple[Callable[[Store], Any], ...]] = {
    "ix_digest_open": (lambda store: store.close_digests(NOW),),
    "ix_incident_going_on": (lambda store: store.settle_incidents(NOW),),
    "ix_alert_alike": (lambda store: store.outlook("widget", NOW + MANY / 6),),
    "ix_alert_state": (lambda store: store.counts(NOW),),
    "ix_run_unfinished": (everything, lambda store: store.abandon_runs(before=NOW, now=NOW)),
    "ix_delivery_open": (everything, lambda store: store.abandon_deliveries(before=NOW, now=NOW)),
}
#: Held by tests/sentinel/store/test_plans.py.
ELSEWHERE = {
    "ix_rule_due",
    "ix_run_bare",
    "ix_run_failed",
    "ix_run_body_blob",
    "ix_run_screenshot_blob",
    "ix_run_element_blob",
}


def test_every_partial_index_is_held_to_what_it_is_for() -> None:
    partial = {
        str(index.name)
        for table in metadata.sorted_tables
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert partial == (set(ASKED) | ELSEWHERE) - {"ix_alert_state"}


async def fill(store: Store) -> None:
    """All of it over."""
    await load(store, flood=Flood(alerts=5))
    await fill_alerts(store, MANY)
    over = range(MANY)
    rows: dict[sa.Table, list[dict[str, Any]]] = {
        run: [
            {
                "rule_id": "widget",
                "job_id": f"job-{n}",
                "trigger": "schedule",
                "fence": 1,
                "status": "ok",
                "started_at": NOW,
                "finished_at": NOW,
                "not_modified": False,
            }
            for n in over
        ],
        delivery: [
            {
                "alert_id": f"alert-{n:06}",
                "channel_id": "ops",
                "state": "sent",
                "fence": 1,
                "attempts": 1,
                "created_at": NOW,
                "updated_at": NOW,
            }
            for n in over
        ],
        digest: [
            {
                "id": f"d{n}",
                "cause": "digest",
                "by": "host",
                "grouped": "",
                "channel_id": "ops",
                "key": f"k{n}",
                "opened_at": NOW,
                "closes_at": NOW,
                "closed_at": NOW,
            }
            for n in over
        ],
        incident: [
            {"id": f"i{n}", "host": "h", "state": "over", "began_at": NOW, "until": NOW, "over_at": NOW}
            for n in over
        ],
    }
    async with store._database.writing() as connection:
        await connection.execute(
            sa.update(alert).where(alert.c.id.not_like("alert-%00")).values(rule_id=alert.c.pattern)
        )
        for table, some in rows.items():
            await connection.execute(sa.insert(table), [one | {"workspace_id": "acme"} for one in some])
    await analyze(store, *(table.name for table in (alert, *rows)))


async def test_the_few_that_are_going_on_are_found_by_the_index_that_is_for_them(store: Store) -> None:
    await fill(store)
    for index, asks in ASKED.items():
        for ask in asks:
            plan = await plan_of(store, ask)
            assert index in plan, (index, plan)
            table = index.split("_")[1]
            assert f"Seq Scan on {table}" not in plan, (index, plan)
            assert f"SCAN {table}\n" not in f"{plan}\n", (index, plan)
