"""What a look at the schedule costs, and how late checks are.

    python -m bench.schedule [--url postgresql://...] [--rules 100000] [--due 0,100,1000,10000]
    python -m bench.schedule --lateness [--rules 10000] [--interval 60] [--minutes 3] [--workers 1] [--find]

SQLite in a folder of its own unless a database is named, which must be empty (`--postgres`: one of its own,
as the tests have).

The first: a tick is what a scheduler does each second: claims of up to its batch until nothing is due. "look"
is a tick with nothing due, median of 50.

`--lateness`: so many `sentinel-worker run`, on a Redis and with pages of 60 KB in processes of their own.
"ticks" are those that the rules' own grids have in that time, "missed" those without a check of their own:
they became one check with a later one, or wait. Late is a check by the time from its tick to its run's
beginning. "CPU ms" is a worker's user and system time, its children included, per check. `--find` goes on
with fewer rules until they are on time: 99 % within 5 s, and none missing but one in a thousand.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from bench import lateness
from sentinel.model import Extraction, Rule, RulesFile, Schedule, Workspace
from sentinel.scheduler import BATCH, due_after
from sentinel.store import Store
from sentinel.store.tables import outbox, rule
from tests.support.postgres import SharedPostgres, find_postgres

BEGAN: Final = 1_700_000_000.0
LOOKS: Final = 50
#: Rules of one file.
IMPORTED: Final = 5_000
#: They are spread over these.
WORKSPACES: Final = 10
HOSTS: Final = 50


class Statements:
    """Counts what is asked of a database."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        for engine in store._database.engines:  # noqa: SLF001 - a bench listens in
            sa.event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, *_: Any) -> None:
        self.count += 1


async def fill(store: Store, rules: int) -> None:
    """Rules that are due in a year."""
    for first in range(0, rules, IMPORTED):
        many = [
            Rule(
                id=f"r{number}",
                url=f"https://shop-{number % HOSTS}.example/{number}",
                type="price",
                extraction=Extraction(method="css", selector="p"),
                schedule=Schedule(interval_seconds=60),
            )
            for number in range(first, min(first + IMPORTED, rules))
        ]
        space = Workspace(id=f"w{first // IMPORTED % WORKSPACES}")
        await store.import_rules(
            RulesFile(workspace=space, rules=many), now=BEGAN, first_due=lambda _: BEGAN + 366 * 86400
        )


async def make_due(store: Store, count: int) -> None:
    """That many, a second ago; what was claimed before is forgotten."""
    async with store._database.writing() as connection:  # noqa: SLF001 - no clock makes a tenth of them due
        await connection.execute(sa.delete(outbox))
        await connection.execute(sa.update(rule).values(next_due_at=BEGAN + 366 * 86400))
        chosen = sa.select(rule.c.id).limit(count)
        await connection.execute(sa.update(rule).where(rule.c.id.in_(chosen)).values(next_due_at=BEGAN - 1))
        if not store._database.is_sqlite:  # noqa: SLF001
            await connection.execute(sa.text("ANALYZE rule"))


async def measure(url: str, rules: int, due: Sequence[int]) -> None:
    """Prints a line for each number of due rules."""
    async with Store.open(url) as store:
        await store.migrate()
        await fill(store, rules)
        kind = "SQLite" if store._database.is_sqlite else "PostgreSQL"  # noqa: SLF001
        print(f"{rules:,} rules on {kind}; load average {os.getloadavg()[0]:.1f}")
        print(f"{'due':>8}{'claimed':>9}{'claims':>8}{'asked':>7}{'ms':>10}{'ms a rule':>11}{'look ms':>9}")
        statements = Statements(store)
        for count in due:
            await make_due(store, count)
            statements.count = claims = claimed = 0
            began = time.perf_counter()
            while True:
                got = len(await store.claim_due(BEGAN, limit=BATCH, next_due=due_after))
                claimed, claims = claimed + got, claims + 1
                if got < BATCH:
                    break
            took = (time.perf_counter() - began) * 1000
            asked = statements.count
            looks = []
            for _ in range(LOOKS):
                began = time.perf_counter()
                await store.claim_due(BEGAN - 2, limit=BATCH, next_due=due_after)
                looks.append((time.perf_counter() - began) * 1000)
            each = f"{took / claimed:.3f}" if claimed else "-"
            print(
                f"{count:8,}{claimed:9,}{claims:8}{asked:7,}{took:10.1f}{each:>11}"
                f"{statistics.median(looks):9.2f}",
                flush=True,
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or an exception."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.schedule",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--rules", type=int)
    parser.add_argument("--due", default="0,100,1000,10000")
    parser.add_argument("--lateness", action="store_true")
    parser.add_argument("--interval", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--find", action="store_true")
    parser.add_argument("--log", type=Path)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        url = stack.enter_context(_postgres()) if options.postgres else options.url
        if options.lateness:
            asked = lateness.Round(
                rules=options.rules or 10_000,
                interval=options.interval,
                seconds=options.minutes * 60,
                workers=options.workers,
                concurrency=options.concurrency,
                url=url,
                log=options.log,
            )
            _lateness(asked, find=options.find)
        else:
            due = [int(count) for count in options.due.split(",")]
            database = url or f"sqlite:///{folder}/sentinel.db"
            asyncio.run(measure(database, options.rules or 100_000, due))
    return 0


def _lateness(asked: lateness.Round, *, find: bool) -> None:
    kind = "SQLite" if asked.url is None else "PostgreSQL"
    workers = f"{asked.workers} worker{'s' if asked.workers > 1 else ''}"
    print(
        f"every {asked.interval} s for {asked.seconds:g} s, {workers}, {asked.concurrency} checks at once,"
        f" {kind}; {os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f}"
    )
    print(lateness.HEAD, flush=True)
    for result in lateness.seek(asked) if find else [lateness.measure(asked)]:
        print(lateness.line(result), flush=True)


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    """A database of its own, gone afterwards. Raises FileNotFoundError."""
    programs = find_postgres()
    if programs is None:
        raise FileNotFoundError("there is no PostgreSQL here")
    server = SharedPostgres(programs)
    try:
        yield server.fresh_url()
    finally:
        server.stop()


if __name__ == "__main__":
    raise SystemExit(main())
