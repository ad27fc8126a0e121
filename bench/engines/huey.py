"""huey on Redis, with threads: https://huey.readthedocs.io"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from huey import RedisHuey

from bench.engines.face import RETRY_DELAY, Payload, Producer, Ran, run


class _Producer:
    def __init__(self, task: Any) -> None:
        self._task = task

    async def one(self, payload: Payload) -> None:
        self._task(payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        for payload in payloads:
            self._task(payload)

    async def later(self, payload: Payload, seconds: float) -> None:
        self._task.schedule((payload,), delay=seconds)


def _build(url: str, ran: Ran | None, *, retries: bool) -> tuple[RedisHuey, Any]:
    huey = RedisHuey("rules-run", url=url)

    def count(payload: dict[str, Any]) -> None:
        if ran is not None:
            if ran.slow:
                ran.wait(payload["ruleId"])
            ran(payload["ruleId"])

    more: dict[str, Any] = {"retries": 2, "retry_delay": int(RETRY_DELAY)} if retries else {}
    return huey, huey.task(name="count", **more)(count)


class Huey:
    """It has no call for many jobs. A job is off the list when a worker has it: a killed one's are lost."""

    packages = ("huey", "redis", "hiredis")
    loop = "asyncio"
    settings: ClassVar = {
        "bulk": "the task, one call after another",
        "worker": "Consumer(workers=concurrency, worker_type thread)",
        "results, serialiser": "by default (kept, pickle)",
    }

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        _, task = _build(url, None, retries=retries)
        yield _Producer(task)

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        huey, _ = _build(url, ran, retries=ran.fails)
        consumer = huey.create_consumer(workers=concurrency, worker_type="thread")
        consumer.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(Huey())
