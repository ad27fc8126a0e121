"""`drain`: run handlers in a unit test until nothing is left to do, over retries of minutes in no time.

broker = MemoryBroker()
await Queue("images", broker).enqueue(ResizeImage("a.png", 640), job_id="a")
drained = await drain(broker, handlers)
assert drained.done == ("a",)
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import msgspec

from streamq.broker import Again, Broker, Bury, Cancel, Finish, Lease, Release, Turn
from streamq.clock import Clock, ManualClock, SystemClock
from streamq.errors import BrokerUnavailable, StreamqError
from streamq.events import Outcome
from streamq.executor import Ended, Executor
from streamq.handlers import Handlers, Registration
from streamq.job import Job
from streamq.partitions import partition_names
from streamq.recurring import Recurring
from streamq.testing.faults import FaultyBroker, Point, WorkerKilled
from streamq.testing.memory import MemoryBroker
from streamq.ticker import fire_due

#: Runs of handlers after which a drain is taken for endless.
MAX_RUNS: Final = 10_000
#: Turns in a row without an answer after which a drain gives up.
MAX_UNANSWERED: Final = 100


class EndlessDrainError(StreamqError):
    """The handlers still make work for themselves. What they did is in the broker."""


class Ran(msgspec.Struct, frozen=True):
    """One run of a handler, and what became of its job."""

    stream: str
    job_id: str
    attempt: int
    #: Seconds since the drain began, by the clock.
    at: float
    #: done, retried, snoozed or dead; lease_lost or cancelled where somebody took the job away meanwhile;
    #: killed: its worker died (see `faults`).
    outcome: Outcome | Literal["killed"]
    #: Seconds until it runs again, for retried and snoozed.
    delay: float | None = None
    #: The dead letter's reason, for dead.
    reason: str | None = None
    #: `Type: message`, where it failed.
    error: str | None = None


class Drained(msgspec.Struct, frozen=True):
    """What a drain did."""

    #: Every run, in order.
    runs: tuple[Ran, ...]
    #: Jobs that stay delayed.
    delayed: int

    @property
    def done(self) -> tuple[str, ...]:
        """Ids of the jobs that ended well, in order."""
        return tuple(ran.job_id for ran in self.runs if ran.outcome == "done")

    @property
    def dead(self) -> tuple[str, ...]:
        """Ids of the jobs that became dead letters, in order."""
        return tuple(ran.job_id for ran in self.runs if ran.outcome == "dead")


async def drain(
    broker: Broker,
    handlers: Handlers,
    *,
    streams: Sequence[str] | None = None,
    max_runs: int = MAX_RUNS,
    seconds: float | None = None,
) -> Drained:
    """Run what lies in the streams, and what that puts there, one job after the other.

    `streams`: those of `handlers` to run, default all. On a `MemoryBroker` with a `ManualClock` (its
    default) the clock is moved to the next due job whenever nothing is ready; where time runs by
    itself, what is not yet due stays, and is counted.

    `seconds`: let exactly so many pass instead, and fire the ticks of recurring jobs on the way, those that
    `handlers` declares included; needs a `ManualClock`. What is due later stays.

    Handlers run as under a worker: payloads are decoded, retry policies hold, and timeouts do in real
    time. What is paused or in a worker's hands stays. Raises EndlessDrainError where there is still work
    after `max_runs` runs, and UnknownStream.
    """
    clock = broker.clock if isinstance(broker, MemoryBroker) else SystemClock()
    chosen = list(handlers) if streams is None else [handlers.of(stream) for stream in streams]
    parts = [
        _Part(one, name)
        for one in chosen
        for name in partition_names(one.stream, await broker.partitions(one.stream))
    ]
    session = _Session(broker, parts, clock, max_runs)
    with _taking_over(broker, session):
        if seconds is None:
            return await _drain_all(session, clock)
        if not isinstance(clock, ManualClock):
            raise ValueError("only a ManualClock can be moved by so many seconds")  # noqa: TRY004 - a value of it
        return await _drain_for(session, handlers, clock, seconds)


@contextmanager
def _taking_over(broker: Broker, session: _Session) -> Iterator[None]:
    """Where a worker is frozen meanwhile, the session has another one take its jobs."""
    if not isinstance(broker, FaultyBroker):
        yield
        return
    broker.take_over = session.take_over
    try:
        yield
    finally:
        broker.take_over = None


async def _drain_all(session: _Session, clock: Clock) -> Drained:
    """Until nothing is delayed, or as much as is ready where the clock cannot be moved."""
    while True:
        await session.run_ready()
        due = session.next_due
        if due is None or not isinstance(clock, ManualClock):
            return await session.end()
        clock.advance(due)


async def _drain_for(session: _Session, handlers: Handlers, clock: ManualClock, seconds: float) -> Drained:
    """Run what is ready and fire what is due, from one moment at which there is something to the next."""
    until = clock.monotonic() + seconds
    await session.declare(handlers)
    while True:
        tick = await session.fire()
        await session.run_ready()
        left = until - clock.monotonic()
        soonest = min((due for due in (tick, session.next_due) if due is not None), default=None)
        if soonest is None or soonest > left:
            clock.advance(left)
            return await session.end()
        clock.advance(soonest)


class _Part(msgspec.Struct, frozen=True):
    """One partition of a stream."""

    whole: Registration
    name: str

    @property
    def registration(self) -> Registration:
        """The registration as if the partition were a stream."""
        return msgspec.structs.replace(self.whole, stream=self.name)


class _Session:
    """One drain: a worker's name, its turns, and what it did."""

    def __init__(self, broker: Broker, parts: Sequence[_Part], clock: Clock, max_runs: int) -> None:
        self._broker = broker
        self._parts = parts
        self._faulty = broker if isinstance(broker, FaultyBroker) else None
        self._registrations = [one.registration for one in parts]
        self._executors = [(one.registration, Executor(self._watched(one.whole))) for one in parts]
        self._clock = clock
        self._began = clock.monotonic()
        self._max_runs = max_runs
        self._worker = _make_name()
        self._sequence = 0
        #: Taken and not begun, oldest first.
        self._in_hand: deque[Lease] = deque()
        #: A handler has ended the worker that runs it.
        self._killed = False
        self._runs: list[Ran] = []
        #: By stream: seconds until its next delayed job; None: there is none, or it is paused.
        self._due: dict[str, float | None] = {}

    @property
    def next_due(self) -> float | None:
        """Seconds until the next delayed job of all streams; None: there is none."""
        return min((due for due in self._due.values() if due is not None), default=None)

    async def declare(self, handlers: Handlers) -> None:
        """Put the recurring jobs of the code into the broker."""
        for registration, _ in self._executors:
            stream = registration.stream
            await Recurring(stream, self._broker).declare(handlers.recurring(stream), handlers.gone(stream))

    async def fire(self) -> float | None:
        """Fire the ticks that are due; seconds until the next one of all, None: there is none."""
        found = [await fire_due(self._broker, one.stream, lambda _: None) for one, _ in self._executors]
        return min((seconds for seconds in found if seconds is not None), default=None)

    async def run_ready(self) -> None:
        """Return when no stream has anything to take: one's handler may fill another one."""
        before = -1
        while len(self._runs) > before:
            before = len(self._runs)
            for registration, executor in self._executors:
                await self._run_stream(registration, executor)

    async def _run_stream(self, registration: Registration, executor: Executor) -> None:
        """Job after job: the end of one is told with the question for the next."""
        turn = await self._turn(registration)
        while self._in_hand:
            lease = self._in_hand.popleft()
            if lease.cancelled:
                turn = await self._turn(registration, Cancel(lease))
                continue
            if len(self._runs) >= self._max_runs:
                self._in_hand.appendleft(lease)
                await self._turn(registration, *(Release(one) for one in self._in_hand), take=False)
                raise EndlessDrainError(f"there is still work after {self._max_runs} runs of handlers")
            try:
                turn = await self._run(registration, executor, lease)
            except WorkerKilled:
                await self._die()
                turn = await self._turn(registration)
        self._due[registration.stream] = None if turn.paused else turn.next_due

    async def _run(self, registration: Registration, executor: Executor, lease: Lease) -> Turn:
        """One job, from taken to told. Raises WorkerKilled."""
        at = self._clock.monotonic() - self._began
        try:
            self._reach("taken", lease)
            ended = await executor.execute(lease)
            self._outlive()
            self._reach("ran", lease)
        except WorkerKilled:
            envelope = lease.envelope
            self._runs.append(Ran(lease.stream, envelope.id, envelope.attempt, at, "killed"))
            raise
        if self._faulty is not None and self._faulty.is_to_freeze(lease):
            await self._take_from(registration, self._worker)
        turn = await self._turn(registration, ended.finish)
        self._runs.append(_ran(ended, at, lost=_lost(lease.key, turn)))
        self._reach("told", lease)
        return turn

    async def _turn(self, registration: Registration, *finished: Finish, take: bool = True) -> Turn:
        """One round trip, repeated under the same sequence until the broker has answered, as a worker does.

        What it brought is in hand.
        """
        self._sequence += 1
        unanswered = 0
        while True:
            try:
                turn = await self._broker.turn(
                    registration.stream,
                    self._worker,
                    sequence=self._sequence,
                    finished=finished,
                    free=int(take and not self._in_hand),
                    retention=registration.retention,
                )
            except BrokerUnavailable:
                unanswered += 1
                if unanswered > MAX_UNANSWERED:
                    raise
                continue
            self._in_hand.extend(turn.leases)
            if unanswered:
                found = await self._broker.adopt(registration.stream, self._worker, tuple(self._in_hand))
                self._in_hand.extend(found)
            return turn

    # --- faults ---------------------------------------------------------------------------------

    def _reach(self, point: Point, lease: Lease) -> None:
        if self._faulty is not None:
            self._faulty.reach(point, lease)

    def _outlive(self) -> None:
        """Raises WorkerKilled where the handler has ended this worker."""
        if self._killed:
            raise WorkerKilled

    def _watched(self, registration: Registration) -> Registration:
        """The same, and we know when its handler ends the worker: the executor takes that for a failure."""
        run = registration.run

        async def asynchronous(job: Job[Any]) -> object:
            try:
                value: object = await run(job)
            except WorkerKilled:
                self._killed = True
                raise
            return value

        def plain(job: Job[Any]) -> object:
            try:
                return run(job)
            except WorkerKilled:
                self._killed = True
                raise

        return msgspec.structs.replace(registration, run=asynchronous if registration.is_async else plain)

    async def _die(self) -> None:
        """This worker is dead; another one takes its jobs and goes on."""
        dead, self._worker = self._worker, _make_name()
        self._in_hand.clear()
        self._killed = False
        for registration, _ in self._executors:
            await self._take_from(registration, dead)

    async def _take_from(self, registration: Registration, worker: str) -> None:
        await self._broker.reclaim(
            registration.stream, worker, beat=None, crash_budget=registration.crash_budget
        )

    async def take_over(self, stream: str, worker: str) -> None:
        """Take a worker's jobs, and have another one run them, and all that is ready, to their end."""
        for registration in self._registrations:
            if registration.stream == stream:
                await self._take_from(registration, worker)
        other = _Session(self._broker, self._parts, self._clock, self._max_runs)
        other._began, other._runs = self._began, self._runs
        await other.run_ready()
        self._due |= other._due
        await other.retire()

    async def retire(self) -> None:
        """Leave no worker behind."""
        for registration in self._registrations:
            await self._broker.retire(registration.stream, self._worker)

    async def end(self) -> Drained:
        """What was done, and what stays."""
        await self.retire()
        whole = {one.whole.stream for one in self._parts}
        stats = [await self._broker.stats(stream) for stream in whole]
        return Drained(tuple(self._runs), sum(one.delayed for one in stats))


def _make_name() -> str:
    return f"drain:{secrets.token_hex(3)}"


def _lost(key: str, turn: Turn) -> Outcome | None:
    """How the job was lost, if it was."""
    if key not in turn.refused:
        return None
    return "cancelled" if key in turn.cancelled else "lease_lost"


def _ran(ended: Ended, at: float, *, lost: Outcome | None) -> Ran:
    finish, lease = ended.finish, ended.finish.lease
    outcome: Outcome = "done"
    delay: float | None = None
    reason: str | None = None
    match finish:
        case Again():
            outcome, delay = ("retried" if finish.counts else "snoozed"), finish.delay
        case Bury():
            outcome, reason = "dead", finish.reason
    return Ran(
        stream=lease.stream,
        job_id=lease.envelope.id,
        attempt=lease.envelope.attempt,
        at=at,
        outcome=lost or outcome,
        delay=delay,
        reason=reason,
        error=ended.error,
    )
