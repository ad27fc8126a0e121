"""One page in a context of its own: how it is opened, waited for and read, or drawn.

The page is hostile. It is read from a world of its own (`Page.createIsolatedWorld`), where none of its
scripts can put another `outerHTML` under us; what it opens is closed, what it asks is dismissed, what it
sends to be kept is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpcore
import msgspec

from sentinel.errors import CheckFailure
from sentinel.fetch.browser_process import first_line
from sentinel.fetch.geo import Geo

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Response

log = logging.getLogger("sentinel.browser")

#: What the browser shows a page on.
VIEWPORT: Final = (1280, 800)
#: Pixels of a page's height that are drawn.
MAX_DRAWN: Final = 4000
#: Bytes of one picture; a larger one is made a JPEG, and left out where that is too large as well.
MAX_PICTURE: Final = 3 * 1024 * 1024
#: Seconds after its document that a page is given to load the rest: one that hangs is no reason to wait on.
LOAD_SECONDS: Final = 10.0
#: Seconds a page that is a wall or an empty shell is given to become one, and seconds between looks.
PATIENCE: Final = 5.0
LOOK_EVERY: Final = 0.25
#: Seconds an element that is there is given to have a text.
FILL_SECONDS: Final = 2.0
_SOMETHING: Final = re.compile(r"\S")
#: Seconds until a page that is leaving has left.
MOVING: Final = 0.05
#: Seconds after which a page is asked how far it is, though no event said so.
ASK_EVERY: Final = 1.5
#: Seconds that are kept for reading the page when something waited for does not come, at most.
RESERVE: Final = 1.0
#: Seconds a context may take to open, and to close, before the whole browser is thought to hang. Alone it
#: takes a twentieth of one.
OPEN_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 5.0

#: Not asked for where nobody looks at the page.
_HEAVY: Final = (
    *("*.woff", "*.woff2", "*.ttf", "*.otf", "*.eot", "*.mp4", "*.webm", "*.m4v", "*.mov", "*.m3u8", "*.ts"),
    *("*.mp3", "*.ogg", "*.wav", "*.flac"),
)


class Hangs(Exception):  # noqa: N818 - it never leaves the pool
    """The browser does not do what it does at once when it is well."""


class Way(msgspec.Struct, frozen=True):
    """How a context gets out: the proxy, and what it is shown."""

    server: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"<Way {self.server}>"


class PageAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What to open, with which words, and what to wait for."""

    url: str
    #: With every request of the page, wherever it goes.
    headers: Mapping[str, str] = {}
    #: May carry credentials: with requests to the page's own origin only.
    private_headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    #: A proxy that is asked for everything (`sentinel.fetch.upstream`).
    proxy: httpcore.Proxy | None = None
    #: None: the browser says what it is.
    user_agent: str | None = None
    locale: str = "en-US"
    #: Whose clock it has and where it says it is; None: UTC, and it does not say.
    place: Geo | None = None
    #: Seconds after load.
    render_wait: float = 0.0
    #: CSS selector that must come.
    wait_for: str | None = None
    #: CSS selector that is waited for a little: what the rule reads.
    hope_for: str | None = None
    #: Seconds for all of it.
    seconds: float = 30.0
    #: Characters of the document.
    max_length: int = 20 * 1024 * 1024


class PageFound(msgspec.Struct, frozen=True, kw_only=True):
    """The page as it stood when it was read."""

    url: str
    status: int
    #: Lower-case names.
    headers: dict[str, str]
    text: str
    #: Stage -> seconds.
    timings: dict[str, float]
    #: What the ask waits for did not come: it is on another page, or behind what stands in the way.
    absent: bool = False


class Pictures(msgspec.Struct, frozen=True):
    """PNG, or JPEG where that would be too large; None: could not be drawn."""

    page: bytes | None
    element: bytes | None = None


#: (status, headers, text) -> whether this is a page at last.
Settled = Callable[[int, Mapping[str, str], str], bool]
Draws = Callable[..., Awaitable[bytes]]


