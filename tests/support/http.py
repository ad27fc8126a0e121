"""A real HTTP/1.1 server on the loopback address whose every answer a test writes down.

    async with serve() as site:
        site.route("/shop", Reply(body=b"<p>19.99</p>"))
        ...
        assert site.requests[0].headers["user-agent"]

`serve_in_thread()` does the same for tests that are not async or that start processes.

A route is a `Reply`, a list of them (one per request, the last one for ever) or an async function
of (Request, StreamWriter) that may do anything to the connection. Routes may be changed at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

#: Bytes a request's head and body may have here.
MAX_REQUEST = 64 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    #: As sent, with the query.
    target: str
    path: str
    query: Mapping[str, str]
    #: Names in lower case; of a repeated one the last.
    headers: Mapping[str, str]
    #: As sent, in order.
    raw_headers: Sequence[tuple[str, str]]
    body: bytes
    #: `time.monotonic()` of its arrival.
    at: float
    #: Which connection it came on, from 0.
    connection: int


@dataclass(frozen=True)
class Reply:
    """What goes out. `body` with a Content-Length, or `chunks` without one (chunked)."""

    status: int = 200
    body: bytes | str = b""
    content_type: str | None = "text/html; charset=utf-8"
    #: Sent as they are; a Content-Length or Content-Type here replaces ours.
    headers: Sequence[tuple[str, str]] | Mapping[str, str] = ()
    #: Sent one by one as chunks; may be endless (`itertools.repeat`).
    chunks: Iterator[bytes] | Sequence[bytes] | None = None
    #: Seconds before the head, and between chunks.
    delay: float = 0.0
    chunk_delay: float = 0.0
    #: The head is held back until it is set (a `threading.Event` or `asyncio.Event`).
    hold: threading.Event | asyncio.Event | None = None
    #: Bytes of the body after which the connection is cut; None sends all.
    cut_after: int | None = None
    #: Close after this reply, saying so.
    close: bool = False


RawHandler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]
Route = Reply | Sequence[Reply] | RawHandler


@dataclass
class Site:
    """The server's routes, and what was asked of it."""

    host: str = "127.0.0.1"
    port: int = 0
    scheme: str = "http"
    #: Whole requests, in order of arrival. Kept in one list for the life of the server.
    requests: list[Request] = field(default_factory=list)
    #: Connections that were opened.
    connections: int = 0
    #: Answers what no route names.
    default: Route = field(default_factory=lambda: Reply(status=404, body="not here"))
    _routes: dict[str, Route] = field(default_factory=dict)
    _served: dict[str, itertools.count[int]] = field(default_factory=dict)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def route(self, path: str, route: Route) -> str:
        """Answer `path` (without query) so from now on; returns its URL."""
        self._served.pop(path, None)
        self._routes[path] = route
        return self.url + path

    def requests_to(self, path: str) -> list[Request]:
        """Those for one path, in order of arrival."""
        return [request for request in self.requests if request.path == path]

    def wait_for_requests(
        self, count: int, *, path: str | None = None, seconds: float = 30.0
    ) -> list[Request]:
        """Block until so many have come (not for use on the server's own loop). Raises TimeoutError."""
        with self._arrived:
            if self._arrived.wait_for(lambda: len(self._matching(path)) >= count, seconds):
                return self._matching(path)
        raise TimeoutError(f"{len(self._matching(path))} of {count} requests in {seconds:g} s")

    async def requests_arrived(
        self, count: int, *, path: str | None = None, seconds: float = 30.0
    ) -> list[Request]:
        """The same for async tests. Raises TimeoutError."""
        return await asyncio.to_thread(self.wait_for_requests, count, path=path, seconds=seconds)

    def _matching(self, path: str | None) -> list[Request]:
        return list(self.requests) if path is None else self.requests_to(path)

    def _note(self, request: Request) -> None:
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    def _answer(self, path: str) -> Reply | RawHandler:
        route = self._routes.get(path, self.default)
        if isinstance(route, Reply) or callable(route):
            return route
        turn = next(self._served.setdefault(path, itertools.count()))
        return route[min(turn, len(route) - 1)]


