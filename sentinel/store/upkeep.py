"""Counting, pruning, and telling what is unfinished, should it have been lost outside the database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, get_args

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.jobs import RULES_RUN, DispatchAlert, RunRule, run_rule_policy
from sentinel.model import Health
from sentinel.store.base import AnyRow
from sentinel.store.hosts import FORGET_AFTER
from sentinel.store.months import Month, Months
from sentinel.store.raising import delivery_jobs
from sentinel.store.records import Ages, Counts, NewOutboxJob, Pruned
from sentinel.store.rules import iso, tick_job
from sentinel.store.tables import (
    IS_OPEN,
    IS_RUNNING,
    alert,
    delivery,
    digest,
    host_state,
    incident,
    observation,
    outbox,
    rule,
    rule_state,
    run,
)
from sentinel.store.units import Unit

#: Rows removed in one transaction: others write in between.
PRUNE_BATCH: Final = 2_000
#: Unfinished jobs read at once.
PAGE: Final = 200


class Upkeep(Months):
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

        A run is kept as long as its observation, whatever the age of `runs`. On PostgreSQL observations go by
        the month, and only those of the month in which the age ends one by one. Raises StoreUnavailable, also
        where a month could not be dropped because its table is in use; all but it is removed then.
        """
        # What only says how alerts were told goes with them; their number says nothing to anybody.
        closed = digest.c.closed_at.is_not(None)
        await self._prune(digest.c.id, digest.c.closes_at, ages.alerts, now, closed)
        await self._prune(incident.c.id, incident.c.over_at, ages.alerts, now)
        await self._forget_hosts(now)
        alerts = await self._prune(
            alert.c.id, alert.c.created_at, ages.alerts, now, alert.c.state != "pending"
        )
        runs = await self._prune(
            run.c.id, run.c.started_at, ages.runs, now, ~run.c.observed, run.c.status != "running"
        )
        months = observations = 0
        if ages.observations is not None:
            oldest = now - ages.observations
            since = () if self._database.is_sqlite else (observation.c.at >= Month.of(oldest).begins,)
            observations = await self._prune(
                observation.c.run_id, observation.c.at, ages.observations, now, *since
            )
            months = await self._drop_months(oldest)
        if ages.observations is not None and ages.runs is not None:
            age = max(ages.runs, ages.observations)
            # A run ends at the very moment of its observation, so what this one found is gone.
            runs += await self._prune(
                run.c.id, run.c.started_at, age, now, run.c.observed, run.c.finished_at < now - age
            )
        return Pruned(months=months, observations=observations, runs=runs, alerts=alerts)

    async def blobs_in_use(self, hashes: Sequence[str]) -> set[str]:
        """Of some hashes those that a row names. Raises StoreUnavailable."""
        found: set[str] = set()
        async with self._database.reading() as connection:
            kept = (run.c.body_blob, run.c.screenshot_blob, run.c.element_blob, rule_state.c.page_blob)
            for column in kept:
                found.update(await connection.scalars(sa.select(column).where(column.in_(hashes))))
        return found

    async def unfinished(self, *, after: float, before: float) -> AsyncGenerator[list[NewOutboxJob], None]:
        """The jobs of unfinished work, under the ids they had, a page at a time.

        Ticks that were claimed and never begun, runs begun and never finished, deliveries neither sent
        nor given up; of work that was called for after `after`, untouched since
        `before`. Whether Redis still has such a job is for Redis to say, when it is given it again.

        Not among them: what was put into Redis by somebody else and has not begun, and a check that
        was to confirm a value (the next one by the schedule does that). Raises StoreUnavailable.
        """
        for page, job_of in _KINDS:
            last: Any = None  # the key of each kind, text or number
            while True:
                async with self._database.reading() as connection:
                    rows = (await connection.execute(page(after, before, last).limit(PAGE))).all()
                if rows:
                    yield [job_of(row) for row in rows]
                if len(rows) < PAGE:
                    break
                last = rows[-1].id

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
        old = (time < now - age, *only)
        some = sa.select(key).where(*old).order_by(time).limit(PRUNE_BATCH)
        # Asked for once more outside, so that PostgreSQL looks into those months only.
        batch = sa.delete(key.table).where(key.in_(some), *old)
        while True:
            gone = await self._database.write(_removing(batch))
            removed += gone
            if gone < PRUNE_BATCH:
                return removed

    async def _forget_hosts(self, now: float) -> None:
        """Those that no rule looks at any more are heard of no more."""
        async with self._database.writing() as connection:
            await connection.execute(
                sa.delete(host_state).where(host_state.c.updated_at < now - FORGET_AFTER)
            )


