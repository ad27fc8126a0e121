"""Recurring jobs of one stream: add, look at, pause, trigger, remove.

    recurring = Recurring("reports", broker, payload_type=Report)
    await recurring.add("nightly", Cron("0 3 * * *", timezone="Europe/Bratislava"), Report("all"))

Any worker of the stream fires the ticks (`streamq.ticker`). Every change is made from the
record that was seen, and refused where that is another one by now: then it is decided anew.
`SyncRecurring` is the same for programs without an event loop.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import msgspec

from streamq.broker import Broker, ScheduleChange, Schedules, StoredSchedule
from streamq.errors import BrokerUnavailable, InvalidJob, PayloadTooLarge, ScheduleNotFound
from streamq.job import NewJob, Receipt
from streamq.keys import StreamKeys
from streamq.queue import MAX_PAYLOAD, Queue, SyncQueue
from streamq.redis_broker import RedisBroker
from streamq.schedules import (
    Cron,
    Every,
    Record,
    Schedule,
    added,
    job_of,
    new_schedule,
    paused,
    resumed,
    tick_words,
    upcoming,
)

log = logging.getLogger("streamq.recurring")

#: Seconds before a change is decided anew that somebody else forestalled, or whose reply was lost.
_PAUSES: Final = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0, 1.0)

_record = msgspec.json.Decoder(Record)

#: From the record there is (None: none) and the server's time, ms, to the one there is to be (None: none).
Decision = Callable[[Record | None, int], Record | None]


class RecurringJob(msgspec.Struct, frozen=True):
    """A schedule and how far it has come."""

    stream: str
    schedule: Schedule
    #: Seconds since the epoch when the next tick's job starts; None: paused, or no tick is left.
    next_due: float | None
    paused: bool
    #: Declared in a worker's code.
    declared: bool
    #: Ticks that had a job.
    runs: int
    #: Ticks that had none, because the job of an earlier one was still there.
    overlapped: int
    #: The last tick that had a job, seconds since the epoch.
    last_tick: float | None


class Recurring:
    """The recurring jobs of one stream."""

    def __init__(self, stream: str, broker: Broker, *, payload_type: Any = Any) -> None:
        """`payload_type`: what payloads are checked against when a schedule is added."""
        StreamKeys.of(stream)
        self.stream = stream
        self._broker = broker
        self._payload_type = payload_type

    def __repr__(self) -> str:
        return f"<Recurring {self.stream} on {self._broker!r}>"

    async def add(self, schedule_id: str, when: Every | Cron, payload: Any, **options: Any) -> RecurringJob:
        """Add a schedule, or change the one of that id; options as the fields of `schedules.Schedule`.

        One that changes in nothing but its payload or the manner of its jobs keeps its next tick; a paused
        one stays paused. Raises InvalidJob, InvalidPayload, PayloadTooLarge.
        """
        schedule = new_schedule(schedule_id, when, payload, payload_type=self._payload_type, **options)
        return await self.put(schedule)

    async def put(self, schedule: Schedule, *, declared: bool = False) -> RecurringJob:
        """`add` of a schedule that was built by `new_schedule`."""
        return await self._changed(_adding(self.stream, schedule, declared=declared))

    async def pause(self, schedule_id: str) -> RecurringJob:
        """No more ticks until it is resumed. Raises ScheduleNotFound."""
        return await self._changed(_altering(self.stream, schedule_id, lambda record, _: paused(record)))

    async def resume(self, schedule_id: str) -> RecurringJob:
        """Ticks again, from now on; none is made up for. Raises ScheduleNotFound."""
        return await self._changed(_altering(self.stream, schedule_id, resumed))

    async def remove(self, schedule_id: str) -> bool:
        """End it; jobs of its earlier ticks stay. False: there was none."""
        removal = _removing(self.stream, schedule_id)
        await self._make(removal)
        return removal.was

    async def trigger(self, schedule_id: str) -> Receipt:
        """A job of it now, beside its ticks: neither its next tick nor its count of runs changes.

        Where its jobs may not overlap and one is there, the receipt says so (`created=False`). Raises
        ScheduleNotFound.
        """
        seen = await self._broker.schedules(self.stream, schedule_ids=[schedule_id])
        job, partition = _triggered(self.stream, schedule_id, seen)
        (receipt,) = await Queue(self.stream, self._broker).enqueue_jobs([job], partition=partition)
        return receipt

    async def get(self, schedule_id: str) -> RecurringJob:
        """One of them. Raises ScheduleNotFound."""
        seen = await self._broker.schedules(self.stream, schedule_ids=[schedule_id])
        return _seen(self.stream, _the_one(self.stream, schedule_id, seen))

    async def list(self) -> list[RecurringJob]:
        """All of them, by next tick."""
        return _all(self.stream, await self._broker.schedules(self.stream))

    async def declare(self, schedules: Sequence[Schedule], gone: Sequence[str] = ()) -> None:
        """Have those in the broker that a worker's code declares, and not those that it says are gone.

        What is in the broker, was declared once and is in neither is told to the log and left alone: another
        program, or the version before, may declare it.
        """
        for schedule in schedules:
            await self.put(schedule, declared=True)
        for schedule_id in gone:
            if await self.remove(schedule_id):
                log.info("schedule_removed", extra={"stream": self.stream, "schedule": schedule_id})
        known = {schedule.id for schedule in schedules}
        for job in await self.list():
            if job.declared and job.schedule.id not in known:
                extra = {"stream": self.stream, "schedule": job.schedule.id}
                log.warning("schedule_not_declared", extra=extra)

    # --- changing -------------------------------------------------------------------------------

    async def _changed(self, change: _Change) -> RecurringJob:
        await self._make(change)
        return change.outcome

    async def _make(self, change: _Change) -> None:
        """Decide, and do it if nothing has changed meanwhile; else once more."""
        error: Exception = change.hopeless
        for pause in _PAUSES:
            await anyio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads the tries
            try:
                seen = await self._broker.schedules(self.stream, schedule_ids=[change.schedule_id])
                wanted = change.after(seen)
                if wanted is None or await self._broker.change_schedule(self.stream, wanted) is not None:
                    return
            except BrokerUnavailable as trouble:  # a decision is as good the second time
                error = trouble
        raise error


class SyncRecurring:
    """`Recurring` for programs without an event loop. Safe to share between threads."""

    def __init__(self, stream: str, broker: RedisBroker, *, payload_type: Any = Any) -> None:
        """See `Recurring`."""
        StreamKeys.of(stream)
        self.stream = stream
        self._broker = broker
        self._payload_type = payload_type

    def __repr__(self) -> str:
        return f"<SyncRecurring {self.stream} on {self._broker!r}>"

    def add(self, schedule_id: str, when: Every | Cron, payload: Any, **options: Any) -> RecurringJob:
        """See `Recurring.add`."""
        schedule = new_schedule(schedule_id, when, payload, payload_type=self._payload_type, **options)
        return self._changed(_adding(self.stream, schedule, declared=False))

    def pause(self, schedule_id: str) -> RecurringJob:
        """See `Recurring.pause`."""
        return self._changed(_altering(self.stream, schedule_id, lambda record, _: paused(record)))

    def resume(self, schedule_id: str) -> RecurringJob:
        """See `Recurring.resume`."""
        return self._changed(_altering(self.stream, schedule_id, resumed))

    def remove(self, schedule_id: str) -> bool:
        """See `Recurring.remove`."""
        removal = _removing(self.stream, schedule_id)
        self._make(removal)
        return removal.was

    def trigger(self, schedule_id: str) -> Receipt:
        """See `Recurring.trigger`."""
        seen = self._broker.schedules_blocking(self.stream, schedule_ids=[schedule_id])
        job, partition = _triggered(self.stream, schedule_id, seen)
        (receipt,) = SyncQueue(self.stream, self._broker).enqueue_jobs([job], partition=partition)
        return receipt

    def get(self, schedule_id: str) -> RecurringJob:
        """See `Recurring.get`."""
        seen = self._broker.schedules_blocking(self.stream, schedule_ids=[schedule_id])
        return _seen(self.stream, _the_one(self.stream, schedule_id, seen))

    def list(self) -> list[RecurringJob]:
        """See `Recurring.list`."""
        return _all(self.stream, self._broker.schedules_blocking(self.stream))

    def _changed(self, change: _Change) -> RecurringJob:
        self._make(change)
        return change.outcome

    def _make(self, change: _Change) -> None:
        error: Exception = change.hopeless
        for pause in _PAUSES:
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads the tries
            try:
                seen = self._broker.schedules_blocking(self.stream, schedule_ids=[change.schedule_id])
                wanted = change.after(seen)
                if wanted is None or self._broker.change_schedule_blocking(self.stream, wanted) is not None:
                    return
            except BrokerUnavailable as trouble:
                error = trouble
        raise error


# --- what is to be done, whoever does it ------------------------------------------------------------


class _Change:
    """A change of one schedule, decided from what was seen of it last."""

    def __init__(self, stream: str, schedule_id: str, decide: Decision) -> None:
        self.schedule_id = schedule_id
        #: There was one, in any of the tries.
        self.was = False
        self._stream = stream
        self._decide = decide
        self._record: Record | None = None

    def after(self, seen: Schedules) -> ScheduleChange | None:
        """What the broker is to change; None: it is so already."""
        stored = seen.found[0] if seen.found else None
        old = record_of(self._stream, stored) if stored is not None else None
        self.was = self.was or old is not None
        self._record = new = self._decide(old, seen.server_ms)
        if (new is None and stored is None) or (new is not None and _same(new, old)):
            return None
        return ScheduleChange(
            schedule_id=self.schedule_id,
            expected=None if stored is None else stored.revision,
            body=None if new is None else msgspec.json.encode(new),
            due_ms=None if new is None else new.due_ms,
        )

    @property
    def outcome(self) -> RecurringJob:
        """How it is now. Raises ScheduleNotFound where there is none."""
        if self._record is None:
            raise ScheduleNotFound
        return _seen(self._stream, self._record)

    @property
    def hopeless(self) -> BrokerUnavailable:
        """Somebody was faster each time."""
        return BrokerUnavailable(f"others change {self.schedule_id!r} all the time")


def _adding(stream: str, schedule: Schedule, *, declared: bool) -> _Change:
    """Raises PayloadTooLarge."""
    if len(bytes(schedule.payload)) > MAX_PAYLOAD:
        raise PayloadTooLarge(f"the payload of {schedule.id!r} is over {MAX_PAYLOAD:,} bytes")
    return _Change(stream, schedule.id, lambda old, now_ms: added(old, schedule, now_ms, declared=declared))


def _altering(stream: str, schedule_id: str, alter: Callable[[Record, int], Record]) -> _Change:
    """Of one that is there: deciding raises ScheduleNotFound."""

    def decide(old: Record | None, now_ms: int) -> Record:
        if old is None:
            raise ScheduleNotFound(f"no recurring job {schedule_id!r} in {stream}")
        return alter(old, now_ms)

    return _Change(stream, schedule_id, decide)


def _removing(stream: str, schedule_id: str) -> _Change:
    return _Change(stream, schedule_id, lambda _, __: None)


def _triggered(stream: str, schedule_id: str, seen: Schedules) -> tuple[NewJob, int | None]:
    """A job of it now, and its partition: where its ticks have theirs, see `ticker.add`."""
    record = _the_one(stream, schedule_id, seen)
    now = tick_words(seen.server_ms)
    job = job_of(record.schedule, f"{now}+{secrets.token_hex(3)}", now)
    return job, 0 if job.limit is None else None


def _the_one(stream: str, schedule_id: str, seen: Schedules) -> Record:
    """The record that was asked for. Raises ScheduleNotFound."""
    record = record_of(stream, seen.found[0]) if seen.found else None
    if record is None:
        raise ScheduleNotFound(f"no recurring job {schedule_id!r} in {stream}")
    return record


def _all(stream: str, seen: Schedules) -> list[RecurringJob]:
    records = [record_of(stream, stored) for stored in seen.found]
    return [_seen(stream, record) for record in records if record is not None]


def record_of(stream: str, stored: StoredSchedule) -> Record | None:
    """The record; None, and a word in the log, for one that cannot be read."""
    try:
        return _record.decode(stored.body)
    except (ValueError, RecursionError, InvalidJob) as error:
        extra = {"stream": stream, "schedule": stored.schedule_id, "error": str(error)}
        log.error("schedule_unreadable", extra=extra)  # noqa: TRY400 - its words say it all
        return None


def _same(new: Record, old: Record | None) -> bool:
    return old is not None and msgspec.json.encode(new) == msgspec.json.encode(old)


def _seen(stream: str, record: Record) -> RecurringJob:
    due = record.due_ms
    return RecurringJob(
        stream=stream,
        schedule=record.schedule,
        next_due=None if due is None else due / 1000,
        paused=record.paused,
        declared=record.declared,
        runs=record.runs,
        overlapped=record.overlapped,
        last_tick=None if record.last_tick is None else record.last_tick / 1000,
    )


def next_ticks(job: RecurringJob, count: int) -> list[float]:
    """Its next ticks (without jitter), seconds since the epoch; none while it is paused."""
    if job.next_due is None:
        return []
    first = job.next_due - job.schedule.jitter
    return [tick / 1000 for tick in upcoming(job.schedule, int(first * 1000) - 1, count)]
