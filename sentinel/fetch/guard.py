"""The guard: the only code that opens a socket to a URL somebody wrote.

A URL is read once, by one parser, and what was read is what is dialled: the transport resolves the
name, checks every address it gets, connects to the very address it checked and looks at the peer
again. TLS is verified against the name. Pages, webhooks, robots and proxies all come through here
(a test looks for any other client). What it refuses is a `Refused`: nothing was dialled then.

What is not understood is refused.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import ssl
import time
import unicodedata
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Self

import anyio
import certifi
import httpcore
import httpx
import idna
import msgspec

from sentinel.errors import CheckFailure
from sentinel.fetch import addresses
from sentinel.fetch.resolver import Resolve, is_own, system_resolve

#: Who we say we are: the truth, in the form servers expect of something that reads pages.
USER_AGENT: Final = "Mozilla/5.0 (compatible; Sentinel/0.1; change monitor)"

MAX_URL_LENGTH: Final = 8192

#: Ports of the web.
_WEB_PORTS: Final = frozenset({80, 443, 8080, 8443})

#: Ports of services that can be talked into doing harm by an HTTP request. Never, whatever is
#: configured: the list the WHATWG fetch standard blocks, and databases, queues and control planes.
_SERVICE_PORTS: Final = frozenset(
    {
        *(1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95),
        *(101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179),
        *(389, 427, 445, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587),
        *(601, 636, 873, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 2049, 2181, 2375, 2376),
        *(2379, 2380, 3306, 3389, 3659, 4045, 4190, 4369, 5060, 5061, 5432, 5433, 5672, 5900, 5984),
        *(6000, 6379, 6380, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042, 9092, 9200),
        *(9300, 10080, 10250, 10255, 11211, 16379, 26379, 27017, 27018, 27019),
    }
)

#: Last labels no public server has (RFC 6761, 6762, 7686, 8375, 9476; and what networks use inside).
_INNER_TLDS: Final = frozenset(
    {
        *("localhost", "local", "localdomain", "internal", "lan", "home", "corp", "intranet", "private"),
        *("test", "invalid", "example", "onion", "i2p", "arpa", "alt"),
    }
)

_PRIVATE_HINT: Final = (
    "Watch a public address, or set SENTINEL_ALLOW_PRIVATE_NETWORKS=true where this machine may reach"
    " its own network."
)

#: Addresses of one name that are tried before giving up.
_MAX_TRIED: Final = 4

#: Seconds for one address of a mail server to answer the call.
_MAIL_SECONDS: Final = 8.0
#: Ports of mail servers (RFC 6409, 8314, and the one providers add where 25 and 587 are blocked).
_MAIL_PORTS: Final = frozenset({25, 465, 587, 2525})

_URL = re.compile(r"(?i)(https?)://([^/?#]*)((?:[/?#].*)?)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[^\[\]:]*)(?::([1-9][0-9]{0,4}))?")
_WITH_PORT = re.compile(r"[^/?#]+:[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_CHARSET_OF_URL_BROKEN = re.compile("[\x00-\x20\x7f-\x9f\\\\\ud800-\udfff]")

#: Seconds spent in "dns" and "connect" (TCP and TLS) by the task that set it; summed over hops.
stage_seconds: ContextVar[dict[str, float] | None] = ContextVar("stage_seconds", default=None)


class NetworkPolicy(msgspec.Struct, frozen=True):
    """Where this installation may reach."""

    #: Loopback and private addresses, single-label hosts and any port but those of services.
    #: Link-local and metadata addresses stay refused.
    allow_private: bool = False
    #: Further ports; those of services (22, 25, 5432, 6379 ...) stay refused.
    extra_ports: frozenset[int] = frozenset()
    #: Networks refused on top, such as a site's NAT64 prefix.
    refused_networks: tuple[addresses.Network, ...] = ()


class Refused(CheckFailure, httpx.RequestError):
    """The guard refused. A CheckFailure for a check; an httpx.RequestError for who only knows httpx."""


@functools.lru_cache(maxsize=4096)  # asked twice for each check; a refusal is raised anew each time
def check_url(text: str, policy: NetworkPolicy) -> httpx.URL:
    """The URL `text` spells, in canonical form, if `policy` lets it be dialled. No I/O.

    Names are not looked up here: the client of `open_client` does that for every connection. Raises
    Refused with FETCH_BAD_URL (not a URL we can use) or FETCH_REFUSED_ADDRESS (understood, not allowed).
    """
    scheme, host, port, rest = _parse(text)
    _check_port(scheme, port, policy)
    canonical = _check_host(host, policy)
    default = 443 if scheme == "https" else 80
    authority = canonical if port in (None, default) else f"{canonical}:{port}"
    try:
        url = httpx.URL(f"{scheme}://{authority}{rest}")
    except (httpx.InvalidURL, ValueError) as exc:
        raise _bad(f"not a URL: {exc}") from exc
    # httpx dials what it reads, not what we read: they must be the same.
    same_port = url.port == (None if port == default else port)
    if url.scheme != scheme or url.raw_host.decode("ascii") != canonical.strip("[]") or not same_port:
        raise _bad("the URL can be read in two ways")
    return url


def check_authority(text: str, policy: NetworkPolicy) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, by the rules of `check_url`; the port must be there. No I/O.

    The host is canonical, an IPv6 address without brackets. Raises Refused.
    """
    if not _WITH_PORT.fullmatch(text):
        raise _bad("not a host and a port")
    url = check_url(f"https://{text}/", policy)
    return url.raw_host.decode("ascii").strip("[]"), url.port or 443


