"""`run --processes N`: one command, one exit code, several real processes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
import yaml

from sentinel.cli.context import Cli
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.main import main
from sentinel.cli.run import _command_of, _environment_of
from sentinel.store import Store
from streamq import supervisor
from tests.sentinel.cli.conftest import Run
from tests.support.http import Reply, Site

ROOT = Path(__file__).resolve().parents[3]
#: Seconds anything here may take: a process imports for a second, or for ten on a busy machine.
DEADLINE = 100.0


class Family:
    """`run --processes 2` as a real process."""

    def __init__(self, folder: Path, *arguments: str, environ: dict[str, str]) -> None:
        self.folder = folder
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.parent = subprocess.Popen(
                [sys.executable, "-m", "sentinel.cli.main", "run", "--processes", "2", *arguments],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def pids(self) -> list[int]:
        """The workers; an embedded server is a child of another thread."""
        with contextlib.suppress(FileNotFoundError):
            pid = self.parent.pid
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def until_working(self, count: int) -> None:
        """So many workers have said that they work, since the start."""
        self.until(lambda: self.said.count("working on ") >= count or self.parent.poll() is not None)
        assert self.parent.poll() is None, self.said

    def exit_code(self) -> int:
        return self.parent.wait(DEADLINE)


@pytest.fixture
def family(environ: dict[str, str]) -> Iterator[Callable[..., Family]]:
    families: list[Family] = []
    with tempfile.TemporaryDirectory(prefix="sq-") as folder:  # short: an embedded server's socket lies in it

        def start(*arguments: str, env: dict[str, str] | None = None) -> Family:
            ours = environ | {"SENTINEL_STATE_DIR": folder} | (env or {})
            families.append(Family(Path(folder), *arguments, environ=ours))
            return families[-1]

        yield start
        for one in families:
            pids = one.pids()
            one.parent.kill()
            one.parent.wait()
            one.until(lambda pids=pids: not any(map(is_running, pids)))


def is_running(pid: int) -> bool:
    """False for a zombie too: who should collect it is not always there in a container."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


class TestFamilies:
    def test_a_burst_shares_what_is_due_and_ends_0(
        self, family: Callable[..., Family], thread_site: Site, tmp_path: Path
    ) -> None:
        # Given a fresh state folder, with no more than rules in it
        pages = [thread_site.route(f"/{n}", Reply(body=f"<b>{n} €</b>")) for n in range(12)]
        rules = tmp_path / "rules.yaml"
        rules.write_text(yaml.safe_dump({"workspace": {"id": "w"}, "rules": [rule(page) for page in pages]}))
        with tempfile.TemporaryDirectory(prefix="sq-") as state:
            env = {
                "SENTINEL_STATE_DIR": state,
                "SENTINEL_EMBEDDED": "true",
                "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
                "RATE_LIMITING_ENABLED": "false",
            }
            streams = {name: io.StringIO() for name in ("stdin", "stdout", "stderr")}
            assert main(["rules", "import", str(rules)], environ=env, streams=streams) == 0, streams["stderr"]

            # When two processes work it off
            one = family("--burst", env=env)

            # Then each rule was checked once, by whichever
            assert one.exit_code() == 0, one.said
            assert sorted(request.path for request in thread_site.requests) == sorted(
                f"/{n}" for n in range(12)
            )
            assert one.said.count("working on ") == 2

    def test_one_that_is_killed_is_replaced_and_all_drain_on_term(
        self, family: Callable[..., Family], valkey_url: str
    ) -> None:
        one = family("--redis-url", valkey_url, "--name", "box", "--metrics-port", "0")
        one.until_working(2)
        victim, other = one.pids()
        os.kill(victim, signal.SIGKILL)
        one.until_working(3)
        assert other in one.pids()
        assert victim not in one.pids()
        one.parent.terminate()
        assert one.exit_code() == 0, one.said
        assert [one.said.count(f"as box-{n}~") for n in (0, 1)] in ([1, 2], [2, 1])
        assert one.said.count("http://127.0.0.1:") == 3

    def test_a_killed_parent_leaves_neither_workers_nor_an_embedded_redis(
        self, family: Callable[..., Family]
    ) -> None:
        one = family("--embedded")
        one.until_working(2)
        pids = one.pids()
        assert len(servers_in(one.folder)) == 1
        one.parent.kill()
        # The workers end as by TERM, and one of them takes the server over until they have.
        one.until(lambda: not any(map(is_running, [*pids, *servers_in(one.folder)])))
        assert one.said.count("worker_stopping") == 2


