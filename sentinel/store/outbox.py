"""The outbox: jobs that committed rows call for, until Redis has them.

A row is written in the same transaction as what caused it, given to Redis by a relay, and deleted.
A relay that dies in between leaves the row to the next one; enqueueing is idempotent by job id, so
a job given twice is one job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.store.base import AnyRow, Part
from sentinel.store.database import Database
from sentinel.store.records import NewOutboxJob, OutboxJob
from sentinel.store.tables import outbox
from streamq.tracing import carried

#: Seconds a relay may take to give a batch to Redis before another one tries. What is given twice is one
#: job, so this is short: it is how long an alert waits whose relay was killed.
RELAY_LEASE: Final = 10.0


class Outbox(Part):
    """Jobs on their way to Redis."""

    async def unsent(self, limit: int, now: float, *, lease: float = RELAY_LEASE) -> list[OutboxJob]:
        """Up to `limit` jobs, oldest first, that no other relay gets for the next `lease` seconds."""
        free = sa.select(outbox.c.id).where(outbox.c.leased_until <= now).order_by(outbox.c.id).limit(limit)
        claim = (
            sa.update(outbox)
            .where(outbox.c.id.in_(free.with_for_update(skip_locked=True)))
            .values(leased_until=now + lease)
            .returning(outbox)
        )
        if not await self._any_unsent(now):  # readers do not queue for SQLite's one writer
            return []

        async def take(connection: AsyncConnection) -> list[OutboxJob]:
            return [_job(row) for row in (await connection.execute(claim)).all()]

        return sorted(await self._database.write(take), key=lambda job: job.id)

    async def mark_sent(self, ids: Iterable[int]) -> None:
        """Redis has them: forget them."""
        gone = [{"gone": number} for number in ids]

        async def forget(connection: AsyncConnection) -> None:
            await connection.execute(sa.delete(outbox).where(outbox.c.id == sa.bindparam("gone")), gone)

        if gone:
            await self._database.write(forget)

    async def release(self, ids: Iterable[int]) -> None:
        """Redis did not take them: any relay may have them at once."""
        back = [{"back": number} for number in ids]
        statement = sa.update(outbox).where(outbox.c.id == sa.bindparam("back")).values(leased_until=0.0)

        async def give_back(connection: AsyncConnection) -> None:
            await connection.execute(statement, back)

        if back:
            await self._database.write(give_back)

    async def unsent_of(self, stream: str) -> int:
        """Rows of a stream that may be sent by now, those under way included."""
        found = sa.select(sa.func.count()).where(outbox.c.stream == stream, outbox.c.available_at.is_(None))

        async def look(connection: AsyncConnection) -> int:
            return (await connection.execute(found)).scalar_one()

        return await self._database.read(look)

    async def _any_unsent(self, now: float) -> bool:
        found = sa.select(outbox.c.id).where(outbox.c.leased_until <= now).limit(1)

        async def look(connection: AsyncConnection) -> bool:
            return (await connection.execute(found)).first() is not None

        return await self._database.read(look)


async def add_jobs(
    database: Database,
    connection: AsyncConnection,
    workspace_id: str,
    jobs: Sequence[NewOutboxJob],
    now: float,
) -> None:
    """Write jobs in the caller's transaction; one that waits already (same stream and id) is left alone."""
    if not jobs:
        return
    rows = [
        {
            "workspace_id": workspace_id,
            "stream": job.stream,
            "job_id": job.job_id,
            "payload": msgspec.json.encode(job.payload).decode(),
            "lane": job.lane,
            "unique_key": job.unique,
            "unique_for": job.unique_for,
            "created_at": now,
            "headers": carried() or None,
            "available_at": job.available_at,
            "leased_until": 0.0,
        }
        for job in jobs
    ]
    await connection.execute(database.insert(outbox).on_conflict_do_nothing(), rows)


def _job(row: AnyRow) -> OutboxJob:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    return OutboxJob(
        id=values[outbox.c.id],
        stream=values[outbox.c.stream],
        job_id=values[outbox.c.job_id],
        payload=values[outbox.c.payload].encode(),
        lane=values[outbox.c.lane],
        unique=values[outbox.c.unique_key],
        unique_for=values[outbox.c.unique_for],
        created_at=values[outbox.c.created_at],
        headers=values[outbox.c.headers] or {},
        available_at=values[outbox.c.available_at],
    )
