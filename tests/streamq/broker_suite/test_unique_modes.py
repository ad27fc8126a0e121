"""What becomes of a second job of a uniqueness key: a duplicate, a later one, or the one that replaces it."""

from __future__ import annotations

import pytest

from streamq.broker import Again, Bury, Done
from streamq.errors import InvalidJob
from streamq.job import Receipt
from streamq.limits import Limit
from tests.streamq.machine import FAR
from tests.streamq.rig import FINISHES, Rig, ids, job

KEY = "doc:7"


async def put(rig: Rig, n: int, **options: object) -> Receipt:
    (receipt,) = await rig.put(job(n, id=f"j{n}", **({"unique": KEY, "replace": True} | options)))
    return receipt


async def test_the_last_payload_wins_under_the_first_ones_id(rig: Rig) -> None:
    receipts = [await put(rig, n, headers={"n": str(n)}) for n in range(3)]
    assert [one.outcome for one in receipts] == ["created", "replaced", "replaced"]
    assert {one.job_id for one in receipts} == {"j0"}
    (lease,) = await rig.hand().take(5)
    assert (lease.envelope.id, lease.envelope.payload, lease.envelope.headers) == ("j0", b"2", {"n": "2"})


async def test_a_delay_counts_from_the_last_one(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0, delay=0.05)
    await put(rig, 1, delay=FAR)
    await rig.let_pass(0.06)
    assert await hand.take(5) == []
    await put(rig, 2, delay=0.02)
    await rig.let_pass(0.03)
    assert [one.envelope.payload for one in await hand.take(5)] == [b"2"]
    assert (await rig.stats()).counters["enqueued"] == 1


async def test_it_is_not_put_off_for_longer_than_its_longest_wait(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0, delay=1, max_wait=1)
    await rig.let_pass(0.05)
    assert (await put(rig, 1, delay=FAR, max_wait=1)).outcome == "replaced"
    ((envelope, due),) = await rig.broker.delayed(rig.stream)
    assert due * 1000 == pytest.approx(envelope.enqueued_ms + 1000, abs=1)
    await rig.let_pass(0.96)
    assert [one.envelope.payload for one in await hand.take(5)] == [b"1"]


async def test_one_that_is_ready_is_put_off_again(rig: Rig) -> None:
    await put(rig, 0)
    assert (await put(rig, 1, delay=FAR)).outcome == "replaced"
    assert await rig.places() == {"delayed": 1}


async def test_a_running_one_is_left_alone_and_the_next_starts_when_it_has_ended(rig: Rig) -> None:
    hand, other = rig.hand(), rig.hand("bob")
    await put(rig, 0)
    first = await hand.take_one()
    assert (await put(rig, 1)) == Receipt("j1", created=True)
    assert (await put(rig, 2)) == Receipt("j1", created=False, replaced=True)
    assert await other.take(5) == []
    seen = await rig.broker.find(rig.stream, "j1")
    assert (seen.state, seen.behind) == ("parked", "j0")
    turn = await hand.turn(Done(first), free=5)
    assert turn.refused == set()
    assert [(one.envelope.id, one.envelope.payload) for one in turn.leases] == [("j1", b"2")]


async def test_the_next_waits_through_the_retries_of_the_one_before(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0)
    first = await hand.take_one()
    await put(rig, 1)
    await hand.finish(Again(first, delay=0.01, counts=True))
    await rig.let_pass(0.02)
    (again,) = await hand.take(5)
    assert (again.envelope.id, again.envelope.attempt) == ("j0", 2)
    assert ids((await hand.turn(Bury(again, reason="because"), free=5)).leases) == ["j1"]


@pytest.mark.parametrize("end", ["cancel", "crash to death"])
async def test_the_next_starts_also_when_the_one_before_ends_badly(rig: Rig, end: str) -> None:
    hand, other = rig.hand(), rig.hand("bob")
    await put(rig, 0)
    first = await hand.take_one()
    await put(rig, 1)
    if end == "cancel":
        await rig.broker.cancel(rig.stream, "j0")
        await hand.turn(Done(first))
    else:
        await rig.kill(hand, budget=1)
    assert ids(await other.take(5)) == ["j1"]


async def test_a_delayed_next_one_waits_for_its_time_and_for_the_one_before(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0)
    first = await hand.take_one()
    await put(rig, 1, delay=0.02)
    assert await rig.places() == {"leased": 1, "delayed": 1}
    await rig.let_pass(0.03)
    assert await hand.take(5) == []
    assert await rig.places() == {"leased": 1, "parked": 1}
    assert ids((await hand.turn(Done(first), free=5)).leases) == ["j1"]


