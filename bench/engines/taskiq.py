"""taskiq with taskiq-redis's stream broker, the one that acknowledges: https://taskiq-python.github.io"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from taskiq import AsyncTaskiqDecoratedTask
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from bench.engines.face import Payload, Producer, Ran, run


class _Producer:
    def __init__(self, task: AsyncTaskiqDecoratedTask[Any, Any]) -> None:
        self._task = task

    async def one(self, payload: Payload) -> None:
        await self._task.kiq(payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await asyncio.gather(*(self.one(payload) for payload in payloads))


def _build(url: str, ran: Ran) -> tuple[RedisStreamBroker, AsyncTaskiqDecoratedTask[Any, Any]]:
    broker = RedisStreamBroker(url)

    async def count(payload: dict[str, Any]) -> None:
        ran(payload["ruleId"])

    return broker, broker.register_task(count, task_name="count")


class Taskiq:
    """It has no call for many jobs, so many at once are many `kiq` at once."""

    packages = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
    loop = "uvloop"
    settings: ClassVar = {
        "bulk": "gather of task.kiq",
        "worker": "run_receiver_task(max_async_tasks=concurrency), as `taskiq worker --max-async-tasks`",
        "results": "none kept, by default; entries stay in the stream, by default (no maxlen)",
        "acknowledged": "by default (when_saved)",
    }

    @asynccontextmanager
    async def producer(self, url: str) -> AsyncIterator[Producer]:
        broker, task = _build(url, lambda _: None)
        await broker.startup()
        yield _Producer(task)
        await broker.shutdown()

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        broker, _ = _build(url, ran)
        broker.is_worker_process = True
        await broker.startup()
        await run_receiver_task(broker, max_async_tasks=concurrency)


if __name__ == "__main__":
    run(Taskiq())
