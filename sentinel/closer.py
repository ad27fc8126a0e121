"""Tells what was held: digests whose window closes, rules whose host turned out to have no incident.

Beside every worker. Each digest is closed by compare-and-set, in the transaction that writes its
alert and the jobs: once, however many look, and a closer that dies in between leaves it to the next.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from sentinel.errors import Severity, TemporaryFailure
from sentinel.events import AlertRecorded, Observer, ignore
from sentinel.relay import Relay
from sentinel.store import Store
from streamq.clock import Clock

log = logging.getLogger("sentinel.closer")

#: Seconds between two looks: what is held for minutes may wait for one more.
LOOK_EVERY: Final = 1.0


class Closer:
    """Closes what is due."""

    def __init__(self, store: Store, relay: Relay, clock: Clock, *, observer: Observer = ignore) -> None:
        self._store = store
        self._relay = relay
        self._clock = clock
        self._observer = observer
        #: What was due when a burst began is closed.
        self.caught_up = False

    async def run(self, *, once: bool = False) -> None:
        """Until cancelled; with `once` until what is due now is closed (a burst)."""
        began = self._clock.time()
        while True:
            try:
                closed = await self.close(began if once else self._clock.time())
            except TemporaryFailure as error:
                log.warning("closer_trouble", extra={"error": str(error)})
                await anyio.sleep(LOOK_EVERY)
                continue
            if closed:
                continue
            self.caught_up = True
            if once:
                return
            await anyio.sleep(LOOK_EVERY)

    async def close(self, now: float) -> int:
        """Close what is due at `now`, a batch at most; how many. Raises StoreUnavailable."""
        digests = await self._store.close_digests(now, tell=self._tell)
        incidents = await self._store.settle_incidents(now, tell=self._tell)
        if digests or incidents:
            log.info("held_alerts_told", extra={"digests": digests, "incidents": incidents})
            self._relay.poke()
        return digests + incidents

    def _tell(self, alert_id: str, severity: Severity, result: str) -> None:
        self._observer(AlertRecorded(alert_id, severity, result))
