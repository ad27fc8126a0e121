"""The few verbs everything above Redis is written in, and what each of them guarantees.

`RedisBroker` and `MemoryBroker` both pass tests/streamq/broker_suite.

A **lease** is a delivery held by one worker. Its identity is its lane and entry id (`Lease.key`): a
redelivery always gets a new one, so whatever a worker does with one that is no longer its own
changes nothing and is answered as refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from streamq.durability import Durability
from streamq.errors import NoResult
from streamq.job import Envelope, NewJob, Receipt, fence_of
from streamq.keys import Lane

T = TypeVar("T")


class Lease(msgspec.Struct, frozen=True):
    """A job in the hand of one worker."""

    stream: str
    #: `<ms>-<sequence>` in its lane's stream.
    entry_id: str
    envelope: Envelope
    #: A person has cancelled it: not to be started; its holder ends it with `Cancel`.
    cancelled: bool = False

    @property
    def lane(self) -> Lane:
        """The lane it was taken from."""
        return self.envelope.lane

    @property
    def key(self) -> str:
        """`<lane>/<entry id>`: names the lease. Each lane is a stream of its own, so two lanes may well
        hand out the same entry id in the same millisecond.
        """
        return f"{self.envelope.lane}/{self.entry_id}"

    @property
    def fence(self) -> int:
        """Rises with every delivery of the job."""
        return fence_of(self.entry_id)


class Done(msgspec.Struct, frozen=True, tag=True):
    """The handler returned: acknowledge, delete, keep a completed record."""

    lease: Lease
    #: Seconds the handler ran, for the record.
    duration: float = 0.0
    #: What it returned, JSON, for the record; None: no value is kept.
    result: bytes | None = None
    #: Why no value is kept of a stream that keeps values.
    no_result: str = ""


class Again(msgspec.Struct, frozen=True, tag=True):
    """Run it again `delay` seconds from now: a retry (attempt counted) or a snooze (not counted)."""

    lease: Lease
    delay: float
    counts: bool
    #: What happened, in few words, for whoever asks why it waits: the error, or why it was snoozed.
    note: str = ""


class Bury(msgspec.Struct, frozen=True, tag=True):
    """To the dead letters, with everything a person needs to understand why."""

    lease: Lease
    #: One word: exhausted, invalid_payload, crashed, or what a handler said.
    reason: str
    #: `Type: message`, bounded.
    error: str = ""
    #: Tail of the traceback, bounded.
    traceback: str = ""


class Release(msgspec.Struct, frozen=True, tag=True):
    """Hand back unfinished: ready again at once, nothing counted (shutdown, pause)."""

    lease: Lease


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """A person has cancelled it, and its handler has stopped or was never started: a record, no more."""

    lease: Lease
    #: Seconds the handler ran, for the record.
    duration: float = 0.0


Finish = Done | Again | Bury | Release | Cancel


class Turn(msgspec.Struct, frozen=True):
    """What one round trip brought."""

    leases: tuple[Lease, ...]
    #: `Lease.key` of those among the finished whose lease was lost: nothing was changed for them.
    refused: frozenset[str]
    paused: bool
    #: Seconds until the next delayed job is due (0 = now), or None: none is delayed.
    next_due: float | None
    #: The server's clock, ms.
    server_ms: int
    #: Of the refused, those that a person has cancelled: they have ended as that.
    cancelled: frozenset[str] = frozenset()
    #: Jobs at once that every worker of the stream is asked to run; None: as many as it likes.
    concurrency: int | None = None


class Wakeup(msgspec.Struct, frozen=True):
    """Why a blocking wait came back: with jobs, with a knock (a new earliest due), or in vain."""

    leases: tuple[Lease, ...]
    paused: bool
    server_ms: int
    #: A new earliest delayed job was added, or the stream was resumed: take a turn.
    knocked: bool = False
    #: A new earliest tick was set, or the stream was resumed: look at the schedules.
    rescheduled: bool = False


Verb = Literal["quiet", "resume", "trace"]


class Order(msgspec.Struct, frozen=True):
    """What a worker is asked to do: take no more, take again, tell where its jobs stand."""

    order_id: str
    verb: Verb


class Taken(msgspec.Struct, frozen=True):
    """A job in a worker's hands, as it tells of it."""

    #: `Lease.key`.
    key: str
    #: Handed over, ms of the server's clock.
    since_ms: int


