"""Child processes with limits, for work on what nobody vouches for: one question, one answer, at a time.

Frames on stdin and stdout: four bytes of length, most significant first, then the payload. A child ends
when its stdin does, so it never outlives the process that started it. The kernel holds its limits: memory
for all of its life, processor time for each question.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import anyio
import anyio.abc

LENGTH_BYTES: Final = 4
#: Bytes in a frame: a page of 20 MiB and its rule.
MAX_FRAME: Final = 64 << 20
#: What asking raises when the child is gone.
GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)

#: Where the package lies.
_ROOT: Final = str(Path(__file__).resolve().parents[1])
#: Only what Python needs: no setting, and no secret, of ours.
_ENVIRONMENT: Final = {"PYTHONPATH": _ROOT, "LC_ALL": "C.UTF-8"}


# --- in the child -----------------------------------------------------------------------------------


def serve(answer: Callable[[bytes], bytes], *, memory: int, cpu: int) -> None:
    """Answer questions until stdin ends. `memory`: bytes of address space; `cpu`: seconds a question."""
    # Nothing that prints may end up between the frames.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions = sys.stdin.buffer
    while (frame := _take(questions)) is not None:
        _grant_processor_time(cpu)
        answers.write(framed(answer(frame)))
        answers.flush()


def framed(payload: bytes) -> bytes:
    """A payload with its length before it."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def _take(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    payload = stream.read(length)
    return payload if len(payload) == length else None


def _grant_processor_time(seconds: int) -> None:
    """The limit counts from the start of the process, so it moves on with every question."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


# --- in the process that asks -----------------------------------------------------------------------


def ask_once(program: str, question: bytes, seconds: float) -> bytes | None:
    """One question to a child of its own; None where it gave no answer. Blocks: for commands."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", program],
            input=framed(question), capture_output=True, env=_ENVIRONMENT, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    length = int.from_bytes(ended.stdout[:LENGTH_BYTES], "big")
    payload = ended.stdout[LENGTH_BYTES:]
    return payload if payload and len(payload) == length else None


class LimitedChild:
    """One child process, asked one question at a time."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        self.asked = 0

    @classmethod
    async def start(cls, program: str) -> LimitedChild:
        """`program`: Python that ends in `serve`."""
        process = await anyio.open_process(
            [sys.executable, "-c", program],
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is for us; the child ends with its stdin
        )
        return cls(process)

    @property
    def never_spoke(self) -> bool:
        """Ended by itself at the first question: Python gave up before it could answer."""
        return self._process.returncode == 1 and self.asked == 1

    async def ask(self, question: bytes) -> bytes:
        """Send a question, wait for the answer. Raises one of GONE when the child is."""
        self.asked += 1
        if self._process.stdin is None:
            raise anyio.ClosedResourceError
        await self._process.stdin.send(framed(question))
        length = int.from_bytes(await self._receive(LENGTH_BYTES), "big")
        if length > MAX_FRAME:
            raise anyio.BrokenResourceError
        return await self._receive(length)

    async def _receive(self, count: int) -> bytes:
        """Exactly so many bytes: one question has one answer, so nothing follows."""
        if self._process.stdout is None:
            raise anyio.ClosedResourceError
        chunks = bytearray()
        while len(chunks) < count:
            chunks += await self._process.stdout.receive(min(count - len(chunks), 1 << 20))
        return bytes(chunks)

    async def end(self) -> None:
        """Kill it; there is nothing in it to lose."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            if self._process.returncode is None:
                # Not Process.kill(): it looks whether the child is dead, and then nobody else may.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process.pid, signal.SIGKILL)
            await self._process.aclose()
