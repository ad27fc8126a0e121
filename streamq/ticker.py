"""Fires the ticks of recurring jobs: in every worker, at the moment, and without asking in between.

A worker knows when the next tick is: from its own last look, from every heartbeat, and from the knock that a
new earliest tick makes. All workers look at that moment; the broker lets one of them add the job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import msgspec

from streamq.broker import Broker, Renewal, ScheduleChange, StoredSchedule
from streamq.clock import Clock
from streamq.consumer import RECONNECT, StreamConsumer
from streamq.errors import BrokerFull, TemporaryError
from streamq.events import BrokerTrouble, Event, TickFired
from streamq.handlers import Handlers
from streamq.recurring import Recurring, record_of
from streamq.schedules import fire

log = logging.getLogger("streamq.worker")

#: Seconds that a worker leaves the first look to the one that leads: where many are up, all but one then find
#: the tick fired.
COURTESY: Final = 0.01
#: Looks in a row at one stream at most: a batch of missed ticks each.
LOOKS: Final = 1000


class Ticker:
    """Fires the ticks of a worker's streams."""

    def __init__(
        self,
        broker: Broker,
        consumers: Sequence[StreamConsumer],
        handlers: Handlers,
        *,
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        self._broker = broker
        self._consumers = {consumer.stream: consumer for consumer in consumers}
        self._handlers = handlers
        self._clock = clock
        self._tell = tell
        #: Stream -> monotonic seconds of the next look; None: when somebody says so.
        self._at: dict[str, float | None] = dict.fromkeys(self._consumers)
        #: Streams whose declared schedules are still to be put there.
        self._incomplete: set[str] = set()
        self._changed = anyio.Event()
        self._stopped = False
        for consumer in consumers:
            consumer.rescheduled = self._knocked

    def __repr__(self) -> str:
        return f"<Ticker of {', '.join(self._consumers)}>"

    def stop(self) -> None:
        """Fire no more: whoever stops takes no jobs either."""
        self._stopped = True

    def learned(self, stream: str, renewal: Renewal) -> None:
        """What a heartbeat brought."""
        now = self._clock.monotonic()
        if renewal.schedules == 0 and self._handlers.recurring(stream):
            self._incomplete.add(stream)  # the broker has lost them
            self._look_at(stream, now)
        elif renewal.next_tick is not None and not renewal.paused:
            self._look_at(stream, now + renewal.next_tick)

    def _knocked(self, stream: str) -> None:
        self._look_at(stream, self._clock.monotonic())

    def _look_at(self, stream: str, when: float) -> None:
        """Look then, unless a look comes before that: one too many is harmless."""
        known = self._at[stream]
        if known is None or when < known:
            self._at[stream] = when
            self._changed.set()

    async def begin(self) -> None:
        """Put what the code declares into the broker, and fire what is due; later, where that fails."""
        for stream in self._consumers:
            self._incomplete.add(stream)
            await self._look_politely(stream)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._changed = anyio.Event()
            now = self._clock.monotonic()
            due = [stream for stream, at in self._at.items() if at is not None and at <= now]
            for stream in due:
                await self._look_politely(stream)
            if not due:
                soonest = min((at for at in self._at.values() if at is not None), default=None)
                with anyio.move_on_after(None if soonest is None else soonest - now):
                    await self._changed.wait()

    async def _look_politely(self, stream: str) -> None:
        if not self._consumers[stream].peers.leads:
            await anyio.sleep(COURTESY)
        try:
            if stream in self._incomplete:
                await self._declare(stream)
            await self._look(stream)
        except TemporaryError as error:
            self._tell(BrokerTrouble(type(error).__name__, str(error)))
            self._at[stream] = self._clock.monotonic() + RECONNECT[1]

    async def _declare(self, stream: str) -> None:
        declared, gone = self._handlers.recurring(stream), self._handlers.gone(stream)
        await Recurring(stream, self._broker).declare(declared, gone)
        self._incomplete.discard(stream)

    async def _look(self, stream: str) -> None:
        self._at[stream] = None
        if not self._stopped:
            seconds = await fire_due(self._broker, stream, self._tell)
            if seconds is not None:
                self._look_at(stream, self._clock.monotonic() + seconds)


async def fire_due(broker: Broker, stream: str, tell: Callable[[Event], None]) -> float | None:
    """Fire every tick of the stream that is due; seconds until the next, None: there is none.

    Raises TemporaryError; what was fired by then is fired, and nothing is fired twice.
    """
    for _ in range(LOOKS):
        due = await broker.due_schedules(stream)
        following = [] if due.next_due is None else [due.next_due]
        again = False
        for stored in due.found:
            next_ms = await _fire(broker, stream, stored, due.server_ms, tell)
            if next_ms is not None:
                again = again or next_ms <= due.server_ms
                following.append((next_ms - due.server_ms) / 1000)
        if not again:
            return min(following, default=None)
    return 0.0


async def _fire(
    broker: Broker, stream: str, stored: StoredSchedule, now_ms: int, tell: Callable[[Event], None]
) -> int | None:
    """Fire what is due of one schedule; when it is due next, ms: now, where another worker was faster."""
    record = record_of(stream, stored)
    if record is None:
        return None
    firing = fire(record, now_ms)
    if firing is None:  # somebody has changed its time by hand: put it right
        change = ScheduleChange(
            schedule_id=stored.schedule_id, expected=stored.revision, body=stored.body, due_ms=record.due_ms
        )
        await broker.change_schedule(stream, change)
        return record.due_ms
    change = ScheduleChange(
        schedule_id=stored.schedule_id,
        expected=stored.revision,
        body=msgspec.json.encode(firing.record),
        due_ms=firing.record.due_ms,
        not_before_ms=firing.not_before_ms,
        jobs=firing.jobs,
        if_taken=(msgspec.json.encode(firing.if_taken), firing.if_taken.due_ms),
    )
    try:
        receipts = await broker.change_schedule(stream, change)
    except BrokerFull as error:
        tell(BrokerTrouble(type(error).__name__, str(error)))
        return now_ms + 1000
    if receipts is None:
        return now_ms
    for job, receipt in zip(firing.jobs, receipts, strict=True):
        late = now_ms / 1000 - (job.at or 0.0)
        tell(TickFired(stream, stored.schedule_id, job.id, late, created=receipt.created))
        if not receipt.created:
            extra = {"stream": stream, "schedule": stored.schedule_id, "job_id": receipt.job_id}
            log.info("tick_overlapped", extra=extra)
    taken = any(not receipt.created for receipt in receipts)
    return (firing.if_taken if taken else firing.record).due_ms
