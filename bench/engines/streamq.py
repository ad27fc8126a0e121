"""streamq, as an application uses it: a typed handler, metrics on, leases and retries as by default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from prometheus_client import CollectorRegistry

from bench.engines.face import Payload, Producer, Ran, run
from bench.engines.rule import RunRule
from streamq import Handlers, Job, Queue, RedisBroker, Worker
from streamq.metrics import Metrics

STREAM = "rules:run"


class _Producer:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def one(self, payload: Payload) -> None:
        await self._queue.enqueue(payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await self._queue.enqueue_many(payloads)


class Streamq:
    """See the module."""

    packages = ("redis", "hiredis", "uvloop", "msgspec", "anyio")
    loop = "uvloop"
    settings: ClassVar = {
        "bulk": "Queue.enqueue_many",
        "metrics": "on",
        "leases, retries, retention": "by default",
    }

    @asynccontextmanager
    async def producer(self, url: str) -> AsyncIterator[Producer]:
        async with RedisBroker.from_url(url) as broker:
            yield _Producer(Queue(STREAM, broker))

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        handlers = Handlers()

        @handlers.on(STREAM, RunRule, concurrency=concurrency)
        async def count(job: Job[RunRule]) -> None:
            ran(job.payload.rule_id)

        metrics = Metrics(CollectorRegistry(), streams=[STREAM])
        async with RedisBroker.from_url(url) as broker:
            await Worker(broker, handlers, observers=[metrics]).run()


if __name__ == "__main__":
    run(Streamq())