def _parse(text: str) -> tuple[str, str, int | None, str]:
    """Scheme, host as written, port where one is written, and everything from the path on."""
    if not text or len(text) > MAX_URL_LENGTH:
        raise _bad(f"a URL has 1 to {MAX_URL_LENGTH} characters, this has {len(text)}")
    if _CHARSET_OF_URL_BROKEN.search(text):
        raise _bad("spaces, control characters and backslashes do not belong in a URL: encode them (%20)")
    match = _URL.fullmatch(text)
    if match is None:
        raise _bad("only http:// and https:// addresses can be watched")
    authority = match[2]
    if "@" in authority:
        raise _bad("user names and passwords do not belong in a URL: use a header of the fetch profile")
    if "%" in authority:
        raise _bad("a percent sign in the host name")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise _bad("the host or port is malformed")
    port = int(parts[2]) if parts[2] else None
    if port is not None and port > 65535:
        raise _bad(f"there is no port {port}")
    rest = match[3]
    return match[1].lower(), parts[1], port, rest if rest.startswith("/") else f"/{rest}"


def _check_port(scheme: str, port: int | None, policy: NetworkPolicy) -> None:
    actual = port or (443 if scheme == "https" else 80)
    if actual in _SERVICE_PORTS:
        raise _refused(f"port {actual} belongs to a service that is not a web server")
    if actual not in _WEB_PORTS | policy.extra_ports and not policy.allow_private:
        raise _refused(f"port {actual} is not one of {sorted(_WEB_PORTS | policy.extra_ports)}")


def _check_host(written: str, policy: NetworkPolicy) -> str:
    """The host in canonical form: ASCII, lower case, IPv6 in brackets."""
    if written.startswith("["):
        literal = addresses.parse(written[1:-1])
        if not isinstance(literal, IPv6Address):
            raise _bad("brackets hold an IPv6 address")
        _check_address(literal, policy)
        return f"[{literal.compressed}]"
    host = _ascii_host(written)
    if _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        return _check_ipv4(written, host, policy)
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad("the host name is malformed")
    if policy.allow_private:
        return host
    if len(labels) < 2:
        raise _refused(f"{host} is a name of the local network. {_PRIVATE_HINT}")
    if labels[-1] in _INNER_TLDS:
        raise _refused(f".{labels[-1]} names are not on the public internet. {_PRIVATE_HINT}")
    return host


def _check_ipv4(written: str, host: str, policy: NetworkPolicy) -> str:
    """A host that ends in a number is an IPv4 address to somebody; only the plain form is one to us."""
    literal = addresses.parse(host)
    if not isinstance(literal, IPv4Address) or str(literal) != written:
        raise _refused("a number as host is refused: write an IPv4 address as 203.0.113.7, without tricks")
    _check_address(literal, policy)
    return host


def _ascii_host(written: str) -> str:
    """IDNA (UTS 46) to ASCII, lower case, without a trailing dot."""
    if not written or len(written) > 253:
        raise _bad("the host name is empty or too long")
    host = written.removesuffix(".")
    try:
        if not host.isascii():
            if any(_is_invisible(character) for character in host):
                raise _bad("invisible characters in the host name")
            host = idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
        host = host.lower()
        for label in host.split("."):
            if label.startswith("xn--"):
                idna.ulabel(label)
    except (idna.IDNAError, UnicodeError) as exc:
        raise _bad("the host name is not a valid international name") from exc
    return host


