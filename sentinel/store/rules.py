"""Rules as they are stored: read, switched, deleted, exported, and claimed when they are due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.credentials import SealedCredential
from sentinel.decide.schedule import in_zone, is_allowed
from sentinel.errors import NotFound, Unreadable
from sentinel.jobs import RULES_RUN, RunRule, run_rule_policy
from sentinel.model import Channel, Rule, RulesFile, RuleState
from sentinel.store.base import AnyRow, Part
from sentinel.store.columns import to_micros
from sentinel.store.database import Database
from sentinel.store.imports import (
    CHANNEL_DEFINITION,
    RULE_DEFINITION,
    as_workspace,
    channel_columns,
    forget_backoff,
    read_workspace,
    rule_columns,
)
from sentinel.store.outbox import add_jobs
from sentinel.store.records import (
    DueRule,
    NewOutboxJob,
    StoredChannel,
    StoredRule,
    UnreadableChannel,
    UnreadableRule,
)
from sentinel.store.tables import channel, rule, rule_state, rule_tag, run, source, workspace
from sentinel.store.turn import Turns

#: Seconds until a rule that cannot be read is looked at again: somebody may have mended it by hand.
LOOK_AGAIN: Final = 3600.0
#: Characters of what is wrong with it that are kept.
MAX_PROBLEM: Final = 500


class Rules(Part):
    """Rules and channels."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._turns = Turns(database)

    async def rule(self, rule_id: str) -> StoredRule:
        """Raises NotFound, StoreUnavailable."""
        return await self._database.read(lambda connection: read_rule(connection, rule_id))

    async def rules(
        self,
        limit: int = 1000,
        *,
        enabled: bool | None = None,
        tag: str | None = None,
        workspace_id: str | None = None,
        after: str = "",
    ) -> list[StoredRule]:
        """Rules by id; `after`: the last id of the page before. Raises Unreadable: one of them is that."""
        found = await self.all_rules(limit, enabled=enabled, tag=tag, workspace_id=workspace_id, after=after)
        for one in found:
            if isinstance(one, UnreadableRule):
                raise Unreadable(one.problem)
        return [one for one in found if isinstance(one, StoredRule)]

    async def all_rules(
        self,
        limit: int = 1000,
        *,
        enabled: bool | None = None,
        tag: str | None = None,
        workspace_id: str | None = None,
        after: str = "",
    ) -> list[StoredRule | UnreadableRule]:
        """As `rules`, with those that cannot be read in their place."""
        wanted = _SELECT_RULE.where(rule.c.id > after).order_by(rule.c.id).limit(limit)
        if enabled is not None:
            wanted = wanted.where(rule.c.enabled == enabled)
        if workspace_id is not None:
            wanted = wanted.where(rule.c.workspace_id == workspace_id)
        if tag is not None:
            wanted = wanted.where(rule.c.id.in_(sa.select(rule_tag.c.rule_id).where(rule_tag.c.tag == tag)))
        async with self._database.reading() as connection:
            return [_stored_or_not(row) for row in await connection.execute(wanted)]

    async def set_enabled(self, rule_id: str, enabled: bool, now: float) -> bool:
        """Switch a rule on or off, in its definition too: a file that says otherwise is a difference.

        One that had backed off is due at once when it is switched on.
        False: it was so already. Raises NotFound.
        """
        async with self._database.writing() as connection:
            stored = await read_rule(connection, rule_id, lock=True)
            if stored.enabled == enabled:
                return False
            changed = msgspec.structs.replace(stored.rule, enabled=enabled)
            await connection.execute(
                sa.update(rule)
                .where(rule.c.id == rule_id)
                .values(**rule_columns(stored.workspace.id, changed, now))
            )
            if enabled:
                await forget_backoff(connection, rule_id, now)
            return True

    async def delete_rule(self, rule_id: str) -> None:
        """Forget a rule and its state; a job that waits for it finds NotFound. Raises NotFound.

        What happened stays until retention takes it: runs, observations, alerts and the deliveries
        still to be made. A rule of the same id made later starts without a value, and `history`
        shows both.
        """
        async with self._database.writing() as connection:
            found = await connection.execute(
                sa.delete(rule).where(rule.c.id == rule_id).returning(rule.c.source_id)
            )
            gone = found.first()
            if gone is None:
                raise NotFound(f"no rule {rule_id}")
            still_used = sa.select(rule.c.id).where(rule.c.source_id == gone.source_id)
            await connection.execute(
                sa.delete(source).where(source.c.id == gone.source_id, ~sa.exists(still_used))
            )

    async def export(self, workspace_id: str | None = None) -> RulesFile:
        """A workspace with its channels and rules, as a file that imports unchanged.

        None: the only workspace there is. Raises NotFound (none, or several and none was named).
        """
        async with self._database.reading() as connection:
            wanted = workspace_id or await _only_workspace(connection)
            found = await read_workspace(connection, wanted)
            if found is None:
                raise NotFound(f"no workspace {wanted}")
            channels = _SELECT_CHANNEL.where(channel.c.workspace_id == wanted).order_by(channel.c.id)
            rules = sa.select(rule.c.id, RULE_DEFINITION).where(rule.c.workspace_id == wanted)
            return RulesFile(
                workspace=found,
                channels=[_readable_channel(row).definition for row in await connection.execute(channels)],
                rules=[
                    _readable(row.id, row.definition)
                    for row in await connection.execute(rules.order_by(rule.c.id))
                ],
            )

    async def claim_due(
        self, now: float, *, limit: int, next_due: Callable[[Rule, float], float]
    ) -> list[DueRule]:
        """Claim up to `limit` ticks: each is claimed once, however many ask, and its job written.

        One transaction moves the rule to `next_due(rule, now)` (seconds since the epoch) and puts
        its `rules:run` job, `<rule_id>@<due ms>`, into the outbox. After downtime a rule fires
        once, not once per tick missed, and where its active hours are over by then, at its next tick
        and not now. `next_due` is given the rule in its zone.

        A rule that cannot be read, or whose next due time cannot be worked out, must not keep the
        others from their turn: it gets a run with RULE_INVALID instead of a job, is broken, and is
        looked at again an hour later. Raises StoreUnavailable.
        """
        chosen, ranked_before = await self._turns.next(now, limit)
        if not chosen:
            return []
        due = (
            sa.select(
                rule.c.id,
                rule.c.workspace_id,
                RULE_DEFINITION,
                rule.c.next_due_at,
                rule.c.due_since,
                rule.c.claimed_at,
                rule.c.claimed_job_id,
                rule_state.c.last_run_at,
                workspace.c.timezone,
            )
            .join(rule_state, rule_state.c.rule_id == rule.c.id)
            .join(workspace, workspace.c.id == rule.c.workspace_id)
            .where(rule.c.id.in_(chosen), rule.c.enabled, rule.c.next_due_at <= now)
            .order_by(rule.c.next_due_at)
            .with_for_update(of=rule, skip_locked=True)
        )

        async def claim(connection: AsyncConnection) -> list[DueRule]:
            rows = (await connection.execute(due)).all()
            claims = [_claim(row, now, next_due) for row in rows]
            await _move(connection, rows, claims, now)
            jobs: dict[str, list[NewOutboxJob]] = {}  # one statement a workspace, not one a rule
            for row, claimed in zip(rows, claims, strict=True):
                if claimed.out_of_hours:
                    continue
                if claimed.problem is None:
                    job = tick_job(claimed.rule_id, claimed.job_id, now)
                    jobs.setdefault(row.workspace_id, []).append(job)
                else:
                    await self._tell_invalid(connection, row.workspace_id, claimed, now)
            for workspace_id, due_now in jobs.items():
                await add_jobs(self._database, connection, workspace_id, due_now, now)
            return claims

        claims = await self._database.write(claim)
        if ranked_before and len(claims) < limit:
            self._turns.forget()
            claims += await self.claim_due(now, limit=limit - len(claims), next_due=next_due)
        return claims

    async def channel(self, workspace_id: str, channel_id: str) -> Channel:
        """Raises NotFound."""
        async with self._database.reading() as connection:
            return (await read_channel(connection, workspace_id, channel_id)).channel

    async def channels(self, workspace_id: str | None = None) -> list[StoredChannel | UnreadableChannel]:
        """All channels, by workspace and id; those that cannot be read in their place."""
        async with self._database.reading() as connection:
            return await read_channels(connection, workspace_id)

    async def channel_ids(self, workspace_id: str | None = None) -> list[str]:
        """Of all channels, whatever is in them."""
        wanted = sa.select(channel.c.id).order_by(channel.c.workspace_id, channel.c.id)
        if workspace_id is not None:
            wanted = wanted.where(channel.c.workspace_id == workspace_id)
        async with self._database.reading() as connection:
            return list(await connection.scalars(wanted))

    async def _tell_invalid(
        self, connection: AsyncConnection, workspace_id: str, claimed: DueRule, now: float
    ) -> None:
        """A run that ended before it began, and the health of a rule that only a person can mend."""
        told = self._database.insert(run).values(
            workspace_id=workspace_id,
            rule_id=claimed.rule_id,
            job_id=claimed.job_id,
            trigger="schedule",
            fence=0,
            attempt=1,
            status="error",
            started_at=now,
            finished_at=now,
            not_modified=False,
            timings={},
            error_code="RULE_INVALID",
            error_detail=claimed.problem,
        )
        await connection.execute(told.on_conflict_do_nothing(index_elements=[run.c.job_id]))
        await connection.execute(
            sa.update(rule_state)
            .where(rule_state.c.rule_id == claimed.rule_id)
            .values(
                health=0.0,
                health_state="broken",
                fail_streak=rule_state.c.fail_streak + 1,
                last_run_at=now,
                version=rule_state.c.version + 1,
            )
        )