async def test_one_behind_that_is_cancelled_gives_the_key_back(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0)
    first = await hand.take_one()
    await put(rig, 1)
    assert (await rig.broker.cancel(rig.stream, "j1")).found == "waiting"
    assert (await put(rig, 2)).created
    turn = await hand.turn(Done(first), free=5)
    assert turn.refused == set()
    assert await rig.places() == {"leased": 1, "done": 2}


async def test_a_job_that_waits_for_its_retry_is_replaced_and_starts_anew(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0)
    await hand.finish(Again(await hand.take_one(), delay=FAR, counts=True, note="no"))
    assert (await put(rig, 1)).outcome == "replaced"
    (lease,) = await hand.take(5)
    assert (lease.envelope.id, lease.envelope.payload, lease.envelope.attempt) == ("j0", b"1", 1)


async def test_a_reclaimed_and_a_released_job_can_still_be_replaced(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0)
    await hand.take_one()
    await rig.kill(hand)
    assert (await put(rig, 1)).outcome == "replaced"
    await hand.finish(FINISHES["release"](await hand.take_one()))
    assert (await put(rig, 2)).outcome == "replaced"
    assert [one.envelope.payload for one in await hand.take(5)] == [b"2"]


async def test_after_it_has_ended_the_key_is_free(rig: Rig) -> None:
    hand = rig.hand()
    for n in range(3):
        assert await put(rig, n) == Receipt(f"j{n}", created=True)
        await hand.finish(Done(await hand.take_one()))
    assert await rig.places() == {"done": 3}


async def test_one_that_nobody_may_replace_runs_first_and_is_then_followed(rig: Rig) -> None:
    """Enqueued without `replace`: where it lies nobody knows, so it is left alone, as a running one is."""
    hand = rig.hand()
    await put(rig, 0, replace=False)
    assert await put(rig, 1) == Receipt("j1", created=True)
    (first,) = await hand.take(5)
    assert first.envelope.payload == b"0"
    assert ids((await hand.turn(Done(first), free=5)).leases) == ["j1"]


async def test_a_plain_second_one_is_a_duplicate_of_whoever_holds_the_key(rig: Rig) -> None:
    await put(rig, 0)
    assert await put(rig, 1, replace=False) == Receipt("j0", created=False)
    assert (await rig.hand().take_one()).envelope.payload == b"0"


async def test_a_replaced_job_keeps_to_its_limit(rig: Rig) -> None:
    hand = rig.hand()
    one = Limit("k", running=1)
    await rig.put(job("other", id="other", limit=one))
    await put(rig, 0, limit=one)
    assert (await put(rig, 1, limit=one)).outcome == "replaced"
    (first,) = await hand.take(5)
    assert (await put(rig, 2, limit=one)).outcome == "replaced"
    turn = await hand.turn(Done(first), free=5)
    assert [one.envelope.payload for one in turn.leases] == [b"2"]


async def test_a_replaced_ready_job_lets_go_of_its_slot(rig: Rig) -> None:
    hand = rig.hand()
    await put(rig, 0, limit=Limit("a", running=1))
    await rig.put(job("next", id="next", limit=Limit("a", running=1)))
    await put(rig, 1, limit=Limit("b", running=1))
    assert sorted(ids(await hand.take(5))) == ["j0", "next"]


async def test_repeating_the_call_answers_the_same_and_replaces_nothing_twice(rig: Rig) -> None:
    await put(rig, 0)
    new = job(1, id="j1", unique=KEY, replace=True)
    first = await rig.put(new, call_id="again")
    assert await rig.put(new, call_id="again") == first == [Receipt("j0", created=False, replaced=True)]
    assert await rig.places() == {"ready": 1}


async def test_several_in_one_call_replace_each_other(rig: Rig) -> None:
    receipts = await rig.put(*(job(n, id=f"j{n}", unique=KEY, replace=True) for n in range(3)))
    assert [one.outcome for one in receipts] == ["created", "replaced", "replaced"]
    assert (await rig.hand().take_one()).envelope.payload == b"2"


async def test_a_key_whose_job_somebody_deleted_is_taken_over(redis_rig: Rig) -> None:
    rig = redis_rig
    await put(rig, 0)
    ((entry_id, _),) = await rig.client.xrange(rig.stream)
    await rig.client.xdel(rig.stream, entry_id)
    assert await put(rig, 1) == Receipt("j1", created=True)
    assert (await rig.hand().take_one()).envelope.id == "j1"


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in (
        {"replace": True},
        {"replace": True, "unique": "k", "unique_for": 5.0},
        {"replace": True, "unique": "a\nb"},
        {"unique": "k", "max_wait": 5.0},
        {"replace": True, "unique": "k", "max_wait": 0.0},
    ):
        with pytest.raises(InvalidJob):
            job(**wrong)
