"""SAQ on Redis, with hiredis: https://saq-py.readthedocs.io"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from saq import Queue, Worker

from bench.engines.face import RETRY_DELAY, Payload, Producer, Ran, run


class _Producer:
    def __init__(self, queue: Queue, retries: bool) -> None:
        self._queue = queue
        self._more: dict[str, Any] = {"retries": 2, "retry_delay": RETRY_DELAY} if retries else {}

    async def one(self, payload: Payload) -> None:
        await self._queue.enqueue("count", payload=payload, **self._more)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await asyncio.gather(*(self.one(payload) for payload in payloads))

    async def later(self, payload: Payload, seconds: float) -> None:
        await self._queue.enqueue("count", payload=payload, scheduled=int(time.time() + seconds))


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
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        queue = Queue.from_url(url)
        await queue.connect()
        yield _Producer(queue, retries)
        await queue.disconnect()

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        async def count(_: Any, *, payload: Payload) -> None:
            if ran.slow:
                await ran.pause(payload["ruleId"])
            ran(payload["ruleId"])

        queue = Queue.from_url(url)
        await queue.connect()
        await Worker(queue, functions=[("count", count)], concurrency=concurrency).start()


if __name__ == "__main__":
    run(Saq())
