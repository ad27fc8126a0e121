"""A small HTTP endpoint for `/metrics`, `/healthz` and `/readyz`.

It reads, it never changes anything; it listens on the loopback address unless told otherwise. One
request a connection, parsed by h11 within a few kilobytes and seconds, a bounded number of
connections at once: garbage, slow readers and scanners cost nothing but their own connection. Where the
bound is reached, who has connected and not yet asked makes room for who comes: a few idle connections
must not keep a probe out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import anyio
import anyio.abc
import h11
import msgspec

from sentinel.errors import SentinelError
from streamq import StreamqError

logger = logging.getLogger(__name__)

#: Bytes a request's head may have.
MAX_HEAD: Final = 8192
#: Seconds until a request's head is there, until its page is made, until the other side has taken the
#: answer: each its own, so that who asks slowly is answered all the same.
HEAD_TIMEOUT: Final = 5.0
PAGE_TIMEOUT: Final = 9.0
SEND_TIMEOUT: Final = 10.0
#: Seconds one readiness check may take.
CHECK_TIMEOUT: Final = 2.0
#: Connections served at once.
MAX_CONNECTIONS: Final = 32

#: prometheus_client.CONTENT_TYPE_LATEST's format: what `generate_latest` writes.
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
JSON_TYPE: Final = "application/json"


class Answer(msgspec.Struct, frozen=True):
    """What goes out."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class Check(msgspec.Struct, frozen=True):
    """What a readiness check found; `detail` is for people and holds no secret."""

    ok: bool
    detail: str = ""


CheckFunction = Callable[[], Awaitable[Check]]


class Pages:
    """The three pages: what they say depends on what they are given."""

    def __init__(
        self, *, metrics: Callable[[], Awaitable[bytes]], checks: Mapping[str, CheckFunction]
    ) -> None:
        """`metrics` writes the exposition. Ready is when every one of `checks` is ok."""
        self._metrics = metrics
        self._checks = dict(checks)

    async def answer(self, path: str) -> Answer:
        """The page at `path`, a query left aside."""
        match path.partition("?")[0]:
            case "/metrics":
                return Answer(200, await self._metrics(), METRICS_TYPE)
            case "/healthz":
                # That the event loop came here is all it says: a process that cannot reach Redis
                # is not made better by being killed.
                return Answer(200, b'{"status":"ok"}\n', JSON_TYPE)
            case "/readyz":
                return await self._ready()
            case _:
                return Answer(404, b"here are /metrics, /healthz and /readyz\n")

    async def _ready(self) -> Answer:
        found: dict[str, Check] = {}
        async with anyio.create_task_group() as group:
            for name, check in self._checks.items():
                group.start_soon(_run_check, name, check, found)
        ready = all(check.ok for check in found.values())
        body = {
            "status": "ready" if ready else "not ready",
            "checks": {name: found[name] for name in self._checks},
        }
        return Answer(200 if ready else 503, msgspec.json.encode(body) + b"\n", JSON_TYPE)


async def _run_check(name: str, check: CheckFunction, found: dict[str, Check]) -> None:
    found[name] = Check(ok=False, detail=f"no answer within {CHECK_TIMEOUT:g} s")
    with anyio.move_on_after(CHECK_TIMEOUT):
        try:
            found[name] = await check()
        except (SentinelError, StreamqError) as error:  # their words are for people, without secrets
            found[name] = Check(ok=False, detail=str(error))
        except Exception as error:  # a broken check says "not ready"; it must not take the endpoint down
            logger.exception("readiness_check_failed", extra={"check": name})
            found[name] = Check(ok=False, detail=type(error).__name__)


@contextlib.asynccontextmanager
async def serving(pages: Pages, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port. Raises OSError when the port is taken."""
    # Exclusive on purpose: with SO_REUSEPORT two workers would answer for each other by turns.
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port, reuse_port=False)
    connections = _Connections(pages)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, connections.serve)
        yield int(listener.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610 - no Django here
        group.cancel_scope.cancel()


class _Connections:
    """Those that are open: each with one request and one answer."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._open = 0
        #: Of those that have not asked yet, the longest open first.
        self._silent: list[anyio.CancelScope] = []

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        """One connection, to its end."""
        # The task ends here, whoever ended it. A cancellation in whose moment a timeout inside ran out is
        # nobody's by its text: anyio lets it through, and the listener would end with it, without a word.
        with contextlib.suppress(asyncio.CancelledError):
            async with stream:
                if self._open >= MAX_CONNECTIONS:
                    if not self._silent:
                        return  # unread: all others are being answered
                    self._silent.pop(0).cancel()
                self._open += 1
                try:
                    await self._talk(stream)
                finally:
                    self._open -= 1

    async def _talk(self, stream: anyio.abc.SocketStream) -> None:
        """What the other side does wrong ends the connection, nothing else."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            request = await self._asked(stream, connection)
            if request is None:
                return
            answer = await self._answer(request)
            await _send(stream, connection, answer, with_body=request.method != b"HEAD")
            await stream.send_eof()
        except h11.RemoteProtocolError as error:
            with contextlib.suppress(h11.LocalProtocolError, anyio.BrokenResourceError):
                await _send(stream, connection, Answer(error.error_status_hint, b"bad request\n"))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # it hung up
        except Exception:  # the endpoint must outlive a page that fails
            logger.exception("endpoint_failed")
            with contextlib.suppress(h11.LocalProtocolError, anyio.BrokenResourceError):
                await _send(stream, connection, Answer(500, b"failed; the log says why\n"))

    async def _asked(self, stream: anyio.abc.SocketStream, connection: h11.Connection) -> h11.Request | None:
        """The request; None: there came none in time, or another needed the place."""
        with anyio.move_on_after(HEAD_TIMEOUT) as scope:
            self._silent.append(scope)
            try:
                return await _read_head(stream, connection)
            finally:
                if scope in self._silent:
                    self._silent.remove(scope)
        return None

    async def _answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(405, b"GET or HEAD\n")
        with anyio.move_on_after(PAGE_TIMEOUT):
            return await self._pages.answer(request.target.decode("ascii", "replace"))
        return Answer(503, b"no answer within %g s\n" % PAGE_TIMEOUT)


async def _read_head(stream: anyio.abc.SocketStream, connection: h11.Connection) -> h11.Request | None:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        try:
            connection.receive_data(await stream.receive(MAX_HEAD))
        except anyio.EndOfStream:
            connection.receive_data(b"")


async def _send(
    stream: anyio.abc.SocketStream, connection: h11.Connection, answer: Answer, *, with_body: bool = True
) -> None:
    head = h11.Response(
        status_code=answer.status,
        headers=[
            ("content-type", answer.content_type),
            ("content-length", str(len(answer.body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ],
    )
    parts = (head, *([h11.Data(data=answer.body)] if with_body else []), h11.EndOfMessage())
    with anyio.move_on_after(SEND_TIMEOUT):
        await stream.send(b"".join(connection.send(part) or b"" for part in parts))
