"""One job seen in any state; who works; orders and numbers of jobs that heartbeats carry; dead letters in hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from streamq.admin import Admin
from streamq.broker import Again, Bury, Done, Order, Taken, WorkerFacts
from streamq.errors import InvalidJob
from streamq.keys import Lane
from tests.streamq.rig import Rig, ids, job

# --- find ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", ["high", "normal", "low"])
async def test_a_waiting_job_is_seen_with_those_before_it(rig: Rig, lane: Lane) -> None:
    await rig.put(*(job(n, lane=lane) for n in range(5)))
    await rig.hand().take(2)
    job_id = await rig.put_one(lane=lane, headers={"a": "b"})
    seen = await rig.broker.find(rig.stream, job_id)
    assert (seen.state, seen.before, seen.cancel_asked, seen.worker) == ("ready", 3, False, None)
    assert seen.envelope is not None
    assert (seen.envelope.lane, seen.envelope.headers) == (lane, {"a": "b"})


async def test_a_job_in_hand_is_seen_with_its_worker_and_since_when(rig: Rig) -> None:
    job_id = await rig.put_one()
    alice = rig.hand()
    lease = await alice.take_one()
    seen = await rig.broker.find(rig.stream, job_id)
    assert (seen.state, seen.worker, seen.entry_id) == ("leased", "alice", lease.entry_id)
    since = await rig.now_ms() - 5000
    facts = WorkerFacts(slots=3, taken=(Taken(lease.key, since),))
    rig.broker.renew(rig.stream, "alice", [lease], facts)
    seen = await rig.broker.find(rig.stream, job_id)
    assert seen.held_seconds >= 5.0
    assert seen.silent_seconds <= seen.held_seconds - 4.0
    await rig.broker.cancel(rig.stream, job_id)
    assert (await rig.broker.find(rig.stream, job_id)).cancel_asked


async def test_a_delayed_job_is_seen_with_its_time_and_what_its_last_delivery_came_to(rig: Rig) -> None:
    job_id = await rig.put_one()
    lease = await rig.hand().take_one()
    await rig.hand().finish(Again(lease, delay=60, counts=True, note="ValueError: ü no"))
    seen = await rig.broker.find(rig.stream, job_id)
    assert seen.state == "delayed"
    assert 50 < seen.due_in <= 60
    assert seen.envelope is not None
    assert (seen.envelope.attempt, seen.envelope.note) == (2, "ValueError: ü no")


async def test_a_note_lasts_until_the_next_one(rig: Rig) -> None:
    await rig.put_one()
    alice = rig.hand()
    lease = await alice.take_one()
    (lease,) = (await alice.turn(Again(lease, delay=0, counts=False, note="busy"), free=1)).leases
    assert lease.envelope.note == "busy"
    (lease,) = (await alice.turn(Again(lease, delay=0, counts=True, note="x" * 1000), free=1)).leases
    assert lease.envelope.note == "x" * 300
    (lease,) = (await alice.turn(Again(lease, delay=0, counts=True), free=1)).leases
    assert lease.envelope.note == ""


async def test_what_has_ended_is_seen_by_its_last_end(rig: Rig) -> None:
    job_id = await rig.put_one()
    alice = rig.hand()
    await alice.finish(Bury(await alice.take_one(), reason="because", error="E: e"))
    seen = await rig.broker.find(rig.stream, job_id)
    assert seen.dead is not None
    assert (seen.state, seen.dead.reason, seen.dead.error) == ("dead", "because", "E: e")
    await rig.broker.requeue(rig.stream, [seen.dead.entry_id])
    await alice.finish(Done(await alice.take_one(), duration=1.5))
    seen = await rig.broker.find(rig.stream, job_id)
    assert seen.done is not None
    assert (seen.state, seen.done.duration, seen.envelope) == ("done", 1.5, None)
    cancelled = await rig.put_one()
    await rig.broker.cancel(rig.stream, cancelled)
    assert (await rig.broker.find(rig.stream, cancelled)).state == "cancelled"


async def test_a_search_says_how_far_it_went(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(5)), job(id="last"), job(lane="low"))
    assert (await rig.broker.find(rig.stream, "last")).state == "ready"
    far = await rig.broker.find(rig.stream, "last", look=3)
    assert (far.state, far.looked, far.looked_at_all) == ("unknown", 4, False)
    nobody = await rig.broker.find(rig.stream, "nobody")
    assert (nobody.state, nobody.looked, nobody.looked_at_all) == ("unknown", 7, True)
    assert (await rig.broker.find("unused", "nobody")).looked_at_all


async def test_a_job_deep_in_a_backlog_is_found(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(1499)))
    await rig.hand().take(3)
    job_id = await rig.put_one()
    seen = await rig.broker.find(rig.stream, job_id)
    assert (seen.state, seen.before) == ("ready", 1496)
    assert (await rig.broker.cancel(rig.stream, job_id)).found == "waiting"


async def test_a_job_without_an_id_is_found_by_its_entry(rig: Rig) -> None:
    entry_id = await rig.inject({"payload": "{}"}, "low")
    seen = await rig.broker.find(rig.stream, entry_id)
    assert (seen.state, seen.entry_id) == ("ready", entry_id)


# --- lists --------------------------------------------------------------------------------------------------


async def test_waiting_jobs_are_listed_lane_by_lane_without_what_is_in_hand(rig: Rig) -> None:
    assert await rig.broker.waiting(rig.stream) == []
    low = await rig.put_one(lane="low")
    normal = [await rig.put_one() for _ in range(3)]
    (taken,) = await rig.hand().take(1)
    high = await rig.put_one(lane="high")
    assert taken.envelope.id == normal[0]
    found = [one.envelope.id for one in await rig.broker.waiting(rig.stream)]
    assert found == [high, *normal[1:], low]
    assert [one.envelope.id for one in await rig.broker.waiting(rig.stream, limit=2)] == found[:2]


async def test_dead_letters_are_purged_by_entry(rig: Rig) -> None:
    alice = rig.hand()
    await rig.put(job(1, unique="k"), job(2))
    await alice.finish(*(Bury(lease, reason="x") for lease in await alice.take(2)))
    first, second = await rig.broker.dead(rig.stream)
    assert await rig.broker.purge(rig.stream, [first.entry_id]) == 1
    assert await rig.broker.purge(rig.stream, [first.entry_id, second.entry_id]) == 1
    assert await rig.broker.purge(rig.stream, []) == 0
    assert await rig.places() == {}
    assert (await rig.stats()).counters["purged"] == 2


async def test_a_dead_letter_lives_again_with_the_payload_it_is_given(rig: Rig) -> None:
    alice = rig.hand()
    await rig.put(job(b"bad", id="a"), job(b"worse", id="b"))
    await alice.finish(*(Bury(lease, reason="x") for lease in await alice.take(2)))
    letters = {letter.envelope.id: letter.entry_id for letter in await rig.broker.dead(rig.stream)}
    await rig.broker.requeue(rig.stream, [letters["a"], letters["b"]], payloads={letters["a"]: b'"good"'})
    leases = await alice.take(2)
    assert ids(leases) == ["a", "b"]
    assert [lease.envelope.payload for lease in leases] == [b'"good"', b"worse"]


# --- what heartbeats and turns carry ----------------------------------------------------------------------------


async def test_the_number_of_jobs_at_once_is_kept_and_told_by_turns_and_heartbeats(rig: Rig) -> None:
    alice = rig.hand()
    assert ((await alice.turn()).concurrency, alice.renew().concurrency) == (None, None)
    await rig.broker.set_concurrency(rig.stream, 7)
    assert ((await alice.turn()).concurrency, alice.renew().concurrency) == (7, 7)
    stats = await rig.stats()
    assert (stats.concurrency, stats.counters) == (7, {})
    await rig.broker.set_concurrency(rig.stream, None)
    assert (await alice.turn()).concurrency is None


async def test_orders_are_told_once_and_in_their_order(rig: Rig) -> None:
    alice, bob = rig.hand("alice"), rig.hand("bob")
    alice.renew()
    bob.renew()
    for order in (Order("o1", "trace"), Order("o2", "quiet")):
        assert await rig.broker.order(rig.stream, "alice", order)
    assert bob.renew().orders == ()
    assert alice.renew().orders == (Order("o1", "trace"), Order("o2", "quiet"))
    assert alice.renew().orders == ()


async def test_nobody_is_ordered_who_is_not_there_or_does_not_hear(rig: Rig) -> None:
    assert not await rig.broker.order(rig.stream, "alice", Order("o1", "trace"))
    rig.hand().renew()
    answers = [await rig.broker.order(rig.stream, "alice", Order(f"o{n}", "trace")) for n in range(12)]
    assert answers == [True] * 10 + [False] * 2
    await rig.kill(rig.hand())
    rig.hand().renew()
    assert rig.hand().renew().orders == ()


async def test_an_answer_lies_there_to_be_read(rig: Rig) -> None:
    assert await rig.broker.answered(rig.stream, "o1") is None
    await rig.broker.answer(rig.stream, "o1", "no job is ränning\n")
    assert await rig.broker.answered(rig.stream, "o1") == "no job is ränning\n"
    assert await rig.broker.answered(rig.stream, "o2") is None


async def test_workers_are_seen_with_what_they_hold_and_told(rig: Rig) -> None:
    assert await rig.broker.workers(rig.stream) == []
    alice = rig.hand("alice")
    await rig.put(job(1), job(2, lane="high"), job(3))
    leases = await alice.take(2)
    facts = WorkerFacts(slots=5, quiet=True, taken=tuple(Taken(one.key, 1) for one in leases))
    rig.broker.renew(rig.stream, "alice", leases, facts)
    await rig.broker.wait(rig.stream, "stranger", timeout=0.01)
    (one, stranger) = await rig.broker.workers(rig.stream)
    assert (one.name, one.in_hand, one.beat, one.facts) == ("alice", 2, 1, facts)
    assert one.heard_seconds is not None
    assert one.heard_seconds < 60
    assert (stranger.name, stranger.in_hand, stranger.beat) == ("stranger", 1, None)
    await alice.finish(*(Done(lease) for lease in leases))
    await rig.broker.retire(rig.stream, "alice")
    assert [one.name for one in await rig.broker.workers(rig.stream)] == ["stranger"]


# --- attempts -----------------------------------------------------------------------------------------------


async def test_the_attempts_that_failed_travel_with_the_job(rig: Rig) -> None:
    job_id = await rig.put_one()
    alice = rig.hand()
    lease = await alice.take_one()
    firsts = []
    for words in ("OSError: ü", "ValueError: \ud800" + "x" * 500):
        firsts.append(int(lease.entry_id.partition("-")[0]))
        (lease,) = (await alice.turn(Again(lease, delay=0, counts=True, note=words), free=1)).leases
    (lease,) = (await alice.turn(Again(lease, delay=0, counts=False, note="busy"), free=1)).leases
    tries = lease.envelope.tries
    assert [(one.attempt, one.ready_ms) for one in tries] == [(1, firsts[0]), (2, firsts[1])]
    assert tries[0].error == "OSError: ü"
    assert (len(tries[1].error), tries[1].error[:13]) == (200, "ValueError: ?")
    await rig.kill(alice)
    await alice.finish(Bury(await alice.take_one(), reason="exhausted", error="E: third"))
    seen = await rig.broker.find(rig.stream, job_id)
    assert seen.dead is not None
    assert seen.dead.envelope.tries == tries
    await rig.broker.requeue(rig.stream, [seen.dead.entry_id])
    assert (await alice.take_one()).envelope.tries == ()


async def test_the_last_ten_attempts_are_kept(rig: Rig) -> None:
    await rig.put_one()
    alice = rig.hand()
    lease = await alice.take_one()
    for number in range(12):
        (lease,) = (await alice.turn(Again(lease, delay=0, counts=True, note=f"{number}"), free=1)).leases
    assert [one.error for one in lease.envelope.tries] == [f"{number}" for number in range(2, 12)]


async def test_attempts_that_somebody_else_wrote_and_nobody_can_read_stop_nothing(rig: Rig) -> None:
    one = b'[{"attempt":1,"ready_ms":%s,"error":"%s"}]'
    odd = [
        *(b"nonsense", b"\xff", b'[{"attempt":"x"}]', b"{}"),
        *(
            one % (b"9" * 30, b"e"),
            one % (b"9" * 17, b"e"),
            one % (b"-1", b"e"),
            one % (b"1", b"e" * 100_000),
        ),
        b'[{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}]",
    ]
    for words in odd:
        await rig.inject({"payload": "{}", "tries": words})
    taken = await rig.hand().take(20)
    assert [(one.envelope.tries, one.envelope.defect) for one in taken] == [((), None)] * len(odd)


# --- what cannot be meant -----------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [0, -1, 10_001, 2.5, True, "x"])
async def test_a_number_of_jobs_that_cannot_be_run_at_once_is_refused(rig: Rig, jobs: Any) -> None:
    await rig.broker.set_concurrency(rig.stream, 3)
    with pytest.raises(InvalidJob, match="1 to 10,000 jobs at once"):
        await rig.broker.set_concurrency(rig.stream, jobs)
    assert (await rig.stats()).concurrency == 3


@pytest.mark.parametrize("entry_id", ["bad", "", "5", "+", "1-2-3", "99999999999999999999-0", b"1-2"])
async def test_what_is_no_entry_id_is_refused_and_nothing_is_done(rig: Rig, entry_id: Any) -> None:
    await rig.put(job())
    alice = rig.hand()
    await alice.finish(Bury(await alice.take_one(), reason="because"))
    (letter,) = await rig.broker.dead(rig.stream)
    admin = Admin(rig.broker, [rig.stream])
    for steer in (rig.broker.requeue, rig.broker.purge, admin.requeue, admin.purge):
        with pytest.raises(InvalidJob, match="entry id"):
            await steer(rig.stream, [letter.entry_id, entry_id])
    with pytest.raises(InvalidJob, match="entry id"):
        await rig.broker.dead(rig.stream, before=entry_id)
    assert await rig.places() == {"dead": 1}


@pytest.mark.parametrize("rate", [0, -1.0, math.nan, math.inf])
async def test_dead_letters_are_requeued_at_a_rate_above_zero(rig: Rig, rate: float) -> None:
    with pytest.raises(InvalidJob, match="rate above 0"):
        await Admin(rig.broker, [rig.stream]).requeue(rig.stream, ["1-0"], rate=rate)


async def test_a_worker_is_asked_for_nothing_it_cannot_do(rig: Rig) -> None:
    alice = rig.hand()
    alice.renew()
    for order in ("trace", Order("a", "dance")):  # type: ignore[arg-type]
        with pytest.raises(InvalidJob, match="quiet, resume, trace"):
            await rig.broker.order(rig.stream, "alice", order)  # type: ignore[arg-type]
    assert alice.renew().orders == ()
