"""Sleeping without polling: a wait ends when there is something to do, and not before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from streamq.broker import Bury, Done, Release, Wakeup
from tests.streamq.rig import PATIENCE, Rig, eventually, job

#: A timeout that a passing test never reaches, seconds.
LONG = 30.0


class _Sleeper:
    """A wait that runs while the test does something to end it."""

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.wakeup: Wakeup | None = None

    async def result(self) -> Wakeup:
        with anyio.fail_after(PATIENCE):
            await self.ended.wait()
        assert self.wakeup is not None
        return self.wakeup


async def _settle(rig: Rig, name: str = "alice") -> None:
    """The worker has waited before: the stream is set up, and old knocks are answered."""
    for _ in range(2):
        await rig.broker.wait(rig.stream, name, timeout=0)


@asynccontextmanager
async def _asleep(rig: Rig, name: str = "alice") -> AsyncIterator[_Sleeper]:
    """A worker that waits, and has nothing left to wake up for from before."""
    await _settle(rig, name)
    before = await rig.sleepers()
    sleeper = _Sleeper()

    async def asleep() -> bool:
        return await rig.sleepers() > before

    async def sleep() -> None:
        sleeper.wakeup = await rig.broker.wait(rig.stream, name, timeout=LONG)
        sleeper.ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep)
        await eventually(asleep)
        yield sleeper
        await sleeper.result()


async def test_a_job_that_is_there_already_ends_the_wait_at_once(rig: Rig) -> None:
    await _settle(rig)
    job_id = await rig.put_one()
    with anyio.fail_after(PATIENCE):
        wakeup = await rig.broker.wait(rig.stream, "alice", timeout=LONG)
    (lease,) = wakeup.leases
    assert lease.envelope.id == job_id
    assert not wakeup.paused
    assert abs(wakeup.server_ms - await rig.now_ms()) < PATIENCE * 1000
    assert await rig.hand().finish(Done(lease)) == frozenset()


@pytest.mark.parametrize("lane", ["high", "normal", "low"])
async def test_an_enqueue_wakes_the_sleeper_in_every_lane(rig: Rig, lane: str) -> None:
    async with _asleep(rig) as sleeper:
        job_id = await rig.put_one(lane=lane)
        (lease,) = (await sleeper.result()).leases
        assert (lease.envelope.id, lease.lane) == (job_id, lane)


async def test_a_foreign_producer_wakes_the_sleeper(rig: Rig) -> None:
    async with _asleep(rig) as sleeper:
        entry_id = await rig.inject({"payload": "1"})
        (lease,) = (await sleeper.result()).leases
        assert lease.envelope.id == entry_id


async def test_the_new_earliest_delayed_job_wakes_the_sleeper(rig: Rig) -> None:
    async with _asleep(rig) as sleeper:
        await rig.put(job(delay=60))
        wakeup = await sleeper.result()
        assert (wakeup.leases, wakeup.knocked) == ((), True)
    turn = await rig.hand().turn()
    assert turn.next_due is not None


async def test_a_job_that_is_due_later_than_the_earliest_wakes_nobody(rig: Rig) -> None:
    await rig.put(job(delay=60))
    async with _asleep(rig) as sleeper:
        await rig.put(job("later", delay=120))
        await rig.put(job("now"))
        (lease,) = (await sleeper.result()).leases
        assert lease.envelope.payload == b'"now"'


async def test_one_knock_wakes_one_sleeper(rig: Rig) -> None:
    async with _asleep(rig, "alice") as alice, _asleep(rig, "bob") as bob:
        await rig.put(job(delay=60))

        async def one_is_awake() -> bool:
            return alice.ended.is_set() or bob.ended.is_set()

        await eventually(one_is_awake)
        await rig.hand("carol").turn()
        assert not (alice.ended.is_set() and bob.ended.is_set())
        await rig.put(job())
        await alice.result()
        await bob.result()


async def test_a_job_made_ready_by_a_reclaim_wakes_the_sleeper(rig: Rig) -> None:
    await rig.put(job())
    bob = rig.hand("bob")
    await bob.take_one()
    async with _asleep(rig, "alice") as sleeper:
        await rig.kill(bob)
        (lease,) = (await sleeper.result()).leases
        assert lease.envelope.crashes == 1


async def test_a_requeued_dead_letter_wakes_the_sleeper(rig: Rig) -> None:
    job_id = await rig.put_one()
    bob = rig.hand("bob")
    await bob.finish(Bury(await bob.take_one(), reason="x"))
    (letter,) = await rig.broker.dead(rig.stream)
    async with _asleep(rig) as sleeper:
        await rig.broker.requeue(rig.stream, [letter.entry_id])
        (lease,) = (await sleeper.result()).leases
        assert lease.envelope.id == job_id


async def test_resuming_wakes_the_sleeper(rig: Rig) -> None:
    await rig.broker.set_paused(rig.stream, paused=True)
    async with _asleep(rig) as sleeper:
        await rig.broker.set_paused(rig.stream, paused=False)
        assert not (await sleeper.result()).paused


async def test_a_wait_in_vain_ends_after_its_timeout(rig: Rig) -> None:
    await _settle(rig)
    async with _asleep_or_done(rig) as sleeper:
        while not sleeper.ended.is_set():  # on a clock that is set by hand it begins after the first step
            await rig.let_pass(0.06)
            await anyio.lowlevel.checkpoint()
        assert (await sleeper.result()).leases == ()


async def test_a_wait_on_a_paused_stream_tells_so(rig: Rig) -> None:
    alice = rig.hand()
    await _settle(rig)
    await rig.broker.set_paused(rig.stream, paused=True)
    await rig.put(job())
    async with _asleep_or_done(rig) as sleeper:
        await rig.let_pass(0.06)
        wakeup = await sleeper.result()
    assert wakeup.paused
    # What may have come all the same is handed back and waits.
    assert await alice.finish(*(Release(lease) for lease in wakeup.leases)) == frozenset()
    assert await rig.places() == {"ready": 1}


@asynccontextmanager
async def _asleep_or_done(rig: Rig) -> AsyncIterator[_Sleeper]:
    sleeper = _Sleeper()

    async def sleep() -> None:
        sleeper.wakeup = await rig.broker.wait(rig.stream, "alice", timeout=0.05)
        sleeper.ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep)
        await anyio.lowlevel.checkpoint()
        yield sleeper


async def test_a_wait_brings_one_job_a_lane_at_most(rig: Rig) -> None:
    await _settle(rig)
    await rig.put(*(job(lane=lane) for lane in ("low", "normal", "high") for _ in range(3)))
    wakeup = await rig.broker.wait(rig.stream, "alice", timeout=LONG)
    assert [lease.lane for lease in wakeup.leases] == ["high", "normal", "low"]
    assert (await rig.places()) == {"ready": 6, "leased": 3}


async def test_what_a_cancelled_wait_was_given_is_found_by_adopt(rig: Rig) -> None:
    alice = rig.hand()
    await _settle(rig)
    with anyio.move_on_after(0.02) as scope:
        await rig.broker.wait(rig.stream, "alice", timeout=LONG)
    assert scope.cancelled_caught
    job_id = await rig.put_one()
    # The server may still have given it to the wait that is no more.
    found = [*await rig.broker.adopt(rig.stream, "alice", []), *await alice.take()]
    assert [lease.envelope.id for lease in found] == [job_id]
    assert await alice.finish(Done(found[0])) == frozenset()


async def test_many_sleepers_share_many_jobs(rig: Rig) -> None:
    done: set[str] = set()
    receipts: set[str] = set()

    async def work(name: str) -> None:
        hand = rig.hand(name)
        while len(done) < 40:
            wakeup = await rig.broker.wait(rig.stream, name, timeout=0.2)
            if await hand.finish(*(Done(lease) for lease in wakeup.leases)) == frozenset():
                done.update(lease.envelope.id for lease in wakeup.leases)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for n in range(4):
                tasks.start_soon(work, f"worker-{n}")
            for n in range(40):
                receipts.add(await rig.put_one(payload=n))

            async def all_are_done() -> bool:
                return len(done) == 40

            await eventually(all_are_done)
            await rig.let_pass(0.2)
    assert done == receipts
    assert (await rig.stats()).counters["done"] == 40
