"""Child processes that cost a fork each: a warmed parent makes them, so hundreds can be killed in a minute.

with Nursery(folder) as nursery:
    child = nursery.start("tests.faults.nemesis.crew:work", url=..., ...)
    os.kill(child, signal.SIGKILL)
    nursery.wait(child)
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]
#: What children need, imported once.
_WARM = ("tests.faults.nemesis.crew", "tests.faults.nemesis.points", "tests.faults.nemesis.mutants")
_PR_SET_PDEATHSIG = 1


class Nursery:
    """The warmed parent, seen from the test's process. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        #: Where children's output goes, one file each.
        self.folder = folder
        self._numbers = 0
        #: Process id -> how it ended, as the system tells it.
        self.ended: dict[int, int] = {}
        self._logs: dict[int, Path] = {}
        self._unread = b""

    def __enter__(self) -> Self:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            bufsize=0,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever still runs is killed: the kernel does it when their parent ends."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(10)
        self._parent.stdout.close()

    def start(self, function: str, **arguments: Any) -> int:
        """Run `module:function` in a child; its process id."""
        self._numbers += 1
        log = self.folder / f"child-{self._numbers}.log"
        assert self._parent.stdin is not None
        said = json.dumps({"function": function, "arguments": arguments, "log": str(log)})
        self._parent.stdin.write(said.encode() + b"\n")
        while True:
            for line in self._lines(30):
                if "started" in line:
                    self._logs[int(line["started"])] = log
                    return int(line["started"])

    def poll(self) -> None:
        """Learn who has ended."""
        self._lines(0)

    def wait(self, *children: int, seconds: float = 60.0) -> None:
        """Return when they have ended; raises TimeoutError."""
        late = time.monotonic() + seconds
        while not self.ended.keys() >= set(children):
            if time.monotonic() > late:
                missing = set(children) - self.ended.keys()
                raise TimeoutError(
                    f"{len(missing)} of {len(children)} children still live after {seconds:g} s"
                )
            self._lines(0.2)

    def log_of(self, child: int) -> str:
        """What it had to say; the last thousand characters."""
        return self._logs[child].read_text(errors="replace")[-1000:]

    def logs(self) -> str:
        """What children had to say for themselves."""
        return "\n".join(
            f"--- {file.name}\n{text[-2000:]}"
            for file in sorted(self.folder.glob("child-*.log"))
            if (text := file.read_text(errors="replace"))
        )

    def _lines(self, seconds: float) -> list[dict[str, Any]]:
        assert self._parent.stdout is not None
        if not select.select([self._parent.stdout], [], [], seconds)[0]:
            return []
        some = os.read(self._parent.stdout.fileno(), 65536)
        if not some:
            raise RuntimeError("the nursery has ended")
        *whole, self._unread = (self._unread + some).split(b"\n")
        lines = [json.loads(line) for line in whole]
        for line in lines:
            if "ended" in line:
                self.ended[line["ended"]] = line["status"]
        return lines


# --- the warmed parent --------------------------------------------------------------------------------


def main() -> None:
    """Forks a child for every line of its input; tells of every start and end."""
    for name in _WARM:
        importlib.import_module(name)
    gc.freeze()
    awake, wake = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    unread = b""
    while True:
        ready, _, _ = select.select([0, awake], [], [])
        if awake in ready:
            os.read(awake, 4096)
            _bury()
        if 0 in ready:
            some = os.read(0, 65536)
            if not some:
                return
            *whole, unread = (unread + some).split(b"\n")
            for line in whole:
                child = os.fork()
                if not child:
                    _live(json.loads(line))
                _tell({"started": child})


def _bury() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            _tell({"ended": child, "status": os.waitstatus_to_exitcode(status)})


def _tell(what: dict[str, int]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _live(task: dict[str, Any]) -> None:
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        module, _, name = task["function"].partition(":")
        getattr(importlib.import_module(module), name)(**task["arguments"])
        code = 0
    except BaseException:  # noqa: BLE001 - whatever ends a child is told in its log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
