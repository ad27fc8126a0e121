"""streaQ: https://streaq.readthedocs.io"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from streaq import StreaqRetry, Worker

from bench.engines.face import RETRY_DELAY, FailedOnce, Payload, Producer, Ran, run


class _Producer:
    def __init__(self, worker: Worker[Any], task: Any) -> None:
        self._worker = worker
        self._task = task

    async def one(self, payload: Payload) -> None:
        await self._task.enqueue(payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await self._worker.enqueue_many([self._task.enqueue(payload) for payload in payloads])

    async def later(self, payload: Payload, seconds: float) -> None:
        await self._task.enqueue(payload).start(delay=seconds)


def _build(url: str, concurrency: int, ran: Ran | None) -> tuple[Worker[Any], Any]:
    worker: Worker[Any] = Worker(redis_url=url, concurrency=concurrency)

    async def count(payload: dict[str, Any]) -> None:
        if ran is None:
            return
        if ran.slow:
            await ran.pause(payload["ruleId"])
        try:
            ran(payload["ruleId"])
        except FailedOnce as error:
            raise StreaqRetry(str(error), delay=RETRY_DELAY) from error

    return worker, worker.task(name="count")(count)


class Streaq:
    """See the module."""

    packages = ("streaq", "coredis", "hiredis", "uvloop")
    loop = "uvloop"
    settings: ClassVar = {
        "bulk": "Worker.enqueue_many",
        "worker": "Worker(concurrency=...).run_async()",
        "results, prefetch, serialiser": "by default (ttl 5 min, as many as concurrency, pickle)",
    }

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        worker, task = _build(url, 10, None)
        async with worker:
            yield _Producer(worker, task)

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        worker, _ = _build(url, concurrency, ran)
        await worker.run_async()


if __name__ == "__main__":
    run(Streaq())