class WorkerFacts(msgspec.Struct, frozen=True):
    """What a worker tells of itself with every heartbeat."""

    #: Jobs at once.
    slots: int = 0
    #: Takes no more, stays up.
    quiet: bool = False
    #: What it has in hand, longest first; the first hundred.
    taken: tuple[Taken, ...] = ()
    #: `Lease.key` of the job that is to blame should its process die: it has that to itself, or is past its
    #: hard limit. Empty: none is known to be.
    to_blame: str = ""


class Renewal(msgspec.Struct, frozen=True):
    """What a heartbeat learned."""

    #: `Lease.key` of those held that are no longer this worker's.
    lost: frozenset[str]
    paused: bool
    #: Heartbeat counters of all workers of the stream, this one included.
    beats: dict[str, int]
    #: Entries the server counts in this worker's hands.
    pending: int
    #: `Lease.key` of those held that a person has cancelled: stop their handlers, end them with `Cancel`.
    cancelled: frozenset[str] = frozenset()
    #: See `Turn.concurrency`.
    concurrency: int | None = None
    #: What this worker is asked to do; each is told once.
    orders: tuple[Order, ...] = ()
    #: Recurring jobs of the stream, and seconds until the next tick of all (0 = now); None: there is none.
    schedules: int = 0
    next_tick: float | None = None
    #: Partitions of the stream.
    partitions: int = 1


class Reclaimed(msgspec.Struct, frozen=True):
    """What taking from a dead worker brought."""

    ready: int = 0
    dead: int = 0
    #: Ended, because a person had cancelled them.
    cancelled: int = 0


class Retention(msgspec.Struct, frozen=True):
    """How long ended jobs are kept."""

    #: Completed records: seconds and count, whichever is reached first.
    done_seconds: float = 86400.0
    done_count: int = 1000
    #: Dead letters: seconds.
    dead_seconds: float = 7 * 86400.0


