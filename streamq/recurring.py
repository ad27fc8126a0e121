"""Recurring jobs of one stream: add, look at, pause, trigger, remove.

    recurring = Recurring("reports", broker, payload_type=Report)
    await recurring.add("nightly", Cron("0 3 * * *", timezone="Europe/Bratislava"), Report("all"))

Any worker of the stream fires the ticks (`streamq.ticker`). Every change is made from the
record that was seen, and refused where that is another one by now: then it is decided anew.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import msgspec

from streamq.broker import Broker, ScheduleChange, Schedules, StoredSchedule
from streamq.errors import BrokerUnavailable, InvalidJob, PayloadTooLarge, ScheduleNotFound
from streamq.job import Receipt
from streamq.keys import StreamKeys
from streamq.queue import MAX_PAYLOAD, Queue
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
        if len(bytes(schedule.payload)) > MAX_PAYLOAD:
            raise PayloadTooLarge(f"the payload of {schedule.id!r} is over {MAX_PAYLOAD:,} bytes")

        def decide(old: Record | None, now_ms: int) -> Record:
            return added(old, schedule, now_ms, declared=declared)

        record = await self._change(schedule.id, decide)
        if record is None:
            raise ScheduleNotFound
        return _seen(self.stream, record)

    async def pause(self, schedule_id: str) -> RecurringJob:
        """No more ticks until it is resumed. Raises ScheduleNotFound."""
        return await self._alter(schedule_id, lambda record, _: paused(record))

    async def resume(self, schedule_id: str) -> RecurringJob:
        """Ticks again, from now on; none is made up for. Raises ScheduleNotFound."""
        return await self._alter(schedule_id, resumed)

    async def remove(self, schedule_id: str) -> bool:
        """End it; jobs of its earlier ticks stay. False: there was none."""
        was = False

        def decide(old: Record | None, _: int) -> None:
            nonlocal was
            was = was or old is not None

        await self._change(schedule_id, decide)
        return was

    async def trigger(self, schedule_id: str) -> Receipt:
        """A job of it now, beside its ticks: neither its next tick nor its count of runs changes.

        Where its jobs may not overlap and one is there, the receipt says so (`created=False`). Raises
        ScheduleNotFound.
        """
        seen, record = await self._read(schedule_id)
        if record is None:
            raise ScheduleNotFound(f"no recurring job {schedule_id!r} in {self.stream}")
        now = tick_words(seen.server_ms)
        job = job_of(record.schedule, f"{now}+{secrets.token_hex(3)}", now)
        # Where its ticks have theirs: see `ticker.add`.
        partition = 0 if job.limit is None else None
        (receipt,) = await Queue(self.stream, self._broker).enqueue_jobs([job], partition=partition)
        return receipt

    async def get(self, schedule_id: str) -> RecurringJob:
        """One of them. Raises ScheduleNotFound."""
        _, record = await self._read(schedule_id)
        if record is None:
            raise ScheduleNotFound(f"no recurring job {schedule_id!r} in {self.stream}")
        return _seen(self.stream, record)

    async def list(self) -> list[RecurringJob]:
        """All of them, by next tick."""
        seen = await self._broker.schedules(self.stream)
        records = [record_of(self.stream, stored) for stored in seen.found]
        return [_seen(self.stream, record) for record in records if record is not None]

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

    async def _alter(self, schedule_id: str, alter: Callable[[Record, int], Record]) -> RecurringJob:
        def decide(old: Record | None, now_ms: int) -> Record:
            if old is None:
                raise ScheduleNotFound(f"no recurring job {schedule_id!r} in {self.stream}")
            return alter(old, now_ms)

        record = await self._change(schedule_id, decide)
        if record is None:
            raise ScheduleNotFound
        return _seen(self.stream, record)

    async def _change(self, schedule_id: str, decide: Decision) -> Record | None:
        """Decide, and do it if nothing has changed meanwhile; else once more."""
        error: Exception = BrokerUnavailable(f"others change {schedule_id!r} all the time")
        for pause in _PAUSES:
            await anyio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads the tries
            try:
                seen = await self._broker.schedules(self.stream, schedule_ids=[schedule_id])
                stored = seen.found[0] if seen.found else None
                old = record_of(self.stream, stored) if stored is not None else None
                new = decide(old, seen.server_ms)
                if (new is None and stored is None) or (new is not None and _same(new, old)):
                    return new
                change = ScheduleChange(
                    schedule_id=schedule_id,
                    expected=None if stored is None else stored.revision,
                    body=None if new is None else msgspec.json.encode(new),
                    due_ms=None if new is None else new.due_ms,
                )
                if await self._broker.change_schedule(self.stream, change) is not None:
                    return new
            except BrokerUnavailable as trouble:  # a decision is as good the second time
                error = trouble
        raise error

    async def _read(self, schedule_id: str) -> tuple[Schedules, Record | None]:
        seen = await self._broker.schedules(self.stream, schedule_ids=[schedule_id])
        return seen, record_of(self.stream, seen.found[0]) if seen.found else None


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
