"""The worker: takes jobs, has them run, tells the broker what came of them.

One `StreamConsumer` per stream tells the story: turn, start what was taken, rest until something
happens. The `Worker` around it owns what they share: heartbeats in a thread of their own (a handler
that blocks the event loop must not lose its lease), the watch over other workers, signals, stopping.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import anyio
import anyio.abc
import msgspec

from streamq.broker import Again, Broker, Bury, Finish, Lease, Release, Renewal, Turn
from streamq.clock import Clock, SystemClock
from streamq.errors import InvalidJob, StreamqError, TemporaryError
from streamq.events import (
    BrokerTrouble,
    Event,
    JobEnded,
    JobsReclaimed,
    JobStarted,
    Observer,
    Outcome,
    ReadCompleted,
)
from streamq.executor import Ended, Executor
from streamq.handlers import Handlers, Registration
from streamq.maintenance import PeerWatch

log = logging.getLogger("streamq.worker")

#: Seconds of one blocking read: long, so that an idle worker says little; the watch over it is
#: `StreamConsumer.last_read`.
BLOCK: Final = 10.0
#: Seconds between looks at a paused stream ("every worker obeys within a second").
PAUSED_LOOK: Final = 0.8
#: Seconds between looks for jobs in the hands of workers nobody knows, and for what is past its time.
SWEEP_EVERY: Final = 15.0
TRIM_EVERY: Final = 60.0
#: Seconds a burst waits between looks at whether all is done.
BURST_LOOK: Final = 0.05
#: Seconds a cancelled handler has to end before it is left behind.
CANCEL_GRACE: Final = 5.0
#: Seconds between tries while the broker cannot be reached: from, to.
RECONNECT: Final = (0.05, 2.0)


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker behaves; seconds throughout."""

    #: A worker whose heartbeat stands still this long is dead, and its jobs are taken.
    lease: float = 10.0
    #: Between two heartbeats; must be well below `lease`.
    renew: float = 3.0
    #: After a stop, what still runs is handed back after this.
    drain_timeout: float = 25.0
    #: Without an answer from the broker for this long the worker gives up (exits non-zero).
    give_up_after: float = 600.0
    #: Stop when nothing is ready or leased and nothing becomes due within this; None: run on.
    burst_wait: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.renew < self.lease:
            raise InvalidJob(f"renew={self.renew:g} must be above 0 and below lease={self.lease:g} seconds")


class WorkerResult(msgspec.Struct, frozen=True):
    """How a run ended."""

    #: Jobs handed back unfinished.
    handed_back: int


class Running:
    """A job in this process's hands."""

    __slots__ = ("lease", "lost", "release", "scope", "started")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.scope = anyio.CancelScope()
        #: Monotonic seconds; None: waits for a slot.
        self.started: float | None = None
        self.lost = False
        self.release = False

    def __repr__(self) -> str:
        state = "lost" if self.lost else "running" if self.started is not None else "waiting"
        return f"<Running {self.lease.stream} {self.lease.envelope.id} {state}>"


