"""A job is added once, its receipt says so, and a duplicate names the first one."""

from __future__ import annotations

import anyio

from streamq.broker import Again, Bury, Done
from streamq.retry import Retry
from tests.streamq.rig import Rig, ids, job


async def test_jobs_are_taken_in_the_order_they_were_enqueued(rig: Rig) -> None:
    receipts = await rig.put(*(job(n) for n in range(20)))
    taken = await rig.hand().take(20)
    assert ids(taken) == [receipt.job_id for receipt in receipts]
    assert [lease.envelope.payload for lease in taken] == [b"%d" % n for n in range(20)]
    assert all(receipt.created for receipt in receipts)


async def test_what_a_producer_said_reaches_the_worker(rig: Rig) -> None:
    retry = Retry(delays=(1.5, 120), jitter=0.25)
    before = await rig.now_ms()
    (receipt,) = await rig.put(
        job({"a": "ü\0"}, id="mine", headers={"traceparent": "00-é", "": "x"}, retry=retry, timeout=2.5)
    )
    lease = await rig.hand().take_one()
    envelope = lease.envelope
    assert receipt.job_id == envelope.id == "mine"
    assert envelope.payload == '{"a":"ü\\u0000"}'.encode()
    assert envelope.headers == {"traceparent": "00-é", "": "x"}
    assert (envelope.retry, envelope.timeout) == (retry, 2.5)
    assert (envelope.attempt, envelope.crashes, envelope.lane, envelope.defect) == (1, 0, "normal", None)
    assert before <= envelope.enqueued_ms <= await rig.now_ms()
    assert envelope.eligible_ms == envelope.enqueued_ms


async def test_payload_bytes_are_not_touched_whatever_they_are(rig: Rig) -> None:
    every_byte = bytes(range(256))
    await rig.put(job(every_byte), job(b""), job(b"x" * 100_000))
    taken = await rig.hand().take(3)
    assert [lease.envelope.payload for lease in taken] == [every_byte, b"", b"x" * 100_000]


async def test_payload_bytes_survive_a_delay_and_a_retry(rig: Rig) -> None:
    every_byte = bytes(range(256))
    await rig.put(job(every_byte, delay=0.02))
    ((waiting, _),) = await rig.broker.delayed(rig.stream)
    assert waiting.payload == every_byte
    await rig.let_pass(0.02)
    worker = rig.hand()
    lease = await worker.take_one()
    assert lease.envelope.payload == every_byte
    turn = await worker.turn(Again(lease, delay=0, counts=True), free=1)
    assert [again.envelope.payload for again in turn.leases] == [every_byte]


async def test_repeating_a_call_changes_nothing_and_answers_the_same(rig: Rig) -> None:
    jobs = [job(1), job(2, unique="k"), job(3, unique="k"), job(4, delay=60)]
    first = await rig.put(*jobs, call_id="the call")
    again = await rig.put(*jobs, call_id="the call")
    assert again == first
    assert [receipt.created for receipt in first] == [True, True, False, True]
    assert await rig.places() == {"ready": 2, "delayed": 1}
    assert (await rig.stats()).counters["enqueued"] == 3


async def test_a_call_repeated_after_its_job_was_done_does_not_bring_it_back(rig: Rig) -> None:
    one = job(1)
    await rig.put(one, call_id="the call")
    worker = rig.hand()
    await worker.finish(Done(await worker.take_one()))
    await rig.put(one, call_id="the call")
    assert await rig.places() == {"done": 1}


async def test_an_id_chosen_by_the_caller_is_a_duplicate_the_second_time(rig: Rig) -> None:
    (first,) = await rig.put(job(1, id="order-7", id_is_callers=True))
    (second,) = await rig.put(job(2, id="order-7", id_is_callers=True))
    assert (first.created, second.created) == (True, False)
    assert second.job_id == "order-7"
    (lease,) = await rig.hand().take(2)
    assert lease.envelope.payload == b"1"


async def test_an_id_chosen_by_the_caller_stays_taken_after_the_job_is_done(rig: Rig) -> None:
    await rig.put_one(id="order-7", id_is_callers=True)
    worker = rig.hand()
    await worker.finish(Done(await worker.take_one()))
    (second,) = await rig.put(job(id="order-7", id_is_callers=True))
    assert not second.created


async def test_a_taken_uniqueness_key_answers_with_the_first_job(rig: Rig) -> None:
    first = await rig.put_one(unique="page-1")
    (second,) = await rig.put(job(unique="page-1"))
    (other,) = await rig.put(job(unique="page-2"))
    assert (second.job_id, second.created) == (first, False)
    assert other.created
    assert await rig.places() == {"ready": 2}


