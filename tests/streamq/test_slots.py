"""Slots: as many jobs at once as there are, no job in another's context, no cancellation but one's own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from streamq.broker import Bury, Done, Lease
from streamq.executor import Ended, Executor
from streamq.handlers import Handlers
from streamq.job import Envelope, Job
from streamq.slots import Running, Slots
from tests.streamq.rig import PATIENCE


class Note(msgspec.Struct, frozen=True):
    n: int


class Bench:
    """Slots with a handler, and what they told."""

    def __init__(self, handler: Callable[[Job[Note]], Awaitable[object]], concurrency: int = 3) -> None:
        handlers = Handlers()
        handlers.on("notes", Note)(handler)
        executor = Executor(handlers.of("notes"))
        self.ended: dict[str, Ended | None] = {}
        self.tasks: set[asyncio.Task[object] | None] = set()
        self.slots = Slots(executor, concurrency, started=self._on_started, ended=self._on_ended)
        self.jobs: dict[str, Running] = {}

    def _on_started(self, running: Running) -> None:
        self.tasks.add(running.task)

    def _on_ended(self, running: Running, ended: Ended | None) -> None:
        self.ended[running.lease.envelope.id] = ended

    def put(self, *numbers: int) -> None:
        for n in numbers:
            envelope = Envelope(id=str(n), payload=msgspec.json.encode(Note(n)))
            self.jobs[str(n)] = Running(Lease("notes", f"{n + 1}-0", envelope))
            self.slots.put(self.jobs[str(n)])
        self.slots.deal()

    async def until_ended(self, many: int) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.ended) < many:
                await anyio.lowlevel.checkpoint()

    async def run(self, *numbers: int) -> None:
        """Put them in, and return when all have ended."""
        async with anyio.create_task_group() as group:
            self.slots.open(group)
            self.put(*numbers)
            await self.until_ended(len(numbers))
            self.slots.close()

    def outcomes(self) -> dict[str, type | None]:
        return {name: ended and type(ended.finish) for name, ended in self.ended.items()}


async def test_jobs_that_do_not_suspend_share_one_task() -> None:
    async def handler(_: Job[Note]) -> None:
        pass

    bench = Bench(handler, concurrency=10)
    await bench.run(*range(50))
    assert bench.outcomes() == {str(n): Done for n in range(50)}
    assert len(bench.tasks) == 1


async def test_as_many_run_at_once_as_there_are_slots_and_never_more() -> None:
    together, most = 0, 0
    full = anyio.Event()

    async def handler(_: Job[Note]) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        if together == 3:
            full.set()
        await full.wait()
        await anyio.lowlevel.checkpoint()
        together -= 1

    bench = Bench(handler, concurrency=3)
    await bench.run(*range(20))
    assert most == 3
    assert len(bench.tasks) == 3, "a task each, and no task per job"
    assert (bench.slots.active, len(bench.slots.waiting)) == (0, 0)


async def test_what_a_job_leaves_in_a_context_variable_the_next_one_does_not_find() -> None:
    tenant: contextvars.ContextVar[int | None] = contextvars.ContextVar("tenant", default=None)
    found: list[int | None] = []

    async def handler(job: Job[Note]) -> None:
        found.append(tenant.get())
        tenant.set(job.payload.n)

    await Bench(handler, concurrency=1).run(*range(5))
    assert found == [None] * 5


async def test_a_value_that_cannot_be_compared_is_not_found_either() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    held: contextvars.ContextVar[Odd | None] = contextvars.ContextVar("held", default=None)
    before = held.set(Odd())  # in the worker's own context already
    found: list[bool] = []

    async def handler(_: Job[Note]) -> None:
        found.append(held.get() is None)
        held.set(Odd())

    await Bench(handler, concurrency=1).run(*range(3))
    held.reset(before)
    assert found == [False] * 3


async def test_a_cancelled_job_ends_and_the_next_one_in_its_slot_runs_undisturbed() -> None:
    began = anyio.Event()

    async def handler(job: Job[Note]) -> None:
        if job.payload.n == 0:
            began.set()
            await anyio.sleep_forever()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()

    bench = Bench(handler, concurrency=1)
    async with anyio.create_task_group() as group:
        bench.slots.open(group)
        bench.put(0, 1, 2)
        await began.wait()
        bench.jobs["0"].cancel()
        await bench.until_ended(3)
        bench.slots.close()
    assert bench.outcomes() == {"0": None, "1": Done, "2": Done}


async def test_a_cancellation_that_comes_too_late_hits_nobody() -> None:
    """The job ends by itself in the very moment it is cancelled: the next one must not be hit."""
    turn = anyio.Event()

    async def handler(job: Job[Note]) -> None:
        if job.payload.n == 0:
            await turn.wait()
        else:
            await anyio.lowlevel.checkpoint()

    bench = Bench(handler, concurrency=1)
    async with anyio.create_task_group() as group:
        bench.slots.open(group)
        bench.put(0, 1)
        while bench.jobs["0"].scope is None:
            await anyio.lowlevel.checkpoint()
        turn.set()
        bench.jobs["0"].cancel()
        await bench.until_ended(2)
        bench.jobs["0"].cancel()
        bench.slots.close()
    assert bench.outcomes()["1"] is Done


async def test_a_job_that_cancels_itself_fails_and_leaves_the_slot_usable() -> None:
    async def handler(job: Job[Note]) -> None:
        if job.payload.n == 0:
            raise asyncio.CancelledError

    bench = Bench(handler, concurrency=1)
    await bench.run(0, 1)
    assert bench.outcomes() == {"0": Bury, "1": Done}


async def test_a_job_that_cancels_its_own_task_fails_and_leaves_the_slot_usable() -> None:
    async def handler(job: Job[Note]) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        if job.payload.n == 0:
            task.cancel()
            await anyio.sleep_forever()

    bench = Bench(handler, concurrency=1)
    await bench.run(0, 1)
    assert bench.outcomes() == {"0": Bury, "1": Done}


async def test_a_timeout_inside_in_the_moment_of_the_cancellation_ends_nothing_else() -> None:
    """asyncio makes one cancellation of both, in the timeout's name: anyio does not know it as its own."""
    timeouts: list[asyncio.Timeout] = []

    async def handler(job: Job[Note]) -> None:
        if job.payload.n == 0:
            async with asyncio.timeout(None) as timeout:
                timeouts.append(timeout)
                while True:  # noqa: ASYNC110 - it must be about to go on
                    await asyncio.sleep(0)

    bench = Bench(handler, concurrency=1)
    async with anyio.create_task_group() as group:
        bench.slots.open(group)
        bench.put(0, 1)
        while not timeouts:
            await anyio.lowlevel.checkpoint()
        bench.jobs["0"].cancel()
        run_out: Callable[[], None] = timeouts[0]._on_timeout  # type: ignore[attr-defined] # as the loop does
        run_out()
        await bench.until_ended(2)
        bench.put(2)
        await bench.until_ended(3)
        assert not group.cancel_scope.cancel_called, "the stream goes on"
        bench.slots.close()
    assert bench.ended["0"] is None, "cancelled from outside"
    assert (bench.outcomes()["1"], bench.outcomes()["2"]) == (Done, Done)


