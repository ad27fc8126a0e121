"""taskiq with taskiq-redis's stream broker, the one that acknowledges: https://taskiq-python.github.io"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from taskiq import AsyncTaskiqDecoratedTask, SmartRetryMiddleware
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from bench.engines.face import RETRY_DELAY, Payload, Producer, Ran, run


class _Producer:
    def __init__(self, task: AsyncTaskiqDecoratedTask[Any, Any]) -> None:
        self._task = task

    async def one(self, payload: Payload) -> None:
        await self._task.kiq(payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await asyncio.gather(*(self.one(payload) for payload in payloads))

    async def later(self, payload: Payload, seconds: float) -> None:
        raise SystemExit("delayed jobs need a scheduler of another package")


def _build(
    url: str, ran: Callable[[str], None], *, slow: Ran | None = None, retries: bool = False
) -> tuple[RedisStreamBroker, AsyncTaskiqDecoratedTask[Any, Any]]:
    broker: Any = RedisStreamBroker(url)
    if retries:
        again = SmartRetryMiddleware(default_retry_count=2, default_delay=RETRY_DELAY, use_jitter=False)
        broker = broker.with_middlewares(again)

    async def count(payload: dict[str, Any]) -> None:
        if slow is not None and slow.slow:
            await slow.pause(payload["ruleId"])
        ran(payload["ruleId"])

    return broker, broker.register_task(count, task_name="count", retry_on_error=retries)


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
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        broker, task = _build(url, lambda _: None, retries=retries)
        await broker.startup()
        yield _Producer(task)
        await broker.shutdown()

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        broker, _ = _build(url, ran, slow=ran, retries=ran.fails)
        broker.is_worker_process = True
        await broker.startup()
        await run_receiver_task(broker, max_async_tasks=concurrency)


if __name__ == "__main__":
    run(Taskiq())
