"""The browser of this process: started when first asked for, used page by page, replaced when it is worn.

    BrowserPool ── driver (Playwright) ──▶ Chromium, a process group of its own ──▶ a context per page
         │                                        │
         └── filtering proxy ◀────────────────────┘ every connection, with the page's ticket

No proxy, no browser: a Chromium is started with the proxy as its only way out, and the proxy refuses
whoever shows no ticket. Pictures want images, which are off otherwise: they are drawn by a second
Chromium, started when the first one is asked for.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import anyio
import msgspec

from sentinel.errors import CheckFailure
from sentinel.fetch.browser_ground import PROXY_SAYS, Ground, OpenProxy, Ticket
from sentinel.fetch.browser_page import Hangs, OpenPage, PageAsk, PageFound, Pictures, Settled, Way, opened
from sentinel.fetch.browser_process import BrowserProcess
from sentinel.fetch.browser_program import Program

log = logging.getLogger("sentinel.browser")

#: Seconds a page waits for its turn.
TURN_SECONDS: Final = 60.0
#: Seconds after a Chromium that did not start in which none is tried.
REST_SECONDS: Final = 60.0


class Wear(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a Chromium is used before another takes its place."""

    #: Pages open at once.
    at_once: int = 3
    #: Pages in all.
    pages: int = 500
    #: Bytes of its process group.
    memory: int = 1024 * 1024 * 1024


#: Status of the proxy's own answers -> what it means.
_PROXY_ANSWERS: Final = {
    403: ("FETCH_REFUSED_ADDRESS", "the address is refused"),
    407: ("SYSTEM_BROWSER", "the page was not let through in time"),
    502: ("FETCH_CONNECTION", "the server does not accept connections, or closed one too early"),
    504: ("FETCH_TIMEOUT", "the server did not answer in time"),
}


def _nothing(_: int = 0) -> None:
    """The observer of those who do not listen."""


