"""The worker: takes jobs, has them run, tells the broker what came of them.

The `Worker` owns what its `StreamConsumer`s share: heartbeats in a thread of their own, the watch over
other workers, signals, stopping.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
import secrets
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.abc
import msgspec

from streamq import stacks
from streamq.broker import Broker, Order, Renewal
from streamq.clock import Clock, SystemClock
from streamq.consumer import BLOCK, RECONNECT, StreamConsumer
from streamq.errors import InvalidJob, TemporaryError
from streamq.events import BrokerTrouble, Event, JobsReclaimed, Observer, tell
from streamq.handlers import Handlers, Registration
from streamq.heart import Heart
from streamq.isolation import Isolation
from streamq.options import WorkerOptions
from streamq.parent import Parent
from streamq.share import Share
from streamq.steering import check_concurrency
from streamq.ticker import Ticker

log = logging.getLogger("streamq.worker")

#: Seconds between looks for jobs in the hands of workers nobody knows, and for what is past its time.
SWEEP_EVERY: Final = 15.0
TRIM_EVERY: Final = 60.0
#: Seconds a server's due time, in whole milliseconds, may lie after the one reckoned here.
WHOLE_MILLISECOND: Final = 0.001
#: Seconds a burst waits between looks at whether all is done.
BURST_LOOK: Final = 0.05
#: Seconds before the 2nd, 3rd ... greeting: a connection may be lost in any moment, the first one too.
GREET_AGAIN: Final = (0.05, 0.2, 0.5)
#: Seconds between looks, after all was handed back, at whether the broker has heard of it.
LEAVE_LOOK: Final = 0.2
#: Seconds between looks at whether this process has done its share.
RECYCLE_LOOK: Final = 0.5
#: Characters of an answer to an order at most.
ANSWER_LIMIT: Final = 100_000

__all__ = ["Worker", "WorkerOptions", "WorkerResult", "make_worker_name"]


class WorkerResult(msgspec.Struct, frozen=True):
    """How a run ended."""

    #: Jobs handed back unfinished.
    handed_back: int
    #: It ended by `max_jobs` or `max_memory`, to be replaced.
    recycled: bool = False


def make_worker_name() -> str:
    """`host:pid:random`: new at every start, so that it never answers for a predecessor's jobs."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


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
        #: One for each stream, and one for each further partition that is known of.
        self.consumers: list[StreamConsumer] = []
        self._isolation = Isolation(
            self.consumers, lease=options.lease, renew=options.renew, clock=self._clock
        )
        self.consumers += [self._consumer(one) for one in chosen]
        #: Consumers of partitions that were heard of and that nobody reads yet.
        self._found: deque[StreamConsumer] = deque()
        self._found_one = anyio.Event()
        self._ticker = Ticker(broker, self.consumers, handlers, clock=self._clock, tell=self._tell)
        #: Streams whose partition 0 tells of fewer partitions than there are.
        self._forgotten: set[str] = set()
        #: The loop, and its thread.
        self._runs_on: tuple[asyncio.AbstractEventLoop | None, int] = (None, 0)
        self._stop = anyio.Event()
        self._stop_now = anyio.Event()
        self._stops = 0
        #: What we were asked to do, and on which stream.
        self._orders: deque[tuple[str, Order]] = deque()
        self._ordered = anyio.Event()

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

    def resume(self) -> None:
        """Take jobs again, after `quiet`."""
        for consumer in self.consumers:
            consumer.wake_up()

    def set_concurrency(self, stream: str, jobs: int | None) -> None:
        """Jobs of that stream at once, in this worker; None: as it was registered. What runs goes on.

        Holds until the broker says otherwise (`Broker.set_concurrency`, for all workers of a stream). Raises
        InvalidJob for a number that cannot be run.
        """
        check_concurrency(jobs)
        for consumer in self.consumers:
            if consumer.registration.stream == stream:
                consumer.own_concurrency = jobs
                consumer.set_concurrency(None)

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

    def running(self, stream: str) -> int:
        """Jobs of the stream that run here now, of all its partitions."""
        return sum(one.busy for one in self.consumers if one.registration.stream == stream)

    def stacks(self) -> str:
        """Every running job and where it stands, for people. From any thread."""
        threads = stacks.of_threads()
        loop, ident = self._runs_on
        at_work = asyncio.current_task(loop) if loop is not None and ident != threading.get_ident() else None
        parts = []
        for consumer in self.consumers:
            for running in consumer.running():
                thread = threads.pop(
                    stacks.named(consumer.registration.stream, running.lease.envelope.id), ""
                )
                stack = "" if running.task is None else stacks.of_task(running.task)
                if running.task is not None and running.task is at_work:
                    stack += f"  the event loop is at it and does nothing else:\n{stacks.of_thread(ident)}"
                parts.append(f"{running!r}\n{stack or '  (not started, or ended)' + chr(10)}{thread}")
        parts += [
            f"goes on in its thread, its job has ended: {name}\n{stack}" for name, stack in threads.items()
        ]
        return "\n".join(parts) or "no job is running"

    # --- the story ------------------------------------------------------------------------------

    async def run(self, *, handle_signals: bool = True) -> WorkerResult:
        """Until stopped (TERM or INT, `stop`, or the end of a burst).

        Raises BrokerUnavailable after `give_up_after` seconds without an answer, and BrokerRefused.
        """
        self._runs_on = asyncio.get_running_loop(), threading.get_ident()
        async with anyio.create_task_group() as background:
            if handle_signals:
                background.start_soon(self._listen)
            await self._greet()
            await self._ticker.begin()
            heart = Heart(
                self._broker,
                self.consumers,
                self.name,
                self._options,
                clock=self._clock,
                learned=self._learned,
                tell=self._tell,
                parent=Parent.found(),
                stacks=lambda: self.stacks()[:ANSWER_LIMIT],
            )
            self._isolation.beat = heart.beat
            heart.start()
            background.start_soon(self._recycle, heart)
            background.start_soon(self._obey)
            background.start_soon(self._maintain)
            background.start_soon(self._ticker.run)
            background.start_soon(self._stopper)
            if self._options.burst_wait is not None:
                background.start_soon(self._burst, self._options.burst_wait)
            try:
                async with anyio.create_task_group() as consuming:
                    self._found.clear()
                    for consumer in self.consumers:
                        consuming.start_soon(consumer.run)
                    background.start_soon(self._begin_with_found, consuming)
            finally:
                heart.stop()
                background.cancel_scope.cancel()
        handed_back = sum(consumer.handed_back for consumer in self.consumers)
        return WorkerResult(handed_back=handed_back, recycled=heart.recycling)

    async def _greet(self) -> None:
        """Prove that the broker answers, and take back what a predecessor of our name left."""
        for consumer in self.consumers:  # those of further partitions, which this brings, come after
            renewal = await self._first_beat(consumer)
            self._learned(consumer, renewal)
            if self._given_name is None:
                continue
            for peer in renewal.beats:
                if peer != self.name and peer.rpartition("~")[0] == self._given_name:
                    await self._reclaim(consumer, peer, None)

    async def _first_beat(self, consumer: StreamConsumer) -> Renewal:
        def beat() -> Renewal:
            return self._broker.renew(consumer.stream, self.name, [], consumer.facts())

        for pause in GREET_AGAIN:
            try:
                return await anyio.to_thread.run_sync(beat)
            except TemporaryError as error:
                self._tell(BrokerTrouble(type(error).__name__, str(error)))
                await anyio.sleep(pause)
        return await anyio.to_thread.run_sync(beat)

    def _learned(self, consumer: StreamConsumer, renewal: Renewal) -> None:
        """What a heartbeat brought."""
        consumer.on_renewal(renewal)
        self._grow(consumer, renewal.partitions)
        if consumer.partition == 0:
            self._ticker.learned(consumer.stream, renewal)
            if renewal.partitions < len(consumer.share.members):
                self._forgotten.add(consumer.stream)
        if renewal.orders:
            self._orders.extend((consumer.stream, order) for order in renewal.orders)
            self._ordered.set()

    def _consumer(self, registration: Registration, share: Share | None = None) -> StreamConsumer:
        tell = self._tell if self._observers else None
        return StreamConsumer(
            self._broker,
            registration,
            worker=self.name,
            options=self._options,
            clock=self._clock,
            tell=tell,
            isolation=self._isolation,
            share=share,
        )

    def _grow(self, consumer: StreamConsumer, count: int) -> None:
        """Work on so many partitions of its stream, too."""
        while len(consumer.share.members) < count and not self._stop.is_set():
            other = self._consumer(consumer.registration, consumer.share)
            other.quiet, other.own_concurrency = consumer.quiet, consumer.own_concurrency
            other.set_concurrency(consumer.concurrency)
            self.consumers.append(other)
            log.info("partition_found", extra={"worker": self.name, "stream": other.stream})
            self._found.append(other)
            self._found_one.set()

    async def _begin_with_found(self, consuming: anyio.abc.TaskGroup) -> None:
        """Read partitions that are heard of while we work."""
        while True:
            while self._found and not self._stop.is_set():
                consuming.start_soon(self._found.popleft().run)
            self._found_one = anyio.Event()
            await self._found_one.wait()

    async def _remind(self) -> None:
        """Partition 0 has forgotten how many partitions there are (FLUSHALL, a lost write)."""
        while self._forgotten:
            stream = self._forgotten.pop()
            known = sum(one.registration.stream == stream for one in self.consumers)
            await self._broker.set_partitions(stream, known, again=True)

    async def _obey(self) -> None:
        """Do what we are asked by name (`Broker.order`), and answer."""
        while True:
            while self._orders:
                stream, order = self._orders.popleft()
                log.info("worker_ordered", extra={"worker": self.name, "verb": order.verb})
                answer = self._answer_to(order)
                try:
                    await self._broker.answer(stream, order.order_id, answer[:ANSWER_LIMIT])
                except TemporaryError as error:  # whoever asked sees that no answer comes
                    self._tell(BrokerTrouble(type(error).__name__, str(error)))
            self._ordered = anyio.Event()
            await self._ordered.wait()

    def _answer_to(self, order: Order) -> str:
        match order.verb:
            case "quiet":
                self.quiet()
                return "quiet"
            case "resume":
                self.resume()
                return "takes jobs"
            case "trace":
                return self.stacks()

    async def _reclaim(self, consumer: StreamConsumer, peer: str, beat: int | None) -> None:
        registration = consumer.registration
        made = await self._broker.reclaim(
            consumer.stream, peer, beat=beat, crash_budget=registration.crash_budget
        )
        consumer.peers.forget(peer)
        if made.ready or made.dead:
            self._tell(JobsReclaimed(registration.stream, peer, made.ready, made.dead))
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
                await self._remind()
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
            registration = consumer.registration
            made = await self._broker.sweep(
                consumer.stream, idle=2 * self._options.lease, crash_budget=registration.crash_budget
            )
            if made.ready or made.dead:
                self._tell(JobsReclaimed(registration.stream, "unknown", made.ready, made.dead))

    async def _trim(self) -> None:
        for consumer in self.consumers:
            await self._broker.trim(consumer.stream, consumer.registration.retention)

    async def _recycle(self, heart: Heart) -> None:
        """Stop when this process has done its share, or grown too large: a fresh one goes on."""
        jobs, memory = self._options.max_jobs, self._options.max_memory
        while jobs is not None or memory is not None:
            await anyio.sleep(RECYCLE_LOOK)
            ended = sum(consumer.jobs_ended for consumer in self.consumers)
            resident = resident_mib()
            if ended >= (jobs or math.inf) or resident >= (memory or math.inf):
                extra = {"worker": self.name, "jobs": ended, "resident_mib": round(resident)}
                log.info("worker_recycled", extra=extra)
                heart.recycling = True
                heart.report()
                self.stop()
                return

    async def _stopper(self) -> None:
        """Carries a stop through: quiet first, then the drain timeout, then hand back."""
        await self._stop.wait()
        log.info("worker_stopping", extra={"worker": self.name})
        self._ticker.stop()
        for consumer in self.consumers:
            consumer.stop()
        with anyio.move_on_after(self._options.drain_timeout):
            await self._stop_now.wait()
        for consumer in self.consumers:
            consumer.hand_back()
        while True:
            await anyio.sleep(LEAVE_LOOK)
            for consumer in self.consumers:
                consumer.leave_if_unheard()

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
            if stats.leased or (sum(stats.ready.values()) and not stats.paused) or stats.parked:
                return False
            if stats.delayed:
                earliest = await self._broker.delayed(consumer.stream, limit=1)
                # A snoozed job has not ended: it is waited for, however short the burst's own patience.
                # Reckoned after the answer: the same job may have run and been snoozed again meanwhile.
                patience = max(
                    burst_wait, consumer.snoozed_until - self._clock.monotonic() + WHOLE_MILLISECOND
                )
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
        tell(self._observers, event)


def resident_mib() -> float:
    """Resident memory of this process; its greatest so far where the system tells no more."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
