"""The real parts tests run on: servers of their own, a real HTTP site, a database each.

server_url      an empty Redis database; the test runs once per server that was found
valkey_url      the same, on the bundled Valkey only
own_server      makes servers of the test's own, to kill, flush, freeze (`EmbeddedRedis`)
postgres_url    an empty PostgreSQL database
site            a scriptable HTTP site on this test's loop; thread_site: in a thread
"""

from __future__ import annotations

import functools
import gc
import os
import platform
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis.utils
from hypothesis import HealthCheck, settings

from sentinel.errors import EmbeddedRedisFailed
from tests.support import fleets, http, postgres, scratch, servers

scratch.keep_in_memory()
# redis-py reads its own package's metadata from disk for every client, and every test has clients of its own.
redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)

# A shell that starts a command in the background has it ignore this, and all that it starts; tests send it.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no counterexample.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

FINDERS = {
    "valkey": servers.find_valkey,
    "redis": servers.find_redis,
    "newest": servers.find_newest_redis,
    "postgres": postgres.find_postgres,
}
TITLES = {
    "valkey": "Valkey (bundled)",
    "redis": "Redis (Debian's)",
    "newest": "Redis (newest)",
    "postgres": "PostgreSQL",
}
SERVERS = [
    pytest.param("valkey", id="valkey"),
    pytest.param("redis", id="redis", marks=pytest.mark.needs_redis7),
]
#: Every program in every form, besides the two above (which are asked over a Unix socket).
FLEETS = [
    pytest.param("newest", id="newest"),
    *(
        pytest.param(f"{program}-{form}", id=f"{program}-{form}")
        for program in ("valkey", "redis", "newest")
        for form in fleets.FORMS
    ),
]
#: What of them always runs: a form on one program each, and there the tests of these modules.
ALWAYS = {
    "valkey-sentinel": ("test_turns", "test_wait", "test_enqueue"),
    "valkey-cluster": ("test_turns", "test_wait", "test_enqueue", "test_partitions"),
    "valkey-tcp": ("test_turns",),
    "redis-tls": ("test_turns",),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests that take longer than a minute")
    parser.addoption(
        "--servers", choices=("some", "all"), default="some", help="all: on every server in every form"
    )
    parser.addoption(
        "--servers-out", type=Path, metavar="FILE", help="keep here how many tests ran on which server"
    )


def pytest_collection_finish() -> None:
    """What is there by now stays to the end: not to be looked through again and again for garbage."""
    gc.collect()
    gc.freeze()


#: Folders whose tests are whole worlds of processes, half a minute each.
WORLDS = ("scenarios", "hostile", "bench", "faults", "end_to_end")


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Worlds go first, and so all to the first test process: two at once would fight for the cores, and one that
    # is left for the end would keep the other process idle.
    items.sort(key=lambda item: item.path.parent.name not in WORLDS)
    if config.getoption("--servers") != "all":
        left_out = [item for item in items if _is_left_out(item)]
        if left_out:
            items[:] = [item for item in items if not _is_left_out(item)]
            config.hook.pytest_deselected(items=left_out)
    if not config.getoption("--soak"):
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="longer than a minute; runs with --soak"))


_FLEET_NAMES = frozenset(str(param.values[0]) for param in FLEETS)


def _is_left_out(item: pytest.Item) -> bool:
    """On a server that only `--servers all` asks for."""
    params = (
        item.callspec.params.values()
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else ()
    )
    names = [name for name in params if isinstance(name, str) and name in _FLEET_NAMES]
    return any(item.path.stem not in ALWAYS.get(name, ()) for name in names)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: compressed or random ones differ from one test process to the next."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def disk_path() -> Iterator[Path]:
    """A test's folder as `tmp_path`, for what may not lie under /dev."""
    with tempfile.TemporaryDirectory(prefix="sq-", dir=scratch.DISK) as name:
        yield Path(name)


# --- servers: one of each per test process, started when first asked for ------------------------------


