"""A delayed job is never early, and whoever waits knows when it is due."""

from __future__ import annotations

import anyio
import pytest

from streamq.broker import Again
from tests.streamq.rig import PATIENCE, Rig, ids, job


async def test_a_delayed_job_is_not_taken_before_its_time(rig: Rig) -> None:
    enqueued_from = await rig.now_ms()
    job_id = await rig.put_one(delay=0.15)
    worker = rig.hand()
    with anyio.fail_after(PATIENCE):
        while not (turn := await worker.turn(free=1)).leases:
            assert turn.next_due is not None
            assert 0 < turn.next_due <= 0.15
            await rig.let_pass(turn.next_due)
    (lease,) = turn.leases
    assert lease.envelope.id == job_id
    assert turn.server_ms >= lease.envelope.eligible_ms >= enqueued_from + 150
    assert lease.envelope.eligible_ms - lease.envelope.enqueued_ms == 150
    assert turn.next_due is None


async def test_next_due_is_that_of_the_earliest_job(rig: Rig) -> None:
    await rig.put(job(delay=500), job(delay=60), job(delay=90))
    turn = await rig.hand().turn(free=3)
    assert turn.leases == ()
    assert turn.next_due == pytest.approx(60, abs=5)


async def test_without_delayed_jobs_nothing_is_due(rig: Rig) -> None:
    await rig.put(job())
    assert (await rig.hand().turn(free=1)).next_due is None


async def test_due_jobs_are_taken_in_the_order_they_are_due(rig: Rig) -> None:
    # In one call: three that are each late would be due in another order.
    receipts = await rig.put(*(job(delay=seconds) for seconds in (0.09, 0.03, 0.06)))
    late, early, middle = [receipt.job_id for receipt in receipts]
    await rig.let_pass(0.1)
    assert ids(await rig.hand().take(3)) == [early, middle, late]


async def test_a_moment_of_the_clock_can_be_named_and_wins_over_a_delay(rig: Rig) -> None:
    at = (await rig.now_ms()) / 1000 + 120
    await rig.put(job(at=at, delay=5))
    ((envelope, due),) = await rig.broker.delayed(rig.stream)
    assert due == pytest.approx(at, abs=0.0011)
    assert due >= at - 1e-6, "later rather than early"
    assert envelope.attempt == 1


async def test_a_moment_in_the_past_is_now(rig: Rig) -> None:
    await rig.put(job(at=12.0))
    (lease,) = await rig.hand().take(1)
    assert lease.envelope.enqueued_ms > 12_000


async def test_the_delayed_are_listed_earliest_first_and_bounded(rig: Rig) -> None:
    job_ids = [await rig.put_one(delay=seconds) for seconds in (300, 100, 200)]
    listed = await rig.broker.delayed(rig.stream)
    assert [envelope.id for envelope, _ in listed] == [job_ids[1], job_ids[2], job_ids[0]]
    dues = [due for _, due in listed]
    assert dues == sorted(dues)
    assert [e.id for e, _ in await rig.broker.delayed(rig.stream, limit=1)] == [job_ids[1]]


async def test_many_jobs_due_at_once_all_come_out_each_once(rig: Rig) -> None:
    await rig.put(*(job(n, delay=0.01) for n in range(250)))
    await rig.let_pass(0.02)
    worker = rig.hand()
    taken: list[str] = []
    with anyio.fail_after(PATIENCE):
        while len(taken) < 250:
            taken += ids(await worker.take(1000))
    assert len(set(taken)) == len(taken) == 250
    assert await rig.places() == {"leased": 250}


async def test_two_jobs_with_one_id_that_are_both_delayed_are_both_kept(rig: Rig) -> None:
    # Given: foreign producers may send an id twice
    await rig.inject({"payload": "first", "id": "twin"})
    await rig.inject({"payload": "second", "id": "twin"})
    worker = rig.hand()
    first, second = await worker.take(2)
    # When
    refused = await worker.finish(
        Again(first, delay=0.02, counts=True), Again(second, delay=0.01, counts=True)
    )
    # Then
    assert refused == frozenset()
    assert await rig.places() == {"delayed": 2}
    await rig.let_pass(0.03)
    taken = await worker.take(3)
    assert sorted(lease.envelope.payload for lease in taken) == [b"first", b"second"]
    assert ids(taken) == ["twin", "twin"]


async def test_several_workers_that_promote_at_once_take_each_job_once(rig: Rig) -> None:
    await rig.put(*(job(n, delay=0.01) for n in range(60)))
    await rig.let_pass(0.02)
    taken: list[str] = []

    async def work(name: str) -> None:
        worker = rig.hand(name)
        while leases := await worker.take(3):
            taken.extend(ids(leases))

    async with anyio.create_task_group() as tasks:
        for n in range(6):
            tasks.start_soon(work, f"worker-{n}")
    assert len(taken) == len(set(taken)) == 60
