"""The real parts tests run on: servers of their own, a real HTTP site, a database each.

server_url      an empty Redis database; the test runs once per server that was found
valkey_url      the same, on the bundled Valkey only
own_server      makes servers of the test's own, to kill, flush, freeze (`EmbeddedRedis`)
postgres_url    an empty PostgreSQL database
site            a scriptable HTTP site on this test's loop; thread_site: in a thread
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from sentinel.errors import EmbeddedRedisFailed
from tests.support import http, postgres, servers

FINDERS = {
    "valkey": servers.find_valkey,
    "redis": servers.find_redis,
    "postgres": postgres.find_postgres,
}
TITLES = {"valkey": "Valkey (bundled)", "redis": "Redis (Debian's)", "postgres": "PostgreSQL"}
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


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: compressed or random ones differ from one test process to the next."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


# --- servers: one of each per test process, started when first asked for ------------------------------


class _Shared:
    """The servers of this process by name."""

    def __init__(self) -> None:
        self._running: dict[str, servers.SharedServer | postgres.SharedPostgres] = {}
        self._broken: dict[str, str] = {}

    def fresh_url(self, name: str, request: pytest.FixtureRequest) -> str:
        """Skips the test, saying why, where the server cannot be had."""
        if name not in self._running and name not in self._broken:
            self._start(name)
        if name in self._broken:
            pytest.skip(self._broken[name])
        request.node.user_properties.append(("server", name))
        return self._running[name].fresh_url()

    def _start(self, name: str) -> None:
        program = FINDERS[name]()
        if program is None:
            self._broken[name] = f"{TITLES[name]} was not found"
            return
        try:
            self._running[name] = (postgres.SharedPostgres if name == "postgres" else servers.SharedServer)(
                program
            )
        except (postgres.PostgresError, EmbeddedRedisFailed, OSError) as error:
            self._broken[name] = f"{TITLES[name]} does not run here: {error}"

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


@pytest.fixture(scope="session")
def _shared() -> Iterator[_Shared]:
    shared = _Shared()
    yield shared
    shared.stop()


@pytest.fixture(params=SERVERS)
def server_url(request: pytest.FixtureRequest, _shared: _Shared) -> str:
    return _shared.fresh_url(request.param, request)


@pytest.fixture
def valkey_url(request: pytest.FixtureRequest, _shared: _Shared) -> str:
    return _shared.fresh_url("valkey", request)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, _shared: _Shared) -> str:
    return _shared.fresh_url("postgres", request)


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[servers.OwnServers]:
    program = servers.find_valkey()
    if program is None:
        pytest.skip(f"{TITLES['valkey']} was not found")
    request.node.user_properties.append(("server", "valkey"))
    own = servers.OwnServers(program)
    yield own
    own.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly which servers the tests ran on."""
    counts = Counter(
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in report.user_properties
        if name == "server"
    )
    terminalreporter.section("servers")
    for name, find in FINDERS.items():
        found = servers.describe(find())
        terminalreporter.line(f"{TITLES[name]:<22} {found:<24} {counts[name]} tests ran on it")


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> AsyncIterator[http.Site]:
    async with http.serve() as running:
        yield running


@pytest.fixture
def thread_site() -> Iterator[http.Site]:
    with http.serve_in_thread() as running:
        yield running
