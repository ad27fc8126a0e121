"""A worker's heart: no beat of it comes after the goodbye."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from streamq import Handlers, Job, Queue, Worker, WorkerOptions
from streamq.broker import Lease, Renewal, WorkerFacts
from streamq.testing import MemoryBroker


class Number(msgspec.Struct):
    n: int


class FarAway(MemoryBroker):
    """A beat takes longer to arrive than anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = self.arrived = 0

    def renew(
        self,
        stream: str,
        worker: str,
        held: Sequence[Lease],
        facts: WorkerFacts = WorkerFacts(),  # noqa: B008 - as the broker's own
    ) -> Renewal:
        self.sent += 1
        time.sleep(0.3)
        self.arrived += 1
        return super().renew(stream, worker, held, facts)


async def test_a_beat_on_its_way_does_not_bring_back_a_worker_that_said_goodbye() -> None:
    broker, handlers, ran = FarAway(), Handlers(), []

    @handlers.on("work", Number)
    async def work(job: Job[Number]) -> None:
        ran.append(job.payload.n)

    await Queue("work", broker).enqueue(Number(1))
    options = WorkerOptions(lease=5.0, renew=0.02, burst_wait=0.0)

    await Worker(broker, handlers, options=options).run(handle_signals=False)

    assert ran == [1]
    assert broker.sent == broker.arrived >= 2  # none is on its way that could come after the goodbye
    assert await broker.workers("work") == []
