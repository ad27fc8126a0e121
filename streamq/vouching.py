"""Watching one worker process from above: renew for it while it cannot, end it when a job is past its limit.

     beats ─── report ──▶ fine
     silent, and it runs ──▶ vouch: its leases are renewed in its stead
     silent or not, and a job is past its hard limit ──▶ kill: a successor is started
     silent, and it is stopped (SIGSTOP, a debugger) ──▶ nothing: its jobs go to others, and it is refused

Needs /proc to tell a process that runs from one that is stopped; where there is none nobody is vouched for.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import anyio
import msgspec

from streamq.broker import Broker
from streamq.errors import StreamqError
from streamq.parent import WHOLE, Report

log = logging.getLogger("streamq.supervisor")

#: States of a process that is stopped or over (proc(5)).
_NOT_RUNNING: Final = frozenset("TtZXx")
#: Looks for each of a worker's own renewals.
_LOOKS: Final = 4.0

Step = Literal["fine", "vouch", "kill"]


def next_step(report: Report, silent: float, *, runs: bool) -> Step:
    """What to do about a worker that said `report` and nothing for `silent` seconds since."""
    if not runs:
        return "fine"  # over, or frozen: then its jobs are for others
    if report.left is not None and silent > report.left:
        return "kill"
    late = report.renew + (report.lease - report.renew) / 3
    if silent <= late:
        return "fine"
    # Whatever holds the lock may have been started after the report, and then nobody knows of which
    # stream: only where all have a limit is the longest of them one for it.
    limits = list(report.streams.values())
    longest = max((limit for limit in limits if limit is not None), default=0.0)
    return "kill" if limits and None not in limits and silent > longest else "vouch"


class Watch:
    """One process, watched from its start to its end."""

    def __init__(self, pid: int, fd: int, broker: Broker | None, kill: Callable[[], None]) -> None:
        """`fd`: where its reports come from; it is closed at the end. `broker`: None: no vouching."""
        self._pid = pid
        self._fd = fd
        self._broker = broker
        self._kill = kill
        self._buffer = b""
        self.report: Report | None = None
        self._heard = time.monotonic()
        self._vouched = 0.0

    def __repr__(self) -> str:
        return f"<Watch over pid {self._pid}>"

    @property
    def recycling(self) -> bool:
        """It said that it ends to be replaced."""
        return self.report is not None and self.report.recycling

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Watched inside of the block; at its end the last reports are taken in."""
        os.set_blocking(self._fd, False)
        try:
            async with anyio.create_task_group() as watching:
                watching.start_soon(self._keep)
                yield
                watching.cancel_scope.cancel()
            self._listen()
        finally:
            os.close(self._fd)

    async def _keep(self) -> None:
        while True:
            await self._look()
            await anyio.sleep(self.report.renew / _LOOKS if self.report is not None else 0.2)

    async def _look(self) -> None:
        self._listen()
        if self.report is None:
            return
        now = time.monotonic()
        match next_step(self.report, now - self._heard, runs=self._runs()):
            case "kill":
                log.error("job_past_its_limit", extra={"pid": self._pid, "job": self.report.job or "unknown"})
                self._kill()
            case "vouch" if now - self._vouched >= self.report.renew:
                self._vouched = now
                await self._vouch(self.report)

    def _listen(self) -> None:
        """Take in what has been said since."""
        while True:
            try:
                said = os.read(self._fd, 16 * WHOLE)
            except OSError:  # nothing has been said
                return
            if not said:
                return
            *lines, self._buffer = (self._buffer + said).split(b"\n")
            self._buffer = self._buffer[-WHOLE:]
            for line in lines:
                try:
                    self.report = msgspec.json.decode(line, type=Report)
                except msgspec.MsgspecError as error:
                    log.warning("report_not_read", extra={"pid": self._pid, "error": str(error)})
                else:
                    self._heard = time.monotonic()

    def _runs(self) -> bool:
        try:
            state = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False
        return state not in _NOT_RUNNING

    async def _vouch(self, report: Report) -> None:
        if self._broker is None:
            return
        silent = round(time.monotonic() - self._heard, 1)
        log.warning("worker_vouched_for", extra={"worker": report.worker, "silent_seconds": silent})
        for stream in report.streams:
            try:
                with anyio.fail_after(report.renew):
                    known = await self._broker.vouch(stream, report.worker)
            except (StreamqError, TimeoutError) as error:
                log.warning("not_vouched", extra={"stream": stream, "error": str(error)})
            else:
                if not known:
                    log.warning("not_vouched", extra={"stream": stream, "error": "its jobs were taken"})
