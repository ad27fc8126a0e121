"""What lies in the in-memory broker: one noun per thing a Redis key holds.

These keep data and its order; when something may happen to it is `memory.MemoryBroker`'s business.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

from streamq.broker import DeadJob, DoneJob, Order, Sighting, StoredSchedule, WorkerFacts
from streamq.keys import LANES, PROMISE_HORIZON, PROMISE_KEPT, Lane
from streamq.testing.limits import KeyLimits, Place
from streamq.wire import entry_ms

R = TypeVar("R")
Fields = dict[bytes, bytes]


class Log(Generic[R]):
    """Records under entry ids that only ever rise, also when the clock goes back (a Redis stream)."""

    def __init__(self) -> None:
        self.entries: dict[str, R] = {}
        self._last = (0, 0)

    def add(self, now_ms: int, record: R) -> str:
        """Append; returns the new entry id."""
        entry_id = self.next_id(now_ms)
        self.entries[entry_id] = record
        return entry_id

    def next_id(self, now_ms: int) -> str:
        """The id the next entry gets."""
        ms, sequence = self._last
        self._last = (now_ms, 0) if now_ms > ms else (ms, sequence + 1)
        return f"{self._last[0]}-{self._last[1]}"

    def newest_first(self) -> list[tuple[str, R]]:
        """All records, newest first."""
        return list(reversed(self.entries.items()))

    def keep(self, count: int) -> None:
        """Drop the oldest until at most `count` are left."""
        for entry_id in list(self.entries)[: max(0, len(self.entries) - count)]:
            del self.entries[entry_id]

    def drop_older_than(self, ms: int) -> None:
        """Drop what was added at `ms` or before."""
        for entry_id in [known for known in self.entries if entry_ms(known) <= ms]:
            del self.entries[entry_id]


class Limiter:
    """One rate limiter: what has started, and who was promised which moment (all in microseconds)."""

    def __init__(self) -> None:
        #: When the next start would come if all came evenly.
        self.arrival = 0
        self.promised: dict[str, int] = {}

    def ask(self, now: int, interval: int, burst: int, who: str, *, urgent: bool = False) -> int:
        """0: go, and it is counted; else how long until one may. See limit.lua, line for line."""
        arrival = max(self.arrival, now)
        free_at = arrival - interval * (burst - 1)
        kept = now - round(PROMISE_KEPT * 1_000_000)
        self.promised = {one: moment for one, moment in self.promised.items() if moment > kept}
        mine = self.promised.get(who)
        if mine is not None and mine > now and not urgent:
            return mine - now
        spacing = interval if burst > 1 else math.ceil(interval * 1.05)
        before = () if urgent else self.promised.values()
        next_at = max([free_at, *(moment + spacing for moment in before)])
        if free_at <= now and (mine is not None or next_at <= now):
            self.arrival = arrival + interval
            self.promised.pop(who, None)
            return 0
        if urgent:
            return next_at - now
        horizon = round(PROMISE_HORIZON * 1_000_000)
        if who and next_at - now > horizon:
            return horizon
        if who:
            next_at = math.ceil(next_at / 1000) * 1000
            self.promised[who] = next_at
        return next_at - now


class Delivery(msgspec.Struct):
    """Who holds an entry, and since when."""

    worker: str
    #: Handed over or renewed, ms of the broker's clock.
    touched_ms: int


class LaneStore:
    """One lane: entries in order, the ones in somebody's hands apart (stream and pending list)."""

    def __init__(self) -> None:
        self.log: Log[Fields] = Log()
        self.ready: deque[str] = deque()
        self.pending: dict[str, Delivery] = {}

    def add(self, now_ms: int, fields: Fields) -> str:
        """Append a job that is ready."""
        entry_id = self.log.add(now_ms, fields)
        self.ready.append(entry_id)
        return entry_id

    def take(self, worker: str, count: int, now_ms: int) -> list[str]:
        """Hand the oldest `count` ready entries to `worker`."""
        taken = [self.ready.popleft() for _ in range(min(count, len(self.ready)))]
        for entry_id in taken:
            self.pending[entry_id] = Delivery(worker, now_ms)
        return taken

    def holds(self, entry_id: str, worker: str) -> bool:
        """Whether that entry is in that worker's hands."""
        delivery = self.pending.get(entry_id)
        return delivery is not None and delivery.worker == worker

    def drop(self, entry_id: str) -> None:
        """Acknowledge and delete an entry."""
        self.pending.pop(entry_id, None)
        self.log.entries.pop(entry_id, None)

    def in_hand(self, worker: str) -> list[str]:
        """Entry ids in that worker's hands, oldest first."""
        return [entry_id for entry_id, held in self.pending.items() if held.worker == worker]


class DelayedJob(msgspec.Struct, frozen=True):
    """A job that waits for its time."""

    due_ms: int
    #: Order of arrival, among jobs due at the same millisecond.
    number: int
    lane: Lane
    fields: Fields