def tick_job(rule_id: str, job_id: str, now: float) -> NewOutboxJob:
    """The job of a scheduled check."""
    payload = RunRule(rule_id=rule_id, trigger="schedule", requested_at=iso(now))
    policy = run_rule_policy(payload)
    return NewOutboxJob(
        stream=RULES_RUN,
        job_id=job_id,
        payload=payload,
        lane=policy.lane,
        unique=policy.unique,
        unique_for=policy.unique_for,
    )


def tick_id(rule_id: str, due: float) -> str:
    """The id of the job of a scheduled check."""
    return f"{rule_id}@{to_micros(due) // 1000}"


def iso(seconds: float) -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def zoned(definition: Rule, timezone: str) -> Rule:
    """The rule with its schedule in its own zone, else in the workspace's, `timezone`."""
    schedule = in_zone(definition.schedule, timezone)
    if schedule is definition.schedule:
        return definition
    return msgspec.structs.replace(definition, schedule=schedule)


def _claim(row: AnyRow, now: float, next_due: Callable[[Rule, float], float]) -> DueRule:
    job_id = tick_id(row.id, row.next_due_at)
    try:
        known = zoned(_readable(row.id, row.definition), row.timezone)
        following = next_due(known, now)
        allowed = is_allowed(known.schedule, row.next_due_at, now)
    except Unreadable as unreadable:
        problem = str(unreadable)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the other rules' turn goes on; the caller logs it
        problem = f"its schedule cannot be worked out: {type(exc).__name__}: {exc}"
    else:
        return DueRule(row.id, job_id, row.next_due_at, following, out_of_hours=not allowed)
    return DueRule(row.id, job_id, row.next_due_at, now + LOOK_AGAIN, problem[:MAX_PROBLEM])


