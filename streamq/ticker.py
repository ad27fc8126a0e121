"""Fires the ticks of recurring jobs: in every worker, at the moment, and without asking in between.

A worker knows when the next tick is: from its own last look, from every heartbeat, and from the knock that a
new earliest tick makes. The worker that leads looks at that moment, the others a tenth of a second later, and
the broker lets one of them add the job: so nothing hangs on the leader, and where ticks are many, the others
do not ask for each of them.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
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
from streamq.job import Receipt
from streamq.partitions import partition_of
from streamq.queue import Queue
from streamq.recurring import Recurring, record_of
from streamq.schedules import fire

log = logging.getLogger("streamq.worker")

#: Seconds for which the others leave a tick to the worker that leads; by then one look tells of all that were
#: due meanwhile, most often that they are fired.
COURTESY: Final = 0.1
#: Ticks that are fired at the same time.
AT_ONCE: Final = 16
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
            await self._try_to_look(stream)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._changed = anyio.Event()
            now = self._clock.monotonic()
            looks = [(self._look_time(stream), stream) for stream in self._consumers]
            due = [stream for when, stream in looks if when is not None and when <= now]
            for stream in due:
                await self._try_to_look(stream)
            if not due:
                soonest = min((when for when, _ in looks if when is not None), default=None)
                with anyio.move_on_after(None if soonest is None else soonest - now):
                    await self._changed.wait()

    def _look_time(self, stream: str) -> float | None:
        """Monotonic seconds of the next look, courtesy included."""
        at = self._at[stream]
        return at if at is None or self._leads(stream) else at + COURTESY

    def _leads(self, stream: str) -> bool:
        return self._consumers[stream].peers.leads

    async def _try_to_look(self, stream: str) -> None:
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
            seconds = await fire_due(self._broker, stream, self._tell, in_order=self._leads(stream))
            if seconds is not None:
                self._look_at(stream, self._clock.monotonic() + seconds)


async def fire_due(
    broker: Broker, stream: str, tell: Callable[[Event], None], *, in_order: bool = True
) -> float | None:
    """Fire every tick of the stream that is due; seconds until the next, None: there is none.

    `in_order`: the longest due first; else as it comes, for whoever helps one that does so. Raises
    TemporaryError; what was fired by then is fired, and nothing is fired twice.
    """
    for _ in range(LOOKS):
        due = await broker.due_schedules(stream)
        found = due.found if in_order else random.sample(due.found, len(due.found))
        next_ms = await _fire_all(broker, stream, found, due.server_ms, tell)
        following = [(at - due.server_ms) / 1000 for at in next_ms]
        if due.next_due is not None:
            following.append(due.next_due)
        if min(next_ms, default=math.inf) > due.server_ms:
            return min(following, default=None)
    return 0.0


async def _fire_all(
    broker: Broker,
    stream: str,
    found: Sequence[StoredSchedule],
    now_ms: int,
    tell: Callable[[Event], None],
) -> list[int]:
    """Fire what is due of each, some at a time; when those that have a next tick are due, ms.

    One after the other, a server or a machine that is slow to answer would hold up all that are behind.
    """
    following: list[int] = []
    troubles: list[TemporaryError] = []
    waiting = deque(found)

    async def one_by_one() -> None:
        while waiting and not troubles:
            try:
                next_ms = await _fire(broker, stream, waiting.popleft(), now_ms, tell)
            except TemporaryError as error:
                troubles.append(error)
            else:
                if next_ms is not None:
                    following.append(next_ms)

    if len(waiting) == 1:
        await one_by_one()
    else:
        async with anyio.create_task_group() as group:
            for _ in range(min(AT_ONCE, len(waiting))):
                group.start_soon(one_by_one)
    if troubles:
        raise troubles[0]
    return following


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
        receipts = await add(broker, stream, change)
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


async def add(broker: Broker, stream: str, change: ScheduleChange) -> list[Receipt] | None:
    """Change the record and add the jobs of its ticks, in one step (see `Broker.change_schedule`).

    A limit is exact only where all jobs of its key are. Where that is another partition than the schedules',
    it takes two steps: the jobs first, under ids of their own making, so that whoever fires the tick anew
    since the second step never came adds none.
    """
    limit = change.jobs[0].limit if change.jobs else None
    if limit is None or partition_of(limit.key, await broker.partitions(stream)) == 0:
        return await broker.change_schedule(stream, change)
    jobs = [msgspec.structs.replace(job, id_is_callers=True) for job in change.jobs]
    answers = await Queue(stream, broker).enqueue_jobs(jobs)
    receipts = [
        Receipt(one.job_id, created=one.job_id == job.id) for one, job in zip(answers, jobs, strict=True)
    ]
    record = change.body, change.due_ms
    if change.if_taken is not None and not all(one.created for one in receipts):
        record = change.if_taken
    alone = msgspec.structs.replace(change, jobs=(), body=record[0], due_ms=record[1], if_taken=None)
    return None if await broker.change_schedule(stream, alone) is None else receipts
