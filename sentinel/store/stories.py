"""Why an alert was told or not, where one would go, and that somebody has taken it on."""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.alerting import Asked, View
from sentinel.decide.judge import cooling_until
from sentinel.decide.routing import host_of
from sentinel.errors import NotFound, Severity
from sentinel.model import AlertDraft, AlertKind
from sentinel.store.base import Part
from sentinel.store.raising import Raising, Scene
from sentinel.store.records import Joined, Outlook, Together
from sentinel.store.rules import read_channels, read_rule
from sentinel.store.tables import alert, delivery, digest, digest_member, incident, incident_member

#: Characters of a name and of a note that are kept.
MAX_NAME: Final = 200
MAX_NOTE: Final = 2_000


class Stories(Part):
    """What people ask about alerts, and answer."""

    async def together(self, alert_id: str) -> tuple[Together, ...]:
        """The digests that an alert is, or was, told in."""
        wanted = (
            sa.select(digest)
            .join(digest_member, digest_member.c.digest_id == digest.c.id)
            .where(digest_member.c.alert_id == alert_id)
            .order_by(digest.c.closes_at, digest.c.channel_id)
        )
        async with self._database.reading() as connection:
            return tuple(
                Together(
                    digest_id=row.id,
                    cause=row.cause,
                    channel_id=row.channel_id,
                    closes_at=row.closes_at,
                    closed_at=row.closed_at,
                    alert_id=row.alert_id,
                )
                for row in await connection.execute(wanted)
            )

    async def joined(self, alert_id: str) -> Joined | None:
        """The incident that an alert is part of, if it is of one."""
        wanted = (
            sa.select(incident)
            .join(incident_member, incident_member.c.incident_id == incident.c.id)
            .where(incident_member.c.alert_id == alert_id)
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).first()
        if row is None:
            return None
        return Joined(incident_id=row.id, host=row.host, state=row.state, alert_id=row.alert_id)

    async def outlook(
        self, rule_id: str, now: float, *, kind: AlertKind = "change", severity: Severity = "warning"
    ) -> Outlook:
        """What is known of an alert that a rule would raise now. Raises NotFound, Unreadable."""
        async with self._database.reading() as connection:
            stored = await read_rule(connection, rule_id)
            newest = (
                sa.select(alert.c.title).where(alert.c.rule_id == rule_id, alert.c.kind == kind)
            ).order_by(alert.c.created_at.desc(), alert.c.id.desc())
            title = (await connection.execute(newest.limit(1))).scalar() or stored.rule.title
            draft = AlertDraft(kind=kind, severity=severity, title=title, body={}, dedupe_key="", channels=())
            scene = Scene(workspace=stored.workspace, rule=stored.rule, run_id=None, now=now)
            view = await Raising(self._database, connection).look(scene, draft)
            if kind == "health" and stored.workspace.incident is not None:
                view = await _with_incident(connection, scene, view)
            return Outlook(
                asked=Asked(
                    kind=kind,
                    severity=severity,
                    title=title,
                    rule=stored.rule,
                    workspace=stored.workspace,
                    own=tuple(stored.rule.alert_policy.channels),
                    cooling_until=cooling_until(stored.rule, stored.state, now, severity)
                    if kind == "change"
                    else None,
                ),
                view=view,
                channels=tuple(await read_channels(connection, stored.workspace.id)),
            )

    async def acknowledge(self, alert_id: str, now: float, *, by: str = "", note: str = "") -> bool:
        """Somebody has taken it on: what was to be told if nobody did is not told any more.

        False: it was acknowledged before; who did stays. Raises NotFound.
        """
        async with self._database.writing() as connection:
            done = await connection.execute(
                sa.update(alert)
                .where(alert.c.id == alert_id, alert.c.acked_at.is_(None))
                .values(acked_at=now, acked_by=by[:MAX_NAME] or None, ack_note=note[:MAX_NOTE] or None)
            )
            if done.rowcount == 0:
                if (await connection.execute(sa.select(alert.c.id).where(alert.c.id == alert_id))).first():
                    return False
                raise NotFound(f"no alert {alert_id}")
            await connection.execute(
                sa.update(delivery)
                .where(
                    delivery.c.alert_id == alert_id,
                    delivery.c.escalates_at.is_not(None),
                    delivery.c.state == "pending",
                )
                .values(
                    state="skipped",
                    error=f"acknowledged{f' by {by[:MAX_NAME]}' if by else ''}",
                    updated_at=now,
                )
            )
            return True


async def _with_incident(connection: AsyncConnection, scene: Scene, view: View) -> View:
    key = f"{scene.workspace.id} {host_of(scene.rule.url)}"
    row = (await connection.execute(sa.select(incident).where(incident.c.key == key))).first()
    if row is None:
        return view
    told = row.state == "open"
    return msgspec.structs.replace(
        view, incident=row.id, incident_told=told, incident_until=None if told else row.until
    )
