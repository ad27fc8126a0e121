"""A small internet on the loopback address.

Public names and public addresses lead to a test's own server, so that the guard runs under the
strict policy it has in production: it never learns that what it dialled is loopback.
"""

# ruff: noqa: ASYNC109 - the signatures are httpcore's and the resolver's
from __future__ import annotations

import csv
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpcore

DATA = Path(__file__).parent / "data"

#: A real public address; nothing is ever sent to it from here.
PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "93.184.216.35"


def hostile(kind: str, name: str = "hostile-inputs-dev.csv") -> list[dict[str, str]]:
    """The rows of one kind; inputs that are Python expressions are evaluated where they stand alone."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == kind]


def text_of(row: dict[str, str]) -> str:
    written = row["input"]
    return eval(written[3:]) if written.startswith("py:") else written  # noqa: S307 - our own list


def url_rows() -> list[tuple[str, str]]:
    """Of the list that is shared, and of our own."""
    rows = [*hostile("url"), *hostile("url", "hostile-urls.csv")]
    return [(text_of(row), row["expected"]) for row in rows]


class Names:
    """A resolver: each lookup of a name takes its next answer, the last one stays."""

    def __init__(self) -> None:
        self._answers: dict[str, list[Sequence[str]]] = {}
        self.asked: list[str] = []

    def set(self, name: str, *answers: Sequence[str]) -> None:
        self._answers[name] = list(answers)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self._answers.get(host)
        if answers is None:
            raise OSError(f"no such name {host}")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Switchboard(httpcore.AsyncNetworkBackend):
    """Dials loopback servers in place of public addresses, and writes down every dial."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._lines: dict[str, int] = {}
        #: Address -> the address the connection claims to have reached.
        self.diverted: dict[str, str] = {}
        self.dialled: list[tuple[str, int]] = []

    def connect(self, address: str, port: int) -> None:
        """Dials of `address`, whatever the port, end at the loopback port `port`."""
        self._lines[address] = port

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        if host not in self._lines:
            raise httpcore.ConnectError(f"nobody listens at {host}")
        stream = await self._inner.connect_tcp("127.0.0.1", self._lines[host], timeout)
        return _Pretending(stream, (self.diverted.get(host, host), port))

    async def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        raise AssertionError("a Unix socket was dialled")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Pretending(httpcore.AsyncNetworkStream):
    """A stream that claims its other end is `address`."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, address: tuple[str, int]) -> None:
        self._inner = inner
        self._address = address

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        secured = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _Pretending(secured, self._address)

    def get_extra_info(self, info: str) -> Any:
        return self._address if info == "server_addr" else self._inner.get_extra_info(info)