def _removing(batch: sa.Delete) -> Unit[int]:
    async def remove(connection: AsyncConnection) -> int:
        return (await connection.execute(batch)).rowcount

    return remove


# --- what is unfinished: (called for after, untouched since, key of the last page's last row) -> rows ---

_Page = Callable[[float, float, Any], sa.Select[Any]]


def _unbegun_ticks(after: float, before: float, last: str | None) -> sa.Select[Any]:
    """Claimed by a scheduler, but no check of the rule has begun since."""
    begun = sa.exists().where(run.c.rule_id == rule.c.id, run.c.started_at >= rule.c.claimed_at)
    same_job = sa.exists().where(run.c.job_id == rule.c.claimed_job_id)
    return (
        sa.select(rule.c.id, rule.c.claimed_job_id, rule.c.claimed_at)
        .where(rule.c.id > (last or ""), rule.c.enabled, rule.c.claimed_at.between(after, before))
        .where(~begun, ~same_job)
        .order_by(rule.c.id)
    )


def _tick(row: AnyRow) -> NewOutboxJob:
    return tick_job(row.id, row.claimed_job_id, row.claimed_at)


def _open_runs(after: float, before: float, last: int | None) -> sa.Select[Any]:
    """Begun, never finished, and the rule is still there."""
    return (
        sa.select(run.c.id, run.c.rule_id, run.c.job_id, run.c.trigger, run.c.started_at)
        .join(rule, rule.c.id == run.c.rule_id)
        .where(run.c.id > (last or 0), IS_RUNNING, run.c.started_at.between(after, before))
        .order_by(run.c.id)
    )


def _check(row: AnyRow) -> NewOutboxJob:
    payload = RunRule(rule_id=row.rule_id, trigger=row.trigger, requested_at=iso(row.started_at))
    policy = run_rule_policy(payload)
    return NewOutboxJob(
        stream=RULES_RUN,
        job_id=row.job_id,
        payload=payload,
        lane=policy.lane,
        unique=policy.unique,
        unique_for=policy.unique_for,
    )


def _open_deliveries(after: float, before: float, last: str | None) -> sa.Select[Any]:
    """Neither sent nor given up, and untouched for a while.

    A delivery that is tried again may wait for a day, as the other side may ask: of an old alert its
    job may be there though its id is forgotten, and would come too early. One that was reopened and
    not tried yet was called for when that was done.
    """
    called_for_lately = sa.or_(alert.c.created_at >= after, delivery.c.state == "pending")
    key = (delivery.c.alert_id + " " + delivery.c.channel_id).label("id")
    return (
        sa.select(key, delivery.c.channel_id, delivery.c.job_id, alert)
        .join(alert, alert.c.id == delivery.c.alert_id)
        .where(key > (last or ""), IS_OPEN)
        .where(delivery.c.updated_at.between(after, before), called_for_lately)
        .where(sa.func.coalesce(delivery.c.escalates_at, 0.0) < before)
        .order_by(key)
    )


def _dispatch(row: AnyRow) -> NewOutboxJob:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    payload = DispatchAlert(
        alert_id=values[alert.c.id],
        workspace_id=values[alert.c.workspace_id],
        rule_id=values[alert.c.rule_id],
        channels=(values[delivery.c.channel_id],),
        dedupe_key=values[alert.c.dedupe_key],
    )
    (job,) = delivery_jobs(f"alert-{payload.alert_id}", payload, values[alert.c.severity])
    held_by = values[delivery.c.job_id]
    return job if held_by is None else msgspec.structs.replace(job, job_id=held_by)


_KINDS: Final[tuple[tuple[_Page, Callable[[AnyRow], NewOutboxJob]], ...]] = (
    (_unbegun_ticks, _tick),
    (_open_runs, _check),
    (_open_deliveries, _dispatch),
)
