"""High before normal before low, and none of them starves."""

from __future__ import annotations

from collections import Counter

import pytest

from streamq.broker import Again, Done, Release
from tests.streamq.rig import Rig, job


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


@pytest.mark.parametrize(("free", "turns"), [(1, 32), (3, 16), (10, 8), (100, 2)])
async def test_a_flood_of_high_jobs_leaves_one_in_eight_to_each_lower_lane_however_many_are_taken_at_once(
    rig: Rig, free: int, turns: int
) -> None:
    many = free * turns
    await _fill(rig, many)
    worker = rig.hand()
    lanes = Counter[str]()
    ended: list[Done] = []
    for _ in range(turns):
        leases = (await worker.turn(*ended, free=free)).leases
        lanes.update(lease.lane for lease in leases)
        ended = [Done(lease) for lease in leases]
    assert lanes == {"high": many - 2 * (many // 8), "normal": many // 8, "low": many // 8}


async def test_a_flood_of_normal_jobs_leaves_one_in_eight_to_the_low_lane(rig: Rig) -> None:
    await rig.put(*(job(lane=lane) for _ in range(20) for lane in ("normal", "low")))
    lanes = Counter(lease.lane for lease in await rig.hand().take(20))
    assert lanes == {"normal": 18, "low": 2}


async def test_a_share_nobody_needs_goes_to_the_high_lane(rig: Rig) -> None:
    await rig.put(*(job(lane="high") for _ in range(16)))
    assert [lease.lane for lease in await rig.hand().take(16)] == ["high"] * 16


async def test_where_a_lower_lane_has_less_than_its_share_the_others_get_the_rest(rig: Rig) -> None:
    await rig.put(*(job(lane="high") for _ in range(40)), job(lane="low"), job(lane="normal"))
    lanes = Counter(lease.lane for lease in await rig.hand().take(32))
    assert lanes == {"high": 30, "normal": 1, "low": 1}


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
