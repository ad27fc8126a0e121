"""What is done beside the checks, beside every worker: mend what Redis lost, remove what is old.

Redis holds jobs, the database holds work. Where Redis forgets (FLUSHALL, a restore from an older
copy, a failover that lost writes) the work is still there: a tick claimed and not begun, a run
begun and not finished, an alert not delivered. So every minute the jobs of what has not moved for
two are given to Redis again, under the ids they had. A job that is still there makes its copy a
duplicate: an id is remembered for a day, and work older than `RESTORE_WITHIN` is left alone, because
Redis might still have its job and yet not know the id any more. Should a job be doubled all the same
(the record of its id alone was deleted), its second run finds the first one's row and ends.

So after a flush scheduled work goes on within three minutes, and nobody has to notice. What is lost:
jobs that others put into Redis and that had not begun, jobs' places in retry schedules (they start
anew), paused flags, done and dead letters.

One worker does it, the one that leads (`Worker.leads`); two at once would only do it twice.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Final

import anyio
import msgspec

from sentinel.errors import TemporaryFailure
from sentinel.relay import as_new_job
from sentinel.store import Ages, NewOutboxJob, Pruned, Store
from sentinel.store.blobs import Blobs
from streamq import Broker, BrokerFull, BrokerUnavailable, Queue
from streamq.clock import Clock

log = logging.getLogger("sentinel.upkeep")

#: Seconds after which unfinished work is not given to Redis again: below the day for which it
#: remembers a job's id.
RESTORE_WITHIN: Final = 23 * 3600.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how patiently; seconds throughout."""

    #: Work that has not moved for so long is given to Redis again ...
    restore_after: float = 120.0
    #: ... and looked for this often.
    restore_every: float = 60.0
    #: Between two rounds of removing what is old.
    prune_every: float = 3600.0
    #: A delivery that nothing was heard of for so long is ended, so that its fallback is told.
    #: A run open for so long, whose job did not come back, is ended: above what its retries can take
    #: (two waits of an hour, as a page may ask for), below `RESTORE_WITHIN`, so that a job that kills its
    #: workers is not given to them anew every day.
    abandon_after: float = 6 * 3600.0


class Upkeep:
    """Mends and removes, for as long as the worker runs."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        clock: Clock,
        *,
        blobs: Blobs | None = None,
        pace: Pace = Pace(),  # noqa: B008 - frozen
        ages: Ages = Ages(),  # noqa: B008 - frozen
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`blobs`: None: there are none to sweep. `leads`: asked before each round; False: another worker
        does it.
        """
        self._store = store
        self._broker = broker
        self._clock = clock
        self._blobs = blobs
        self._pace = pace
        self._ages = ages
        self._leads = leads

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as rounds:
            rounds.start_soon(self._again_and_again, self.restore, self._pace.restore_every)
            rounds.start_soon(self._again_and_again, self.prune, self._pace.prune_every)
            rounds.start_soon(self._again_and_again, self.sweep, self._pace.prune_every)

    async def _again_and_again(self, act: Callable[[], Awaitable[object]], every: float) -> None:
        """The first time soon, so that a worker that is often restarted comes to it at all."""
        pause = every * random.random() / 2  # noqa: S311 - workers started together do not act together
        while True:
            await anyio.sleep(pause)
            pause = every * (0.75 + random.random() / 2)  # noqa: S311 - as above
            if not self._leads():
                continue
            try:
                await act()
            except (TemporaryFailure, BrokerUnavailable, BrokerFull) as error:
                log.warning("upkeep_trouble", extra={"error": str(error)})
            except Exception:
                # Jobs must not stop because something beside them is broken.
                log.exception("upkeep_failed")

    async def restore(self) -> int:
        """Give Redis what it has lost; how many jobs it did not have.

        Raises StoreUnavailable, BrokerUnavailable, BrokerFull.
        """
        now = self._clock.time()
        found = self._store.unfinished(after=now - RESTORE_WITHIN, before=now - self._pace.restore_after)
        restored = 0
        async with contextlib.aclosing(found):
            async for jobs in found:
                for stream, same in groupby(jobs, key=_stream):
                    restored += await self._give(stream, list(same))
        return restored

    async def _give(self, stream: str, jobs: list[NewOutboxJob]) -> int:
        possible = [new for new in map(as_new_job, jobs) if new is not None]
        receipts = await Queue(stream, self._broker).enqueue_jobs(possible) if possible else []
        lost = sum(receipt.created for receipt in receipts)
        if lost:
            log.warning("jobs_restored", extra={"stream": stream, "jobs": lost})
        return lost

    async def prune(self) -> None:
        """End what was given up, remove what is older than its age, make room for the months to come.

        Raises StoreUnavailable.
        """
        now = self._clock.time()
        await self._store.make_months(now)
        abandoned = await self._store.abandon_runs(before=now - self._pace.abandon_after, now=now)
        if abandoned:
            log.warning("runs_abandoned", extra={"runs": abandoned})
        deliveries = await self._store.abandon_deliveries(before=now - self._pace.abandon_after, now=now)
        if deliveries:
            log.warning("deliveries_abandoned", extra={"deliveries": deliveries})
        pruned = await self._store.prune(now, self._ages)
        if pruned != Pruned():
            log.info("old_rows_removed", extra=msgspec.structs.asdict(pruned))

    async def sweep(self) -> None:
        """Remove the pages and screenshots that no row names. Raises StoreUnavailable."""
        if self._blobs is None:
            return
        swept = await self._blobs.sweep(self._store.blobs_in_use, self._clock.time())
        if swept.unused or swept.beyond:
            log.info("blobs_swept", extra=msgspec.structs.asdict(swept))


def _stream(job: NewOutboxJob) -> str:
    return job.stream
