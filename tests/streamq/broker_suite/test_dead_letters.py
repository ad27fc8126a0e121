"""Dead letters say why, are listed page by page, and can be given another life."""

from __future__ import annotations

import pytest

from streamq.broker import Again, Bury, Done, Requeued, Retention
from streamq.job import Envelope, new_job_id
from streamq.retry import Retry
from tests.streamq.rig import Rig, job


async def _bury(rig: Rig, *, reason: str = "exhausted", **options: object) -> Envelope:
    """One job, dead."""
    await rig.put(job(**options))
    worker = rig.hand(f"undertaker-{new_job_id()}")
    lease = await worker.take_one()
    await worker.finish(Bury(lease, reason=reason, error="ValueError: no", traceback="File ..."))
    return lease.envelope


async def test_a_dead_letter_keeps_all_that_a_person_needs(rig: Rig) -> None:
    await rig.put(
        job(b"\xff\x00", headers={"h": "ü"}, retry=Retry(delays=(0,)), timeout=3, lane="high", unique="k")
    )
    worker = rig.hand()
    lease = await worker.take_one()
    (lease,) = (await worker.turn(Again(lease, delay=0, counts=True), free=1)).leases
    before = await rig.now_ms()
    await worker.finish(Bury(lease, reason="exhausted", error="ValueError: ü", traceback="File ..."))
    (letter,) = await rig.broker.dead(rig.stream)
    assert (letter.reason, letter.error, letter.traceback) == ("exhausted", "ValueError: ü", "File ...")
    assert letter.attempts == 2
    assert before <= letter.died_ms <= await rig.now_ms()
    for same in (
        "id",
        "payload",
        "attempt",
        "crashes",
        "enqueued_ms",
        "headers",
        "retry",
        "timeout",
        "lane",
        "unique",
    ):
        assert getattr(letter.envelope, same) == getattr(lease.envelope, same), same
    assert (await rig.stats()).counters["dead"] == 1


async def test_long_errors_are_cut_the_traceback_from_its_end(rig: Rig) -> None:
    await rig.put(job())
    worker = rig.hand()
    lease = await worker.take_one()
    await worker.finish(
        Bury(lease, reason="r" * 1000, error="e" * 100_000, traceback="t" * 100_000 + "the end")
    )
    (letter,) = await rig.broker.dead(rig.stream)
    assert len(letter.reason) == 200
    assert len(letter.error) == 2000
    assert len(letter.traceback) == 8000
    assert letter.traceback.endswith("the end")


async def test_text_that_is_not_unicode_does_not_stop_a_burial(rig: Rig) -> None:
    await rig.put(job())
    worker = rig.hand()
    lease = await worker.take_one()
    refused = await worker.finish(Bury(lease, reason="x", error="lone \ud800", traceback="\udcff"))
    assert refused == frozenset()
    (letter,) = await rig.broker.dead(rig.stream)
    assert letter.error.startswith("lone ")


async def test_the_dead_are_listed_newest_first_and_page_by_page(rig: Rig) -> None:
    buried = [(await _bury(rig)).id for _ in range(5)]
    pages = []
    before: str | None = None
    while page := await rig.broker.dead(rig.stream, limit=2, before=before):
        pages.append([letter.envelope.id for letter in page])
        before = page[-1].entry_id
    assert pages == [buried[:2:-1], buried[2:0:-1], buried[:1]]


async def test_nothing_is_dead_in_a_stream_nobody_used(rig: Rig) -> None:
    assert await rig.broker.dead(rig.stream) == []
    assert await rig.broker.done(rig.stream) == []
    assert await rig.broker.requeue(rig.stream, ["1-0"]) == Requeued(ready=(), duplicate=())


async def test_a_requeued_job_starts_over_under_its_own_id(rig: Rig) -> None:
    await rig.put(job({"n": 1}, lane="low", headers={"h": "v"}, timeout=2.0))
    worker = rig.hand()
    lease = await worker.take_one()
    (lease,) = (await worker.turn(Again(lease, delay=0, counts=True), free=1)).leases
    await rig.kill(worker)
    lease = await worker.take_one()
    assert (lease.envelope.attempt, lease.envelope.crashes) == (2, 1)
    await worker.finish(Bury(lease, reason="exhausted"))
    (letter,) = await rig.broker.dead(rig.stream)
    answer = await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert answer == Requeued(ready=(lease.envelope.id,), duplicate=())
    assert await rig.places() == {"ready": 1}
    again = await worker.take_one()
    assert (again.envelope.attempt, again.envelope.crashes) == (1, 0)
    assert again.fence > lease.fence
    for same in ("id", "payload", "headers", "timeout", "lane", "enqueued_ms"):
        assert getattr(again.envelope, same) == getattr(lease.envelope, same)
    assert (await rig.stats()).counters["requeued"] == 1