def make_worker_name() -> str:
    """`host:pid:random`: new at every start, so that it never answers for a predecessor's jobs."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


class StreamConsumer:
    """Takes and runs the jobs of one stream."""

    def __init__(
        self,
        broker: Broker,
        registration: Registration,
        *,
        worker: str,
        options: WorkerOptions,
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        self.stream = registration.stream
        self._broker = broker
        self._registration = registration
        self._executor = Executor(registration)
        self._worker = worker
        self._options = options
        self._clock = clock
        self._tell = tell
        self.peers = PeerWatch(worker, lease=options.lease)
        #: Lease key -> job; the heartbeat thread reads a copy of it.
        self._held: dict[str, Running] = {}
        #: Taken, but more came at once than there are slots.
        self._backlog: deque[Running] = deque()
        self._finished: list[Ended] = []
        #: Told to the broker, not yet answered; sent again under the same sequence.
        self._sent: list[Ended] = []
        self._sequence = 0
        self._changed = anyio.Event()
        self._dozing: anyio.CancelScope | None = None
        self._stopping = False
        self._suspicious = False
        self.concurrency = registration.concurrency
        self.paused = False
        self.quiet = False
        self.handed_back = 0
        #: Nothing in hand and nothing was there to take, as of the last turn.
        self.idle = False
        #: Monotonic seconds of the last completed read.
        self.last_read = clock.monotonic()
        #: Monotonic seconds when the last of the jobs that were snoozed here is due: they have not ended.
        self.snoozed_until = 0.0

    def __repr__(self) -> str:
        return f"<StreamConsumer {self.stream} {self.busy}/{self.concurrency}>"

    # --- what others ask and tell ---------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Jobs running now."""
        return len(self._held) - len(self._backlog)

    def held(self) -> list[Lease]:
        """Leases to be renewed, those included whose end the broker has not yet heard of."""
        return [running.lease for running in list(self._held.values())]

    def running(self) -> list[Running]:
        """Jobs in hand."""
        return list(self._held.values())

    def stop(self) -> None:
        """Take no more; `run` ends when what is in hand has ended."""
        self._stopping = True
        if self._dozing is not None:
            self._dozing.cancel()
        self._changed.set()

    def hand_back(self) -> None:
        """Cancel what still runs; each job is ready again, uncounted."""
        for running in list(self._held.values()):
            if running not in self._backlog:
                running.release = True
                running.scope.cancel()

    def on_renewal(self, renewal: Renewal) -> None:
        """What a heartbeat learned: lost leases, the paused flag, the other workers."""
        self.peers.observe(renewal.beats, self._clock.monotonic())
        for key in renewal.lost:
            running = self._held.get(key)
            if running is not None and not running.lost and not self._is_ending(key):
                running.lost = True
                running.scope.cancel()
                if running in self._backlog:
                    self._backlog.remove(running)
                    del self._held[key]
                log.warning("lease_lost", extra=_fields(running.lease))
        if renewal.pending > len(self._held) + len(self._sent):
            self._suspicious = True
            self._changed.set()
        if self.paused and not renewal.paused:
            self._changed.set()

    def _is_ending(self, key: str) -> bool:
        """Its end is on its way to the broker: that answer decides, not the heartbeat."""
        return any(ended.finish.lease.key == key for ended in (*self._sent, *self._finished))

    # --- the story ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until stopped and everything in hand has ended. Raises BrokerUnavailable or BrokerRefused."""
        async with anyio.create_task_group() as jobs:
            while True:
                turn, asked = await self._turn()
                self._settle(turn)
                self._start(jobs, turn.leases, turn.server_ms)
                if self._stopping:
                    self._give_back_backlog()
                    if not self._held and not self._finished:
                        break
                if not self._finished:
                    await self._rest(jobs, turn, hungry=len(turn.leases) < asked or asked == 0)
        await self._say_goodbye()

    async def _turn(self) -> tuple[Turn, int]:
        """One round trip, repeated under the same sequence until the broker has answered.

        The second value is how many jobs were asked for.
        """
        self._sent, self._finished = self._finished, []
        self._sequence += 1
        pause = RECONNECT[0]
        while True:
            free = self._free()
            try:
                if self._suspicious:
                    await self._adopt()
                    free = self._free()
                turn = await self._broker.turn(
                    self.stream,
                    self._worker,
                    sequence=self._sequence,
                    finished=[ended.finish for ended in self._sent],
                    free=free,
                    retention=self._registration.retention,
                )
            except TemporaryError as error:
                await self._trouble(error, pause)
                pause = min(RECONNECT[1], pause * 2)
                continue
            self.last_read = self._clock.monotonic()
            self._tell(ReadCompleted(self.stream))
            self.paused = turn.paused
            return turn, free

    def _free(self) -> int:
        """Slots to ask jobs for; a sleeping read may bring one by itself."""
        if self._stopping or self.quiet:
            return 0
        return max(0, self.concurrency - len(self._held) - (self._dozing is not None))

    async def _trouble(self, error: TemporaryError, pause: float) -> None:
        """Wait before the next try; raise when there has been no answer for too long."""
        self._suspicious = True
        self._tell(BrokerTrouble(type(error).__name__, str(error)))
        silent = self._clock.monotonic() - self.last_read
        log.warning(
            "broker_trouble",
            extra={"stream": self.stream, "error": str(error), "silent_seconds": round(silent, 1)},
        )
        if silent > self._options.give_up_after:
            raise error
        await anyio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads reconnects

    async def _adopt(self) -> None:
        """After trouble: deliveries whose reply was lost are ours all the same."""
        found = await self._broker.adopt(self.stream, self._worker, self.held())
        self._suspicious = False
        for lease in found:
            self._take(lease)
        if found:
            log.info("jobs_adopted", extra={"stream": self.stream, "jobs": len(found)})

    def _settle(self, turn: Turn) -> None:
        """The broker has answered what was sent: those jobs are out of our hands."""
        for ended in self._sent:
            lease = ended.finish.lease
            self._held.pop(lease.key, None)
            if isinstance(ended.finish, Again) and not ended.finish.counts:
                due = self._clock.monotonic() + ended.finish.delay
                self.snoozed_until = max(self.snoozed_until, due)
            self._tell_ended(ended, refused=lease.key in turn.refused)
        self._sent = []

    def _take(self, lease: Lease) -> None:
        if lease.key not in self._held:
            running = Running(lease)
            self._held[lease.key] = running
            self._backlog.append(running)

    def _start(self, jobs: anyio.abc.TaskGroup, leases: Iterable[Lease], server_ms: int) -> None:
        """Start what was taken, as far as there are slots."""
        for lease in leases:
            self._take(lease)
        while self._backlog and not self._stopping and self.busy < self.concurrency:
            running = self._backlog.popleft()
            running.started = self._clock.monotonic()
            self._tell_started(running.lease, server_ms)
            jobs.start_soon(self._run_one, running, name=running.lease.envelope.id)

    async def _run_one(self, running: Running) -> None:
        """One job from start to end; never raises."""
        ended: Ended | None = None
        with running.scope:
            ended = await self._executor.execute(running.lease)
        if running.lost:
            self._held.pop(running.lease.key, None)
            self._tell(
                JobEnded(
                    self.stream,
                    running.lease.envelope.id,
                    running.lease.envelope.attempt,
                    "lease_lost",
                    self._clock.monotonic() - (running.started or 0.0),
                )
            )
        else:
            self._finished.append(ended or Ended(Release(running.lease), 0.0))
            self.handed_back += ended is None
        self._changed.set()

    async def _rest(self, jobs: anyio.abc.TaskGroup, turn: Turn, *, hungry: bool) -> None:
        """Until something changed here, a job came, or the next delayed job is due."""
        self.idle = hungry and not self._held and not self._sent and not turn.leases
        slots = self._free() > 0
        until: float | None = turn.next_due if slots or self._dozing is not None else None
        if turn.paused:
            until = PAUSED_LOOK
        elif slots and hungry and self._dozing is None:
            self._dozing = anyio.CancelScope()
            jobs.start_soon(self._doze, jobs, self._dozing, name=f"read {self.stream}")
        with anyio.move_on_after(until):
            await self._changed.wait()
        self._changed = anyio.Event()

    async def _doze(self, jobs: anyio.abc.TaskGroup, scope: anyio.CancelScope) -> None:
        """A blocking read beside everything else; ends with jobs, with a knock, or with trouble."""
        try:
            with scope:
                while True:
                    wakeup = await self._broker.wait(self.stream, self._worker, timeout=BLOCK)
                    self.last_read = self._clock.monotonic()
                    self._tell(ReadCompleted(self.stream))
                    if wakeup.leases or wakeup.knocked or wakeup.paused:
                        break
                self.paused = wakeup.paused
                self.idle = False
                for lease in wakeup.leases:
                    self._take(lease)
                if wakeup.paused or self.quiet:
                    self._give_back_backlog()
                else:
                    self._start(jobs, (), wakeup.server_ms)
            if scope.cancelled_caught:
                self._suspicious = True  # it may have been handed a job just then
        except TemporaryError as error:
            self._suspicious = True
            self._tell(BrokerTrouble(type(error).__name__, str(error)))
        finally:
            self._dozing = None
            self._changed.set()

    def _give_back_backlog(self) -> None:
        """What was taken and not started is ready again, uncounted."""
        while self._backlog:
            self._finished.append(Ended(Release(self._backlog.popleft().lease), 0.0))

    async def _say_goodbye(self) -> None:
        """Leave nothing behind that somebody would wait a lease for."""
        try:
            with anyio.move_on_after(CANCEL_GRACE, shield=True):
                await self._broker.retire(self.stream, self._worker)
        except StreamqError as error:
            log.warning("retire_failed", extra={"stream": self.stream, "error": str(error)})

    # --- telling --------------------------------------------------------------------------------

    def _tell_started(self, lease: Lease, server_ms: int) -> None:
        envelope = lease.envelope
        waited = max(0.0, (server_ms - envelope.eligible_ms) / 1000)
        late = waited if envelope.eligible_ms > envelope.enqueued_ms else None
        self._tell(JobStarted(self.stream, envelope.id, envelope.attempt, waited, late))

    def _tell_ended(self, ended: Ended, *, refused: bool) -> None:
        finish = ended.finish
        envelope = finish.lease.envelope
        outcome, delay, reason = _outcome(finish)
        if refused:
            outcome = "lease_lost"
        event = JobEnded(
            self.stream, envelope.id, envelope.attempt, outcome, ended.duration, delay, reason, ended.error
        )
        self._tell(event)
        level = _LEVELS[outcome]
        if log.isEnabledFor(level):
            extra = _fields(finish.lease) | {"outcome": outcome, "delay": delay, "reason": reason}
            log.log(level, "job_ended", extra=extra | {"error": ended.error})


