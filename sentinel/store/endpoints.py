"""How channels' endpoints have answered lately; written in the transaction of the attempt that shows it.

A row of `channel_state` is always the last lock that a transaction takes, so that two of them cannot
wait for each other.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.decide.endpoint import Breaker, Endpoint, accepted, failed, hold, probing, refused
from sentinel.errors import NotYet
from sentinel.store.columns import Micros
from sentinel.store.database import Database
from sentinel.store.records import DeliveryTicket, Outcome
from sentinel.store.tables import channel_state, delivery_attempt

#: Seconds that `last_ok_at` may be behind where nothing else is to be told: many deliveries at once
#: need not queue for one row.
OK_EVERY: Final = 1.0

_FIELDS: Final = Endpoint.__struct_fields__
_QUIET: Final = Endpoint()


async def read_endpoint(
    connection: AsyncConnection, workspace_id: str, channel_id: str, *, lock: bool = False
) -> Endpoint | None:
    """As it stands; None: nothing is known of it."""
    wanted = sa.select(channel_state).where(
        channel_state.c.workspace_id == workspace_id, channel_state.c.channel_id == channel_id
    )
    row = (await connection.execute(wanted.with_for_update() if lock else wanted)).first()
    return None if row is None else Endpoint(**{name: getattr(row, name) for name in _FIELDS})


async def missing_since(connection: AsyncConnection, workspace_id: str, channel_id: str) -> float | None:
    """Since when all answers of the endpoint were 404; None: the last was another, or none came."""
    found: float | None = await connection.scalar(
        sa.select(channel_state.c.missing_since).where(
            channel_state.c.workspace_id == workspace_id, channel_state.c.channel_id == channel_id
        )
    )
    return found


async def admit(
    connection: AsyncConnection,
    workspace_id: str,
    channel_id: str,
    alert_id: str,
    *,
    now: float,
    breaker: Breaker,
) -> None:
    """Let the delivery go to its endpoint, as the probe where that is half open. Raises NotYet."""
    endpoint = await read_endpoint(connection, workspace_id, channel_id)
    if endpoint is not None and endpoint.open_until is not None:
        endpoint = await read_endpoint(connection, workspace_id, channel_id, lock=True)
    if endpoint is None:
        return
    if (wait := hold(endpoint, alert_id, now, breaker)) is not None:
        raise NotYet(wait.reason, wait.until)
    after = probing(endpoint, alert_id, now, breaker)
    if after is not endpoint:
        await _update(connection, workspace_id, channel_id, after, now)


async def note_answer(
    database: Database,
    connection: AsyncConnection,
    ticket: DeliveryTicket,
    outcome: Outcome,
    *,
    now: float,
    http_status: int | None,
    error: str,
    wait: float | None,
    breaker: Breaker,
) -> None:
    """What an attempt says of its endpoint. `wait`: seconds that the other side asked for."""
    workspace_id, channel_id = ticket.workspace_id, ticket.channel_id
    if outcome == "sent" and await _is_well(connection, workspace_id, channel_id, now):
        return
    columns = _columns(_QUIET, now) | {"workspace_id": workspace_id, "channel_id": channel_id}
    await connection.execute(database.insert(channel_state).values(**columns).on_conflict_do_nothing())
    before = await read_endpoint(connection, workspace_id, channel_id, lock=True) or _QUIET
    await _note_missing(connection, workspace_id, channel_id, http_status, now)
    match outcome:
        case "sent":
            after = accepted(before, now)
        case "dead":
            answered = http_status is not None
            after = refused(before, ticket.alert_id, now, answered=answered, error=error)
        case "failed":
            first = not await _counted(connection, ticket, before.failing_since)
            after = failed(before, ticket.alert_id, now, breaker, first=first, wait=wait, error=error)
    if after != before:
        await _update(connection, workspace_id, channel_id, after, now)


async def _note_missing(
    connection: AsyncConnection, workspace_id: str, channel_id: str, http_status: int | None, now: float
) -> None:
    """What an answer says of whether there is anything at the address; no answer says nothing."""
    if http_status is None:
        return
    since = sa.func.coalesce(channel_state.c.missing_since, sa.bindparam("now", now, type_=Micros))
    await connection.execute(
        sa.update(channel_state)
        .where(channel_state.c.workspace_id == workspace_id, channel_state.c.channel_id == channel_id)
        .values(missing_since=since if http_status == 404 else None)
    )


async def _is_well(connection: AsyncConnection, workspace_id: str, channel_id: str, now: float) -> bool:
    """It is known to work, so that one success more says nothing new."""
    known = await read_endpoint(connection, workspace_id, channel_id)
    if known is None or known.last_ok_at is None or known.last_ok_at < now - OK_EVERY:
        return False
    return msgspec.structs.replace(known, last_ok_at=None) == _QUIET


async def _counted(connection: AsyncConnection, ticket: DeliveryTicket, since: float | None) -> bool:
    """This delivery has failed before, since `since`."""
    if since is None:
        return False
    wanted = sa.select(delivery_attempt.c.number).where(
        delivery_attempt.c.alert_id == ticket.alert_id,
        delivery_attempt.c.channel_id == ticket.channel_id,
        delivery_attempt.c.number < ticket.attempt,
        delivery_attempt.c.outcome == "failed",
        delivery_attempt.c.at >= since,
    )
    return (await connection.execute(wanted.limit(1))).first() is not None


async def _update(
    connection: AsyncConnection, workspace_id: str, channel_id: str, endpoint: Endpoint, now: float
) -> None:
    await connection.execute(
        sa.update(channel_state)
        .where(channel_state.c.workspace_id == workspace_id, channel_state.c.channel_id == channel_id)
        .values(**_columns(endpoint, now))
    )


def _columns(endpoint: Endpoint, now: float) -> dict[str, Any]:
    return {name: getattr(endpoint, name) for name in _FIELDS} | {"updated_at": now}
