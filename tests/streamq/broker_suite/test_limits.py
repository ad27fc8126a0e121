"""Limits by key: so many of one key at once, so many starts in a while, and nobody else waits for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamq.broker import Again, Bury, Done, Release
from streamq.errors import InvalidJob
from streamq.job import NewJob
from streamq.keys import Lane
from streamq.limits import Limit
from tests.streamq.rig import BUDGET, FINISHES, Rig, ids, job

ONE = Limit("k", running=1)
TWO = Limit("k", running=2)


def several(count: int, limit: Limit | None = ONE, prefix: str = "j", **options: Any) -> list[NewJob]:
    return [job(n, id=f"{prefix}{n}", limit=limit, **options) for n in range(count)]


async def test_so_many_of_a_key_run_at_once_and_the_others_are_parked(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(5, TWO))
    assert ids(await hand.take(10)) == ["j0", "j1"]
    assert await rig.places() == {"leased": 2, "parked": 3}
    assert (await hand.take(10)) == []


async def test_when_one_ends_the_next_is_ready_at_once_in_order(rig: Rig) -> None:
    hand, other = rig.hand(), rig.hand("bob")
    await rig.put(*several(4))
    order = []
    lease = await hand.take_one()
    for _ in range(4):
        order.append(lease.envelope.id)
        turn = await hand.turn(Done(lease), free=10)
        assert await other.take(10) == []
        if turn.leases:
            (lease,) = turn.leases
    assert order == ["j0", "j1", "j2", "j3"]
    assert await rig.places() == {"done": 4}


@pytest.mark.parametrize("name", [*FINISHES, "cancel", "crash", "crash to death"])
async def test_whatever_ends_a_delivery_gives_its_slot_to_one(rig: Rig, name: str) -> None:
    hand, other = rig.hand(), rig.hand("bob")
    await rig.put(*several(3))
    lease = await hand.take_one()
    match name:
        case "cancel":
            await rig.broker.cancel(rig.stream, "j0")
            await hand.turn(Done(lease))
        case "crash" | "crash to death":
            await rig.kill(hand, budget=1 if name == "crash to death" else BUDGET)
        case _:
            await hand.finish(FINISHES[name](lease))
    (got,) = await other.take(10)
    assert got.envelope.id == ("j0" if name in ("release", "crash") else "j1")
    await other.finish(Done(got))
    assert len(await other.take(10)) == 1


async def test_a_job_that_waits_for_its_retry_holds_no_slot_and_gets_one_later(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(2))
    first = await hand.take_one()
    turn = await hand.turn(Again(first, delay=0.05, counts=True), free=5)
    assert ids(turn.leases) == ["j1"]
    await rig.let_pass(0.06)
    assert await hand.take(5) == [], "due, and no slot is free"
    assert (await rig.broker.find(rig.stream, "j0")).state == "parked"
    turn = await hand.turn(Done(turn.leases[0]), free=5)
    assert [(one.envelope.id, one.envelope.attempt) for one in turn.leases] == [("j0", 2)]


async def test_who_lost_its_lease_gives_back_no_slot_of_others(rig: Rig) -> None:
    hand, other = rig.hand(), rig.hand("bob")
    await rig.put(*several(3))
    stale = await hand.take_one()
    await rig.kill(hand)
    again = await other.take_one()
    assert (await hand.turn(Done(stale))).refused == {stale.key}
    assert (await rig.hand("carol").take(5)) == []
    turn = await hand.turn(Bury(again, reason="not mine"), free=5)
    assert (turn.refused, turn.leases) == ({again.key}, ())


async def test_keys_do_not_wait_for_each_other(rig: Rig) -> None:
    await rig.put(*several(3, ONE), *several(2, Limit("other", running=5), "o"), job("free", id="free"))
    assert ids(await rig.hand().take(10)) == ["j0", "o0", "o1", "free"]


@pytest.mark.parametrize("jobs", [20_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_a_key_with_ever_so_many_jobs_delays_no_other_by_more_than_a_turn(rig: Rig, jobs: int) -> None:
    busy = several(jobs, TWO)
    for first in range(0, jobs, 5000):
        await rig.put(*busy[first : first + 5000])
    await rig.put(job("other", id="other", limit=Limit("quiet", running=2)), job("free", id="free"))
    assert ids(await rig.hand().take(4)) == ["j0", "j1", "other", "free"]
    assert await rig.places() == {"leased": 4, "parked": jobs - 2}


async def test_the_high_lane_comes_first_among_the_parked(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(2), job("urgent", id="urgent", limit=ONE, lane="high"))
    lease = await hand.take_one()
    turn = await hand.turn(Done(lease), free=1)
    assert ids(turn.leases) == ["urgent"]
    assert turn.leases[0].lane == "high"


async def test_a_parked_job_keeps_everything_it_was_enqueued_with(rig: Rig) -> None:
    hand = rig.hand()
    full = job(b'{"n":1}', id="full", limit=ONE, headers={"a": "b"}, timeout=5.0, unique="u")
    before = await rig.now_ms()
    await rig.put(*several(1), full)
    turn = await hand.turn(Done(await hand.take_one()), free=1)
    envelope = turn.leases[0].envelope
    assert (envelope.id, envelope.payload, envelope.headers) == ("full", b'{"n":1}', {"a": "b"})
    assert (envelope.timeout, envelope.unique, envelope.limit) == (5.0, "u", ONE)
    assert before <= envelope.enqueued_ms <= envelope.eligible_ms


async def test_a_parked_job_is_found_listed_and_cancelled(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(3), job(0, id="last", limit=ONE, unique="u"))
    lease = await hand.take_one()
    seen = await rig.broker.find(rig.stream, "j2")
    assert (seen.state, seen.before, seen.running, seen.behind, seen.free_in) == ("parked", 1, 1, None, None)
    assert [one.id for one in await rig.broker.parked(rig.stream)] == ["j1", "j2", "last"]
    assert (await rig.broker.cancel(rig.stream, "j1")).found == "waiting"
    assert (await rig.broker.cancel(rig.stream, "last")).found == "waiting"
    assert (await rig.put(job(unique="u")))[0].created
    assert (await rig.broker.find(rig.stream, "j1")).state == "cancelled"
    assert (await rig.broker.find(rig.stream, "j2")).before == 0
    assert ids((await hand.turn(Done(lease), free=5)).leases)[1:] == ["j2"]


async def test_cancelling_one_that_is_ready_lets_the_next_be_ready(rig: Rig) -> None:
    await rig.put(*several(2))
    assert (await rig.broker.cancel(rig.stream, "j0")).found == "waiting"
    assert ids(await rig.hand().take(5)) == ["j1"]


async def test_a_requeued_dead_letter_waits_for_a_slot_like_any_other(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(2))
    turn = await hand.turn(Bury(await hand.take_one(), reason="because"), free=5)
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert await hand.take(5) == []
    assert ids((await hand.turn(Done(turn.leases[0]), free=5)).leases) == ["j0"]


async def test_a_sleeping_worker_is_woken_by_a_slot_and_not_by_what_has_none(rig: Rig) -> None:
    hand, sleeper = rig.hand(), rig.hand("bob")
    await rig.put(*several(3))
    lease = await hand.take_one()
    assert (await sleeper.broker.wait(rig.stream, "bob", timeout=0)).leases == ()
    await hand.finish(Done(lease))
    woken = await sleeper.broker.wait(rig.stream, "bob", timeout=0)
    assert ids(woken.leases) == ["j1"]
    assert await hand.take(5) == [], "what a sleeper was handed counts"


# --- producers that only know XADD -----------------------------------------------------------------------


async def foreign(rig: Rig, count: int, limit: object = ONE, lane: Lane = "normal") -> list[str]:
    fields = {"payload": "1", "limit": limit if isinstance(limit, str) else msgspec.json.encode(limit)}
    return [await rig.inject(fields, lane) for _ in range(count)]


async def test_a_plain_xadd_with_a_limit_is_held_to_it(rig: Rig) -> None:
    hand = rig.hand()
    first, second, third = await foreign(rig, 3)
    (lease,) = await hand.take(2)
    assert lease.envelope.id == first
    assert await rig.places() == {"leased": 1, "parked": 2}
    turn = await hand.turn(Done(lease), free=2)
    assert [(one.envelope.id, one.envelope.enqueued_ms) for one in turn.leases] == [
        (second, int(second.split("-")[0]))
    ]
    assert ids((await hand.turn(Done(turn.leases[0]), free=2)).leases) == [third]


async def test_a_blocking_read_starts_none_too_many(rig: Rig) -> None:
    await rig.hand().take()
    await foreign(rig, 3)
    got = [await rig.broker.wait(rig.stream, name, timeout=0) for name in ("alice", "bob", "carol")]
    assert [len(wakeup.leases) for wakeup in got] == [1, 0, 0]
    assert await rig.places() == {"leased": 1, "parked": 2}


async def test_a_delivery_whose_reply_was_lost_is_adopted_within_the_limit(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(2))
    await hand.take_one()
    (found,) = await rig.broker.adopt(rig.stream, hand.name, [])
    assert found.envelope.id == "j0"
    assert await rig.hand("bob").take(5) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"key":"k"}', '{"key":"","running":1}', '{"key":"k","running":0}', '{"key":"a\\nb","running":1}',
     '{"key":"k","running":"1"}', '{"key":7,"running":1}', '{"running":1}', '{"key":"k","rate":0}', "null",
     '{"key":"k","running":1,"other":2}', '{"key":"k","running":1,"burst":0}', '{"key":"k","running":1e400}'],
)  # fmt: skip
async def test_a_limit_that_does_not_decode_is_told_and_stops_nothing(rig: Rig, text: str) -> None:
    hand = rig.hand()
    await foreign(rig, 2, text)
    await rig.put(job("fine", id="fine"))
    leases = await hand.take(5)
    defects = [one for one in leases if one.envelope.defect is not None]
    assert len(defects) >= 1
    assert all("'limit'" in (one.envelope.defect or "") for one in defects)
    await hand.turn(*(Bury(one, reason="invalid_payload") for one in leases))
    await rig.broker.sweep(rig.stream, idle=60, crash_budget=BUDGET)
    rest = await hand.take(5)
    await hand.turn(*(Bury(one, reason="invalid_payload") for one in rest))
    assert await rig.places() == {"dead": 3}


def test_a_limit_that_limits_nothing_or_is_out_of_range_is_refused() -> None:
    for wrong in (
        {"key": "k"},
        {"key": "", "running": 1},
        {"key": "a\nb", "running": 1},
        {"key": "k" * 513, "running": 1},
        {"key": "k", "running": 0},
        {"key": "k", "rate": 0.0},
        {"key": "k", "rate": float("nan")},
        {"key": "k", "rate": 1.0, "burst": 0},
    ):
        with pytest.raises(InvalidJob):
            Limit(**wrong)  # type: ignore[arg-type] # that is the test


# --- rates -------------------------------------------------------------------------------------------------


async def test_a_burst_starts_at_once_and_the_rest_at_the_rate(rig: Rig) -> None:
    hand = rig.hand()
    limit = Limit("k", rate=1, burst=2)
    await rig.put(*several(4, limit))
    assert ids(await hand.take(10)) == ["j0", "j1"]
    turn = await hand.turn(free=10)
    assert turn.leases == ()
    assert turn.next_due is not None
    assert 0 < turn.next_due <= 1.001, "whole milliseconds, rather late"
    seen = await rig.broker.find(rig.stream, "j3")
    assert (seen.state, seen.before, seen.envelope and seen.envelope.limit) == ("parked", 1, limit)
    assert seen.free_in is not None
    assert seen.free_in <= 1.001
    await rig.let_pass(1.001)
    rest = ids(await hand.take(10))
    await rig.let_pass(1.001)
    assert rest + ids(await hand.take(10)) == ["j2", "j3"]


async def test_waiting_for_the_rate_counts_no_attempt_and_no_delay(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(2, Limit("k", rate=50)))
    await hand.take_one()
    await rig.let_pass(0.021)
    lease = await hand.take_one()
    assert (lease.envelope.attempt, lease.envelope.crashes, lease.envelope.note) == (1, 0, "")


async def test_a_rate_and_a_number_at_once_hold_together(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(3, Limit("k", running=1, rate=50, burst=5)))
    first = await hand.take_one()
    assert await hand.take(5) == []
    turn = await hand.turn(Done(first), free=5)
    assert ids(turn.leases) == ["j1"]


async def test_jobs_that_lay_ready_for_long_do_not_start_in_a_crowd(rig: Rig) -> None:
    """Nobody took any for a while: what is ready is what may start at once, no more."""
    hand = rig.hand()
    await rig.hand("bob").turn()
    await rig.put(*several(6, Limit("k", rate=20, burst=2)))
    for _ in range(4):
        await rig.let_pass(0.06)
        await rig.hand("bob").turn()
    assert ids(await hand.take(10)) == ["j0", "j1"]


async def test_one_that_was_given_back_and_whose_rate_is_spent_waits_at_the_head(rig: Rig) -> None:
    hand = rig.hand()
    await rig.put(*several(3, Limit("k", rate=1)))
    lease = await hand.take_one()
    turn = await hand.turn(Release(lease), free=5)
    assert turn.leases == ()
    await rig.let_pass(1.001)
    assert ids(await hand.take(5)) == ["j0"]


async def test_a_sleeper_is_knocked_for_when_the_rate_lets_one_start(rig: Rig) -> None:
    hand, sleeper = rig.hand(), rig.hand("bob")
    await sleeper.take()
    await rig.put(*several(2, Limit("k", rate=0.1)))
    got = [await rig.broker.wait(rig.stream, "bob", timeout=0) for _ in range(2)]
    assert [lease.envelope.id for wakeup in got for lease in wakeup.leases] == ["j0"]
    assert any(wakeup.knocked for wakeup in got)
    turn = await hand.turn(free=0)
    assert turn.next_due is not None
    assert 8 < turn.next_due <= 10.001


async def test_a_slot_of_an_entry_that_somebody_deleted_comes_back_with_a_sweep(redis_rig: Rig) -> None:
    rig, hand = redis_rig, redis_rig.hand()
    await rig.put(*several(2))
    lease = await hand.take_one()
    await rig.client.xdel(rig.stream, lease.entry_id)
    assert await hand.take(5) == []
    await rig.broker.sweep(rig.stream, idle=60, crash_budget=BUDGET)
    assert ids(await hand.take(5)) == ["j1"]


async def test_after_a_flush_the_slots_are_free(redis_rig: Rig) -> None:
    rig, hand = redis_rig, redis_rig.hand()
    await rig.put(*several(2))
    lease = await hand.take_one()
    await rig.client.flushall()
    await rig.put(*several(2, prefix="n"))
    assert ids((await hand.turn(Done(lease), free=5)).leases) == ["n0"]
    assert await rig.places() == {"leased": 1, "parked": 1}
