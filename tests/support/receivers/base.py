"""What every receiver has in common: troubles first, then the service's own rules."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from sentinel.model import Channel
from tests.support.http import RawHandler, Reply, Request, Site, send, serve, serve_in_thread

#: Self-signed, and made out to another name.
_UNTRUSTED = Path(__file__).parents[2] / "sentinel" / "fetch" / "data" / "shop.pem"
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")

Trouble = Reply | RawHandler


@dataclass(frozen=True)
class Accepted:
    """A message that the service took."""

    id: str
    payload: dict[str, Any]
    request: Request


class Receiver(ABC):
    """One service."""

    #: The type of channel that is sent here.
    kind: ClassVar[str]
    #: What is documented of its payload: a msgspec type, whose lengths count UTF-16.
    schema: ClassVar[Any] = dict
    #: Errors that the service documents, by its name for them.
    documented: ClassVar[dict[str, Reply]] = {}

    def __init__(self, site: Site) -> None:
        self.site = site
        self.accepted: list[Accepted] = []
        #: Why payloads were refused.
        self.refused: list[str] = []
        self.always: Trouble | None = None
        self._troubles: deque[Trouble] = deque()
        site.default = self._handle

    # --- what tests use ---

    @property
    def requests(self) -> list[Request]:
        return self.site.requests

    @property
    def ids(self) -> Counter[str]:
        """How often each message was accepted."""
        return Counter(message.id for message in self.accepted)

    def trouble(self, *troubles: Trouble) -> None:
        """What the next requests meet, one each; then all is as usual."""
        self._troubles.extend(troubles)

    @property
    @abstractmethod
    def credentials(self) -> dict[str, str]:
        """What a channel to here authenticates with, by name."""

    def channel(self, name: str = "ops", **other: Any) -> Channel:
        """A channel that leads here."""
        return Channel(id=name, type=self.kind, **self.place(), **other)  # type: ignore[arg-type] # a ChannelType

    def place(self) -> dict[str, Any]:
        """The fields of the channel that say where."""
        return {}

    @abstractmethod
    def rate_limited(self, seconds: float) -> Reply:
        """Too many requests, as this service says it."""

    # --- what a service is ---

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """The documented answer to `request`; what is accepted is noted with `accept`."""

    def accept(self, request: Request, payload: dict[str, Any], *, known_as: str | None = None) -> None:
        message = known_as or request.headers.get("webhook-id", "")
        self.accepted.append(Accepted(message, payload, request))

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> None:
        trouble = self._troubles.popleft() if self._troubles else self.always
        if trouble is None:
            trouble = self.answer(request)
        if isinstance(trouble, Reply):
            await send(trouble, request, writer)
        else:
            await trouble(request, writer)

    def decoded(self, request: Request) -> dict[str, Any] | str:
        """The payload, or why it is refused."""
        if not request.headers.get("content-type", "").startswith("application/json"):
            problem = "the content type is not JSON"
        else:
            try:
                payload = json.loads(request.body)
            except ValueError as error:
                problem = str(error)
            else:
                problem = self.problem(payload)
        if problem:
            self.refused.append(problem)
            return problem
        assert isinstance(payload, dict)
        return payload

    def problem(self, payload: Any) -> str:
        """Why `payload` is not one that the service documents; '' if it is."""
        try:
            msgspec.convert(widened(payload), self.schema, strict=True)
        except msgspec.ValidationError as error:
            return str(error)
        return self.excess(payload)

    def excess(self, payload: dict[str, Any]) -> str:
        """Which limit over several fields, or beyond their schema, is not kept; '' if all are."""
        return ""


R = TypeVar("R", bound=Receiver)


@contextlib.asynccontextmanager
async def opened(kind: type[R], *, broken_tls: bool = False) -> AsyncIterator[R]:
    """A receiver on the running loop."""
    async with serve(tls=_untrusted() if broken_tls else None) as site:
        yield kind(site)


@contextlib.contextmanager
def opened_in_thread(kind: type[R], *, broken_tls: bool = False) -> Iterator[R]:
    """The same on a loop of its own in a thread, for tests that start processes."""
    with serve_in_thread(tls=_untrusted() if broken_tls else None) as site:
        yield kind(site)


def _untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_UNTRUSTED)
    return context


def reply(status: int, body: Any, **headers: str) -> Reply:
    """JSON, or text as it is."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, str):
        return Reply(status, body, content_type="text/plain", headers=named)
    return Reply(status, json.dumps(body), content_type="application/json", headers=named)


# --- troubles -----------------------------------------------------------------------------------------


async def dropped(request: Request, writer: asyncio.StreamWriter) -> None:
    """The connection is reset after the request was read: was it accepted? Nobody knows."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
    """No answer, ever."""
    await asyncio.Event().wait()


def slow(seconds: float, status: int = 200) -> Reply:
    return Reply(status, "ok", delay=seconds)


def redirected(to: str) -> Reply:
    return Reply(302, headers={"Location": to})


# --- schemas ------------------------------------------------------------------------------------------


def widened(value: Any) -> Any:
    """`value` with each character outside the BMP as two, so that lengths are those of UTF-16."""
    match value:
        case str():
            return _ASTRAL.sub("xx", value)
        case list():
            return [widened(one) for one in value]
        case dict():
            return {widened(key): widened(one) for key, one in value.items()}
    return value


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a payload: only documented fields."""