def _due_since(row: AnyRow) -> float:
    """The first tick that no check has answered, this one if there is none before it."""
    due: float = row.next_due_at
    if row.due_since is None or (row.last_run_at is not None and row.last_run_at >= row.due_since):
        return due
    first: float = row.due_since
    return first


async def _move(
    connection: AsyncConnection, rows: Sequence[AnyRow], claims: list[DueRule], now: float
) -> None:
    """Compare and set: no other scheduler got here, or its rows would not have been selected."""
    if not claims:
        return
    await connection.execute(
        sa.update(rule)
        .where(rule.c.id == sa.bindparam("its_id"), rule.c.next_due_at == sa.bindparam("its_due"))
        .values(
            next_due_at=sa.bindparam("its_next"),
            claimed_at=sa.bindparam("its_claimed"),
            claimed_job_id=sa.bindparam("its_job_id"),
            due_since=sa.bindparam("its_since"),
        ),
        [
            {
                "its_id": one.rule_id,
                "its_due": one.due,
                "its_next": one.next_due,
                # A tick that is left out is none: what the last one was stays.
                "its_claimed": row.claimed_at if one.out_of_hours else now,
                "its_job_id": row.claimed_job_id if one.out_of_hours else one.job_id,
                "its_since": row.due_since if one.out_of_hours else _due_since(row),
            }
            for row, one in zip(rows, claims, strict=True)
        ],
    )


