"""What runs beside a worker for as long as it runs: an end nobody asked for is told, with its cause.

A task group takes a child's CancelledError for its own and ends with all in it, in silence; and not
every one is somebody's wish: a timeout of asyncio that runs out in the moment an anyio scope ends makes
one that nobody catches.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

log = logging.getLogger("sentinel.lasting")

#: Seconds before it is begun anew.
PAUSE: Final = 0.5


async def lasting(run: Callable[[], Awaitable[None]]) -> None:
    """Run it to its end or to our cancellation; begun anew where it was cancelled by nobody."""
    while True:
        try:
            await run()
        except asyncio.CancelledError:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            task = asyncio.current_task()
            while task is not None and task.cancelling():
                task.uncancel()
            log.exception("cancelled_by_nobody", extra={"what": getattr(run, "__qualname__", repr(run))})
            await anyio.sleep(PAUSE)
        else:
            return
