"""One round trip: idempotent by its number, effective only for who holds the lease."""

from __future__ import annotations

import pytest

from streamq.broker import Again, Bury, Done, Release, Retention
from tests.streamq.rig import FINISHES, Rig, ids, job


async def test_a_job_is_in_one_hand_at_a_time(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(5)))
    alice = await rig.hand("alice").take(3)
    bob = await rig.hand("bob").take(5)
    assert (len(alice), len(bob)) == (3, 2)
    assert not set(ids(alice)) & set(ids(bob))
    assert await rig.hand("carol").take(5) == []


async def test_no_free_slot_takes_nothing(rig: Rig) -> None:
    await rig.put(job())
    assert (await rig.hand().turn(free=0)).leases == ()
    assert await rig.places() == {"ready": 1}


async def test_a_done_job_leaves_a_record(rig: Rig) -> None:
    job_id = await rig.put_one()
    worker = rig.hand()
    assert await worker.finish(Done(await worker.take_one(), duration=1.25)) == frozenset()
    (record,) = await rig.broker.done(rig.stream)
    assert (record.job_id, record.attempt, record.duration) == (job_id, 1, 1.25)
    assert await rig.places() == {"done": 1}


async def test_a_retry_keeps_id_and_first_enqueue_and_raises_the_attempt(rig: Rig) -> None:
    await rig.put(job({"n": 1}, headers={"h": "v"}, timeout=3.0))
    worker = rig.hand()
    first = await worker.take_one()
    await rig.let_pass(0.005)
    await worker.finish(Again(first, delay=0.02, counts=True))
    assert await rig.places() == {"delayed": 1}
    await rig.let_pass(0.03)
    second = await worker.take_one()
    assert second.envelope.attempt == 2
    assert second.envelope.crashes == 0
    for same in ("id", "payload", "enqueued_ms", "headers", "timeout", "lane", "retry"):
        assert getattr(second.envelope, same) == getattr(first.envelope, same)
    assert second.envelope.eligible_ms >= first.envelope.enqueued_ms + 20
    assert second.fence > first.fence


async def test_a_snooze_counts_no_attempt(rig: Rig) -> None:
    await rig.put(job())
    worker = rig.hand()
    lease = await worker.take_one()
    for _ in range(3):
        (lease,) = (await worker.turn(Again(lease, delay=0, counts=False), free=1)).leases
    assert (lease.envelope.attempt, lease.envelope.crashes) == (1, 0)
    counters = (await rig.stats()).counters
    assert counters["snoozed"] == 3
    assert "retried" not in counters


async def test_a_released_job_is_ready_at_once_with_nothing_counted(rig: Rig) -> None:
    await rig.put(job())
    alice, bob = rig.hand("alice"), rig.hand("bob")
    first = await alice.take_one()
    await alice.finish(Release(first))
    assert await rig.places() == {"ready": 1}
    second = await bob.take_one()
    assert (second.envelope.id, second.envelope.attempt, second.envelope.crashes) == (
        first.envelope.id, 1, 0,
    )  # fmt: skip
    assert second.envelope.enqueued_ms == first.envelope.enqueued_ms
    assert second.fence > first.fence


async def test_a_released_job_keeps_the_attempts_and_crashes_it_had(rig: Rig) -> None:
    await rig.put(job())
    worker, heir = rig.hand("alice"), rig.hand("bob")
    await worker.turn(Again(await worker.take_one(), delay=0, counts=True), free=1)
    await rig.kill(worker)
    lease = await heir.take_one()
    (lease,) = (await heir.turn(Release(lease), free=1)).leases
    assert (lease.envelope.attempt, lease.envelope.crashes) == (2, 1)


async def test_one_turn_ends_some_and_takes_others(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(8)))
    worker = rig.hand()
    a, b, c, d = await worker.take(4)
    turn = await worker.turn(
        Release(d), Again(b, delay=60, counts=True), Bury(c, reason="no"), Done(a), free=4
    )
    assert turn.refused == frozenset()
    assert len(turn.leases) == 4
    assert await rig.places() == {"ready": 1, "leased": 4, "delayed": 1, "dead": 1, "done": 1}


async def test_an_ended_delivery_cannot_be_ended_again(rig: Rig) -> None:
    await rig.put(job())
    worker = rig.hand()
    lease = await worker.take_one()
    await worker.finish(Done(lease))
    for finish in FINISHES.values():
        assert await worker.finish(finish(lease)) == {lease.key}
    assert await rig.places() == {"done": 1}


