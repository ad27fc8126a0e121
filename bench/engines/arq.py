"""arq: https://arq-docs.helpmanual.io"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from arq import ArqRedis, Retry, Worker, create_pool, func
from arq.connections import RedisSettings

from bench.engines.face import RETRY_DELAY, FailedOnce, Payload, Producer, Ran, run


class _Producer:
    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def one(self, payload: Payload) -> None:
        await self._pool.enqueue_job("count", payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        await asyncio.gather(*(self.one(payload) for payload in payloads))

    async def later(self, payload: Payload, seconds: float) -> None:
        await self._pool.enqueue_job("count", payload, _defer_by=seconds)


class Arq:
    """It polls: every half second by default, which would hide all else."""

    packages = ("arq", "redis", "hiredis", "uvloop")
    loop = "uvloop"
    settings: ClassVar = {
        "bulk": "gather of enqueue_job",
        "worker": "Worker(max_jobs=concurrency, poll_delay=0.01); by default 0.5 s",
        "results, serialiser": "by default (an hour, pickle)",
    }

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        pool = await create_pool(RedisSettings.from_dsn(url))
        yield _Producer(pool)
        await pool.aclose()

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        async def count(_: Any, payload: Payload) -> None:
            if ran.slow:
                await ran.pause(payload["ruleId"])
            try:
                ran(payload["ruleId"])
            except FailedOnce as error:
                raise Retry(defer=RETRY_DELAY) from error

        worker = Worker(
            [func(count, name="count")],
            redis_settings=RedisSettings.from_dsn(url),
            max_jobs=concurrency,
            poll_delay=0.01,
            handle_signals=False,
        )
        await worker.async_run()


if __name__ == "__main__":
    run(Arq())
