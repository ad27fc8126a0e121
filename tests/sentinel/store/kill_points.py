"""Run as a program: does one thing again and again, killed (SIGKILL) one step later each time.

    kill_points.py finish|migrate|storm|digest DATABASE_URL  ->  one JSON line: what was seen

A step is a statement or a commit, before it goes to the database and after it came back. The work is
done in a forked child, so that a kill costs milliseconds, not an interpreter's start.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[3]))

from sentinel.model import Digest
from sentinel.store import Store
from sentinel.store.tables import (
    alert,
    delivery,
    digest,
    digest_member,
    observation,
    outbox,
    rule_state,
    run,
)
from tests.sentinel.store.things import NOW, a_rule, a_verdict, an_alert, begin, finish, load

Work = Callable[[Store], Awaitable[None]]
#: More steps than any of the works has.
MANY = 300
NEVER = 10**9
#: Kills of a storm, and the checks it is about.
KILLS, CHECKS = 5, 60


def kill_at(store: Store, step: int) -> None:
    """Die at the given step from here on."""
    steps = iter(range(step))

    def count(*_: Any) -> None:
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    for engine in store._database.engines:
        # A connection is checked in right after its commit.
        for event in ("before_cursor_execute", "after_cursor_execute", "commit", "checkin"):
            sa.event.listen(engine, event, count)


def survives(url: str, step: int, work: Work) -> bool:
    """Do it in a child that dies at `step`; True: it was done before."""
    child = os.fork()
    if not child:
        try:
            anyio.run(_with_store, url, step, work)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFEXITED(status)


async def _with_store(url: str, step: int, work: Work) -> None:
    async with Store.open(url) as store:
        kill_at(store, step)
        await work(store)


async def rows_of(store: Store, rule_id: str) -> tuple[int, ...]:
    """Finished runs, observations, state writes, alerts, deliveries, dispatch jobs of a rule."""
    alerts = sa.select(alert.c.id).where(alert.c.rule_id == rule_id)
    finished = sa.and_(run.c.rule_id == rule_id, run.c.status != "running")
    wanted = (
        sa.select(sa.func.count()).select_from(run).where(finished),
        sa.select(sa.func.count()).select_from(observation).where(observation.c.rule_id == rule_id),
        sa.select(rule_state.c.version).where(rule_state.c.rule_id == rule_id),
        sa.select(sa.func.count()).select_from(alert).where(alert.c.rule_id == rule_id),
        sa.select(sa.func.count()).select_from(delivery).where(delivery.c.alert_id.in_(alerts)),
        sa.select(sa.func.count())
        .select_from(outbox)
        .where(outbox.c.payload.contains(f'"ruleId":"{rule_id}"')),
    )
    async with store._database.reading() as connection:
        return tuple([(await connection.execute(one)).scalar_one() for one in wanted])


OLD, NEW = (0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 2, 2)


async def check(store: Store, rule_id: str, fence: int) -> None:
    """One delivery of the job: whatever is still to be done of it."""
    ticket = await begin(store, f"job-{rule_id}", fence, rule_id)
    if ticket.finished is None:
        await finish(store, ticket, a_verdict(an_alert(f"{rule_id}:drop")))


def finish_killed_at_every_step(url: str) -> dict[str, int]:
    """A check per step; after each kill its rows are all there or none, then the job comes again."""
    seen = {"kills": 0, "old": 0, "new": 0, "torn": 0, "wrong_in_the_end": 0}
    for step in range(MANY):
        rule_id = f"rule-{step}"
        anyio.run(_in_store, url, lambda store, name=rule_id: load(store, a_rule(name)))
        done = survives(url, step, partial(check, rule_id=rule_id, fence=1))
        seen["kills"] += not done
        rows = anyio.run(_in_store, url, lambda store, name=rule_id: rows_of(store, name))
        seen["old" if rows == OLD else "new" if rows == NEW else "torn"] += 1
        anyio.run(_in_store, url, lambda store, name=rule_id: check(store, name, 2))
        seen["wrong_in_the_end"] += (
            anyio.run(_in_store, url, lambda store, name=rule_id: rows_of(store, name)) != NEW
        )
        if done:
            return seen
    raise AssertionError("never done")


def migrate_killed_at_every_step(url: str) -> dict[str, int]:
    """After each kill the database is empty or complete."""
    seen = {"kills": 0, "empty": 0, "complete": 0, "torn": 0}

    async def migrate(store: Store) -> None:
        await store.migrate()

    # Alembic is imported by who migrates: here, for all children.
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_in_store, f"sqlite:///{folder}/before.db", migrate)
    for step in range(0, MANY, 3):
        done = survives(url, step, migrate)
        seen["kills"] += not done
        status, tables = anyio.run(_in_store, url, _what_is_there)
        whole = status.is_current and tables > len(("run", "rule"))
        seen["complete" if whole else "empty" if not tables else "torn"] += 1
        if done:
            return seen
    raise AssertionError("never done")


def digest_killed_at_every_step(url: str) -> dict[str, int]:
    """A digest per step; after each kill it is open with nothing told, or closed with all of it."""
    seen = {"kills": 0, "open": 0, "told": 0, "torn": 0, "wrong_in_the_end": 0}
    space = {"timezone": "UTC", "digest": Digest(every=60)}

    async def held(store: Store, rule_id: str) -> None:
        await load(store, a_rule(rule_id), **space)
        ticket = await begin(store, f"job-{rule_id}", 1, rule_id)
        await finish(store, ticket, a_verdict(an_alert(f"{rule_id}:drop")))

    async def close(store: Store) -> None:
        await store.close_digests(NOW + 3600)

    for step in range(MANY):
        rule_id = f"rule-{step}"
        anyio.run(_in_store, url, lambda store, name=rule_id: held(store, name))
        done = survives(url, step, close)
        seen["kills"] += not done
        for closed, told in anyio.run(_in_store, url, lambda store, name=rule_id: _digests(store, name)):
            row = (
                "told" if closed and told == (1, 1, 1) else "open" if not closed and not any(told) else "torn"
            )
            seen[row] += 1
        anyio.run(_in_store, url, close)
        after = anyio.run(_in_store, url, lambda store, name=rule_id: _digests(store, name))
        seen["wrong_in_the_end"] += after != [(True, (1, 1, 1))] * 2
        if done:
            return seen
    raise AssertionError("never done")


async def _digests(store: Store, rule_id: str) -> list[tuple[bool, tuple[int, ...]]]:
    """Of each digest with an alert of the rule: whether it is closed; its alerts, deliveries, jobs."""
    found = []
    mine = (
        sa.select(digest)
        .join(digest_member, digest_member.c.digest_id == digest.c.id)
        .join(alert, alert.c.id == digest_member.c.alert_id)
        .where(alert.c.rule_id == rule_id)
    )
    async with store._database.reading() as connection:
        for row in await connection.execute(mine):
            told = sa.select(alert.c.id).where(alert.c.dedupe_key == f"digest:{row.id}")
            wanted = (
                sa.select(sa.func.count()).select_from(told.subquery()),
                sa.select(sa.func.count()).select_from(delivery).where(delivery.c.alert_id.in_(told)),
                sa.select(sa.func.count())
                .select_from(outbox)
                .where(outbox.c.payload.contains(f"digest:{row.id}")),
            )
            counts = tuple([(await connection.execute(one)).scalar_one() for one in wanted])
            found.append((row.closed_at is not None, counts))
    return found


def storm(url: str) -> dict[str, int]:
    """Checks as fast as they go, killed at moments nobody chose; then every job comes again."""
    chance = random.Random(5)
    seen = {"kills": 0, "torn": 0, "wrong_in_the_end": 0, "checks": 0}
    names = [f"rule-{number}" for number in range(CHECKS)]
    anyio.run(_in_store, url, lambda store: load(store, *map(a_rule, names)))

    async def work(store: Store) -> None:
        for name in names:
            await check(store, name, 1 + seen["kills"])

    for _ in range(KILLS):
        child = os.fork()
        if not child:
            anyio.run(_with_store, url, NEVER, work)
            os._exit(0)
        time.sleep(chance.uniform(0.05, 0.4))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        seen["kills"] += os.WIFSIGNALED(status)
        seen["torn"] += sum(one not in (OLD, NEW) for one in anyio.run(_in_store, url, _all_rows))
    anyio.run(_in_store, url, lambda store: _finish_all(store, names))
    rows = anyio.run(_in_store, url, _all_rows)
    return seen | {"wrong_in_the_end": sum(one != NEW for one in rows), "checks": len(rows)}


async def _finish_all(store: Store, names: list[str]) -> None:
    for name in names:
        await check(store, name, 1000)


async def _all_rows(store: Store) -> list[tuple[int, ...]]:
    return [await rows_of(store, stored.rule.id) for stored in await store.rules()]


async def _what_is_there(store: Store) -> tuple[Any, int]:
    status = await store.schema_status()
    async with store._database.reading() as connection:
        return status, len(await connection.run_sync(lambda it: sa.inspect(it).get_table_names()))


async def _in_store(url: str, what: Callable[[Store], Awaitable[Any]]) -> Any:
    async with Store.open(url) as store:
        return await what(store)


if __name__ == "__main__":
    works = {
        "finish": finish_killed_at_every_step,
        "migrate": migrate_killed_at_every_step,
        "storm": storm,
        "digest": digest_killed_at_every_step,
    }
    if sys.argv[1] != "migrate":
        anyio.run(_in_store, sys.argv[2], lambda store: store.migrate())
    print(json.dumps(works[sys.argv[1]](sys.argv[2])))
