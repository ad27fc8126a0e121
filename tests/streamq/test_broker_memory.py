"""What only the in-memory broker shows: long windows by a clock moved by hand, threads, its own waits."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import pytest

from streamq.broker import Again, Broker, Done, Wakeup
from streamq.clock import ManualClock, SystemClock
from streamq.keys import CALL_WINDOW, JOB_ID_WINDOW, UNTIL_DONE_LIMIT
from streamq.testing import MemoryBroker
from tests.streamq.rig import BUDGET, PATIENCE, Rig, job


def test_it_is_a_broker() -> None:
    broker: Broker = MemoryBroker()
    assert repr(broker) == "<MemoryBroker empty>"


async def test_its_repr_says_what_lies_where(memory_rig: Rig) -> None:
    await memory_rig.put(job(1), job(2), job(delay=5))
    worker = memory_rig.hand()
    await worker.finish(Done(await worker.take_one()))
    assert repr(memory_rig.broker) == "<MemoryBroker jobs: 1 ready, 0 leased, 1 delayed, 0 dead, 1 done>"


async def test_a_call_is_remembered_for_a_minute(memory_rig: Rig, clock: ManualClock) -> None:
    one = job(1)
    await memory_rig.put(one, call_id="c")
    clock.advance(CALL_WINDOW - 0.001)
    await memory_rig.put(one, call_id="c")
    assert await memory_rig.places() == {"ready": 1}
    clock.advance(0.001)
    await memory_rig.put(one, call_id="c")
    assert await memory_rig.places() == {"ready": 2}


async def test_a_chosen_id_is_remembered_for_a_day(memory_rig: Rig, clock: ManualClock) -> None:
    await memory_rig.put_one(id="x", id_is_callers=True)
    clock.advance(JOB_ID_WINDOW - 0.001)
    (within,) = await memory_rig.put(job(id="x", id_is_callers=True))
    clock.advance(0.001)
    (after,) = await memory_rig.put(job(id="x", id_is_callers=True))
    assert (within.created, after.created) == (False, True)


async def test_a_key_held_until_the_end_outlives_every_retry(memory_rig: Rig, clock: ManualClock) -> None:
    await memory_rig.put_one(unique="k")
    worker = memory_rig.hand()
    for _ in range(5):
        await worker.finish(Again(await worker.take_one(), delay=UNTIL_DONE_LIMIT / 2, counts=True))
        clock.advance(UNTIL_DONE_LIMIT / 2)
    (second,) = await memory_rig.put(job(unique="k"))
    assert not second.created


async def test_a_delayed_job_is_due_to_the_millisecond(memory_rig: Rig, clock: ManualClock) -> None:
    worker = memory_rig.hand()
    for delay in (0.001, 0.07, 0.1, 1.1, 3.3, 86_400.123):
        await memory_rig.put(job(delay=delay))
        clock.advance(delay - 0.001)
        assert await worker.take() == []
        clock.advance(0.001)
        assert await worker.finish(Done(await worker.take_one())) == frozenset()


async def test_a_clock_that_goes_back_makes_no_lower_fence(memory_rig: Rig, clock: ManualClock) -> None:
    await memory_rig.put(job())
    worker = memory_rig.hand()
    fences = []
    for _ in range(5):
        lease = await worker.take_one()
        fences.append(lease.fence)
        clock.advance(-3600)
        await worker.finish(Again(lease, delay=0, counts=False))
    assert fences == sorted(set(fences))


async def test_a_wait_ends_when_the_clock_is_moved_past_its_timeout(
    memory_rig: Rig, clock: ManualClock
) -> None:
    ended: list[Wakeup] = []

    async def sleep() -> None:
        ended.append(await memory_rig.broker.wait("jobs", "alice", timeout=10))

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sleep)
            await anyio.wait_all_tasks_blocked()
            clock.advance(9.9)
            await anyio.wait_all_tasks_blocked()
            assert ended == []
            clock.advance(0.1)
    assert ended[0].leases == ()


async def test_on_the_systems_clock_a_wait_ends_by_itself() -> None:
    broker = MemoryBroker(SystemClock())
    with anyio.fail_after(PATIENCE):
        wakeup = await broker.wait("jobs", "alice", timeout=0.01)
    assert wakeup.leases == ()


async def test_on_the_systems_clock_a_delayed_job_comes_by_itself() -> None:
    broker = MemoryBroker(SystemClock())
    await broker.enqueue("jobs", [job(delay=0.03)], call_id="c")
    with anyio.fail_after(PATIENCE):
        sequence = 1
        while not (turn := await broker.turn("jobs", "alice", sequence=sequence, free=1)).leases:
            assert turn.next_due is not None
            await broker.wait("jobs", "alice", timeout=turn.next_due)
            sequence += 1


async def test_a_job_from_another_thread_wakes_a_sleeper(memory_rig: Rig) -> None:
    broker = memory_rig.broker
    assert isinstance(broker, MemoryBroker)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:

            async def sleep() -> None:
                wakeup = await broker.wait("jobs", "alice", timeout=60)
                assert len(wakeup.leases) == 1

            tasks.start_soon(sleep)
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(
                lambda: broker.enqueue_blocking("jobs", [job()], call_id="from a thread")
            )


def test_producers_in_many_threads_lose_nothing() -> None:
    broker = MemoryBroker()

    def produce(number: int) -> None:
        for n in range(50):
            broker.enqueue_blocking("jobs", [job(n, unique=f"key-{n}")], call_id=f"{number}-{n}")

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = anyio.run(broker.stats, "jobs")
    assert stats.ready["normal"] == stats.counters["enqueued"] == 50


async def test_a_cancelled_wait_leaves_no_sleeper_behind(memory_rig: Rig) -> None:
    with anyio.move_on_after(0.001):
        await memory_rig.broker.wait("jobs", "alice", timeout=60)
    assert await memory_rig.sleepers() == 0


async def test_flush_forgets_everything_and_the_next_verbs_work(memory_rig: Rig) -> None:
    broker = memory_rig.broker
    assert isinstance(broker, MemoryBroker)
    await memory_rig.put(job(1), job(2, delay=9))
    worker = memory_rig.hand()
    lease = await worker.take_one()
    broker.flush()
    assert worker.renew(lease).lost == {lease.key}
    assert await worker.finish(Done(lease)) == {lease.key}
    assert await memory_rig.places() == {}
    job_id = await memory_rig.put_one()
    assert (await worker.take_one()).envelope.id == job_id


async def test_a_sweep_goes_by_the_clock_it_was_given(memory_rig: Rig, clock: ManualClock) -> None:
    await memory_rig.put(job())
    await memory_rig.broker.wait("jobs", "stranger", timeout=0)
    clock.advance(9.999)
    assert (await memory_rig.broker.sweep("jobs", idle=10, crash_budget=BUDGET)).ready == 0
    clock.advance(0.001)
    assert (await memory_rig.broker.sweep("jobs", idle=10, crash_budget=BUDGET)).ready == 1


@pytest.mark.parametrize("verb", ["stats", "delayed", "dead", "done", "pending"])
async def test_looking_changes_nothing(memory_rig: Rig, verb: str) -> None:
    await memory_rig.put(job(1), job(2, delay=5))
    await memory_rig.hand().take_one()
    before = await memory_rig.stats()
    await getattr(memory_rig.broker, verb)("jobs")
    assert await memory_rig.stats() == before
