"""streamq, as an application uses it: a typed handler, metrics on, leases and retries as by default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from prometheus_client import CollectorRegistry

from bench.engines.face import RETRY_DELAY, Payload, Producer, Ran, run
from bench.engines.rule import RunRule
from streamq import Handlers, Job, Queue, RedisBroker, Retry, Worker
from streamq.metrics import Metrics

STREAM = "rules:run"


class _Producer:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def one(self, payload: Payload) -> None:
        await self._queue.enqueue(payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await self._queue.enqueue_many(payloads)

    async def later(self, payload: Payload, seconds: float) -> None:
        await self._queue.enqueue(payload, delay=seconds)


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
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        async with RedisBroker.from_url(url) as broker:
            yield _Producer(Queue(STREAM, broker))

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        handlers = Handlers()

        retry = Retry(delays=(RETRY_DELAY,)) if ran.fails else Retry()

        @handlers.on(STREAM, RunRule, concurrency=concurrency, retry=retry)
        async def count(job: Job[RunRule]) -> None:
            if ran.slow:
                await ran.pause(job.payload.rule_id)
            ran(job.payload.rule_id)

        metrics = Metrics(CollectorRegistry(), streams=[STREAM])
        async with RedisBroker.from_url(url) as broker:
            await Worker(broker, handlers, observers=[metrics]).run()


if __name__ == "__main__":
    run(Streamq())