async def test_two_jobs_of_one_call_with_the_same_key_are_one_job(rig: Rig) -> None:
    first, second = await rig.put(job(1, unique="k"), job(2, unique="k"))
    assert first.created
    assert (second.job_id, second.created) == (first.job_id, False)
    assert await rig.places() == {"ready": 1}


async def test_two_jobs_of_one_call_with_the_same_chosen_id_are_one_job(rig: Rig) -> None:
    receipts = await rig.put(job(1, id="x", id_is_callers=True), job(2, id="x", id_is_callers=True))
    assert [receipt.created for receipt in receipts] == [True, False]
    assert await rig.places() == {"ready": 1}


async def test_many_producers_at_once_with_one_key_make_one_job(rig: Rig) -> None:
    created = []

    async def produce(n: int) -> None:
        (receipt,) = await rig.put(job(n, unique="k"), call_id=f"producer-{n}")
        created.append(receipt.created)

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(produce, n)
    assert sorted(created) == [False] * 19 + [True]
    assert await rig.places() == {"ready": 1}


async def test_a_key_held_for_a_time_is_free_after_it_and_not_before(rig: Rig) -> None:
    worker = rig.hand()
    for key, seconds in (("long", 600), ("short", 0.1)):
        await rig.put_one(unique=key, unique_for=seconds)
        await worker.finish(Done(await worker.take_one()))
    await rig.let_pass(0.12)
    (while_held,) = await rig.put(job(unique="long", unique_for=600))
    assert not while_held.created, "the window counts from the enqueue, whatever became of the job"
    (after,) = await rig.put(job(unique="short", unique_for=0.1))
    assert after.created


async def test_a_key_without_a_time_is_held_until_the_job_is_done(rig: Rig) -> None:
    first = await rig.put_one(unique="k")
    worker = rig.hand()
    lease = await worker.take_one()
    (while_leased,) = await rig.put(job(unique="k"))
    await worker.finish(Again(lease, delay=0, counts=True))
    (while_delayed,) = await rig.put(job(unique="k"))
    lease = await worker.take_one()
    await worker.finish(Done(lease))
    (after,) = await rig.put(job(unique="k"))
    assert [while_leased.job_id, while_delayed.job_id] == [first, first]
    assert [while_leased.created, while_delayed.created, after.created] == [False, False, True]


async def test_a_key_without_a_time_is_free_when_the_job_is_dead(rig: Rig) -> None:
    await rig.put_one(unique="k")
    worker = rig.hand()
    await worker.finish(Bury(await worker.take_one(), reason="exhausted"))
    (after,) = await rig.put(job(unique="k"))
    assert after.created


async def test_a_key_without_a_time_is_free_when_the_job_died_with_its_workers(rig: Rig) -> None:
    await rig.put_one(unique="k")
    worker = rig.hand()
    await worker.take_one()
    await rig.kill(worker, budget=1)
    (after,) = await rig.put(job(unique="k"))
    assert after.created


async def test_a_key_that_another_job_owns_by_now_is_not_given_back(rig: Rig) -> None:
    entry = {"payload": "1", "id": "stranger", "unique": "k"}
    await rig.inject(entry)
    owner = await rig.put_one(unique="k")
    worker = rig.hand()
    stranger, mine = await worker.take(2)
    assert await worker.finish(Done(stranger)) == frozenset()
    (third,) = await rig.put(job(unique="k"))
    assert (third.job_id, third.created) == (owner, False)
    await worker.finish(Done(mine))
    (fourth,) = await rig.put(job(unique="k"))
    assert fourth.created


async def test_streams_do_not_see_each_other(rig: Rig) -> None:
    await rig.put_one(unique="k", id="same", id_is_callers=True)
    (other,) = await rig.broker.enqueue(
        "other", [job(unique="k", id="same", id_is_callers=True)], call_id="another call"
    )
    assert other.created
    await rig.broker.set_paused("other", paused=True)
    (lease,) = await rig.hand().take(5)
    assert lease.stream == rig.stream


async def test_no_jobs_are_no_receipts(rig: Rig) -> None:
    assert await rig.put() == []
    assert await rig.places() == {}


async def test_a_large_batch_is_added_whole_and_in_order(rig: Rig) -> None:
    receipts = await rig.put(*(job(n) for n in range(1200)))
    assert len(receipts) == 1200
    taken = await rig.hand().take(1200)
    assert [lease.envelope.payload for lease in taken] == [b"%d" % n for n in range(1200)]


async def test_a_key_without_a_time_is_held_however_far_away_a_snooze_is(rig: Rig) -> None:
    first = await rig.put_one(unique="k")
    worker = rig.hand()
    await worker.finish(Again(await worker.take_one(), delay=20 * 86400, counts=False))
    assert await rig.unique_seconds("k") > 20 * 86400
    (second,) = await rig.put(job(unique="k"))
    assert (second.job_id, second.created) == (first, False)
