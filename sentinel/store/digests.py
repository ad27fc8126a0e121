"""Digests: alerts that were held are told together, once, when their window closes."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.alerting import Plan
from sentinel.decide.routing import RANK, Step
from sentinel.errors import Severity
from sentinel.model import AlertDraft
from sentinel.store.base import AnyRow, Part
from sentinel.store.outbox import add_jobs
from sentinel.store.raising import Raising, Tell, scene_of, tell_nobody
from sentinel.store.tables import alert, digest, digest_member

#: Digests closed in one call.
BATCH: Final = 100
#: Members that are told one by one; the rest as "and N more".
SHOWN: Final = 50


class Digests(Part):
    """What is told together."""

    async def close_digests(self, now: float, *, tell: Tell = tell_nobody) -> int:
        """Tell what has come due; how many digests were closed.

        Each in a transaction of its own that closes it (compare and set), writes its alert, the
        delivery and the job: once, however many ask, and not at all where it is undone. A digest
        whose alerts were all acknowledged meanwhile is closed without one. Raises StoreUnavailable.
        """
        due = (
            sa.select(digest.c.id)
            .where(digest.c.closed_at.is_(None), digest.c.closes_at <= now)
            .order_by(digest.c.closes_at, digest.c.id)
            .limit(BATCH)
        )

        async def look(connection: AsyncConnection) -> list[str]:
            return list(await connection.scalars(due))

        async def close(connection: AsyncConnection, digest_id: str) -> tuple[bool, Raising]:
            raising = Raising(self._database, connection)
            return await self._close(raising, digest_id, now), raising

        closed = 0
        for digest_id in await self._database.read(look):
            done, raising = await self._database.write(partial(close, digest_id=digest_id))
            closed += done
            raising.report(tell)
        return closed

    async def _close(self, raising: Raising, digest_id: str, now: float) -> bool:
        connection = raising.connection
        claimed = await connection.execute(
            sa.update(digest)
            .where(digest.c.id == digest_id, digest.c.closed_at.is_(None))
            .values(closed_at=now)
            .returning(digest)
        )
        row = claimed.first()
        if row is None:
            return False
        total = (await connection.execute(_members(row.id, sa.func.count()))).scalar_one()
        if total == 0:
            return True
        first, draft = await _draft(connection, row, total)
        scene = await scene_of(connection, row.workspace_id, first.rule_id, "", now)
        alert_id = await raising.tell(scene, draft, _only_to(row))
        await connection.execute(sa.update(digest).where(digest.c.id == row.id).values(alert_id=alert_id))
        await add_jobs(self._database, connection, row.workspace_id, raising.jobs, now)
        return True


def _members(digest_id: str, *columns: Any) -> sa.Select[Any]:  # Any: columns and what is made of them
    """Those that are told: somebody has seen the others."""
    return (
        sa.select(*columns)
        .select_from(digest_member)
        .join(alert, alert.c.id == digest_member.c.alert_id)
        .where(digest_member.c.digest_id == digest_id, alert.c.acked_at.is_(None))
    )


async def _draft(connection: AsyncConnection, row: AnyRow, total: int) -> tuple[AnyRow, AlertDraft]:
    """The first alert of the digest, and the digest's own."""
    severities = list(await connection.scalars(_members(row.id, alert.c.severity).distinct()))
    severity: Severity = max(severities, key=RANK.__getitem__)
    wanted = _members(row.id, alert).order_by(alert.c.id).limit(SHOWN)
    members = (await connection.execute(wanted)).all()
    words = _TITLES[row.cause].format(n=total, s="" if total == 1 else "s", what=row.grouped)
    if row.cause == "digest" and row.by != "workspace":
        words += f" of {row.grouped or f'no {row.by}'}"
    body = {
        "rule": row.grouped or row.workspace_id,
        "members": [_member(member) for member in members],
        "more": total - len(members),
        "digest": {
            "id": row.id,
            "cause": row.cause,
            "by": row.by,
            "group": row.grouped,
            "total": total,
            "since": row.opened_at,
        },
    }
    return members[0], AlertDraft(
        kind="digest",
        severity=severity,
        title=words,
        body=body,
        dedupe_key=f"digest:{row.id}",
        channels=(row.channel_id,),
    )


_TITLES: Final = {
    "quiet_hours": "{n} alert{s} from the quiet hours",
    "digest": "{n} alert{s}",
    "flood": "{n} more like this: {what}",
}


def _member(row: AnyRow) -> dict[str, Any]:  # Any: JSON
    fields = row.body.get("fields") or [{}]
    return {
        "alert_id": row.id,
        "rule_id": row.rule_id,
        "rule": row.body.get("rule") or row.rule_id,
        "kind": row.kind,
        "severity": row.severity,
        "title": row.title,
        "url": row.body.get("url") or "",
        "before": fields[0].get("before"),
        "after": fields[0].get("after"),
        "at": row.created_at,
    }


def _only_to(row: AnyRow) -> Plan:
    """The channel that it was collected for; whether it may go out was decided then."""
    words = f"a digest of what was held for {row.channel_id} ({row.cause})"
    channels = (row.channel_id,)
    return Plan(channels, (), (), channels, (Step("digest", words, True),))