_LEVELS: Final[dict[Outcome, int]] = {
    "done": logging.DEBUG,
    "snoozed": logging.DEBUG,
    "released": logging.INFO,
    "retried": logging.INFO,
    "cancelled": logging.INFO,
    "lease_lost": logging.WARNING,
    "dead": logging.WARNING,
}


def _outcome(finish: Finish) -> tuple[Outcome, float | None, str | None]:
    """Its name, its delay, its reason."""
    match finish:
        case Again():
            return ("retried" if finish.counts else "snoozed"), finish.delay, None
        case Bury():
            return "dead", None, finish.reason
        case Release():
            return "released", None, None
        case _:
            return "done", None, None


def _fields(lease: Lease) -> dict[str, Any]:
    """What a log line says of a job; never its payload."""
    return {"stream": lease.stream, "job_id": lease.envelope.id, "attempt": lease.envelope.attempt}


class _Heart(threading.Thread):
    """Renews all leases of this process, from a thread with a connection of its own."""

    def __init__(
        self,
        broker: Broker,
        consumers: Sequence[StreamConsumer],
        worker: str,
        interval: float,
        tell: Callable[[Event], None],
    ) -> None:
        super().__init__(name="streamq-heart", daemon=True)
        self._broker = broker
        self._consumers = consumers
        self._worker = worker
        self._interval = interval
        self._tell = tell
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()

    def run(self) -> None:
        while not self._stop.wait(self._interval):
            for consumer in self._consumers:
                self._beat(consumer)

    def _beat(self, consumer: StreamConsumer) -> None:
        try:
            renewal = self._broker.renew(consumer.stream, self._worker, consumer.held())
        except StreamqError as error:
            self._tell(BrokerTrouble(type(error).__name__, str(error)))
        except Exception:
            log.exception("heartbeat_failed", extra={"stream": consumer.stream})
        else:
            try:
                self._loop.call_soon_threadsafe(consumer.on_renewal, renewal)
            except RuntimeError:
                return  # the loop has closed: we are on the way out

    def stop(self) -> None:
        self._stop.set()


