"""A shop to watch: pages of 60 KB over loopback, in a process of their own.

python -m bench.pages PORT

/same/N      the same bytes each time
/noise/N     everything around the price changes, the price does not
/change/N    the price changes each time
/-/stats     {"pages": ..., "first": ..., "last": ...}: served since the last /-/reset; monotonic seconds
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from typing import Final

#: Bytes of a page, about.
SIZE: Final = 60_000

_WORDS: Final = (
    "steel",
    "bolt",
    "widget",
    "garden",
    "lamp",
    "cable",
    "holder",
    "red",
    "large",
    "small",
    "set",
)


def _card(chance: random.Random) -> str:
    words = " ".join(chance.choices(_WORDS, k=18))
    link = f'<a href="/item/{chance.randrange(10**6)}">{words}</a>'
    return (
        f'<div class="card"><img src="/i/{chance.randrange(10**6)}.jpg" alt="">{link}<p>{words}</p></div>\n'
    )


def _cards(seed: int) -> str:
    chance, cards, size = random.Random(seed), [], 0
    while size < SIZE // 2:
        cards.append(_card(chance))
        size += len(cards[-1])
    return "".join(cards)


_ABOVE: Final = _cards(1)
_BELOW: Final = _cards(2)
_NUMBERS: Final = itertools.count(1)


def page(kind: str, name: str) -> bytes:
    """One page, as it is served now."""
    number = next(_NUMBERS)
    noise = (
        f"<p>token {number:x}, {random.random()}, {number % 60} people look at this</p>"
        if kind != "same"
        else ""
    )
    cents = 10_000 + number if kind == "change" else 12_999
    return (
        f"<!doctype html><html><head><title>Widget {name}</title></head><body><h1>Widget {name}</h1>"
        f"{noise}{_ABOVE}<p>Price: <span class='price'>€ {cents / 100:.2f}</span></p>{noise}{_BELOW}"
        "</body></html>"
    ).encode()


class Shop(asyncio.Protocol):
    """HTTP/1.1, kept alive, no more of it than clients of loopback need."""

    pages = 0
    first = last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, self._received = self._received.split(b"\r\n\r\n", 1)
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, path: str) -> None:
        _, kind, name = (path + "//").split("/")[:3]
        if kind == "-":
            told = {"pages": Shop.pages, "first": Shop.first, "last": Shop.last}
            if name == "reset":
                Shop.pages = 0
            self._send(json.dumps(told).encode(), "application/json")
            return
        if kind not in ("same", "noise", "change"):  # robots.txt, favicon.ico
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        Shop.last = time.monotonic()
        if Shop.pages == 0:
            Shop.first = Shop.last
        Shop.pages += 1
        self._send(page(kind, name), "text/html; charset=utf-8")

    def _send(self, body: bytes, media_type: str) -> None:
        self._transport.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Shop, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