class Expiring:
    """Values that are forgotten after a while (strings with PX)."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[str, int]] = {}

    def get(self, key: str, now_ms: int) -> str | None:
        """The value, unless its time is up."""
        value, expires = self._values.get(key, ("", 0))
        if expires > now_ms:
            return value
        self._values.pop(key, None)
        return None

    def left(self, key: str, now_ms: int) -> int:
        """Milliseconds until the value is forgotten."""
        return max(0, self._values.get(key, ("", 0))[1] - now_ms)

    def set(self, key: str, value: str, now_ms: int, keep_ms: int) -> None:
        """Remember `value` for `keep_ms`."""
        self._values[key] = (value, now_ms + keep_ms)

    def give_back(self, key: str, value: str, now_ms: int) -> None:
        """Forget `key`, if it still has that value."""
        if self.get(key, now_ms) == value:
            del self._values[key]


class StreamStore:
    """Everything of one stream."""

    def __init__(self) -> None:
        self.lanes: dict[Lane, LaneStore] = {lane: LaneStore() for lane in LANES}
        self.delayed: list[DelayedJob] = []
        self.dead: Log[DeadJob] = Log()
        self.done: Log[DoneJob] = Log()
        #: Heartbeat counters of the workers that registered.
        self.workers: dict[str, int] = {}
        #: Sequence number and refusals of each worker's last turn that finished something.
        self.turns: dict[str, tuple[int, frozenset[str]]] = {}
        #: Worker -> how many jobs it has taken: the lanes' shares follow it.
        self.taken: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.paused = False
        #: Partitions of the stream, as this one knows.
        self.partitions = 1
        #: Jobs at once that workers are asked to run; None: as many as they like.
        self.concurrency: int | None = None
        #: Cancelled jobs that have not ended yet -> asked, ms.
        self.cancels: dict[str, int] = {}
        #: Lease keys of the last turns that were refused because the job was cancelled.
        self.ended_as_cancelled: frozenset[str] = frozenset()
        #: Worker -> when it was last heard, ms, and what it told of itself.
        self.facts: dict[str, tuple[int, WorkerFacts]] = {}
        self.orders: dict[str, list[Order]] = {}
        #: Order id -> a worker's answer.
        self.answers = Expiring()
        #: Somebody should look again: a new earliest delayed job, or a resume. One sleeper takes it.
        self.knock = False
        #: The knock is about the schedules too: a new earliest tick, or a resume.
        self.rescheduled = False
        #: Recurring jobs by id.
        self.schedules: dict[str, StoredSchedule] = {}
        #: Wake the sleepers, from whatever thread.
        self.sleepers: list[Callable[[], None]] = []
        #: Uniqueness keys -> job id; caller-made job ids.
        self.unique = Expiring()
        self.job_ids = Expiring()
        #: Enqueue call id -> its answer, JSON.
        self.calls = Expiring()
        self.limits: dict[str, Limiter] = {}
        self.by_key = KeyLimits(self)
        self._numbers = 0

    def add_ready(self, lane: Lane, fields: Fields, now_ms: int) -> str:
        """Append a job to its lane."""
        return self.lanes[lane].add(now_ms, fields)

    def drop(self, place: Place) -> None:
        """Acknowledge and delete an entry."""
        self.lanes[place[0]].drop(place[1])

    def knock_for(self, due_ms: int) -> None:
        """Somebody has to look at a limit key then."""
        if not self.delayed or due_ms < self.delayed[0].due_ms:
            self.knock = True

    def count_parked(self) -> int:
        """One more job waits for others of its key."""
        self.counters["parked"] += 1
        return self.counters["parked"]

    def delay(self, due_ms: int, lane: Lane, fields: Fields) -> None:
        """Put a job among the delayed; a new earliest one knocks."""
        if not self.delayed or due_ms < self.delayed[0].due_ms:
            self.knock = True
        self._numbers += 1
        job = DelayedJob(due_ms, self._numbers, lane, fields)
        insort(self.delayed, job, key=lambda one: (one.due_ms, one.number))

    def take_out(self, job_id: str, seen: Sighting) -> None:
        """Remove a job that waits or is delayed."""
        if seen.state == "delayed":
            first = next(one for one in self.delayed if one.fields.get(b"id") == job_id.encode())
            self.delayed.remove(first)
        elif seen.state == "parked":
            found = self.by_key.find(job_id)
            if found is not None:
                self.by_key.take_out(*found)
        elif seen.envelope is not None and seen.entry_id is not None:
            lane = self.lanes[seen.envelope.lane]
            lane.ready.remove(seen.entry_id)
            lane.drop(seen.entry_id)

    def forget(self, worker: str) -> None:
        """It is not on the list any more."""
        self.workers.pop(worker, None)
        self.turns.pop(worker, None)
        self.facts.pop(worker, None)
        self.orders.pop(worker, None)

    def held_by(self, worker: str) -> Iterator[tuple[Lane, str]]:
        """Lane and entry id of all that is in a worker's hands."""
        for lane, store in self.lanes.items():
            for entry_id in store.in_hand(worker):
                yield lane, entry_id

    def wake(self) -> None:
        """Let every sleeper look again."""
        for wake in self.sleepers:
            wake()