class Worker:
    """Runs the handlers of some streams until it is stopped."""

    def __init__(
        self,
        broker: Broker,
        handlers: Handlers,
        *,
        streams: Sequence[str] | None = None,
        name: str | None = None,
        options: WorkerOptions = WorkerOptions(),  # noqa: B008 - frozen
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
        also_busy: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`streams`: those of `handlers` to work on, default all.

        `name`: a name that only one worker has at a time; a worker started under the name of a dead
        one takes its jobs back at once. `also_busy`: asked before a burst ends; True: not yet.
        Raises UnknownStream.
        """
        self._broker = broker
        self._given_name = name
        self.name = make_worker_name() if name is None else f"{name}~{secrets.token_hex(3)}"
        self._options = options
        self._observers = tuple(observers)
        self._clock = clock or SystemClock()
        self._also_busy = also_busy
        chosen = list(handlers) if streams is None else [handlers.of(stream) for stream in streams]
        if not chosen:
            raise InvalidJob("there is no stream to work on")
        self.consumers = [
            StreamConsumer(broker, one, worker=self.name, options=options, clock=self._clock, tell=self._tell)
            for one in chosen
        ]
        self._stop = anyio.Event()
        self._stop_now = anyio.Event()
        self._stops = 0

    def __repr__(self) -> str:
        return f"<Worker {self.name} {' '.join(map(repr, self.consumers))}>"

    # --- what may be asked of it ----------------------------------------------------------------

    def stop(self) -> None:
        """Once: take no more, finish, hand back at the drain timeout. Twice: hand back now."""
        self._stops += 1
        self._stop.set()
        if self._stops > 1:
            self._stop_now.set()

    def quiet(self) -> None:
        """Take no more, go on with what is in hand, stay up."""
        for consumer in self.consumers:
            consumer.quiet = True

    @property
    def last_read_seconds(self) -> float:
        """Seconds since the slowest stream's last completed read: "is it up, and does it consume?"."""
        return self._clock.monotonic() - min(consumer.last_read for consumer in self.consumers)

    @property
    def ready(self) -> bool:
        """Every stream's last read is recent."""
        return self.last_read_seconds < 2 * BLOCK + self._options.lease

    def leads(self, stream: str) -> bool:
        """This worker is the one that tells how much lies in the stream (`metrics.QueueGauges`)."""
        return any(one.stream == stream and one.peers.leads for one in self.consumers)

    def stacks(self) -> str:
        """Every running job and where it stands, for people."""
        parts = []
        tasks = {task.get_name(): task for task in asyncio.all_tasks()}
        for consumer in self.consumers:
            for running in consumer.running():
                task = tasks.get(running.lease.envelope.id)
                stack = "".join(_frames(task)) if task is not None else "  (in a thread, or not started)\n"
                parts.append(f"{running!r}\n{stack}")
        return "\n".join(parts) or "no job is running"

    # --- the story ------------------------------------------------------------------------------

    async def run(self, *, handle_signals: bool = True) -> WorkerResult:
        """Until stopped (TERM or INT, `stop`, or the end of a burst).

        Raises BrokerUnavailable after `give_up_after` seconds without an answer, and BrokerRefused.
        """
        async with anyio.create_task_group() as background:
            if handle_signals:
                background.start_soon(self._listen)
            await self._greet()
            heart = _Heart(self._broker, self.consumers, self.name, self._options.renew, self._tell)
            heart.start()
            background.start_soon(self._maintain)
            background.start_soon(self._stopper)
            if self._options.burst_wait is not None:
                background.start_soon(self._burst, self._options.burst_wait)
            try:
                async with anyio.create_task_group() as consuming:
                    for consumer in self.consumers:
                        consuming.start_soon(consumer.run)
            finally:
                heart.stop()
                background.cancel_scope.cancel()
        return WorkerResult(handed_back=sum(consumer.handed_back for consumer in self.consumers))

    async def _greet(self) -> None:
        """Prove that the broker answers, and take back what a predecessor of our name left."""
        for consumer in self.consumers:
            renewal = await anyio.to_thread.run_sync(self._broker.renew, consumer.stream, self.name, [])
            consumer.on_renewal(renewal)
            if self._given_name is None:
                continue
            for peer in renewal.beats:
                if peer != self.name and peer.startswith(f"{self._given_name}~"):
                    await self._reclaim(consumer, peer, None)

    async def _reclaim(self, consumer: StreamConsumer, peer: str, beat: int | None) -> None:
        registration = consumer._registration  # noqa: SLF001 - a consumer is part of its worker
        made = await self._broker.reclaim(
            consumer.stream, peer, beat=beat, crash_budget=registration.crash_budget
        )
        consumer.peers.forget(peer)
        if made.ready or made.dead:
            self._tell(JobsReclaimed(consumer.stream, peer, made.ready, made.dead))
            extra = {"stream": consumer.stream, "worker": peer, "ready": made.ready, "dead": made.dead}
            log.warning("jobs_reclaimed", extra=extra)

    async def _maintain(self) -> None:
        """Take from the dead, sweep, trim: every worker does, each step is safe to do twice."""
        swept = trimmed = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            soonest = min(consumer.peers.next_check(now) for consumer in self.consumers)
            await anyio.sleep(min(self._options.renew, max(0.05, soonest)))
            now = self._clock.monotonic()
            try:
                for consumer in self.consumers:
                    for peer, beat in consumer.peers.dead(now):
                        await self._reclaim(consumer, peer, beat)
                if now - swept > SWEEP_EVERY:
                    swept = now
                    await self._sweep()
                if now - trimmed > TRIM_EVERY:
                    trimmed = now
                    await self._trim()
            except TemporaryError as error:
                self._tell(BrokerTrouble(type(error).__name__, str(error)))
                await anyio.sleep(RECONNECT[1])

    async def _sweep(self) -> None:
        for consumer in self.consumers:
            registration = consumer._registration  # noqa: SLF001 - a consumer is part of its worker
            made = await self._broker.sweep(
                consumer.stream, idle=2 * self._options.lease, crash_budget=registration.crash_budget
            )
            if made.ready or made.dead:
                self._tell(JobsReclaimed(consumer.stream, "unknown", made.ready, made.dead))

    async def _trim(self) -> None:
        for consumer in self.consumers:
            await self._broker.trim(consumer.stream, consumer._registration.retention)  # noqa: SLF001 - as above

    async def _stopper(self) -> None:
        """Carries a stop through: quiet first, then the drain timeout, then hand back."""
        await self._stop.wait()
        log.info("worker_stopping", extra={"worker": self.name})
        for consumer in self.consumers:
            consumer.stop()
        with anyio.move_on_after(self._options.drain_timeout):
            await self._stop_now.wait()
        for consumer in self.consumers:
            consumer.hand_back()

    async def _burst(self, burst_wait: float) -> None:
        """Stop when all is done, everywhere: also what other workers hold."""
        while True:
            await anyio.sleep(BURST_LOOK)
            try:
                if await self._all_done(burst_wait):
                    self.stop()
                    return
            except TemporaryError as error:
                self._tell(BrokerTrouble(type(error).__name__, str(error)))

    async def _all_done(self, burst_wait: float) -> bool:
        if not all(consumer.idle for consumer in self.consumers):
            return False
        if self._also_busy is not None and await self._also_busy():
            return False
        # In this order: what one stream's jobs put into another is seen there after the first is empty.
        for consumer in self.consumers:
            stats = await self._broker.stats(consumer.stream)
            if stats.leased or (sum(stats.ready.values()) and not stats.paused):
                return False
            if stats.delayed:
                # A snoozed job has not ended: it is waited for, however short the burst's own patience.
                patience = max(burst_wait, consumer.snoozed_until - self._clock.monotonic())
                earliest = await self._broker.delayed(consumer.stream, limit=1)
                if not earliest or earliest[0][1] - self._clock.time() <= patience:
                    return False
        return all(consumer.idle for consumer in self.consumers)

    async def _listen(self) -> None:
        """TERM, INT: stop; twice: hand back now. TSTP: quiet. USR1: stacks to the log."""
        wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGUSR1)
        with anyio.open_signal_receiver(*wanted) as signals:
            async for received in signals:
                match received:
                    case signal.SIGTSTP:
                        self.quiet()
                        log.info("worker_quiet", extra={"worker": self.name})
                    case signal.SIGUSR1:
                        log.warning("worker_stacks\n%s", self.stacks())
                    case _:
                        self.stop()

    def _tell(self, event: Event) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                # A job must not fail because somebody counts it.
                log.exception("observer_failed", extra={"event": type(event).__name__})


def _frames(task: asyncio.Task[Any]) -> Iterator[str]:
    """Where a task stands, innermost await last."""
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield from traceback.format_stack(frame, limit=1)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
