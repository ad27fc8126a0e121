"""One page over HTTP: redirects by hand, every limit kept, nothing carried where it does not belong.

`get` tells its progress to a `Trail`, so that a fetch that failed half-way can still say how far it
came: which hop, which status, how many bytes, how long each stage took.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urljoin

import httpx
import msgspec

from sentinel.errors import CheckFailure
from sentinel.fetch.decoding import ACCEPT_ENCODING
from sentinel.fetch.guard import (
    MAX_URL_LENGTH,
    GuardTransport,
    NetworkPolicy,
    check_url,
    stage_seconds,
    translate,
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of anything one fetch may take."""

    #: Bytes of body on the wire.
    wire_bytes: int = 5 * 1024 * 1024
    #: Bytes of body after inflating.
    decoded_bytes: int = 20 * 1024 * 1024
    #: Inflated bytes per byte on the wire (bodies up to 1 MiB excepted).
    ratio: float = 100.0
    #: Bytes of all header lines together, and how many lines.
    header_bytes: int = 64 * 1024
    header_count: int = 100
    #: Hops followed.
    redirects: int = 5
    #: Seconds.
    dns_seconds: float = 5.0
    connect_seconds: float = 5.0
    #: Seconds without a byte.
    read_seconds: float = 10.0
    #: Seconds for everything, whatever the fetch profile says.
    total_seconds: float = 300.0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for, and with which words."""

    url: httpx.URL
    #: Sent wherever a redirect leads.
    headers: Mapping[str, str]
    #: May carry credentials: sent to the first origin only.
    private_headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    #: If-None-Match, If-Modified-Since.
    validators: Mapping[str, str] = {}


class Answer(msgspec.Struct, frozen=True):
    """What came, as it came."""

    status: int
    headers: httpx.Headers
    #: Still compressed.
    body: bytes


class Trail:
    """How far a fetch has come."""

    __slots__ = ("final_url", "headers", "seconds", "status", "url", "wire_bytes")

    def __init__(self, url: str) -> None:
        self.url = url
        self.final_url = url
        #: 0 before an answer came.
        self.status = 0
        self.headers: dict[str, str] = {}
        self.wire_bytes = 0
        #: Stage (dns, connect, ttfb, body) -> seconds, summed over hops.
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the seconds of the block to `name`, less those that went to other stages meanwhile."""
        began, others = time.monotonic(), self._others(name)
        try:
            yield
        finally:
            spent = time.monotonic() - began - (self._others(name) - others)
            self.seconds[name] = self.seconds.get(name, 0.0) + max(spent, 0.0)

    def _others(self, name: str) -> float:
        return sum(seconds for stage, seconds in self.seconds.items() if stage != name)


_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

#: Bytes read of an answer that is an error anyway: enough to see what it says.
_ERROR_BODY: Final = 256 * 1024

#: Bytes over the body's own that a connection may bring: 1xx answers, chunk framing, trailers.
FRAMING_BYTES: Final = 1024 * 1024

#: Cookies one origin may set during the redirects of one fetch, and the characters of each.
_MAX_COOKIES: Final = 50
_MAX_COOKIE: Final = 4096

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def _stays(answer: Answer, url: str) -> str | None:
    """No page sends on by itself."""


async def get(
    transport: GuardTransport,
    ask: Ask,
    policy: NetworkPolicy,
    limits: Limits,
    trail: Trail,
    *,
    sends_on: Callable[[Answer, str], str | None] = _stays,
) -> Answer:
    """The answer at the end of the redirects that `ask` meets.

    `sends_on`: where a good answer, and its URL, lead on as a redirect would; counted as one.
    Raises CheckFailure (FETCH_*), also where a hop leads to an address the guard refuses. The caller
    puts a deadline around it.
    """
    stage_seconds.set(trail.seconds)
    hop = _Hop(ask)
    for _ in range(limits.redirects + 1):
        trail.final_url = str(hop.url)
        request = hop.request(limits)
        answer = await _exchange(transport, request, limits, trail)
        location = (
            answer.headers.get("location")
            if answer.status in _REDIRECTS
            else sends_on(answer, trail.final_url)
        )
        if location is None:
            return answer
        hop.follow(answer.headers, location, policy)
    raise CheckFailure(
        "FETCH_HTTP_4XX", f"the page redirects in a circle (more than {limits.redirects} times)"
    )


