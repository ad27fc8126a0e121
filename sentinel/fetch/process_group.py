"""A process group as /proc shows it: who is in it, how much memory it has, its end.

A group outlives its leader, and its number is not given away as long as anybody is in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

import anyio
import msgspec

_PROC: Final = Path("/proc")


class _Stat(msgspec.Struct, frozen=True):
    """What is read of /proc/PID/stat (proc(5))."""

    state: str
    parent: int
    group: int


class ProcessGroup:
    """The group that a process is in."""

    def __init__(self, number: int, parent: int) -> None:
        self.number = number
        #: The process that started the leader.
        self.parent = parent

    @classmethod
    def of(cls, pid: int) -> ProcessGroup:
        """Raises ProcessLookupError where there is no such process, and where it is in our own group."""
        found = _stat(pid)
        if found is None or found.group == os.getpgrp():
            raise ProcessLookupError(f"process {pid} has no group of its own")
        leader = _stat(found.group)
        return cls(found.group, leader.parent if leader is not None else 0)

    def members(self) -> list[int]:
        """Living processes of the group."""
        pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
        return [
            pid
            for pid in pids
            if (found := _stat(pid)) is not None and found.group == self.number and found.state not in "ZX"
        ]

    def memory(self) -> int:
        """Bytes: what is shared among them is counted once, where the kernel tells (`Pss`)."""
        return sum(_memory(pid) for pid in self.members())

    def kill(self) -> None:
        """End every process of the group at once."""
        if self.members():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.number, signal.SIGKILL)

    async def gone(self, seconds: float) -> bool:
        """Wait for the last one to end, so long at most."""
        with anyio.move_on_after(seconds):
            while self.members():  # noqa: ASYNC110 - the kernel sends no event for others' children
                await anyio.sleep(0.02)
            return True
        return False


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent, group = text.rpartition(")")[2].split()[:3]  # the name before may hold anything
    return _Stat(state, int(parent), int(group))


def _memory(pid: int) -> int:
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = (_PROC / str(pid) / name).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:  # it ended, or is not ours to look into
            continue
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0
