"""Observations by month: made ahead, made when missed, dropped whole; a rule's history does not notice."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import anyio.to_thread
import pytest
import sqlalchemy as sa

from sentinel.errors import StoreUnavailable
from sentinel.store import Ages, RunResult, Store
from sentinel.store.months import Month
from tests.sentinel.store.test_plans import plan_of
from tests.sentinel.store.things import NOW, a_verdict, load

EMPTY_RESULT = RunResult(mode="http", http_status=200)
DAY = 86_400.0
#: The last microsecond of a month, and the first of the next.
LAST = datetime(2026, 1, 31, 23, 59, 59, 999_999, UTC).timestamp()
FIRST = datetime(2026, 2, 1, tzinfo=UTC).timestamp()


async def months(store: Store) -> list[str]:
    """The names of the partitions; none on SQLite."""
    if store._database.is_sqlite:
        return []
    there = sa.text(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'observation'::regclass ORDER BY 1"
    )
    async with store._database.reading() as connection:
        return [row[0] for row in await connection.execute(there)]


async def check_at(store: Store, *times: float) -> None:
    """A check of `widget` that found something, at each of the times."""
    for at in times:
        ticket = await store.begin_run("widget", f"job-{at}", 1, "schedule", at)
        await store.finish_run(
            ticket,
            EMPTY_RESULT,
            a_verdict(),
            "90,10 €",
            expected_state_version=ticket.stored.state.version,
            now=at,
        )


def two_at_once(program: str, *arguments: str) -> list[tuple[int, str]]:
    """Exit code and stderr of two processes that begin together, once both have said that they are ready."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[1] for process in running]
    return [(process.returncode, text) for process, text in zip(running, said, strict=True)]


@pytest.mark.parametrize(
    ("month", "name", "following"),
    [
        (Month(2026, 2), "observation_2026_02", Month(2026, 3)),
        (Month(2026, 12), "observation_2026_12", Month(2027, 1)),
    ],
)
def test_a_month_has_a_name_and_one_that_follows(month: Month, name: str, following: Month) -> None:
    assert (month.name, month.following) == (name, following)
    assert Month.of(month.begins) == month
    assert Month.of(following.begins - 0.001) == month


@pytest.mark.needs_postgres
async def test_the_migration_makes_a_table_by_month(postgres_url: str) -> None:
    async with Store.open(postgres_url) as store:
        await store.migrate()
        kind = sa.text("SELECT relkind::text FROM pg_class WHERE oid = 'observation'::regclass")
        async with store._database.reading() as connection:
            assert (await connection.execute(kind)).scalar() == "p"
        await store.make_months(NOW)
        assert (await store.migrate()).is_current
        assert await months(store) == ["observation_2025_11", "observation_2025_12", "observation_2026_01"]


async def test_a_rules_history_goes_across_months_and_their_ends(store: Store) -> None:
    await load(store)
    times = [LAST - 40 * DAY, LAST, FIRST, FIRST + 50 * DAY]
    await check_at(store, *times)

    assert [one.at for one in await store.history("widget")] == times[::-1]
    assert [one.at for one in await store.history("widget", before=FIRST)] == times[1::-1]
    assert [at for at, _ in await store.replaced_values("widget", LAST)] == times[:0:-1]
    newest = (await store.history("widget", 1))[0]
    assert await store.observation("widget", newest.run_id) == newest


async def test_a_check_in_a_month_that_nobody_made_makes_it_and_says_nothing(store: Store) -> None:
    await load(store)
    await check_at(store, LAST)
    made = await months(store)
    assert made == ([] if store._database.is_sqlite else [Month(2026, number).name for number in (1, 2, 3)])
    await check_at(store, FIRST)
    assert await months(store) == made
    assert [run.status for run in await store.runs("widget")] == ["ok", "ok"]


async def test_months_that_are_all_old_are_dropped_and_the_rest_goes_by_the_row(store: Store) -> None:
    await load(store)
    await check_at(store, LAST - 60 * DAY, LAST - 40 * DAY, LAST, FIRST, FIRST + 10 * DAY, FIRST + 50 * DAY)
    ages = Ages(runs=0.0, observations=45 * DAY, alerts=None)

    pruned = await store.prune(FIRST + 50 * DAY, ages)

    assert [one.at for one in await store.history("widget")] == [FIRST + 50 * DAY, FIRST + 10 * DAY]
    assert len(await store.runs("widget")) == 2
    assert pruned.runs == 4
    if store._database.is_sqlite:
        assert (pruned.months, pruned.observations) == (0, 4)
    else:
        assert (pruned.months, pruned.observations) == (2, 1)
        assert (await months(store))[0] == Month.of(FIRST).name
    assert (await store.prune(FIRST + 50 * DAY, ages)).runs == 0


@pytest.mark.needs_postgres
async def test_a_month_that_somebody_reads_is_left_for_another_time(postgres_url: str) -> None:
    async with Store.open(postgres_url) as store, Store.open(postgres_url) as reader:
        await store.migrate()
        await load(store)
        await check_at(store, LAST - 40 * DAY, FIRST)
        ages = Ages(runs=None, observations=5 * DAY, alerts=None)
        async with reader._database.reading() as connection:
            await connection.execute(sa.text("SELECT count(*) FROM observation"))
            with pytest.raises(StoreUnavailable):
                await store.prune(FIRST, ages)
        assert (await store.prune(FIRST, ages)).months == 1


@pytest.mark.needs_postgres
async def test_processes_that_look_after_months_at_the_same_moment_do_not_get_in_each_others_way(
    postgres_url: str,
) -> None:
    program = (
        "import asyncio, sys\n"
        "from sentinel.store import Ages, Store\n"
        "async def main():\n"
        "    async with Store.open(sys.argv[1]) as store:\n"
        "        await store.ping()\n"
        "        print('ready', flush=True)\n"
        "        sys.stdin.readline()\n"
        "        for month in range(12):\n"
        "            now = float(sys.argv[2]) + month * 31 * 86400\n"
        "            await store.make_months(now)\n"
        "            await store.prune(now, Ages(observations=35 * 86400.0))\n"
        "asyncio.run(main())\n"
    )
    async with Store.open(postgres_url) as store:
        await store.migrate()
        await load(store)
        await check_at(store, FIRST - 70 * DAY, FIRST)
        assert await anyio.to_thread.run_sync(two_at_once, program, postgres_url, str(FIRST)) == [
            (0, ""),
            (0, ""),
        ]
        left = [Month.of(FIRST + 11 * 31 * DAY)]
        while len(left) < 3:
            left.append(left[-1].following)
        assert {month.name for month in left} <= set(await months(store))
        assert Month.of(FIRST).name not in await months(store)


@pytest.mark.needs_postgres
async def test_the_plan_of_a_page_leaves_out_the_months_it_is_not_about(postgres_url: str) -> None:
    async with Store.open(postgres_url) as store:
        await store.migrate()
        await load(store)
        for number in range(0, 12, 3):
            await store.make_months(LAST + number * 30 * DAY)
        whole = await plan_of(store, lambda one: one.history("widget", 20))
        early = await plan_of(store, lambda one: one.history("widget", 20, before=FIRST))
    everything = set(re.findall(r"observation_\d{4}_\d\d", whole))
    assert len(everything) >= 10
    assert set(re.findall(r"observation_\d{4}_\d\d", early)) == {"observation_2026_01"}
