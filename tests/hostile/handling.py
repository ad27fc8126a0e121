"""The engine alone: handlers that loop, exit and raise what no handler should, on a real Redis.

python -m tests.hostile.handling REDIS_URL        one worker process, as a supervisor starts it
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import anyio

from streamq import (
    Handlers,
    Job,
    Queue,
    RedisBroker,
    Retry,
    Supervisor,
    SupervisorOptions,
    Worker,
    WorkerOptions,
)
from tests.hostile.rows import Judge, NotRun, Row
from tests.support.servers import SharedServer, find_redis, find_valkey

PATIENCE: Final = 60.0
RETRY: Final = Retry(delays=(0.05, 0.05))


class _HostileError(Exception):
    """One that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def _exits() -> None:
    os._exit(1)


def _raises(error: BaseException) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


def _loops() -> None:
    while True:
        pass


async def _sleeps() -> None:
    await anyio.sleep_forever()


#: Stream -> what its handler does with each job.
DOES: Final[dict[str, Callable[[], Any]]] = {
    "exits": _exits,
    "loops": _loops,
    "base": _raises(BaseException("bare")),
    "interrupt": _raises(KeyboardInterrupt()),
    "system-exit": _raises(SystemExit(0)),
    "cancelled": _raises(asyncio.CancelledError()),
    "memory": _raises(MemoryError()),
    "recursion": _raises(RecursionError()),
    "generator-exit": _raises(GeneratorExit()),
    "unprintable": _raises(_HostileError()),
    "sleeps": _sleeps,
    "fine": lambda: None,
}
#: What a row says in words -> its streams, how often each job is tried, and what it must die of.
SCENES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "handler: os._exit(1)": (("exits",), "crashed"),
    # Its process is ended each time, and after three it is buried.
    "handler: while True: pass": (("loops",), "crashed"),
    "handler: raises BaseException / KeyboardInterrupt / SystemExit": (
        ("base", "interrupt", "system-exit"),
        "exhausted",
    ),
    "handler: raises CancelledError of its own": (("cancelled",), "exhausted"),
    "handler: raises MemoryError": (("memory",), "exhausted"),
    "handler: raises RecursionError": (("recursion",), "exhausted"),
    "handler: raises GeneratorExit": (("generator-exit",), "exhausted"),
    "handler: raises an error whose text cannot be made": (("unprintable",), "exhausted"),
    "handler: awaits for ever": (("sleeps",), "exhausted"),
}


def handlers() -> Handlers:
    """All of them."""
    made = Handlers()

    def add(stream: str, does: Callable[[], Any]) -> None:
        async def handle(job: Job[dict[str, Any]]) -> None:
            done = does()
            if done is not None:
                await done

        made.on(stream, dict[str, Any], retry=RETRY, timeout=0.5, hard_limit=2.0)(handle)

    for stream, does in DOES.items():
        add(stream, does)
    return made


async def work(url: str) -> None:
    """A worker until it is stopped."""
    async with RedisBroker.from_url(url) as broker:
        await Worker(broker, handlers(), options=WorkerOptions(lease=1.0, renew=0.2)).run()


@functools.cache
def died() -> dict[str, tuple[str, int]]:
    """Stream -> the reason its job died of and the attempts made; `fine` has ('done', 1)."""
    program = find_valkey() or find_redis()
    if program is None:
        raise LookupError("no valkey-server and no redis-server was found")
    server = SharedServer(program)
    try:
        return anyio.run(_play, server.fresh_url())
    finally:
        server.stop()


async def _play(url: str) -> dict[str, tuple[str, int]]:
    command = [sys.executable, "-m", "tests.hostile.handling", url]
    # A process that ends with 1 before any had worked is believed to say no: so good work comes first.
    options = SupervisorOptions(young=0.2, stop_timeout=10.0)
    supervisor = Supervisor(lambda _: command, processes=2, options=options)
    found: dict[str, tuple[str, int]] = {}
    async with RedisBroker.from_url(url) as broker, anyio.create_task_group() as group:
        await Queue("fine", broker).enqueue({})
        group.start_soon(supervisor.run)
        with anyio.move_on_after(PATIENCE):
            await _done(broker, 1)
            for stream in DOES:
                await Queue(stream, broker).enqueue({})
            while len(found) < len(DOES) - 1:
                for stream in DOES:
                    for letter in await broker.dead(stream):
                        found[stream] = (letter.reason, letter.attempts)
                await anyio.sleep(0.1)
            # And after all that, good work is done.
            await Queue("fine", broker).enqueue({})
            await _done(broker, 3)
            found["fine"] = ("done", 1)
        group.cancel_scope.cancel()
    return found


async def _done(broker: RedisBroker, jobs: int) -> None:
    while (await broker.stats("fine")).done < jobs:  # noqa: ASYNC110 - another process knows
        await anyio.sleep(0.1)


def judge(row: Row) -> Judge:
    """The judge of a `handler: ...` row. Raises NotRun."""
    if row.input not in SCENES:
        raise NotRun("no handler here does what it says in words")
    streams, reason = SCENES[row.input]

    def judged() -> str:
        found = died()
        if found.get("fine") != ("done", 1):
            return "no good job was done after it"
        for stream in streams:
            if stream not in found or found[stream][0] != reason:
                return f"{stream}: {found.get(stream, 'nothing came of it')}"
            if reason == "exhausted" and found[stream][1] != RETRY.attempts:
                return f"{stream}: tried {found[stream][1]} times"
        return ""

    return judged


if __name__ == "__main__":
    logging.disable()
    anyio.run(work, sys.argv[1])
