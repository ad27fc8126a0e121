"""Incidents: rules of one host that break together are told as one, and as one when they work again.

a rule breaks ─▶ few of its host fail ─▶ told by itself
             └─▶ many fail: watched ─┬─▶ enough broke: open, one alert ─▶ all work again: over, one alert
                                     └─▶ they did not within the window: each is told by itself
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.alerting import Asked, View, incident_step, plan
from sentinel.decide.health import REMIND_EVERY
from sentinel.decide.routing import host_of
from sentinel.model import AlertDraft, Incident
from sentinel.store.base import AnyRow, Part, new_id
from sentinel.store.outbox import add_jobs
from sentinel.store.raising import Raising, Scene, Tell, scene_of, tell_nobody
from sentinel.store.tables import alert, incident, incident_member, rule, rule_state

#: Incidents looked at in one call.
BATCH: Final = 100


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule that broke, or works again, has to do with an incident of its host."""

    incident: AnyRow
    view: View
    #: The incident becomes one with this rule, is reminded of, or ends with it.
    tells: AlertDraft | None = None
    #: The rule is one of those that are told together from here on.
    joins: bool = False


class Incidents(Part):
    """What goes on with hosts, apart from the checks of their rules."""

    async def settle_incidents(self, now: float, *, tell: Tell = tell_nobody) -> int:
        """Tell rules whose host turned out to be well, end incidents whose last rules went away.

        Each in a transaction of its own, once however many ask. Answers how many were settled.
        Raises StoreUnavailable.
        """
        due = sa.select(incident.c.id).where(
            incident.c.over_at.is_(None),
            sa.or_(
                incident.c.state == "open", sa.and_(incident.c.state == "watched", incident.c.until <= now)
            ),
        )

        async def look(connection: AsyncConnection) -> list[str]:
            return list(
                await connection.scalars(due.order_by(incident.c.state, incident.c.until).limit(BATCH))
            )

        async def settle(connection: AsyncConnection, incident_id: str) -> tuple[bool, Raising]:
            raising = Raising(self._database, connection)
            return await self._settle(raising, incident_id, now), raising

        settled = 0
        for incident_id in await self._database.read(look):
            done, raising = await self._database.write(partial(settle, incident_id=incident_id))
            settled += done
            raising.report(tell)
        return settled

    async def _settle(self, raising: Raising, incident_id: str, now: float) -> bool:
        connection = raising.connection
        row = (await connection.execute(_LOCK.where(incident.c.id == incident_id))).first()
        if row is None or (row.state == "watched" and row.until > now):
            return False
        ill = await _ill(connection, row)
        if row.state == "watched":
            for member in ill:
                await _tell_alone(raising, member, now)
        elif ill:
            return False
        else:
            await _tell_over(raising, row, now)
        await _end(connection, row, now)
        await add_jobs(self._database, connection, row.workspace_id, raising.jobs, now)
        return True


async def add_alert(raising: Raising, scene: Scene, draft: AlertDraft) -> str:
    """Decide and write an alert of a rule, as part of an incident of its host where it is; its id."""
    met = await _meet(raising, scene, draft)
    if met is None:
        return await raising.add(scene, draft)
    alert_id = await raising.add(scene, draft, view=met.view)
    connection, row = raising.connection, met.incident
    if met.joins:
        await _join(raising, scene, row, alert_id)
    if met.tells is not None:
        channels = await _channels(connection, row)
        told = await raising.add(scene, met.tells, view=View(), channels=channels)
        if met.tells.kind == "recovery":
            await _end(connection, row, scene.now)
        else:
            values = {"state": "open", "told_at": scene.now, "alert_id": row.alert_id or told}
            await connection.execute(sa.update(incident).where(incident.c.id == row.id).values(**values))
    return alert_id


_LOCK: Final = sa.select(incident).where(incident.c.over_at.is_(None)).with_for_update()


# --- a rule breaks, or works again ----------------------------------------------------------------