async def test_a_job_that_crashed_to_death_can_be_requeued_to_its_lane(rig: Rig) -> None:
    await rig.put(job(lane="high", unique="k"))
    worker = rig.hand()
    await worker.take_one()
    await rig.kill(worker, budget=1)
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    again = await worker.take_one()
    assert (again.lane, again.envelope.crashes, again.envelope.unique) == ("high", 0, "k")


async def test_an_entry_requeued_twice_is_one_job(rig: Rig) -> None:
    await _bury(rig)
    (letter,) = await rig.broker.dead(rig.stream)
    both = await rig.broker.requeue(rig.stream, [letter.entry_id, letter.entry_id])
    again = await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert len(both.ready) == 1
    assert again == Requeued(ready=(), duplicate=())
    assert await rig.places() == {"ready": 1}


async def test_requeue_takes_the_uniqueness_key_again(rig: Rig) -> None:
    buried = await _bury(rig, unique="k")
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    (receipt,) = await rig.put(job(unique="k"))
    assert (receipt.job_id, receipt.created) == (buried.id, False)


async def test_a_dead_letter_whose_key_is_taken_stays_dead_and_is_named(rig: Rig) -> None:
    buried = await _bury(rig, unique="k")
    await rig.put(job(unique="k"))
    (letter,) = await rig.broker.dead(rig.stream)
    answer = await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert answer == Requeued(ready=(), duplicate=(buried.id,))
    assert await rig.places() == {"ready": 1, "dead": 1}


async def test_of_two_dead_letters_with_one_key_one_is_requeued(rig: Rig) -> None:
    first, second = await _bury(rig, unique="k"), await _bury(rig, unique="k")
    newest, oldest = await rig.broker.dead(rig.stream)
    answer = await rig.broker.requeue(rig.stream, [oldest.entry_id, newest.entry_id])
    assert answer == Requeued(ready=(first.id,), duplicate=(second.id,))
    assert await rig.places() == {"ready": 1, "dead": 1}


async def test_the_raw_bytes_of_a_bad_payload_survive_death_and_requeue(rig: Rig) -> None:
    every_byte = bytes(range(256)) * 4
    await _bury(rig, payload=every_byte, reason="invalid_payload")
    (letter,) = await rig.broker.dead(rig.stream)
    assert letter.envelope.payload == every_byte
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert (await rig.hand().take_one()).envelope.payload == every_byte


async def test_dead_letters_and_records_go_when_their_time_is_over(rig: Rig) -> None:
    await rig.put(job(1), job(2))
    worker = rig.hand()
    one, two = await worker.take(2)
    await worker.finish(Done(one), Bury(two, reason="x"))
    await rig.broker.trim(rig.stream, Retention(done_seconds=60, dead_seconds=60))
    assert await rig.places() == {"done": 1, "dead": 1}
    await rig.let_pass(0.03)
    await rig.broker.trim(rig.stream, Retention(done_seconds=0.02, dead_seconds=60))
    assert await rig.places() == {"dead": 1}
    await rig.broker.trim(rig.stream, Retention(done_seconds=60, dead_seconds=0.02))
    assert await rig.places() == {}


async def test_trim_keeps_the_newest_records(rig: Rig) -> None:
    await rig.put(*(job(n) for n in range(6)))
    worker = rig.hand()
    taken = await worker.take(6)
    await worker.finish(*(Done(lease) for lease in taken))
    await rig.broker.trim(rig.stream, Retention(done_count=2))
    records = await rig.broker.done(rig.stream)
    assert [record.job_id for record in records] == [taken[5].envelope.id, taken[4].envelope.id]


@pytest.mark.parametrize("reason", ["invalid_payload", "exhausted", "crashed", "wörtlich"])
async def test_the_reason_is_kept_as_it_was_said(rig: Rig, reason: str) -> None:
    await _bury(rig, reason=reason)
    (letter,) = await rig.broker.dead(rig.stream)
    assert letter.reason == reason
