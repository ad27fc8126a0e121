"""What the watchdog tells: rules that nobody checks, that never change, that cannot be read.

    not told ─▶ told ─▶ (a reminder a day) ─▶ over ─▶ (forgotten a day later)

One row per trouble is what makes it told once, however many look: it is inserted, reminded and ended by
compare and set, in the transaction that writes the alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.health import REMIND_EVERY
from sentinel.decide.routing import routed
from sentinel.errors import ERROR_CODES, Severity, Unreadable
from sentinel.model import AlertDraft, Rule, Workspace
from sentinel.store.base import AnyRow, Part
from sentinel.store.imports import RULE_DEFINITION
from sentinel.store.incidents import add_alert
from sentinel.store.outbox import add_jobs
from sentinel.store.raising import Raising, Scene, Tell, scene_of, tell_nobody
from sentinel.store.records import Trouble, Waiting
from sentinel.store.rules import tick_id, zoned
from sentinel.store.tables import alert, channel, rule, rule_state, run, source, watch, workspace

#: Seconds after which what was over is told as new; sooner it would be told at every turn of a system that
#: is just too slow.
TELL_AGAIN: Final = 4 * 3600.0
#: Seconds for which a check that has begun may go on: its retries may wait an hour each.
CHECKED_FOR: Final = 2 * 3600.0
#: Rules looked at, invalid ones told, and rules that one alert names.
MOST: Final = 10_000
BATCH: Final = 100
NAMED: Final = 20


class Watches(Part):
    """What goes wrong without any check noticing."""

    async def waiting(self, now: float, *, patience: float) -> list[Waiting]:
        """Rules due for longer than `patience` seconds that no check has answered and none is looking at.

        Oldest first, `MOST` at most. Raises StoreUnavailable.
        """
        answered = sa.and_(
            rule_state.c.last_run_at.is_not(None), rule_state.c.last_run_at >= rule.c.due_since
        )
        unanswered = sa.case((answered, rule.c.next_due_at), else_=rule.c.due_since)
        first = sa.func.coalesce(unanswered, rule.c.next_due_at)
        # A rule that was switched on, or edited, is not late since before that.
        due = sa.case((first < rule.c.updated_at, rule.c.updated_at), else_=first)
        looking = sa.exists().where(
            run.c.rule_id == rule.c.id, run.c.status == "running", run.c.started_at > now - CHECKED_FOR
        )
        wanted = (
            sa.select(
                rule.c.id,
                rule.c.workspace_id,
                RULE_DEFINITION,
                workspace.c.timezone,
                sa.type_coerce(first, rule.c.next_due_at.type).label("tick"),
                sa.type_coerce(due, rule.c.next_due_at.type).label("due"),
            )
            .join(rule_state, rule_state.c.rule_id == rule.c.id)
            .join(workspace, workspace.c.id == rule.c.workspace_id)
            .where(rule.c.enabled, due <= now - patience, ~looking)
            .order_by(due, rule.c.id)
            .limit(MOST)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        return [
            Waiting(
                row.id,
                row.workspace_id,
                zoned(row.definition, row.timezone),
                row.due,
                tick_id(row.id, row.tick),
            )
            for row in rows
            if not isinstance(row.definition, Unreadable)  # told as what it is
        ]

    async def silent(self) -> list[Waiting]:
        """Rules whose good checks found no change for longer than they are expected to.

        Raises StoreUnavailable.
        """
        wanted = (
            sa.select(
                rule.c.id,
                rule.c.workspace_id,
                RULE_DEFINITION,
                rule.c.created_at,
                rule_state.c.last_change_at,
                rule_state.c.last_good_at,
            )
            .join(rule_state, rule_state.c.rule_id == rule.c.id)
            .where(rule.c.enabled, rule.c.expected_change_every.is_not(None))
            .where(rule_state.c.last_good_at.is_not(None))
            .order_by(rule.c.id)
            .limit(MOST)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        found = []
        for row in rows:
            since = row.last_change_at or row.created_at
            if isinstance(row.definition, Unreadable):
                continue
            expected = row.definition.expected_change_every
            if expected is not None and row.last_good_at - since > expected:
                found.append(Waiting(row.id, row.workspace_id, row.definition, since, None))
        return found

    async def keep_troubles(
        self,
        kind: str,
        going_on: Sequence[Trouble],
        now: float,
        *,
        unsaid: Sequence[tuple[str, str]] = (),
        tell: Tell = tell_nobody,
    ) -> int:
        """Tell the troubles of one kind that are new, remind of old ones, end those that are over.

        `unsaid`: (workspace, rule) of what goes on too and is told as part of another trouble; it is not
        over. Each in a transaction of its own. Answers how many alerts were written. Raises
        StoreUnavailable.
        """
        async with self._database.reading() as connection:
            rows = (await connection.execute(sa.select(watch).where(watch.c.kind == kind))).all()
        known = {(row.workspace_id, row.rule_id): row for row in rows}
        still = {*unsaid, *((one.workspace_id, one.rule_id) for one in going_on)}
        over = [row for key, row in known.items() if row.over_at is None and key not in still]
        written = 0
        for trouble in going_on:
            together = known.get((trouble.workspace_id, ""))
            if trouble.rule_id and together is not None and together.over_at is None:
                continue  # few are left of the many that were told as one
            row = known.get((trouble.workspace_id, trouble.rule_id))
            if row is None or _is_due(row, now):
                written += await self._say(kind, trouble, row, now, tell)
        for row in over:
            written += await self._end(row, now, tell)
        if any(_is_old(row, now) for row in rows):
            gone = watch.c.over_at < now - REMIND_EVERY
            async with self._database.writing() as connection:
                await connection.execute(sa.delete(watch).where(watch.c.kind == kind, gone))
        return written

    async def tell_invalid(self, now: float, *, tell: Tell = tell_nobody) -> int:
        """Tell the rules that a scheduler found unreadable, and remind of them; how many.

        A check that breaks a rule tells it in its own transaction, so that a broken rule which is not told
        was found to be broken by a scheduler. Raises StoreUnavailable.
        """
        latest = (
            sa.select(run.c.error_code)
            .where(run.c.rule_id == rule.c.id)
            .order_by(run.c.started_at.desc(), run.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        told = rule_state.c.broken_told_at
        wanted = (
            sa.select(rule.c.id, rule.c.workspace_id)
            .join(rule_state, rule_state.c.rule_id == rule.c.id)
            .where(rule.c.enabled, rule_state.c.health_state == "broken")
            .where(sa.or_(told.is_(None), told <= now - REMIND_EVERY), latest == "RULE_INVALID")
            .order_by(rule.c.workspace_id, rule.c.id)
            .limit(BATCH)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(wanted)).all()
        written = 0
        for _, alike in groupby(rows, key=_workspace):
            async with self._database.writing() as connection:
                raising = Raising(self._database, connection)
                # All are marked before the first is told, so that many of one host are an incident at once.
                claimed = [await _claim_invalid(connection, row.id, now) for row in alike]
                for row in filter(None, claimed):
                    await _say_invalid(raising, row, now)
                    written += 1
                    space = row.workspace_id
                    await add_jobs(self._database, connection, space, raising.jobs, now)
                    raising.jobs.clear()
            raising.report(tell)
        return written

    async def _say(self, kind: str, trouble: Trouble, row: AnyRow | None, now: float, tell: Tell) -> bool:
        """False: somebody else did."""
        async with self._database.writing() as connection:
            raising = Raising(self._database, connection)
            if not await self._claim(connection, kind, trouble, row, now):
                return False
            reminds = row is not None and row.over_at is None
            draft, scene, channels = await _words(connection, kind, trouble, now, reminds=reminds)
            alert_id = await raising.add(scene, draft, channels=channels)
            mine = sa.and_(
                watch.c.workspace_id == trouble.workspace_id,
                watch.c.kind == kind,
                watch.c.rule_id == trouble.rule_id,
            )
            await connection.execute(sa.update(watch).where(mine).values(alert_id=alert_id))
            await add_jobs(self._database, connection, trouble.workspace_id, raising.jobs, now)
        raising.report(tell)
        return True

    async def _claim(
        self, connection: AsyncConnection, kind: str, trouble: Trouble, row: AnyRow | None, now: float
    ) -> bool:
        columns = {"since": trouble.since, "told_at": now, "over_at": None}
        if row is None:
            new = self._database.insert(watch).values(
                workspace_id=trouble.workspace_id, kind=kind, rule_id=trouble.rule_id, **columns
            )
            keys = [watch.c.workspace_id, watch.c.kind, watch.c.rule_id]
            claimed = await connection.execute(
                new.on_conflict_do_nothing(index_elements=keys).returning(watch.c.kind)
            )
            return claimed.first() is not None
        seen = watch.c.told_at == row.told_at
        changed = await connection.execute(sa.update(watch).where(_is(row), seen).values(**columns))
        return changed.rowcount == 1

    async def _end(self, row: AnyRow, now: float, tell: Tell) -> bool:
        """It is over; told where there is still somebody to watch for."""
        async with self._database.writing() as connection:
            raising = Raising(self._database, connection)
            ended = await connection.execute(
                sa.update(watch).where(_is(row), watch.c.over_at.is_(None)).values(over_at=now)
            )
            if ended.rowcount != 1 or not await _is_on(connection, row):
                return False
            await _say_over(raising, row, now)
            await add_jobs(self._database, connection, row.workspace_id, raising.jobs, now)
        raising.report(tell)
        return True


def _is(row: AnyRow) -> sa.ColumnElement[bool]:
    return sa.and_(
        watch.c.workspace_id == row.workspace_id, watch.c.kind == row.kind, watch.c.rule_id == row.rule_id
    )


def _is_due(row: AnyRow, now: float) -> bool:
    """To be told again, as new or as a reminder."""
    return bool(now - row.told_at >= (REMIND_EVERY if row.over_at is None else TELL_AGAIN))


def _is_old(row: AnyRow, now: float) -> bool:
    return row.over_at is not None and row.over_at < now - REMIND_EVERY


async def _is_on(connection: AsyncConnection, row: AnyRow) -> bool:
    """The rule, or any rule of the workspace, is there and switched on."""
    wanted = sa.select(rule.c.id).where(rule.c.workspace_id == row.workspace_id, rule.c.enabled)
    if row.rule_id:
        wanted = wanted.where(rule.c.id == row.rule_id)
    return (await connection.execute(wanted.limit(1))).first() is not None


# --- what is told ---------------------------------------------------------------------------------


async def _words(
    connection: AsyncConnection, kind: str, trouble: Trouble, now: float, *, reminds: bool
) -> tuple[AlertDraft, Scene, list[str]]:
    """The alert, where it comes from, and its channels where it is about several rules."""
    scene = await scene_of(connection, trouble.workspace_id, trouble.rules[0], "", now)
    known = ERROR_CODES[trouble.code]
    subject = scene.rule.title if trouble.rule_id else trouble.workspace_id
    body: dict[str, Any] = {
        "rule": subject,
        "code": trouble.code,
        "detail": trouble.detail[:500],
        "recommendation": trouble.recommendation or known.recommendation,
    }
    if trouble.rule_id:
        body["url"] = scene.rule.url
    draft = AlertDraft(
        kind="health",
        severity=trouble.severity,
        title=f"{subject}: {'still ' if reminds else ''}{trouble.title}",
        body=body,
        dedupe_key=f"{trouble.workspace_id}:{kind}:{trouble.rule_id}:{now:.0f}",
        channels=tuple(scene.rule.alert_policy.channels),
    )
    channels: list[str] = []
    if not trouble.rule_id:
        channels = await _channels_of(connection, scene.workspace, trouble.rules, trouble.severity)
    return draft, scene, channels


async def _channels_of(
    connection: AsyncConnection, space: Workspace, rules: Sequence[str], severity: Severity
) -> list[str]:
    """Every channel that one of the rules would be told on."""
    wanted = sa.select(RULE_DEFINITION).where(rule.c.id.in_(rules[:BATCH])).order_by(rule.c.id)
    found: dict[str, None] = {}
    for definition in await connection.scalars(wanted):
        if isinstance(definition, Rule):
            own = definition.alert_policy.channels
            legs = routed(definition, space, own, "health", severity).legs
            found.update(dict.fromkeys(leg.channel for leg in legs))
    return list(found)


async def _say_over(raising: Raising, row: AnyRow, now: float) -> None:
    """On the channels that were told of the trouble."""
    told = sa.select(alert.c.rule_id, alert.c.channels).where(alert.c.id == row.alert_id)
    first = (await raising.connection.execute(told)).first()
    if first is None:  # pruned
        return
    scene = await scene_of(raising.connection, row.workspace_id, first.rule_id, "", now)
    subject = scene.rule.title if row.rule_id else row.workspace_id
    draft = AlertDraft(
        kind="recovery",
        severity="info",
        title=f"{subject}: {_OVER[row.kind]}",
        body={"rule": subject} | ({"url": scene.rule.url} if row.rule_id else {}),
        dedupe_key=f"{row.workspace_id}:{row.kind}:{row.rule_id}:over:{now:.0f}",
        channels=tuple(scene.rule.alert_policy.channels),
    )
    await raising.add(scene, draft, channels=first.channels)


_OVER: Final = {"overdue": "checked again", "silent": "changes again"}


def _workspace(row: AnyRow) -> str:
    return str(row.workspace_id)


async def _claim_invalid(connection: AsyncConnection, rule_id: str, now: float) -> AnyRow | None:
    """The rule, as it was before; None: somebody else tells it, or it is mended."""
    wanted = (
        sa.select(rule.c.id, rule.c.workspace_id, source.c.url, rule_state.c.broken_told_at)
        .join(rule_state, rule_state.c.rule_id == rule.c.id)
        .join(source, source.c.id == rule.c.source_id)
        .where(rule.c.id == rule_id, rule.c.enabled)
    )
    row = (await connection.execute(wanted)).first()
    if row is None or (row.broken_told_at is not None and now - row.broken_told_at < REMIND_EVERY):
        return None
    told = rule_state.c.broken_told_at
    seen = told.is_(None) if row.broken_told_at is None else told == row.broken_told_at
    claimed = await connection.execute(
        sa.update(rule_state)
        .where(rule_state.c.rule_id == rule_id, rule_state.c.health_state == "broken", seen)
        .values(broken_told_at=now, version=rule_state.c.version + 1)
    )
    return row if claimed.rowcount == 1 else None


async def _say_invalid(raising: Raising, row: AnyRow, now: float) -> None:
    connection, rule_id = raising.connection, row.id
    scene = await scene_of(connection, row.workspace_id, rule_id, row.url, now)
    known = ERROR_CODES["RULE_INVALID"]
    detail = sa.select(run.c.error_detail).where(run.c.rule_id == rule_id)
    latest = detail.order_by(run.c.started_at.desc(), run.c.id.desc()).limit(1)
    still = "" if row.broken_told_at is None else "still "
    draft = AlertDraft(
        kind="health",
        severity=known.severity,
        title=f"{scene.rule.title}: {still}not watching: {known.title}",
        body={
            "rule": scene.rule.title,
            "url": row.url,
            "code": known.code,
            "detail": ((await connection.execute(latest)).scalar() or "")[:500],
            "recommendation": known.recommendation,
        },
        dedupe_key=f"{rule_id}:broken:{now:.0f}",
        channels=await _own_channels(connection, scene, known.severity),
    )
    await add_alert(raising, scene, draft)


async def _own_channels(connection: AsyncConnection, scene: Scene, severity: Severity) -> tuple[str, ...]:
    """The rule's; of one that cannot be read those of its last alert, else all there are.

    Nobody's channel would hide it.
    """
    own = tuple(scene.rule.alert_policy.channels)
    if own or routed(scene.rule, scene.workspace, (), "health", severity).legs:
        return own
    last = sa.select(alert.c.channels).where(alert.c.rule_id == scene.rule.id)
    before = (await connection.execute(last.order_by(alert.c.created_at.desc()).limit(1))).scalar()
    everyone = sa.select(channel.c.id).where(channel.c.workspace_id == scene.workspace.id, channel.c.enabled)
    return tuple(before or await connection.scalars(everyone.order_by(channel.c.id)))
