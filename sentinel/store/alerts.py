"""Alerts and their deliveries: one row per channel, every attempt told, sent never taken back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.endpoint import Breaker, Hold, hold, is_missing
from sentinel.decide.fallbacks import MAX_FALLBACKS
from sentinel.errors import NotFound, StaleWorker
from sentinel.jobs import DISPATCH_ALERT_RETRY, DispatchAlert, delivery_job_id
from sentinel.store.base import AnyRow, Part, behind, new_id
from sentinel.store.endpoints import admit, missing_since, note_answer, read_endpoint
from sentinel.store.imports import chunks
from sentinel.store.outbox import add_jobs
from sentinel.store.raising import delivery_jobs
from sentinel.store.records import (
    UNSETTLED,
    AlertState,
    Attempt,
    Delivery,
    DeliveryState,
    DeliveryTicket,
    Outcome,
    Place,
    Prospect,
    StoredAlert,
    StoredChannel,
    UnreadableChannel,
)
from sentinel.store.rules import channel_or_not, channels_called, disable_channel
from sentinel.store.runs import MAX_DETAIL
from sentinel.store.tables import IS_OPEN, alert, delivery, delivery_attempt

#: Seconds an alert waits for an older one of its rule after the last that was heard of that one: its
#: whole schedule, and the sends.
ORDER_PATIENCE: Final = sum(DISPATCH_ALERT_RETRY.delays) + 120.0
#: Older ones that are looked at, and seconds that each of them is given.
ORDER_LOOK: Final = 30
ORDER_STEP: Final = 1.0

#: Deliveries that are ended in one round, and what their row says then.
ABANDON_BATCH: Final = 500
ABANDONED: Final = "nothing was heard of it for too long"


class Alerts(Part):
    """Alerts and deliveries."""

    async def alert(self, alert_id: str) -> StoredAlert:
        """With its deliveries and every attempt. Raises NotFound."""

        async def look(connection: AsyncConnection) -> StoredAlert:
            rows = (await connection.execute(sa.select(alert).where(alert.c.id == alert_id))).all()
            if not rows:
                raise NotFound(f"no alert {alert_id}")
            return (await _with_deliveries(connection, rows))[0]

        return await self._database.read(look)

    async def alerts(
        self,
        limit: int = 100,
        *,
        rule_id: str | None = None,
        state: AlertState | None = None,
        before: float | None = None,
        after: Place | None = None,
    ) -> list[StoredAlert]:
        """Newest first, with deliveries and attempts.

        `before`: made earlier than that; `after`: behind that one.
        """
        wanted = sa.select(alert).order_by(alert.c.created_at.desc(), alert.c.id.desc()).limit(limit)
        if rule_id is not None:
            wanted = wanted.where(alert.c.rule_id == rule_id)
        if state is not None:
            wanted = wanted.where(alert.c.state == state)
        if before is not None:
            wanted = wanted.where(alert.c.created_at < before)
        if after is not None:
            wanted = wanted.where(behind(alert.c.created_at, alert.c.id, after))

        async def look(connection: AsyncConnection) -> list[StoredAlert]:
            return await _with_deliveries(connection, (await connection.execute(wanted)).all())

        return await self._database.read(look)

    async def open_deliveries(self, alert_id: str, channels: Sequence[str], now: float) -> list[str]:
        """Those of `channels` that have not accepted the alert, in order, each with a delivery from here on.

        Raises NotFound (no such alert), StoreUnavailable.
        """
        wanted = tuple(dict.fromkeys(channels))
        settled = sa.select(delivery.c.channel_id).where(
            delivery.c.alert_id == alert_id, delivery.c.channel_id.in_(wanted), delivery.c.state == "sent"
        )

        async def make(connection: AsyncConnection) -> list[str]:
            for channel_id in wanted:
                await self._make_delivery(connection, alert_id, channel_id, now)
            await _settle_alert(connection, alert_id, now)
            sent = set(await connection.scalars(settled))
            return [channel_id for channel_id in wanted if channel_id not in sent]

        return await self._database.write(make)

    async def prospect(
        self,
        told: StoredAlert,
        channel_id: str,
        now: float,
        *,
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
    ) -> Prospect:
        """Whether an alert can be brought to a channel now, or what has to come before it.

        Nothing is changed, and nothing is promised: `claim_delivery` says it once more. What is settled
        and what is switched off waits for nothing.
        """

        async def look(connection: AsyncConnection) -> Prospect:
            found = await _channel(connection, told.workspace_id, channel_id)
            if not isinstance(found, StoredChannel):
                return Prospect(channel=None)
            if not found.channel.enabled:
                return Prospect(channel=found.channel)
            state = sa.select(delivery.c.state).where(
                delivery.c.alert_id == told.id, delivery.c.channel_id == channel_id
            )
            if (await connection.execute(state)).scalar() in ("sent", "dead", "skipped"):
                return Prospect(channel=found.channel)
            endpoint = await read_endpoint(connection, told.workspace_id, channel_id)
            wait = None if endpoint is None else hold(endpoint, told.id, now, breaker)
            if wait is None:
                return Prospect(
                    channel=found.channel, hold=await _older_first(connection, told, channel_id, now)
                )
            return Prospect(
                channel=found.channel,
                hold=wait,
                waiting=await _waiting(connection, told.workspace_id, channel_id, now),
            )

        return await self._database.read(look)

    async def claim_delivery(
        self,
        alert_id: str,
        channel_id: str,
        job_id: str,
        fence: int,
        now: float,
        *,
        message_id: str | None = None,
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
    ) -> DeliveryTicket:
        """Take a delivery in hand, in the moment before it is sent.

        `message_id` (default: the job's id) is what the other side will know it by, if this is the
        first time that it is taken; the ticket has the one that holds.

        `ticket.settled`: sent already, refused for good, or not needed; do not send. A channel the alert
        did not name gets a delivery of its own. Raises, with nothing changed: NotFound (no such alert),
        StaleWorker (a later delivery of the job holds it), NotYet (its endpoint is to be left
        alone), StoreUnavailable.
        """

        async def claim(connection: AsyncConnection) -> DeliveryTicket:
            await self._make_delivery(connection, alert_id, channel_id, now)
            claimed = await connection.execute(
                sa.update(delivery)
                .where(
                    delivery.c.alert_id == alert_id,
                    delivery.c.channel_id == channel_id,
                    delivery.c.state.not_in(("sent", "dead", "skipped")),
                    delivery.c.fence <= fence,
                )
                .values(
                    state="sending",
                    fence=fence,
                    job_id=job_id,
                    message_id=sa.func.coalesce(delivery.c.message_id, message_id or job_id),
                    next_at=None,
                    updated_at=now,
                )
                .returning(delivery)
            )
            row = claimed.first()
            settled = None
            if row is None:
                row = await _read_delivery(connection, alert_id, channel_id)
                settled = row.state
                if settled not in ("sent", "dead", "skipped"):
                    raise StaleWorker
            else:
                await _settle_alert(connection, alert_id, now)
            # Read last, so that a channel which was switched off meanwhile is not told.
            found = await _channel(connection, row.workspace_id, channel_id)
            known = found.channel if isinstance(found, StoredChannel) else None
            if settled is None and known is not None and known.enabled:
                await admit(connection, row.workspace_id, channel_id, alert_id, now=now, breaker=breaker)
            return DeliveryTicket(
                alert_id=alert_id,
                channel_id=channel_id,
                workspace_id=row.workspace_id,
                job_id=job_id,
                fence=fence,
                attempt=row.attempts + (settled is None),
                message_id=row.message_id or message_id or job_id,
                channel=known,
                unreadable=found.problem if isinstance(found, UnreadableChannel) else None,
                settled=settled,
            )

        return await self._database.write(claim)

    async def record_attempt(
        self,
        ticket: DeliveryTicket,
        outcome: Outcome,
        *,
        now: float,
        http_status: int | None = None,
        error: str | None = None,
        provider_id: str | None = None,
        latency: float | None = None,
        last_attempt: bool = False,
        next_at: float | None = None,
        wait: float | None = None,
        asked: bool = True,
        disables: bool = False,
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
    ) -> AlertState:
        """Write down what came of an attempt, and what that makes of the alert and of the endpoint.

        sent: accepted. failed: may pass; it will be tried again (at `next_at`) unless `last_attempt`.
        dead: refused for good; `disables`: the channel is switched off with it, for the reason
        `error`, as is one that has answered nothing but 404 for days.
        `latency` in seconds; `wait`: seconds for which the other side wants to be left alone; `asked`: it
        was asked at all. A delivery that ends without being sent is made to the channel's fallback, and its
        job put into the outbox.

        Recording the same attempt twice records it once. Raises, with nothing written:
        StaleWorker (a later delivery of the job has the delivery, or it is sent already),
        StoreUnavailable.
        """
        state: DeliveryState = "retrying" if outcome == "failed" and not last_attempt else outcome
        shown = None if error is None else error[:MAX_DETAIL]

        async def record(connection: AsyncConnection) -> AlertState:
            if not await _move_delivery(
                connection,
                ticket,
                state=state,
                attempts=ticket.attempt,
                http_status=http_status,
                error=shown,
                provider_id=provider_id,
                next_at=next_at if state == "retrying" else None,
                updated_at=now,
                sent_at=now if outcome == "sent" else None,
            ):
                await _refuse_unless_recorded(connection, ticket, outcome)
                return await _settle_alert(connection, ticket.alert_id, now)
            if disables:
                await disable_channel(connection, ticket.workspace_id, ticket.channel_id, shown or "", now)
            elif http_status == 404:
                await _disable_missing(connection, ticket, shown or "", now)
            await connection.execute(
                sa.insert(delivery_attempt).values(
                    alert_id=ticket.alert_id,
                    channel_id=ticket.channel_id,
                    number=ticket.attempt,
                    workspace_id=ticket.workspace_id,
                    job_id=ticket.job_id,
                    fence=ticket.fence,
                    outcome=outcome,
                    http_status=http_status,
                    provider_id=provider_id,
                    error=shown,
                    latency=latency,
                    at=now,
                )
            )
            if state in ("failed", "dead"):
                await self._fall_back(connection, ticket, now, asked=asked)
            after = await _settle_alert(connection, ticket.alert_id, now)
            if asked:
                await note_answer(
                    self._database,
                    connection,
                    ticket,
                    outcome,
                    now=now,
                    http_status=http_status,
                    error=shown or "",
                    wait=wait,
                    breaker=breaker,
                )
            return after

        return await self._database.write(record)

    async def abandon_deliveries(self, *, before: float, now: float) -> int:
        """End deliveries that nothing was heard of since `before`, so that somebody else is told.

        Their job is gone (its workers died with it three times, or its last attempt could not be
        written down), or their endpoint does not work; a job that comes after all may still deliver.
        Answers how many. Raises StoreUnavailable.
        """
        silent = (
            IS_OPEN,
            delivery.c.updated_at < before,
            sa.func.coalesce(delivery.c.next_at, 0.0) < before,
            sa.func.coalesce(delivery.c.escalates_at, 0.0) < before,
        )
        key = (delivery.c.alert_id, delivery.c.channel_id)
        wanted = sa.select(*key).where(*silent).order_by(delivery.c.updated_at, *key).limit(ABANDON_BATCH)

        async def look(connection: AsyncConnection) -> list[AnyRow]:
            return list((await connection.execute(wanted)).all())

        async def end(connection: AsyncConnection, alert_id: str, channel_id: str) -> bool:
            moved = await connection.execute(
                sa.update(delivery)
                .where(delivery.c.alert_id == alert_id, delivery.c.channel_id == channel_id, *silent)
                .values(state="failed", error=ABANDONED, next_at=None, updated_at=now)
                .returning(delivery)
            )
            if (row := moved.first()) is None:
                return False
            await self._fall_back(connection, row, now, asked=True)
            await _settle_alert(connection, alert_id, now)
            return True

        ended = 0
        for alert_id, channel_id in await self._database.read(look):
            ended += await self._database.write(partial(end, alert_id=alert_id, channel_id=channel_id))
        return ended

    async def resend(self, alert_id: str, now: float, *, channels: Sequence[str] | None = None) -> list[str]:
        """Send an alert again to those of its channels that did not get it; the ids of their jobs.

        Dead and failed deliveries are reopened; sent ones stay sent. `channels`: only these. Raises
        NotFound.
        """

        async def reopen(connection: AsyncConnection) -> list[str]:
            row = (await connection.execute(sa.select(alert).where(alert.c.id == alert_id))).first()
            if row is None:
                raise NotFound(f"no alert {alert_id}")
            wanted = tuple(dict.fromkeys(channels if channels is not None else row.channels))
            job_id = f"alert-{alert_id}-{new_id(now)}"
            again = []
            for channel_id in wanted:
                await self._make_delivery(connection, alert_id, channel_id, now)
                its_job = delivery_job_id(job_id, channel_id)
                if await _reopen(connection, alert_id, channel_id, its_job, now):
                    again.append(channel_id)
            await _settle_alert(connection, alert_id, now)
            payload = DispatchAlert(
                alert_id=alert_id,
                workspace_id=row.workspace_id,
                rule_id=row.rule_id,
                channels=tuple(again),
                # Its own key: the first send's is still held for a while.
                dedupe_key=job_id,
            )
            jobs = delivery_jobs(job_id, payload, row.severity)
            await add_jobs(self._database, connection, row.workspace_id, jobs, now)
            return [job.job_id for job in jobs]

        return await self._database.write(reopen)

    async def _fall_back(
        self, connection: AsyncConnection, ticket: DeliveryTicket | AnyRow, now: float, *, asked: bool
    ) -> None:
        """Have the channel's fallback told, once; `asked` False: nobody was, the channel is off.

        One that a person has switched off has no fallback: they want silence.
        """
        found = await _channel(connection, ticket.workspace_id, ticket.channel_id)
        if not isinstance(found, StoredChannel) or found.channel.fallback is None:
            return
        if not asked and found.disabled_reason is None:
            return
        if await _falls(connection, ticket.alert_id, ticket.channel_id) >= MAX_FALLBACKS:
            return
        instead = found.channel.fallback
        job_id, dedupe_key = f"alert-{ticket.alert_id}", None
        if not await self._make_delivery(
            connection, ticket.alert_id, instead, now, fallback_of=ticket.channel_id
        ):
            # Names of its own: the job that waits for the escalation holds the others.
            job_id = dedupe_key = f"alert-{ticket.alert_id}-{new_id(now)}"
            its_job = delivery_job_id(job_id, instead)
            if not await _bring_forward(
                connection, ticket.alert_id, instead, its_job, now, fallback_of=ticket.channel_id
            ):
                return  # it is told anyway, or was
        row = (await connection.execute(sa.select(alert).where(alert.c.id == ticket.alert_id))).one()
        payload = DispatchAlert(
            alert_id=row.id,
            workspace_id=row.workspace_id,
            rule_id=row.rule_id,
            channels=(instead,),
            dedupe_key=dedupe_key or row.dedupe_key,
        )
        jobs = delivery_jobs(job_id, payload, row.severity)
        await add_jobs(self._database, connection, row.workspace_id, jobs, now)

    async def _make_delivery(
        self,
        connection: AsyncConnection,
        alert_id: str,
        channel_id: str,
        now: float,
        *,
        fallback_of: str | None = None,
    ) -> bool:
        """The row of an alert and a channel; False: it is there already. Raises NotFound."""
        found = await connection.execute(sa.select(alert.c.workspace_id).where(alert.c.id == alert_id))
        workspace_id = found.scalar()
        if workspace_id is None:
            raise NotFound(f"no alert {alert_id}")
        made = await connection.execute(
            self._database.insert(delivery)
            .values(
                alert_id=alert_id,
                channel_id=channel_id,
                workspace_id=workspace_id,
                state="pending",
                fence=0,
                attempts=0,
                fallback_of=fallback_of,
                created_at=now,
                updated_at=now,
            )
            .on_conflict_do_nothing()
            .returning(delivery.c.channel_id)
        )
        return made.first() is not None


# --- what has to come first -----------------------------------------------------------------------


async def _older_first(
    connection: AsyncConnection, told: StoredAlert, channel_id: str, now: float
) -> Hold | None:
    """Alerts of one rule come to a channel in their order, for as long as that can be."""
    fresh = now - ORDER_PATIENCE
    wanted = (
        sa.select(delivery.c.next_at)
        .join(alert, alert.c.id == delivery.c.alert_id)
        .where(
            delivery.c.workspace_id == told.workspace_id,
            delivery.c.channel_id == channel_id,
            IS_OPEN,
            alert.c.rule_id == told.rule_id,
            _called_for(now),
            sa.or_(
                alert.c.created_at < told.created_at,
                sa.and_(alert.c.created_at == told.created_at, alert.c.id < told.id),
            ),
            sa.or_(delivery.c.updated_at > fresh, delivery.c.next_at > fresh),
        )
        .limit(ORDER_LOOK)
    )
    older = list((await connection.execute(wanted)).scalars())
    if not older:
        return None
    # The longer the line, the later a look is worth it; none is before the first in line has its turn.
    return Hold("order", max(now, *(time or now for time in older)) + len(older) * ORDER_STEP)


async def _waiting(connection: AsyncConnection, workspace_id: str, channel_id: str, now: float) -> int:
    wanted = sa.select(sa.func.count()).where(
        delivery.c.workspace_id == workspace_id,
        delivery.c.channel_id == channel_id,
        IS_OPEN,
        _called_for(now),
    )
    count: int = (await connection.execute(wanted)).scalar_one()
    return count


def _called_for(now: float) -> sa.ColumnElement[bool]:
    """Not an escalation that is not due yet."""
    return sa.or_(delivery.c.escalates_at.is_(None), delivery.c.escalates_at <= now)


async def _channel(
    connection: AsyncConnection, workspace_id: str, channel_id: str
) -> StoredChannel | UnreadableChannel | None:
    rows = await channels_called(connection, channel_id, workspace_id)
    return channel_or_not(rows[0]) if rows else None


async def _falls(connection: AsyncConnection, alert_id: str, channel_id: str) -> int:
    """How many channels have failed before this one was told in their place."""
    falls, last = 0, channel_id
    while falls < MAX_FALLBACKS:
        before = (await _read_delivery(connection, alert_id, last)).fallback_of
        if before is None:
            break
        falls, last = falls + 1, before
    return falls


# --- moving ---------------------------------------------------------------------------------------


async def _disable_missing(
    connection: AsyncConnection, ticket: DeliveryTicket, shown: str, now: float
) -> None:
    """Switch a channel off whose endpoint has said 404 for days, and nothing else."""
    since = await missing_since(connection, ticket.workspace_id, ticket.channel_id)
    if since is not None and is_missing(since, now):
        reason = f"nothing but 404 for {(now - since) / 86400:.0f} days: {shown}"[:MAX_DETAIL]
        await disable_channel(connection, ticket.workspace_id, ticket.channel_id, reason, now)


async def _move_delivery(connection: AsyncConnection, ticket: DeliveryTicket, **values: Any) -> bool:
    """False: the delivery is no longer this ticket's."""
    moved = await connection.execute(
        sa.update(delivery)
        .where(
            delivery.c.alert_id == ticket.alert_id,
            delivery.c.channel_id == ticket.channel_id,
            delivery.c.fence == ticket.fence,
            delivery.c.state == "sending",
        )
        .values(**values)
    )
    return moved.rowcount == 1


async def _reopen(
    connection: AsyncConnection, alert_id: str, channel_id: str, job_id: str, now: float
) -> bool:
    """False: it is sent. One that is being sent at this moment may still say so."""
    reopened = await connection.execute(
        sa.update(delivery)
        .where(
            delivery.c.alert_id == alert_id, delivery.c.channel_id == channel_id, delivery.c.state != "sent"
        )
        .values(
            state=sa.case((delivery.c.state == "sending", "sending"), else_="pending"),
            job_id=job_id,
            next_at=None,
            updated_at=now,
        )
    )
    return reopened.rowcount == 1


async def _bring_forward(
    connection: AsyncConnection, alert_id: str, channel_id: str, job_id: str, now: float, *, fallback_of: str
) -> bool:
    """An escalation that is not due becomes the fallback's delivery; False: it is no such one.

    Nobody was told, so there is nobody whose silence it should wait for. Its delayed job finds it sent.
    """
    brought = await connection.execute(
        sa.update(delivery)
        .where(
            delivery.c.alert_id == alert_id,
            delivery.c.channel_id == channel_id,
            delivery.c.state == "pending",
            delivery.c.escalates_at > now,
        )
        .values(escalates_at=None, fallback_of=fallback_of, job_id=job_id, updated_at=now)
    )
    return brought.rowcount == 1


async def _refuse_unless_recorded(
    connection: AsyncConnection, ticket: DeliveryTicket, outcome: Outcome
) -> None:
    """Raises StaleWorker, unless this very attempt has been written down before."""
    its_own = sa.select(delivery_attempt.c.outcome).where(
        delivery_attempt.c.alert_id == ticket.alert_id,
        delivery_attempt.c.channel_id == ticket.channel_id,
        delivery_attempt.c.number == ticket.attempt,
        delivery_attempt.c.fence == ticket.fence,
    )
    if (await connection.execute(its_own)).scalar() != outcome:
        raise StaleWorker


async def _read_delivery(connection: AsyncConnection, alert_id: str, channel_id: str) -> AnyRow:
    wanted = sa.select(delivery).where(delivery.c.alert_id == alert_id, delivery.c.channel_id == channel_id)
    return (await connection.execute(wanted)).one()


async def _settle_alert(connection: AsyncConnection, alert_id: str, now: float) -> AlertState:
    """The alert's state follows its deliveries'."""
    # Locked, so that two channels that end at the same moment see each other's end (PostgreSQL).
    # Not against the foreign keys of deliveries that are made meanwhile.
    locked = sa.select(alert.c.state).where(alert.c.id == alert_id).with_for_update(key_share=True)
    before = (await connection.execute(locked)).scalar_one()
    # An escalation that is not due, or was not needed, says nothing of how the alert fared.
    idle = sa.and_(delivery.c.escalates_at.is_not(None), delivery.c.state.in_(("pending", "skipped")))
    states = list(
        await connection.scalars(sa.select(delivery.c.state).where(delivery.c.alert_id == alert_id, ~idle))
    )
    after = alert_state(states) if states else before
    if after != before:
        await connection.execute(
            sa.update(alert).where(alert.c.id == alert_id).values(state=after, updated_at=now)
        )
    return after


def alert_state(deliveries: Iterable[DeliveryState]) -> AlertState:
    """What the deliveries make of their alert: pending until each has ended, then what they came to."""
    states = list(deliveries)
    if any(state in UNSETTLED for state in states):
        return "pending"
    sent = states.count("sent")
    if sent == len(states):
        return "sent"
    return "partial" if sent else "failed"


# --- reading --------------------------------------------------------------------------------------


async def _with_deliveries(connection: AsyncConnection, rows: Sequence[AnyRow]) -> list[StoredAlert]:
    ids = [row.id for row in rows]
    attempts: dict[tuple[str, str], list[Attempt]] = {}
    deliveries: dict[str, list[Delivery]] = {}
    for some in chunks(ids):
        wanted = sa.select(delivery_attempt).where(delivery_attempt.c.alert_id.in_(some))
        for row in await connection.execute(wanted.order_by(delivery_attempt.c.number)):
            attempts.setdefault((row.alert_id, row.channel_id), []).append(_attempt(row))
        held = sa.select(delivery).where(delivery.c.alert_id.in_(some)).order_by(delivery.c.channel_id)
        for row in await connection.execute(held):
            tried = attempts.get((row.alert_id, row.channel_id), [])
            deliveries.setdefault(row.alert_id, []).append(_delivery(row, tried))
    return [_alert(row, deliveries.get(row.id, [])) for row in rows]


def _alert(row: AnyRow, deliveries: Sequence[Delivery]) -> StoredAlert:
    own = {name: getattr(row, name) for name in StoredAlert.__struct_fields__ if name != "deliveries"}
    return StoredAlert(**own, deliveries=tuple(deliveries))


def _delivery(row: AnyRow, history: Sequence[Attempt]) -> Delivery:
    own = {name: getattr(row, name) for name in Delivery.__struct_fields__ if name != "history"}
    return Delivery(**own, history=tuple(history))


def _attempt(row: AnyRow) -> Attempt:
    return Attempt(**{name: getattr(row, name) for name in Attempt.__struct_fields__})
