"""How long the history of a rule takes as it grows: ms at 10,000, 100,000 and 1,000,000 observations.

    python -m bench.history [--url postgresql://...] [--sizes 10000,100000,1000000] [--rules 1000]

SQLite in a folder of its own unless a database is named, which must be empty. Medians of 50 rules each.
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
from sentinel.store import Store
from sentinel.store.tables import observation, run

BEGAN: Final = 1_700_000_000.0
BATCH: Final = 20_000
ASKED: Final = 50
VALUE: Final = PriceValue(amount=Decimal("129.99"), currency="EUR")


async def fill(store: Store, first: int, last: int, rules: int) -> None:
    """Runs and observations of those numbers, one a second, the rules in turn."""
    for start in range(first, last, BATCH):
        numbers = range(start, min(start + BATCH, last))
        common = [
            {"workspace_id": "bench", "rule_id": f"r{n % rules}", "at": BEGAN + n, "id": n + 1}
            for n in numbers
        ]
        runs = [
            {
                "id": one["id"],
                "workspace_id": one["workspace_id"],
                "rule_id": one["rule_id"],
                "job_id": f"job-{one['id']}",
                "trigger": "schedule",
                "fence": 1,
                "status": "ok",
                "started_at": one["at"],
                "not_modified": False,
                "observed": True,
            }
            for one in common
        ]
        seen = [
            {
                "run_id": one["id"],
                "at": one["at"],
                "workspace_id": one["workspace_id"],
                "rule_id": one["rule_id"],
                "raw": "€ 129.99",
                "value": VALUE,
                "confirmed": True,
            }
            for one in common
        ]
        async with store._database.writing() as connection:  # noqa: SLF001 - a bench fills what only runs fill
            await connection.execute(sa.insert(run), runs)
            await connection.execute(sa.insert(observation), seen)


async def median_ms(ask: Callable[[str], Awaitable[Any]], rules: int) -> float:
    """Of asking after 50 rules."""
    times = []
    for number in range(ASKED):
        began = time.perf_counter()
        await ask(f"r{number * rules // ASKED}")
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def measure(url: str, sizes: Sequence[int], rules: int) -> None:
    """Prints a line per size."""
    print(f"{rules} rules; ms, median of {ASKED}")
    print(f"{'observations':>14}{'newest 100':>12}{'100 in the middle':>19}{'runs':>8}")
    async with Store.open(url) as store:
        await store.migrate()
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
        there = 0
        for size in sizes:
            await fill(store, there, size, rules)
            there, middle = size, BEGAN + size / 2
            newest = await median_ms(lambda one: store.history(one, 100), rules)
            paged = await median_ms(lambda one, at=middle: store.history(one, 100, before=at), rules)  # type: ignore[misc]  # a default binds it
            runs = await median_ms(lambda one: store.runs(one, 100), rules)
            print(f"{size:14,}{newest:12.2f}{paged:19.2f}{runs:8.2f}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or an exception."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url")
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--rules", type=int, default=1000)
    options = parser.parse_args(argv)
    sizes = [int(size) for size in options.sizes.split(",")]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        asyncio.run(measure(options.url or f"sqlite:///{folder}/sentinel.db", sizes, options.rules))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
