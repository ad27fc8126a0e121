"""BullMQ's own Python port: https://docs.bullmq.io/python"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from bullmq import Queue, Worker

from bench.engines.face import RETRY_DELAY, Payload, Producer, Ran, run

QUEUE = "rules-run"


class _Producer:
    def __init__(self, queue: Queue, retries: bool) -> None:
        self._queue = queue
        again = {"type": "fixed", "delay": int(RETRY_DELAY * 1000)}
        self._more: dict[str, Any] = {"attempts": 3, "backoff": again} if retries else {}

    async def one(self, payload: Payload) -> None:
        await self._queue.add("count", payload, dict(self._more))

    async def many(self, payloads: Sequence[Payload]) -> None:
        await self._queue.addBulk(
            [{"name": "count", "data": payload, "opts": dict(self._more)} for payload in payloads]
        )

    async def later(self, payload: Payload, seconds: float) -> None:
        await self._queue.add("count", payload, {"delay": max(0, int(seconds * 1000))})


class BullmqPython:
    """See the module."""

    packages = ("bullmq", "redis", "hiredis", "uvloop")
    loop = "uvloop"
    settings: ClassVar = {
        "bulk": "Queue.addBulk",
        "worker": "Worker({ concurrency })",
        "removeOnComplete, locks, events": "by default (completed jobs are kept)",
    }

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        queue = Queue(QUEUE, {"connection": url})
        yield _Producer(queue, retries)
        await queue.close()

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        async def count(job: Any, _: str) -> None:
            if ran.slow:
                await ran.pause(job.data["ruleId"])
            ran(job.data["ruleId"])

        worker = Worker(QUEUE, count, {"connection": url, "concurrency": concurrency})
        try:
            await asyncio.Event().wait()
        finally:
            await worker.close(True)


if __name__ == "__main__":
    run(BullmqPython())
