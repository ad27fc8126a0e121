"""Recurring jobs in the in-memory broker; see `streamq.redis_schedules`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import anyio.lowlevel

from streamq.broker import ScheduleChange, Schedules, StoredSchedule
from streamq.job import NewJob, Receipt, new_job_id
from streamq.keys import UNTIL_DONE_LIMIT
from streamq.redis_schedules import schedule_fields
from streamq.testing.stores import StreamStore
from streamq.wire import pairs


class MemorySchedules:
    """Needs the stores; `MemoryBroker` has them."""

    _lock: threading.Lock

    def _store(self, stream: str) -> StreamStore:
        raise NotImplementedError

    def _now_ms(self) -> int:
        raise NotImplementedError

    async def due_schedules(self, stream: str, *, limit: int = 100) -> Schedules:
        """See `Broker.due_schedules`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            if store.paused:
                return Schedules((), now, paused=True)
            due = [one for one in _by_tick(store) if one.due_ms is not None and one.due_ms <= now]
            return Schedules(tuple(due[:limit]), now, next_due=seconds_to_tick(store, now, after=now))

    async def schedules(self, stream: str, *, schedule_ids: Sequence[str] = ()) -> Schedules:
        """See `Broker.schedules`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            found: Iterable[StoredSchedule] = _by_tick(store)
            if schedule_ids:
                found = [store.schedules[one] for one in schedule_ids if one in store.schedules]
            return Schedules(tuple(found), now, store.paused, seconds_to_tick(store, now))

    async def change_schedule(self, stream: str, change: ScheduleChange) -> list[Receipt] | None:
        """See `Broker.change_schedule`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            old = store.schedules.get(change.schedule_id)
            if (old.revision if old else None) != change.expected or now < change.not_before_ms:
                return None
            receipts = [_add(store, job, now) for job in change.jobs]
            store.counters["enqueued"] += sum(receipt.created for receipt in receipts)
            body, due_ms = change.body, change.due_ms
            if change.if_taken is not None and not all(receipt.created for receipt in receipts):
                body, due_ms = change.if_taken
            earliest = min(_dues(store), default=None)
            if body is None:
                store.schedules.pop(change.schedule_id, None)
            else:
                stored = StoredSchedule(change.schedule_id, new_job_id(), body, due_ms)
                store.schedules[change.schedule_id] = stored
                if due_ms is not None and (earliest is None or due_ms < earliest):
                    store.knock = store.rescheduled = True
            store.wake()
            return receipts


def seconds_to_tick(store: StreamStore, now: int, *, after: int = -1) -> float | None:
    """Seconds until the earliest tick due later than `after` (ms); None: there is none."""
    due = min((due for due in _dues(store) if due > after), default=None)
    return None if due is None else max(0, due - now) / 1000


def _dues(store: StreamStore) -> list[int]:
    return [one.due_ms for one in store.schedules.values() if one.due_ms is not None]


def _by_tick(store: StreamStore) -> list[StoredSchedule]:
    """In the order of a sorted set: by score, then by name; without a next tick last."""

    def place(one: StoredSchedule) -> tuple[bool, int, str]:
        return one.due_ms is None, one.due_ms or 0, one.schedule_id

    return sorted(store.schedules.values(), key=place)


def _add(store: StreamStore, job: NewJob, now: int) -> Receipt:
    if job.unique is not None:
        first = store.unique.get(job.unique, now)
        if first is not None:
            return Receipt(first, created=False)
        store.unique.set(job.unique, job.id, now, round(UNTIL_DONE_LIMIT * 1000))
    store.by_key.make_ready(job.lane, pairs(schedule_fields(job)), now)
    return Receipt(job.id, created=True)
