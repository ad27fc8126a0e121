"""Redis SIGKILLed and started again with its append-only file, in the middle of everything."""

from __future__ import annotations

import pytest

from sentinel.jobs import RULES_RUN
from streamq.broker import StreamStats
from tests.faults.world import DEADLINE, LEASE, STREAMS, World


async def busy(world: World) -> StreamStats:
    """Return when jobs are in hand, waiting and delayed, with how many."""
    stats = await world.broker.stats(RULES_RUN)

    async def is_so() -> bool:
        nonlocal stats
        stats = await world.broker.stats(RULES_RUN)
        return bool(stats.leased and sum(stats.ready.values()) and stats.delayed)

    await world.until(is_so, "jobs are in hand, waiting and delayed")
    return stats


async def kill_for_a_while(world: World, *, longer_than: float) -> None:
    """SIGKILL Redis; start it when every worker has missed it for so many seconds."""
    before = {worker: len(worker.events("broker_trouble")) for worker in world.workers}
    world.server.kill(restart=False)

    async def missed() -> bool:
        fresh = [worker.events("broker_trouble")[seen:] for worker, seen in before.items()]
        return all(any(event["silent_seconds"] > longer_than for event in events) for events in fresh)

    await world.until(missed, f"every worker misses Redis for {longer_than:g} s")
    world.server.start()


async def outages(world: World, *, rules: int, kills: int) -> str:
    """Check every rule twice per kill while Redis is killed; what each kill fell upon."""
    ids = world.import_rules(rules)
    workers = [world.start(), world.start()]

    async def working() -> bool:
        known = [(await world.broker.stats(stream)).workers for stream in STREAMS]
        return known == [len(workers)] * len(STREAMS)

    await world.until(working, "the workers have begun")  # one that finds no Redis at its start ends
    fell_upon = []
    for kill in range(kills):
        await world.enqueue(ids, note=f"waiting{kill}")
        await world.enqueue(ids, note=f"delayed{kill}", delay=3.0)
        stats = await busy(world)
        fell_upon.append(
            f"{stats.leased} in hand, {sum(stats.ready.values())} waiting, {stats.delayed} delayed"
        )
        # Once shorter than a lease, once longer: then everybody looks dead to everybody.
        await kill_for_a_while(world, longer_than=0.0 if kill % 2 else 1.5 * LEASE)
    await world.settled(patience=DEADLINE + rules * kills)  # twice that many checks may be left
    return "; ".join(fell_upon)


async def test_redis_killed_and_restarted_loses_nothing_and_nobody_writes_twice(
    world: World, database: str
) -> None:
    fell_upon = await outages(world, rules=6, kills=2)

    counts = await world.count()
    print(
        f"\n{counts.checks} checks, 2 SIGKILLs of Redis ({database}, Valkey, appendonly everysec; {fell_upon}): {counts}"
    )
    counts.assert_sound()
    assert counts.dead == 0


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_redis_killed_again_and_again_loses_nothing(world: World, database: str) -> None:
    await outages(world, rules=15, kills=20)

    counts = await world.count()
    print(
        f"\n{counts.checks} checks, 20 SIGKILLs of Redis ({database}, Valkey, appendonly everysec): {counts}"
    )
    counts.assert_sound()
    assert counts.dead == 0