class OpenPage:
    """A page that is open in its context."""

    def __init__(self, page: Page, session: CDPSession, ask: PageAsk, *, until: float) -> None:
        """`until`: of `time.monotonic()`."""
        self._page = page
        self._session = session
        self._ask = ask
        self._until = until
        self._reserve = min(RESERVE, ask.seconds / 5)
        self._response: Response | None = None
        self._crashed = False
        self._absent = False
        self.timings: dict[str, float] = {}
        page.on("crash", self._note_crash)

    def _note_crash(self, _: object) -> None:
        self._crashed = True

    async def load(self) -> None:
        """Go there, and wait as the ask says. Raises CheckFailure."""
        from playwright.async_api import Error  # noqa: PLC0415 - an extra

        with self._stage("load"):
            try:
                self._response = await self._page.goto(
                    self._ask.url, wait_until="commit", timeout=self._left() * 1000
                )
            except Error as error:
                if "interrupted by another navigation" not in str(error):
                    raise self._failure(error) from error
            await self._loaded()
        with self._stage("wait"):
            if self._ask.hope_for and self._ask.hope_for != self._ask.wait_for:
                await self._hope(self._ask.hope_for)
            if self._ask.wait_for:
                seconds = self._left() - self._reserve
                if self._response is not None and self._response.status >= 400:
                    seconds = min(seconds, PATIENCE)  # a wall that scripts lift is lifted soon
                self._absent = not await self._appears(self._ask.wait_for, seconds)
            if self._ask.render_wait:
                await anyio.sleep(min(self._ask.render_wait, max(self._left() - self._reserve, 0.0)))

    async def read(self, settled: Settled) -> PageFound:
        """The document as it is now, or a little later where it is not `settled`. Raises CheckFailure."""
        patient_until = min(time.monotonic() + PATIENCE, self._until - self._reserve)
        with self._stage("body"):
            first = before = found = await self._read_once()
            while not settled(found.status, found.headers, found.text) and time.monotonic() < patient_until:
                await anyio.sleep(LOOK_EVERY)
                before, found = found, await self._read_once()
                if first.text != found.text == before.text:
                    break  # scripts filled it, little as it is
            return msgspec.structs.replace(found, absent=self._absent)

    async def draw(self, element: str | None) -> Pictures:
        """The page, and the first element of a CSS selector. What cannot be drawn is left out."""
        size = await self._evaluate("({height: document.documentElement?.scrollHeight ?? 0})")
        height = int(min(max(size["height"], VIEWPORT[1]), MAX_DRAWN))
        # Not Playwright's `full_page`, which tries to draw whatever height a page claims.
        await self._page.set_viewport_size({"width": VIEWPORT[0], "height": height})
        whole = await self._picture(self._page.screenshot)
        part = None
        if element:
            found = self._page.locator(f"css={element}")
            if await found.count():
                part = await self._picture(found.first.screenshot)
        return Pictures(whole, part)

    async def _picture(
        self, take: Callable[..., Any], **options: object
    ) -> bytes | None:  # Any: Playwright's
        """Raises nothing: a page that cannot be drawn is no reason to lose what it says."""
        from playwright.async_api import Error  # noqa: PLC0415 - an extra

        for kind in ({"type": "png"}, {"type": "jpeg", "quality": 60}):
            seconds = min(PATIENCE, self._left() - self._reserve)
            if seconds <= 0:
                return None
            try:
                drawn: bytes = await take(animations="disabled", timeout=seconds * 1000, **kind, **options)
            except Error as error:
                log.info("not_drawn", extra={"error": first_line(error)})
                return None
            if len(drawn) <= MAX_PICTURE:
                return drawn
        return None

    async def _read_once(self) -> PageFound:
        found = await self._evaluate(_READ % self._ask.max_length)
        if found["length"] > self._ask.max_length:
            raise CheckFailure(
                "FETCH_TOO_LARGE",
                f"the document has {found['length']:,} characters; {self._ask.max_length:,} are read",
            )
        kind = str(found["type"])
        if kind.startswith(("image/", "video/", "audio/")) or kind == "application/pdf":
            raise CheckFailure("FETCH_DECODE", f"this is {kind[:60]!r}, not a page with text")
        status = int(found["status"])
        headers = {"content-type": f"{kind}; charset=utf-8"}
        if (
            (first := self._response) is not None
            and status in (0, first.status)
            and first.url == _bare(found["url"])
        ):
            # Validators are of what the server sent; they say nothing of what scripts made of it.
            kept = {name: one for name, one in first.headers.items() if name not in _NOT_OURS}
            status, headers = first.status, kept | headers
        return PageFound(
            url=found["url"], status=status, headers=headers, text=found["text"], timings=self.timings
        )

    async def _evaluate(self, expression: str) -> dict[str, Any]:  # Any: JSON
        """What an expression comes to where the page's own scripts cannot reach; objects only."""
        from playwright.async_api import Error  # noqa: PLC0415 - an extra

        while True:
            try:
                tree = await self._session.send("Page.getFrameTree")
                world = await self._session.send(
                    "Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"]}
                )
                answer = await self._session.send(
                    "Runtime.evaluate",
                    {
                        "expression": expression,
                        "contextId": world["executionContextId"],
                        "returnByValue": True,
                        "timeout": max(self._left(), 0.1) * 1000,
                    },
                )
                return dict(answer["result"]["value"])
            except (Error, LookupError) as error:
                # It went elsewhere under our hands; there it will be the same.
                if self._crashed or not _moved_on(error) or self._left() < self._reserve:
                    raise self._failure(error) from error
                await anyio.sleep(MOVING)
                await self._loaded()

    async def _loaded(self) -> None:
        """Wait for the rest of the page, and for its document as long as there is time.

        A page that sends a file to be kept stays where it is, complete, and no event ever says so.
        """
        from playwright.async_api import Error, TimeoutError  # noqa: A004, PLC0415 - an extra

        patient_until = time.monotonic() + LOAD_SECONDS
        while True:
            try:
                await self._page.wait_for_load_state("load", timeout=ASK_EVERY * 1000)
            except TimeoutError:
                ready = (await self._evaluate("({ready: document.readyState})"))["ready"]
                patient = time.monotonic() < min(patient_until, self._until - self._reserve)
                if ready == "complete" or (ready == "interactive" and not patient):
                    return
                if self._left() < self._reserve:
                    raise CheckFailure("FETCH_TIMEOUT", "the page did not finish loading in time") from None
            except Error as error:
                raise self._failure(error) from error
            else:
                return

    async def _hope(self, selector: str) -> None:
        """Wait a little for an element, and less for its text: it may have none, or be filled later."""
        from playwright.async_api import Error  # noqa: PLC0415 - an extra

        if not await self._appears(selector, min(PATIENCE, self._left() - self._reserve)):
            return
        seconds = min(FILL_SECONDS, self._left() - self._reserve)
        filled = self._page.locator(f"css={selector}").filter(has_text=_SOMETHING).first
        with contextlib.suppress(Error):  # whatever became of the page, reading it will tell
            if seconds > 0:
                await filled.wait_for(state="attached", timeout=seconds * 1000)

    async def _appears(self, selector: str, seconds: float) -> bool:
        from playwright.async_api import Error, TimeoutError  # noqa: A004, PLC0415 - an extra

        if seconds <= 0:
            return False
        try:
            await self._page.wait_for_selector(f"css={selector}", state="attached", timeout=seconds * 1000)
        except TimeoutError:
            return False
        except Error as error:
            raise self._failure(error) from error
        return True

    def _left(self) -> float:
        return self._until - time.monotonic()

    def _failure(self, error: Exception) -> CheckFailure:
        if self._crashed:
            return CheckFailure("SYSTEM_BROWSER", "the page crashed its tab")
        return translate(error)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Any:  # Any: contextlib's
        began = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.monotonic() - began


