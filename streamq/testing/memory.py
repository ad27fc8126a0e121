"""A broker without a server, for tests: the same verbs, the same promises, the same wire format.

Time comes from the clock it is given. On a `ManualClock` nothing becomes due and no wait ends until
the test advances it; on a `SystemClock` it behaves like a server.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import anyio
import anyio.lowlevel
import msgspec

from streamq import partitions as spread
from streamq.broker import (
    LOOK,
    Again,
    Bury,
    Cancel,
    Cancellation,
    DeadJob,
    Done,
    DoneJob,
    Finish,
    Lease,
    Order,
    PendingEntry,
    Reclaimed,
    Release,
    Renewal,
    Requeued,
    Retention,
    Sighting,
    StreamStats,
    Turn,
    Waiting,
    Wakeup,
    WorkerFacts,
    WorkerSeen,
)
from streamq.clock import Clock, ManualClock
from streamq.durability import Durability
from streamq.errors import MorePartitions
from streamq.job import Envelope, NewJob, Receipt
from streamq.keys import (
    ANSWER_KEPT,
    CALL_WINDOW,
    CANCEL_KEPT,
    JOB_ID_WINDOW,
    LANES,
    UNTIL_DONE_LIMIT,
    Lane,
    StreamKeys,
)
from streamq.partitions import over_all
from streamq.redis_inspection import with_payload
from streamq.scripts import ERROR_LIMIT, ORDERS_LIMIT, TRACEBACK_LIMIT
from streamq.steering import check_concurrency, check_entry_ids, check_order
from streamq.testing.lookup import look_for
from streamq.testing.schedules import MemorySchedules, seconds_to_tick
from streamq.testing.stores import Fields, LaneStore, Limiter, StreamStore
from streamq.wire import NOTE_LIMIT, entry_ms, envelope_of, fields_again, fields_of, pairs, tried

_receipts = msgspec.json.Decoder(list[Receipt])

#: Of every eight jobs that a worker takes, the how many-th is the normal lane's, and the low lane's.
NORMAL_TURN: Final = 4
LOW_TURN: Final = 8
#: Crash budgets after which a job is dead though its worker did not name it.
SPARED: Final = 3


def _ms(seconds: float) -> int:
    """Whole milliseconds, rounded up: later rather than early."""
    return math.ceil(seconds * 1000)


class MemoryBroker(MemorySchedules):
    """`streamq.broker.Broker` in the memory of one process.

    Safe to use from several threads, as the Redis one is (heartbeats run in a thread of their own).
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or ManualClock()
        self._streams: dict[str, StreamStore] = {}
        self._lock = threading.Lock()
        #: See `Broker.counts`.
        self.counts: dict[str, int] = {}
        if isinstance(self.clock, ManualClock):
            self.clock.on_move(self._wake_everybody)

    def __repr__(self) -> str:
        parts = [
            f"{name}: {sum(len(lane.ready) for lane in store.lanes.values())} ready,"
            f" {sum(len(lane.pending) for lane in store.lanes.values())} leased,"
            f" {len(store.delayed)} delayed, {len(store.dead.entries)} dead, {len(store.done.entries)} done"
            for name, store in self._streams.items()
        ]
        return f"<MemoryBroker {'; '.join(parts) or 'empty'}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- producing ---------------------------------------------------------------------------

    async def enqueue(
        self, stream: str, jobs: Sequence[NewJob], *, call_id: str, partitions: int | None = None
    ) -> list[Receipt]:
        """See `Broker.enqueue`."""
        await anyio.lowlevel.checkpoint()
        return self.enqueue_blocking(stream, jobs, call_id=call_id, partitions=partitions)

    def enqueue_blocking(
        self, stream: str, jobs: Sequence[NewJob], *, call_id: str, partitions: int | None = None
    ) -> list[Receipt]:
        """`enqueue` for programs without an event loop."""
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            answered = store.calls.get(call_id, now)
            if answered is not None:
                return _receipts.decode(answered)
            if partitions is not None and store.partitions > partitions:
                raise MorePartitions(store.partitions)
            store.partitions = max(store.partitions, partitions or 1)
            receipts = self._add_all(store, jobs, now)
            store.calls.set(call_id, msgspec.json.encode(receipts).decode(), now, _ms(CALL_WINDOW))
            store.counters["enqueued"] += sum(receipt.created for receipt in receipts)
            store.wake()
            return receipts

    async def can_confirm(self, stream: str, durability: Durability) -> None:
        """See `Broker.can_confirm`."""

    async def confirm(self, stream: str, jobs: int, *, call_id: str, durability: Durability) -> None:  # noqa: ARG002 - nothing is safer than memory here
        """See `Broker.confirm`."""
        await anyio.lowlevel.checkpoint()

    def inject(self, stream: str, fields: Mapping[bytes | str, bytes | str], lane: Lane = "normal") -> str:
        """Add an entry as a foreign producer's `XADD` does, unchecked; returns its entry id."""

        def raw(text: bytes | str) -> bytes:
            return text.encode() if isinstance(text, str) else text

        with self._lock:
            store = self._store(stream)
            entry = {raw(name): raw(value) for name, value in fields.items()}
            entry_id = store.lanes[lane].add(self._now_ms(), entry)
            store.wake()
            return entry_id

    def flush(self) -> None:
        """Forget everything, as FLUSHALL does."""
        with self._lock:
            sleepers = [wake for store in self._streams.values() for wake in store.sleepers]
            self._streams.clear()
        for wake in sleepers:
            wake()

    def _add_all(self, store: StreamStore, jobs: Sequence[NewJob], now: int) -> list[Receipt]:
        receipts = []
        for job in jobs:
            first = self._first_of(store, job, now)
            if (
                first is not None
                and job.replace
                and not (job.id_is_callers and store.job_ids.get(job.id, now))
            ):
                receipts.append(self._replace(store, first, job, now))
                continue
            if first is None:
                self._add(store, job, now)
                self._remember(store, job, now)
            receipts.append(Receipt(first or job.id, created=first is None))
        return receipts

    def _first_of(self, store: StreamStore, job: NewJob, now: int) -> str | None:
        """The job that has this one's id or uniqueness key already, if any."""
        first = store.job_ids.get(job.id, now) if job.id_is_callers else None
        if first is None and job.unique is not None:
            first = store.unique.get(job.unique, now)
        return first

    def _add(self, store: StreamStore, job: NewJob, now: int) -> None:
        self._add_fields(store, job, _fields_of(job), _due_ms(job, now), now)

    def _add_fields(self, store: StreamStore, job: NewJob, fields: Fields, due: int, now: int) -> None:
        if due > now:
            store.delay(due, job.lane, {b"enqueued": b"%d" % now} | fields)
        else:
            store.by_key.make_ready(job.lane, fields, now)

    def _replace(self, store: StreamStore, holder: str, job: NewJob, now: int) -> Receipt:
        """In the place of the job that holds the key and waits; after it where it runs. See enqueue.lua."""
        seen = look_for(store, job.unique or "", holder, now, LOOK)
        if seen.state == "ready" and holder not in store.by_key.places:
            seen = msgspec.structs.replace(seen, state="leased")  # of another mode: left alone
        until_done = _ms(UNTIL_DONE_LIMIT) + max(0, _due_ms(job, now) - now)
        if seen.state in ("ready", "delayed", "parked") and seen.envelope is not None:
            fields = _fields_of(job) | {
                name: value for name, value in _raw(store, holder, seen).items() if name in (b"id", b"behind")
            }
            store.take_out(holder, seen)
            if seen.state == "ready" and seen.entry_id is not None:
                store.by_key.left_lane(seen.envelope, seen.entry_id, now)
            due, enqueued = _due_ms(job, now), seen.envelope.enqueued_ms
            if job.max_wait is not None:
                due = min(due, enqueued + _ms(job.max_wait))
            self._add_fields(store, job, fields | {b"enqueued": b"%d" % enqueued}, due, now)
            store.unique.set(job.unique or "", holder, now, until_done)
            store.cancels.pop(holder, None)
            return Receipt(holder, created=False, replaced=True)
        if seen.state == "leased":
            store.by_key.wait_behind(job.unique or "", holder, now + until_done)
            fields = _fields_of(job) | {b"behind": holder.encode()}
            self._add_fields(store, job, fields, _due_ms(job, now), now)
        else:
            self._add(store, job, now)
        self._remember(store, job, now)
        return Receipt(job.id, created=True)

    def _remember(self, store: StreamStore, job: NewJob, now: int) -> None:
        if job.id_is_callers:
            store.cancels.pop(job.id, None)  # what a person cancelled was an older job of that id
            store.job_ids.set(job.id, job.id, now, _ms(JOB_ID_WINDOW))
        if job.unique is not None:
            until_done = _ms(UNTIL_DONE_LIMIT) + max(0, _due_ms(job, now) - now)
            keep = until_done if job.unique_for is None else _ms(job.unique_for)
            store.unique.set(job.unique, job.id, now, keep)

    # --- working -----------------------------------------------------------------------------

    async def turn(
        self,
        stream: str,
        worker: str,
        *,
        sequence: int,
        finished: Sequence[Finish] = (),
        free: int = 0,
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> Turn:
        """See `Broker.turn`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            refused = self._finish_all(store, worker, sequence, finished, now)
            store.done.keep(retention.done_count)
            self._promote(store, now)
            taken = [] if store.paused or free <= 0 else self._take(store, worker, free, now)
            dues = [*(one.due_ms for one in store.delayed[:1]), *store.by_key.due.values()]
            store.workers.setdefault(worker, 0)
            return Turn(
                leases=self._leases(stream, store, taken),
                refused=refused,
                paused=store.paused,
                next_due=max(0, min(dues) - now) / 1000 if dues else None,
                server_ms=now,
                cancelled=refused & store.ended_as_cancelled,
                concurrency=store.concurrency,
            )

    def _finish_all(
        self,
        store: StreamStore,
        worker: str,
        sequence: int,
        finished: Sequence[Finish],
        now: int,
    ) -> frozenset[str]:
        """Keys of the refused; of a repeated turn those of the first time."""
        if not finished:
            return frozenset()
        last, refused = store.turns.get(worker, (None, frozenset[str]()))
        if last == sequence:
            return refused
        store.ended_as_cancelled -= refused  # nobody asks for that turn again
        store.ended_as_cancelled -= {finish.lease.key for finish in finished}  # it ended by another's word
        refused = frozenset(
            finish.lease.key for finish in finished if not self._finish(store, worker, finish, now)
        )
        store.turns[worker] = (sequence, refused)
        store.wake()
        return refused

    def _finish(self, store: StreamStore, worker: str, finish: Finish, now: int) -> bool:
        """End one delivery; False: it was not this worker's to end, and nothing was changed."""
        lease, envelope = finish.lease, finish.lease.envelope
        lane = store.lanes[lease.lane]
        if not self._holds(lane, lease, worker):
            return False
        again: str | None = None
        if isinstance(finish, Cancel) or envelope.id in store.cancels:
            self._drop(lane, lease)
            store.by_key.left_lane(envelope, lease.entry_id, now)
            ran = finish.duration if isinstance(finish, Done | Cancel) else 0.0
            _record_cancelled(store, envelope, now, ran)
            if not isinstance(finish, Cancel):
                store.ended_as_cancelled |= {lease.key}
            return isinstance(finish, Cancel)
        match finish:
            case Done():
                self._drop(lane, lease)
                _record_done(store, finish, now)
                _give_back(store, envelope, now)
                store.counters["done"] += 1
            case Again():
                self._drop(lane, lease)
                fields = fields_again(
                    envelope,
                    attempt=envelope.attempt + finish.counts,
                    crashes=envelope.crashes,
                    note=finish.note,
                    tries=tried(envelope, lease.entry_id, finish.note) if finish.counts else envelope.tries,
                )
                store.delay(now + _ms(finish.delay), lease.lane, pairs(fields))
                _keep_unique(store, envelope, now, _ms(UNTIL_DONE_LIMIT + finish.delay))
                store.counters["retried" if finish.counts else "snoozed"] += 1
            case Bury():
                self._drop(lane, lease)
                _bury(store, finish, now)
                _give_back(store, envelope, now)
                store.counters["dead"] += 1
            case Release():
                self._drop(lane, lease)
                fields = fields_again(
                    envelope, attempt=envelope.attempt, crashes=envelope.crashes, note=envelope.note
                )
                again = lane.add(now, pairs(fields))
                store.counters["released"] += 1
        if again is None:
            store.by_key.left_lane(envelope, lease.entry_id, now)
        else:
            store.by_key.keep_slot(envelope, lease.entry_id, again)
        return True

    def _holds(self, lane: LaneStore, lease: Lease, worker: str) -> bool:
        return lane.holds(lease.entry_id, worker)

    def _drop(self, lane: LaneStore, lease: Lease) -> None:
        lane.drop(lease.entry_id)

    def _promote(self, store: StreamStore, now: int) -> None:
        """Make what is due ready, each in the lane it came from."""
        store.by_key.look_again(now)
        while store.delayed and self._is_due(store.delayed[0].due_ms, now):
            job = store.delayed.pop(0)
            store.by_key.make_ready(job.lane, job.fields | {b"eligible": b"%d" % job.due_ms}, now)

    def _is_due(self, due_ms: int, now: int) -> bool:
        return due_ms <= now

    def _take(self, store: StreamStore, worker: str, free: int, now: int) -> list[tuple[Lane, str]]:
        """Lanes in order, after the guaranteed share of the lower ones."""
        taken: list[tuple[Lane, str]] = []
        before = store.taken[worker]

        def read(lane: Lane, most: int) -> None:
            while count := min(most, free - len(taken)):
                got = store.lanes[lane].take(worker, count, now)
                kept = self._startable(store, lane, got, now)
                taken.extend((lane, entry_id) for entry_id in kept)
                most -= len(kept)
                if len(kept) == len(got):
                    return

        read("low", _share(before, free, LOW_TURN))
        if store.lanes["high"].ready:
            read("normal", _share(before, free, NORMAL_TURN))
        for lane in LANES:
            read(lane, free)
        store.taken[worker] += len(taken)
        return sorted(taken, key=lambda one: LANES.index(one[0]))

    def _startable(self, store: StreamStore, lane: Lane, entries: Sequence[str], now: int) -> list[str]:
        """Those of the entries just handed over that their keys let start; the others are parked."""
        log = store.lanes[lane].log.entries
        return [one for one in entries if store.by_key.may_start((lane, one), log[one], now)]

    def _leases(
        self, stream: str, store: StreamStore, taken: Iterable[tuple[Lane, str]]
    ) -> tuple[Lease, ...]:
        envelopes = [
            (entry_id, envelope_of(entry_id, lane, store.lanes[lane].log.entries[entry_id]))
            for lane, entry_id in taken
        ]
        return tuple(
            Lease(stream, entry_id, envelope, cancelled=envelope.id in store.cancels)
            for entry_id, envelope in envelopes
        )

    async def wait(self, stream: str, worker: str, *, timeout: float) -> Wakeup:  # noqa: ASYNC109 - the injected clock keeps this time
        """See `Broker.wait`.

        As on Redis, what is due is promoted by turns only, and a job that comes while the stream is
        paused is handed over with `paused` set: the worker gives it back.
        """
        await anyio.lowlevel.checkpoint()
        deadline = self.clock.monotonic() + timeout
        while True:
            # Before the look, not after it: what comes in between is then not slept through.
            woken = anyio.Event()
            with self._lock:
                store = self._store(stream)
                found = self._wakeup(stream, store, worker, in_time=self.clock.monotonic() < deadline)
                if found is not None:
                    return found
                wake = _setter(woken)
                store.sleepers.append(wake)
            try:
                await self._sleep(woken, deadline)
            finally:
                with self._lock:
                    store.sleepers.remove(wake)

    def _wakeup(self, stream: str, store: StreamStore, worker: str, *, in_time: bool) -> Wakeup | None:
        """The answer of a wait, or None: nothing is there and there is time left."""
        now = self._now_ms()
        taken = [
            (lane, entry_id)
            for lane in LANES
            for entry_id in self._startable(store, lane, store.lanes[lane].take(worker, 1, now), now)
        ]
        if not taken and not store.knock and in_time:
            return None
        knocked, store.knock = store.knock, False
        rescheduled, store.rescheduled = store.rescheduled, False
        return Wakeup(
            self._leases(stream, store, taken),
            paused=store.paused,
            server_ms=now,
            knocked=knocked,
            rescheduled=rescheduled,
        )

    async def _sleep(self, woken: anyio.Event, deadline: float) -> None:
        """Until woken; by a clock that runs by itself, until `deadline` at most."""
        if isinstance(self.clock, ManualClock):
            await woken.wait()
            return
        with anyio.move_on_after(max(0.0, deadline - self.clock.monotonic())):
            await woken.wait()

    def renew(
        self,
        stream: str,
        worker: str,
        held: Sequence[Lease],
        facts: WorkerFacts = WorkerFacts(),  # noqa: B008 - frozen
    ) -> Renewal:
        """See `Broker.renew`."""
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            lost = {lease.key for lease in held if not store.lanes[lease.lane].holds(lease.entry_id, worker)}
            for lease in held:
                if lease.key not in lost:
                    store.lanes[lease.lane].pending[lease.entry_id].touched_ms = now
            store.workers[worker] = store.workers.get(worker, 0) + 1
            store.facts[worker] = (now, facts)
            return Renewal(
                lost=frozenset(lost),
                paused=store.paused,
                beats=dict(store.workers),
                pending=sum(1 for _ in store.held_by(worker)),
                cancelled=frozenset(
                    lease.key
                    for lease in held
                    if lease.key not in lost and lease.envelope.id in store.cancels
                ),
                concurrency=store.concurrency,
                orders=tuple(store.orders.pop(worker, ())),
                schedules=len(store.schedules),
                next_tick=seconds_to_tick(store, now),
                partitions=store.partitions,
            )

    async def vouch(self, stream: str, worker: str) -> bool:
        """See `Broker.vouch`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            if worker not in store.workers:
                return False
            for lane, entry_id in store.held_by(worker):
                store.lanes[lane].pending[entry_id].touched_ms = now
            store.workers[worker] += 1
            return True

    async def adopt(self, stream: str, worker: str, held: Sequence[Lease]) -> tuple[Lease, ...]:
        """See `Broker.adopt`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store = self._store(stream)
            known = {(lease.lane, lease.entry_id) for lease in held}
            unknown = [taken for taken in store.held_by(worker) if taken not in known]
            return self._leases(stream, store, unknown)

    # --- keeping house -----------------------------------------------------------------------

    async def reclaim(self, stream: str, worker: str, *, beat: int | None, crash_budget: int) -> Reclaimed:
        """See `Broker.reclaim`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store = self._store(stream)
            if beat is not None and store.workers.get(worker) != beat:
                return Reclaimed()
            facts = store.facts[worker][1] if worker in store.facts else None
            blamed = None if facts is None else facts.to_blame
            made = self._take_back(store, list(store.held_by(worker)), crash_budget, blamed)
            store.forget(worker)
            return made

    async def sweep(self, stream: str, *, idle: float, crash_budget: int) -> Reclaimed:
        """See `Broker.sweep`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, before = self._store(stream), self._now_ms() - _ms(idle)
            abandoned = [
                (name, entry_id)
                for name, lane in store.lanes.items()
                for entry_id, held in lane.pending.items()
                if held.touched_ms <= before and held.worker not in store.workers
            ]
            return self._take_back(store, abandoned, crash_budget)

    def _take_back(
        self,
        store: StreamStore,
        entries: Sequence[tuple[Lane, str]],
        crash_budget: int,
        blamed: str | None = None,
    ) -> Reclaimed:
        """Each entry ready again with one crash more, or dead. See lib/reclaim.lua for `blamed`."""
        now, ready, cancelled = self._now_ms(), 0, 0
        for name, entry_id in entries:
            lane = store.lanes[name]
            owner = lane.pending[entry_id].worker
            fields = _with_one_crash_more(entry_id, lane.log.entries[entry_id])
            envelope = envelope_of(entry_id, name, fields)
            if envelope.id in store.cancels:
                lane.drop(entry_id)
                _record_cancelled(store, envelope, now)
                store.by_key.left_lane(envelope, entry_id, now)
                cancelled += 1
            elif _is_to_blame(envelope.crashes, crash_budget, f"{name}/{entry_id}", blamed):
                lane.drop(entry_id)
                why = f"its worker died {envelope.crashes} times holding it; the last was {owner}"
                _bury_entry(store, fields, name, reason="crashed", error=why, now=now)
                _give_back(store, envelope, now)
                store.by_key.left_lane(envelope, entry_id, now)
            else:
                again = self._make_ready_again(lane, entry_id, fields, now)
                store.by_key.keep_slot(envelope, entry_id, again)
                ready += 1
        dead = len(entries) - ready - cancelled
        for counter, count in (("reclaimed", ready + dead), ("dead", dead)):
            if count:
                store.counters[counter] += count
        store.wake()
        return Reclaimed(ready, dead, cancelled)

    def _make_ready_again(self, lane: LaneStore, entry_id: str, fields: Fields, now: int) -> str:
        """Under a new entry id: whatever the old holder does with the old one is refused."""
        lane.drop(entry_id)
        return lane.add(now, fields)

    async def retire(self, stream: str, worker: str) -> None:
        """See `Broker.retire`. Who still holds something stays on the list, to be reclaimed."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store = self._store(stream)
            if not any(store.held_by(worker)):
                store.forget(worker)
                store.taken.pop(worker, None)

    async def trim(self, stream: str, retention: Retention) -> None:
        """See `Broker.trim`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            store.done.drop_older_than(now - _ms(retention.done_seconds))
            store.done.keep(retention.done_count)
            store.dead.drop_older_than(now - _ms(retention.dead_seconds))
            before = now - _ms(CANCEL_KEPT)
            store.cancels = {job_id: ms for job_id, ms in store.cancels.items() if ms >= before}

    # --- controlling and looking ---------------------------------------------------------------

    async def partitions(self, stream: str) -> int:
        """See `Broker.partitions`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            self.counts[stream] = self._store(stream).partitions
            return self.counts[stream]

    async def set_partitions(self, stream: str, count: int, *, again: bool = False) -> int:
        """See `Broker.set_partitions`."""
        before = await self.partitions(stream)
        spread.check_growth(stream, count, before)
        names = spread.partition_names(stream, count)
        for name in () if again else names[before:]:
            spread.check_unused(await self.stats(name))
        with self._lock:
            first = self._store(stream)
            for name in names[before:]:
                store = self._store(name)
                store.paused, store.concurrency = first.paused, first.concurrency
            for name in names:
                self._store(name).partitions = count
        return await self.partitions(stream)

    @over_all(spread.set_in_all)
    async def set_paused(self, stream: str, *, paused: bool) -> None:
        """See `Broker.set_paused`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store = self._store(stream)
            store.paused = paused
            if not paused:
                store.knock = store.rescheduled = True
                store.wake()

    @over_all(spread.all_stats)
    async def stats(self, stream: str) -> StreamStats:
        """See `Broker.stats`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            since = [_ready_since(lane) for lane in store.lanes.values() if lane.ready]
            return StreamStats(
                stream=stream,
                ready={name: len(lane.ready) for name, lane in store.lanes.items()},
                leased=sum(len(lane.pending) for lane in store.lanes.values()),
                delayed=len(store.delayed),
                dead=len(store.dead.entries),
                done=len(store.done.entries),
                oldest_seconds=max(0, now - min(since)) / 1000 if since else None,
                workers=len(store.workers),
                paused=store.paused,
                counters=dict(store.counters),
                concurrency=store.concurrency,
                parked=len(store.by_key.parked()),
            )

    @over_all(spread.all_parked)
    async def parked(self, stream: str, *, limit: int = 100) -> list[Envelope]:
        """See `Broker.parked`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return [one.envelope for one in self._store(stream).by_key.parked()[:limit]]

    @over_all(spread.all_pending)
    async def pending(
        self, stream: str, *, worker: str | None = None, idle_over: float = 0.0, limit: int = 100
    ) -> list[PendingEntry]:
        """See `Broker.pending`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            found = [
                PendingEntry(
                    entry_id=entry_id,
                    worker=held.worker,
                    idle_seconds=(now - held.touched_ms) / 1000,
                    deliveries=1,
                    envelope=envelope_of(entry_id, name, lane.log.entries[entry_id]),
                )
                for name, lane in store.lanes.items()
                for entry_id, held in lane.pending.items()
                if worker in (None, held.worker) and now - held.touched_ms >= _ms(idle_over)
            ]
        return sorted(found, key=lambda entry: -entry.idle_seconds)[:limit]

    @over_all(spread.all_dead)
    async def dead(self, stream: str, *, limit: int = 100, before: str | None = None) -> list[DeadJob]:
        """See `Broker.dead`."""
        await anyio.lowlevel.checkpoint()
        check_entry_ids(() if before is None else (before,))
        with self._lock:
            letters = [letter for _, letter in self._store(stream).dead.newest_first()]
        if before is not None:
            letters = [letter for letter in letters if _order(letter.entry_id) < _order(before)]
        return letters[:limit]

    @over_all(spread.all_done)
    async def done(self, stream: str, *, limit: int = 100) -> list[DoneJob]:
        """See `Broker.done`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return [record for _, record in self._store(stream).done.newest_first()[:limit]]

    @over_all(spread.all_delayed)
    async def delayed(self, stream: str, *, limit: int = 100) -> list[tuple[Envelope, float]]:
        """See `Broker.delayed`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return [
                (envelope_of(f"{job.due_ms}-0", job.lane, job.fields), job.due_ms / 1000)
                for job in self._store(stream).delayed[:limit]
            ]

    @over_all(spread.requeue_all)
    async def requeue(
        self, stream: str, entry_ids: Sequence[str], *, payloads: Mapping[str, bytes] | None = None
    ) -> Requeued:
        """See `Broker.requeue`."""
        await anyio.lowlevel.checkpoint()
        check_entry_ids(entry_ids)
        ready: list[str] = []
        duplicate: list[str] = []
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            for entry_id in entry_ids:
                letter = store.dead.entries.get(entry_id)
                if letter is None:
                    continue
                if _claim_unique(store, letter.envelope, now):
                    store.cancels.pop(letter.envelope.id, None)
                    _revive(store, with_payload(letter, payloads or {}), now)
                    ready.append(letter.envelope.id)
                else:
                    duplicate.append(letter.envelope.id)
            store.wake()
        return Requeued(ready=tuple(ready), duplicate=tuple(duplicate))

    async def limit(
        self, stream: str, key: str, *, rate: float, burst: int, who: str = "", urgent: bool = False
    ) -> float:
        """See `Broker.limit`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            now = int(self.clock.time() * 1_000_000)
            limiter = self._store(stream).limits.setdefault(key, Limiter())
            interval = max(1, round(1_000_000 / rate))
            return limiter.ask(now, interval, burst, who, urgent=urgent) / 1_000_000

    @over_all(spread.all_waiting)
    async def waiting(self, stream: str, *, limit: int = 100) -> list[Waiting]:
        """See `Broker.waiting`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            found = [
                Waiting(entry_id, envelope_of(entry_id, name, lane.log.entries[entry_id]))
                for name, lane in self._store(stream).lanes.items()
                for entry_id in lane.ready
            ]
        return found[:limit]

    @over_all(spread.purge_all)
    async def purge(self, stream: str, entry_ids: Sequence[str]) -> int:
        """See `Broker.purge`."""
        await anyio.lowlevel.checkpoint()
        check_entry_ids(entry_ids)
        with self._lock:
            store = self._store(stream)
            gone = [entry_id for entry_id in entry_ids if store.dead.entries.pop(entry_id, None)]
            if gone:
                store.counters["purged"] += len(gone)
        return len(gone)

    @over_all(spread.find_in_all)
    async def find(self, stream: str, job_id: str, *, look: int = LOOK) -> Sighting:
        """See `Broker.find`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return look_for(self._store(stream), stream, job_id, self._now_ms(), look)

    @over_all(spread.cancel_in_all)
    async def cancel(self, stream: str, job_id: str, *, look: int = LOOK) -> Cancellation:
        """See `Broker.cancel`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            seen = look_for(store, stream, job_id, now, look)
            if seen.state in ("ready", "delayed", "parked") and seen.envelope is not None:
                store.take_out(job_id, seen)
                _record_cancelled(store, seen.envelope, now)
                if seen.state == "ready" and seen.entry_id is not None:
                    store.by_key.left_lane(seen.envelope, seen.entry_id, now)
                return Cancellation(job_id, "delayed" if seen.state == "delayed" else "waiting")
            if seen.state == "leased":
                store.cancels.setdefault(job_id, now)
                return Cancellation(job_id, "running", worker=seen.worker)
            if seen.state != "unknown":
                return Cancellation(job_id, "ended", state=seen.state)
            if not seen.looked_at_all:
                store.cancels.setdefault(job_id, now)
                return Cancellation(job_id, "sought", looked=seen.looked)
            return Cancellation(job_id, "unknown", looked=seen.looked)

    @over_all(spread.set_in_all)
    async def set_concurrency(self, stream: str, jobs: int | None) -> None:
        """See `Broker.set_concurrency`."""
        await anyio.lowlevel.checkpoint()
        check_concurrency(jobs)
        with self._lock:
            self._store(stream).concurrency = jobs

    @over_all(spread.all_workers)
    async def workers(self, stream: str) -> list[WorkerSeen]:
        """See `Broker.workers`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            store, now = self._store(stream), self._now_ms()
            holders = {held.worker for lane in store.lanes.values() for held in lane.pending.values()}
            found = []
            for name in sorted({*store.workers, *holders}):
                heard_ms, told = store.facts.get(name, (None, WorkerFacts()))
                heard = None if heard_ms is None else (now - heard_ms) / 1000
                in_hand = sum(1 for _ in store.held_by(name))
                found.append(WorkerSeen(name, in_hand, store.workers.get(name), heard, told))
            return found

    @over_all(spread.order_in_any)
    async def order(self, stream: str, worker: str, order: Order) -> bool:
        """See `Broker.order`."""
        await anyio.lowlevel.checkpoint()
        check_order(order)
        with self._lock:
            store = self._store(stream)
            waiting = store.orders.get(worker, [])
            if worker not in store.workers or len(waiting) >= ORDERS_LIMIT:
                return False
            store.orders[worker] = [*waiting, order]
            return True

    async def answer(self, stream: str, order_id: str, text: str) -> None:
        """See `Broker.answer`."""
        await anyio.lowlevel.checkpoint()
        self.answer_blocking(stream, order_id, text)

    def answer_blocking(self, stream: str, order_id: str, text: str) -> None:
        """See `Broker.answer_blocking`."""
        with self._lock:
            self._store(stream).answers.set(order_id, text, self._now_ms(), _ms(ANSWER_KEPT))

    @over_all(spread.answered_in_any)
    async def answered(self, stream: str, order_id: str) -> str | None:
        """See `Broker.answered`."""
        await anyio.lowlevel.checkpoint()
        with self._lock:
            return self._store(stream).answers.get(order_id, self._now_ms())

    async def ping(self) -> dict[str, Any]:
        """See `Broker.ping`."""
        await anyio.lowlevel.checkpoint()
        return {
            "server": "memory",
            "version": "1",
            "policy": "noeviction",
            "appendonly": False,
            "where": "memory",
        }

    async def close(self) -> None:
        """Nothing to let go of; what lies here stays, as on a server."""
        await anyio.lowlevel.checkpoint()

    # --- helpers -----------------------------------------------------------------------------

    def _store(self, stream: str) -> StreamStore:
        if stream not in self._streams:
            StreamKeys.of(stream)  # refuses a name that Redis would not take
            self._streams[stream] = StreamStore()
        return self._streams[stream]

    def _now_ms(self) -> int:
        # A microsecond of grace: seconds since 1970 as a float are not exact in whole milliseconds,
        # and a clock advanced by exactly a delay must find the job due.
        return int(self.clock.time() * 1000 + 0.001)

    def _wake_everybody(self) -> None:
        with self._lock:
            for store in self._streams.values():
                store.wake()


def _setter(woken: anyio.Event) -> Callable[[], None]:
    """Sets an event of the running loop, from whatever thread."""
    loop = asyncio.get_running_loop()

    def wake() -> None:
        loop.call_soon_threadsafe(woken.set)

    return wake


def _share(taken: int, free: int, turn: int) -> int:
    """How many of the `free` jobs that come after the first `taken` are that one of their eight."""
    return (taken + free + 8 - turn) // 8 - (taken + 8 - turn) // 8


def _due_ms(job: NewJob, now: int) -> int:
    return now + _ms(job.delay) if job.at is None else _ms(job.at)


def _fields_of(job: NewJob) -> Fields:
    return pairs(
        fields_of(
            job_id=job.id,
            payload=job.payload,
            headers=job.headers,
            retry=job.retry,
            timeout=job.timeout,
            unique=job.unique if job.unique_for is None else None,
            replace=job.replace,
            limit=job.limit,
        )
    )


def _raw(store: StreamStore, job_id: str, seen: Sighting) -> Fields:
    """The fields of a job that waits."""
    if seen.state == "ready" and seen.envelope is not None and seen.entry_id is not None:
        return store.lanes[seen.envelope.lane].log.entries[seen.entry_id]
    parked = store.by_key.find(job_id)
    if parked is not None:
        return parked[1].fields
    return next(one.fields for one in store.delayed if one.fields.get(b"id") == job_id.encode())


def _give_back(store: StreamStore, envelope: Envelope, now: int) -> None:
    """The job has ended: its uniqueness key is free, if it is still its own."""
    if envelope.unique is None:
        return
    if store.unique.get(envelope.unique, now) == envelope.id:
        store.unique.give_back(envelope.unique, envelope.id, now)
    else:
        store.by_key.ended(envelope.unique, envelope.id, now)


def _keep_unique(store: StreamStore, envelope: Envelope, now: int, keep_ms: int) -> None:
    """A job that goes round once more keeps its key until it has ended, however late that is."""
    if envelope.unique is not None and store.unique.get(envelope.unique, now) == envelope.id:
        store.unique.set(envelope.unique, envelope.id, now, keep_ms)


def _claim_unique(store: StreamStore, envelope: Envelope, now: int) -> bool:
    if envelope.unique is None:
        return True
    if store.unique.get(envelope.unique, now) is not None:
        return False
    store.unique.set(envelope.unique, envelope.id, now, _ms(UNTIL_DONE_LIMIT))
    return True


def _record_done(store: StreamStore, finish: Done, now: int) -> None:
    envelope = finish.lease.envelope
    entry_id = store.done.next_id(now)
    store.done.entries[entry_id] = DoneJob(
        entry_id=entry_id,
        job_id=envelope.id,
        attempt=envelope.attempt,
        duration=int(finish.duration * 1000) / 1000,
        finished_ms=entry_ms(entry_id),
        result=finish.result,
        no_result=finish.no_result[:NOTE_LIMIT],
    )


def _record_cancelled(store: StreamStore, envelope: Envelope, now: int, duration: float = 0.0) -> None:
    entry_id = store.done.next_id(now)
    store.done.entries[entry_id] = DoneJob(
        entry_id=entry_id,
        job_id=envelope.id,
        attempt=envelope.attempt,
        duration=int(duration * 1000) / 1000,
        finished_ms=entry_ms(entry_id),
        outcome="cancelled",
    )
    _give_back(store, envelope, now)
    store.cancels.pop(envelope.id, None)
    store.counters["cancelled"] += 1


def _bury(store: StreamStore, finish: Bury, now: int) -> None:
    envelope = finish.lease.envelope
    fields = fields_again(envelope, attempt=envelope.attempt, crashes=envelope.crashes)
    _bury_entry(
        store,
        pairs(fields),
        envelope.lane,
        reason=finish.reason[:200],
        error=finish.error[:ERROR_LIMIT],
        traceback=finish.traceback[-TRACEBACK_LIMIT:],
        now=now,
    )


def _bury_entry(
    store: StreamStore, fields: Fields, lane: Lane, *, reason: str, error: str, traceback: str = "", now: int
) -> None:
    entry_id = store.dead.next_id(now)
    envelope = envelope_of(entry_id, lane, fields)
    store.dead.entries[entry_id] = DeadJob(
        entry_id=entry_id,
        envelope=envelope,
        reason=reason,
        error=error,
        traceback=traceback,
        attempts=envelope.attempt,
        died_ms=now,
    )


def _revive(store: StreamStore, letter: DeadJob, now: int) -> None:
    """A dead letter becomes ready: attempt 1, no crashes."""
    del store.dead.entries[letter.entry_id]
    fields = fields_again(letter.envelope, attempt=1, crashes=0, tries=())
    store.by_key.make_ready(letter.envelope.lane, pairs(fields), now)
    store.counters["requeued"] += 1


def _with_one_crash_more(entry_id: str, fields: Fields) -> Fields:
    """The entry as it goes back: its own bytes, with what its old entry id stood for written out."""
    crashes = fields.get(b"crashes", b"0")
    counted = int(crashes) if crashes.isdigit() else 0
    defaults = {b"id": entry_id.encode(), b"enqueued": b"%d" % entry_ms(entry_id)}
    said = {name: value for name, value in fields.items() if (name, value) != (b"id", b"")}
    return defaults | said | {b"crashes": b"%d" % (counted + 1)}


def _is_to_blame(crashes: int, budget: int, key: str, blamed: str | None) -> bool:
    """See lib/reclaim.lua."""
    if crashes < budget:
        return False
    return budget == 1 or blamed is None or blamed == key or crashes >= SPARED * budget


def _ready_since(lane: LaneStore) -> int:
    """When the first ready entry became eligible, ms."""
    first = lane.ready[0]
    eligible = lane.log.entries[first].get(b"eligible", b"")
    return int(eligible) if eligible.isdigit() else entry_ms(first)


def _order(entry_id: str) -> tuple[int, int]:
    """Entry ids in the order they were made."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)
