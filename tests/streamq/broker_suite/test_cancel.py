"""Cancelled is cancelled, wherever the job is: it never starts again, it leaves a record, its key is free."""

from __future__ import annotations

import pytest

from streamq.broker import Again, Bury, Cancel, Cancellation, Done, DoneJob, Lease, Reclaimed
from streamq.keys import Lane
from tests.streamq.rig import BUDGET, FINISHES, Rig, ids, job


async def the_record(rig: Rig) -> DoneJob:
    (record,) = await rig.broker.done(rig.stream)
    return record


async def held(rig: Rig, **options: object) -> tuple[str, Lease]:
    """A job in alice's hands."""
    job_id = await rig.put_one(**options)
    return job_id, await rig.hand().take_one()


# --- what is not in anybody's hands -----------------------------------------------------------------------


@pytest.mark.parametrize("lane", ["high", "normal", "low"])
async def test_a_waiting_job_ends_at_once(rig: Rig, lane: Lane) -> None:
    before = await rig.put_one(lane=lane)
    job_id = await rig.put_one(lane=lane, unique="k")
    after = await rig.put_one(lane=lane)
    assert await rig.broker.cancel(rig.stream, job_id) == Cancellation(job_id, "waiting")
    assert await rig.places() == {"ready": 2, "done": 1}
    record = await the_record(rig)
    assert (record.job_id, record.outcome, record.attempt, record.duration) == (job_id, "cancelled", 1, 0.0)
    assert (await rig.stats()).counters["cancelled"] == 1
    assert ids(await rig.hand().take(9)) == [before, after]
    assert (await rig.put(job(unique="k")))[0].created, "its uniqueness key is free"


async def test_a_delayed_job_ends_at_once(rig: Rig) -> None:
    job_id = await rig.put_one(delay=60, unique="k")
    other = await rig.put_one(delay=60)
    assert await rig.broker.cancel(rig.stream, job_id) == Cancellation(job_id, "delayed")
    assert [envelope.id for envelope, _ in await rig.broker.delayed(rig.stream)] == [other]
    assert (await the_record(rig)).outcome == "cancelled"
    assert (await rig.put(job(unique="k")))[0].created, "its uniqueness key is free"


async def test_a_job_that_waits_for_its_retry_ends_with_its_attempt_on_record(rig: Rig) -> None:
    job_id, lease = await held(rig)
    await rig.hand().finish(Again(lease, delay=60, counts=True))
    assert (await rig.broker.cancel(rig.stream, job_id)).found == "delayed"
    assert (await the_record(rig)).attempt == 2


async def test_a_job_of_a_producer_that_gave_no_id_is_cancelled_by_its_entry_id(rig: Rig) -> None:
    await rig.inject({"payload": "{}"})
    entry_id = await rig.inject({"payload": "{}", "id": ""})
    assert await rig.broker.cancel(rig.stream, entry_id) == Cancellation(entry_id, "waiting")
    assert (await rig.stats()).ready["normal"] == 1


async def test_a_key_that_another_job_owns_by_now_is_left_alone(rig: Rig) -> None:
    old = await rig.put_one(unique="k", delay=60)
    assert (await rig.broker.cancel(rig.stream, old)).found == "delayed"
    (new,) = await rig.put(job(unique="k"))
    await rig.broker.cancel(rig.stream, old)
    (third,) = await rig.put(job(unique="k"))
    assert (third.created, third.job_id) == (False, new.job_id)


# --- what is in a worker's hands ------------------------------------------------------------------------


async def test_a_running_job_s_worker_is_told_with_its_heartbeat_and_ends_it(rig: Rig) -> None:
    job_id, lease = await held(rig, unique="k")
    alice = rig.hand()
    other = await rig.put_one()
    (second,) = await alice.take(1)
    assert second.envelope.id == other
    assert await rig.broker.cancel(rig.stream, job_id) == Cancellation(job_id, "running", worker="alice")
    renewal = alice.renew(lease, second)
    assert (renewal.cancelled, renewal.lost) == ({lease.key}, frozenset())
    assert not (await rig.put(job(unique="k")))[0].created, "it runs still"
    alice.sequence = 5
    assert await alice.finish(Cancel(lease, duration=1.5)) == frozenset()
    record = await the_record(rig)
    assert (record.job_id, record.outcome, record.duration) == (job_id, "cancelled", 1.5)
    assert alice.renew(second).cancelled == frozenset()
    assert (await rig.put(job(unique="k")))[0].created