class Shared:
    """The servers of this process by name."""

    def __init__(self) -> None:
        self._running: dict[str, servers.SharedServer | servers.SharedFleet | postgres.SharedPostgres] = {}
        self._broken: dict[str, str] = {}

    def fresh_url(self, name: str, request: pytest.FixtureRequest) -> str:
        """Skips the test, saying why, where the server cannot be had."""
        return self._running_one(name, request).fresh_url()

    def migrated_postgres_url(self, request: pytest.FixtureRequest, migrate: Callable[[str], object]) -> str:
        """Of a database that `migrate` was done to, once for all tests of this process."""
        server = self._running_one("postgres", request)
        assert isinstance(server, postgres.SharedPostgres)
        return server.copied_url("migrated", migrate)

    def fresh_urls(self, name: str, request: pytest.FixtureRequest) -> tuple[str, str]:
        """One for a broker, and one for a plain client to the server that has the key `jobs`."""
        server = self._running_one(name, request)
        url = server.fresh_url()
        return url, server.holder_url("jobs") if isinstance(server, servers.SharedFleet) else url

    def _running_one(
        self, name: str, request: pytest.FixtureRequest
    ) -> servers.SharedServer | servers.SharedFleet | postgres.SharedPostgres:
        if name not in self._running and name not in self._broken:
            self._start(name)
        if name in self._broken:
            pytest.skip(self._broken[name])
        request.node.user_properties.append(("server", name))
        return self._running[name]

    def _start(self, name: str) -> None:
        which, _, form = name.partition("-")
        program = FINDERS[which]()
        if program is None:
            self._broken[name] = f"{TITLES[which]} was not found"
            return
        try:
            if form:
                self._running[name] = servers.SharedFleet(fleets.FORMS[form](program))
            else:
                self._running[name] = (
                    postgres.SharedPostgres if name == "postgres" else servers.SharedServer
                )(program)
        except fleets.NoTlsError:
            self._broken[name] = f"{TITLES[which]} was built without TLS"
        except (postgres.PostgresError, EmbeddedRedisFailed, OSError) as error:
            self._broken[name] = f"{TITLES[which]} does not run here: {error}"

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


@pytest.fixture(scope="session")
def _shared() -> Iterator[Shared]:
    shared = Shared()
    yield shared
    shared.stop()


@pytest.fixture(params=SERVERS)
def server_url(request: pytest.FixtureRequest, _shared: Shared) -> str:
    return _shared.fresh_url(request.param, request)


@pytest.fixture
def valkey_url(request: pytest.FixtureRequest, _shared: Shared) -> str:
    return _shared.fresh_url("valkey", request)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, _shared: Shared) -> str:
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say plainly which servers the tests ran on."""
    lines = _servers(terminalreporter)
    terminalreporter.section("servers")
    for line in lines:
        terminalreporter.line(line)
    file: Path | None = config.getoption("--servers-out")
    if file:
        file.write_text("\n".join((*_outcome(terminalreporter), "", *lines, "")))


def _servers(terminalreporter: pytest.TerminalReporter) -> list[str]:
    counts = Counter(
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in report.user_properties
        if name == "server"
    )
    lines = []
    for name in (*FINDERS, *sorted(counts.keys() - FINDERS.keys())):
        which, _, form = name.partition("-")
        found = servers.describe(FINDERS[which]()) if which in FINDERS else ""
        if form:
            found = f"{found}, {form}"
        lines.append(f"{TITLES.get(which, which):<22} {found:<32} {counts[name]} tests ran on it")
    return lines


def _outcome(terminalreporter: pytest.TerminalReporter) -> list[str]:
    """When and where, how many, and which were not well."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    kinds = ("passed", "failed", "error", "skipped")
    counts = ", ".join(f"{len(terminalreporter.getreports(kind)):,} {kind}" for kind in kinds)
    bad = [report.nodeid for kind in ("failed", "error") for report in terminalreporter.getreports(kind)]
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit.stdout.strip() or 'unknown'}"
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    return [f"{made}, {machine}", counts, *(f"not well: {nodeid}" for nodeid in bad)]


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> AsyncIterator[http.Site]:
    async with http.serve() as running:
        yield running


@pytest.fixture
def thread_site() -> Iterator[http.Site]:
    with http.serve_in_thread() as running:
        yield running
