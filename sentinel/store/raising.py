"""What becomes of an alert, carried out: rows, deliveries and jobs in the transaction that it came of.

Each alert is one row, whatever is decided: it is told at once (a delivery and a job per channel), held
for later (a member of a digest per channel), or not told; then the row says why, until when, and what
would have let it through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.alerting import HELD, Asked, Hold, Plan, View, pattern_of, plan
from sentinel.errors import NotFound, Severity, Unreadable
from sentinel.jobs import (
    ALERTS_DISPATCH,
    DispatchAlert,
    delivery_job_id,
    delivery_policy,
    dispatch_alert_policy,
)
from sentinel.model import AlertDraft, Escalation, Extraction, Flood, Rule, Workspace
from sentinel.store.base import new_id
from sentinel.store.database import Database
from sentinel.store.imports import read_workspace
from sentinel.store.records import NewOutboxJob
from sentinel.store.rules import read_rule
from sentinel.store.tables import alert, delivery, digest, digest_member


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Where alerts come from."""

    workspace: Workspace
    #: The rule; of an incident the last that broke, of a digest that of its first member.
    rule: Rule
    run_id: int | None
    now: float


async def scene_of(
    connection: AsyncConnection, workspace_id: str, rule_id: str, url: str, now: float
) -> Scene:
    """The scene of an alert of long ago: its rule as it is now, or what is known of one that is gone."""
    try:
        stored = await read_rule(connection, rule_id)
    except (NotFound, Unreadable):
        space = await read_workspace(connection, workspace_id)
        return Scene(
            workspace=space or Workspace(id=workspace_id),
            rule=Rule(id=rule_id, url=url or "-", type="text", extraction=Extraction(method="text")),
            run_id=None,
            now=now,
        )
    return Scene(workspace=stored.workspace, rule=stored.rule, run_id=None, now=now)


#: Told of an alert once it is committed: its id, its severity, and `queued` or why it is not sent.
Tell = Callable[[str, Severity, str], None]


def tell_nobody(_: str, __: Severity, ___: str) -> None:
    """Where nobody counts."""