_SELECT_RULE = sa.select(
    *(column for column in rule.c if column is not rule.c.definition), RULE_DEFINITION, rule_state, workspace
).select_from(
    rule.join(rule_state, rule_state.c.rule_id == rule.c.id).join(
        workspace, workspace.c.id == rule.c.workspace_id
    )
)
_SELECT_ONE = _SELECT_RULE.where(rule.c.id == sa.bindparam("its_id"))
_LOCK_ONE = _SELECT_ONE.with_for_update(of=rule)


async def read_rule(connection: AsyncConnection, rule_id: str, *, lock: bool = False) -> StoredRule:
    """In the caller's transaction; `lock` keeps other writers away until its end. Raises NotFound."""
    wanted = _LOCK_ONE if lock else _SELECT_ONE
    row = (await connection.execute(wanted, {"its_id": rule_id})).first()
    if row is None:
        raise NotFound(f"no rule {rule_id}")
    return _stored_rule(row)


def _readable(rule_id: str, definition: Rule | Unreadable) -> Rule:
    """Raises Unreadable that names the rule."""
    if isinstance(definition, Unreadable):
        raise Unreadable(
            f"rule {rule_id} is stored in a form that this program does not read ({definition}):"
            " import it again, or delete it"
        ) from definition
    return definition


def _stored_or_not(row: AnyRow) -> StoredRule | UnreadableRule:
    try:
        return _stored_rule(row)
    except Unreadable as unreadable:
        values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
        return UnreadableRule(
            rule_id=values[rule.c.id],
            workspace=as_workspace(row),
            enabled=values[rule.c.enabled],
            next_due=values[rule.c.next_due_at],
            problem=str(unreadable),
        )


def _stored_rule(row: AnyRow) -> StoredRule:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    return StoredRule(
        rule=_readable(values[rule.c.id], row.definition),
        workspace=as_workspace(row),
        state=RuleState(**{name: values[rule_state.c[name]] for name in RuleState.__struct_fields__}),
        next_due=values[rule.c.next_due_at],
        created_at=values[rule.c.created_at],
        updated_at=values[rule.c.updated_at],
        page_blob=values[rule_state.c.page_blob],
        page_blob_at=values[rule_state.c.page_blob_at],
        elements=values[rule_state.c.elements] or {},
    )


_SELECT_CHANNEL = sa.select(
    *(column for column in channel.c if column is not channel.c.definition), CHANNEL_DEFINITION
)


