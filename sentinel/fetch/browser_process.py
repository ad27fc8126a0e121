"""One running Chromium in a process group of its own: how it is started, watched and ended."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from sentinel.errors import CheckFailure
from sentinel.fetch.process_group import ProcessGroup

if TYPE_CHECKING:
    from playwright.async_api import Browser, Playwright

log = logging.getLogger("sentinel.browser")

#: Seconds a Chromium may take to start, and to end when asked to. Under load it takes ten times as long
#: as alone (0.3 s).
START_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 5.0

_FLAGS: Final = (
    # Without these two WebRTC sends UDP past the proxy (52 attack vectors tried; this was the last one).
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    "--dns-prefetch-disable",
    "--js-flags=--max-old-space-size=512",  # MiB of one page's script
)
_NO_PICTURES: Final = "--blink-settings=imagesEnabled=false"


class BrowserProcess:
    """A Chromium, from its start to its end. Counts the pages it is given."""

    def __init__(self, browser: Browser, group: ProcessGroup, *, pictures: bool) -> None:
        self.browser = browser
        self.group = group
        #: Loads images too.
        self.pictures = pictures
        #: Pages begun, and those open now.
        self.pages = 0
        self.open = 0
        #: No new page goes to it.
        self.retired = False

    @classmethod
    async def start(
        cls, playwright: Playwright, program: Path, proxy_server: str, *, pictures: bool
    ) -> BrowserProcess:
        """Every connection goes to `proxy_server`, which refuses whoever brings no ticket.

        Not to be cancelled half-way: it would start all the same. Raises CheckFailure (SYSTEM_BROWSER).
        """
        with anyio.CancelScope(shield=True):
            started = await cls._start(playwright, program, proxy_server, pictures=pictures)
        return started  # noqa: RET504 - mypy thinks a scope may swallow it

    @classmethod
    async def _start(
        cls, playwright: Playwright, program: Path, proxy_server: str, *, pictures: bool
    ) -> BrowserProcess:
        from playwright.async_api import Error  # noqa: PLC0415 - an extra

        try:
            browser = await playwright.chromium.launch(
                executable_path=program,
                headless=True,
                args=[*_FLAGS, *(() if pictures else (_NO_PICTURES,))],
                # Chromium refuses its sandbox to root, who needs none to do harm.
                chromium_sandbox=os.geteuid() != 0,
                proxy={"server": proxy_server},
                env=_environment(),
                timeout=START_SECONDS * 1000,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Error as error:
            raise CheckFailure("SYSTEM_BROWSER", f"{program} did not start: {first_line(error)}") from error
        try:
            with anyio.fail_after(START_SECONDS):
                group = ProcessGroup.of(await _pid(browser))
        except (Error, OSError, LookupError, TimeoutError) as error:
            await browser.close()
            raise CheckFailure("SYSTEM_BROWSER", f"{program} ended as it started") from error
        log.info("browser_started", extra={"program": str(program), "pictures": pictures})
        return cls(browser, group, pictures=pictures)

    @property
    def alive(self) -> bool:
        """It answers to the driver still."""
        return self.browser.is_connected()

    def taken(self) -> BrowserProcess:
        """Itself, with one page more."""
        self.pages += 1
        self.open += 1
        return self

    async def memory(self) -> int:
        """Bytes of the whole group."""
        return await anyio.to_thread.run_sync(self.group.memory)

    def kill(self) -> None:
        """End it at once, with all its pages."""
        self.retired = True
        self.group.kill()

    async def close(self) -> None:
        """End it: by asking, and by force where that takes too long. No process of it is left."""
        from playwright.async_api import Error  # noqa: PLC0415 - an extra

        self.retired = True
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await self.browser.close()
            except Error as error:  # it is gone already
                log.debug("browser_close", extra={"error": first_line(error)})
        with anyio.CancelScope(shield=True):
            if not await self.group.gone(1.0):
                self.group.kill()
                await self.group.gone(CLOSE_SECONDS)

    def __repr__(self) -> str:
        state = "retired" if self.retired else "running" if self.alive else "dead"
        return f"<BrowserProcess group {self.group.number} {state}, {self.open} of {self.pages} pages open>"


async def _pid(browser: Browser) -> int:
    session = await browser.new_browser_cdp_session()
    found: Mapping[str, Any] = await session.send("SystemInfo.getProcessInfo")  # Any: JSON
    await session.detach()
    return next(int(one["id"]) for one in found["processInfo"] if one["type"] == "browser")


def _environment() -> dict[str, str | float | bool]:
    """Enough to find its way. Nothing of ours, where secrets are."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(Path.home()),
        "TMPDIR": tempfile.gettempdir(),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def first_line(error: Exception) -> str:
    """What Playwright says, without its call log; printable, for a log or a person."""
    line = str(error).strip().partition("\n")[0].removeprefix("Protocol error ")
    return "".join(one if one.isprintable() else "?" for one in line)[:300]