class Raising:
    """Writes the alerts of one transaction and collects what comes of each."""

    def __init__(self, database: Database, connection: AsyncConnection) -> None:
        self.database = database
        self.connection = connection
        #: Told at once.
        self.raised: list[str] = []
        #: Not told, or later: reasons by id.
        self.suppressed: dict[str, str] = {}
        #: For the outbox, once all is written.
        self.jobs: list[NewOutboxJob] = []
        #: Of both.
        self.severities: dict[str, Severity] = {}
        self._last_id = ""

    def report(self, tell: Tell) -> None:
        """Tell of each alert; when the transaction is over."""
        for alert_id, severity in self.severities.items():
            tell(alert_id, severity, self.suppressed.get(alert_id, "queued"))

    async def look(self, scene: Scene, draft: AlertDraft) -> View:
        """What the decision needs to know besides the rule."""
        taken = sa.select(alert.c.id).where(alert.c.dedupe_key == draft.dedupe_key)
        view = View(duplicate_of=(await self.connection.execute(taken)).scalar())
        if scene.workspace.flood is None:
            return view
        alike, of_rule = _floods(scene, scene.workspace.flood, draft)
        return msgspec.structs.replace(
            view,
            like_rule=(await self.connection.execute(of_rule)).scalar_one(),
            like_pattern=(await self.connection.execute(alike)).scalar_one(),
        )

    async def add(
        self,
        scene: Scene,
        draft: AlertDraft,
        *,
        view: View | None = None,
        channels: Sequence[str] = (),
    ) -> str:
        """Decide and write; the alert's id. `channels`: for these, whatever rule and routes say."""
        seen = await self.look(scene, draft) if view is None else view
        decided = plan(
            Asked(
                kind=draft.kind,
                severity=draft.severity,
                title=draft.title,
                rule=scene.rule,
                workspace=scene.workspace,
                own=draft.channels,
                channels=tuple(channels),
                cooling_until=None if draft.suppressed is None else (draft.suppressed_until or scene.now),
            ),
            seen,
            now=scene.now,
        )
        alert_id = await self.tell(scene, draft, decided)
        if alert_id is None:
            # Somebody else told the same between our look and now.
            return await self.add(scene, draft, view=await self.look(scene, draft), channels=channels)
        return alert_id

    async def tell(self, scene: Scene, draft: AlertDraft, decided: Plan) -> str | None:
        """Write an alert as it was decided; its id, or None: its dedupe key is taken."""
        alert_id = self._next_id(scene.now)
        # What was never told must not hold up what will be, so its key is its own.
        takes_key = decided.reason is None or decided.reason in HELD
        key = draft.dedupe_key if takes_key else f"{draft.dedupe_key}~{decided.reason}~{alert_id}"
        if not await self._insert(alert_id, key, draft, decided, scene):
            return None
        self.severities[alert_id] = draft.severity
        await self._carry_out(alert_id, key, draft.severity, decided, scene)
        return alert_id

    async def release(self, alert_id: str, draft: AlertDraft, decided: Plan, scene: Scene) -> None:
        """An alert that was held back is told after all, or held for another reason."""
        await self.connection.execute(
            sa.update(alert)
            .where(alert.c.id == alert_id)
            .values(dedupe_key=draft.dedupe_key, **_fate(decided, draft, scene))
        )
        await self._carry_out(alert_id, draft.dedupe_key, draft.severity, decided, scene)

    async def _carry_out(
        self, alert_id: str, key: str, severity: Severity, decided: Plan, scene: Scene
    ) -> None:
        """Deliveries, escalations, holds and jobs of an alert whose row is written."""
        payload = DispatchAlert(
            alert_id=alert_id,
            workspace_id=scene.workspace.id,
            rule_id=scene.rule.id,
            channels=decided.now,
            dedupe_key=key,
        )
        await self._deliveries(payload, scene.now, None)
        self.jobs += delivery_jobs(f"alert-{alert_id}", payload, severity)
        for escalation in decided.escalations:
            await self._escalate(payload, severity, escalation, scene.now)
        for hold in sorted(decided.holds, key=lambda one: (one.channel, one.cause)):
            await self._hold(alert_id, hold, scene)
        if decided.reason is None:
            self.raised.append(alert_id)
        else:
            self.suppressed[alert_id] = decided.reason

    async def _insert(self, alert_id: str, key: str, draft: AlertDraft, decided: Plan, scene: Scene) -> bool:
        """False: the dedupe key is taken."""
        inserted = await self.connection.execute(
            self.database.insert(alert)
            .values(
                id=alert_id,
                workspace_id=scene.workspace.id,
                rule_id=scene.rule.id,
                run_id=scene.run_id,
                kind=draft.kind,
                severity=draft.severity,
                title=draft.title,
                body=draft.body,
                conditions=draft.conditions,
                dedupe_key=key,
                created_at=scene.now,
                **_fate(decided, draft, scene),
            )
            .on_conflict_do_nothing(index_elements=[alert.c.dedupe_key])
            .returning(alert.c.id)
        )
        return inserted.first() is not None

    def _next_id(self, now: float) -> str:
        """Ids that rise with time, and over the alerts of one transaction too."""
        made = new_id(now)
        while made <= self._last_id:
            now += 0.001
            made = new_id(now)
        self._last_id = made
        return made

    async def _escalate(
        self, payload: DispatchAlert, severity: Severity, escalation: Escalation, now: float
    ) -> None:
        later = msgspec.structs.replace(payload, channels=tuple(escalation.channels))
        due = now + escalation.after
        await self._deliveries(later, now, due)
        self.jobs += [
            msgspec.structs.replace(job, available_at=due)
            for job in delivery_jobs(f"alert-{payload.alert_id}", later, severity)
        ]

    async def _deliveries(self, payload: DispatchAlert, now: float, escalates_at: float | None) -> None:
        rows = [
            {
                "alert_id": payload.alert_id,
                "channel_id": channel_id,
                "workspace_id": payload.workspace_id,
                "state": "pending",
                "fence": 0,
                "attempts": 0,
                "created_at": now,
                "updated_at": now,
                "escalates_at": escalates_at,
            }
            for channel_id in payload.channels
        ]
        if rows:
            await self.connection.execute(sa.insert(delivery), rows)

    # --- digests --------------------------------------------------------------------------------

    async def _hold(self, alert_id: str, hold: Hold, scene: Scene) -> None:
        """Make it a member of what is told then; of what comes after, where that is told already."""
        until = hold.until
        while (digest_id := await self._open_digest(hold, until, scene)) is None:
            until = max(until, scene.now) + 60.0
        await self.connection.execute(
            sa.insert(digest_member).values(
                digest_id=digest_id, alert_id=alert_id, workspace_id=scene.workspace.id
            )
        )

    async def _open_digest(self, hold: Hold, until: float, scene: Scene) -> str | None:
        """The digest that ends then; None: it has been told."""
        key = f"{scene.workspace.id} {hold.cause} {hold.channel} {until:.3f} {hold.by} {hold.group}"
        await self.connection.execute(
            self.database.insert(digest)
            .values(
                id=new_id(scene.now),
                workspace_id=scene.workspace.id,
                cause=hold.cause,
                by=hold.by,
                grouped=hold.group,
                channel_id=hold.channel,
                key=key,
                opened_at=scene.now,
                closes_at=until,
            )
            .on_conflict_do_nothing(index_elements=[digest.c.key])
        )
        # Shared: others may join at the same time, but it is not closed before all who join have committed.
        row = (
            await self.connection.execute(
                sa.select(digest.c.id, digest.c.closed_at)
                .where(digest.c.key == key)
                .with_for_update(read=True)
            )
        ).one()
        return None if row.closed_at is not None else str(row.id)


