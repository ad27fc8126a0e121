"""The filtering proxy: the guard in front of a browser, which opens connections of its own.

    Chromium ──CONNECT host:443──▶ FilteringProxy ──▶ check, look up, check, dial that very address
      one ticket per context        (loopback)   └──▶ 403, and why is written on the ticket

A browser told to use it has no other way out: images, scripts, workers, WebSockets, redirects and
names that change their mind all end up here, where `route()` of Playwright sees only some of them.
Whoever shows no valid ticket gets 407 and nothing is dialled; a ticket has a budget of bytes,
connections and seconds, and when it is closed its open tunnels are cut. Every client connection
carries one request, every request has a connection of its own: nothing is shared between tickets.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Final, Self

import anyio
import h11
import httpcore
import httpx
import msgspec

from sentinel.errors import CheckFailure
from sentinel.fetch.guard import (
    GuardBackend,
    GuardTransport,
    NetworkPolicy,
    check_authority,
    check_url,
    translate,
)
from sentinel.fetch.resolver import Resolve, system_resolve
from sentinel.fetch.upstream import connect_through

#: Bytes of a request's head, and its lines.
MAX_HEAD: Final = 64 * 1024
MAX_LINES: Final = 100
#: Seconds a client may take for a request's head.
HEAD_SECONDS: Final = 10.0
#: Seconds to reach a server, its name looked up already.
CONNECT_SECONDS: Final = 10.0
#: Connections of clients at a time, with a ticket or without.
MAX_CLIENTS: Final = 512
#: Refusals a ticket remembers.
MAX_REFUSALS: Final = 200
_CHUNK: Final = 64 * 1024

#: Where Chromium calls home of its own accord: updates, lists, accounts. No page needs them.
_BACKGROUND: Final = frozenset(
    {
        *("accounts.google.com", "android.clients.google.com", "clients1.google.com", "clients2.google.com"),
        *("clients3.google.com", "clients4.google.com", "clients5.google.com", "clients6.google.com"),
        *("clients2.googleusercontent.com", "clientservices.googleapis.com", "mtalk.google.com"),
        *("content-autofill.googleapis.com", "edgedl.me.gvt1.com", "redirector.gvt1.com"),
        *("optimizationguide-pa.googleapis.com", "passwordsleakcheck-pa.googleapis.com"),
        *("safebrowsing.googleapis.com", "update.googleapis.com", "sb-ssl.google.com"),
    }
)

#: Headers that concern one connection only (RFC 9110, 7.6.1), and those between a browser and its proxy.
_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"}
)


_Headers = Iterable[tuple[bytes, bytes]]


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much one ticket is good for."""

    #: Both ways together.
    bytes: int = 64 * 1024 * 1024
    #: Connections dialled, all together.
    connections: int = 500
    #: From when it is given out.
    seconds: float = 60.0


class Refusal(msgspec.Struct, frozen=True):
    """Something a page wanted and did not get."""

    #: `host:port`, or the URL without its query.
    target: str
    #: An error code, FETCH_*.
    code: str
    reason: str


class Ticket:
    """What one browser context shows, and what came of it."""

    def __init__(
        self,
        policy: NetworkPolicy,
        budget: Budget,
        dial: GuardBackend,
        send: GuardTransport,
        upstream: httpcore.Proxy | None,
    ) -> None:
        self.username = secrets.token_urlsafe(12)
        self.password = secrets.token_urlsafe(24)
        #: In the order they were met, the first `MAX_REFUSALS`.
        self.refused: list[Refusal] = []
        #: Both ways, so far.
        self.bytes = 0
        #: Dialled so far.
        self.connections = 0
        self.closed = False
        self.policy = policy
        self.send = send
        self._dial = dial
        self._upstream = upstream
        self._budget = budget
        self._running: set[asyncio.Task[None]] = set()
        self._hosts: dict[str, Refusal] = {}
        self._end = asyncio.get_running_loop().call_later(budget.seconds, self.close)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return (
            f"<Ticket {state} {self.connections} connections {self.bytes} bytes {len(self.refused)} refused>"
        )

    def refusal(self, host: str) -> CheckFailure | None:
        """Why `host` was not reached, where the guard did not let it be."""
        met = self._hosts.get(host.strip("[]").lower())
        return None if met is None else CheckFailure(met.code, met.reason)

    def close(self) -> None:
        """Nothing goes through with it any more; what is open is cut."""
        self.closed = True
        self._end.cancel()
        for task in self._running:
            task.cancel()

    @contextlib.contextmanager
    def running(self, task: asyncio.Task[None]) -> Iterator[None]:
        """`task` works with this ticket and ends with it."""
        self._running.add(task)
        try:
            yield
        finally:
            self._running.discard(task)

    def connecting(self) -> None:
        """One connection more. Raises CheckFailure where the budget has none left."""
        if self.connections >= self._budget.connections:
            raise CheckFailure("FETCH_TOO_LARGE", f"the page opens more than {self.connections} connections")
        self.connections += 1

    async def connect(self, host: str, port: int) -> httpcore.AsyncNetworkStream:
        """A stream to a server. Raises CheckFailure, httpcore's errors."""
        if self._upstream is None:
            return await self._dial.connect_tcp(host, port, CONNECT_SECONDS)
        return await connect_through(self._dial, self._upstream, host, port, CONNECT_SECONDS)

    def spend(self, size: int, target: str) -> None:
        """So many bytes went by; over the budget the ticket is closed."""
        self.bytes += size
        if self.bytes > self._budget.bytes and not self.closed:
            why = f"the page loads more than {self._budget.bytes:,} bytes"
            self.refuse(target, "", CheckFailure("FETCH_TOO_LARGE", why))
            self.close()

    def refuse(self, target: str, host: str, failure: CheckFailure) -> None:
        """Write down what was not let through."""
        if len(self.refused) < MAX_REFUSALS:
            refusal = Refusal(target[:500], failure.code, failure.detail)
            self.refused.append(refusal)
            if host:
                self._hosts.setdefault(host.strip("[]").lower(), refusal)


