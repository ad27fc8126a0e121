"""Hosts in trouble, as several processes see them: one check tries at a time."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from sentinel.decide.host import Wait
from sentinel.store import Store
from sentinel.store.hosts import FORGET_AFTER
from sentinel.store.records import Ages
from tests.sentinel.store.things import NOW, load

HOST: Final = "shop.example.com"
#: A worker that is asked for a check of each of its rules, at the moment it is told to.
PROGRAM: Final = """
import sys, anyio
from sentinel.store import Store

async def main():
    url, now, *rules = sys.argv[1:]
    async with Store.open(url) as store:
        await store.host("acme", "x")
        print("ready", flush=True)
        sys.stdin.readline()
        for rule in rules:
            answer = await store.admit_check("acme", "shop.example.com", rule, float(now))
            print("goes" if answer is None else "waits", flush=True)

anyio.run(main)
"""


async def fail(store: Store, *rules: str, now: float = NOW) -> None:
    for rule in rules:
        await store.note_check("acme", HOST, rule, now, code="FETCH_CONNECTION", detail="refused")


async def test_of_two_processes_one_check_tries_a_host_that_is_half_open(
    database_url: str, store: Store
) -> None:
    await load(store)
    await fail(store, "a", "b", "c")
    later = str(NOW + 31)
    workers = [
        subprocess.Popen(  # noqa: ASYNC220 - a program of our own
            [sys.executable, "-c", PROGRAM, database_url, later, *rules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rules in (["d", "e", "f"], ["g", "h", "i"])
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    answers = [line for worker in workers for line in worker.communicate(timeout=60)[0].split()]
    assert sorted(answers) == ["goes", *["waits"] * 5]


async def test_a_host_that_nobody_asks_any_more_is_forgotten(store: Store) -> None:
    await load(store)
    await fail(store, "a")
    await store.prune(NOW + FORGET_AFTER - 1, Ages())
    assert await store.host("acme", HOST) is not None
    await store.prune(NOW + FORGET_AFTER + 1, Ages())
    assert await store.host("acme", HOST) is None


async def test_the_same_rule_failing_is_one_failure_and_a_good_answer_forgets_all(store: Store) -> None:
    await load(store)
    await fail(store, "a", "a", "a", "b")
    assert await store.admit_check("acme", HOST, "z", NOW) is None
    await store.note_check("acme", HOST, "z", NOW)
    assert await store.host("acme", HOST) is None
    await fail(store, "a", "b", "c")
    assert isinstance(await store.admit_check("acme", HOST, "z", NOW), Wait)
