"""SAQ on Redis, with hiredis: https://saq-py.readthedocs.io"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from saq import Queue, Worker

from bench.engines.face import Payload, Producer, Ran, run


class _Producer:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def one(self, payload: Payload) -> None:
        await self._queue.enqueue("count", payload=payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await asyncio.gather(*(self.one(payload) for payload in payloads))


class Saq:
    """Its `map` and `apply` wait for results, so many jobs at once are many `enqueue` at once."""

    packages = ("saq", "redis", "hiredis", "uvloop")
    loop = "uvloop"
    settings: ClassVar = {
        "bulk": "gather of Queue.enqueue",
        "worker": "Worker(concurrency=...).start()",
        "results, timers, serialiser": "by default (ttl 600 s, JSON)",
    }

    @asynccontextmanager
    async def producer(self, url: str) -> AsyncIterator[Producer]:
        queue = Queue.from_url(url)
        await queue.connect()
        yield _Producer(queue)
        await queue.disconnect()

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        async def count(_: Any, *, payload: Payload) -> None:
            ran(payload["ruleId"])

        queue = Queue.from_url(url)
        await queue.connect()
        await Worker(queue, functions=[("count", count)], concurrency=concurrency).start()


if __name__ == "__main__":
    run(Saq())
