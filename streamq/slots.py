"""Slots: up to `concurrency` tasks, each of which runs one job after another.

A task of its own for every job would cost more than most jobs do (figures.md, where a job spends its
time); and a handler that never suspends needs no second task at all.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from streamq.broker import Lease
from streamq.executor import Ended, Executor

sniffio: Any
try:
    import sniffio
except ImportError:
    sniffio = None


class Running:
    """A job in this process's hands: it waits for a slot, runs, or has ended and the broker must hear it."""

    __slots__ = (
        *("cancelled", "ended", "key", "lease", "lost", "release", "scope", "started", "taken_ms", "task"),
    )

    def __init__(self, lease: Lease, taken_ms: int = 0) -> None:
        self.lease = lease
        #: Handed over, ms of the server's clock.
        self.taken_ms = taken_ms
        #: `Lease.key`, made once.
        self.key = lease.key
        #: Monotonic seconds of its start, where it has a hard limit.
        self.started: float | None = None
        #: What cancels it; None: it does not run.
        self.scope: anyio.CancelScope | None = None
        self.task: asyncio.Task[Any] | None = None
        #: What came of it; None: not yet.
        self.ended: Ended | None = None
        #: Its lease was lost: its end is not told to the broker.
        self.lost = False
        #: It was cancelled to be handed back.
        self.release = False
        #: A person has cancelled it.
        self.cancelled = lease.cancelled

    def __repr__(self) -> str:
        state = "lost" if self.lost else "running" if self.scope else "ended" if self.ended else "waiting"
        return f"<Running {self.lease.stream} {self.lease.envelope.id} {state}>"

    def cancel(self) -> None:
        """Cancel its handler at its next await, and at every one after that."""
        if self.scope is not None:
            self.scope.cancel()


class Slots:
    """Runs what is put into them, `concurrency` jobs at once."""

    def __init__(
        self,
        executor: Executor,
        concurrency: int,
        *,
        started: Callable[[Running], None],
        ended: Callable[[Running, Ended | None], None],
    ) -> None:
        """`started` and `ended` are called around every job, with None where it was cancelled; both must
        be quick and must not raise.
        """
        self.concurrency = concurrency
        self._executor = executor
        self._started = started
        self._ended = ended
        #: Waiting for a slot.
        self.waiting: deque[Running] = deque()
        #: Jobs that run now.
        self.active = 0
        self._tasks = 0
        self._resting: list[asyncio.Future[None]] = []
        self._group: anyio.abc.TaskGroup | None = None
        #: What every task starts with, and none may leave to the next job.
        self._clean = contextvars.copy_context()
        self._closing = False

    def __repr__(self) -> str:
        return f"<Slots {self.active}/{self.concurrency}, {len(self.waiting)} waiting>"

    @property
    def full(self) -> bool:
        """Something waits, and no slot is free for it."""
        return bool(self.waiting) and self.active >= self.concurrency

    def open(self, group: anyio.abc.TaskGroup) -> None:
        """Run from now on, in tasks of `group`, with the context variables as they are now."""
        self._group = group
        self._clean = contextvars.copy_context()
        self._clean.run(_name_the_loop)

    def close(self) -> None:
        """Start nothing more; the tasks end when their jobs have."""
        self._closing = True
        while self._resting:
            _wake(self._resting.pop())

    def resize(self, concurrency: int) -> None:
        """So many jobs at once from now on; what runs goes on, also where that is more."""
        self.concurrency = concurrency
        for _ in range(min(len(self._resting), self._tasks - concurrency)):
            _wake(self._resting.pop())  # one too many: it ends
        self.deal()

    def put(self, running: Running) -> None:
        """Have a slot take it; `deal` afterwards."""
        self.waiting.append(running)

    def take_back(self) -> list[Running]:
        """What no slot has taken yet."""
        found = list(self.waiting)
        self.waiting.clear()
        return found

    def deal(self, at_once: int = 1) -> None:
        """Have slots take what waits: one at first, and twice as many in every pass of the loop after.

        A handler that does not suspend leaves nothing for a second slot, and waking all of them to find
        that out would cost more than the jobs.
        """
        if self._closing or self._group is None:
            return
        for _ in range(min(at_once, len(self.waiting))):
            if self._resting:
                _wake(self._resting.pop())
            elif self._tasks < self.concurrency:
                # Not in the caller's context: that may be the very one a job has left something in.
                self._clean.copy().run(self._group.start_soon, self._slot)
                self._tasks += 1
            else:
                return
        if self.waiting:
            asyncio.get_running_loop().call_soon(self.deal, at_once * 2)

    async def _slot(self) -> None:
        """Jobs one after another, until closed.

        A job that leaves something in a context variable ends its slot, so that the next one does not
        find it there: it gets a fresh task, with the context the worker was started in.
        """
        try:
            while not self._closing and self._tasks <= self.concurrency and self._is_clean():
                if self.waiting:
                    with anyio.CancelScope() as scope:
                        try:
                            await self._work(scope)
                        except asyncio.CancelledError:
                            # Ours by what we asked for, not by its text: a timeout inside that ran out in
                            # the same moment has taken that away, and anyio would let it through.
                            if not scope.cancel_called:
                                raise
                    if scope.cancel_called:
                        await anyio.lowlevel.checkpoint_if_cancelled()
                else:
                    await self._rest()
        finally:
            self._tasks -= 1
        # Only after an end of its own: all else ends the others as well, or comes when the loop is gone.
        self.deal()

    async def _work(self, scope: anyio.CancelScope) -> None:
        """Run what waits, under one scope until that is cancelled."""
        task = asyncio.current_task()
        while (
            self.waiting
            and not self._closing
            and self._tasks <= self.concurrency
            and not scope.cancel_called
            and self._is_clean()
        ):
            running = self.waiting.popleft()
            running.scope, running.task = scope, task
            self._started(running)
            self.active += 1
            ended: Ended | None = None
            try:
                ended = await self._executor.execute(running.lease)
            finally:
                # From here on a cancellation of this job must not hit the next one.
                running.scope = running.task = None
                self.active -= 1
                self._ended(running, ended)

    def _is_clean(self) -> bool:
        """Whether no job has set a context variable: the same object inside, as long as none was set."""
        try:
            return contextvars.copy_context() == self._clean
        except Exception:  # noqa: BLE001 - a value that cannot be compared is a value that was set
            return False

    async def _rest(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resting.append(waiter)
        await waiter


def _name_the_loop() -> None:
    """Where there is sniffio, anyio asks it for the loop's name; outside a task, in a callback of the loop,
    it knows it only by this variable, which `anyio.run` sets and `asyncio.run` does not.
    """
    if sniffio is not None:
        sniffio.current_async_library_cvar.set("asyncio")


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # its task may have been cancelled
        waiter.set_result(None)
