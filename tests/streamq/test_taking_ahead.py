"""A worker takes the next jobs while the broker works, as long as jobs end sooner than it answers."""

from __future__ import annotations

import time
from typing import Any

import anyio
import msgspec
import pytest

from streamq import Handlers, Job, Queue, Worker, WorkerOptions
from streamq.broker import Broker, Turn
from streamq.testing import MemoryBroker
from tests.streamq.rig import eventually

DEADLINE = 30.0


class Note(msgspec.Struct, frozen=True):
    n: int


class Watched(MemoryBroker):
    """Remembers what each turn asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def turn(self, stream: str, worker: str, *, free: int, **more: Any) -> Turn:
        self.asked.append(free)
        return await super().turn(stream, worker, free=free, **more)


async def work_off(broker: Broker, handlers: Handlers) -> None:
    with anyio.fail_after(DEADLINE):
        await Worker(broker, handlers, options=WorkerOptions(burst_wait=0.0)).run(handle_signals=False)


async def test_jobs_that_end_at_once_are_taken_ahead_and_run_once_each() -> None:
    ran: list[int] = []
    handlers = Handlers()

    @handlers.on("notes", Note, concurrency=4)
    async def note(job: Job[Note]) -> None:
        ran.append(job.payload.n)

    async with Watched() as broker:
        await Queue("notes", broker).enqueue_many([Note(n) for n in range(50)])
        await work_off(broker, handlers)

    assert sorted(ran) == list(range(50))
    # Four slots, and eight more once turns have shown that there is much to do and that it takes no time.
    assert (broker.asked[0], max(broker.asked)) == (4, 12)


async def test_of_jobs_that_take_their_time_no_more_are_taken_than_there_are_slots() -> None:
    most = 0
    handlers = Handlers()

    @handlers.on("notes", Note, concurrency=4)
    async def note(_: Job[Note]) -> None:
        nonlocal most
        most = max(most, (await broker.stats("notes")).leased)
        await anyio.sleep(0.001)

    async with Watched() as broker:
        await Queue("notes", broker).enqueue_many([Note(n) for n in range(40)])
        await work_off(broker, handlers)

    assert most == 4


async def test_handlers_that_hold_the_loop_are_given_no_more_than_there_are_slots() -> None:
    handlers = Handlers()

    @handlers.on("notes", Note, concurrency=4)
    async def note(_: Job[Note]) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - four of them are more than counts as no time

    async with Watched() as broker:
        await Queue("notes", broker).enqueue_many([Note(n) for n in range(16)])
        await work_off(broker, handlers)

    assert max(broker.asked) == 4


@pytest.mark.parametrize("others", [1, 3])
async def test_what_was_taken_ahead_goes_back_when_the_slots_turn_out_to_be_held(
    others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamq.consumer.AHEAD_PATIENCE", 0.05)
    ran: list[int] = []
    handlers, neighbour = Handlers(), Handlers()
    let_go = anyio.Event()

    @handlers.on("notes", Note, concurrency=2)
    async def held(job: Job[Note]) -> None:
        if job.payload.n >= 8:
            await let_go.wait()
        ran.append(job.payload.n)

    @neighbour.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        ran.append(job.payload.n)
        if len(ran) == 8 + others:
            let_go.set()

    async def only_the_slots() -> bool:
        return len(ran) == 8 and (await broker.stats("notes")).leased == 2

    async with MemoryBroker() as broker:
        await Queue("notes", broker).enqueue_many([Note(n) for n in range(10 + others)])
        async with anyio.create_task_group() as both:
            both.start_soon(work_off, broker, handlers)
            # The two slots are held; what waits behind them runs elsewhere, though nobody lets go.
            await eventually(only_the_slots)
            both.start_soon(work_off, broker, neighbour)

    assert sorted(ran) == list(range(10 + others))
