"""High before normal before low, and none of them starves."""

from __future__ import annotations

from collections import Counter

from streamq.broker import Again, Done, Release
from tests.streamq.rig import Hand, Rig, job


async def _fill(rig: Rig, each: int) -> None:
    await rig.put(*(job(lane=lane) for _ in range(each) for lane in ("low", "normal", "high")))


async def test_the_high_lane_is_taken_first_then_normal_then_low(rig: Rig) -> None:
    await _fill(rig, 2)
    lanes = [lease.lane for lease in await rig.hand().take(6)]
    assert lanes == ["high", "high", "normal", "normal", "low", "low"]


async def test_the_order_inside_each_lane_is_kept(rig: Rig) -> None:
    await rig.put(*(job(n, lane=lane) for n in range(3) for lane in ("low", "high")))
    taken = await rig.hand().take(6)
    assert [(lease.lane, lease.envelope.payload) for lease in taken] == [
        ("high", b"0"), ("high", b"1"), ("high", b"2"), ("low", b"0"), ("low", b"1"), ("low", b"2"),
    ]  # fmt: skip


async def test_a_flood_of_high_jobs_leaves_a_share_to_the_lower_lanes(rig: Rig) -> None:
    await _fill(rig, 40)
    worker = rig.hand()
    lanes = Counter[str]()
    ended: list[Done] = []
    for _ in range(32):
        (lease,) = (await worker.turn(*ended, free=1)).leases
        lanes[lease.lane] += 1
        ended = [Done(lease)]
    assert lanes == {"high": 24, "normal": 4, "low": 4}, "one slot in 8 turns each"


async def test_with_more_slots_both_lower_lanes_get_theirs_in_one_turn(rig: Rig) -> None:
    worker = rig.hand()
    await takes(worker, 7)
    await _fill(rig, 10)
    lanes = Counter(lease.lane for lease in await worker.take(4))
    assert lanes == {"high": 2, "normal": 1, "low": 1}


async def test_a_share_nobody_needs_goes_to_the_high_lane(rig: Rig) -> None:
    worker = rig.hand()
    await takes(worker, 7)
    await rig.put(*(job(lane="high") for _ in range(4)))
    assert [lease.lane for lease in await worker.take(4)] == ["high"] * 4


async def test_turns_that_take_nothing_cost_the_lower_lanes_no_share(rig: Rig) -> None:
    """A worker whose every other turn only ends jobs must not skip just the turns with a share."""
    await _fill(rig, 40)
    worker = rig.hand()
    lanes = Counter[str]()
    for _ in range(16):
        (lease,) = (await worker.turn(free=1)).leases
        lanes[lease.lane] += 1
        await worker.turn(Done(lease))
    assert lanes == {"high": 12, "normal": 2, "low": 2}


async def takes(worker: Hand, many: int) -> None:
    """So many takes in vain."""
    for _ in range(many):
        assert await worker.take(1) == []


async def test_a_job_stays_in_its_lane_through_delay_retry_release_and_crash(rig: Rig) -> None:
    await rig.put(job(lane="low", delay=0.01))
    await rig.let_pass(0.02)
    worker, heir = rig.hand("alice"), rig.hand("bob")
    lease = await worker.take_one()
    assert lease.lane == "low"
    (lease,) = (await worker.turn(Again(lease, delay=0, counts=True), free=1)).leases
    assert lease.lane == "low"
    (lease,) = (await worker.turn(Release(lease), free=1)).leases
    assert lease.lane == "low"
    await rig.kill(worker)
    assert (await heir.take_one()).lane == "low"
    assert (await rig.stats()).ready == {"high": 0, "normal": 0, "low": 0}