def rule(page: str) -> dict[str, object]:
    return {
        "id": page.rpartition("/")[2],
        "url": page,
        "type": "price",
        "extraction": {"method": "css", "selector": "b"},
        "normalization": {"kind": "price", "currency": "EUR"},
        "schedule": {"intervalSeconds": 3600},
    }


def servers_in(folder: Path) -> list[int]:
    """Processes whose working folder is the embedded server's."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder / "redis":
                found.append(int(entry.name))
    return found


class TestRefusals:
    """Told once, before there is a process to say it too."""

    def test_bad_settings(self, run: Run) -> None:
        result = run("run", "--processes", "2", env={"SENTINEL_PROCESSES": "no", "REDIS_PORT": "x"})

        assert (result.code, result.err.count("error: ")) == (Exit.USAGE, 1)
        assert run("run", env={"SENTINEL_PROCESSES": "0"}).code == Exit.USAGE
        assert run("run", "--processes", "0").code == Exit.USAGE

    def test_an_unreachable_redis(self, run: Run) -> None:
        result = run("run", "--redis-url", "redis://127.0.0.1:1", env={"SENTINEL_PROCESSES": "2"})

        assert (result.code, result.err.count("error: ")) == (Exit.REDIS, 1)

    def test_a_named_database_that_nobody_migrated(self, run: Run, tmp_path: Path, valkey_url: str) -> None:
        url = f"sqlite:///{tmp_path}/named.db"

        result = run("run", "--processes=2", "--redis-url", valkey_url, "--database-url", url)

        assert (result.code, result.err.count("error: ")) == (Exit.DATABASE, 1)

    def test_ports_that_do_not_suffice(self, run: Run, valkey_url: str) -> None:
        result = run("run", "--processes=3", "--metrics-port=65534", "--redis-url", valkey_url)

        assert result.code == Exit.USAGE
        assert "65534 to 65536" in result.err

    def test_the_supervisor_means_the_same_by_handed_back(self) -> None:
        assert supervisor.HANDED_BACK == Exit.UNDRAINED


class TestCommandLines:
    @staticmethod
    def cli(*arguments: str, **environ: str) -> Cli:
        cli = Cli(environ, stdin=io.StringIO(), stdout=io.StringIO(), stderr=io.StringIO())
        cli.arguments = arguments
        return cli

    def test_each_process_gets_this_one_with_a_name_and_a_port_of_its_own(self) -> None:
        cli = self.cli("--json", "run", "--name", "x", SENTINEL_METRICS_PORT="9000", SENTINEL_PROCESSES="2")

        command = _command_of(cli, "x")

        assert command(1)[1:] == [
            "-P", "-m", "sentinel.cli.main", "--json", "run", "--name", "x",
            "--processes=1", "--name=x-1", "--metrics-port=9001",
        ]  # fmt: skip

    def test_port_0_is_any_for_each_and_no_port_is_none(self) -> None:
        assert _command_of(self.cli(SENTINEL_METRICS_PORT="0"), "x")(1)[-1] == "--metrics-port=0"
        assert _command_of(self.cli(), "x")(1)[-1] == "--name=x-1"

    def test_without_a_name_the_family_makes_one_of_its_own(self) -> None:
        one, other = (_command_of(self.cli(), None) for _ in range(2))

        assert one(0) == one(0)
        assert len({one(0)[-1], one(1)[-1], other(0)[-1]}) == 3

    def test_what_follows_a_double_dash_is_still_an_option(self) -> None:
        assert "--" not in _command_of(self.cli("run", "--"), "x")(0)

    def test_too_many_ports_are_refused(self) -> None:
        with pytest.raises(CommandError):
            _command_of(self.cli(SENTINEL_METRICS_PORT="65535", SENTINEL_PROCESSES="2"), "x")

    def test_a_process_finds_the_modules_of_this_one_and_not_of_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "sentinel.py").write_text("raise SystemExit('wrong one')")
        env = _environment_of(self.cli(PATH=os.environ["PATH"]))

        done = subprocess.run(
            [sys.executable, "-P", "-m", "sentinel.cli.main", "--help"],
            env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=DEADLINE,
        )  # fmt: skip

        assert done.returncode == 0, done.stderr


MIGRATE = """
import os, sys, anyio
from sentinel.store import Store

async def main():
    print("ready", flush=True)
    sys.stdin.read()
    async with Store.open(sys.argv[1]) as store:
        await store.migrate()
        await store.check_schema()

anyio.run(main)
"""


def test_processes_that_make_the_database_at_once_all_find_it_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state/sentinel.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    codes = [process.wait(DEADLINE) for process in processes]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()

    async def is_current() -> bool:
        async with Store.open(url) as store:
            return (await store.schema_status()).is_current

    assert codes == [0] * 4
    assert anyio.run(is_current)
