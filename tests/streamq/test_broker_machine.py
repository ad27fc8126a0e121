"""Every broker against the model of machine.py; and brokers with a planted bug, which must be caught."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import pytest
import redis.asyncio as aioredis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from streamq.broker import Again, Done, Finish, Lease, Reclaimed
from streamq.clock import ManualClock
from streamq.job import NewJob, Receipt
from streamq.keys import Lane
from streamq.redis_broker import RedisBroker
from streamq.testing import MemoryBroker
from streamq.testing.stores import Fields, LaneStore, StreamStore
from tests.streamq.machine import BrokerMachine, machine
from tests.streamq.rig import Rig

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.soak)])
def test_the_memory_broker_is_as_the_model(
    examples: int, record_property: Callable[[str, object], None]
) -> None:
    with asyncio.Runner() as runner:
        kind = machine(lambda: Rig(MemoryBroker(ManualClock()), None), runner, time_moves=True)
        run_state_machine_as_test(
            kind,
            settings=settings(
                max_examples=examples, stateful_step_count=60, deadline=None, suppress_health_check=QUIET
            ),
        )
    record_property("steps", kind.steps["steps"])
    assert kind.steps["steps"] > 200


@pytest.mark.parametrize("examples", [8, pytest.param(200, marks=pytest.mark.soak)])
def test_the_redis_broker_is_as_the_model(
    server_url: str, examples: int, record_property: Callable[[str, object], None]
) -> None:
    with asyncio.Runner() as runner:
        broker = RedisBroker.from_url(server_url)
        client = aioredis.Redis.from_url(server_url)
        numbers = itertools.count()

        def make_rig() -> Rig:
            rig = Rig(broker, client)
            rig.stream = f"jobs-{next(numbers)}"
            return rig

        kind = machine(make_rig, runner, time_moves=False)
        try:
            run_state_machine_as_test(
                kind,
                settings=settings(
                    max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=QUIET
                ),
            )
        finally:
            runner.run(client.aclose())
            runner.run(broker.close())
    record_property("steps", kind.steps["steps"])
    assert kind.steps["steps"] > 50


# --- planted bugs ------------------------------------------------------------------------------------


class AcksWithoutOwnership(MemoryBroker):
    """Whoever says it is done, it is done."""

    def _holds(self, lane: LaneStore, lease: Lease, worker: str) -> bool:
        return True


class AcksWhatExists(MemoryBroker):
    """Looks whether the entry is in a hand, not in whose."""

    def _holds(self, lane: LaneStore, lease: Lease, worker: str) -> bool:
        return lease.entry_id in lane.pending


class PromotesEarly(MemoryBroker):
    """A millisecond too soon."""

    def _is_due(self, due_ms: int, now: int) -> bool:
        return due_ms <= now + 1


class ReclaimsUnderTheOldId(MemoryBroker):
    """As a plain XAUTOCLAIM does: the old holder's word still counts."""

    def _make_ready_again(self, lane: LaneStore, entry_id: str, fields: Fields, now: int) -> str:
        lane.pending.pop(entry_id)
        lane.log.entries[entry_id] = fields
        lane.ready.appendleft(entry_id)
        return entry_id


class RetriesWithoutLettingGo(MemoryBroker):
    """The retry is added, the entry stays in the hand."""

    def _finish(self, store: StreamStore, worker: str, finish: Finish, now: int) -> bool:
        lane = store.lanes[finish.lease.lane]
        held = lane.pending.get(finish.lease.entry_id)
        entry = lane.log.entries.get(finish.lease.entry_id)
        done = super()._finish(store, worker, finish, now)
        if done and isinstance(finish, Again) and held is not None and entry is not None:
            lane.pending[finish.lease.entry_id] = held
            lane.log.entries[finish.lease.entry_id] = entry
        return done


class DropsBeforeItAdds(MemoryBroker):
    """A retry that is acknowledged and then forgotten."""

    def _finish(self, store: StreamStore, worker: str, finish: Finish, now: int) -> bool:
        before = list(store.delayed)
        done = super()._finish(store, worker, finish, now)
        if done and isinstance(finish, Again) and finish.delay:
            store.delayed = before
        return done