async def _meet(raising: Raising, scene: Scene, draft: AlertDraft) -> Meeting | None:
    """None: its host has no incident, and no signs of one."""
    settings = scene.workspace.incident
    if settings is None or draft.kind not in ("health", "recovery") or not host_of(scene.rule.url):
        return None
    key = f"{scene.workspace.id} {host_of(scene.rule.url)}"
    row = (await raising.connection.execute(_LOCK.where(incident.c.key == key))).first()
    if draft.kind == "recovery":
        return None if row is None else await _recovers(raising.connection, scene, row)
    if row is None:
        if await _step(raising.connection, scene, settings) == "none":
            return None
        await _watch(raising, scene, settings, key)
        row = (await raising.connection.execute(_LOCK.where(incident.c.key == key))).first()
        if row is None:  # it came and went at this very moment
            return None
    return await _breaks(raising.connection, scene, row, draft, settings)


async def _breaks(
    connection: AsyncConnection, scene: Scene, row: AnyRow, draft: AlertDraft, settings: Incident
) -> Meeting:
    member = await _member(connection, row, scene.rule.id)
    again = member is not None and member.recovered_at is None
    if row.state == "open":
        told_at = scene.now if row.told_at is None else row.told_at
        remind = again and scene.now - told_at >= REMIND_EVERY
        return Meeting(
            incident=row,
            view=View(incident=row.id, incident_told=True),
            tells=await _words(connection, scene, row, draft, still=True) if remind else None,
            joins=not again,
        )
    if await _step(connection, scene, settings) == "open":
        tells = await _words(connection, scene, row, draft, still=False)
        view = View(incident=row.id, incident_told=True)
        return Meeting(incident=row, view=view, tells=tells, joins=True)
    return Meeting(incident=row, view=View(incident=row.id, incident_until=row.until), joins=not again)


async def _recovers(connection: AsyncConnection, scene: Scene, row: AnyRow) -> Meeting | None:
    member = await _member(connection, row, scene.rule.id)
    if member is None:
        return None
    await connection.execute(
        sa.update(incident_member)
        .where(incident_member.c.incident_id == row.id, incident_member.c.rule_id == scene.rule.id)
        .values(recovered_at=scene.now)
    )
    told = row.state == "open"
    over = told and not await _ill(connection, row)
    return Meeting(
        incident=row,
        view=View(incident=row.id, incident_told=told),
        tells=_over(row, scene.rule.url) if over else None,
    )


async def _step(connection: AsyncConnection, scene: Scene, settings: Incident) -> str:
    """What the host's rules look like, the one that has just broken among them.

    Both numbers by one statement: a rule that goes from failing to broken between two would be in neither.
    """
    ill = rule_state.c.health_state == "broken"
    recent = rule_state.c.broken_told_at > scene.now - settings.within
    counts = (
        sa.select(
            sa.func.count().filter(ill, recent).label("broken"),
            sa.func.count().filter(~ill, rule_state.c.fail_streak > 0).label("failing"),
        )
        .select_from(rule_state)
        .join(rule, rule.c.id == rule_state.c.rule_id)
        .where(
            rule.c.workspace_id == scene.workspace.id, rule.c.host == host_of(scene.rule.url), rule.c.enabled
        )
    )
    row = (await connection.execute(counts)).one()
    return incident_step(settings, broken=row.broken, failing=row.failing)


async def _watch(raising: Raising, scene: Scene, settings: Incident, key: str) -> None:
    await raising.connection.execute(
        raising.database.insert(incident)
        .values(
            id=new_id(scene.now),
            workspace_id=scene.workspace.id,
            host=host_of(scene.rule.url),
            state="watched",
            key=key,
            began_at=scene.now,
            until=scene.now + settings.within,
        )
        .on_conflict_do_nothing(index_elements=[incident.c.key])
    )


async def _join(raising: Raising, scene: Scene, row: AnyRow, alert_id: str) -> None:
    """A member that had recovered and breaks again is one as before."""
    joined = raising.database.insert(incident_member).values(
        incident_id=row.id, rule_id=scene.rule.id, workspace_id=scene.workspace.id, alert_id=alert_id
    )
    await raising.connection.execute(
        joined.on_conflict_do_update(
            index_elements=[incident_member.c.incident_id, incident_member.c.rule_id],
            set_={"recovered_at": None, "alert_id": alert_id},
        )
    )


# --- members --------------------------------------------------------------------------------------


async def _member(connection: AsyncConnection, row: AnyRow, rule_id: str) -> AnyRow | None:
    found = await connection.execute(
        sa.select(incident_member).where(
            incident_member.c.incident_id == row.id, incident_member.c.rule_id == rule_id
        )
    )
    member: AnyRow | None = found.first()
    return member