@pytest.mark.parametrize("ending", list(FINISHES))
async def test_whatever_its_worker_says_of_it_it_ends_as_cancelled(rig: Rig, ending: str) -> None:
    job_id, lease = await held(rig, unique="k")
    (free,) = await rig.put(job(unique="other"))
    await rig.broker.cancel(rig.stream, job_id)
    alice = rig.hand()
    alice.sequence = 5
    finish = FINISHES[ending](lease)
    turn = await alice.turn(finish)
    assert (turn.refused, turn.cancelled) == ({lease.key}, {lease.key})
    again = await alice.repeat(finish)
    assert (again.refused, again.cancelled) == ({lease.key}, {lease.key}), "the same when its reply was lost"
    assert await rig.places() == {"ready": 1, "done": 1}
    assert (await the_record(rig)).outcome == "cancelled"
    assert (await rig.put(job(unique="k")))[0].created
    assert ids((await alice.turn(free=9)).leases)[0] == free.job_id


async def test_of_several_ends_in_one_turn_only_the_cancelled_one_is_refused(rig: Rig) -> None:
    cancelled, first = await held(rig)
    alice = rig.hand()
    alice.sequence = 1
    await rig.put(job(), job(), job())
    done, retried, buried = await alice.take(3)
    await rig.broker.cancel(rig.stream, cancelled)
    finishes = (Done(done), Done(first), Again(retried, delay=60, counts=True), Bury(buried, reason="x"))
    assert await alice.finish(*finishes) == {first.key}
    assert await rig.places() == {"done": 2, "delayed": 1, "dead": 1}
    assert {one.job_id: one.outcome for one in await rig.broker.done(rig.stream)} == {
        cancelled: "cancelled",
        done.envelope.id: "done",
    }


async def test_who_lost_the_lease_cannot_end_it_as_cancelled(rig: Rig) -> None:
    _, lease = await held(rig)
    await rig.kill(rig.hand())
    assert await rig.hand().finish(Cancel(lease)) == {lease.key}
    assert await rig.places() == {"ready": 1}


@pytest.mark.parametrize("budget", [1, BUDGET])
async def test_a_cancelled_job_whose_worker_died_ends_and_is_not_given_to_another(
    rig: Rig, budget: int
) -> None:
    job_id, _ = await held(rig, unique="k")
    await rig.broker.cancel(rig.stream, job_id)
    made = await rig.broker.reclaim(rig.stream, "alice", beat=None, crash_budget=budget)
    assert made == Reclaimed(ready=0, dead=0, cancelled=1)
    assert await rig.places() == {"done": 1}
    assert (await the_record(rig)).outcome == "cancelled"
    assert (await rig.put(job(unique="k")))[0].created


async def test_a_cancelled_job_in_nobody_s_hands_is_swept_away(rig: Rig) -> None:
    await rig.hand().take(1)
    job_id = await rig.put_one()
    (lease,) = (await rig.broker.wait(rig.stream, "stranger", timeout=0.01)).leases
    assert (await rig.broker.cancel(rig.stream, job_id)).worker == "stranger"
    assert (await rig.broker.sweep(rig.stream, idle=0, crash_budget=BUDGET)).cancelled == 1
    assert await rig.hand("stranger").finish(Done(lease)) == {lease.key}
    assert await rig.places() == {"done": 1}


async def test_a_delivery_whose_reply_was_lost_is_not_started_either(rig: Rig) -> None:
    job_id, lease = await held(rig)
    await rig.broker.cancel(rig.stream, job_id)
    (found,) = await rig.broker.adopt(rig.stream, "alice", [])
    assert (found.key, found.cancelled) == (lease.key, True)


# --- what is not found ------------------------------------------------------------------------------------


