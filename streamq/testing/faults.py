"""What goes wrong in production, made to happen in a unit test: `FaultyBroker` and its switches.

broker = FaultyBroker()
broker.kill_worker("ran", job_id="a")    # the handler has returned; its worker dies before it can say so
drained = await drain(broker, handlers)  # the job runs again, as it would
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Literal, TypeVar

import msgspec

from streamq.broker import Finish, Lease, Retention, ScheduleChange, Turn
from streamq.clock import Clock, ManualClock
from streamq.errors import BrokerUnavailable, TemporaryError
from streamq.handlers import CRASH_BUDGET
from streamq.job import NewJob, Receipt
from streamq.testing.memory import MemoryBroker

A = TypeVar("A")

#: Calls whose replies may be lost, or that may be refused.
Faulty = Literal["enqueue", "turn", "change_schedule"]
#: Where a worker may die: it has the job and has not begun; the handler has returned and the broker does not
#: know; the broker knows and the worker does not.
Point = Literal["taken", "ran", "told"]

#: Seconds that a frozen worker stands still: its lease, and what it takes others to notice.
FROZEN: Final = 13.0


class WorkerKilled(BaseException):
    """The worker process ends here, as by SIGKILL: raise it in a handler, or in a fake that it calls."""


class _Fault(msgspec.Struct, frozen=True):
    """One fault that is to come."""

    #: None: the reply is lost, after the call took effect; else it is refused with this, before.
    error: TemporaryError | None


class FaultyBroker(MemoryBroker):
    """An in-memory broker on which things go wrong when they are told to, each so many times."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self._faults: dict[Faulty, deque[_Fault]] = {}
        self._kills: list[tuple[Point, str | None]] = []
        self._freezes: list[str | None] = []
        #: Set while a drain runs: takes a worker's jobs and has another worker run them.
        self.take_over: Callable[[str, str], Awaitable[None]] | None = None

    # --- switches -------------------------------------------------------------------------------

    def lose_reply(self, call: Faulty, *, times: int = 1) -> None:
        """The next calls take effect, and the caller is told BrokerUnavailable."""
        self._faults.setdefault(call, deque()).extend([_Fault(None)] * times)

    def refuse(self, call: Faulty, error: TemporaryError | None = None, *, times: int = 1) -> None:
        """The next calls do nothing and raise `error`, left out BrokerUnavailable (BrokerFull is another)."""
        fault = _Fault(error or BrokerUnavailable())
        self._faults.setdefault(call, deque()).extend([fault] * times)

    def kill_worker(self, point: Point, *, job_id: str | None = None, times: int = 1) -> None:
        """A drain's worker dies there, with that job or the next one; another takes its jobs."""
        self._kills += [(point, job_id)] * times

    def freeze_worker(self, *, job_id: str | None = None, times: int = 1) -> None:
        """A drain's worker stands still when that job's handler, or the next one's, has returned: its lease
        is over before it can tell, and what it tells is refused.
        """
        self._freezes += [job_id] * times

    async def freeze(self, job_id: str, *, seconds: float = FROZEN) -> None:
        """In a handler, or in a fake that it calls: its worker stands still here for so many seconds.

        Its jobs are taken from it, and in a drain another worker runs them to their end before this one goes
        on: what it then writes outside is what a fencing token (`job.fence`) must refuse. Raises ValueError
        for a job that nobody holds.
        """
        for stream in list(self._streams):
            for held in await self.pending(stream, limit=100_000):
                if held.envelope.id == job_id:
                    if isinstance(self.clock, ManualClock):
                        self.clock.advance(seconds)
                    await self._take_from(stream, held.worker)
                    return
        raise ValueError(f"nobody has job {job_id} in hand")

    async def _take_from(self, stream: str, worker: str) -> None:
        if self.take_over is not None:
            await self.take_over(stream, worker)
        else:
            await self.reclaim(stream, worker, beat=None, crash_budget=CRASH_BUDGET)

    # --- what a drain asks ----------------------------------------------------------------------

    def reach(self, point: Point, lease: Lease) -> None:
        """The worker has come there with that job. Raises WorkerKilled."""
        for kill in self._kills:
            if kill in ((point, lease.envelope.id), (point, None)):
                self._kills.remove(kill)
                raise WorkerKilled

    def is_to_freeze(self, lease: Lease) -> bool:
        """Whether its worker stands still now; each time that was asked for is told once."""
        for wanted in self._freezes:
            if wanted in (lease.envelope.id, None):
                self._freezes.remove(wanted)
                return True
        return False

    # --- calls that go wrong --------------------------------------------------------------------

    def _before(self, call: Faulty) -> _Fault | None:
        """The fault that this call is to have. Raises the error of one that is refused."""
        waiting = self._faults.get(call)
        fault = waiting.popleft() if waiting else None
        if fault is not None and fault.error is not None:
            raise fault.error
        return fault

    async def _faulty(self, call: Faulty, run: Callable[[], Awaitable[A]]) -> A:
        fault = self._before(call)
        answer = await run()
        if fault is not None:
            raise BrokerUnavailable
        return answer

    async def enqueue(
        self, stream: str, jobs: Sequence[NewJob], *, call_id: str, partitions: int | None = None
    ) -> list[Receipt]:
        """See `Broker.enqueue`."""
        run = partial(super().enqueue, stream, jobs, call_id=call_id, partitions=partitions)
        return await self._faulty("enqueue", run)

    async def turn(
        self,
        stream: str,
        worker: str,
        *,
        sequence: int,
        finished: Sequence[Finish] = (),
        free: int = 0,
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> Turn:
        """See `Broker.turn`."""
        run = partial(
            super().turn,
            stream,
            worker,
            sequence=sequence,
            finished=finished,
            free=free,
            retention=retention,
        )
        return await self._faulty("turn", run)

    async def change_schedule(self, stream: str, change: ScheduleChange) -> list[Receipt] | None:
        """See `Broker.change_schedule`."""
        return await self._faulty("change_schedule", partial(super().change_schedule, stream, change))
