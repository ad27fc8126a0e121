"""How long a page of history takes, wherever it is: ms on both databases.

    python -m bench.history [--observations 1000000] [--rules 1000] [--url postgresql://...]

Runs and observations over a year, so that PostgreSQL has them in thirteen months. SQLite in a folder of its
own; PostgreSQL is the tests' own server unless an empty database is named. A page is 100 rows; medians of 50
rules each, or as many as there are.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from sentinel.model import Extraction, PriceValue, Rule, RulesFile, Workspace
from sentinel.store import Place, Store
from sentinel.store.tables import observation, run
from tests.support.postgres import SharedPostgres, find_postgres

BEGAN: Final = 1_700_000_000
YEAR: Final = 365 * 86_400
BATCH: Final = 50_000
ASKED: Final = 50
PAGE: Final = 100

VALUE: Final = PriceValue(amount=Decimal("129.99"), currency="EUR")


def _filling() -> tuple[sa.Insert, sa.Insert]:
    """The rows numbered from `first` to `last`, made where they are to lie."""

    def given(name: str) -> sa.BindParameter[int]:
        return sa.bindparam(name, type_=sa.BigInteger)

    series = sa.select(given("first").label("n")).cte("series", recursive=True)
    series = series.union_all(sa.select(series.c.n + 1).where(series.c.n < given("last")))
    at = given("began") + series.c.n * given("step")
    both = {
        "workspace_id": sa.literal("bench"),
        "rule_id": sa.literal("r") + sa.cast(series.c.n % given("rules"), sa.Text),
    }
    runs = {
        **both,
        "id": series.c.n + 1,
        "job_id": sa.literal("job-") + sa.cast(series.c.n, sa.Text),
        "trigger": sa.literal("schedule"),
        "fence": sa.literal(1),
        "attempt": sa.literal(1),
        "status": sa.literal("ok"),
        "started_at": at,
        "finished_at": at,
        "not_modified": sa.false(),
        "observed": sa.true(),
    }
    seen = {
        **both,
        "run_id": series.c.n + 1,
        "at": at,
        "raw": sa.literal("€ 129.99"),
        "value": sa.literal(VALUE, observation.c.value.type),
        "confirmed": sa.true(),
    }
    return (
        sa.insert(run).from_select(list(runs), sa.select(*runs.values()), include_defaults=False),
        sa.insert(observation).from_select(list(seen), sa.select(*seen.values()), include_defaults=False),
    )


Read = Callable[[str, Place | None], Awaitable[Sequence[Any]]]


async def fill(store: Store, observations: int, rules: int) -> None:
    """Runs and observations over a year, the rules in turn."""
    watched = [
        Rule(
            id=f"r{n}",
            url=f"https://shop.example/{n}",
            type="price",
            extraction=Extraction(method="css", selector="p"),
        )
        for n in range(rules)
    ]
    file = RulesFile(workspace=Workspace(id="bench"), rules=watched)
    await store.import_rules(file, now=BEGAN, first_due=lambda _: BEGAN)
    for month in range(13):
        await store.make_months(BEGAN + month * 30 * 86_400.0)
    values = {"rules": rules, "began": BEGAN * 1_000_000, "step": YEAR * 1_000_000 // observations}
    for first in range(0, observations, BATCH):
        last = min(first + BATCH, observations) - 1
        for statement in _filling():
            async with store._database.writing() as connection:  # noqa: SLF001 - a bench fills what only runs fill
                await connection.execute(statement, values | {"first": first, "last": last})
    if not store._database.is_sqlite:  # noqa: SLF001 - as above
        async with store._database.writing() as connection:  # noqa: SLF001 - as above
            await connection.execute(sa.text("ANALYZE run, observation"))


async def medians(read: Read, observations: int, rules: int) -> list[float]:
    """ms of the first page, one in the middle, and the last."""
    every = max(1, rules // ASKED)
    asked = [f"r{number}" for number in range(0, rules, every)][:ASKED]
    asked = asked * -(-10 // len(asked))  # few rules are asked several times
    times: list[list[float]] = [[], [], []]
    step = YEAR * 1_000_000 // observations
    for rule_id in asked:
        number = int(rule_id[1:])
        of_rule = (observations - number - 1) // rules + 1
        for which, older in enumerate((of_rule, of_rule // 2, min(PAGE, of_rule))):
            # Behind the one that so many are older than.
            oldest = number + older * rules
            place = Place(BEGAN + oldest * step / 1_000_000, oldest + 1)
            began = time.perf_counter()
            rows = await read(rule_id, place if which else None)
            times[which].append((time.perf_counter() - began) * 1000)
            if len(rows) != min(PAGE, older):
                raise AssertionError(f"{rule_id}: a page of {len(rows)}")
    return [statistics.median(some) for some in times]


async def measure(name: str, url: str, observations: int, rules: int) -> None:
    """Prints a line per list."""
    async with Store.open(url) as store:
        await store.migrate()
        began = time.perf_counter()
        await fill(store, observations, rules)
        took = time.perf_counter() - began
        print(f"{name}: {observations:,} observations of {rules:,} rules, filled in {took:.0f} s")
        lists: dict[str, Read] = {
            "history": lambda rule_id, place: store.history(rule_id, PAGE, after=place),
            "runs": lambda rule_id, place: store.runs(rule_id, PAGE, after=place),
        }
        print(f"{'p50, ms':<12}{'first page':>12}{'middle':>12}{'last page':>12}")
        for what, read in lists.items():
            first, middle, last = await medians(read, observations, rules)
            print(f"{what:<12}{first:12.2f}{middle:12.2f}{last:12.2f}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or an exception."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--observations", type=int, default=1_000_000)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--url", help="an empty PostgreSQL database; default: a server of our own")
    options = parser.parse_args(argv)
    sizes = (options.observations, options.rules)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        asyncio.run(measure("SQLite", f"sqlite:///{folder}/sentinel.db", *sizes))
    if options.url is not None:
        asyncio.run(measure("PostgreSQL", options.url, *sizes))
        return 0
    programs = find_postgres()
    if programs is None:
        print("PostgreSQL: not found; name a database with --url")
        return 0
    server = SharedPostgres(programs)
    try:
        asyncio.run(measure("PostgreSQL", server.fresh_url(), *sizes))
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