@pytest.mark.parametrize("kind", FINISHES)
async def test_only_the_holder_may_end_a_delivery(rig: Rig, kind: str) -> None:
    """Also not one who names it right, alone or among many of its own."""
    await rig.put(*(job(n) for n in range(6)))
    alice, mallory = rig.hand("alice"), rig.hand("mallory")
    lease = await alice.take_one()
    assert await mallory.finish(FINISHES[kind](lease)) == {lease.key}
    own = [Done(held) for held in await mallory.take(5)]
    assert await mallory.finish(FINISHES[kind](lease), *own) == {lease.key}
    assert await rig.places() == {"leased": 1, "done": 5}
    assert await alice.finish(FINISHES[kind](lease)) == frozenset()


@pytest.mark.parametrize("kind", FINISHES)
async def test_a_delivery_named_twice_in_one_turn_ends_once(rig: Rig, kind: str) -> None:
    await rig.put(job())
    worker = rig.hand()
    lease = await worker.take_one()
    await worker.turn(FINISHES[kind](lease), FINISHES[kind](lease))
    assert sum((await rig.places()).values()) == 1


@pytest.mark.parametrize("kind", FINISHES)
async def test_a_repeated_turn_applies_nothing_twice(rig: Rig, kind: str) -> None:
    # Given a worker with a job to end, and one it has lost
    await rig.put(job(1), job(2))
    worker = rig.hand()
    held, lost = await worker.take(2)
    await worker.finish(Done(lost))
    # When the reply is lost and the worker says it again
    finishes = (FINISHES[kind](held), FINISHES[kind](lost))
    first = await worker.turn(*finishes)
    places, counters = await rig.places(), (await rig.stats()).counters
    again = await worker.repeat(*finishes)
    # Then
    assert first.refused == again.refused == {lost.key}
    assert await rig.places() == places
    assert (await rig.stats()).counters == counters


async def test_a_repeated_turn_takes_anew_and_the_first_reply_is_found_again(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(4)))
    worker = rig.hand()
    lost_reply = await worker.turn(free=2)
    answer = await worker.repeat(free=2)
    assert not set(ids(lost_reply.leases)) & set(ids(answer.leases))
    found = await rig.broker.adopt(rig.stream, worker.name, answer.leases)
    assert found == lost_reply.leases
    assert await rig.broker.adopt(rig.stream, worker.name, [*answer.leases, *found]) == ()
    assert await worker.finish(*(Done(lease) for lease in found)) == frozenset()


async def test_what_another_worker_holds_is_not_adopted(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    await rig.hand("alice").take_one()
    bob = rig.hand("bob")
    mine = await bob.take_one()
    assert await rig.broker.adopt(rig.stream, "bob", []) == (mine,)


async def test_two_workers_with_equal_turn_numbers_do_not_disturb_each_other(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    alice, bob = rig.hand("alice"), rig.hand("bob")
    hers, his = await alice.take_one(), await bob.take_one()
    assert alice.sequence == bob.sequence
    assert await alice.finish(Done(hers)) == frozenset()
    assert await bob.finish(Done(his)) == frozenset()
    assert await rig.places() == {"done": 2}


async def test_completed_records_are_kept_by_count(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(6)))
    worker = rig.hand()
    taken = await worker.take(6)
    await worker.turn(*(Done(lease) for lease in taken), retention=Retention(done_count=2))
    records = await rig.broker.done(rig.stream)
    assert [record.job_id for record in records] == [taken[5].envelope.id, taken[4].envelope.id]
    assert (await rig.stats()).counters["done"] == 6


async def test_the_fence_rises_with_every_delivery_whatever_the_way(rig: Rig) -> None:
    await rig.put(job())
    alice, bob = rig.hand("alice"), rig.hand("bob")
    deliveries = [await alice.take_one()]
    deliveries += (await alice.turn(Release(deliveries[-1]), free=1)).leases
    deliveries += (await alice.turn(Again(deliveries[-1], delay=0, counts=True), free=1)).leases
    await rig.kill(alice)
    deliveries += await bob.take()
    await bob.finish(Bury(deliveries[-1], reason="x"))
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    deliveries += await bob.take()
    fences = [lease.fence for lease in deliveries]
    assert len(fences) == 5
    assert fences == sorted(set(fences))