async def test_slots_whose_loop_is_gone_ask_for_nothing() -> None:
    """As where a process is ended in the middle: what is thrown away starts no other."""
    bench = Bench(lambda _: anyio.sleep_forever(), concurrency=1)
    dealt: list[int] = []
    bench.slots.deal = lambda at_once=1: dealt.append(at_once)  # type: ignore[method-assign]
    slot = bench.slots._slot()
    slot.send(None)
    slot.close()
    assert dealt == []


async def test_what_waits_can_be_taken_back_and_closed_slots_start_nothing() -> None:
    hold = anyio.Event()

    async def handler(_: Job[Note]) -> None:
        await hold.wait()

    bench = Bench(handler, concurrency=1)
    async with anyio.create_task_group() as group:
        bench.slots.open(group)
        bench.put(0, 1, 2)
        while bench.slots.active == 0:
            await anyio.lowlevel.checkpoint()
        assert [running.lease.envelope.id for running in bench.slots.take_back()] == ["1", "2"]
        bench.slots.close()
        bench.put(3)
        hold.set()
        await bench.until_ended(1)
    assert list(bench.ended) == ["0"]


async def test_slots_grow_while_jobs_wait_and_shrink_without_cancelling_any() -> None:
    together, most = 0, 0
    hold = anyio.Event()

    async def handler(_: Job[Note]) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await hold.wait()
        together -= 1

    async def until(many: int) -> None:
        while together != many:
            await anyio.lowlevel.checkpoint()

    bench = Bench(handler, concurrency=1)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            bench.slots.open(group)
            bench.put(*range(8))
            await until(1)
            bench.slots.resize(4)
            await until(4)
            bench.slots.resize(2)
            assert (together, bench.slots.active, len(bench.slots.waiting)) == (4, 4, 4)
            most = 0
            hold.set()
            await bench.until_ended(8)
            assert set(bench.outcomes().values()) == {Done}
            hold = anyio.Event()
            bench.put(8, 9, 10)
            await until(2)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert together == 2
            hold.set()
            await bench.until_ended(11)
            bench.slots.close()


async def test_resting_slots_that_are_too_many_end_and_those_that_are_left_work() -> None:
    async def handler(_: Job[Note]) -> None:
        await anyio.lowlevel.checkpoint()

    bench = Bench(handler, concurrency=5)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            bench.slots.open(group)
            bench.put(*range(20))
            await bench.until_ended(20)
            for size in (1, 3, 1):
                bench.slots.resize(size)
                many = len(bench.ended)
                bench.put(*range(many, many + 5))
                await bench.until_ended(many + 5)
            bench.slots.close()
    assert set(bench.outcomes().values()) == {Done}


async def test_a_loop_that_anyio_did_not_start_has_as_many_at_once_too() -> None:
    """A worker under `asyncio.run`, which does not say so in a context variable."""
    together = 0
    most = 0

    async def handler(_: Job[Note]) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.01)
        together -= 1

    bench = Bench(handler, concurrency=20)
    await anyio.to_thread.run_sync(contextvars.Context().run, lambda: asyncio.run(bench.run(*range(60))))
    assert len(bench.ended) == 60
    assert most == 20
