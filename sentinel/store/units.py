"""Units of work on SQLite: each one coroutine, run to its end in one thread, several in one transaction.

    write(unit) ──▶ waiting: [unit, unit, unit] ──one hop──▶ BEGIN IMMEDIATE
                                                              SAVEPOINT  unit  RELEASE (or ROLLBACK TO)
                                                              SAVEPOINT  unit  ...
                                                             COMMIT ──one hop──▶ each caller's answer

An asynchronous driver hops to its thread and back for every statement, four times; that, not SQLite, was most
of what a check cost. Units that come while others are being written are written together, with the price of
one commit; one that fails undoes itself alone. They await nothing but their connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

R = TypeVar("R")
Unit = Callable[[AsyncConnection], Coroutine[Any, Any, R]]

#: Units written in one transaction: others wait for the lock meanwhile.
TOGETHER: Final = 50


class _Asked(Generic[R]):
    """A unit and what came of it."""

    def __init__(self, unit: Unit[R]) -> None:
        self.unit = unit
        self.answer: R | None = None
        self.error: BaseException | None = None
        #: Set when there is an answer, or when it is this one's turn to see to those that wait.
        self.woken = anyio.Event()
        self.ended = False


class Units:
    """Runs units that write, or units that read, a batch at a time."""

    def __init__(
        self,
        engine: AsyncEngine,
        options: dict[str, Any],  # Any: SQLAlchemy's options
        *,
        writes: bool,
        turn: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        """`engine`'s driver blocks; `turn` is held for as long as a transaction lasts."""
        self._engine = engine
        self._options = options
        self._writes = writes
        self._turn = turn
        self._waiting: deque[_Asked[Any]] = deque()
        self._busy = False
        # A thread of its own kind, so that who else uses threads does not keep it waiting.
        self._thread = anyio.CapacityLimiter(1)

    async def run(self, unit: Unit[R]) -> R:
        """What the unit returns, once it is committed; raises what it raises, and then it is undone.

        Whoever comes first leads: it takes all that wait into one transaction, and hands over to one of
        those that have come meanwhile. Not cancelled on the way: a transaction is a matter of
        milliseconds, and others wait for this one.
        """
        asked = _Asked(unit)
        self._waiting.append(asked)
        with anyio.CancelScope(shield=True):
            if self._busy:
                await asked.woken.wait()
            if not asked.ended:
                self._busy = True
                await self._lead()
        if asked.error is not None:
            raise asked.error
        return asked.answer  # type: ignore[return-value]  # R may be None

    async def _lead(self) -> None:
        batch: list[_Asked[Any]] = []
        try:
            async with self._turn():
                while self._waiting and len(batch) < TOGETHER:
                    batch.append(self._waiting.popleft())
                await anyio.to_thread.run_sync(self._transact, batch, limiter=self._thread)
        except Exception as error:  # noqa: BLE001 - each of them is told
            batch = batch or [self._waiting.popleft()]
            for one in batch:
                one.error = one.error or error
        finally:
            for one in batch:
                one.ended = True
                one.woken.set()
            self._busy = bool(self._waiting)
            if self._waiting:
                self._waiting[0].woken.set()

    def _transact(self, batch: list[_Asked[Any]]) -> None:
        """In the thread: all of the batch in one transaction, a savepoint each where there are several."""
        with self._engine.sync_engine.connect() as connection:
            connection.execution_options(**self._options)
            face = _Face(self._engine, connection)
            with connection.begin():
                if len(batch) == 1:
                    batch[0].answer = _finish(batch[0].unit(face))
                else:
                    for one in batch:
                        self._beside_others(connection, face, one)

    def _beside_others(self, connection: sa.Connection, face: AsyncConnection, one: _Asked[Any]) -> None:
        """Raises only what ends the transaction for all of them."""
        savepoint = connection.begin_nested() if self._writes else None
        try:
            one.answer = _finish(one.unit(face))
            if savepoint is not None:
                savepoint.commit()
        except Exception as error:  # noqa: BLE001 - it is told to the one whose unit it was
            if savepoint is not None:
                savepoint.rollback()  # where the whole transaction is gone (a full disk), this says so
            one.error = error


class _Face(AsyncConnection):
    """A connection that blocks, as those see it who await one."""

    async def execute(self, statement: Any, parameters: Any = None, *, execution_options: Any = None) -> Any:
        """At once."""
        return self._proxied.execute(statement, parameters, execution_options=execution_options)

    async def scalars(self, statement: Any, parameters: Any = None, *, execution_options: Any = None) -> Any:
        """At once."""
        return self._proxied.scalars(statement, parameters, execution_options=execution_options)


def _finish(steps: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never has to wait."""
    try:
        steps.send(None)
    except StopIteration as end:
        answer: R = end.value
        return answer
    steps.close()
    raise RuntimeError("a unit of work waited for something else than its connection")