class FilteringProxy:
    """A forward proxy on the loopback address that dials what the guard lets it dial.

    async with FilteringProxy(policy) as proxy:
        ticket = proxy.admit(Budget(seconds=30))
        ... proxy.server, ticket.username, ticket.password ...
        ticket.close()
    """

    def __init__(
        self,
        policy: NetworkPolicy,
        *,
        resolve: Resolve = system_resolve,
        backend: httpcore.AsyncNetworkBackend | None = None,
        dns_seconds: float = 5.0,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._backend = backend
        self._dns_seconds = dns_seconds
        self._head_seconds = head_seconds
        self._tickets: dict[str, Ticket] = {}
        self._clients: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def server(self) -> str:
        """As http://127.0.0.1:PORT."""
        if self._listener is None:
            raise RuntimeError("the proxy is not open")
        return f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def admit(
        self,
        budget: Budget = Budget(),  # noqa: B008 - frozen
        *,
        upstream: httpcore.Proxy | None = None,
    ) -> Ticket:
        """A ticket for one browser context. `upstream`: a proxy that is asked for everything in turn."""
        for name in [name for name, ticket in self._tickets.items() if ticket.closed]:
            del self._tickets[name]
        ticket = Ticket(
            self._policy,
            budget,
            GuardBackend(
                self._policy, resolve=self._resolve, inner=self._backend, dns_seconds=self._dns_seconds
            ),
            GuardTransport(
                self._policy,
                resolve=self._resolve,
                backend=self._backend,
                dns_seconds=self._dns_seconds,
                max_read_bytes=budget.bytes + MAX_HEAD,
                through=upstream,
            ),
            upstream,
        )
        self._tickets[ticket.username] = ticket
        return ticket

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        for ticket in self._tickets.values():
            ticket.close()
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(_Client(reader, writer)))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, client: _Client) -> None:
        """One client connection: one request, one answer or one tunnel."""
        try:
            await self._answer(client)
        except asyncio.CancelledError:
            client.abort()  # its ticket was closed
            raise
        # A client or server that goes, or talks nonsense: cutting the connection is all there is to do.
        except (OSError, TimeoutError, h11.ProtocolError, httpcore.NetworkError, httpcore.TimeoutException):
            client.abort()
        except CheckFailure:
            client.abort()  # the answer was under way
        else:
            client.drop()

    async def _answer(self, client: _Client) -> None:
        try:
            async with asyncio.timeout(self._head_seconds):
                request = await client.head()
        except h11.RemoteProtocolError as exc:
            await client.say(exc.error_status_hint if exc.error_status_hint in (400, 431) else 400)
            return
        if request is None:
            return
        ticket = self._shown(request)
        if ticket is None:
            await client.say(407, [("Proxy-Authenticate", 'Basic realm="sentinel"')])
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        with ticket.running(task):
            if request.method == b"CONNECT":
                await _connect(client, request, ticket)
            else:
                await _forward(client, request, ticket)

    def _shown(self, request: h11.Request) -> Ticket | None:
        """The ticket a request brings, if it is good."""
        shown = [value for name, value in request.headers if name == b"proxy-authorization"]
        if len(shown) != 1 or shown[0][:6].lower() != b"basic ":
            return None
        try:
            name, _, password = base64.b64decode(shown[0][6:], validate=True).decode("ascii").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        ticket = self._tickets.get(name)
        if ticket is None or ticket.closed or not hmac.compare_digest(ticket.password, password):
            return None
        return ticket


async def _connect(client: _Client, request: h11.Request, ticket: Ticket) -> None:
    """A tunnel to the host and port that are asked for."""
    target = request.target.decode("latin-1")
    host = target.rpartition(":")[0]
    try:
        host, port = check_authority(target, ticket.policy)
        _refuse_background(host)
        ticket.connecting()
        stream = await ticket.connect(host, port)
    except CheckFailure as exc:
        ticket.refuse(target, host, exc)
        await client.say(403)
        return
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        await client.say(502)
        return
    try:
        await _tunnel(await client.switch(), client, stream, ticket, target)
    finally:
        await _close(stream)


