"""RQ, its SimpleWorker, which forks no process for a job: https://python-rq.org"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import import_module
from multiprocessing import get_context
from typing import Any, ClassVar

from redis import Redis
from rq import Queue, Retry, SimpleWorker
from rq.timeouts import TimerDeathPenalty

from bench.engines.face import RETRY_DELAY, Payload, Producer, Ran, run

#: Set before a worker runs.
RAN: Ran | None = None


def count(payload: dict[str, Any]) -> None:
    """The job."""
    assert RAN is not None
    if RAN.slow:
        RAN.wait(payload["ruleId"])
    RAN(payload["ruleId"])


FUNCTION = "bench.engines.rq.count"
fork = get_context("fork")


class _Producer:
    def __init__(self, queue: Queue, retries: bool) -> None:
        self._queue = queue
        self._retry = Retry(max=2, interval=int(RETRY_DELAY)) if retries else None

    async def one(self, payload: Payload) -> None:
        self._queue.enqueue(FUNCTION, payload, retry=self._retry)

    async def many(self, payloads: Sequence[Payload]) -> None:
        self._queue.enqueue_many(
            [Queue.prepare_data(FUNCTION, (payload,), retry=self._retry) for payload in payloads]
        )

    async def later(self, payload: Payload, seconds: float) -> None:
        self._queue.enqueue_in(timedelta(seconds=seconds), FUNCTION, payload)


class _Worker(SimpleWorker):  # type: ignore[misc]  # its types are not here
    """Not in the main thread, which has the event loop: no signals."""

    death_penalty_class = TimerDeathPenalty

    def _install_signal_handlers(self) -> None:
        pass


def _work(url: str, scheduler: bool) -> None:
    connection = Redis.from_url(url)
    worker = _Worker([Queue(connection=connection)], connection=connection)
    worker.work(with_scheduler=scheduler, logging_level="ERROR")


class Rq:
    """One job at a time: more are more processes there, which are started where jobs take their time. In a
    drain of jobs that take none there is one, as of every other engine.
    """

    packages = ("rq", "redis", "hiredis")
    loop = "asyncio"
    settings: ClassVar = {
        "bulk": "Queue.enqueue_many",
        "worker": "SimpleWorker.work(), one job at a time; with_scheduler where jobs are due later; as many"
        " processes as concurrency where jobs take their time",
        "results, serialiser": "by default (500 s, pickle)",
    }

    @asynccontextmanager
    async def producer(self, url: str, retries: bool) -> AsyncIterator[Producer]:
        with Redis.from_url(url) as connection:
            yield _Producer(Queue(connection=connection), retries)

    async def work(self, url: str, concurrency: int, ran: Ran) -> None:
        # RQ calls a function by its module's name, and this module is `__main__`.
        vars(import_module("bench.engines.rq"))["RAN"] = ran
        for _ in range(concurrency - 1 if ran.slow else 0):
            fork.Process(target=_work, args=(url, ran.later)).start()
        await asyncio.to_thread(_work, url, ran.later)


if __name__ == "__main__":
    run(Rq())
