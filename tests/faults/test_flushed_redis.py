"""FLUSHALL in the middle of everything: Redis forgets all of it, the database does not."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import redis.asyncio as aioredis

from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from tests.faults.world import World

#: Path of the receiver.
HOOK = "/hook"
#: Seconds after which unfinished work is given to Redis again; 120 where nobody says otherwise.
RESTORE = 3.0


class Forgotten:
    """What Redis held when it was flushed, added up."""

    def __init__(self) -> None:
        self.in_hand = self.waiting = self.dispatches = 0

    def __str__(self) -> str:
        return (
            f"{self.in_hand} checks in hand, {self.waiting} waiting, {self.dispatches} dispatches forgotten"
        )


async def flush_when_busy(world: World, forgotten: Forgotten, ids: Sequence[str]) -> None:
    """FLUSHALL while checks are in hand and wait, and alerts are on their way: gates hold them there.

    The first two rules' pages answer, so that there are alerts, which the receiver holds; the others'
    are held, so that checks fill every slot and the rest wait.
    """
    gates = [world.receiver.gates.setdefault(HOOK, threading.Event())]
    gates += [world.pages.gates.setdefault(f"/{rule_id}", threading.Event()) for rule_id in ids[2:]]
    await world.tick()
    async with aioredis.Redis.from_url(world.server.url) as client:

        async def busy() -> bool:
            checks, alerts = [await world.broker.stats(stream) for stream in (RULES_RUN, ALERTS_DISPATCH)]
            waiting, dispatches = sum(checks.ready.values()), alerts.leased + sum(alerts.ready.values())
            if not (checks.leased and waiting and dispatches):
                return False
            await client.flushall()
            forgotten.in_hand += checks.leased
            forgotten.waiting += waiting
            forgotten.dispatches += dispatches
            return True

        await world.until(busy, "checks are in hand and wait, alerts are on their way")
    world.receiver.gates, world.pages.gates = {}, {}
    for gate in gates:
        gate.set()


async def flushes(world: World, *, rules: int, flushes: int) -> Forgotten:
    """Work on ticks of every rule while Redis is flushed again and again."""
    ids = world.import_rules(rules)
    for _ in range(2):
        world.start(SENTINEL_RESTORE_SECONDS=str(RESTORE))
    await world.settled()  # every rule has a value: from here on every check is a change, and an alert
    forgotten = Forgotten()
    for _ in range(flushes):
        await flush_when_busy(world, forgotten, ids)
        await world.settled()
    return forgotten


async def has_groups(world: World) -> bool:
    """Both streams and the group that reads them are there again."""
    async with aioredis.Redis.from_url(world.server.url) as client:
        groups = [await client.xinfo_groups(stream) for stream in (RULES_RUN, ALERTS_DISPATCH)]
    return all(group["name"] == b"workers" for (group,) in groups)


async def test_flushall_loses_no_scheduled_work_and_nothing_is_written_twice(
    world: World, database: str
) -> None:
    forgotten = await flushes(world, rules=8, flushes=1)

    counts = await world.count(flushed=True)
    restored = sum(event["jobs"] for worker in world.workers for event in worker.events("jobs_restored"))
    print(
        f"\n{counts.checks} checks, 1 FLUSHALL ({database}, Valkey), {forgotten}; restored {restored} jobs: {counts}"
    )
    counts.assert_sound()
    assert await has_groups(world)
    assert all(worker.lives for worker in world.workers)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_flushall_again_and_again_loses_no_scheduled_work(world: World, database: str) -> None:
    forgotten = await flushes(world, rules=40, flushes=10)

    counts = await world.count(flushed=True)
    print(f"\n{counts.checks} checks, 10 FLUSHALLs ({database}, Valkey), {forgotten}: {counts}")
    counts.assert_sound()
