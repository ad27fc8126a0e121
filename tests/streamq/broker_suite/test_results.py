"""What a handler returned: in the record of its job, where the stream keeps it, and only there."""

from __future__ import annotations

import pytest

from streamq.broker import Done, Retention
from streamq.errors import NoResult
from tests.streamq.rig import Rig, job


async def test_a_value_is_found_by_the_id_of_its_job(rig: Rig) -> None:
    for number in range(3):
        await rig.put(job(id=f"j{number}", id_is_callers=True))
    hand = rig.hand()
    taken = await hand.take(3)
    values = [b'{"n":%d}' % number for number in range(3)]
    finished = [Done(lease, result=value) for lease, value in zip(taken, values, strict=True)]
    assert await hand.finish(*finished) == frozenset()
    seen = await rig.broker.find(rig.stream, taken[1].envelope.id)
    assert (seen.state, seen.result(dict[str, int])) == ("done", {"n": 1})
    assert [record.result for record in await rig.broker.done(rig.stream)] == values[::-1]
    with pytest.raises(NoResult, match=r"not what was asked for: Expected `str`, got `int`"):
        seen.result(dict[str, str])


async def test_bytes_of_any_kind_come_back_as_they_were(rig: Rig) -> None:
    await rig.put(job(1), job(2), job(3))
    hand = rig.hand()
    values = ["ľščť 🐘".encode().join((b'"', b'"')), b"null", b'"\xff\x00 \r\n"']
    taken = await hand.take(3)
    await hand.finish(*(Done(one, result=value) for one, value in zip(taken, values, strict=True)))
    for lease, value in zip(taken, values, strict=True):
        seen = await rig.broker.find(rig.stream, lease.envelope.id)
        assert seen.done is not None
        assert seen.done.result == value
    with pytest.raises(NoResult, match="not what was asked for"):
        (await rig.broker.find(rig.stream, taken[2].envelope.id)).result(object)


async def test_where_there_is_none_it_is_said_why(rig: Rig) -> None:
    await rig.put(job(1), job(2), job(3), job(4))
    hand = rig.hand()
    plain, unkept, cancelled = await hand.take(3)
    await rig.broker.cancel(rig.stream, cancelled.envelope.id)
    await hand.finish(Done(plain), Done(unkept, no_result="x" * 400), Done(cancelled, result=b"1"))
    (waits,) = await rig.broker.waiting(rig.stream)
    for job_id, words in (
        (plain.envelope.id, r"its stream keeps none \(max_result\)"),
        (unkept.envelope.id, "was kept: x{300}$"),
        (cancelled.envelope.id, "is cancelled: a value is kept of jobs that are done"),
        (waits.envelope.id, "is ready"),
        ("nobody", "is unknown"),
    ):
        with pytest.raises(NoResult, match=words):
            (await rig.broker.find(rig.stream, job_id)).result(object)


async def test_only_who_holds_the_job_leaves_a_value_and_once(rig: Rig) -> None:
    await rig.put(job(id="j"))
    alice, bob = rig.hand("alice"), rig.hand("bob")
    lost = await alice.take_one()
    await rig.kill(alice)
    lease = await bob.take_one()
    assert await alice.finish(Done(lost, result=b'"alice"')) == {lost.key}
    await bob.finish(Done(lease, result=b'"bob"'))
    await bob.repeat(Done(lease, result=b'"again"'))
    (record,) = await rig.broker.done(rig.stream)
    assert record.result == b'"bob"'


async def test_values_go_with_their_records(rig: Rig) -> None:
    await rig.put(*(job(id=f"j{number}") for number in range(450)))
    hand = rig.hand()
    for _ in range(3):
        done = [Done(lease, result=lease.envelope.id.encode()) for lease in await hand.take(150)]
        await hand.turn(*done, retention=Retention(done_count=440))
    oldest = (await rig.broker.done(rig.stream, limit=1000))[-1]
    seen = await rig.broker.find(rig.stream, oldest.job_id)  # some pages back
    assert seen.done == oldest
    assert oldest.result == oldest.job_id.encode()
    assert (await rig.broker.find(rig.stream, oldest.job_id, look=10)).state == "unknown"
    assert (await rig.broker.find(rig.stream, "j0")).state == "unknown"
    await rig.let_pass(0.01)
    await rig.broker.trim(rig.stream, Retention(done_seconds=0.001))
    assert (await rig.broker.find(rig.stream, oldest.job_id)).state == "unknown"