async def read_channel(
    connection: AsyncConnection, workspace_id: str, channel_id: str, *, lock: bool = False
) -> StoredChannel:
    """In the caller's transaction; `lock` keeps other writers away until its end.

    Raises NotFound, Unreadable.
    """
    wanted = _SELECT_CHANNEL.where(channel.c.workspace_id == workspace_id, channel.c.id == channel_id)
    if lock:
        wanted = wanted.with_for_update()
    row = (await connection.execute(wanted)).first()
    if row is None:
        raise NotFound(f"no channel {channel_id}")
    return stored_channel(row)


async def read_channels(
    connection: AsyncConnection, workspace_id: str | None = None
) -> list[StoredChannel | UnreadableChannel]:
    """In the caller's transaction, by workspace and id; those that cannot be read in their place."""
    wanted = _SELECT_CHANNEL.order_by(channel.c.workspace_id, channel.c.id)
    if workspace_id is not None:
        wanted = wanted.where(channel.c.workspace_id == workspace_id)
    return [channel_or_not(row) for row in await connection.execute(wanted)]


async def channels_called(
    connection: AsyncConnection, channel_id: str, workspace_id: str | None
) -> list[AnyRow]:
    """Rows for `channel_or_not`, of up to three workspaces, or of the one."""
    wanted = _SELECT_CHANNEL.where(channel.c.id == channel_id).order_by(channel.c.workspace_id)
    if workspace_id is not None:
        wanted = wanted.where(channel.c.workspace_id == workspace_id)
    return list((await connection.execute(wanted.limit(3))).all())


async def disable_channel(
    connection: AsyncConnection, workspace_id: str, channel_id: str, reason: str, now: float
) -> bool:
    """Switch a channel off in the caller's transaction; importing a file that has it on switches it on.

    False: it was off already, is gone, or cannot be read.
    """
    try:
        stored = await read_channel(connection, workspace_id, channel_id)
    except (NotFound, Unreadable):
        return False
    if not stored.channel.enabled:
        return False
    changed = msgspec.structs.replace(stored.channel, enabled=False)
    await connection.execute(
        sa.update(channel)
        .where(channel.c.workspace_id == workspace_id, channel.c.id == channel_id)
        .values(disabled_reason=reason, **channel_columns(changed, now))
    )
    return True


def _readable_channel(row: AnyRow) -> AnyRow:
    """The row. Raises Unreadable that names the channel."""
    if isinstance(row.definition, Unreadable):
        raise Unreadable(
            f"channel {row.id} is stored in a form that this program does not read ({row.definition}):"
            " import it again, or delete it"
        ) from row.definition
    return row


def channel_or_not(row: AnyRow) -> StoredChannel | UnreadableChannel:
    """As `stored_channel`, or what is known of one that cannot be read."""
    try:
        return stored_channel(row)
    except Unreadable as unreadable:
        return UnreadableChannel(
            channel_id=row.id,
            workspace_id=row.workspace_id,
            type=row.type,
            enabled=row.enabled,
            problem=str(unreadable),
        )


def stored_channel(row: AnyRow) -> StoredChannel:
    """A row of `_SELECT_CHANNEL`; stored credentials are still sealed. Raises Unreadable."""
    _readable_channel(row)
    sealed = {
        name: SealedCredential(stored=True, workspace=row.workspace_id, sealed=text)
        for name, text in (row.credentials or {}).items()
        if name in row.definition.credentials
    }
    definition = row.definition
    if sealed:
        definition = msgspec.structs.replace(definition, credentials={**definition.credentials, **sealed})
    return StoredChannel(
        channel=definition, workspace_id=row.workspace_id, disabled_reason=row.disabled_reason
    )


async def _only_workspace(connection: AsyncConnection) -> str:
    ids = list(await connection.scalars(sa.select(workspace.c.id).order_by(workspace.c.id).limit(2)))
    match ids:
        case [only]:
            return str(only)
        case []:
            raise NotFound("no workspace: import a rules file first")
    raise NotFound(f"several workspaces ({', '.join(ids)}, ...): name one")
