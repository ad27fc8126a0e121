"""What every Chromium of a process stands on: Playwright's driver, and the proxy that is the only way out.

Opened and closed by one task, as both want it, whoever asks for it first and whoever ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sentinel.errors import CheckFailure
from sentinel.fetch.browser_process import first_line

if TYPE_CHECKING:
    import httpcore
    from playwright.async_api import Playwright

#: Seconds the driver may take to end.
STOP_SECONDS: Final = 10.0


class Ticket(Protocol):
    """What one context shows the proxy, and what came of it."""

    #: Of proxy authentication.
    username: str
    password: str

    @property
    def bytes(self) -> int:
        """Gone through with it so far."""

    def refusal(self, host: str) -> CheckFailure | None:
        """Why `host` was not reached, where the proxy did not let it be."""

    def last_refusal(self) -> CheckFailure | None:
        """Of whatever host."""

    def close(self) -> None:
        """Nothing goes through with it any more."""


class Proxy(Protocol):
    """The only way out."""

    @property
    def server(self) -> str:
        """As http://127.0.0.1:PORT."""

    def admit(self, *, seconds: float, upstream: httpcore.Proxy | None = None) -> Ticket:
        """A ticket for one page. `upstream`: a proxy that is asked for everything in turn."""


#: What the proxy says where it is not the server that says it, behind its name.
PROXY_SAYS: Final = "sentinel's filtering proxy:"

OpenProxy = Callable[[], AbstractAsyncContextManager[Proxy]]


class Ground:
    """The driver and the proxy. `lay` opens them, `lift` closes them."""

    def __init__(self, open_proxy: OpenProxy) -> None:
        self._open_proxy = open_proxy
        self._ready: asyncio.Future[tuple[Playwright, Proxy]] = asyncio.get_running_loop().create_future()
        self._stop = asyncio.Event()
        self._driver: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def lay(self) -> None:
        """Raises CheckFailure (SYSTEM_BROWSER)."""
        self._task = asyncio.get_running_loop().create_task(self._hold())
        try:
            await asyncio.shield(self._ready)
        except BaseException:
            self._task.cancel()
            raise

    @property
    def playwright(self) -> Playwright:
        """The driver's face."""
        return self._ready.result()[0]

    @property
    def proxy(self) -> Proxy:
        """Where everything goes out."""
        return self._ready.result()[1]

    @property
    def holds(self) -> bool:
        """Both are there still."""
        running = self._task is not None and not self._task.done()
        return running and (self._driver is None or self._driver in drivers())

    async def lift(self) -> None:
        """End the driver, by force where it does not stop; then the proxy."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _hold(self) -> None:
        from playwright.async_api import Error, async_playwright  # noqa: PLC0415 - an extra

        before = drivers()
        try:
            async with self._open_proxy() as proxy:
                playwright = await async_playwright().start()
                self._driver = next(iter(drivers() - before), None)
                try:
                    self._ready.set_result((playwright, proxy))
                    await self._stop.wait()
                finally:
                    await self._end_driver(playwright)
        except (OSError, Error) as error:
            if not self._ready.done():
                words = first_line(error)
                self._ready.set_exception(
                    CheckFailure("SYSTEM_BROWSER", f"the driver did not start: {words}")
                )

    async def _end_driver(self, playwright: Playwright) -> None:
        if self._driver is not None and self._driver not in drivers():
            return  # Playwright would wait for its answer for ever
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await playwright.stop()
        except Exception:  # noqa: BLE001 - whatever it says, it must end
            if self._driver is not None and self._driver in drivers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._driver, signal.SIGKILL)


def drivers() -> set[int]:
    """Playwright's drivers among our own children, alive."""
    found = set()
    for pid in _children():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for one that has ended
        except OSError:
            continue
        if b"/playwright/driver/" in words:
            found.add(pid)
    return found


def _children() -> set[int]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (task / "children").read_text(encoding="ascii").split()}
    return found