async def _tunnel(
    first: bytes, client: _Client, stream: httpcore.AsyncNetworkStream, ticket: Ticket, target: str
) -> None:
    """Bytes both ways until one side ends."""

    async def up() -> None:
        data = first or await client.read()
        while data:
            ticket.spend(len(data), target)
            await stream.write(data)
            data = await client.read()
        both.cancel_scope.cancel()

    async def down() -> None:
        while data := await stream.read(_CHUNK):
            ticket.spend(len(data), target)
            await client.write(data)
        both.cancel_scope.cancel()

    with contextlib.suppress(BaseExceptionGroup):  # one side is gone: so is the tunnel
        async with anyio.create_task_group() as both:
            both.start_soon(up)
            both.start_soon(down)


async def _forward(client: _Client, request: h11.Request, ticket: Ticket) -> None:
    """One plain request, sent on in a connection of its own."""
    target = request.target.decode("latin-1")
    where, host = target.partition("?")[0], ""
    try:
        # https:// in the clear to us and not to them: nobody should get used to it.
        url = check_url(target if target[:7].lower() == "http://" else "", ticket.policy)
        host = url.raw_host.decode("ascii")
        _refuse_background(host)
        ticket.connecting()
        response = await ticket.send.handle_async_request(
            httpx.Request(
                request.method.decode("ascii"),
                url,
                headers=_onward(request.headers, url),
                content=_metered(client, ticket, where),
                extensions={
                    "timeout": {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": 5.0}
                },
            )
        )
    except CheckFailure as exc:
        ticket.refuse(where, host, exc)
        await client.say(403)
        return
    except httpx.HTTPError as exc:
        await client.say(504 if translate(exc).code == "FETCH_TIMEOUT" else 502)
        return
    try:
        await _relay(client, response, ticket, where)
    except httpx.HTTPError as exc:
        raise translate(exc) from exc
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()


async def _relay(client: _Client, response: httpx.Response, ticket: Ticket, where: str) -> None:
    if not 200 <= response.status_code <= 599:
        await client.say(502)
        return
    await client.start(response.status_code, _passed(response.headers.raw))
    async for chunk in response.aiter_raw():
        ticket.spend(len(chunk), where)
        await client.send(h11.Data(data=chunk))
    await client.send(h11.EndOfMessage())


async def _metered(client: _Client, ticket: Ticket, where: str) -> AsyncIterator[bytes]:
    async for chunk in client.body():
        ticket.spend(len(chunk), where)
        yield chunk


def _refuse_background(host: str) -> None:
    if host in _BACKGROUND:
        raise CheckFailure("FETCH_REFUSED_ADDRESS", f"{host} is where the browser itself calls home")


def _passed(headers: _Headers) -> list[tuple[bytes, bytes]]:
    """Those that are not about one connection. Names in lower case."""
    pairs = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    named = {
        word.strip().lower() for name, value in pairs if name == b"connection" for word in value.split(b",")
    }
    return [
        (name, value)
        for name, value in pairs
        if name not in _HOP and name not in named and not name.startswith(b"proxy-")
    ]


def _onward(headers: _Headers, url: httpx.URL) -> list[tuple[bytes, bytes]]:
    """What the server is told: the host is the one that was checked."""
    chunked = any(name == b"transfer-encoding" for name, _ in headers)
    kept = [(name, value) for name, value in _passed(headers) if name != b"host"]
    sized = chunked or any(name == b"content-length" for name, _ in kept)
    # Without a length httpx would announce chunks for the empty body of a GET.
    length = [] if sized else [(b"content-length", b"0")]
    return [(b"host", url.netloc), *kept, *length, (b"connection", b"close")]


async def _close(stream: httpcore.AsyncNetworkStream) -> None:
    with anyio.move_on_after(1, shield=True):
        await stream.aclose()


class _Client:
    """One connection of a browser, read and written as HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    async def head(self) -> h11.Request | None:
        """The request; None where the client went without one. Raises h11.RemoteProtocolError."""
        event = await self._next()
        if not isinstance(event, h11.Request):
            return None
        if len(event.headers) > MAX_LINES:
            raise h11.RemoteProtocolError("too many headers", error_status_hint=431)
        return event

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body, piece by piece."""
        if self._http.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def switch(self) -> bytes:
        """Say that the tunnel stands; what came after the request belongs into it."""
        while not isinstance(await self._next(), h11.EndOfMessage):
            pass
        await self.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return self._http.trailing_data[0]

    async def say(self, status: int, headers: list[tuple[str, str]] | None = None) -> None:
        """A short answer of our own, the last on this connection."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"sentinel's filtering proxy: {status}\n".encode("ascii")
        plain = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        await self.start(
            status, [(a.encode("ascii"), b.encode("ascii")) for a, b in [*plain, *(headers or [])]]
        )
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer."""
        await self.send(h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")]))

    async def send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self.write(data)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self) -> bytes:
        return await self._reader.read(_CHUNK)

    def drop(self) -> None:
        """Close it; what is written still goes out."""
        self._writer.close()

    def abort(self) -> None:
        """Cut it."""
        self._writer.transport.abort()

    async def _next(self) -> h11.Event | None:
        """What the client sends next; None where there is no more to a request."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                return None
            self._http.receive_data(await self.read())