class RemembersKeysAfterAllWereAdded(MemoryBroker):
    """Looks for duplicates, adds, and only then writes down what was added."""

    def _add_all(self, store: StreamStore, jobs: Sequence[NewJob], now: int) -> list[Receipt]:
        firsts = [self._first_of(store, job, now) for job in jobs]
        for job, first in zip(jobs, firsts, strict=True):
            if first is None:
                self._add(store, job, now)
        for job, first in zip(jobs, firsts, strict=True):
            if first is None:
                self._remember(store, job, now)
        return [
            Receipt(first or job.id, created=first is None) for job, first in zip(jobs, firsts, strict=True)
        ]


class ForgetsTurns(MemoryBroker):
    """A repeated turn is applied again."""

    def _finish_all(
        self, store: StreamStore, worker: str, sequence: int, finished: Sequence[Finish], now: int
    ) -> frozenset[str]:
        store.turns.clear()
        return super()._finish_all(store, worker, sequence, finished, now)


class ForgetsCancellations(MemoryBroker):
    """A running job is to be cancelled; its worker says that it is done, and it is."""

    def _finish(self, store: StreamStore, worker: str, finish: Finish, now: int) -> bool:
        store.cancels.clear()
        return super()._finish(store, worker, finish, now)


class GivesTheCancelledToTheNext(MemoryBroker):
    """The worker of a cancelled job dies, and another one is given it."""

    def _take_back(
        self,
        store: StreamStore,
        entries: Sequence[tuple[Lane, str]],
        crash_budget: int,
        blamed: str | None = None,
    ) -> Reclaimed:
        asked, store.cancels = store.cancels, {}
        try:
            return super()._take_back(store, entries, crash_budget, blamed)
        finally:
            store.cancels = asked


class BlamesWhoeverWasBeside(MemoryBroker):
    """A job is buried though its worker named another."""

    def _take_back(
        self,
        store: StreamStore,
        entries: Sequence[tuple[Lane, str]],
        crash_budget: int,
        blamed: str | None = None,
    ) -> Reclaimed:
        return super()._take_back(store, entries, crash_budget)


class KeepsSlots(MemoryBroker):
    """A job that waits for its retry holds its slot."""

    def _finish(self, store: StreamStore, worker: str, finish: Finish, now: int) -> bool:
        held = {name: dict(group.held) for name, group in store.by_key.groups.items()}
        done = super()._finish(store, worker, finish, now)
        if done and isinstance(finish, Again):
            for name, slots in held.items():
                store.by_key.of(name).held.update(slots)
        return done


class CountsRunningOnly(MemoryBroker):
    """What is ready and not yet taken counts for nothing."""

    def _promote(self, store: StreamStore, now: int) -> None:
        for group in store.by_key.groups.values():
            group.held = {place: runs for place, runs in group.held.items() if runs}
        super()._promote(store, now)


class ReplacesWhatRuns(MemoryBroker):
    """The next of a uniqueness key does not wait for the one that runs."""

    def _promote(self, store: StreamStore, now: int) -> None:
        for name in [name for name in store.by_key.groups if name.startswith("u")]:
            store.by_key.of(name).held.clear()
            store.by_key.advance(name, now)
        super()._promote(store, now)


class ForgetsTheValueOfARetry(MemoryBroker):
    """What a handler returned is kept only where it did at once."""

    def _finish(self, store: StreamStore, worker: str, finish: Finish, now: int) -> bool:
        if isinstance(finish, Done) and finish.lease.envelope.attempt > 1:
            finish = Done(finish.lease, finish.duration)
        return super()._finish(store, worker, finish, now)


def _look(one: BrokerMachine) -> None:
    one.every_job_is_in_exactly_one_place()
    one.what_is_in_hand_is_in_the_right_hand()
    one.the_delayed_and_the_dead_are_as_counted()


def a_retry_among_others_of_its_key(one: BrokerMachine) -> None:
    for _ in range(2):
        one.enqueue(lane="normal", unique=None, delay=0.0, limit="one")
    one.take(name="alice", free=1)
    for kind in ("retry", "done"):
        one.finish_what_is_in_hand(kind=kind, delay=30.0, lease=0, free=0)
        one.take(name="alice", free=1)
    one.enqueue(lane="normal", unique=None, delay=0.0, limit="one")
    _look(one)


