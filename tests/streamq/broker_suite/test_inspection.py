"""What a person or a metric asks: numbers that add up, who holds what, and the paused flag."""

from __future__ import annotations

import pytest

from streamq.broker import Again, Bury, Done, Release
from streamq.errors import InvalidJob
from tests.streamq.rig import Rig, job


async def test_a_stream_nobody_used_is_empty(rig: Rig) -> None:
    stats = await rig.stats()
    assert stats.ready == {"high": 0, "normal": 0, "low": 0}
    assert (stats.leased, stats.delayed, stats.dead, stats.done, stats.workers) == (0, 0, 0, 0, 0)
    assert stats.oldest_seconds is None
    assert not stats.paused
    assert stats.counters == {}
    assert await rig.broker.pending(rig.stream) == []
    assert await rig.broker.delayed(rig.stream) == []


async def test_every_job_is_in_exactly_one_place(rig: Rig) -> None:
    await rig.put(*(job(n, lane=lane) for n in range(5) for lane in ("high", "normal", "low")))
    await rig.put(job(delay=60), job(delay=60))
    worker = rig.hand()
    taken = await worker.take(8)
    await worker.finish(
        Done(taken[0]),
        Done(taken[1]),
        Bury(taken[2], reason="x"),
        Again(taken[3], delay=60, counts=True),
        Release(taken[4]),
    )
    assert await rig.places() == {"ready": 8, "leased": 3, "delayed": 3, "dead": 1, "done": 2}
    stats = await rig.stats()
    assert stats.ready == {"high": 1, "normal": 3, "low": 4}
    assert stats.workers == 1
    assert stats.counters == {"enqueued": 17, "done": 2, "dead": 1, "retried": 1, "released": 1}


async def test_the_oldest_ready_job_gives_its_age(rig: Rig) -> None:
    await rig.put(job(lane="low"))
    await rig.let_pass(0.05)
    await rig.put(job(lane="high"))
    oldest = (await rig.stats()).oldest_seconds
    assert oldest is not None
    assert oldest >= 0.05
    worker = rig.hand()
    await worker.take(2)
    assert (await rig.stats()).oldest_seconds is None


async def test_the_age_of_a_delayed_job_counts_from_when_it_was_due(rig: Rig) -> None:
    enqueued = await rig.now_ms()
    await rig.put(job(delay=0.05))
    await rig.let_pass(0.1)
    await rig.hand().turn()
    stats = await rig.stats()
    assert stats.ready["normal"] == 1
    since_enqueued = (await rig.now_ms() - enqueued) / 1000
    assert stats.oldest_seconds is not None
    assert 0.05 <= stats.oldest_seconds <= since_enqueued - 0.05 + 0.002


async def test_what_is_in_hand_is_listed_longest_idle_first(rig: Rig) -> None:
    job_ids = [await rig.put_one(payload=n, lane=lane) for n, lane in enumerate(("low", "normal", "high"))]
    alice, bob = rig.hand("alice"), rig.hand("bob")
    high = await alice.take_one()
    await rig.let_pass(0.02)
    normal = await bob.take_one()
    await rig.let_pass(0.02)
    low = await alice.take_one()
    entries = await rig.broker.pending(rig.stream)
    assert [entry.envelope.id for entry in entries] == job_ids[::-1]
    assert [entry.entry_id for entry in entries] == [high.entry_id, normal.entry_id, low.entry_id]
    assert [entry.worker for entry in entries] == ["alice", "bob", "alice"]
    assert [entry.deliveries for entry in entries] == [1, 1, 1]
    assert [entry.envelope.lane for entry in entries] == ["high", "normal", "low"]
    idle = [entry.idle_seconds for entry in entries]
    assert idle == sorted(idle, reverse=True)
    assert idle[0] >= 0.04


async def test_the_list_of_what_is_in_hand_can_be_narrowed(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(4)))
    alice, bob = rig.hand("alice"), rig.hand("bob")
    old = await alice.take(2)
    await rig.let_pass(0.6)
    new = await bob.take(2)
    of_bob = await rig.broker.pending(rig.stream, worker="bob")
    assert {entry.entry_id for entry in of_bob} == {lease.entry_id for lease in new}
    idle = await rig.broker.pending(rig.stream, idle_over=0.5)
    assert {entry.entry_id for entry in idle} == {lease.entry_id for lease in old}
    assert len(await rig.broker.pending(rig.stream, limit=3)) == 3
    assert await rig.broker.pending(rig.stream, worker="carol") == []


async def test_a_short_list_of_what_is_in_hand_keeps_the_longest_idle(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(4)))
    alice, bob = rig.hand("alice"), rig.hand("bob")
    renewed = await alice.take(2)
    silent = await bob.take(2)
    await rig.let_pass(0.02)
    alice.renew(*renewed)
    entries = await rig.broker.pending(rig.stream, limit=2)
    assert {entry.entry_id for entry in entries} == {lease.entry_id for lease in silent}


async def test_records_are_listed_newest_first_and_bounded(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(5)))
    worker = rig.hand()
    order = []
    for lease in await worker.take(5):
        await worker.finish(Done(lease, duration=0.5))
        order.append(lease.envelope.id)
    records = await rig.broker.done(rig.stream)
    assert [record.job_id for record in records] == order[::-1]
    assert [record.job_id for record in await rig.broker.done(rig.stream, limit=2)] == order[:2:-1]
    now = await rig.now_ms()
    assert all(now - 60_000 < record.finished_ms <= now for record in records)


async def test_a_paused_stream_gives_nothing_and_says_so(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    worker = rig.hand()
    held = await worker.take_one()
    await rig.broker.set_paused(rig.stream, paused=True)
    turn = await worker.turn(free=5)
    assert turn.paused
    assert turn.leases == ()
    assert (await rig.stats()).paused
    # What is in hand goes on.
    assert worker.renew(held).lost == frozenset()
    assert await worker.finish(Done(held)) == frozenset()
    assert await rig.places() == {"ready": 1, "done": 1}


async def test_a_resumed_stream_goes_on_where_it_stood(rig: Rig) -> None:
    await rig.broker.set_paused(rig.stream, paused=True)
    await rig.broker.set_paused(rig.stream, paused=True)
    job_id = await rig.put_one()
    await rig.put(job(delay=0.01))
    await rig.let_pass(0.02)
    await rig.broker.set_paused(rig.stream, paused=False)
    turn = await rig.hand().turn(free=5)
    assert not turn.paused
    assert [lease.envelope.id for lease in turn.leases][:1] == [job_id]
    assert len(turn.leases) == 2
    assert not (await rig.stats()).paused


async def test_pausing_one_stream_pauses_no_other(rig: Rig) -> None:
    await rig.broker.set_paused("other", paused=True)
    await rig.put(job())
    assert len(await rig.hand().take(1)) == 1


@pytest.mark.parametrize("name", ["", "a b", "a{b}", "x" * 513, "line\nbreak", "nul\0"])
async def test_a_name_that_cannot_be_a_stream_is_refused(rig: Rig, name: str) -> None:
    with pytest.raises(InvalidJob):
        await rig.broker.stats(name)
    with pytest.raises(InvalidJob):
        await rig.broker.enqueue(name, [job()], call_id="c")


async def test_a_ping_says_what_answered(rig: Rig) -> None:
    facts = await rig.broker.ping()
    assert {"server", "version", "policy"} <= set(facts)
