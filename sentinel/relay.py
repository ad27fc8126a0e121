"""Gives Redis what committed rows call for: the outbox's jobs.

Any number of relays may run. A row is leased, enqueued under its own job id (so that a second time
changes nothing), and deleted; a relay that dies in between leaves it to the next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

import anyio
import msgspec

from sentinel.errors import TemporaryFailure
from sentinel.store import NewOutboxJob, OutboxJob, Store
from streamq import Broker, BrokerFull, BrokerUnavailable, InvalidJob, NewJob, Queue
from streamq.clock import Clock
from streamq.events import Observer

log = logging.getLogger("sentinel.relay")

#: Seconds between two looks when nobody calls: another process's rows, or one that died.
LOOK_EVERY: Final = 2.0
#: Rows given to Redis at once.
BATCH: Final = 200
#: Seconds to give rows back in on the way out.
PATIENCE: Final = 2.0


class Relay:
    """From the outbox to the streams."""

    def __init__(
        self, store: Store, broker: Broker, clock: Clock, *, observer: Observer | None = None
    ) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._observer = observer
        self._poked = anyio.Event()

    def poke(self) -> None:
        """There is something to send."""
        self._poked.set()

    async def depth(self, stream: str) -> int:
        """Jobs of a stream that wait for a worker, those that Redis is still to be given included.

        Raises StoreUnavailable, BrokerUnavailable, BrokerRefused.
        """
        stats = await self._broker.stats(stream)
        return sum(stats.ready.values()) + await self._store.unsent_of(stream)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                sent = await self.flush()
            except (TemporaryFailure, BrokerUnavailable, BrokerFull) as error:
                log.warning("relay_trouble", extra={"error": str(error)})
                sent = 0
            if sent < BATCH:
                with anyio.move_on_after(LOOK_EVERY):
                    await self._poked.wait()
                self._poked = anyio.Event()

    async def flush(self) -> int:
        """Send what is there now; how many rows.

        What could not be sent is free for any relay at once. Raises StoreUnavailable,
        BrokerUnavailable, BrokerFull, BrokerRefused.
        """
        rows = await self._store.unsent(BATCH, self._clock.time())
        left = {row.id for row in rows}
        try:
            for stream, group in groupby(
                sorted(rows, key=lambda row: row.stream), key=lambda row: row.stream
            ):
                batch = list(group)
                await self._send(stream, batch)
                left -= {row.id for row in batch}
        except BaseException:  # a cancellation too: the next relay need not wait for our lease to end
            await self._release(left)
            raise
        return len(rows)

    async def _send(self, stream: str, rows: Sequence[OutboxJob]) -> None:
        """Enqueue, then forget: in this order a death in between doubles nothing and loses nothing."""
        jobs = [job for job in map(as_new_job, rows) if job is not None]
        if jobs:
            await Queue(stream, self._broker, observer=self._observer).enqueue_jobs(jobs)
        await self._store.mark_sent([row.id for row in rows])

    async def _release(self, ids: Iterable[int]) -> None:
        with anyio.move_on_after(PATIENCE, shield=True):
            try:
                await self._store.release(ids)
            except TemporaryFailure as error:  # the lease ends by itself
                log.warning("relay_trouble", extra={"error": str(error)})


def as_new_job(row: OutboxJob | NewOutboxJob) -> NewJob | None:
    """The job a row describes; None, and a word in the log, for a row that can be none, ever."""
    try:
        return NewJob(
            payload=row.payload if isinstance(row.payload, bytes) else msgspec.json.encode(row.payload),
            id=row.job_id,
            id_is_callers=True,
            lane=row.lane,
            at=row.available_at,
            unique=row.unique,
            unique_for=row.unique_for,
            headers=row.headers if isinstance(row, OutboxJob) else {},
        )
    except InvalidJob as error:
        extra = {"stream": row.stream, "job_id": row.job_id[:120], "error": str(error)}
        log.error("outbox_row_refused", extra=extra)  # noqa: TRY400 - a traceback would say nothing more
        return None
