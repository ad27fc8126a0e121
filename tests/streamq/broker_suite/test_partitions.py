"""A stream in several partitions: who goes where, growth, and one stream by its name."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest

from streamq import Admin, Every, InvalidJob, Limit, Queue, Recurring
from streamq.broker import Again, Bury, Done, Lease, Order
from streamq.errors import MorePartitions
from streamq.job import new_job_id
from streamq.partitions import partition_names, partition_of, split_name
from tests.streamq.rig import BUDGET, Rig, job


def queue(rig: Rig) -> Queue:
    return Queue(rig.stream, rig.broker)


async def ready(rig: Rig) -> list[int]:
    """Jobs that wait, by partition."""
    stats = await rig.stats()
    return [sum(one.ready.values()) for one in stats.partitions or (stats,)]


async def take_all(rig: Rig, count: int) -> list[Lease]:
    """What waits in each partition, in the hands of alice."""
    found: list[Lease] = []
    for name in partition_names(rig.stream, count):
        turn = await rig.broker.turn(name, "alice", sequence=1, free=100)
        found += turn.leases
    return found


async def bury(rig: Rig, leases: Sequence[Lease]) -> None:
    for sequence, lease in enumerate(leases, 2):
        dead = Bury(lease, reason="exhausted")
        turn = await rig.broker.turn(lease.stream, "alice", sequence=sequence, finished=[dead])
        assert not turn.refused


async def test_a_stream_has_one_partition_until_somebody_says_otherwise(rig: Rig) -> None:
    assert await rig.broker.partitions(rig.stream) == 1
    await queue(rig).enqueue_many([1] * 20)
    stats = await rig.stats()
    assert (stats.ready["normal"], stats.partitions) == (20, ())


async def test_jobs_go_where_their_key_belongs(rig: Rig) -> None:
    assert await rig.broker.set_partitions(rig.stream, 3) == 3
    jobs = queue(rig)
    for n in range(12):
        await jobs.enqueue(n, job_id=f"id-{n}")
        await jobs.enqueue(n, unique=f"unique-{n}")
        await jobs.enqueue(n, unique=f"other-{n}", limit=Limit("tenant", rate=1000, burst=1000))
    for number, name in enumerate(partition_names(rig.stream, 3)):
        envelopes = [one.envelope for one in await rig.broker.waiting(name)]
        if number == 0:  # that is the stream's own name: asked for it, all of them are told
            assert len(envelopes) == 36
            continue
        assert envelopes
        for one in envelopes:
            key = one.limit.key if one.limit else one.unique or one.id
            assert zlib.crc32(key.encode()) % 3 == number
    assert sum(await ready(rig)) == 36
    assert all(await ready(rig))


async def test_a_key_stays_unique_and_an_id_stays_one(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    for n in range(6):
        first = await queue(rig).enqueue(n, unique=f"k{n}")
        second = await queue(rig).enqueue(n, unique=f"k{n}")
        assert (first.created, second.created, second.job_id) == (True, False, first.job_id)
        assert (await queue(rig).enqueue(n, job_id=f"i{n}")).created
        assert not (await queue(rig).enqueue(n, job_id=f"i{n}")).created
    assert sum(await ready(rig)) == 12


async def test_a_batch_has_a_receipt_for_each_in_order_over_all_partitions(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 4)
    jobs = [queue(rig).new_job(n, job_id=f"j{n}") for n in range(30)]
    receipts = await queue(rig).enqueue_jobs(jobs)
    assert [one.job_id for one in receipts] == [f"j{n}" for n in range(30)]
    again = await queue(rig).enqueue_jobs([*jobs, queue(rig).new_job(0, job_id="new")])
    assert [one.created for one in again] == [False] * 30 + [True]
    assert all(await ready(rig))


async def test_a_producer_with_an_old_number_is_told_and_does_nothing_before(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 4)
    with pytest.raises(MorePartitions) as caught:
        await rig.broker.enqueue(rig.stream, [job()], call_id="c", partitions=1)
    assert caught.value.count == 4
    assert sum(await ready(rig)) == 0
    rig.broker.counts.clear()
    await queue(rig).enqueue(1, job_id="b")
    assert (await ready(rig))[partition_of("b", 4)] == 1
    assert rig.broker.counts[rig.stream] == 4


async def test_what_one_partition_has_forgotten_a_producer_tells_it(rig: Rig) -> None:
    await rig.broker.enqueue(rig.stream, [job()], call_id="c", partitions=3)
    assert await rig.broker.partitions(rig.stream) == 3


async def test_a_call_repeated_after_growth_adds_nothing(rig: Rig) -> None:
    jobs = [queue(rig).new_job(n) for n in range(12)]
    await rig.broker.set_partitions(rig.stream, 2)
    await rig.broker.partitions(rig.stream)
    first = await queue(rig).enqueue_jobs(jobs, call_id="call@2")
    await rig.broker.set_partitions(rig.stream, 4)
    assert await queue(rig).enqueue_jobs(jobs, call_id="call@2") == first
    assert sum(await ready(rig)) == 12


async def test_a_call_planned_before_growth_and_repeated_adds_nothing(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 4)
    jobs = [queue(rig).new_job(n) for n in range(12)]
    first = await queue(rig).enqueue_jobs(jobs, call_id="call@2")
    assert await queue(rig).enqueue_jobs(jobs, call_id="call@2") == first
    assert sum(await ready(rig)) == 12


async def test_the_number_only_grows_and_a_partition_has_none_of_its_own(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    assert await rig.broker.set_partitions(rig.stream, 3) == 3
    for stream, count in ((rig.stream, 2), (rig.stream, 0), (rig.stream, 65), (f"{rig.stream}.1", 2)):
        with pytest.raises(InvalidJob):
            await rig.broker.set_partitions(stream, count)
    assert await rig.broker.partitions(rig.stream) == 3


async def test_another_streams_name_is_not_taken_for_a_partition(rig: Rig) -> None:
    await Queue(f"{rig.stream}.2", rig.broker).enqueue(1)
    assert await rig.broker.set_partitions(rig.stream, 2) == 2
    with pytest.raises(InvalidJob, match=r"\.2"):
        await rig.broker.set_partitions(rig.stream, 3)
    assert await rig.broker.partitions(rig.stream) == 2


async def test_new_partitions_begin_as_the_stream_is(rig: Rig) -> None:
    await rig.broker.set_paused(rig.stream, paused=True)
    await rig.broker.set_concurrency(rig.stream, 7)
    await rig.broker.set_partitions(rig.stream, 3)
    parts = (await rig.stats()).partitions
    assert [(one.paused, one.concurrency) for one in parts] == [(True, 7)] * 3
    await rig.broker.set_paused(rig.stream, paused=False)
    await rig.broker.set_concurrency(rig.stream, None)
    parts = (await rig.stats()).partitions
    assert [(one.paused, one.concurrency) for one in parts] == [(False, None)] * 3


async def test_a_heartbeat_in_any_partition_tells_the_number(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    for name in partition_names(rig.stream, 3):
        assert rig.broker.renew(name, "alice", []).partitions == 3
    (seen,) = await rig.broker.workers(rig.stream)
    assert (seen.name, seen.beat) == ("alice", 1)
    assert (await rig.stats()).workers == 1
    assert await rig.broker.order(rig.stream, "alice", Order("o", "quiet"))
    await rig.broker.answer(f"{rig.stream}.2", "o", "yes")
    assert await rig.broker.answered(rig.stream, "o") == "yes"


async def test_the_numbers_of_a_stream_are_those_of_its_partitions_together(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    await queue(rig).enqueue_many(range(30))
    await queue(rig).enqueue_many(range(9), delay=600)
    leases = await take_all(rig, 3)
    assert len(leases) == 30
    await rig.broker.turn(leases[0].stream, "alice", sequence=9, finished=[Done(leases[0])])
    await rig.broker.turn(
        leases[-1].stream, "alice", sequence=9, finished=[Again(leases[-1], 60, counts=True)]
    )
    assert await rig.places() == {"leased": 28, "delayed": 10, "done": 1}
    stats = await rig.stats()
    assert stats.counters["enqueued"] == 39
    assert len(stats.partitions) == 3
    assert [one.stream for one in stats.partitions] == partition_names(rig.stream, 3)
    assert len(await rig.broker.pending(rig.stream)) == 28
    assert len(await rig.broker.pending(rig.stream, worker="alice", limit=5)) == 5
    delayed = await rig.broker.delayed(rig.stream)
    assert [due for _, due in delayed] == sorted(due for _, due in delayed)
    assert len(delayed) == 10
    (record,) = await rig.broker.done(rig.stream)
    assert record.job_id == leases[0].envelope.id


async def test_dead_letters_are_one_list_and_go_back_where_they_were(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    await queue(rig).enqueue_many([{"n": n} for n in range(12)])
    leases = await take_all(rig, 3)
    await bury(rig, leases)
    admin = Admin(rig.broker, [rig.stream])
    letters = [one async for one in admin.dead_letters(rig.stream)]
    assert len(letters) == 12
    assert [one.died_ms for one in letters] == sorted((one.died_ms for one in letters), reverse=True)

    paged: list[str] = []
    before = None
    while page := await rig.broker.dead(rig.stream, limit=5, before=before):
        paged += [one.entry_id for one in page]
        before = page[-1].entry_id
    assert paged == [one.entry_id for one in letters]
    assert len(set(paged)) == 12

    chosen = letters[0].entry_id
    made = await admin.requeue(rig.stream, paged[:6], payloads={chosen: b'{"n":99}'})
    assert sorted(made.ready) == sorted(one.envelope.id for one in letters[:6])
    assert await admin.purge(rig.stream, paged) == 6
    waiting = {one.envelope.id: one.envelope.payload for one in await rig.broker.waiting(rig.stream)}
    assert waiting[letters[0].envelope.id] == b'{"n":99}'
    assert await rig.places() == {"ready": 6}
    was = {lease.envelope.id: lease.stream for lease in leases}
    for name in partition_names(rig.stream, 3)[1:]:
        assert all(was[one.envelope.id] == name for one in await rig.broker.waiting(name))


async def test_a_job_is_found_explained_and_cancelled_wherever_it_is(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    ids = [(await queue(rig).enqueue(n, unique=f"u{n}")).job_id for n in range(9)]
    late = (await queue(rig).enqueue(0, delay=600)).job_id
    admin = Admin(rig.broker, [rig.stream])
    seen = [await admin.find(one) for one in ids]
    assert {one.state for one in seen} == {"ready"}
    assert {split_name(one.stream)[0] for one in seen} == {rig.stream}
    assert len({one.stream for one in seen}) == 3
    assert "no worker is up" in await admin.why(seen[0])
    for one in (*ids, late):
        _, made = await admin.cancel(one)
        assert made.found == ("delayed" if one == late else "waiting")
        assert (await admin.find(one)).state == "cancelled"
    assert (await rig.places()) == {"done": 10}
    _, made = await admin.cancel(new_job_id())
    assert made.found == "unknown"
    assert (await rig.broker.find(rig.stream, "nobody")).state == "unknown"


async def test_a_running_job_is_told_in_its_partition(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    await queue(rig).enqueue_many(range(6))
    for lease in await take_all(rig, 3):
        made = await rig.broker.cancel(rig.stream, lease.envelope.id)
        assert (made.found, made.worker) == ("running", "alice")
        assert rig.broker.renew(lease.stream, "alice", [lease]).cancelled == {lease.key}


async def test_a_dead_workers_jobs_are_taken_back_in_each_partition(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    await queue(rig).enqueue_many(range(9))
    await take_all(rig, 3)
    for name in partition_names(rig.stream, 3):
        await rig.broker.reclaim(name, "alice", beat=None, crash_budget=BUDGET)
    assert await rig.places() == {"ready": 9}


async def test_ticks_and_triggers_are_of_partition_0(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 3)
    recurring = Recurring(rig.stream, rig.broker)
    for n in range(5):
        await recurring.add(f"often-{n}", Every(3600), 1, overlap="skip")
        assert (await recurring.trigger(f"often-{n}")).created
        assert not (await recurring.trigger(f"often-{n}")).created
    assert await ready(rig) == [5, 0, 0]
