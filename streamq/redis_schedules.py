"""Recurring jobs on a server: a record and its next tick per schedule, changed by whoever saw it last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from streamq.broker import ScheduleChange, Schedules, StoredSchedule
from streamq.job import NewJob, Receipt, new_job_id
from streamq.keys import LANES, UNTIL_DONE_LIMIT, StreamKeys
from streamq.scripts import Call
from streamq.wire import fields_of

A = TypeVar("A")


class RedisSchedules:
    """Needs two ways to run scripts; `RedisBroker` has them."""

    async def _evaluate(self, call: Call[A]) -> A:
        raise NotImplementedError

    def _evaluate_blocking(self, call: Call[A]) -> A:
        raise NotImplementedError

    async def due_schedules(self, stream: str, *, limit: int = 100) -> Schedules:
        """See `Broker.due_schedules`."""
        return await self._evaluate(Call("due_schedules", _keys_to_read(stream), [limit], _read))

    async def schedules(self, stream: str, *, schedule_ids: Sequence[str] = ()) -> Schedules:
        """See `Broker.schedules`."""
        return await self._evaluate(Call("schedules", _keys_to_read(stream), schedule_ids, _read))

    def schedules_blocking(self, stream: str, *, schedule_ids: Sequence[str] = ()) -> Schedules:
        """`schedules` for programs without an event loop."""
        return self._evaluate_blocking(Call("schedules", _keys_to_read(stream), schedule_ids, _read))

    async def change_schedule(self, stream: str, change: ScheduleChange) -> list[Receipt] | None:
        """See `Broker.change_schedule`."""
        return await self._evaluate(_change(stream, change))

    def change_schedule_blocking(self, stream: str, change: ScheduleChange) -> list[Receipt] | None:
        """`change_schedule` for programs without an event loop."""
        return self._evaluate_blocking(_change(stream, change))


def _keys_to_read(stream: str) -> list[str]:
    k = StreamKeys.of(stream)
    return [k.schedules, k.schedule_records, k.meta]


def _read(reply: Any) -> Schedules:
    found, now, paused, next_ms = reply
    words = iter(found)
    return Schedules(
        found=tuple(_stored(*three) for three in zip(words, words, words, strict=True)),
        server_ms=int(now),
        paused=bool(paused),
        next_due=None if next_ms < 0 else next_ms / 1000,
    )


def _stored(raw_id: bytes, due: bytes, record: bytes) -> StoredSchedule:
    revision, _, body = record.partition(b" ")
    return StoredSchedule(
        schedule_id=raw_id.decode("utf-8", "replace"),
        revision=revision.decode("utf-8", "replace"),
        body=body,
        due_ms=None if due == b"inf" else int(float(due)),
    )


def _change(stream: str, change: ScheduleChange) -> Call[list[Receipt] | None]:
    k = StreamKeys.of(stream)
    keys = [*k.lanes, k.schedules, k.schedule_records, k.meta, k.wake, k.delayed, *k.limits]
    revision = new_job_id().encode()

    def stored(body: bytes | None, due_ms: int | None) -> tuple[bytes, int | str]:
        return b"" if body is None else revision + b" " + body, "+inf" if due_ms is None else due_ms

    args: list[Any] = [
        change.schedule_id,
        change.expected or "",
        *stored(change.body, change.due_ms),
        change.not_before_ms,
        *(stored(*change.if_taken) if change.if_taken else ("", "")),
        round(UNTIL_DONE_LIMIT * 1000),
        len(change.jobs),
    ]
    for job in change.jobs:
        index = 0
        if job.unique is not None:
            keys.append(k.unique(job.unique))
            index = len(keys)
        fields = schedule_fields(job)
        args += (LANES.index(job.lane) + 1, index, job.id, len(fields), *fields)

    def read(reply: Any) -> list[Receipt] | None:
        if reply is None:
            return None
        return [
            Receipt(first.decode() or job.id, created=not first)
            for job, first in zip(change.jobs, reply, strict=True)
        ]

    return Call("change_schedule", keys, args, read)


def schedule_fields(job: NewJob) -> list[bytes]:
    """The fields of a tick's job that may be ready: eligible since its moment."""
    fields = fields_of(
        job_id=job.id,
        payload=job.payload,
        headers=job.headers,
        retry=job.retry,
        timeout=job.timeout,
        unique=job.unique,
        limit=job.limit,
    )
    if job.at is not None:
        fields += (b"eligible", b"%d" % round(job.at * 1000))
    return fields
