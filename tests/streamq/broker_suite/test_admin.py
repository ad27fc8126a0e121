"""What `Admin` makes of a broker's verbs: dead letters by filter, payloads held to a type, a stream at rest, its load."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import msgspec
import pytest

from streamq import Admin, InvalidPayload
from streamq.admin import DeadFilter
from streamq.broker import Again, Bury, DeadJob, Done, DoneJob, StreamStats
from streamq.clock import ManualClock
from streamq.job import new_job_id
from tests.streamq.rig import PATIENCE, Rig, job


class Note(msgspec.Struct, frozen=True):
    n: int


def admin(rig: Rig) -> Admin:
    return Admin(rig.broker, [rig.stream], payload_types={rig.stream: Note})


async def dead(
    rig: Rig, job_id: str, *, reason: str = "exhausted", error: str = "", **payload: object
) -> None:
    await rig.put(job(payload, id=job_id))
    undertaker = rig.hand(f"undertaker of {job_id}")
    await undertaker.finish(Bury(await undertaker.take_one(), reason=reason, error=error))


async def meant(rig: Rig, wanted: DeadFilter) -> list[str]:
    return [letter.envelope.id async for letter in admin(rig).dead_letters(rig.stream, wanted)]


async def letters(rig: Rig) -> dict[str, DeadJob]:
    return {one.envelope.id: one async for one in admin(rig).dead_letters(rig.stream)}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (DeadFilter(), ["c", "b", "a"]),
        (DeadFilter(job_ids=frozenset("ab")), ["b", "a"]),
        (DeadFilter(reasons=frozenset(("crashed", "odd"))), ["c", "b"]),
        (DeadFilter(error="TIMEOUT"), ["c", "a"]),
        (DeadFilter(fields=(("shop.id", "7"),)), ["b", "a"]),
        (DeadFilter(fields=(("shop.id", "7"), ("url", "x"))), ["a"]),
        (DeadFilter(fields=(("shop", '{"id":7}'),)), ["b", "a"]),
        (DeadFilter(fields=(("url.x", "x"),)), []),
        (DeadFilter(error="timeout", reasons=frozenset(("odd",))), ["c"]),
    ],
)
async def test_dead_letters_are_found_by_what_is_asked_all_of_it(
    rig: Rig, wanted: DeadFilter, found: list[str]
) -> None:
    await dead(rig, "a", error="HTTPError: timeout", shop={"id": 7}, url="x")
    await dead(rig, "b", reason="crashed", shop={"id": 7})
    await dead(rig, "c", reason="odd", error="Timeout: 3 s", url=["x"])
    assert await meant(rig, wanted) == found
    assert wanted.is_everything == (wanted == DeadFilter())


async def test_dead_letters_are_found_by_when_they_died(rig: Rig) -> None:
    for job_id in "abc":
        await dead(rig, job_id)
        await rig.let_pass(0.002)
    died = (await letters(rig))["b"].died_ms
    assert await meant(rig, DeadFilter(since_ms=died)) == ["c", "b"]
    assert await meant(rig, DeadFilter(until_ms=died)) == ["a"]
    assert await meant(rig, DeadFilter(since_ms=died, until_ms=died + 1)) == ["b"]


async def test_a_payload_that_is_no_json_is_met_by_no_field(rig: Rig) -> None:
    await rig.put(job(b"\xff{", id="odd"))
    hand = rig.hand()
    await hand.finish(Bury(await hand.take_one(), reason="invalid_payload"))
    assert await meant(rig, DeadFilter(fields=(("n", "1"),))) == []
    assert await meant(rig, DeadFilter(reasons=frozenset(("invalid_payload",)))) == ["odd"]


async def test_an_edited_payload_is_held_to_the_type_before_anything_changes(rig: Rig) -> None:
    await dead(rig, "a", n="one")
    await dead(rig, "b", n="two")
    entries = {job_id: letter.entry_id for job_id, letter in (await letters(rig)).items()}
    with pytest.raises(InvalidPayload, match=r"Expected `int`, got `str` - at `\$\.n`"):
        await admin(rig).requeue(
            rig.stream,
            list(entries.values()),
            payloads={entries["a"]: b'{"n":1}', entries["b"]: b'{"n":"2"}'},
        )
    assert await rig.places() == {"dead": 2}
    made = await admin(rig).requeue(rig.stream, [entries["a"]], payloads={entries["a"]: b'{"n":1}'})
    assert made.ready == ("a",)
    assert (await rig.hand().take_one()).envelope.payload == b'{"n":1}'


async def test_letters_are_requeued_no_faster_than_the_rate(rig: Rig) -> None:
    for job_id in "0123456789ABC":
        await dead(rig, job_id)
    entries = [letter.entry_id for letter in (await letters(rig)).values()]
    began = anyio.current_time()
    made = await admin(rig).requeue(rig.stream, entries[::-1], rate=50)
    assert made.ready == tuple("0123456789ABC")
    assert anyio.current_time() - began >= 10 / 50, "the 11th comes when ten are over"
    assert len(await rig.hand("again").take(20)) == 13


async def test_a_stream_is_at_rest_when_what_is_in_hand_has_ended_and_what_waits_stays(rig: Rig) -> None:
    await rig.put(*(job({"n": n}) for n in range(3)))
    hand = rig.hand()
    lease = await hand.take_one()
    with anyio.fail_after(PATIENCE):
        assert (await admin(rig).settled(rig.stream, within=0.0)).leased == 1
        async with anyio.create_task_group() as group:
            group.start_soon(hand.turn, Done(lease))
            after = await admin(rig).settled(rig.stream)
    assert (after.leased, after.paused, sum(after.ready.values())) == (0, True, 2)
    assert await hand.take(3) == []
    await rig.broker.set_paused(rig.stream, paused=False)
    assert len(await hand.take(3)) == 2


async def _ends(rig: Rig, how: Callable[..., object]) -> None:
    hand = rig.hand(new_job_id())
    await hand.finish(how(await hand.take_one()))  # type: ignore[arg-type]  # one of the outcomes


async def test_the_load_is_told_by_what_came_in_and_how_long_it_took(rig: Rig) -> None:
    assert (await admin(rig).load(rig.stream)).workers_needed(5) == 0
    await rig.put(job({"n": 0}))
    unknown = await admin(rig).load(rig.stream)
    assert (unknown.duration, unknown.workers_needed(5)) == (None, 1)
    await _ends(rig, lambda lease: Done(lease, duration=4.0))
    await rig.put(job({"n": 1}))
    await _ends(rig, lambda lease: Done(lease, duration=2.0))
    assert (await admin(rig).load(rig.stream)).duration == 3.0
    clock = ManualClock()
    between = Between(rig, clock)
    load = await Admin(between, [rig.stream], clock=clock).load(rig.stream, over=0.001)  # type: ignore[arg-type]
    assert (load.arriving, load.duration, sum(load.stats.ready.values())) == (0.3, 3.0, 2)


class Between:
    """The rig's broker; between two looks at its numbers, ten seconds pass and three jobs come, one of which runs."""

    def __init__(self, rig: Rig, clock: ManualClock) -> None:
        self._rig = rig
        self._clock = clock
        self._looks = 0

    async def stats(self, stream: str) -> StreamStats:
        self._looks += 1
        if self._looks == 2:
            self._clock.advance(10)
            for payload in range(3):
                await self._rig.inject({"payload": f"{payload}"})  # a plain XADD counts in no counter
            await _ends(self._rig, lambda lease: Again(lease, delay=60, counts=True))
        return await self._rig.broker.stats(stream)

    async def done(self, stream: str, *, limit: int) -> list[DoneJob]:
        return await self._rig.broker.done(stream, limit=limit)
