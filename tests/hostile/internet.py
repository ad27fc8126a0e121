"""`sentinel-worker` as it is, on an internet that lies on loopback.

    HOSTILE_INTERNET=internet.json python -m tests.hostile.internet run

The guard keeps the policy of production: names and addresses are public to it. Below it, every name has
an address of a table (or one made of the name), and every dial of an address ends at a loopback port;
all are written down. An address that no public server can have is never dialled for real: that it was
asked for is written down as a breach.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore

#: Never public, though they look so.
_METADATA = ("168.63.129.16", "192.0.0.192", "100.100.100.200")


class Internet:
    """Names, addresses and where they lead, from a file."""

    def __init__(self, path: Path) -> None:
        table = json.loads(path.read_text(encoding="utf-8"))
        #: Name -> its answers, one for each lookup; the last one stays.
        self._answers: dict[str, list[list[str]]] = table["names"]
        #: Address -> loopback port; for all others by whether the port is one of TLS.
        self._lines: dict[str, int] = table["lines"]
        self._plain: int = table["plain"]
        self._secure: int = table["secure"]
        self._dials = Path(table["dials"])
        self._inner = httpcore.AnyIOBackend()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The next answer for a name."""
        answers = self._answers.get(host)
        if answers is None:
            number = zlib.crc32(host.encode())
            return [f"93.184.{200 + number % 50}.{1 + number // 50 % 250}"]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if not answer:
            raise OSError("no such name")
        return answer

    async def connect(self, address: str, port: int, seconds: float | None) -> httpcore.AsyncNetworkStream:
        """What a dial of a public address brings."""
        parsed = ip_address(address)
        breach = not parsed.is_global or parsed.is_multicast or address in _METADATA
        with self._dials.open("a", encoding="ascii") as file:
            file.write(f"{'BREACH' if breach else 'dialled'} {address} {port}\n")
        if breach:
            raise httpcore.ConnectError(f"nobody listens at {address}")
        leads = self._lines.get(address, self._secure if port in (443, 8443) else self._plain)
        return Pretending(await self._inner.connect_tcp("127.0.0.1", leads, seconds), (address, port))


class Pretending(httpcore.AsyncNetworkStream):
    """A stream that claims its other end is `address`."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, address: tuple[str, int]) -> None:
        self._inner = inner
        self._address = address

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        return Pretending(await self._inner.start_tls(*args, **kwargs), self._address)

    def get_extra_info(self, info: str) -> Any:
        return self._address if info == "server_addr" else self._inner.get_extra_info(info)


def install(internet: Internet) -> None:
    """Put it below the guard, which must not be imported yet: it takes both when it is."""
    if "sentinel.fetch.guard" in sys.modules:
        raise RuntimeError("too late: the guard has taken its resolver already")

    class Backend(httpcore.AnyIOBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> httpcore.AsyncNetworkStream:
            return await internet.connect(host, port, timeout)

    from sentinel.fetch import resolver

    resolver.system_resolve = internet.resolve
    httpcore.AnyIOBackend = Backend  # type: ignore[misc] # what the guard stands on


if __name__ == "__main__":
    install(Internet(Path(os.environ["HOSTILE_INTERNET"])))
    from sentinel.cli.main import main

    sys.exit(main(sys.argv[1:]))
