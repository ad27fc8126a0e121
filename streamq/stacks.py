"""Where jobs stand, for people: the awaits of a task, and what a thread is at, a blocked event loop's too.

Read from whatever thread, while they run: a line may be a moment old.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

A = TypeVar("A")
J = TypeVar("J")

#: Innermost frames of a thread that are told.
_FRAMES: Final = 12
_PREFIX: Final = "streamq job "


def named(stream: str, job_id: str) -> str:
    """What the thread of a plain handler is called while it runs that job."""
    return f"{_PREFIX}{stream} {job_id}"


def run_named(name: str, run: Callable[[J], A], job: J) -> A:
    """Run it, this thread being called so meanwhile."""
    thread = threading.current_thread()
    before, thread.name = thread.name, name
    try:
        return run(job)
    finally:
        thread.name = before


def of_task(task: asyncio.Task[Any]) -> str:
    """Where a task stands, innermost await last."""
    return "".join(_awaits(task))


def _awaits(task: asyncio.Task[Any]) -> Iterator[str]:
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield from traceback.format_stack(frame, limit=1)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)


def of_threads() -> dict[str, str]:
    """Threads that run plain handlers, by the name that `named` gives them: also of jobs past their time."""
    return {
        thread.name: of_thread(thread.ident)
        for thread in threading.enumerate()
        if thread.name.startswith(_PREFIX) and thread.ident is not None
    }


def of_thread(ident: int) -> str:
    """What a thread is at; '' where it has ended."""
    frame = sys._current_frames().get(ident)  # noqa: SLF001 - documented for just this
    return "" if frame is None else "".join(traceback.format_stack(frame)[-_FRAMES:])