class StreamStats(msgspec.Struct, frozen=True):
    """One stream in numbers, read in one step."""

    stream: str
    #: Waiting now, by lane.
    ready: dict[Lane, int]
    leased: int
    delayed: int
    dead: int
    done: int
    #: Age of the oldest job that waits in a lane, seconds; None: none waits.
    oldest_seconds: float | None
    #: Workers that registered and have not been declared dead.
    workers: int
    paused: bool
    #: Totals since the stream began: enqueued, done, retried, snoozed, dead, reclaimed ...
    counters: dict[str, int]
    #: Jobs at once that every worker was asked to run; None: as many as it likes.
    concurrency: int | None = None
    #: Waiting for a slot or the rate of their limit key, or for the end of the job before them.
    parked: int = 0
    #: The same for each partition, where there are several.
    partitions: tuple[StreamStats, ...] = ()

    def workers_needed(self, slots: int) -> int:
        """Workers of `slots` jobs each that would have every ready and leased job in hand at once.

        A paused stream needs those that still hold something. While anything is delayed or parked it is at
        least one: such a job becomes ready only where a worker is up to see it. `load.Load.workers_needed`
        knows how long they run, too.
        """
        ready = 0 if self.paused else sum(self.ready.values())
        return max(-(-(ready + self.leased) // max(1, slots)), 1 if self.delayed or self.parked else 0)


class PendingEntry(msgspec.Struct, frozen=True):
    """A job in a worker's hand, as seen from outside."""

    entry_id: str
    worker: str
    idle_seconds: float
    deliveries: int
    envelope: Envelope


class DeadJob(msgspec.Struct, frozen=True):
    """A dead letter."""

    entry_id: str
    envelope: Envelope
    reason: str
    error: str
    traceback: str
    #: Attempts made.
    attempts: int
    died_ms: int


JobState = Literal["ready", "leased", "delayed", "parked", "dead", "done", "cancelled", "unknown"]

#: Entries of a lane, and dead letters, that are looked at for one job's id. Not more: a page of 500 costs
#: the server half a millisecond, and somebody waits for the answer.
LOOK: Final = 100_000


class DoneJob(msgspec.Struct, frozen=True):
    """A record of a job that was completed, or cancelled by a person."""

    entry_id: str
    job_id: str
    attempt: int
    duration: float
    finished_ms: int
    outcome: Literal["done", "cancelled"] = "done"
    #: What its handler returned, JSON; None: no value is kept. `Sighting.result` reads it.
    result: bytes | None = None
    #: Why no value is kept, where its stream keeps values.
    no_result: str = ""


class Requeued(msgspec.Struct, frozen=True):
    """Outcome of a requeue: ids made ready, ids left because their uniqueness key is taken."""

    ready: tuple[str, ...]
    duplicate: tuple[str, ...]


class Waiting(msgspec.Struct, frozen=True):
    """A job that is ready."""

    entry_id: str
    envelope: Envelope


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One job, where it was seen."""

    stream: str
    job_id: str
    state: JobState
    #: The server's clock, ms.
    server_ms: int
    #: A person has cancelled it, and it has not ended yet.
    cancel_asked: bool = False
    #: None for one that was completed, cancelled or not found.
    envelope: Envelope | None = None
    entry_id: str | None = None
    #: ready: jobs that are before it in its lane; parked: that wait for the same and come before it.
    before: int = 0
    #: parked: jobs of its limit key that run or are about to; the id of the job whose end it waits for
    #: instead; seconds until its key's rate lets one more start (None: that is not what it waits for).
    running: int = 0
    behind: str | None = None
    free_in: float | None = None
    #: leased: who holds it, for how long, and how long ago that worker renewed it (seconds).
    worker: str | None = None
    held_seconds: float = 0.0
    silent_seconds: float = 0.0
    #: delayed: seconds until it is due; 0 or less: a worker's next turn makes it ready.
    due_in: float = 0.0
    #: dead: its dead letter.
    dead: DeadJob | None = None
    #: done, cancelled: its record.
    done: DoneJob | None = None
    #: Entries that were looked at, and whether that was all; False: it may lie behind them.
    looked: int = 0
    looked_at_all: bool = True

    def result(self, value_type: type[T]) -> T:
        """What its handler returned, where its stream keeps that (`Handlers.on(..., max_result=...)`).

        Raises NoResult, which says why there is none: it has not ended, ended otherwise, its stream keeps
        none, it was too large or no JSON; or that it is not a `value_type`.
        """
        job = f"job {self.job_id} of {self.stream}"
        if self.done is None or self.state != "done":
            raise NoResult(f"{job} is {self.state}: a value is kept of jobs that are done")
        if self.done.result is None:
            why = self.done.no_result or "its stream keeps none (max_result)"
            raise NoResult(f"no value of {job} was kept: {why}")
        try:
            return msgspec.json.decode(self.done.result, type=value_type)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NoResult(f"the value of {job} is not what was asked for: {error}") from error


class Cancellation(msgspec.Struct, frozen=True):
    """What `cancel` found.

    waiting (in a lane, or parked), delayed: it has ended. running: its worker was asked to stop it, whatever
    the handler says it ends as cancelled. ended: long ago, as `state` says. sought: not found among so many;
    should it come to a worker within a week, it ends there. unknown: there is no such job, and nothing was
    changed.
    """

    job_id: str
    found: Literal["waiting", "delayed", "running", "ended", "sought", "unknown"]
    #: running: who holds it.
    worker: str | None = None
    #: ended: done, dead or cancelled.
    state: JobState | None = None
    #: Entries that were looked at.
    looked: int = 0


class WorkerSeen(msgspec.Struct, frozen=True):
    """A worker of one stream, seen from outside."""

    name: str
    #: Jobs in its hands, as the server counts.
    in_hand: int
    #: Its heartbeat counter; None: it holds something and is not on the list (nobody answers for it).
    beat: int | None = None
    #: Seconds since it was last heard by the server's clock; None: never, or before it told.
    heard_seconds: float | None = None
    #: What it told then.
    facts: WorkerFacts = WorkerFacts()


class StoredSchedule(msgspec.Struct, frozen=True):
    """A recurring job as it lies in the broker; what is in it is its writer's business."""

    schedule_id: str
    #: New with every change: whoever changes it says which one that was made from.
    revision: str
    #: JSON (`streamq.schedules.Record`).
    body: bytes
    #: When the job of its next tick starts, ms of the server's clock; None: there is no next.
    due_ms: int | None


class Schedules(msgspec.Struct, frozen=True):
    """Some of a stream's schedules, read in one step."""

    found: tuple[StoredSchedule, ...]
    #: The server's clock, ms.
    server_ms: int
    #: The stream is paused: nothing of it is due.
    paused: bool = False
    #: Seconds until the next of those that are not due yet; None: there is none.
    next_due: float | None = None


class ScheduleChange(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule's new record in the place of the one it was made from, and jobs, in one step."""

    schedule_id: str
    #: Revision of the record it was made from; None: there was none.
    expected: str | None
    #: None: the schedule goes.
    body: bytes | None
    due_ms: int | None = None
    #: Refused before this, ms of the server's clock.
    not_before_ms: int = 0
    #: To be added; each one's `at` is the moment it became eligible, which has come.
    jobs: tuple[NewJob, ...] = ()
    #: Body and due time where a job's uniqueness key is taken (there is one job then).
    if_taken: tuple[bytes, int | None] | None = None


class Broker(Protocol):
    """A place where jobs lie. Raises BrokerUnavailable, BrokerFull or BrokerRefused, nothing else.

    What looks at a stream and what controls it (from `set_paused` on) is for all its partitions where it is
    asked for by the stream's name; everything else, and everything by a partition's name, for that one alone.
    """

    #: Stream -> partitions, as last heard.
    counts: dict[str, int]

    async def enqueue(
        self, stream: str, jobs: Sequence[NewJob], *, call_id: str, partitions: int | None = None
    ) -> list[Receipt]:
        """Add jobs, all or none, in one round trip; one receipt per job, in order.

        Repeating a call with the same `call_id` within a minute changes nothing and answers the
        same, so a lost reply may be retried. A job whose id (when the caller chose it) or
        uniqueness key is taken is not added: its receipt has `created=False` and the id of the
        first one. One that may `replace` the job that holds its key does so where that one waits
        (`replaced`, under the old id), and starts after it where it runs.

        A job of a limit key is ready only while its terms let it start, and parked until then: it never
        stands in the way of another key's. Slots are given back by whatever ends a delivery.

        `partitions`: how many the caller knows of; where there are more, nothing is done, and MorePartitions
        is raised. None: put them there all the same.
        """
        ...

    async def partitions(self, stream: str) -> int:
        """How many partitions the stream has."""
        ...

    async def set_partitions(self, stream: str, count: int, *, again: bool = False) -> int:
        """Have so many partitions from now on; how many there are. Workers take from the new ones after their
        next heartbeat. Raises InvalidJob for fewer than there are, and where a stream has the name of one.
        `again`: there were as many, and the broker has lost that: what has the name of one is one.
        """
        ...

    async def can_confirm(self, stream: str, durability: Durability) -> None:
        """Raise BrokerRefused where `confirm` could not be asked for that: before anything is written."""
        ...

    async def confirm(self, stream: str, jobs: int, *, call_id: str, durability: Durability) -> None:
        """Return when what `enqueue` wrote under that id (so many jobs) is as safe as is asked.

        Raises NotConfirmed where it is not within seconds; BrokerUnavailable where it is not there at all
        (the primary has changed) or nobody answers: repeat the enqueue, then.
        """
        ...

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
        """One round trip: apply what finished, promote what is due, take up to `free` jobs.

        Each Finish takes effect only while its entry is still in this worker's hands; else it is
        named in `refused`. `sequence` rises by one per turn of a worker; a repeated one applies
        nothing again, answers the same refusals, and takes anew.
        """
        ...

    async def wait(self, stream: str, worker: str, *, timeout: float) -> Wakeup:  # noqa: ASYNC109
        """Sleep until a job is ready, a new earliest delayed job was added, or `timeout` seconds
        passed. May bring more than one job (one a lane). Cancelling it loses nothing for long:
        what had been handed over is found by `adopt`.
        """
        ...

    def renew(
        self,
        stream: str,
        worker: str,
        held: Sequence[Lease],
        facts: WorkerFacts = WorkerFacts(),  # noqa: B008 - frozen
    ) -> Renewal:
        """Heartbeat and renewal of all leases in one call. Blocking: it runs in a thread of its own,
        so that a handler that blocks the event loop keeps its lease.
        """
        ...

    async def vouch(self, stream: str, worker: str) -> bool:
        """Heartbeat and renewal in the stead of a worker that lives and cannot say so: whoever can see it
        run does that. False: no such worker is known (it said goodbye, or its jobs were taken already).
        """
        ...

    async def adopt(self, stream: str, worker: str, held: Sequence[Lease]) -> tuple[Lease, ...]:
        """Deliveries to this worker that it does not know of (a reply was lost). Now in its hands."""
        ...

    async def reclaim(self, stream: str, worker: str, *, beat: int | None, crash_budget: int) -> Reclaimed:
        """Take everything from a worker that is believed dead; each job is ready again under a new
        entry id with one crash more. It is dead (`crashed`) when that reaches `crash_budget` and the worker
        named it as to blame (`WorkerFacts.to_blame`) or told nothing of itself; else at three times that.

        With `beat`, only if its heartbeat counter still has that value: it is then struck from the
        list of workers. Its own later effects are refused.
        """
        ...

    async def sweep(self, stream: str, *, idle: float, crash_budget: int) -> Reclaimed:
        """Take what has been in hand for `idle` seconds of a worker that nobody knows."""
        ...

    async def retire(self, stream: str, worker: str) -> None:
        """A worker says goodbye; call it when nothing is in hand."""
        ...

    async def trim(self, stream: str, retention: Retention) -> None:
        """Drop completed records and dead letters past their time."""
        ...

    async def set_paused(self, stream: str, *, paused: bool) -> None:
        """Persisted; taking stops within a second everywhere, what is in hand goes on."""
        ...

    async def stats(self, stream: str) -> StreamStats:
        """The stream in numbers."""
        ...

    async def pending(
        self, stream: str, *, worker: str | None = None, idle_over: float = 0.0, limit: int = 100
    ) -> list[PendingEntry]:
        """What is in hand, longest idle first."""
        ...

    async def dead(self, stream: str, *, limit: int = 100, before: str | None = None) -> list[DeadJob]:
        """Dead letters, newest first; `before` is an entry id to page on from."""
        ...

    async def done(self, stream: str, *, limit: int = 100) -> list[DoneJob]:
        """Completed records, newest first."""
        ...

    async def delayed(self, stream: str, *, limit: int = 100) -> list[tuple[Envelope, float]]:
        """Delayed jobs with their due time (seconds since the epoch, server's clock), earliest first."""
        ...

    async def waiting(self, stream: str, *, limit: int = 100) -> list[Waiting]:
        """Ready jobs, lane by lane, each lane's in the order it is taken in."""
        ...

    async def parked(self, stream: str, *, limit: int = 100) -> list[Envelope]:
        """Jobs that wait for others of their key; of each key in the order they start in."""
        ...

    async def requeue(
        self, stream: str, entry_ids: Sequence[str], *, payloads: Mapping[str, bytes] | None = None
    ) -> Requeued:
        """Make dead letters ready again: attempt 1, no crashes, same job id. `payloads`, by entry id, are
        put in the place of those that were wrong.
        """
        ...

    async def purge(self, stream: str, entry_ids: Sequence[str]) -> int:
        """Delete dead letters; how many there were."""
        ...

    async def find(self, stream: str, job_id: str, *, look: int = LOOK) -> Sighting:
        """One job by its id, in whatever state. At most `look` entries of each lane and `look` dead letters
        are looked at, page by page; a delayed job is found at once.
        """
        ...

    async def cancel(self, stream: str, job_id: str, *, look: int = LOOK) -> Cancellation:
        """End a job by a person's will; doing it twice is harmless.

        It never starts again once this was answered. What is waiting or delayed ends at once. For what is in
        a worker's hands, its next heartbeat says so (`Renewal.cancelled`), and whatever is told of it from
        now on is refused: it ends as cancelled. Each leaves a record among the completed ones and gives its
        uniqueness key back.
        """
        ...

    async def set_concurrency(self, stream: str, jobs: int | None) -> None:
        """Ask every worker of the stream to run so many jobs at once; None: as many as it was made for.

        Persisted. Busy workers learn of it with their next turn, others with their next heartbeat.
        """
        ...

    async def workers(self, stream: str) -> list[WorkerSeen]:
        """Who works on the stream, by name; also who holds something and is not on the list."""
        ...

    async def order(self, stream: str, worker: str, order: Order) -> bool:
        """Ask a worker to do something: it is told with its next heartbeat. False: it is not on the list."""
        ...

    async def answer(self, stream: str, order_id: str, text: str) -> None:
        """A worker has done what it was asked; the text is kept for a minute."""
        ...

    def answer_blocking(self, stream: str, order_id: str, text: str) -> None:
        """The same for a thread without an event loop."""
        ...

    async def answered(self, stream: str, order_id: str) -> str | None:
        """What a worker answered to that order; None: nothing yet."""
        ...

    async def limit(
        self, stream: str, key: str, *, rate: float, burst: int, who: str = "", urgent: bool = False
    ) -> float:
        """GCRA: 0.0 = go, and one is counted; else seconds until the next may go (nothing counted).

        `rate` in starts a second. `who` (a job id) is promised the moment it is told: whoever asks
        later comes after it, so that many who wait for one limiter each wait once. A promise is
        kept for a minute past its moment, and lies an hour ahead at most; further back in the line,
        one asks again then. The rate holds whoever comes late, who then may be sent to the end.
        `urgent`: it waits for the rate alone and not for those who were promised a moment.
        """
        ...

    async def due_schedules(self, stream: str, *, limit: int = 100) -> Schedules:
        """Schedules whose next tick is due; of a paused stream none is."""
        ...

    async def schedules(self, stream: str, *, schedule_ids: Sequence[str] = ()) -> Schedules:
        """Schedules by their ids (those that are there), or all of them, by next tick."""
        ...

    async def change_schedule(self, stream: str, change: ScheduleChange) -> list[Receipt] | None:
        """Change a schedule and add its jobs, in one step: all of it or nothing.

        None: nothing, since its record is another one by now, or it is not time yet. Else a receipt per job;
        `created=False`: not added, because an earlier job has its uniqueness key. A new earliest tick wakes
        one sleeping worker.
        """
        ...

    async def ping(self) -> dict[str, Any]:
        """Prove that the broker answers; what it is (server, version, policy)."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
