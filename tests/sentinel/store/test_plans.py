"""How the database goes about the queries that grow with time: by an index, whatever there is of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from sentinel.store import Ages, Place, Store
from sentinel.store.tables import alert, delivery, observation, run
from tests.sentinel.store.things import EUR_90, NOW, a_rule, load

RULES, ROWS = 30, 9_000


async def fill(store: Store) -> None:
    """A history long enough for a planner to care."""
    await load(store, *(a_rule(f"rule-{number:02}") for number in range(RULES)))
    runs = [
        {
            "id": number + 1,
            "workspace_id": "acme",
            "rule_id": f"rule-{number % RULES:02}",
            "job_id": f"job-{number}",
            "trigger": "schedule",
            "fence": 1,
            "status": "ok",
            "started_at": NOW + number,
            "not_modified": False,
            "observed": number % 60 != 32,  # half of those of rule-02 are not
            "error_code": "FETCH_TIMEOUT" if number % 60 == 32 else None,
        }
        for number in range(ROWS)
    ]
    seen = [
        {
            "run_id": one["id"],
            "at": one["started_at"],
            "workspace_id": "acme",
            "rule_id": one["rule_id"],
            "value": EUR_90,
            "confirmed": True,
        }
        for one in runs
        if one["observed"]
    ]
    await store.make_months(NOW)
    async with store._database.writing() as connection:
        await connection.execute(sa.insert(run), runs)
        await connection.execute(sa.insert(observation), seen)
    await analyze(store, "run", "observation")


async def plan_of(store: Store, ask: Callable[[Store], Any]) -> str:
    """The plans of all that a method asks, as the database tells them."""
    asked: list[tuple[str, Any]] = []

    def note(*event: Any) -> None:
        _connection, _cursor, statement, parameters, _context, many = event
        if not many and statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            asked.append((statement, parameters))

    for engine in store._database.engines:
        sa.event.listen(engine, "before_cursor_execute", note)
    await ask(store)
    for engine in store._database.engines:
        sa.event.remove(engine, "before_cursor_execute", note)
    assert asked
    explain = "EXPLAIN QUERY PLAN " if store._database.is_sqlite else "EXPLAIN "
    told = []
    async with store._database.reading() as connection:
        for statement, parameters in asked:
            rows = await connection.exec_driver_sql(explain + statement, parameters)
            told += [str(row[-1]) for row in rows]
    return "\n".join(told)


ASKED = {
    "history": lambda store: store.history("rule-02", 20),
    "history before": lambda store: store.history("rule-02", 20, before=NOW + ROWS / 2),
    "runs": lambda store: store.runs("rule-02", 20),
    "runs before": lambda store: store.runs("rule-02", 20, before=NOW + ROWS / 2),
    "run of a job": lambda store: store.run_of("job-77"),
    "blobs in use": lambda store: store.blobs_in_use(["ab" * 32, "cd" * 32]),
    "history after": lambda store: store.history("rule-02", 20, after=MIDDLE),
    "runs after": lambda store: store.runs("rule-02", 20, after=MIDDLE),
    "failed": lambda store: store.runs("rule-02", 20, failed=True),
    "failed after": lambda store: store.runs("rule-02", 20, failed=True, after=MIDDLE),
    "prune": lambda store: store.prune(NOW + 100, Ages(runs=0.0, observations=0.0, alerts=0.0)),
}
MIDDLE = Place(NOW + ROWS / 2, ROWS // 2)


#: Of these the newest come first as they lie in the index.
IN_ORDER = tuple(name for name in ASKED if name.startswith(("history", "runs")))
#: Of partial indexes those that each is for.
PARTIAL = {
    "blobs in use": ("ix_run_body_blob", "ix_run_screenshot_blob", "ix_run_element_blob"),
    "failed": ("ix_run_failed",),
    "failed after": ("ix_run_failed",),
    "prune": ("ix_run_bare", "ix_run_started_at"),
}


async def test_what_grows_with_time_is_found_by_an_index_and_the_newest_are_not_sorted_for(
    store: Store,
) -> None:
    await fill(store)
    for name, ask in ASKED.items():
        plan = await plan_of(store, ask)
        scans = [
            line for line in plan.splitlines() if "Seq Scan on" in line or line.strip().startswith("SCAN ")
        ]
        # A handful of rows is read as they lie; these two never are a handful.
        assert not [line for line in scans if " run" in line or " observation" in line], (name, plan)
        assert "index" in plan.lower(), (name, plan)
        assert [index for index in PARTIAL.get(name, ()) if index not in plan] == [], (name, plan)
        if name in IN_ORDER:
            assert "TEMP B-TREE" not in plan, (name, plan)
            # Of equal times the ids may still have to be ordered ("Incremental Sort"), never all rows.
            assert re.search(r"(?m)^(\s*->)?\s*Sort\b  ", plan) is None, (name, plan)


DUE = NOW + 60.0


@pytest.mark.parametrize("due", [0, 40])
async def test_rules_that_are_due_are_found_by_their_times_whatever_there_is_of_others(
    store: Store, due: int
) -> None:
    await load(store, *(a_rule(f"rule-{number:04}") for number in range(2_000)), due=NOW + 3600)
    if due:  # more than are claimed at once, so that whose turn it is has to be told
        await load(store, *(a_rule(f"due-{number:04}") for number in range(due)), due=NOW)
    await analyze(store, "rule")
    plan = await plan_of(store, lambda asked: asked.claim_due(DUE, limit=5, next_due=lambda _, now: now + 60))
    # SQLite names it each time it is used.
    assert plan.count("ix_rule_due") >= (2 if due else 1), plan
    assert not re.search(r"Seq Scan on rule\b|(?m:^\s*SCAN rule\b)", plan), plan


OPEN = {
    "runs under way": (lambda store: store.abandon_runs(before=NOW, now=NOW), "ix_run_unfinished"),
    "deliveries under way": (lambda store: store.abandon_deliveries(before=NOW, now=NOW), "ix_delivery_open"),
}


@pytest.mark.parametrize("name", OPEN)
async def test_the_few_that_are_under_way_are_found_without_the_many_that_have_ended(
    store: Store, name: str
) -> None:
    await fill(store)
    told = [
        {
            "id": f"alert-{number}",
            "workspace_id": "acme",
            "rule_id": "rule-01",
            "kind": "change",
            "severity": "info",
            "title": "t",
            "body": {},
            "dedupe_key": f"key-{number}",
            "channels": ["ops"],
            "conditions": [],
            "state": "sent",
            "created_at": NOW + number,
            "updated_at": NOW + number,
        }
        for number in range(3_000)
    ]
    brought = [
        {
            "alert_id": one["id"],
            "channel_id": "ops",
            "workspace_id": "acme",
            "state": "sent",
            "fence": 1,
            "attempts": 1,
            "created_at": one["created_at"],
            "updated_at": one["updated_at"],
        }
        for one in told
    ]
    async with store._database.writing() as connection:
        await connection.execute(sa.update(run).values(status="ok", finished_at=NOW))
        await connection.execute(sa.insert(alert), told)
        await connection.execute(sa.insert(delivery), brought)
    await analyze(store, "run", "alert", "delivery")
    ask, index = OPEN[name]
    plan = await plan_of(store, ask)
    assert index in plan, plan


async def analyze(store: Store, *tables: str) -> None:
    if not store._database.is_sqlite:
        async with store._database.writing() as connection:
            await connection.execute(sa.text(f"ANALYZE {', '.join(tables)}"))
