"""A forward proxy of somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.support.http import Site


@dataclass
class Forward:
    """A forward proxy of somebody else's, which leads everywhere to one site."""

    port: int = 0
    #: First lines, and the header lines of each.
    asked: list[list[str]] = field(default_factory=list)
    answer: str = ""


@contextlib.asynccontextmanager
async def forwarding(site: Site) -> AsyncIterator[Forward]:
    """One on the loopback address."""
    forward = Forward()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            forward.asked.append(head.split("\r\n"))
            if forward.answer:
                writer.write(forward.answer.encode("latin-1"))
                return writer.close()
            inner_reader, inner = await asyncio.open_connection("127.0.0.1", site.port)
            if head.startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                method, url, rest = head.split(" ", 2)
                inner.write(f"{method} /{url.split('/', 3)[3]} {rest}".encode("latin-1"))
            await asyncio.wait(
                [
                    asyncio.ensure_future(_pump(reader, inner)),
                    asyncio.ensure_future(_pump(inner_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            inner.close()
        return writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    forward.port = server.sockets[0].getsockname()[1]
    try:
        yield forward
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
