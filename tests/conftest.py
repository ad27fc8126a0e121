"""The real parts tests run on: servers of their own, a real HTTP site, a database each.

server_url      an empty Redis database; the test runs once per server that was found
valkey_url      the same, on the bundled Valkey only
own_server      makes servers of the test's own, to kill, flush, freeze (`EmbeddedRedis`)
postgres_url    an empty PostgreSQL database
site            a scriptable HTTP site on this test's loop; thread_site: in a thread
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support import http, servers

SERVERS = [
    pytest.param("valkey", id="valkey"),
    pytest.param("redis", id="redis", marks=pytest.mark.needs_redis7),
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests that take longer than a minute")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="longer than a minute; runs with --soak"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


# --- Redis ----------------------------------------------------------------------------------------


class _Shared:
    """Servers of this process by name, started when first asked for."""

    def __init__(self) -> None:
        self._running: dict[str, servers.SharedServer] = {}

    def get(self, name: str) -> servers.SharedServer:
        if name not in self._running:
            program = servers.FINDERS[name]()
            if program is None:
                pytest.skip(f"no {name}-server found")
            self._running[name] = servers.SharedServer(program)
        return self._running[name]

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


@pytest.fixture(scope="session")
def _shared_servers() -> Iterator[_Shared]:
    shared = _Shared()
    yield shared
    shared.stop()


@pytest.fixture(params=SERVERS)
def server_url(request: pytest.FixtureRequest, _shared_servers: _Shared) -> str:
    return _shared_servers.get(request.param).fresh_url()


@pytest.fixture
def valkey_url(_shared_servers: _Shared) -> str:
    return _shared_servers.get("valkey").fresh_url()


@pytest.fixture
def own_server() -> Iterator[servers.OwnServers]:
    program = servers.find_valkey()
    if program is None:
        pytest.skip("no valkey-server found")
    own = servers.OwnServers(program)
    yield own
    own.stop()


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> AsyncIterator[http.Site]:
    async with http.serve() as running:
        yield running


@pytest.fixture
def thread_site() -> Iterator[http.Site]:
    with http.serve_in_thread() as running:
        yield running
