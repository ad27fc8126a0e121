"""Starting a worker's event loop: uvloop's where it is installed, which costs a worker a quarter less."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TypeVar

import anyio

T = TypeVar("T")


def run(main: Callable[[], Awaitable[T]]) -> T:
    """What `main` returns, run to its end on the fastest event loop that is installed.

    uvloop (extra `speed`; `sentinel-worker` brings it) or asyncio's own. A worker is at home on any loop:
    this is for programs that leave the choice to us.
    """
    return anyio.run(main, backend_options={"use_uvloop": find_spec("uvloop") is not None})
