"""Several workers, each with its scheduler, and the one that has just claimed what is due is SIGKILLed."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa

from sentinel.store.tables import rule, run
from tests.faults.world import WorkerProcess, World


async def kill_the_scheduler(world: World) -> WorkerProcess:
    """SIGKILL the worker that claimed the ticks of this round, as soon as it says so."""
    before = {worker.pid: len(worker.events("rules_due")) for worker in world.workers}
    await world.tick()
    killed: list[WorkerProcess] = []

    async def claimed() -> bool:
        killed.extend(
            worker
            for worker in world.workers
            if worker.lives and len(worker.events("rules_due")) > before[worker.pid]
        )
        return bool(killed)

    await world.until(claimed, "somebody claims what is due")
    killed[0].kill()
    return killed[0]


@pytest.mark.parametrize(
    ("workers", "rounds", "rules"),
    [pytest.param(2, 1, 5, id="short"), pytest.param(4, 12, 12, id="long", marks=pytest.mark.soak)],
)
async def test_every_tick_is_one_check_though_the_scheduler_that_claimed_it_is_killed(
    world: World, database: str, workers: int, rounds: int, rules: int
) -> None:
    ids = world.import_rules(rules)
    world.pages.delay = 0.05
    for _ in range(workers):
        world.start()
    await world.settled()

    ticks = Counter(await checked(world))
    for left in reversed(range(rounds)):
        await kill_the_scheduler(world)
        if left:
            world.start()
        # Each rule once more, and no more: who holds a rule's key keeps the next tick of it away.
        await world.settled()
        due = await world.rows(sa.select(rule.c.claimed_job_id))
        ticks.update(row.claimed_job_id.partition("@")[0] for row in due)

    counts = await world.count()
    print(f"\n{ticks.total()} ticks, {rounds} SIGKILLs of {workers} schedulers ({database}): {counts}")
    assert ticks == dict.fromkeys(ids, rounds + 1)
    assert Counter(await checked(world)) == ticks
    counts.assert_sound()


async def checked(world: World) -> list[str]:
    """The rule of every check that a tick called for."""
    runs = await world.rows(sa.select(run.c.rule_id).where(run.c.job_id.contains("@")))
    return [row.rule_id for row in runs]
