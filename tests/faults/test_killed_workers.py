"""Workers that are SIGKILLed while they check and while they dispatch.

All the counts of this folder, one line per test:

    python -m pytest tests/faults -s -q -p no:randomly          # about a minute
    python -m pytest tests/faults -s -q -p no:randomly --soak   # more rules, more faults
"""

from __future__ import annotations

import itertools

import pytest

from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from tests.faults.world import World


async def kill_a_holder(world: World, stream: str) -> int:
    """SIGKILL a worker that has a job of the stream in hand, start another; how many it took down."""
    while True:
        holder = None

        async def found() -> bool:
            nonlocal holder
            holder = await world.holder(stream)
            return holder is not None

        await world.until(found, f"a worker has a job of {stream} in hand")
        assert holder is not None
        holder.kill()
        interrupted = await world.in_hand(holder)
        world.start()
        if interrupted:
            return len(interrupted)


async def storm(world: World, *, rules: int, rounds: int, kills: int) -> tuple[int, int]:
    """Check every rule `rounds` times while workers are killed; kills, and jobs they took down."""
    ids = world.import_rules(rules)
    for number in range(1, rounds):
        await world.enqueue(ids, note=f"round{number}")
    world.start()
    world.start()
    interrupted = 0
    for kill, stream in zip(range(kills), itertools.cycle((RULES_RUN, ALERTS_DISPATCH)), strict=False):
        due = kill * rules * rounds // (kills + 3)

        async def so_far(due: int = due) -> bool:
            return await world.ended() >= due

        await world.until(so_far, f"{due} checks have ended")
        interrupted += await kill_a_holder(world, stream)
    await world.settled()
    return kills, interrupted


async def test_workers_killed_in_the_middle_lose_nothing_and_write_nothing_twice(
    world: World, database: str
) -> None:
    kills, interrupted = await storm(world, rules=8, rounds=3, kills=3)

    counts = await world.count()
    print(
        f"\n{counts.checks} checks, {kills} SIGKILLs of workers ({database}, Valkey), {interrupted} jobs interrupted: {counts}"
    )
    counts.assert_sound()
    assert interrupted >= kills


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_many_kills_lose_nothing_and_write_nothing_twice(world: World, database: str) -> None:
    kills, interrupted = await storm(world, rules=60, rounds=10, kills=40)

    counts = await world.count()
    print(
        f"\n{counts.checks} checks, {kills} SIGKILLs of workers ({database}, Valkey), {interrupted} jobs interrupted: {counts}"
    )
    counts.assert_sound()