def one_is_due_while_another_of_its_key_waits(one: BrokerMachine) -> None:
    for delay in (0.0, 0.5):
        one.enqueue(lane="normal", unique=None, delay=delay, limit="one")
    one.time_passes(seconds=1.0)
    for _ in range(2):
        one.take(name="alice", free=1)
    _look(one)


def a_running_one_is_cancelled(one: BrokerMachine) -> None:
    one.enqueue(lane="normal", unique=None, delay=0.0, limit=None)
    one.take(name="alice", free=1)
    one.cancel(which=0)
    one.finish_what_is_in_hand(kind="done", delay=0.0, lease=0, free=0)
    _look(one)


def a_job_dies_beside_another(one: BrokerMachine) -> None:
    for _ in range(2):
        one.enqueue(lane="normal", unique=None, delay=0.0, limit=None)
    for _ in range(2):
        one.take(name="alice", free=2)
        one.renew(name="alice", blamed=len(one.workers["alice"].seen) - 1)
        one.reclaim(name="alice", view="right")
    _look(one)


def the_next_waits_for_one_that_runs(one: BrokerMachine) -> None:
    one.replace(lane="normal", unique="k1", delay=0.0, limit=None)
    one.take(name="alice", free=1)
    one.replace(lane="normal", unique="k1", delay=0.0, limit=None)
    one.take(name="bob", free=1)
    _look(one)
    one.finish_what_is_in_hand(kind="done", delay=0.0, lease=0, free=0)
    one.take(name="bob", free=1)
    _look(one)


def a_retry_is_put_off(one: BrokerMachine) -> None:
    one.enqueue(lane="normal", unique=None, delay=0.0, limit=None)
    one.take(name="alice", free=1)
    one.finish_what_is_in_hand(kind="retry", delay=0.5, lease=0, free=0)
    _look(one)


def a_retry_returns_a_value(one: BrokerMachine) -> None:
    one.enqueue(lane="normal", unique=None, delay=0.0, limit=None)
    for kind in ("retry", "done with a value"):
        one.take(name="alice", free=1)
        one.finish_what_is_in_hand(kind=kind, delay=0.0, lease=0, free=0)
    one.find(which=0)


def a_delayed_one_is_almost_due(one: BrokerMachine) -> None:
    one.enqueue(lane="normal", unique=None, delay=0.5, limit=None)
    one.time_passes(seconds=0.499)
    one.take(name="alice", free=1)
    _look(one)


#: What chance comes upon in some searches only, or after ten seconds of them, with a history that shows it.
RARE: dict[type[MemoryBroker], Callable[[BrokerMachine], None]] = {
    KeepsSlots: a_retry_among_others_of_its_key,
    CountsRunningOnly: one_is_due_while_another_of_its_key_waits,
    ForgetsCancellations: a_running_one_is_cancelled,
    BlamesWhoeverWasBeside: a_job_dies_beside_another,
    ReplacesWhatRuns: the_next_waits_for_one_that_runs,
    DropsBeforeItAdds: a_retry_is_put_off,
    ForgetsTheValueOfARetry: a_retry_returns_a_value,
    PromotesEarly: a_delayed_one_is_almost_due,
}


@pytest.mark.parametrize("mutant", RARE, ids=lambda mutant: mutant.__name__)
def test_a_rare_planted_bug_is_caught_by_a_history_that_a_right_broker_passes(
    mutant: type[MemoryBroker],
) -> None:
    with asyncio.Runner() as runner:
        RARE[mutant](machine(lambda: Rig(MemoryBroker(ManualClock()), None), runner, time_moves=True)())
        with pytest.raises(AssertionError):
            RARE[mutant](machine(lambda: Rig(mutant(ManualClock()), None), runner, time_moves=True)())


MUTANTS: list[type[MemoryBroker]] = [
    GivesTheCancelledToTheNext,
    AcksWithoutOwnership,
    AcksWhatExists,
    ReclaimsUnderTheOldId,
    RetriesWithoutLettingGo,
    RemembersKeysAfterAllWereAdded,
    ForgetsTurns,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_planted_bug_is_caught(mutant: type[MemoryBroker]) -> None:
    with asyncio.Runner() as runner:
        kind = machine(lambda: Rig(mutant(ManualClock()), None), runner, time_moves=True)
        with pytest.raises(AssertionError):
            run_state_machine_as_test(
                kind,
                settings=settings(
                    max_examples=400,
                    stateful_step_count=50,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=QUIET,
                ),
            )
