"""The limit: a loop of httpx, selectolax, price-parser and SQLite, and nothing else.

    python -m bench.bare_checks URL RULES CHECKS CONCURRENCY FILE

One transaction a check: what was read, and the last value of its page.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import sys
import time

import httpx
from price_parser import Price  # type: ignore[import-not-found]  # in an environment of its own
from selectolax.lexbor import LexborHTMLParser


async def main(base: str, rules: int, checks: int, concurrency: int, file: str) -> None:
    """Check every page in turn until so many are done."""
    database = sqlite3.connect(file, isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
        "CREATE TABLE last (rule INTEGER PRIMARY KEY, amount TEXT, currency TEXT);"
        "CREATE TABLE seen (rule INTEGER, at REAL, raw TEXT, amount TEXT);"
    )
    numbers = itertools.count()

    async def checker(client: httpx.AsyncClient) -> None:
        while (number := next(numbers)) < checks:
            rule = number % rules
            answer = await client.get(f"{base}/{rule}")
            element = LexborHTMLParser(answer.text).css_first(".price")
            assert element is not None
            raw = element.text()
            price = Price.fromstring(raw)
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "INSERT OR REPLACE INTO last VALUES (?, ?, ?)", (rule, str(price.amount), price.currency)
            )
            database.execute(
                "INSERT INTO seen VALUES (?, ?, ?, ?)", (rule, time.time(), raw, str(price.amount))
            )
            database.execute("COMMIT")

    async with httpx.AsyncClient() as client, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(checker(client))


if __name__ == "__main__":
    words = sys.argv[1:]
    asyncio.run(main(words[0], int(words[1]), int(words[2]), int(words[3]), words[4]))
