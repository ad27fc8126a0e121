"""Counting, pruning, and mending what was lost outside the database."""

from __future__ import annotations

from typing import Any, Final, get_args

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.jobs import RULES_RUN, DispatchAlert, RunRule, run_rule_policy
from sentinel.model import Health
from sentinel.store.base import Part
from sentinel.store.outbox import add_jobs
from sentinel.store.records import Ages, Counts, NewOutboxJob, Pruned
from sentinel.store.rules import iso, tick_job
from sentinel.store.runs import dispatch_job
from sentinel.store.tables import alert, delivery, observation, outbox, rule, rule_state, run

#: Rows removed in one transaction: others write in between.
PRUNE_BATCH: Final = 2_000
#: Jobs put back in one call.
RESTORE_BATCH: Final = 500


class Upkeep(Part):
    """Numbers, retention, repair."""

    async def counts(self, now: float) -> Counts:
        """Numbers for the metrics. Raises StoreUnavailable."""
        by_health = (
            sa.select(rule_state.c.health_state, sa.func.count())
            .join(rule, rule.c.id == rule_state.c.rule_id)
            .where(rule.c.enabled)
            .group_by(rule_state.c.health_state)
        )
        disabled = sa.select(sa.func.count()).select_from(rule).where(~rule.c.enabled)
        waiting = sa.select(sa.func.count(), sa.func.min(outbox.c.created_at))
        runnable = (
            sa.select(sa.func.count())
            .select_from(outbox)
            .where(sa.or_(outbox.c.available_at.is_(None), outbox.c.available_at <= now))
        )
        pending = sa.select(sa.func.count()).select_from(alert).where(alert.c.state == "pending")
        async with self._database.reading() as connection:
            health = {row[0]: row[1] for row in await connection.execute(by_health)}
            depth, oldest = (await connection.execute(waiting)).one()
            return Counts(
                rules={name: health.get(name, 0) for name in get_args(Health)},
                rules_disabled=(await connection.execute(disabled)).scalar_one(),
                outbox=depth,
                outbox_oldest=0.0 if oldest is None else max(0.0, now - oldest),
                outbox_now=(await connection.execute(runnable)).scalar_one(),
                alerts_pending=(await connection.execute(pending)).scalar_one(),
            )

    async def prune(self, now: float, ages: Ages) -> Pruned:
        """Remove what is older than its age, a batch at a time; an alert still pending is kept.

        A run takes its observation with it, so an age of `runs` below that of `observations` keeps
        the runs that have one.
        """
        return Pruned(
            observations=await self._prune(observation.c.run_id, observation.c.at, ages.observations, now),
            runs=await self._prune(
                run.c.id,
                run.c.started_at,
                ages.runs,
                now,
                run.c.status != "running",
                ~sa.exists().where(observation.c.run_id == run.c.id),
            ),
            alerts=await self._prune(
                alert.c.id, alert.c.created_at, ages.alerts, now, alert.c.state != "pending"
            ),
        )

    async def restore_lost(self, now: float, *, older_than: float) -> int:
        """Put the jobs of unfinished work back into the outbox, under the ids they had.

        For when Redis lost them (flushed, restored from an older copy): ticks that were claimed and
        never begun, runs begun and never finished, alerts with deliveries still to make, each
        untouched for `older_than` seconds. A job that is still there makes its copy a duplicate, so
        this may run at any time. Answers how many.
        """
        before = now - older_than
        async with self._database.writing() as connection:
            lost = [
                *await _lost_ticks(connection, before, now),
                *await _lost_runs(connection, before, now),
                *await _lost_alerts(connection, before),
            ]
            for workspace_id, job in lost:
                await add_jobs(self._database, connection, workspace_id, [job], now)
            return len(lost)

    async def _prune(
        self,
        key: sa.Column[Any],
        time: sa.Column[float],
        age: float | None,
        now: float,
        *only: sa.ColumnElement[bool],
    ) -> int:
        if age is None:
            return 0
        removed = 0
        some = sa.select(key).where(time < now - age, *only).limit(PRUNE_BATCH)
        while True:
            async with self._database.writing() as connection:
                gone = await connection.execute(sa.delete(key.table).where(key.in_(some)))
            removed += gone.rowcount
            if gone.rowcount < PRUNE_BATCH:
                return removed


_Lost = tuple[str, NewOutboxJob]


async def _lost_ticks(connection: AsyncConnection, before: float, now: float) -> list[_Lost]:
    """Claimed by a scheduler, but no check of the rule has begun since."""
    begun = sa.exists().where(run.c.rule_id == rule.c.id, run.c.started_at >= rule.c.claimed_at)
    same_job = sa.exists().where(run.c.job_id == rule.c.claimed_job_id)
    wanted = (
        sa.select(rule.c.id, rule.c.workspace_id, rule.c.claimed_job_id)
        .where(rule.c.enabled, rule.c.claimed_at < before, ~begun, ~same_job)
        .limit(RESTORE_BATCH)
    )
    return [
        (row.workspace_id, tick_job(row.id, row.claimed_job_id, now))
        for row in await connection.execute(wanted)
    ]


async def _lost_runs(connection: AsyncConnection, before: float, now: float) -> list[_Lost]:
    """Begun, never finished, and the rule is still there."""
    wanted = (
        sa.select(run.c.rule_id, run.c.workspace_id, run.c.job_id, run.c.trigger)
        .join(rule, rule.c.id == run.c.rule_id)
        .where(run.c.status == "running", run.c.started_at < before)
        .limit(RESTORE_BATCH)
    )
    lost: list[_Lost] = []
    for row in await connection.execute(wanted):
        payload = RunRule(rule_id=row.rule_id, trigger=row.trigger, requested_at=iso(now))
        policy = run_rule_policy(payload)
        job = NewOutboxJob(
            stream=RULES_RUN,
            job_id=row.job_id,
            payload=payload,
            lane=policy.lane,
            unique=policy.unique,
            unique_for=policy.unique_for,
        )
        lost.append((row.workspace_id, job))
    return lost


async def _lost_alerts(connection: AsyncConnection, before: float) -> list[_Lost]:
    """Pending, and nothing has been tried for a while."""
    tried = sa.exists().where(delivery.c.alert_id == alert.c.id, delivery.c.updated_at >= before)
    wanted = (
        sa.select(alert)
        .where(alert.c.state == "pending", alert.c.updated_at < before, ~tried)
        .limit(RESTORE_BATCH)
    )
    lost: list[_Lost] = []
    for row in await connection.execute(wanted):
        payload = DispatchAlert(
            alert_id=row.id,
            workspace_id=row.workspace_id,
            rule_id=row.rule_id,
            channels=row.channels,
            dedupe_key=row.dedupe_key,
        )
        lost.append((row.workspace_id, dispatch_job(f"alert-{row.id}", payload, row.severity)))
    return lost
