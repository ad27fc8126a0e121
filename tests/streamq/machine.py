"""The life of jobs as a state machine: a model says what a broker must do, Hypothesis looks for a way
to make it do something else.

The model knows jobs by a number in their payload, because ids may repeat (foreign producers).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamq.broker import Again, Bury, Cancel, Done, Finish, Lease, Reclaimed, Release, WorkerFacts
from streamq.keys import LANES, Lane
from streamq.limits import Limit
from tests.streamq.rig import Rig, job

R = TypeVar("R")

#: Crash budget in the machine: small, so that it is spent often.
BUDGET = 2
FAR = 3600.0
WORKERS = ("alice", "bob", "carol")

some = st.integers(0, 999)
worker_names = st.sampled_from(WORKERS)
kinds = st.sampled_from(["done", "done with a value", "retry", "snooze", "bury", "release", "cancel"])
delays = st.sampled_from([0.0, 0.5, 0.5, 30.0, FAR])
LIMITS = {"one": Limit("one", running=1), "two": Limit("two", running=2)}
limit_keys = st.sampled_from([None, None, *LIMITS])


@dataclass
class ModelJob:
    """What the model believes of one job."""

    number: int
    lane: Lane
    place: str = "ready"
    attempt: int = 1
    crashes: int = 0
    due_ms: int = 0
    unique: str | None = None
    job_id: str = ""
    #: Who holds it, and under which lease key.
    holder: str | None = None
    key: str | None = None
    fences: list[int] = field(default_factory=list)
    #: A person has cancelled it, and it has not ended.
    cancelled: bool = False
    limit: str | None = None
    #: Order in which it came to wait, among the delayed or the parked.
    order: int = 0
    #: While it waits, the next of its uniqueness key takes its place.
    replaceable: bool = False
    #: Id of the job that has to end first; parked for that, not for its limit.
    behind: str | None = None
    parked_behind: bool = False
    #: What was returned by who ended it, as JSON.
    result: bytes | None = None


@dataclass
class ModelWorker:
    """What the model believes of one worker."""

    sequence: int = 0
    #: Leases of which the worker has seen the reply, present and past.
    seen: list[Lease] = field(default_factory=list)


class BrokerMachine(RuleBasedStateMachine):
    """Rules are what producers, workers, people and bad luck do."""

    #: Makes an empty rig; set by the test.
    make_rig: ClassVar[Callable[[], Rig]]
    run_async: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]
    #: The clock can be moved: delays between now and far away mean something.
    time_moves: ClassVar[bool]
    #: How many steps were made, all examples together.
    steps: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.rig = type(self).make_rig()
        self.numbers = itertools.count()
        self.jobs: dict[int, ModelJob] = {}
        self.workers = {name: ModelWorker() for name in WORKERS}
        #: Heartbeats of the workers on the broker's list.
        self.beats: dict[str, int] = {}
        #: What each has told of itself: the lease key of the job that is to blame, or none ("").
        self.told: dict[str, str] = {}
        self.owners: dict[str, int] = {}
        #: Uniqueness key -> ids of jobs whose end the next one of it waits for.
        self.tickets: dict[str, set[str]] = {"k1": set(), "k2": set()}
        self.orders = itertools.count()
        self.paused = False
        # A wait and a turn on a new stream make its groups; what they do then is another test's.
        self._take("alice", free=1)

    # --- producers ---------------------------------------------------------------------------

    @rule(
        lane=st.sampled_from(LANES),
        unique=st.sampled_from([None, None, "k1", "k2"]),
        delay=delays,
        limit=limit_keys,
    )
    def enqueue(self, lane: Lane, unique: str | None, delay: float, limit: str | None) -> None:
        self._enqueue([(lane, unique, delay, limit)], repeat=False)

    @rule(lane=st.sampled_from(LANES), unique=st.sampled_from(["k1", "k2"]), delay=delays, limit=limit_keys)
    def replace(self, lane: Lane, unique: str, delay: float, limit: str | None) -> None:
        """The last one wins: in the place of one that waits, behind one that runs."""
        number, delay = next(self.numbers), self._delay(delay)
        new = job(number, lane=lane, unique=unique, delay=delay, limit=LIMITS.get(limit or ""), replace=True)
        now = self._now()
        (receipt,) = self._run(self.rig.put(new))
        owner = self.jobs[self.owners[unique]] if unique in self.owners else None
        model = ModelJob(number, lane, unique=unique, job_id=new.id, limit=limit, replaceable=True)
        if owner is not None and (
            owner.place in ("delayed", "parked") or (owner.place == "ready" and owner.replaceable)
        ):
            assert receipt.replaced
            del self.jobs[owner.number]
            model.job_id, model.behind, model.fences = owner.job_id, owner.behind, owner.fences
        else:
            assert receipt.created
            if owner is not None:
                model.behind = owner.job_id
                self.tickets[unique].add(owner.job_id)
        assert receipt.job_id == model.job_id
        # The place of the one that is replaced is free before the new one asks for any.
        self._advance()
        self.jobs[number], self.owners[unique] = model, number
        self._wait_or_be_ready(model, now + round(delay * 1000) if delay else 0)

    @rule(
        batch=st.lists(
            st.tuples(st.sampled_from(LANES), st.sampled_from([None, "k1", "k2"]), delays, limit_keys),
            min_size=2,
            max_size=4,
        ),
        repeat=st.booleans(),
    )
    def enqueue_many(self, batch: list[tuple[Lane, str | None, float, str | None]], repeat: bool) -> None:
        self._enqueue(batch, repeat=repeat)

    @rule(lane=st.sampled_from(LANES))
    def inject_a_twin(self, lane: Lane) -> None:
        """A foreign producer sends the same id again and again."""
        number = next(self.numbers)
        self._run(self.rig.inject({"payload": str(number), "id": "twin"}, lane))
        self.jobs[number] = ModelJob(number, lane, job_id="twin")

    def _enqueue(self, batch: Sequence[tuple[Lane, str | None, float, str | None]], *, repeat: bool) -> None:
        numbers = [next(self.numbers) for _ in batch]
        new = [
            job(number, lane=lane, unique=unique, delay=self._delay(delay), limit=LIMITS.get(limit or ""))
            for number, (lane, unique, delay, limit) in zip(numbers, batch, strict=True)
        ]
        call_id = f"{numbers[0]}"
        now = self._now()
        receipts = self._run(self.rig.put(*new, call_id=call_id))
        if repeat:
            assert self._run(self.rig.put(*new, call_id=call_id)) == receipts
        for number, one, receipt in zip(numbers, new, receipts, strict=True):
            owner = self.owners.get(one.unique) if one.unique is not None else None
            assert receipt.created == (owner is None)
            if owner is not None:
                assert receipt.job_id == self.jobs[owner].job_id
                continue
            limit = one.limit.key if one.limit else None
            self.jobs[number] = model = ModelJob(
                number, one.lane, unique=one.unique, job_id=one.id, limit=limit
            )
            if one.unique is not None:
                self.owners[one.unique] = number
            self._wait_or_be_ready(model, now + round(one.delay * 1000) if one.delay else 0)

    # --- workers -----------------------------------------------------------------------------

    @rule(name=worker_names, free=st.integers(1, 4))
    def take(self, name: str, free: int) -> None:
        self._see(name, self._take(name, free=free))

    @precondition(lambda self: self._all_seen())
    @rule(name=worker_names, kind=kinds, delay=delays, lease=some, free=st.integers(0, 2))
    def finish_something(self, name: str, kind: str, delay: float, lease: int, free: int) -> None:
        """By whoever: its own, one it has lost, one it has ended before, or a colleague's."""
        seen = self._all_seen()
        finish = self._finish(kind, seen[lease % len(seen)], delay)
        if isinstance(finish, Done) and self._holder(finish.lease) not in (None, name):
            return  # ends by XACK alone: that only its holder knows its id is the protection
        self._see(name, self._take(name, finish, free=free))

    @precondition(lambda self: self._held())
    @rule(kind=kinds, delay=delays, lease=some, free=st.integers(0, 2))
    def finish_what_is_in_hand(self, kind: str, delay: float, lease: int, free: int) -> None:
        name, held = self._held()[lease % len(self._held())]
        self._see(name, self._take(name, self._finish(kind, held, delay), free=free))

    @precondition(lambda self: self._held())
    @rule(kind=kinds, lease=some, stale=some, free=st.integers(0, 2))
    def lose_a_reply_and_say_it_again(self, kind: str, lease: int, stale: int, free: int) -> None:
        name, held = self._held()[lease % len(self._held())]
        worker = self.workers[name]
        finishes = [self._finish(kind, held, 0.0)]
        old = worker.seen[stale % len(worker.seen)]
        if old.key != held.key:
            finishes.append(Release(old))
        first = self._run(self._turn(name, finishes, free))
        refused, cancelled = self._apply(name, finishes)
        assert (first.refused, first.cancelled) == (refused, cancelled)
        self._taken(name, first.leases, free)
        again = self._run(self._turn(name, finishes, free, repeat=True))
        assert (again.refused, again.cancelled) == (refused, cancelled)
        self._promote()
        self._taken(name, again.leases, free)
        self._see(name, again.leases)
        self.adopt(name)

    @rule(name=worker_names)
    def adopt(self, name: str) -> None:
        """What the broker counts as this worker's, it learns of."""
        known = [lease for owner, lease in self._held() if owner == name]
        found = self._run(self.rig.broker.adopt(self.rig.stream, name, known))
        missing = {one.key for one in self.jobs.values() if one.holder == name} - {one.key for one in known}
        assert {lease.key for lease in found} == missing
        self._see(name, found)

    @rule(name=worker_names, blamed=st.one_of(st.none(), some))
    def renew(self, name: str, blamed: int | None) -> None:
        worker = self.workers[name]
        names_one = blamed is not None and worker.seen
        self.told[name] = worker.seen[blamed % len(worker.seen)].key if names_one else ""
        facts = WorkerFacts(to_blame=self.told[name])
        renewal = self.rig.broker.renew(self.rig.stream, name, worker.seen, facts)
        self.beats[name] = self.beats.get(name, 0) + 1
        assert renewal.beats == self.beats
        assert renewal.lost == {lease.key for lease in worker.seen if self._holder(lease) != name}
        assert renewal.paused == self.paused
        mine = [one for one in self.jobs.values() if one.holder == name and one.cancelled]
        assert renewal.cancelled == {one.key for one in mine} & {lease.key for lease in worker.seen}

    @rule()
    def a_stranger_waits(self) -> None:
        """What it is given it never finishes: nobody has heard of it."""
        wakeup = self._run(self.rig.broker.wait(self.rig.stream, "stranger", timeout=0))
        assert wakeup.paused == self.paused
        assert len({lease.lane for lease in wakeup.leases}) == len(wakeup.leases)
        for lease in wakeup.leases:
            self._hand_over("stranger", lease)

    # --- bad luck, people, time ------------------------------------------------------------------

    @rule(name=worker_names, view=st.sampled_from(["blind", "right", "stale"]))
    def reclaim(self, name: str, view: str) -> None:
        beat = {"blind": None, "right": self.beats.get(name), "stale": self.beats.get(name, 0) + 1}[view]
        made = self._run(self.rig.broker.reclaim(self.rig.stream, name, beat=beat, crash_budget=BUDGET))
        lost = [one for one in self.jobs.values() if one.holder == name] if view != "stale" else []
        self._all_crash(lost, made, self.told.get(name))
        if view != "stale":
            self.beats.pop(name, None)
            self.told.pop(name, None)

    @precondition(lambda self: self._held())
    @rule(lease=some, blamed=st.one_of(st.none(), some))
    def die_having_told(self, lease: int, blamed: int | None) -> None:
        """A worker that holds something names what is to blame, or nothing, and dies."""
        name, _ = self._held()[lease % len(self._held())]
        self.renew(name, blamed)
        self.reclaim(name, "right")

    @rule()
    def sweep(self) -> None:
        made = self._run(self.rig.broker.sweep(self.rig.stream, idle=0, crash_budget=BUDGET))
        lost = [one for one in self.jobs.values() if one.holder and one.holder not in self.beats]
        self._all_crash(lost, made, None)

    @rule(name=worker_names)
    def retire(self, name: str) -> None:
        self._run(self.rig.broker.retire(self.rig.stream, name))
        if not any(one.holder == name for one in self.jobs.values()):
            self.beats.pop(name, None)
            self.told.pop(name, None)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self._run(self.rig.broker.set_paused(self.rig.stream, paused=paused))
        self.paused = paused

    @precondition(lambda self: self._by_an_id_of_their_own())
    @rule(which=some)
    def cancel(self, which: int) -> None:
        mine = self._by_an_id_of_their_own()
        one = mine[which % len(mine)]
        answer = self._run(self.rig.broker.cancel(self.rig.stream, one.job_id))
        assert answer.worker == one.holder
        match one.place:
            case "ready" | "delayed" | "parked":
                assert answer.found == ("delayed" if one.place == "delayed" else "waiting")
                self._end(one, "cancelled")
                self._advance()
            case "leased":
                assert answer.found == "running"
                one.cancelled = True
            case _:
                assert (answer.found, answer.state) == ("ended", one.place)

    @rule(look=st.booleans())
    def cancel_what_is_not_there(self, look: bool) -> None:
        answer = self._run(self.rig.broker.cancel(self.rig.stream, "nobody", look=1000 if look else 0))
        assert answer.found == ("unknown" if look or not self._in_lanes() else "sought")

    @precondition(lambda self: self._by_an_id_of_their_own())
    @rule(which=some)
    def find(self, which: int) -> None:
        mine = self._by_an_id_of_their_own()
        one = mine[which % len(mine)]
        seen = self._run(self.rig.broker.find(self.rig.stream, one.job_id))
        assert (seen.state, seen.worker, seen.cancel_asked) == (one.place, one.holder, one.cancelled)
        if seen.envelope is not None:
            assert (seen.envelope.attempt, seen.envelope.crashes) == (one.attempt, one.crashes)
        assert (seen.done and seen.done.result) == one.result

    @precondition(lambda self: any(one.place == "dead" for one in self.jobs.values()))
    @rule(which=some)
    def purge(self, which: int) -> None:
        letters = self._run(self.rig.broker.dead(self.rig.stream, limit=1000))
        letter = letters[which % len(letters)]
        assert self._run(self.rig.broker.purge(self.rig.stream, [letter.entry_id])) == 1
        del self.jobs[int(letter.envelope.payload)]

    @precondition(lambda self: any(one.place == "dead" for one in self.jobs.values()))
    @rule(which=some)
    def requeue(self, which: int) -> None:
        letters = self._run(self.rig.broker.dead(self.rig.stream, limit=1000))
        letter = letters[which % len(letters)]
        answer = self._run(self.rig.broker.requeue(self.rig.stream, [letter.entry_id]))
        one = self.jobs[int(letter.envelope.payload)]
        if one.unique is not None and one.unique in self.owners:
            assert (answer.ready, answer.duplicate) == ((), (one.job_id,))
            return
        assert (answer.ready, answer.duplicate) == ((one.job_id,), ())
        one.attempt, one.crashes = 1, 0
        if one.unique is not None:
            self.owners[one.unique] = one.number
        self._wait_or_be_ready(one, 0)

    @precondition(lambda self: self.time_moves)
    @rule(seconds=st.sampled_from([0.001, 0.499, 0.499, 0.5, 1.0, 30.0, FAR]))
    def time_passes(self, seconds: float) -> None:
        self._run(self.rig.let_pass(seconds))

    # --- what must always hold ----------------------------------------------------------------

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        expected = Counter(one.place for one in self.jobs.values())
        cancelled = expected.pop("cancelled", 0)
        expected["done"] += cancelled  # their records lie there
        assert self._run(self.rig.places()) == dict(+expected)
        stats = self._run(self.rig.stats())
        assert stats.counters.get("cancelled", 0) == cancelled
        assert (stats.workers, stats.paused) == (len(self.beats), self.paused)
        type(self).steps["steps"] += 1

    @invariant()
    def what_is_in_hand_is_in_the_right_hand(self) -> None:
        entries = self._run(self.rig.broker.pending(self.rig.stream, limit=1000))
        held = {(int(entry.envelope.payload), entry.worker) for entry in entries}
        assert held == {(one.number, one.holder) for one in self.jobs.values() if one.place == "leased"}

    @invariant()
    def the_delayed_and_the_dead_are_as_counted(self) -> None:
        delayed = self._run(self.rig.broker.delayed(self.rig.stream, limit=1000))
        assert self._facts(envelope for envelope, _ in delayed) == self._expected("delayed")
        dead = self._run(self.rig.broker.dead(self.rig.stream, limit=1000))
        assert self._facts(letter.envelope for letter in dead) == self._expected("dead")

    def _facts(self, envelopes: Any) -> list[tuple[int, int, int, str]]:
        return sorted((int(e.payload), e.attempt, e.crashes, e.id) for e in envelopes)

    def _expected(self, place: str) -> list[tuple[int, int, int, str]]:
        return sorted(
            (one.number, one.attempt, one.crashes, one.job_id)
            for one in self.jobs.values()
            if one.place == place
        )

    # --- the model's own verbs --------------------------------------------------------------------

    def _run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        result: R = type(self).run_async(coroutine)
        return result

    def _now(self) -> int:
        return self._run(self.rig.now_ms())

    def _delay(self, seconds: float) -> float:
        return seconds if self.time_moves or seconds == 0 else FAR

    def _holder(self, lease: Lease) -> str | None:
        return next((one.holder for one in self.jobs.values() if one.key == lease.key), None)

    def _in_lanes(self) -> bool:
        return any(one.place in ("ready", "leased") for one in self.jobs.values())

    def _by_an_id_of_their_own(self) -> list[ModelJob]:
        return [one for one in self.jobs.values() if one.job_id != "twin"]

    def _held(self) -> list[tuple[str, Lease]]:
        """Leases that are good, with who holds them; only those its holder knows of."""
        return [
            (name, lease)
            for name, worker in self.workers.items()
            for lease in worker.seen
            if self._holder(lease) == name
        ]

    def _all_seen(self) -> list[Lease]:
        return [lease for worker in self.workers.values() for lease in worker.seen]

    def _see(self, name: str, leases: Sequence[Lease]) -> None:
        self.workers[name].seen.extend(leases)

    def _finish(self, kind: str, lease: Lease, delay: float) -> Finish:
        match kind:
            case "done":
                return Done(lease)
            case "done with a value":
                return Done(lease, result=f'"{lease.key}"'.encode())  # of this delivery only
            case "retry" | "snooze":
                return Again(lease, delay=self._delay(delay), counts=kind == "retry")
            case "bury":
                return Bury(lease, reason="because")
            case "cancel":
                return Cancel(lease)
            case _:
                return Release(lease)

    async def _turn(self, name: str, finishes: Sequence[Finish], free: int, *, repeat: bool = False) -> Any:
        worker = self.workers[name]
        worker.sequence += not repeat
        return await self.rig.broker.turn(
            self.rig.stream, name, sequence=worker.sequence, finished=finishes, free=free
        )

    def _take(self, name: str, *finishes: Finish, free: int) -> Sequence[Lease]:
        turn = self._run(self._turn(name, finishes, free))
        assert (turn.refused, turn.cancelled) == self._apply(name, finishes)
        assert turn.paused == self.paused
        self._taken(name, turn.leases, free)
        leases: Sequence[Lease] = turn.leases
        return leases

    def _apply(self, name: str, finishes: Sequence[Finish]) -> tuple[set[str], set[str]]:
        """The effect of a turn's endings and promotions on the model; the keys it must refuse, and those of
        them that it must end as cancelled.
        """
        self.beats.setdefault(name, 0)
        now = self._now()
        refused, cancelled = set(), set()
        for finish in finishes:
            one = next((one for one in self.jobs.values() if one.key == finish.lease.key), None)
            if one is None or one.holder != name:
                refused.add(finish.lease.key)
                continue
            one.holder = one.key = None
            if one.cancelled and not isinstance(finish, Cancel):
                self._end(one, "cancelled")
                refused.add(finish.lease.key)
                cancelled.add(finish.lease.key)
                continue
            match finish:
                case Cancel():
                    self._end(one, "cancelled")
                case Done():
                    self._end(one, "done")
                    one.result = finish.result
                case Bury():
                    self._end(one, "dead")
                case Release():
                    one.place = "ready"
                case Again():
                    one.place, one.due_ms = "delayed", now + round(finish.delay * 1000)
                    one.order = next(self.orders)
                    one.attempt += finish.counts
        self._advance()
        self._promote()
        return refused, cancelled

    def _promote(self) -> None:
        now = self._now()
        due = [one for one in self.jobs.values() if one.place == "delayed" and one.due_ms <= now]
        for one in sorted(due, key=lambda one: (one.due_ms, one.order)):
            self._wait_or_be_ready(one, 0)

    def _wait_or_be_ready(self, one: ModelJob, due_ms: int) -> None:
        """Delayed until then, parked for others of its key, or ready."""
        one.order, one.place = next(self.orders), "nowhere"
        one.parked_behind = not due_ms and one.behind in self.tickets.get(one.unique or "", ())
        if due_ms:
            one.place, one.due_ms = "delayed", due_ms
        elif one.parked_behind or (one.limit and not self._may_start(one.limit)):
            one.place = "parked"
        else:
            one.place = "ready"

    def _may_start(self, limit: str) -> bool:
        mine = [one.place for one in self.jobs.values() if one.limit == limit and not one.parked_behind]
        return "parked" not in mine and self._slots(limit) > 0

    def _slots(self, limit: str) -> int:
        mine = [one for one in self.jobs.values() if one.limit == limit and one.place in ("ready", "leased")]
        return (LIMITS[limit].running or 0) - len(mine)

    def _advance(self) -> None:
        """Whoever waits for what is free now is ready."""
        for one in sorted(self.jobs.values(), key=lambda one: (LANES.index(one.lane), one.order)):
            if one.place != "parked":
                continue
            if one.parked_behind and not self.tickets[one.unique or ""]:
                self._wait_or_be_ready(one, 0)
            elif not one.parked_behind and one.limit and self._slots(one.limit) > 0:
                one.place = "ready"

    def _end(self, one: ModelJob, place: str) -> None:
        one.place, one.cancelled = place, False
        if one.unique is not None and self.owners.get(one.unique) == one.number:
            del self.owners[one.unique]
        elif one.unique is not None:
            self.tickets[one.unique].discard(one.job_id)

    def _taken(self, name: str, leases: Sequence[Lease], free: int) -> None:
        ready = sum(one.place == "ready" for one in self.jobs.values())
        assert len(leases) == (0 if self.paused else min(free, ready))
        for lease in leases:
            self._hand_over(name, lease)

    def _hand_over(self, name: str, lease: Lease) -> None:
        one = self.jobs[int(lease.envelope.payload)]
        assert one.place == "ready"
        one.place, one.holder, one.key = "leased", name, lease.key
        assert not lease.cancelled, "nothing that was cancelled is handed over again"
        assert lease.lane == one.lane
        assert (lease.envelope.attempt, lease.envelope.crashes) == (one.attempt, one.crashes)
        assert lease.envelope.id == one.job_id
        assert not one.fences or lease.fence > one.fences[-1], "the fence must rise"
        one.fences.append(lease.fence)

    def _all_crash(self, lost: Sequence[ModelJob], made: Reclaimed, told: str | None) -> None:
        """Their worker died; what was made of them is what should be."""
        came_to = Counter(self._crash(one, told) for one in lost)
        self._advance()
        assert (made.ready, made.dead, made.cancelled) == (
            came_to["ready"],
            came_to["dead"],
            came_to["cancelled"],
        )

    def _crash(self, one: ModelJob, told: str | None) -> str:
        spared = told is not None and told != one.key and one.crashes + 1 < 3 * BUDGET
        one.holder = one.key = None
        one.crashes += 1
        if one.cancelled:
            self._end(one, "cancelled")
        elif one.crashes < BUDGET or spared:
            one.place = "ready"
        else:
            self._end(one, "dead")
        return one.place


def machine(make_rig: Callable[[], Rig], runner: asyncio.Runner, *, time_moves: bool) -> type[BrokerMachine]:
    """The machine for one kind of broker."""
    return type(
        "Machine",
        (BrokerMachine,),
        {
            "make_rig": staticmethod(make_rig),
            "run_async": staticmethod(runner.run),
            "time_moves": time_moves,
            "steps": Counter(),
        },
    )
