"""Puts due rules into the outbox, each tick once however many schedulers run.

A tick is claimed by compare-and-set on the rule's next due time, in the transaction that writes the
job. Nothing here is a leader; a scheduler that dies is missed by nobody.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from sentinel.decide import next_due
from sentinel.errors import TemporaryFailure
from sentinel.model import Rule
from sentinel.relay import Relay
from sentinel.store import Store
from streamq.clock import Clock

log = logging.getLogger("sentinel.scheduler")

#: Seconds between two looks at most; a rule imported elsewhere is seen within this.
LOOK_EVERY: Final = 1.0
#: Rules claimed in one transaction.
BATCH: Final = 200


def due_after(rule: Rule, now: float) -> float:
    """When `rule` is due next after `now`."""
    return next_due(rule.schedule, now, seed=rule.id)


class Scheduler:
    """Claims due rules."""

    def __init__(self, store: Store, relay: Relay, clock: Clock) -> None:
        self._store = store
        self._relay = relay
        self._clock = clock
        #: The rules that were due when a burst began are all claimed.
        self.caught_up = False

    async def run(self, *, once: bool = False) -> None:
        """Until cancelled; with `once` until what is due now is claimed (a burst)."""
        began = self._clock.time()
        while True:
            try:
                claimed = await self.tick(began if once else self._clock.time())
            except TemporaryFailure as error:
                log.warning("scheduler_trouble", extra={"error": str(error)})
                await anyio.sleep(LOOK_EVERY)
                continue
            if claimed >= BATCH:
                continue
            self.caught_up = True
            if once:
                return
            await anyio.sleep(LOOK_EVERY)

    async def tick(self, now: float) -> int:
        """Claim what is due at `now`, a batch at most; how many."""
        claimed = await self._store.claim_due(now, limit=BATCH, next_due=due_after)
        for one in claimed:
            if one.problem is not None:
                log.error("rule_invalid", extra={"rule_id": one.rule_id, "detail": one.problem})
        if claimed:
            log.info("rules_due", extra={"rules": len(claimed)})
            self._relay.poke()
        return len(claimed)