@contextlib.asynccontextmanager
async def serve(
    *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, also: Sequence[str] = ()
) -> AsyncIterator[Site]:
    """A site on a free port of the running loop, closed with all its connections at the end.

    `also`: further addresses that it answers at, on the same port: other hosts, to whoever counts hosts.
    """
    site = Site(host=host, scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number = site.connections
        site.connections += 1
        # Clients that hang up, and the end of the test, are no errors of the server.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await _talk(site, reader, writer, number)
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, host, 0, ssl=tls, limit=MAX_REQUEST)
    site.port = server.sockets[0].getsockname()[1]
    others = [await asyncio.start_server(connected, one, site.port, limit=MAX_REQUEST) for one in also]
    try:
        yield site
    finally:
        for one in (server, *others):
            one.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in (server, *others):
            await one.wait_closed()


@contextlib.contextmanager
def serve_in_thread(
    *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, also: Sequence[str] = ()
) -> Iterator[Site]:
    """A site on a loop of its own in a thread."""
    ready = threading.Event()
    box: list[tuple[Site, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        async with serve(host=host, tls=tls, also=also) as site:
            stop = asyncio.Event()
            box.append((site, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="test-site", daemon=True)
    thread.start()
    if not ready.wait(10):
        raise TimeoutError("the test site did not start")
    site, loop, stop = box[0]
    try:
        yield site
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def _talk(site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    while (request := await _read(reader, number)) is not None:
        site._note(request)
        answer = site._answer(request.path)
        if not isinstance(answer, Reply):
            await answer(request, writer)
            return
        if not await send(answer, request, writer):
            return


async def _read(reader: asyncio.StreamReader, number: int) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ", 2)
    raw = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    headers = {name.lower(): value for name, value in raw}
    if "chunked" in headers.get("transfer-encoding", ""):
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, target, parts.path, query, headers, raw, body, time.monotonic(), number)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(parts)


async def send(reply: Reply, request: Request, writer: asyncio.StreamWriter) -> bool:
    """True when the connection may carry another request."""
    if reply.hold is not None:
        await _held(reply.hold)
    if reply.delay:
        await asyncio.sleep(reply.delay)
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    writer.write(_head(reply, body))
    if request.method == "HEAD" or reply.status in (204, 304):
        await writer.drain()
        return not reply.close
    if reply.chunks is not None:
        await _send_chunks(reply, writer)
    else:
        writer.write(body if reply.cut_after is None else body[: reply.cut_after])
    await writer.drain()
    return not reply.close and reply.cut_after is None


def _head(reply: Reply, body: bytes) -> bytes:
    given = list(reply.headers.items()) if isinstance(reply.headers, Mapping) else list(reply.headers)
    names = {name.lower() for name, _ in given}
    if reply.content_type is not None and "content-type" not in names:
        given.append(("Content-Type", reply.content_type))
    if reply.chunks is not None:
        given.append(("Transfer-Encoding", "chunked"))
    elif "content-length" not in names and reply.status not in (204, 304):
        given.append(("Content-Length", str(len(body))))
    if reply.close:
        given.append(("Connection", "close"))
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Whatever"
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in given)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _send_chunks(reply: Reply, writer: asyncio.StreamWriter) -> None:
    sent = 0
    for chunk in reply.chunks or ():
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()
        sent += len(chunk)
        if reply.cut_after is not None and sent >= reply.cut_after:
            return
        await asyncio.sleep(reply.chunk_delay)
    writer.write(b"0\r\n\r\n")


async def _held(hold: threading.Event | asyncio.Event) -> None:
    if isinstance(hold, asyncio.Event):
        await hold.wait()
        return
    while not hold.is_set():  # noqa: ASYNC110 - a thread's event cannot be awaited
        await asyncio.sleep(0.01)
