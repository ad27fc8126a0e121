"""A worker that lives and cannot say so is vouched for by whoever sees it run."""

from __future__ import annotations

from streamq.broker import Done, Reclaimed
from tests.streamq.rig import BUDGET, Rig, job


async def _beat_of(rig: Rig, name: str) -> int:
    return rig.hand("observer").renew().beats[name]


async def test_whoever_counted_its_beats_sees_another_and_takes_nothing(rig: Rig) -> None:
    await rig.put(job(1), job(2, lane="high"), job(3, lane="low"))
    alice = rig.hand("alice")
    leases = await alice.take(3)
    alice.renew(*leases)
    beat = await _beat_of(rig, "alice")

    assert await rig.broker.vouch(rig.stream, "alice")

    assert await rig.broker.reclaim(rig.stream, "alice", beat=beat, crash_budget=BUDGET) == Reclaimed()
    assert await alice.finish(*(Done(lease) for lease in leases)) == frozenset()


async def test_all_that_it_holds_is_renewed_and_nobody_elses(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(1_101)))  # more than a script asks for at once
    alice, bob = rig.hand("alice"), rig.hand("bob")
    await alice.take(1_100)
    left = await bob.take_one()
    alice.renew()
    await rig.let_pass(0.8)

    assert await rig.broker.vouch(rig.stream, "alice")

    idle = await rig.broker.pending(rig.stream, idle_over=0.8)
    assert [entry.entry_id for entry in idle] == [left.entry_id]


async def test_a_delivery_that_was_vouched_for_is_no_delivery_more(rig: Rig) -> None:
    await rig.put(job(1))
    alice = rig.hand("alice")
    await alice.take_one()
    alice.renew()
    await rig.broker.vouch(rig.stream, "alice")
    await rig.kill(alice)

    assert (await rig.hand("bob").take_one()).envelope.crashes == 1


async def test_nobody_is_vouched_for_who_is_not_known_any_more(rig: Rig) -> None:
    await rig.put(job(1))
    alice = rig.hand("alice")
    await alice.take_one()
    alice.renew()
    beat = await _beat_of(rig, "alice")
    await rig.broker.reclaim(rig.stream, "alice", beat=beat, crash_budget=BUDGET)
    before = await rig.places()

    assert not await rig.broker.vouch(rig.stream, "alice")
    assert not await rig.broker.vouch(rig.stream, "nobody")

    assert await rig.places() == before == {"ready": 1}
    assert "alice" not in rig.hand("observer").renew().beats