#: Characters of the document's text, its type, and the status it was sent with.
_READ: Final = """(() => {
  const type = document.contentType, root = document.documentElement;
  let text = '';
  if (root && /html/.test(type)) {
    text = (document.doctype ? '<!DOCTYPE ' + document.doctype.name + '>' : '') + root.outerHTML;
  } else if (root) {
    const source = document.getElementById('webkit-xml-viewer-source-xml');
    text = /xml/.test(type) ? new XMLSerializer().serializeToString(source?.firstChild ?? document)
      : (document.querySelector('pre') ?? root).textContent;
  }
  const entry = performance.getEntriesByType('navigation')[0];
  return {type, url: document.URL, status: entry?.responseStatus ?? 0, length: text.length,
          text: text.length > %d ? '' : text.toWellFormed()};
})()"""

_NOT_OURS: Final = frozenset(("etag", "last-modified", "set-cookie", "content-type"))


def _bare(url: str) -> str:
    return url.partition("#")[0]


@contextlib.asynccontextmanager
async def opened(browser: Browser, ask: PageAsk, way: Way, *, pictures: bool) -> AsyncIterator[OpenPage]:
    """A page in a fresh context, closed with the block whatever happened.

    Raises CheckFailure where the browser is gone, Hangs where it does not open or close it.
    """
    from playwright.async_api import Error  # noqa: PLC0415 - an extra

    until = time.monotonic() + ask.seconds
    context = await _context(browser, ask, way)
    tasks: set[asyncio.Task[None]] = set()
    try:
        try:
            if ask.cookies:
                await context.add_cookies(
                    [{"name": name, "value": one, "url": ask.url} for name, one in ask.cookies.items()]
                )
            page = await context.new_page()
            context.on("page", lambda popup: _spawn(tasks, popup.close()))
            session = await context.new_cdp_session(page)
            await _prepare(session, ask, tasks, pictures=pictures)
        except Error as error:
            raise translate(error) from error
        yield OpenPage(page, session, ask, until=until)
    finally:
        for task in tasks:
            task.cancel()
        await _close(context)


