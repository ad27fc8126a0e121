"""The server under every engine, and what it counts while one of them works."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import redis

from sentinel.embedded import EmbeddedRedis, bundled_server, server_version

#: The bench's own commands, which no engine sends; left out of the count.
_OURS = (
    "info",
    "config|resetstat",
    "flushall",
    "client|setinfo",
    "client|setname",
    "select",
    "ping",
    "hello",
)


class Counters(msgspec.Struct, frozen=True):
    """A look at the server; two of them are subtracted."""

    #: User and system seconds.
    cpu: float
    commands: int
    reads: int
    #: Bytes.
    memory: int


def find(wanted: str) -> Path:
    """`valkey`: the bundled one; `redis`: the one on PATH; else a path. Raises FileNotFoundError."""
    bundled = bundled_server() if wanted == "valkey" else None
    found = bundled or shutil.which({"valkey": "valkey-server", "redis": "redis-server"}.get(wanted, wanted))
    if found is None:
        raise FileNotFoundError(f"there is no server {wanted!r} here")
    return Path(found).absolute()


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One empty server on a loopback port, appendonly off, for as long as the block lasts."""

    def __init__(self, program: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._port = free_port()
        self._server = EmbeddedRedis(
            Path(self._folder.name), binary=program, appendonly=False, port=self._port
        )
        self.name = f"{program.name} {'.'.join(map(str, server_version(program)))}"

    def __enter__(self) -> Self:
        self._server.start()
        self._client = redis.Redis(port=self._port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._server.stop()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Where engines find it."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._server.pid

    def empty(self) -> None:
        """Forget all jobs, and start counting from nothing."""
        # SYNC: Valkey frees in the background by default, and would be counted as smaller and busier later.
        self._client.execute_command("FLUSHALL SYNC")  # type: ignore[no-untyped-call]
        self._client.config_resetstat()

    @contextmanager
    def appending(self, *, on: bool) -> Iterator[None]:
        """With an append-only file, fsync every second, for as long as the block lasts."""
        if not on:
            yield
            return
        self._client.config_set("appendfsync", "everysec")
        self._client.config_set("appendonly", "yes")
        try:
            while True:
                info: Any = self._client.info("persistence")
                if not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
                    break
                time.sleep(0.05)
            yield
        finally:
            self._client.config_set("appendonly", "no")

    def counters(self) -> Counters:
        """As of now."""
        # Not typed by the client library: asynchronous or not is one signature there.
        info: Any = self._client.info("everything")
        calls = sum(
            said["calls"]
            for name, said in info.items()
            if name.startswith("cmdstat_") and name.removeprefix("cmdstat_") not in _OURS
        )
        return Counters(
            cpu=info["used_cpu_user"] + info["used_cpu_sys"],
            commands=calls,
            reads=info["total_reads_processed"],
            memory=info["used_memory"],
        )
