"""How many of a process's slots one channel may hold, so that a slow endpoint leaves some to the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

import anyio

#: Seconds that a delivery waits in its slot for its channel's share: an endpoint that answers gives one
#: back within that, and nobody is sent away.
PATIENCE: Final = 1.0


class Crowded(Exception):  # noqa: N818 - an answer, not a fault
    """The channel's share is in use, by sends that take long."""


class Shares:
    """One per process."""

    def __init__(self, most: int, *, patience: float = PATIENCE) -> None:
        """`most`: deliveries of one channel that are in hand at the same time; `patience`: seconds."""
        self._most = most
        self._patience = patience
        self._busy: dict[Hashable, _Busy] = {}

    @asynccontextmanager
    async def share(self, channel: Hashable) -> AsyncIterator[None]:
        """Hold one while inside. Raises Crowded out of patience; at once where somebody has waited in vain.

        So a backlog for an endpoint that hangs costs the other slots one wait, not one for each job.
        """
        busy = self._busy.setdefault(channel, _Busy(self._most, self._patience))
        busy.here += 1
        try:
            await busy.take()
            try:
                yield
            finally:
                busy.give_back()
        finally:
            busy.here -= 1
            if busy.here == 0:
                del self._busy[channel]


class _Busy:
    """What one channel holds."""

    def __init__(self, most: int, patience: float) -> None:
        self._patience = patience
        self._free = anyio.Semaphore(most)
        self._stuck = False
        #: Who holds a share or waits for one.
        self.here = 0

    async def take(self) -> None:
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            if self._stuck:
                raise Crowded from None
            with anyio.move_on_after(self._patience) as wait:
                await self._free.acquire()
            if wait.cancelled_caught:
                self._stuck = True
                raise Crowded from None

    def give_back(self) -> None:
        self._stuck = False
        self._free.release()