def delivery_jobs(job_id: str, payload: DispatchAlert, severity: Severity) -> list[NewOutboxJob]:
    """The jobs that bring an alert to the channels of `payload`: one for each, with retries of its own.

    `job_id` names the whole; the handler gives the same ids to the parts of a job that names several.
    """
    lane = dispatch_alert_policy(payload, severity=severity).lane
    jobs = []
    for channel_id in dict.fromkeys(payload.channels):
        policy = delivery_policy(payload, channel_id, lane=lane)
        jobs.append(
            NewOutboxJob(
                stream=ALERTS_DISPATCH,
                job_id=delivery_job_id(job_id, channel_id),
                payload=msgspec.structs.replace(payload, channels=(channel_id,)),
                lane=policy.lane,
                unique=policy.unique,
                unique_for=policy.unique_for,
            )
        )
    return jobs


def _fate(decided: Plan, draft: AlertDraft, scene: Scene) -> dict[str, object]:
    """The columns that say what was decided."""
    counts = scene.workspace.flood is not None and decided.reason in (None, "flood")
    return {
        "channels": decided.channels,
        "state": "suppressed" if decided.reason else "pending",
        "suppressed": decided.reason,
        "suppressed_until": decided.until,
        "undo": decided.undo or None,
        "routing": tuple(step for step in decided.steps if step.counts),
        "pattern": pattern_of(draft.title) if counts else None,
        "updated_at": scene.now,
    }


def _floods(scene: Scene, flood: Flood, draft: AlertDraft) -> tuple[sa.Select[int], sa.Select[int]]:
    """How many were told one by one, or as part of a flood, within the window: alike, and of the rule.

    Counted no further than is needed to know that it is one. Others that are being written at this
    moment are not seen, so that a few more than the limit may be told.
    """
    recent = sa.select(sa.literal(1)).where(
        alert.c.workspace_id == scene.workspace.id, alert.c.created_at > scene.now - flood.within
    )
    alike = recent.where(alert.c.pattern == pattern_of(draft.title)).limit(flood.alerts)
    of_rule = recent.where(alert.c.rule_id == scene.rule.id, alert.c.pattern.is_not(None)).limit(flood.alerts)
    return (
        sa.select(sa.func.count()).select_from(alike.subquery()),
        sa.select(sa.func.count()).select_from(of_rule.subquery()),
    )
