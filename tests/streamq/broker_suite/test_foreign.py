"""Any program that speaks Redis may produce, and nothing it writes stops a stream."""

from __future__ import annotations

import pytest

from streamq.broker import Again, Bury, Done
from streamq.keys import Lane
from tests.streamq.rig import Rig, job

#: Fields a foreign producer got wrong, and the word the defect must name.
DEFECTS = [
    ({"pay": "1", "load": "2"}, "payload"),
    ({"payload": "1", "attempt": "two"}, "attempt"),
    ({"payload": "1", "attempt": "-1"}, "attempt"),
    ({"payload": "1", "attempt": "9" * 400}, "attempt"),
    ({"payload": "1", "crashes": "1.5"}, "crashes"),
    ({"payload": "1", "enqueued": "yesterday"}, "enqueued"),
    ({"payload": "1", "eligible": ""}, "eligible"),
    ({"payload": "1", "headers": "{"}, "headers"),
    ({"payload": "1", "headers": "[]"}, "headers"),
    ({"payload": "1", "headers": '{"a": 1}'}, "headers"),
    ({"payload": "1", "headers": b"\xff\xfe"}, "headers"),
    ({"payload": "1", "retry": "soon"}, "retry"),
    ({"payload": "1", "retry": '{"delays": [-1]}'}, "retry"),
    ({"payload": "1", "retry": '{"max_attempts": 0}'}, "retry"),
    ({"payload": "1", "timeout": "long"}, "timeout"),
    ({"payload": "1", "timeout": "0"}, "timeout"),
    ({"payload": "1", "timeout": "nan"}, "timeout"),
    ({"payload": "1", "timeout": "inf"}, "timeout"),
    ({"payload": "1", "id": "x" * 10_000}, "id"),
    ({"payload": "1", "unique": "x" * 10_000}, "unique"),
    ({"payload": "1", "retry": '{"x":' + "[" * 50_000 + "]" * 50_000 + "}"}, "retry"),
    ({"payload": "1", "limit": '{"key":' + "[" * 50_000 + "]" * 50_000 + "}"}, "limit"),
]


@pytest.mark.parametrize("lane", ["high", "normal", "low"])
async def test_an_entry_with_only_a_payload_is_a_whole_job(rig: Rig, lane: Lane) -> None:
    entry_id = await rig.inject({"payload": '{"ruleId":"r1"}'}, lane)
    lease = await rig.hand().take_one()
    assert lease.entry_id == entry_id
    envelope = lease.envelope
    assert (envelope.id, envelope.payload, envelope.lane) == (entry_id, b'{"ruleId":"r1"}', lane)
    assert (envelope.attempt, envelope.crashes, envelope.defect) == (1, 0, None)
    assert (envelope.headers, envelope.retry, envelope.timeout, envelope.unique) == ({}, None, None, None)
    assert envelope.enqueued_ms == envelope.eligible_ms == int(entry_id.split("-")[0])


async def test_an_entry_that_was_there_before_any_worker_is_not_missed(rig: Rig) -> None:
    entry_ids = [await rig.inject({"payload": str(n)}) for n in range(3)]
    assert [lease.entry_id for lease in await rig.hand().take(5)] == entry_ids


async def test_fields_nobody_knows_are_no_harm(rig: Rig) -> None:
    await rig.inject({"payload": "1", "colour": "red", b"\xff\xfe": b"\x00"})
    assert (await rig.hand().take_one()).envelope.defect is None


async def test_every_envelope_field_may_be_said(rig: Rig) -> None:
    await rig.inject(
        {
            "payload": "1", "id": "mine", "attempt": "2", "crashes": "1", "enqueued": "1700000000000",
            "eligible": "1700000000500", "headers": '{"a": "b"}', "retry": '{"delays": [30, 120]}',
            "timeout": "2.5", "unique": "k",
        }
    )  # fmt: skip
    envelope = (await rig.hand().take_one()).envelope
    assert envelope.defect is None
    assert (envelope.id, envelope.attempt, envelope.crashes) == ("mine", 2, 1)
    assert (envelope.enqueued_ms, envelope.eligible_ms) == (1_700_000_000_000, 1_700_000_000_500)
    assert (envelope.headers, envelope.timeout, envelope.unique) == ({"a": "b"}, 2.5, "k")
    assert envelope.retry is not None
    assert envelope.retry.attempts == 3


async def test_an_empty_id_is_as_good_as_none(rig: Rig) -> None:
    entry_id = await rig.inject({"payload": "1", "id": ""})
    alice = rig.hand()
    assert (await alice.take_one()).envelope.id == entry_id
    await rig.kill(alice)
    assert (await alice.take_one()).envelope.id == entry_id


@pytest.mark.parametrize(
    ("fields", "word"), DEFECTS, ids=[f"{n}-{word}" for n, (_, word) in enumerate(DEFECTS)]
)
async def test_a_field_that_does_not_decode_is_told_and_stops_nothing(
    rig: Rig, fields: dict[str, str | bytes], word: str
) -> None:
    await rig.inject(fields)
    good = await rig.put_one()
    worker = rig.hand()
    bad, next_one = await worker.take(2)
    assert bad.envelope.defect is not None
    assert word in bad.envelope.defect
    assert (next_one.envelope.id, next_one.envelope.defect) == (good, None)
    refused = await worker.finish(
        Bury(bad, reason="invalid_payload", error=bad.envelope.defect), Done(next_one)
    )
    assert refused == frozenset()
    assert await rig.places() == {"dead": 1, "done": 1}


@pytest.mark.parametrize("fields", [fields for fields, _ in DEFECTS], ids=range(len(DEFECTS)))
async def test_a_broken_entry_survives_a_crash_and_can_be_listed_everywhere(
    rig: Rig, fields: dict[str, str | bytes]
) -> None:
    await rig.inject(fields)
    await rig.stats()
    worker = rig.hand()
    await worker.take_one()
    assert len(await rig.broker.pending(rig.stream)) == 1
    await rig.kill(worker)
    lease = await worker.take_one()
    await worker.finish(Again(lease, delay=60, counts=True))
    assert len(await rig.broker.delayed(rig.stream)) == 1
    await rig.inject(fields)
    await worker.take_one()
    await rig.kill(worker, budget=1)
    (letter,) = await rig.broker.dead(rig.stream)
    await rig.broker.requeue(rig.stream, [letter.entry_id])
    assert await rig.places() == {"delayed": 1, "ready": 1}


async def test_a_foreign_entry_can_be_retried_and_keeps_its_first_entry_as_its_id(rig: Rig) -> None:
    entry_id = await rig.inject({"payload": "1"})
    worker = rig.hand()
    lease = await worker.take_one()
    (again,) = (await worker.turn(Again(lease, delay=0, counts=True), free=1)).leases
    assert (again.envelope.id, again.envelope.attempt) == (entry_id, 2)
    assert again.envelope.enqueued_ms == lease.envelope.enqueued_ms


async def test_foreign_entries_and_our_own_are_taken_in_their_order(rig: Rig) -> None:
    first = await rig.inject({"payload": "1"})
    second = await rig.put_one()
    third = await rig.inject({"payload": "3"})
    taken = await rig.hand().take(3)
    assert [lease.envelope.id for lease in taken] == [first, second, third]


async def test_a_key_in_a_foreign_entry_that_nobody_holds_is_given_back_without_harm(rig: Rig) -> None:
    await rig.inject({"payload": "1", "unique": "k"})
    worker = rig.hand()
    assert await worker.finish(Done(await worker.take_one())) == frozenset()
    (receipt,) = await rig.put(job(unique="k"))
    assert receipt.created