class BrowserPool:
    """Pages in a real browser. One per process; close it at the end."""

    def __init__(
        self,
        program: Program,
        open_proxy: OpenProxy,
        *,
        wear: Wear = Wear(),  # noqa: B008 - frozen
        tell_pages: Callable[[int], object] = _nothing,
        tell_restart: Callable[[], object] = _nothing,
    ) -> None:
        """`tell_pages` hears how many pages are open, `tell_restart` that a Chromium was replaced."""
        self._program = program
        self._open_proxy = open_proxy
        self._wear = wear
        self._tell_pages = tell_pages
        self._tell_restart = tell_restart
        self._turns = anyio.Semaphore(wear.at_once)
        self._lock = anyio.Lock()
        self._ground: Ground | None = None
        #: By whether it loads images.
        self._processes: dict[bool, BrowserProcess] = {}
        #: Retired, with pages still open.
        self._leaving: set[BrowserProcess] = set()
        #: Kinds that were started before.
        self._started: set[bool] = set()
        self._open = 0
        self._rests_until = 0.0

    @property
    def trouble(self) -> str:
        """Why there is no browser here, and what to do; '' where there is one."""
        if self._program and time.monotonic() < self._rests_until:
            return f"{self._program.path} did not start a moment ago"
        return self._program.trouble

    async def fetch(self, ask: PageAsk, settled: Settled) -> tuple[PageFound, int]:
        """The page as it stands when it is `settled`, and the bytes it took.

        Raises CheckFailure: FETCH_*, or SYSTEM_BROWSER where the browser is missing or failed.
        """
        async with self._page(ask, pictures=False) as (page, ticket):
            await _load(page, ticket)
            found = await page.read(settled)
            _must_be_the_servers(found, ticket)
            return found, ticket.bytes

    async def draw(self, ask: PageAsk, element: str | None = None) -> Pictures:
        """What the page looks like, and the first element of a CSS selector. Raises CheckFailure."""
        async with self._page(ask, pictures=True) as (page, ticket):
            await _load(page, ticket)
            return await page.draw(element)

    @contextlib.asynccontextmanager
    async def _page(self, ask: PageAsk, *, pictures: bool) -> AsyncIterator[tuple[OpenPage, Ticket]]:
        """A page of its own, for `ask.seconds` from when it is its turn."""
        async with self._turn():
            process, ground = await self._process(pictures=pictures)
            try:
                ticket = ground.proxy.admit(seconds=ask.seconds, upstream=ask.proxy)
                try:
                    way = Way(ground.proxy.server, ticket.username, ticket.password)
                    with anyio.fail_after(ask.seconds):
                        async with opened(process.browser, ask, way, pictures=pictures) as page:
                            yield page, ticket
                finally:
                    ticket.close()
            except TimeoutError as exc:
                raise CheckFailure(
                    "FETCH_TIMEOUT", f"the page was not there within {ask.seconds:g} s"
                ) from exc
            except Hangs as exc:
                log.warning("browser_hangs", extra={"browser": repr(process)})
                process.kill()
                raise CheckFailure("SYSTEM_BROWSER", "the browser hung and was ended") from exc
            finally:
                process.open -= 1
                await self._look_after(process)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            with anyio.fail_after(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError as exc:
            raise CheckFailure("SYSTEM_BROWSER", f"no page was free for {TURN_SECONDS:g} s") from exc
        try:
            self._count(1)
            yield
        finally:
            self._count(-1)
            self._turns.release()

    def _count(self, more: int) -> None:
        self._open += more
        self._tell_pages(self._open)

    async def _process(self, *, pictures: bool) -> tuple[BrowserProcess, Ground]:
        """A Chromium that takes a page. Raises CheckFailure."""
        async with self._lock:
            if self.trouble or self._program.path is None:
                raise CheckFailure("SYSTEM_BROWSER", self.trouble)
            ground = await self._grounded()
            current = self._processes.get(pictures)
            if current is not None and current.alive and not current.retired:
                return current.taken(), ground
            if current is not None and current.open:
                self._leaving.add(current)
            try:
                started = await BrowserProcess.start(
                    ground.playwright, self._program.path, ground.proxy.server, pictures=pictures
                )
            except CheckFailure:
                self._rests_until = time.monotonic() + REST_SECONDS
                await self._unground()  # the driver may be what failed
                raise
            if pictures in self._started:
                self._tell_restart()
            self._started.add(pictures)
            self._processes[pictures] = started
            return started.taken(), ground

    async def _look_after(self, process: BrowserProcess) -> None:
        """After a page: retire it when it is worn or dead, close it when its last page is closed."""
        with anyio.CancelScope(shield=True):
            if not process.retired and process.alive:
                worn = process.pages >= self._wear.pages or await process.memory() >= self._wear.memory
                process.retired = worn
            if process.open == 0 and (process.retired or not process.alive):
                self._leaving.discard(process)
                await process.close()

    # --- the driver and the proxy -------------------------------------------------------------------

    async def _grounded(self) -> Ground:
        if self._ground is not None and self._ground.holds:
            return self._ground
        await self._unground()
        ground = Ground(self._open_proxy)
        await ground.lay()
        self._ground = ground
        return ground

    async def _unground(self) -> None:
        ground, self._ground = self._ground, None
        if ground is None:
            return
        for process in (*self._processes.values(), *self._leaving):
            await process.close()
        self._processes.clear()
        self._leaving.clear()
        await ground.lift()

    async def memory(self) -> int:
        """Bytes of every Chromium that runs, what its processes share counted once."""
        running = {*self._processes.values(), *self._leaving}
        return sum([await process.memory() for process in running])

    async def aclose(self) -> None:
        """End everything: pages, Chromium, driver, proxy. No process is left."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                await self._unground()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        running = ", ".join(map(repr, self._processes.values()))
        return f"<BrowserPool {self._program.path or 'no browser'}: {running or 'nothing started'}>"


async def _load(page: OpenPage, ticket: Ticket) -> None:
    """Raises CheckFailure: of the guard where it was the guard that said no, on whichever hop."""
    try:
        await page.load()
    except CheckFailure as exc:
        raise (ticket.last_refusal() or exc) from exc


def _must_be_the_servers(found: PageFound, ticket: Ticket) -> None:
    """An answer of the proxy in place of a plain page is none of the server's. Raises CheckFailure."""
    if found.status not in _PROXY_ANSWERS or PROXY_SAYS not in found.text[:500]:
        return
    code, detail = _PROXY_ANSWERS[found.status]
    host = urlsplit(found.url).hostname or ""
    raise ticket.refusal(host) or CheckFailure(code, detail)
