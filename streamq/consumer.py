"""Takes and runs the jobs of one stream, or of one partition of it.

A `StreamConsumer` tells the story: turn, start what was taken, rest until something happens.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread

from streamq.broker import (
    Again,
    Broker,
    Cancel,
    Done,
    Finish,
    Lease,
    Release,
    Renewal,
    Taken,
    Turn,
    Wakeup,
    WorkerFacts,
)
from streamq.clock import Clock
from streamq.errors import BrokerFull, StreamqError, TemporaryError
from streamq.events import Event
from streamq.executor import Ended, Executor
from streamq.handlers import Registration
from streamq.isolation import Isolation, Suspect
from streamq.maintenance import PeerWatch
from streamq.options import WorkerOptions
from streamq.partitions import partition_name
from streamq.share import Share
from streamq.slots import Running, Slots
from streamq.telling import Telling, fields_of

log = logging.getLogger("streamq.worker")

#: Seconds of one blocking read at most: long, so that an idle worker says little; the watch over it is
#: `StreamConsumer.last_read`.
BLOCK: Final = 10.0
#: Seconds between looks at a paused stream ("every worker obeys within a second").
PAUSED_LOOK: Final = 0.8
#: Seconds between looks at jobs that are due and that the server has no memory to make ready.
REFUSED_LOOK: Final = 0.2
#: Jobs whose end the server has no memory for, and that are no reason yet to take no others.
REFUSED_LIMIT: Final = 1000
#: Jobs in hand that a heartbeat tells of at most.
FACTS_LIMIT: Final = 100
#: Seconds that a worker which has handed back what it had waits for the broker to hear of it.
LEAVE_AFTER: Final = 2.0
#: Seconds a worker takes to say goodbye.
GOODBYE: Final = 5.0
#: Jobs taken beyond the slots: twice their number, but no more than this; and seconds in which all that was
#: taken before must have ended.
AHEAD: Final = 100
QUICK: Final = 0.05
#: Seconds after which what was taken so and has found no slot is given back.
AHEAD_PATIENCE: Final = 1.0
#: Seconds between tries while the broker cannot be reached: from, to.
RECONNECT: Final = (0.05, 2.0)


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
        tell: Callable[[Event], None] | None,
        isolation: Isolation,
        share: Share | None = None,
    ) -> None:
        """`tell`: whom to tell what happens; None: nobody listens, and no event is made. `isolation`: of this
        process. `share`: of the stream's other partitions in this worker; this one is the next.
        """
        self.registration = registration
        self._isolation = isolation
        #: Crashes from which on the next one would spend the budget.
        self._suspect_from = max(1, registration.crash_budget - 1)
        self.share = share or Share(registration.concurrency)
        self.partition = len(self.share.members)
        self.share.members.append(self)
        #: Its name in the broker: that of the partition.
        self.stream = partition_name(registration.stream, self.partition)
        #: See `share.Member`.
        self.asked = self.served = 0
        self.hungry = True
        self._broker = broker
        self._worker = worker
        self._options = options
        self._clock = clock
        self._telling = Telling(registration.stream, tell, clock)
        self.peers = PeerWatch(worker, lease=options.lease)
        # A frozen worker's read still waits at the server, and would be handed what is taken back from it:
        # by the time its lease is over, its read must be.
        self._block = min(BLOCK, options.lease - options.renew)
        self._slots = Slots(
            Executor(registration), registration.concurrency, started=self._on_started, ended=self._on_ended
        )
        #: Held by the heart for as long as a beat takes.
        self.beating = threading.Lock()
        #: It has said goodbye, and nobody beats for it any more.
        self.gone = False
        #: Lease key -> job; the heartbeat thread reads a copy of it.
        self._held: dict[str, Running] = {}
        self._finished: list[Running] = []
        #: Told to the broker, not yet answered; sent again under the same sequence.
        self._sent: list[Running] = []
        #: What the server has no memory to hear of (a retry, a dead letter): told with a job that is done,
        #: whose end frees some, or after a while.
        self._refused: list[Running] = []
        self._refused_until = 0.0
        #: Monotonic seconds when a turn was begun that has no answer yet.
        self._unanswered: float | None = None
        #: Ends `run`, whatever is in hand.
        self._whole = anyio.CancelScope()
        self._sequence = 0
        self._changed = anyio.Event()
        self._jobs: anyio.abc.TaskGroup | None = None
        self._dozing: anyio.CancelScope | None = None
        self._stopping = False
        self._suspicious = False
        #: Jobs to take beyond the slots: a turn costs little more for many than for few.
        self._ahead = 0
        #: Monotonic seconds when jobs were last given to the slots.
        self._dealt = clock.monotonic()
        self.paused = False
        self.quiet = False
        #: Jobs at once, unless the broker asks for another number; None: the registration's.
        self.own_concurrency: int | None = None
        self.handed_back = 0
        #: Jobs that ended here, however.
        self.jobs_ended = 0
        #: Nothing in hand and nothing was there to take, as of the last turn.
        self.idle = False
        #: Monotonic seconds of the last completed read.
        self.last_read = clock.monotonic()
        #: Monotonic seconds when the last of the jobs that were snoozed here is due: they have not ended.
        self.snoozed_until = 0.0
        #: Called with the stream when a knock says that its recurring jobs are to be looked at.
        self.rescheduled: Callable[[str], None] = _nobody

    def __repr__(self) -> str:
        return f"<StreamConsumer {self.stream} {self.busy}/{self.concurrency}>"

    # --- what others ask and tell ---------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Jobs running now."""
        return self._slots.active

    @property
    def concurrency(self) -> int:
        """Jobs at once."""
        return self._slots.concurrency

    @property
    def in_hand(self) -> int:
        """See `share.Member`."""
        return len(self._held) - len(self._sent) - min(len(self._refused), REFUSED_LIMIT)

    def look_again(self) -> None:
        """See `share.Member`, `isolation.Member`."""
        self._changed.set()

    def make_room(self) -> None:
        """See `isolation.Member`."""
        self.idle = False
        for running in self._slots.take_back():
            self._end_unrun(running)
        self._wake_from_sleep()

    def has_at_most(self, suspect: Suspect) -> bool:
        """See `isolation.Member`."""
        nothing_comes = self.asked == 0 and self._dozing is None and not self._suspicious
        return nothing_comes and len(self._held) == self.still_has(suspect)

    def still_has(self, suspect: Suspect) -> bool:
        """See `isolation.Member`."""
        return self._held.get(suspect.lease.key) is suspect

    def held(self) -> list[Lease]:
        """Leases to be renewed, those included whose end the broker has not yet heard of."""
        return [running.lease for running in list(self._held.values())]

    def blame(self, running: Running) -> None:
        """Should the process end, it is for this job. Called from the heartbeat's thread."""
        self._isolation.to_blame = running

    def running(self) -> list[Running]:
        """Jobs in hand."""
        return list(self._held.values())

    def facts(self) -> WorkerFacts:
        """What to tell of ourselves. Called from the heartbeat's thread."""
        taken = [Taken(one.key, one.taken_ms) for one in list(self._held.values())[:FACTS_LIMIT]]
        blamed = self._isolation.to_blame
        key = blamed.lease.key if blamed is not None and self.still_has(blamed) else ""
        return WorkerFacts(self.concurrency, self.quiet, tuple(taken), key)

    def wake_up(self) -> None:
        """Not quiet any more."""
        self.quiet = False
        self._changed.set()

    def set_concurrency(self, jobs: int | None) -> None:
        """So many jobs at once; None: as many as the stream was registered with. What runs goes on."""
        wanted = jobs or self.own_concurrency or self.registration.concurrency
        if wanted != self.concurrency:
            log.info("concurrency_changed", extra={"stream": self.stream, "jobs": wanted})
            self._slots.resize(wanted)
            self.share.concurrency = wanted
            self._changed.set()

    def stop(self) -> None:
        """Take no more; `run` ends when what is in hand has ended."""
        self._stopping = True
        self._wake_from_sleep()

    def _wake_from_sleep(self) -> None:
        if self._dozing is not None:
            self._dozing.cancel()
        self._changed.set()

    def hand_back(self) -> None:
        """Cancel what still runs; each job is ready again, uncounted."""
        for running in self.running():
            if running.scope is not None:
                running.release = True
                running.cancel()

    def leave_if_unheard(self) -> None:
        """After `hand_back`: end, where the broker cannot be told of what is in hand.

        Its lease runs out, and another worker takes it.
        """
        since = self._unanswered
        unheard = since is not None and self._clock.monotonic() - since > LEAVE_AFTER
        if unheard or (self._refused and len(self._refused) == len(self._held)):
            self._whole.cancel()

    def on_renewal(self, renewal: Renewal) -> None:
        """What a heartbeat learned: lost leases, the paused flag, the other workers."""
        self.peers.observe(renewal.beats, self._clock.monotonic())
        for key in renewal.lost:
            running = self._held.get(key)
            # Where its end is on its way to the broker, that answer decides, not the heartbeat.
            if running is not None and not running.lost and running.ended is None:
                self._lose(running)
        for key in renewal.cancelled:
            running = self._held.get(key)
            if running is not None and not running.cancelled and running.ended is None:
                self._cancel(running)
        self.set_concurrency(renewal.concurrency)
        if renewal.pending > len(self._held):
            self._suspicious = True
            self._changed.set()
        if self.paused and not renewal.paused:
            self._changed.set()

    def _cancel(self, running: Running) -> None:
        """A person does not want it any more."""
        running.cancelled = True
        if self._take_out(running):
            self._end_unrun(running)
            self._changed.set()
        else:
            running.cancel()

    def _end_unrun(self, running: Running) -> None:
        """It is not started, and the next turn tells so."""
        finish = Cancel(running.lease) if running.cancelled else Release(running.lease)
        running.ended = Ended(finish, 0.0)
        self._finished.append(running)

    def _lose(self, running: Running) -> None:
        """Somebody else has it now."""
        running.lost = True
        log.warning("lease_lost", extra=fields_of(running.lease))
        if self._take_out(running):
            del self._held[running.key]
            self._changed.set()
        else:
            running.cancel()

    def _take_out(self, running: Running) -> bool:
        """Of what waits to be started; False: it runs, or has ended."""
        if running is self._isolation.waiting:
            self._isolation.waiting = None
        elif running in self._slots.waiting:
            self._slots.waiting.remove(running)
        else:
            return False
        return True

    # --- the story ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until stopped and everything in hand has ended. Raises BrokerUnavailable or BrokerRefused."""
        with anyio.CancelScope() as self._whole:
            await self._run()
            await self._say_goodbye()
        if self._whole.cancelled_caught and self._held:
            # Those that were to be handed back have been counted.
            kept = (one.ended.finish for one in self._held.values() if one.ended is not None)
            self.handed_back += len(self._held) - sum(isinstance(finish, Release) for finish in kept)
            log.warning("jobs_left", extra={"stream": self.stream, "jobs": len(self._held)})

    async def _run(self) -> None:
        async with anyio.create_task_group() as jobs:
            self._jobs = jobs
            self._slots.open(jobs)
            while True:
                turn, asked = await self._turn()
                self._settle(turn)
                self._start(turn.leases)
                if self.quiet:
                    self._give_back_waiting()  # it was asked for before
                if self._stopping:
                    self._give_back_waiting()
                    if not self._held and not self._finished:
                        self._isolation.look()
                        break
                if turn.leases and not self._finished:
                    # One pass of the loop: handlers that do not suspend have ended by then, and the next
                    # turn follows without anybody having to rest and be woken.
                    await asyncio.sleep(0)
                if self._isolation.suspect is not None:
                    self._isolation.look()
                if not self._finished:
                    await self._rest(jobs, turn, hungry=len(turn.leases) < asked or asked == 0)
            self._slots.close()

    async def _turn(self) -> tuple[Turn, int]:
        """One round trip, repeated under the same sequence until the broker has answered.

        The second value is how many jobs were asked for.
        """
        self._sent, self._finished = self._finished, []
        if self._refused and (self._refused_until <= self._clock.monotonic() or any(map(_frees, self._sent))):
            self._sent += self._refused
            self._refused = []
        self._sequence += 1
        self._unanswered = self._clock.monotonic()
        pause = RECONNECT[0]
        while True:
            try:
                if self._suspicious:
                    await self._adopt()
                # A partition that does not answer keeps no slot from the others while it is asked again.
                again = pause > RECONNECT[0] and not self.share.alone
                free = self.asked = 0 if again else self._ask()
                self.share.tell(self)
                heard = self.last_read
                turn = await self._broker.turn(
                    self.stream,
                    self._worker,
                    sequence=self._sequence,
                    finished=[_finish(running) for running in self._sent],
                    free=free,
                    retention=self.registration.retention,
                )
            except TemporaryError as error:
                if isinstance(error, BrokerFull) and self._hold_back():
                    self._telling.trouble(error)
                    continue
                self.asked, self.hungry = 0, False
                self.share.tell(self)
                await self._trouble(error, pause)
                pause = min(RECONNECT[1], pause * 2)
                continue
            self._heard(turn.server_ms)
            self._unanswered = None
            self.paused = turn.paused
            self.set_concurrency(turn.concurrency)
            self.asked = 0
            much = len(turn.leases) >= free
            self._ahead = self._how_far_ahead(self.last_read - heard) if much and free else 0
            self.hungry = self._wants() and much
            if not self.hungry:
                self.share.tell(self)
            return turn, free

    def _hold_back(self) -> bool:
        """The server has no memory, and has done nothing of the turn: leave out of it what needs some.

        Jobs whose end frees memory, and those that wait to run, must not wait for it. False: all may go.
        """
        frees = [running for running in self._sent if _frees(running)]
        if len(frees) == len(self._sent):
            return False
        self._refused += [running for running in self._sent if not _frees(running)]
        self._refused_until = self._clock.monotonic() + REFUSED_LOOK
        self._sent = frees
        self._sequence += 1
        return True

    def _wants(self) -> bool:
        return not (self._stopping or self.quiet or self.paused or self._isolation.closed)

    def _ask(self) -> int:
        """`_free`, and no other partition is given those slots until we have an answer."""
        if self.share.alone or self._stopping or self.quiet or self._isolation.closed:
            return self._free(self._ahead)
        return self.share.ask(self)

    def _how_far_ahead(self, seconds: float) -> int:
        """How many jobs to take beyond the slots, after a turn that brought all it asked for.

        None unless everything taken before has ended, and in `seconds` altogether: so what is taken now
        can be expected to be kept from other workers for as short a time.
        """
        all_ended = self._sent and not self._slots.active and not self._slots.waiting
        if not self.share.alone or not all_ended or seconds > QUICK:
            return 0
        return min(2 * self.concurrency, AHEAD)

    def _free(self, ahead: int = 0) -> int:
        """Slots to ask jobs for: those of the jobs that just ended too; a sleeping read may bring one."""
        if self._stopping or self.quiet or self._isolation.closed:
            return 0
        return max(0, self.concurrency + ahead - self.in_hand - (self._dozing is not None))

    def _heard(self, server_ms: int) -> None:
        """The broker has answered a read."""
        self.last_read = self._clock.monotonic()
        if server_ms:
            self._telling.server_time = (server_ms, self.last_read)
        self._telling.read_completed(self.partition)

    async def _trouble(self, error: TemporaryError, pause: float) -> None:
        """Wait before the next try; raise when there has been no answer for too long."""
        self._suspicious = True
        self._telling.trouble(error)
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
        self.jobs_ended += len(self._sent)
        for running in self._sent:
            del self._held[running.key]
            finish = _finish(running)
            if isinstance(finish, Again) and not finish.counts:
                due = self._clock.monotonic() + finish.delay
                self.snoozed_until = max(self.snoozed_until, due)
            if running.key in turn.cancelled:
                running.cancelled = True
            self._telling.ended(running, refused=running.key in turn.refused)
        self._sent = []

    def _take(self, lease: Lease) -> None:
        key = lease.key
        if key not in self._held:
            running = Running(lease, self._telling.server_time[0])
            # A sleeping read asks nobody: what it brings while others have all slots is for another worker.
            surplus = not self.share.alone and not self.share.left
            self._held[key] = running
            if running.cancelled or surplus:
                self._end_unrun(running)
            elif lease.envelope.crashes >= self._suspect_from or self._isolation.suspect is not None:
                self._set_apart(running)
            else:
                self._slots.put(running)

    def _set_apart(self, running: Running) -> None:
        """It is to have this process to itself, or another has."""
        isolation = self._isolation
        if isolation.closed:
            self._end_unrun(running)
        elif self._stopping or self._jobs is None or isolation.suspect is not None:
            self._slots.put(running)
        else:
            isolation.close(running)
            start = partial(self._start_alone, running)
            self._jobs.start_soon(isolation.accompany, running, self, start, name=f"alone {self.stream}")

    def _start_alone(self, running: Running) -> None:
        self._slots.put(running)
        self._dealt = self._clock.monotonic()
        self._slots.deal()

    def _start(self, leases: Sequence[Lease]) -> None:
        """Have what was taken run, as far as there are slots."""
        for lease in leases:
            self._take(lease)
        if leases:
            self._dealt = self._clock.monotonic()
        if not (self._stopping or self.quiet):
            self._slots.deal()

    def _on_started(self, running: Running) -> None:
        if self.registration.hard_limit is not None:
            running.started = self._clock.monotonic()
        self._telling.started(running)

    def _on_ended(self, running: Running, ended: Ended | None) -> None:
        """A job's handler has ended, or was cancelled (None)."""
        if running.lost:
            self._held.pop(running.key, None)
            running.ended = ended or Ended(Release(running.lease), 0.0)
            self._telling.ended(running, refused=True)
        elif ended is None:
            self._end_unrun(running)
            self.handed_back += not running.cancelled
        else:
            running.ended = ended
            self._finished.append(running)
        self._changed.set()

    async def _rest(self, jobs: anyio.abc.TaskGroup, turn: Turn, *, hungry: bool) -> None:
        """Until something changed here, a job came, or the next delayed job is due."""
        closed = self._isolation.closed
        self.idle = hungry and not closed and not self._held and not turn.leases
        self._ahead = 0
        slots = self._free() > 0 if self.share.alone else self._wants() and not self.share.full
        # Who sleeps at the broker is told there.
        self.hungry = self._wants() and (self.hungry or not (slots or self._dozing))
        until: float | None = turn.next_due if slots or self._dozing is not None else None
        if turn.paused:
            until = PAUSED_LOOK
        elif until == 0 and not turn.leases:
            until = REFUSED_LOOK
        elif slots and hungry and self._dozing is None:
            self._dozing = anyio.CancelScope()
            jobs.start_soon(self._doze, self._dozing, name=f"read {self.stream}")
        if self._refused:
            until = REFUSED_LOOK if until is None else min(until, REFUSED_LOOK)
        if self._slots.waiting:
            until = AHEAD_PATIENCE if until is None else min(until, AHEAD_PATIENCE)
        if closed:
            left = self._isolation.left
            until = left if until is None else min(until, left)
        with anyio.move_on_after(until):
            await self._changed.wait()
        self._changed = anyio.Event()
        if self._slots.full and self._clock.monotonic() - self._dealt >= AHEAD_PATIENCE:
            self._give_back_waiting()

    async def _doze(self, scope: anyio.CancelScope) -> None:
        """A blocking read beside everything else; ends with jobs, with a knock, or with trouble."""
        try:
            wakeup = await self._woken(scope)
            if wakeup is None:
                self._suspicious = True  # it may have been handed a job just then
                await anyio.lowlevel.checkpoint_if_cancelled()
            else:
                self.paused = wakeup.paused
                self.idle = False
                if wakeup.rescheduled:
                    self.rescheduled(self.stream)
                for lease in wakeup.leases:
                    self._take(lease)
                if wakeup.paused or self.quiet:
                    self._give_back_waiting()
                else:
                    self._start(())
        except TemporaryError as error:
            self._suspicious = True
            self._telling.trouble(error)
        finally:
            self._dozing = None
            self._changed.set()

    async def _woken(self, scope: anyio.CancelScope) -> Wakeup | None:
        """What ended the sleep; None: we did."""
        with scope:
            try:
                while True:
                    wakeup = await self._broker.wait(self.stream, self._worker, timeout=self._block)
                    self._heard(wakeup.server_ms)
                    if wakeup.leases or wakeup.knocked or wakeup.paused:
                        return wakeup
            except asyncio.CancelledError:
                # As in Slots._slot: a timeout inside that ran out in the same moment hides whose it was.
                if not scope.cancel_called:
                    raise
        return None

    def _give_back_waiting(self) -> None:
        """What was taken and not started is ready again, uncounted."""
        for running in self._slots.take_back():
            self._end_unrun(running)
        for running in self.running():
            if running is self._isolation.waiting:
                self._isolation.waiting = None
                self._end_unrun(running)

    async def _say_goodbye(self) -> None:
        """Leave nothing behind that somebody would wait a lease for."""
        try:
            with anyio.move_on_after(GOODBYE, shield=True):
                await anyio.to_thread.run_sync(self._beat_no_more, abandon_on_cancel=True)
                await self._broker.retire(self.stream, self._worker)
        except StreamqError as error:
            log.warning("retire_failed", extra={"stream": self.stream, "error": str(error)})

    def _beat_no_more(self) -> None:
        """Wait for the beat that is on its way: one that came after the goodbye would undo it."""
        with self.beating:
            self.gone = True


def _nobody(stream: str) -> None:
    """Nobody fires ticks here."""


def _finish(running: Running) -> Finish:
    """What the broker is told of a job that has ended."""
    if running.ended is None:
        raise RuntimeError(f"{running!r} has not ended")
    return running.ended.finish


def _frees(running: Running) -> bool:
    """Its end is told without a word to keep, or with one that replaces a longer one (lua/turn.lua)."""
    return isinstance(_finish(running), Done | Cancel)