class _Hop:
    """Where we are on the way, and what may be said there."""

    def __init__(self, ask: Ask) -> None:
        self.url = ask.url
        self._ask = ask
        self._trusted = True
        #: Origin -> cookies it set on this way. Kept by origin, so narrower than a browser's.
        self._jar: dict[tuple[str, str, int], dict[str, str]] = {}

    def request(self, limits: Limits) -> httpx.Request:
        headers = {"Accept-Encoding": ACCEPT_ENCODING, "Connection": "keep-alive", **self._ask.headers}
        headers.update(self._ask.validators)
        cookies = dict(self._jar.get(_origin(self.url), {}))
        if self._trusted:
            headers.update(self._ask.private_headers)
            cookies = {**self._ask.cookies, **cookies}
        sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if sent:
            given = next((key for key in headers if key.lower() == "cookie"), "Cookie")
            headers[given] = f"{headers[given]}; {sent}" if given in headers else sent
        return httpx.Request(
            "GET",
            self.url,
            headers=[(name.encode("ascii"), value.encode("utf-8")) for name, value in headers.items()],
            extensions={
                "timeout": {
                    "connect": limits.connect_seconds,
                    "read": limits.read_seconds,
                    "write": limits.read_seconds,
                    "pool": limits.total_seconds,
                }
            },
        )

    def follow(self, headers: httpx.Headers, location: str, policy: NetworkPolicy) -> None:
        """Go where the answer points; leave credentials behind where that is another origin."""
        self._keep_cookies(headers)
        target = redirect_target(self.url, location, policy)
        if not _same_party(self.url, target):
            self._trusted = False
        self.url = target

    def _keep_cookies(self, headers: httpx.Headers) -> None:
        jar = self._jar.setdefault(_origin(self.url), {})
        for line in headers.get_list("set-cookie"):
            name, equals, value = line.partition(";")[0].strip().partition("=")
            sound = equals and name and len(line) <= _MAX_COOKIE and not _CONTROL.search(line)
            if sound and (len(jar) < _MAX_COOKIES or name in jar):
                jar[name] = value


def redirect_target(base: httpx.URL, location: str, policy: NetworkPolicy) -> httpx.URL:
    """Where a Location points, checked like any URL. Raises CheckFailure."""
    location = location.strip()
    if len(location) > MAX_URL_LENGTH:
        raise CheckFailure("FETCH_BAD_URL", f"the page redirects to a URL of {len(location):,} characters")
    if _CONTROL.search(location):
        raise CheckFailure("FETCH_BAD_URL", "the page redirects to a URL with control characters")
    # Servers forget to encode spaces; browsers do it for them.
    location = location.replace(" ", "%20")
    if location.startswith("//"):
        location = f"{base.scheme}:{location}"
    try:
        text = location if _ABSOLUTE.match(location) else urljoin(str(base), location)
    except ValueError as exc:
        raise CheckFailure("FETCH_BAD_URL", "the page redirects to something that is not a URL") from exc
    scheme = text.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise CheckFailure(
            "FETCH_BAD_URL",
            f"the page redirects to a {scheme[:40]}: address; only http and https can be followed",
        )
    try:
        return check_url(text, policy)
    except CheckFailure as exc:
        raise CheckFailure(
            exc.code, f"the page redirects to an address that is refused: {exc.detail}"
        ) from exc


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)


def _same_party(one: httpx.URL, other: httpx.URL) -> bool:
    """The same origin, or the same host's step from http to https on the usual ports."""
    first, second = _origin(one), _origin(other)
    upgrade = first[1] == second[1] and first[::2] == ("http", 80) and second[::2] == ("https", 443)
    return first == second or upgrade


