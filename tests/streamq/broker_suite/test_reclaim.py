"""A worker that died gives its jobs back; one that only slept finds itself refused."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest

from streamq.broker import Again, Bury, Done, Reclaimed, WorkerFacts
from streamq.keys import StreamKeys
from tests.streamq.rig import BUDGET, FINISHES, PATIENCE, Rig, ids, job


async def _beat_of(rig: Rig, name: str) -> int:
    return rig.hand("observer").renew().beats[name]


async def test_a_dead_workers_job_is_ready_under_a_new_entry_with_one_crash_more(rig: Rig) -> None:
    await rig.put(job({"n": 1}, headers={"h": "v"}))
    alice, bob = rig.hand("alice"), rig.hand("bob")
    first = await alice.take_one()
    made = await rig.broker.reclaim(rig.stream, "alice", beat=None, crash_budget=BUDGET)
    assert made == Reclaimed(ready=1, dead=0)
    second = await bob.take_one()
    assert second.entry_id != first.entry_id
    assert second.fence > first.fence
    assert (second.envelope.crashes, second.envelope.attempt) == (1, 1)
    for same in ("id", "payload", "headers", "enqueued_ms"):
        assert getattr(second.envelope, same) == getattr(first.envelope, same)


@pytest.mark.parametrize("kind", FINISHES)
@pytest.mark.parametrize("taken_again", [False, True], ids=["ready", "with-another"])
async def test_who_lost_a_lease_is_refused_and_changes_nothing(
    rig: Rig, kind: str, taken_again: bool
) -> None:
    # Given a worker that was frozen past its lease
    await rig.put(job(unique="k"))
    alice, bob = rig.hand("alice"), rig.hand("bob")
    stale = await alice.take_one()
    await rig.kill(alice)
    heirs = await bob.take() if taken_again else []
    before, counters = await rig.places(), (await rig.stats()).counters
    # When it comes back
    turn = await alice.turn(FINISHES[kind](stale))
    # Then
    assert turn.refused == {stale.key}
    assert await rig.places() == before == ({"leased": 1} if taken_again else {"ready": 1})
    assert (await rig.stats()).counters == counters
    (duplicate,) = await rig.put(job(unique="k"))
    assert not duplicate.created
    assert await bob.finish(*(Done(lease) for lease in heirs)) == frozenset()


async def test_a_renewal_names_the_leases_that_are_lost(rig: Rig) -> None:
    await rig.put(job(1), job(2, lane="high"), job(3))
    alice = rig.hand("alice")
    leases = await alice.take(3)
    assert alice.renew(*leases).lost == frozenset()
    await rig.kill(alice)
    assert alice.renew(*leases).lost == {lease.key for lease in leases}
    await rig.hand("bob").take(3)
    assert alice.renew(*leases).lost == {lease.key for lease in leases}


async def test_a_finished_lease_is_named_lost_too(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    alice = rig.hand("alice")
    ended, held = await alice.take(2)
    await alice.finish(Done(ended))
    assert alice.renew(ended, held).lost == {ended.key}


async def test_every_renewal_beats_the_heart_and_tells_all_hearts(rig: Rig) -> None:
    alice, bob = rig.hand("alice"), rig.hand("bob")
    await alice.turn()
    await bob.turn()
    assert alice.renew().beats == {"alice": 1, "bob": 0}
    assert alice.renew().beats == {"alice": 2, "bob": 0}
    assert bob.renew().beats == {"alice": 2, "bob": 1}


async def test_a_renewal_works_from_a_thread(rig: Rig) -> None:
    await rig.put(job())
    alice = rig.hand("alice")
    lease = await alice.take_one()
    renewal = await anyio.to_thread.run_sync(alice.renew, lease)
    assert renewal.lost == frozenset()


async def test_a_renewal_tells_the_paused_flag(rig: Rig) -> None:
    alice = rig.hand("alice")
    await alice.turn()
    assert not alice.renew().paused
    await rig.broker.set_paused(rig.stream, paused=True)
    assert alice.renew().paused


async def test_a_renewal_tells_of_deliveries_the_worker_does_not_know_now_and_then(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    alice = rig.hand("alice")
    known, _lost_reply = await alice.take(2)
    seen = {alice.renew(known).pending for _ in range(10)}
    assert 2 in seen


async def test_a_worker_whose_heart_beat_meanwhile_is_left_alone(rig: Rig) -> None:
    await rig.put(job())
    alice = rig.hand("alice")
    lease = await alice.take_one()
    seen = await _beat_of(rig, "alice")
    alice.renew(lease)
    made = await rig.broker.reclaim(rig.stream, "alice", beat=seen, crash_budget=BUDGET)
    assert made == Reclaimed()
    assert await rig.places() == {"leased": 1}
    assert await alice.finish(Done(lease)) == frozenset()


async def test_a_worker_whose_heart_stands_still_is_taken_from_and_struck_off(rig: Rig) -> None:
    await rig.put(job())
    alice = rig.hand("alice")
    await alice.take_one()
    seen = await _beat_of(rig, "alice")
    made = await rig.broker.reclaim(rig.stream, "alice", beat=seen, crash_budget=BUDGET)
    assert made == Reclaimed(ready=1)
    assert "alice" not in rig.hand("observer").renew().beats
    assert await rig.broker.reclaim(rig.stream, "alice", beat=seen, crash_budget=BUDGET) == Reclaimed()


async def test_only_one_of_many_reclaimers_takes(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(10)))
    await rig.hand("alice").take(10)
    seen = await _beat_of(rig, "alice")
    made = []

    async def reclaim() -> None:
        made.append(await rig.broker.reclaim(rig.stream, "alice", beat=seen, crash_budget=BUDGET))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(reclaim)
    assert sum(one.ready for one in made) == 10
    assert await rig.places() == {"ready": 10}


async def test_a_worker_that_holds_much_is_taken_from_completely(rig: Rig) -> None:
    lanes = ("high", "normal", "low")
    await rig.put(*(job(n, lane=lanes[n % 3]) for n in range(750)))
    await rig.hand("alice").take(750)
    made = await rig.broker.reclaim(rig.stream, "alice", beat=None, crash_budget=BUDGET)
    assert made == Reclaimed(ready=750)
    assert await rig.places() == {"ready": 750}
    assert (await rig.stats()).ready == {"high": 250, "normal": 250, "low": 250}


async def test_taking_from_somebody_unknown_brings_nothing(rig: Rig) -> None:
    await rig.put(job())
    await rig.hand("alice").take_one()
    assert await rig.broker.reclaim(rig.stream, "nobody", beat=None, crash_budget=BUDGET) == Reclaimed()
    assert await rig.broker.reclaim(rig.stream, "nobody", beat=0, crash_budget=BUDGET) == Reclaimed()
    assert await rig.places() == {"leased": 1}


async def test_a_job_whose_workers_keep_dying_is_dead_when_the_budget_is_spent(rig: Rig) -> None:
    job_id = await rig.put_one(payload=b"poison", lane="low", headers={"h": "v"})
    for crash in range(1, 4):
        worker = rig.hand(f"worker-{crash}")
        lease = await worker.take_one()
        assert lease.envelope.crashes == crash - 1
        made = await rig.broker.reclaim(rig.stream, worker.name, beat=None, crash_budget=3)
        assert made == (Reclaimed(dead=1) if crash == 3 else Reclaimed(ready=1))
    assert await rig.places() == {"dead": 1}
    (letter,) = await rig.broker.dead(rig.stream)
    assert letter.reason == "crashed"
    assert (letter.envelope.id, letter.envelope.payload) == (job_id, b"poison")
    assert (letter.attempts, letter.envelope.crashes) == (1, 3)
    assert letter.envelope.headers == {"h": "v"}
    assert "worker-3" in letter.error
    assert letter.envelope.lane == "low"


async def _die_thrice(rig: Rig, *, named: bool | None, budget: int = 3, deaths: int = 3) -> Reclaimed:
    """Of as many workers as that, each holding the stream's jobs; `named`: whether the last one named the first
    job as to blame (None: it told nothing). What the last death brought.
    """
    made = Reclaimed()
    for death in range(deaths):
        worker = rig.hand(f"worker-{death}")
        leases = await worker.take(2)
        if named is not None:
            key = leases[0].key if named and death == deaths - 1 else ""
            rig.broker.renew(rig.stream, worker.name, leases, WorkerFacts(to_blame=key))
        made = await rig.broker.reclaim(rig.stream, worker.name, beat=None, crash_budget=budget)
    return made


async def test_of_two_whose_budget_is_spent_the_one_that_is_named_is_dead_and_the_other_is_spared(
    rig: Rig,
) -> None:
    guilty, other = await rig.put_one(unique="a"), await rig.put_one(unique="b")
    assert await _die_thrice(rig, named=True) == Reclaimed(ready=1, dead=1)
    (letter,) = await rig.broker.dead(rig.stream)
    assert (letter.envelope.id, letter.envelope.crashes, letter.reason) == (guilty, 3, "crashed")
    lease = await rig.hand("bob").take_one()
    assert (lease.envelope.id, lease.envelope.crashes) == (other, 3)
    # The dead one's uniqueness key is free, the other's is not.
    assert [receipt.created for receipt in await rig.put(job(unique="a"), job(unique="b"))] == [True, False]


async def test_a_job_beside_every_death_is_dead_after_three_times_its_budget(rig: Rig) -> None:
    await rig.put(job())
    assert await _die_thrice(rig, named=False, deaths=8) == Reclaimed(ready=1)
    assert await _die_thrice(rig, named=False, deaths=1) == Reclaimed(dead=1)
    (letter,) = await rig.broker.dead(rig.stream)
    assert (letter.reason, letter.envelope.crashes) == ("crashed", 9)


async def test_a_budget_of_one_is_spent_by_whichever_death(rig: Rig) -> None:
    await rig.put(job(), job())
    assert await _die_thrice(rig, named=False, budget=1, deaths=1) == Reclaimed(dead=2)


@pytest.mark.parametrize(
    "told",
    [
        *(
            b"",
            b" ",
            b"17",
            b"17 ",
            b"17 {",
            b"17 []",
            b"17 null",
            b'17 {"to_blame":null}',
            b'17 {"to_blame":[]}',
        ),
        *(
            b'17 {"to_blame":7}',
            b'17 {"slots":1}',
            b"17 " + b"[" * 5000,
            b"\xff\x00 \xfe",
            b'x {"to_blame":"a"}',
        ),
    ],
)
async def test_whatever_a_worker_seems_to_have_told_its_jobs_are_taken_back(
    redis_rig: Rig, told: bytes
) -> None:
    rig = redis_rig
    await rig.put(job())
    await _die_thrice(rig, named=None, deaths=2)
    await rig.hand("alice").take_one()
    await rig.client.hset(StreamKeys.of(rig.stream).facts, "alice", told)
    made = await rig.broker.reclaim(rig.stream, "alice", beat=None, crash_budget=3)
    assert made == Reclaimed(ready=1)
    assert await rig.places() == {"ready": 1}


async def test_a_crash_never_eats_an_attempt_nor_an_attempt_a_crash(rig: Rig) -> None:
    await rig.put(job())
    worker = rig.hand("worker-0")
    await worker.finish(Again(await worker.take_one(), delay=0, counts=True))
    for n in range(2):
        worker = rig.hand(f"worker-{n}")
        await worker.take_one()
        await rig.kill(worker)
    worker = rig.hand("worker-2")
    lease = await worker.take_one()
    assert (lease.envelope.attempt, lease.envelope.crashes) == (2, 2)
    (lease,) = (await worker.turn(Again(lease, delay=0, counts=True), free=1)).leases
    assert (lease.envelope.attempt, lease.envelope.crashes) == (3, 2)


async def test_reclaiming_a_foreign_entry_keeps_its_id_and_its_own_fields(rig: Rig) -> None:
    entry_id = await rig.inject({"payload": "1", "headers": "garbage", "colour": "red"})
    await rig.hand("alice").take_one()
    await rig.kill(rig.hand("alice"))
    lease = await rig.hand("bob").take_one()
    assert lease.envelope.id == entry_id
    assert lease.envelope.crashes == 1
    assert lease.envelope.enqueued_ms == int(entry_id.split("-")[0])
    assert lease.envelope.defect is not None


async def test_a_crash_count_that_is_not_a_number_starts_at_nothing(rig: Rig) -> None:
    await rig.inject({"payload": "1", "crashes": "many"})
    await rig.hand("alice").take_one()
    await rig.kill(rig.hand("alice"))
    assert (await rig.hand("bob").take_one()).envelope.crashes == 1


# --- deliveries nobody answers for -------------------------------------------------------------------


async def test_what_an_unknown_worker_holds_too_long_is_swept(rig: Rig) -> None:
    await rig.put(job())
    stranger = await rig.broker.wait(rig.stream, "stranger", timeout=PATIENCE)
    if not stranger.leases:  # the first wait on a server makes the groups
        stranger = await rig.broker.wait(rig.stream, "stranger", timeout=PATIENCE)
    (lease,) = stranger.leases
    assert await rig.broker.sweep(rig.stream, idle=60, crash_budget=BUDGET) == Reclaimed()
    await rig.let_pass(0.03)
    assert await rig.broker.sweep(rig.stream, idle=0.02, crash_budget=BUDGET) == Reclaimed(ready=1)
    again = await rig.hand("bob").take_one()
    assert (again.envelope.id, again.envelope.crashes) == (lease.envelope.id, 1)


async def test_what_a_known_worker_holds_is_not_swept_however_long(rig: Rig) -> None:
    await rig.put(job())
    alice = rig.hand("alice")
    lease = await alice.take_one()
    await rig.let_pass(0.03)
    assert await rig.broker.sweep(rig.stream, idle=0, crash_budget=BUDGET) == Reclaimed()
    assert await alice.finish(Done(lease)) == frozenset()


async def test_a_stranger_is_found_behind_all_that_known_workers_hold(rig: Rig) -> None:
    await rig.put(*(job(number) for number in range(150)))
    assert len(await rig.hand("alice").take(150)) == 150
    await rig.put(job(150))
    (lease,) = (await rig.broker.wait(rig.stream, "stranger", timeout=PATIENCE)).leases
    await rig.let_pass(0.03)
    assert await rig.broker.sweep(rig.stream, idle=0.02, crash_budget=BUDGET) == Reclaimed(ready=1)
    assert (await rig.hand("bob").take_one()).envelope.id == lease.envelope.id


async def test_a_renewal_resets_how_long_a_job_is_idle(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    alice = rig.hand("alice")
    renewed, left = await alice.take(2)
    await rig.let_pass(0.8)
    alice.renew(renewed)
    entries = await rig.broker.pending(rig.stream, idle_over=0.8)
    assert [entry.entry_id for entry in entries] == [left.entry_id]


async def test_a_sweep_spends_the_crash_budget_too(rig: Rig) -> None:
    await rig.put(job())
    await rig.hand("alice").take_one()
    await rig.broker.reclaim(rig.stream, "alice", beat=None, crash_budget=BUDGET)
    alice = rig.hand("alice")
    await alice.take_one()
    await alice.broker.retire(rig.stream, "alice")
    assert (await rig.stats()).workers == 1, "who holds something does not leave"
    await rig.kill(alice, budget=2)
    assert await rig.places() == {"dead": 1}


# --- coming and going ----------------------------------------------------------------------------


async def test_a_worker_that_says_goodbye_is_off_the_list(rig: Rig) -> None:
    await rig.put(job())
    alice, bob = rig.hand("alice"), rig.hand("bob")
    await alice.finish(Done(await alice.take_one()))
    await bob.turn()
    assert (await rig.stats()).workers == 2
    await rig.broker.retire(rig.stream, "alice")
    assert (await rig.stats()).workers == 1
    assert bob.renew().beats == {"bob": 1}


async def test_a_worker_that_still_holds_a_job_does_not_take_it_along(rig: Rig) -> None:
    await rig.put(job())
    alice = rig.hand("alice")
    lease = await alice.take_one()
    await rig.broker.retire(rig.stream, "alice")
    assert await rig.places() == {"leased": 1}
    assert await alice.finish(Done(lease)) == frozenset()


async def test_a_worker_struck_off_may_come_back_under_its_name(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    alice = rig.hand("alice")
    stale = await alice.take_one()
    await rig.kill(alice)
    reborn = rig.hand("alice")
    reborn.sequence = 100
    taken = await reborn.take(2)
    assert len(taken) == 2
    assert stale.key not in {lease.key for lease in taken}
    assert await reborn.finish(Bury(stale, reason="old")) == {stale.key}
    assert await reborn.finish(*(Done(lease) for lease in taken)) == frozenset()
    assert set(ids(taken)) == {record.job_id for record in await rig.broker.done(rig.stream)}