def _is_invisible(character: str) -> bool:
    """Format characters, variation selectors and fillers: names that look alike but are not."""
    return unicodedata.category(character) in ("Cf", "Zs", "Zl", "Zp", "Co", "Cn") or character in (
        "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
        "\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f"
    )


def _check_address(address: addresses.Address, policy: NetworkPolicy, host: str = "") -> None:
    why = addresses.refusal(address, allow_private=policy.allow_private, also_refused=policy.refused_networks)
    if why is None and not policy.allow_private and is_own(str(address)):
        why = "this machine's own address"
    if why is None:
        return
    what = f"{host} points to {address}, which" if host else str(address)
    # The switch is worth naming only where it would help.
    helps = not policy.allow_private and addresses.refusal(address, allow_private=True) is None
    raise _refused(f"{what} is {why}. {_PRIVATE_HINT if helps else 'It is never reached from here.'}")


def _bad(why: str) -> Refused:
    return Refused("FETCH_BAD_URL", why)


def _refused(why: str) -> Refused:
    return Refused("FETCH_REFUSED_ADDRESS", why)


# --- the client ------------------------------------------------------------------------------


def open_client(
    policy: NetworkPolicy,
    *,
    timeout_seconds: float = 10.0,
    max_read_bytes: int | None = None,
    resolve: Resolve = system_resolve,
    backend: httpcore.AsyncNetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx.AsyncClient:
    """A client whose every connection is checked and pinned. Close it (`aclose`) when done.

    It follows no redirects, keeps no cookies and no connections, and reads nothing from the
    environment. Raises Refused for what the guard stops, httpx's own errors (see `translate`) for
    what the network does. `timeout_seconds` bounds each read and write, not the whole request: a
    caller puts a deadline around that. `resolve` and `backend` are seams for tests.
    """
    return httpx.AsyncClient(
        transport=GuardTransport(
            policy, resolve=resolve, backend=backend, ssl_context=ssl_context, max_read_bytes=max_read_bytes
        ),
        headers={"User-Agent": USER_AGENT},
        # A jar that takes nothing: what one server sets must never reach another check.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(timeout_seconds, connect=5.0),
        follow_redirects=False,
        trust_env=False,
    )


def unconnected_client(keep: Callable[[httpx.Request], None]) -> httpx.AsyncClient:
    """A client without a socket: `keep` is handed each request, which then fails as if nobody was there."""

    def refuse(request: httpx.Request) -> httpx.Response:
        keep(request)
        raise httpx.ConnectError("kept")

    return httpx.AsyncClient(transport=httpx.MockTransport(refuse))


def mail_dialer(policy: NetworkPolicy) -> Callable[[str, int], Awaitable[socket.socket]]:
    """`dial_mail` for who knows no policy."""

    async def dial(host: str, port: int) -> socket.socket:
        return await dial_mail(host, port, policy)

    return dial


async def dial_mail(
    host: str,
    port: int,
    policy: NetworkPolicy,
    *,
    resolve: Resolve = system_resolve,
    dns_seconds: float = 10.0,
) -> socket.socket:
    """A socket connected to a mail server, by the same rules as the web: checked, then dialled.

    The caller closes it, and sets the deadline. Raises Refused, OSError.
    """
    if port in _SERVICE_PORTS - _MAIL_PORTS:
        raise _refused(f"port {port} belongs to a service that is not a mail server")
    if port not in _MAIL_PORTS and not policy.allow_private:
        raise _refused(f"port {port} is not one of {sorted(_MAIL_PORTS)}")
    canonical = _check_host(f"[{host}]" if ":" in host else host, policy).strip("[]")
    backend = GuardBackend(
        policy,
        resolve=resolve,
        dns_seconds=dns_seconds,
    )
    tried = (await backend.checked_addresses(canonical, port))[:_MAX_TRIED]
    for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
        try:
            return await _connected(address, port)
        except OSError:  # TimeoutError is one
            if left == 1:
                raise
    raise _refused("no address to connect to")


async def _connected(address: str, port: int) -> socket.socket:
    connected = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        with anyio.fail_after(_MAIL_SECONDS):
            await asyncio.get_running_loop().sock_connect(connected, (address, port))
        peer = addresses.parse(connected.getpeername()[0])
    except BaseException:
        connected.close()
        raise
    if peer != addresses.parse(address):
        connected.close()
        raise _refused("the connection went to another address than the one checked")
    return connected


class GuardTransport(httpx.AsyncHTTPTransport):
    """httpx's transport on a pool that dials through the guard."""

    def __init__(
        self,
        policy: NetworkPolicy,
        *,
        dns_seconds: float = 5.0,
        max_read_bytes: int | None = None,
        resolve: Resolve = system_resolve,
        backend: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
        through: httpcore.Proxy | None = None,
    ) -> None:
        """`through`: a proxy that is asked for everything (`sentinel.fetch.upstream`)."""
        context = ssl_context or trusted_context()
        super().__init__(verify=context, trust_env=False, retries=0)
        self._policy = policy
        dialler = GuardBackend(
            policy,
            resolve=resolve,
            inner=backend,
            dns_seconds=dns_seconds,
            max_read_bytes=max_read_bytes,
        )
        # No connection is kept: it would skip the lookup and its check.
        pool = (
            _OneEach(context, dialler)
            if through is None
            else httpcore.AsyncConnectionPool(
                ssl_context=context,
                max_connections=100,
                max_keepalive_connections=0,
                http1=True,
                http2=False,
                retries=0,
                proxy=through,
                network_backend=dialler,
            )
        )
        # The one private name of httpx we use (httpx is pinned for it): there is no public way to
        # give a transport its network backend.
        self._pool = pool  # type: ignore[assignment]  # all that httpx asks of it is what both have

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Check the URL, then send. Called for every hop, so also where httpx follows a redirect."""
        checked = check_url(str(request.url), self._policy)
        if (checked.raw_host, checked.port) != (request.url.raw_host, request.url.port):
            raise _bad("the URL can be read in two ways")
        return await super().handle_async_request(request)


class _OneEach:
    """A connection of its own for each request, closed with its answer: a pool that keeps none, for less."""

    def __init__(self, context: ssl.SSLContext, dialler: GuardBackend) -> None:
        self._context = context
        self._dialler = dialler

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """As httpcore's pool does it."""
        connection = httpcore.AsyncHTTPConnection(
            request.url.origin,
            self._context,
            http1=True,
            http2=False,
            retries=0,
            network_backend=self._dialler,
        )
        try:
            answer = await connection.handle_async_request(request)
        except BaseException:
            await _closed(connection)
            raise
        return httpcore.Response(
            answer.status,
            headers=answer.headers,
            content=_LastBody(answer.stream, connection),  # type: ignore[arg-type]  # an async one, always
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        """Nothing is open between two requests."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _LastBody:
    """The body of an answer; its connection goes with it."""

    def __init__(self, stream: AsyncIterable[bytes], connection: httpcore.AsyncHTTPConnection) -> None:
        self._stream = stream
        self._connection = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        await _closed(self._connection)


async def _closed(connection: httpcore.AsyncHTTPConnection) -> None:
    """Close it whatever happens meanwhile: a cancelled check leaves no socket behind."""
    with anyio.CancelScope(shield=True):
        await connection.aclose()


class GuardBackend(httpcore.AsyncNetworkBackend):
    """Looks a name up once, checks every answer, and dials an address that was checked.

    `connect_tcp` raises Refused, and httpcore's own errors for what the network does.
    """

    def __init__(
        self,
        policy: NetworkPolicy,
        *,
        resolve: Resolve = system_resolve,
        inner: httpcore.AsyncNetworkBackend | None = None,
        dns_seconds: float = 5.0,
        max_read_bytes: int | None = None,
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._inner = inner or httpcore.AnyIOBackend()
        self._dns_seconds = dns_seconds
        self._max_read_bytes = max_read_bytes

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,  # Any: httpcore's own union of setsockopt tuples
    ) -> httpcore.AsyncNetworkStream:
        """A stream to an address of `host` that was checked. Raises Refused."""
        async with _stage("dns"):
            checked = await self.checked_addresses(host, port)
        deadline = time.monotonic() + timeout if timeout is not None else None
        async with _stage("connect"):
            tried = checked[:_MAX_TRIED]
            for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
                share = None if deadline is None else max(deadline - time.monotonic(), 0.05) / left
                try:
                    stream = await self._inner.connect_tcp(
                        address, port, share, local_address, socket_options
                    )
                except (httpcore.ConnectError, httpcore.ConnectTimeout):
                    if left == 1:
                        raise
                    continue
                return await self._verified(stream, address)
        raise _refused("no address to connect to")

    async def checked_addresses(self, host: str, port: int) -> list[str]:
        """Every address of `host`, if all of them may be dialled: one bad record refuses the name."""
        if addresses.parse(host) is not None:
            answers: Sequence[str] = [host]
        else:
            answers = await self._look_up(host, port)
        for answer in answers:
            parsed = addresses.parse(answer)
            if parsed is None:
                raise _refused(f"{host} points to something that is not an address. {_PRIVATE_HINT}")
            _check_address(parsed, self._policy, host="" if answer == host else host)
        return list(answers)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            with anyio.fail_after(self._dns_seconds):
                answers = await self._resolve(host, port)
        except CheckFailure as exc:
            raise Refused(exc.code, exc.detail) from exc
        except TimeoutError as exc:
            raise Refused(
                "FETCH_DNS", f"no name server answered for {host} in {self._dns_seconds:g} s"
            ) from exc
        except OSError as exc:
            raise Refused("FETCH_DNS", f"{host} has no address ({exc.strerror or exc})") from exc
        if not answers:
            raise Refused("FETCH_DNS", f"{host} has no address")
        return answers

    async def _verified(
        self, stream: httpcore.AsyncNetworkStream, address: str
    ) -> httpcore.AsyncNetworkStream:
        """`stream`, if its other end is `address`: something between us might have redirected it."""
        peer = stream.get_extra_info("server_addr")
        if not peer or addresses.parse(str(peer[0])) != addresses.parse(address):
            await stream.aclose()
            raise _refused("the connection went to another address than the one checked")
        return _MeteredStream(stream, self._max_read_bytes)

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - httpcore's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        """Raises Refused."""
        raise _refused("a Unix socket is not on the internet")

    async def sleep(self, seconds: float) -> None:
        """As httpcore wants it."""
        await self._inner.sleep(seconds)


class _MeteredStream(httpcore.AsyncNetworkStream):
    """Counts what comes in, whatever it is: headers, 1xx answers, chunk framing, trailers, body."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, max_read_bytes: int | None) -> None:
        self._inner = inner
        self._max = max_read_bytes
        self._read = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        try:
            data = await self._inner.read(max_bytes, timeout)
        except ssl.SSLError as exc:  # the one error httpcore's backend lets through as it is
            raise httpcore.ReadError(str(exc)) from exc
        self._read += len(data)
        if self._max is not None and self._read > self._max:
            raise Refused("FETCH_TOO_LARGE", f"the server sent more than {self._max:,} bytes")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        async with _stage("connect"):
            secured = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _MeteredStream(secured, self._max)

    def get_extra_info(self, info: str) -> Any:  # Any: httpcore's signature
        return self._inner.get_extra_info(info)


@asynccontextmanager
async def _stage(name: str) -> AsyncIterator[None]:
    """Add the seconds of the block to the stage of whoever listens (`stage_seconds`)."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = stage_seconds.get()
        if seconds is not None:
            seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began


@functools.cache
def trusted_context() -> ssl.SSLContext:
    """The machine's certificate authorities (an intranet's own among them) and Mozilla's list.

    Reading them takes some 30 ms and they never change under us: one context serves the process.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def translate(error: httpx.HTTPError) -> CheckFailure:
    """What the network did, as an error code for people. `error` comes from a client of `open_client`."""
    if isinstance(error, CheckFailure):
        return error
    if isinstance(error, httpx.TimeoutException):
        stage = "connecting" if isinstance(error, httpx.ConnectTimeout) else "waiting for the server"
        return CheckFailure("FETCH_TIMEOUT", f"no progress while {stage}")
    if isinstance(error, httpx.ProxyError):
        return CheckFailure("FETCH_CONNECTION", f"the proxy of the profile answered {_printable(str(error))}")
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, ssl.SSLError):
            why = getattr(link, "verify_message", "") or "a secure connection could not be set up"
            return CheckFailure("FETCH_TLS", _printable(why))
    if any(getattr(link, "error_status_hint", None) == 431 for link in chain):
        return CheckFailure("FETCH_TOO_LARGE", "the header of the answer is too large")
    return _translate_network(error)


def _translate_network(error: httpx.HTTPError) -> CheckFailure:
    # h11 tells a connection that ended too early ("closed ... without") and nonsense by words alone.
    if isinstance(error, httpx.ProtocolError) and "without sending" not in str(error):
        return CheckFailure("FETCH_DECODE", f"the answer is not valid HTTP: {_printable(str(error))}")
    if isinstance(error, httpx.ConnectError):
        return CheckFailure("FETCH_CONNECTION", "the server does not accept connections")
    return CheckFailure("FETCH_CONNECTION", "the server closed the connection before the answer was complete")


def _chain(error: BaseException) -> Iterable[BaseException]:
    """`error` and what it came from."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _printable(text: str) -> str:
    """Text of the other side, made fit for a log line."""
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