async def _exchange(
    transport: GuardTransport, request: httpx.Request, limits: Limits, trail: Trail
) -> Answer:
    """One request, one answer; the connection is closed at the end whatever happened."""
    try:
        with trail.stage("ttfb"):
            response = await transport.handle_async_request(request)
        try:
            _note(response, limits, trail)
            with trail.stage("body"):
                body = await _read(response, limits, trail)
        finally:
            await response.aclose()
    except CheckFailure:
        raise
    except httpx.HTTPError as exc:
        raise translate(exc) from exc
    return Answer(response.status_code, response.headers, body)


def _note(response: httpx.Response, limits: Limits, trail: Trail) -> None:
    """Write down what the head says, if it is a head we take."""
    trail.status = response.status_code
    lines = response.headers.raw
    size = sum(len(name) + len(value) + 4 for name, value in lines)
    if len(lines) > limits.header_count or size > limits.header_bytes:
        raise CheckFailure(
            "FETCH_TOO_LARGE", f"the header of the answer has {len(lines)} lines and {size:,} bytes"
        )
    trail.headers = {name: value for name, value in response.headers.items() if name != "set-cookie"}
    if not 100 <= response.status_code <= 599:
        raise CheckFailure(
            "FETCH_DECODE", f"the server answered {response.status_code}, which is no HTTP status"
        )


async def _read(response: httpx.Response, limits: Limits, trail: Trail) -> bytes:
    """The body as it came. Of redirects nothing is read, of errors only the beginning."""
    if response.status_code in _REDIRECTS or response.status_code == 304:
        return b""
    failed = response.status_code >= 400
    if not failed:
        _refuse_early(response, limits)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        trail.wire_bytes += len(chunk)
        chunks.append(chunk)
        if failed and size >= _ERROR_BODY:
            break
        if size > limits.wire_bytes:
            raise CheckFailure("FETCH_TOO_LARGE", f"the body has more than {limits.wire_bytes:,} bytes")
    return b"".join(chunks)


def _refuse_early(response: httpx.Response, limits: Limits) -> None:
    """What the head already tells is too large, or nothing that can be read."""
    length = response.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and int(length) > limits.wire_bytes:
        raise CheckFailure(
            "FETCH_TOO_LARGE", f"the body has {int(length):,} bytes; {limits.wire_bytes:,} are read"
        )
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _is_binary_type(kind):
        raise CheckFailure("FETCH_DECODE", f"this is {kind[:60]!r}, not a page with text")


_TEXT_SUFFIXES: Final = ("+json", "+xml", "+text", "+yaml")
_BINARY_KINDS: Final = (
    *("image/", "audio/", "video/", "font/", "model/"),
    *("application/vnd.openxmlformats-", "application/vnd.oasis."),
)
_BINARY_TYPES: Final = frozenset(
    f"application/{name}"
    for name in (
        *("pdf", "zip", "gzip", "x-gzip", "x-tar", "x-7z-compressed", "vnd.rar", "java-archive"),
        *("wasm", "msword", "vnd.ms-excel", "x-msdownload"),
    )
)


def _is_binary_type(kind: str) -> bool:
    if kind.endswith(_TEXT_SUFFIXES):
        return False
    return kind.startswith(_BINARY_KINDS) or kind in _BINARY_TYPES


_MAGIC: Final = (
    b"%PDF-",
    b"\x89PNG\r\n",
    b"GIF8",
    b"\xff\xd8\xff",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"RIFF",
    b"OggS",
    b"\x7fELF",
    b"wOF",
    b"7z\xbc\xaf",
)
_BOMS: Final = (b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf")


def looks_binary(body: bytes, content_type: str) -> bool:
    """Whether an inflated body is no text, whatever it is called."""
    if body.startswith(_MAGIC):
        return True
    named_text = content_type.lower().startswith("text/") or "charset" in content_type.lower()
    return not named_text and not body.startswith(_BOMS) and b"\x00" in body[:1024]
