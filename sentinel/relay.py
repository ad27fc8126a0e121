"""Gives Redis what committed rows call for: the outbox's jobs.

Any number of relays may run. A row is leased, enqueued under its own job id (so that a second time
changes nothing), and deleted; a relay that dies in between leaves it to the next.
"""

from __future__ import annotations

import logging
from itertools import groupby
from typing import Final

import anyio

from sentinel.errors import TemporaryFailure
from sentinel.store import OutboxJob, Store
from streamq import Broker, BrokerFull, BrokerUnavailable, NewJob, Queue
from streamq.clock import Clock
from streamq.events import Observer

log = logging.getLogger("sentinel.relay")

#: Seconds between two looks when nobody calls: another process's rows, or one that died.
LOOK_EVERY: Final = 2.0
#: Rows given to Redis at once.
BATCH: Final = 200


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
        """Send what is there now; how many. Raises StoreUnavailable, BrokerUnavailable, BrokerFull."""
        rows = await self._store.unsent(BATCH, self._clock.time())
        for stream, group in groupby(sorted(rows, key=lambda row: row.stream), key=lambda row: row.stream):
            batch = list(group)
            queue = Queue(stream, self._broker, observer=self._observer)
            await queue.enqueue_jobs([_job(row) for row in batch])
            await self._store.mark_sent([row.id for row in batch])
        return len(rows)


def _job(row: OutboxJob) -> NewJob:
    return NewJob(
        payload=row.payload,
        id=row.job_id,
        id_is_callers=True,
        lane=row.lane,
        at=row.available_at,
        unique=row.unique,
        unique_for=row.unique_for,
    )
