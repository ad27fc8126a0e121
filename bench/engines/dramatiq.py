"""Dramatiq on Redis: https://dramatiq.io"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.engines.face import RETRY_DELAY, Payload, Producer, Ran, run


class _Producer:
    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def one(self, payload: Payload) -> None:
        self._actor.send(payload)

    async def many(self, payloads: Sequence[Payload]) -> None:
        for payload in payloads:
            self._actor.send(payload)

    async def later(self, payload: Payload, seconds: float) -> None:
        self._actor.send_with_options(args=(payload,), delay=max(0, int(seconds * 1000)))


def _build(url: str, ran: Ran | None) -> tuple[RedisBroker, Any]:
    broker = RedisBroker(url=url)
    dramatiq.set_broker(broker)

    def count(payload: dict[str, Any]) -> None:
        if ran is not None:
            if ran.slow:
                ran.wait(payload["ruleId"])
            ran(payload["ruleId"])

    delay = int(RETRY_DELAY * 1000)
    return broker, dramatiq.actor(count, broker=broker, min_backoff=delay, max_backoff=delay)


class Dramatiq:
    """It has no call for many jobs."""

    packages = ("dramatiq", "redis", "hiredis")
    loop = "asyncio"
    settings: ClassVar = {
        "bulk": "actor.send, one after another",
        "worker": "Worker(worker_threads=concurrency), one process",
        "retries": "of a second, where jobs fail; else by default",
    }

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        broker, actor = _build(url, None)
        yield _Producer(actor)
        broker.close()

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        broker, _ = _build(url, ran)
        dramatiq.Worker(broker, worker_threads=concurrency).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(Dramatiq())
