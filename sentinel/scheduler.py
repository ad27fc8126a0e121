"""Puts due rules into the outbox, each tick once however many schedulers run.

A tick is claimed by compare-and-set on the rule's next due time, in the transaction that writes the
job. Nothing here is a leader; a scheduler that dies is missed by nobody.

    due ──▶ [ claimed: about 1,000 at most wait in Redis ] ──▶ workers
     └ the others wait where they are, in the database, and are one check each, however long it takes

After a night off, or when workers do not keep up, the heap stays where whose turn it is can still be decided
(sentinel.store.turn), and jobs that other work calls for, alerts above all, do not queue behind it.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from sentinel.decide import next_due
from sentinel.errors import TemporaryFailure
from sentinel.jobs import RULES_RUN
from sentinel.model import Rule
from sentinel.relay import Relay
from sentinel.store import Store
from streamq import BrokerFull, BrokerUnavailable
from streamq.clock import Clock

log = logging.getLogger("sentinel.scheduler")

#: Seconds between two looks at most; a rule imported elsewhere is seen within this.
LOOK_EVERY: Final = 1.0
#: Rules claimed in one transaction.
BATCH: Final = 200
#: Checks that wait for a worker at which no more are claimed: seconds of work for a fleet that does hundreds
#: a second, so that none of it waits for us.
CROWD: Final = 1000
#: Seconds between two looks whether there is room again.
LOOK_FOR_ROOM: Final = 0.25


def due_after(rule: Rule, now: float) -> float:
    """When `rule`, its schedule in its zone, is due next after `now`."""
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
                # A burst is over when all is done, so it begins with all of it.
                if not once and await self._relay.depth(RULES_RUN) >= CROWD:
                    await anyio.sleep(LOOK_FOR_ROOM)
                    continue
                claimed = await self.tick(began if once else self._clock.time())
            except (TemporaryFailure, BrokerUnavailable, BrokerFull) as error:
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
        if due := sum(not one.out_of_hours for one in claimed):
            log.info("rules_due", extra={"rules": due})
            self._relay.poke()
        return len(claimed)