async def _ill(connection: AsyncConnection, row: AnyRow) -> Sequence[AnyRow]:
    """Members that do not work yet; one whose rule was deleted or switched off is none any more."""
    wanted = (
        sa.select(incident_member)
        .join(rule, rule.c.id == incident_member.c.rule_id)
        .join(rule_state, rule_state.c.rule_id == incident_member.c.rule_id)
        .where(
            incident_member.c.incident_id == row.id,
            incident_member.c.recovered_at.is_(None),
            rule.c.enabled,
            rule_state.c.health_state == "broken",
        )
        .order_by(incident_member.c.alert_id)
    )
    return (await connection.execute(wanted)).all()


async def _channels(connection: AsyncConnection, row: AnyRow) -> list[str]:
    """Every channel that one of its rules would have been told on."""
    wanted = (
        sa.select(alert.c.channels)
        .join(incident_member, incident_member.c.alert_id == alert.c.id)
        .where(incident_member.c.incident_id == row.id)
        .order_by(alert.c.id)
    )
    lists = await connection.scalars(wanted)
    return list(dict.fromkeys(channel for channels in lists for channel in channels))


# --- what is told ---------------------------------------------------------------------------------


async def _words(
    connection: AsyncConnection, scene: Scene, row: AnyRow, last: AlertDraft, *, still: bool
) -> AlertDraft:
    """The alert of the incident; `last` is that of the rule which made it one."""
    members = sa.select(incident_member.c.rule_id).where(
        incident_member.c.incident_id == row.id, incident_member.c.recovered_at.is_(None)
    )
    rules = sorted({*await connection.scalars(members), scene.rule.id})
    what = last.title.removeprefix(f"{scene.rule.title}: ").removeprefix("still ")
    return AlertDraft(
        kind="health",
        severity=last.severity,
        title=f"{row.host}: {len(rules)} rules {'still ' if still else ''}{what}",
        body={
            **last.body,
            "rule": row.host,
            "detail": f"{', '.join(rules[:20])}{f' and {len(rules) - 20} more' if len(rules) > 20 else ''}; "
            f"the last one: {last.body.get('detail') or what}",
            "incident": {"id": row.id, "host": row.host, "rules": len(rules)},
        },
        dedupe_key=f"incident:{row.id}:{scene.now:.0f}",
        channels=(),
    )


def _over(row: AnyRow, url: str) -> AlertDraft:
    return AlertDraft(
        kind="recovery",
        severity="info",
        title=f"{row.host}: watching again",
        body={"rule": row.host, "url": url, "incident": {"id": row.id, "host": row.host}},
        dedupe_key=f"incident:{row.id}:over",
        channels=(),
    )


async def _tell_over(raising: Raising, row: AnyRow, now: float) -> None:
    """Its last rules were switched off or deleted, so that none of them says so."""
    told = sa.select(alert.c.rule_id, alert.c.body).where(alert.c.id == row.alert_id)
    first = (await raising.connection.execute(told)).first()
    if first is None:  # pruned
        return
    url = str(first.body.get("url") or "")
    scene = await scene_of(raising.connection, row.workspace_id, first.rule_id, url, now)
    channels = await _channels(raising.connection, row)
    await raising.add(scene, _over(row, url), view=View(), channels=channels)


async def _tell_alone(raising: Raising, member: AnyRow, now: float) -> None:
    """It was no incident: the rule's own alert, now."""
    row = (await raising.connection.execute(sa.select(alert).where(alert.c.id == member.alert_id))).one()
    draft = AlertDraft(
        kind=row.kind,
        severity=row.severity,
        title=row.title,
        body=row.body,
        dedupe_key=row.dedupe_key.partition("~")[0],
        channels=row.channels,
        conditions=row.conditions,
    )
    url = str(row.body.get("url") or "")
    scene = await scene_of(raising.connection, row.workspace_id, row.rule_id, url, now)
    asked = Asked(
        kind=draft.kind,
        severity=draft.severity,
        title=draft.title,
        rule=scene.rule,
        workspace=scene.workspace,
        own=tuple(scene.rule.alert_policy.channels),
    )
    view = await raising.look(scene, draft)
    await raising.release(row.id, draft, plan(asked, view, now=now), scene)


async def _end(connection: AsyncConnection, row: AnyRow, now: float) -> None:
    await connection.execute(
        sa.update(incident).where(incident.c.id == row.id).values(state="over", key=None, over_at=now)
    )