async def test_what_was_not_found_among_so_many_ends_when_a_worker_meets_it(rig: Rig) -> None:
    ahead = [await rig.put_one() for _ in range(3)]
    job_id = await rig.put_one(unique="k")
    assert await rig.broker.cancel(rig.stream, job_id, look=2) == Cancellation(job_id, "sought", looked=2)
    alice = rig.hand()
    leases = await alice.take(9)
    assert [(lease.envelope.id, lease.cancelled) for lease in leases] == [
        *((one, False) for one in ahead),
        (job_id, True),
    ]
    assert await alice.finish(Cancel(leases[-1])) == frozenset()
    assert (await the_record(rig)).job_id == job_id
    assert (await rig.put(job(unique="k")))[0].created


async def test_a_sleeper_that_is_handed_a_cancelled_job_knows_it(rig: Rig) -> None:
    await rig.hand().take(1)
    await rig.put_one()
    job_id = await rig.put_one(lane="low")
    await rig.broker.cancel(rig.stream, job_id, look=0)
    wakeup = await rig.broker.wait(rig.stream, "alice", timeout=0.01)
    assert {lease.envelope.id: lease.cancelled for lease in wakeup.leases}[job_id]
    assert sum(lease.cancelled for lease in wakeup.leases) == 1


async def test_a_job_nobody_knows_is_told_and_leaves_no_mark(rig: Rig) -> None:
    await rig.put_one()
    assert await rig.broker.cancel(rig.stream, "nobody") == Cancellation("nobody", "unknown", looked=1)
    await rig.inject({"payload": "{}", "id": "nobody"})
    assert not any(lease.cancelled for lease in await rig.hand().take(9))


async def test_a_new_job_of_an_id_that_was_sought_is_not_the_one_that_was_meant(rig: Rig) -> None:
    await rig.put_one()
    assert (await rig.broker.cancel(rig.stream, "mine", look=0)).found == "sought"
    await rig.put(job(id="mine", id_is_callers=True))
    assert not any(lease.cancelled for lease in await rig.hand().take(9))


# --- twice, too late, and again ---------------------------------------------------------------------------


async def test_cancelling_twice_is_harmless(rig: Rig) -> None:
    waiting = await rig.put_one()
    await rig.broker.cancel(rig.stream, waiting)
    assert await rig.broker.cancel(rig.stream, waiting) == Cancellation(waiting, "ended", state="cancelled")
    running, lease = await held(rig)
    for _ in range(2):
        assert (await rig.broker.cancel(rig.stream, running)).found == "running"
    assert (await rig.hand().turn(Done(lease))).cancelled == {lease.key}
    assert (await rig.broker.cancel(rig.stream, running)).state == "cancelled"
    assert (await rig.stats()).counters["cancelled"] == 2


async def test_what_has_ended_stays_as_it_ended(rig: Rig) -> None:
    done, lease = await held(rig)
    await rig.hand().finish(Done(lease))
    assert await rig.broker.cancel(rig.stream, done) == Cancellation(done, "ended", state="done")
    dead, lease = await held(rig)
    alice = rig.hand()
    alice.sequence = 5
    await alice.finish(Bury(lease, reason="x"))
    assert await rig.broker.cancel(rig.stream, dead) == Cancellation(dead, "ended", state="dead")
    assert await rig.places() == {"done": 1, "dead": 1}
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert not (await rig.hand().take_one()).cancelled, "no mark was left"


async def test_enqueuing_a_cancelled_id_again_is_a_duplicate_as_for_any_job_that_has_ended(rig: Rig) -> None:
    await rig.put(job(id="mine", id_is_callers=True))
    await rig.broker.cancel(rig.stream, "mine")
    (receipt,) = await rig.put(job(id="mine", id_is_callers=True))
    assert (receipt.created, receipt.job_id) == (False, "mine")


async def test_a_requeued_job_lives_although_it_was_sought_before(rig: Rig) -> None:
    job_id, lease = await held(rig)
    await rig.hand().finish(Bury(lease, reason="x"))
    await rig.put_one()
    assert (await rig.broker.cancel(rig.stream, job_id, look=0)).found == "sought"
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert not any(one.cancelled for one in await rig.hand().take(9))
