"""Celery on Redis, with its thread pool: https://docs.celeryq.dev"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from celery import Celery
from celery.worker import WorkController

from bench.engines.face import RETRY_DELAY, FailedOnce, Payload, Producer, Ran, run


class _Producer:
    def __init__(self, task: Any) -> None:
        self._task = task

    async def one(self, payload: Payload) -> None:
        self._task.apply_async((payload,))

    async def many(self, payloads: Sequence[Payload]) -> None:
        for payload in payloads:
            self._task.apply_async((payload,))

    async def later(self, payload: Payload, seconds: float) -> None:
        self._task.apply_async((payload,), countdown=seconds)


def _build(url: str, ran: Ran | None) -> tuple[Celery, Any]:
    app = Celery("bench", broker=url, set_as_current=True)
    app.conf.task_ignore_result = True
    app.conf.worker_hijack_root_logger = False

    @app.task(name="count", bind=True)  # type: ignore[untyped-decorator]
    def count(self: Any, payload: dict[str, Any]) -> None:
        if ran is None:
            return
        if ran.slow:
            ran.wait(payload["ruleId"])
        try:
            ran(payload["ruleId"])
        except FailedOnce as error:
            raise self.retry(exc=error, countdown=RETRY_DELAY) from error

    return app, count


class CeleryEngine:
    """It has no call for many jobs."""

    packages = ("celery", "kombu", "redis", "hiredis")
    loop = "asyncio"
    settings: ClassVar = {
        "bulk": "apply_async, one after another",
        "worker": "pool threads, concurrency; acknowledged early, prefetch 4, by default",
        "results": "ignored",
    }

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        _, task = _build(url, None)
        yield _Producer(task)

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        app, _ = _build(url, ran)
        app.finalize()
        worker = WorkController(app=app, pool_cls="threads", concurrency=concurrency, loglevel="ERROR")
        await asyncio.to_thread(worker.start)


if __name__ == "__main__":
    run(CeleryEngine())