async def _context(browser: Browser, ask: PageAsk, way: Way) -> BrowserContext:
    """Not to be cancelled half-way: the browser would keep what nobody knows of."""
    from playwright.async_api import Error  # noqa: PLC0415 - an extra

    place = ask.place
    with anyio.move_on_after(OPEN_SECONDS, shield=True):
        try:
            return await browser.new_context(
                proxy={"server": way.server, "username": way.username, "password": way.password},
                service_workers="block",
                accept_downloads=False,
                permissions=[] if place is None else ["geolocation"],
                geolocation=None
                if place is None
                else {"latitude": place.latitude, "longitude": place.longitude},
                user_agent=ask.user_agent,
                locale=ask.locale,
                timezone_id="UTC" if place is None else place.timezone,
                extra_http_headers=dict(ask.headers),
                viewport={"width": VIEWPORT[0], "height": VIEWPORT[1]},
            )
        except Error as error:
            raise translate(error) from error
    raise Hangs


async def _close(context: BrowserContext) -> None:
    from playwright.async_api import Error  # noqa: PLC0415 - an extra

    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        try:
            await context.close()
        except Error as error:  # gone with its browser
            log.debug("context_close", extra={"error": first_line(error)})
        return
    raise Hangs


async def _prepare(
    session: CDPSession, ask: PageAsk, tasks: set[asyncio.Task[None]], *, pictures: bool
) -> None:
    """What is not asked for, and what goes to the page's own origin only."""
    if not pictures:
        await session.send("Network.enable")
        await session.send("Network.setBlockedURLs", {"urls": list(_HEAVY)})
    if not ask.private_headers:
        return

    def paused(event: dict[str, Any]) -> None:  # Any: JSON
        given = event["request"]["headers"] | dict(ask.private_headers)
        headers = [{"name": name, "value": one} for name, one in given.items()]
        parameters = {"requestId": event["requestId"], "headers": headers}
        _spawn(tasks, session.send("Fetch.continueRequest", parameters))

    session.on("Fetch.requestPaused", paused)
    # Asked again at every redirect, unlike Playwright's routes, whose headers follow to other origins.
    await session.send("Fetch.enable", {"patterns": [{"urlPattern": f"{_origin(ask.url)}/*"}]})


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].partition('#')[0]}"


def _spawn(tasks: set[asyncio.Task[None]], work: Any) -> None:  # Any: a coroutine of whatever
    """Do it beside; what fails there failed because the page is gone."""
    from playwright.async_api import Error  # noqa: PLC0415 - an extra

    async def run() -> None:
        with contextlib.suppress(Error):
            await work

    task = asyncio.get_running_loop().create_task(run())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


_MOVED: Final = (
    *("Execution context was destroyed", "Cannot find context", "No frame for given id", "navigat"),
    *("Cannot find default execution context", "Inspected target navigated", "Frame with the given"),
)


def _moved_on(error: Exception) -> bool:
    return any(words in str(error) for words in _MOVED)


#: What Chromium calls it -> what we call it, for people.
_NETWORK: Final = (
    ("ERR_NAME_", "FETCH_DNS", "the host name was not found"),
    ("ERR_CERT_", "FETCH_TLS", "the server's certificate is not valid"),
    ("ERR_SSL_", "FETCH_TLS", "a secure connection could not be set up"),
    ("ERR_TIMED_OUT", "FETCH_TIMEOUT", "the server did not answer in time"),
    ("ERR_CONNECTION_TIMED_OUT", "FETCH_TIMEOUT", "the server did not answer in time"),
    ("ERR_TOO_MANY_REDIRECTS", "FETCH_HTTP_4XX", "the page redirects in a circle"),
    ("ERR_INVALID_", "FETCH_DECODE", "the answer is not valid HTTP"),
    ("ERR_CONTENT_", "FETCH_DECODE", "the answer could not be decoded"),
    ("ERR_RESPONSE_HEADERS_", "FETCH_DECODE", "the answer is not valid HTTP"),
    ("ERR_UNSAFE_", "FETCH_REFUSED_ADDRESS", "the page leads to where a browser may not go"),
    ("ERR_BLOCKED_", "FETCH_REFUSED_ADDRESS", "the page leads to where a browser may not go"),
    ("ERR_DISALLOWED_", "FETCH_REFUSED_ADDRESS", "the page leads to where a browser may not go"),
    ("ERR_UNKNOWN_URL_SCHEME", "FETCH_BAD_URL", "the page leads to a URL that is not http or https"),
    ("ERR_ABORTED", "FETCH_DECODE", "the server sends a file to be kept, not a page"),
    ("Download is starting", "FETCH_DECODE", "the server sends a file to be kept, not a page"),
    ("ERR_HTTP_RESPONSE_CODE_FAILURE", "PAGE_EMPTY", "the server answered with an error and nothing in it"),
    ("ERR_", "FETCH_CONNECTION", "the browser did not get an answer"),
)


def translate(error: Exception) -> CheckFailure:
    """What Playwright raised, as an error code for people."""
    from playwright.async_api import TimeoutError  # noqa: A004, PLC0415 - an extra

    if isinstance(error, TimeoutError):
        return CheckFailure("FETCH_TIMEOUT", "the page did not finish loading in time")
    text = str(error)
    for words, code, detail in _NETWORK:
        if words in text:
            name = next((word.strip("():;,") for word in text.split() if "ERR_" in word), "")
            return CheckFailure(code, f"{detail} ({name[:60]})" if name else detail)
    return CheckFailure("SYSTEM_BROWSER", f"the browser failed: {first_line(error)}")
