"""The engines as processes: which there are, which can run here, and what each says when it has run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
#: Where `./dev bench` puts the peers, each in an environment of its own: they disagree about redis-py.
PEERS = ROOT / ".venv/bench"
NODE_MODULES = ROOT / "bench/node_modules"

#: Seconds an engine's process may take on top of the deadline it knows of.
GRACE = 15.0


class EngineFailed(Exception):  # noqa: N818 - reads as what it is
    """An engine's process ended badly, in its own last words."""


class Program(msgspec.Struct, frozen=True):
    """How an engine is started."""

    name: str
    title: str
    command: tuple[str, ...]
    #: A file that is there when it is installed.
    needs: Path | None = None
    #: Share of a drain's jobs it is given: one that takes a millisecond a job gets fewer, or a round
    #: would take minutes; its rate does not depend on how many there are.
    share: float = 1.0

    @property
    def is_here(self) -> bool:
        """Whether it can be started on this machine."""
        return (self.needs is None or self.needs.exists()) and shutil.which(self.command[0]) is not None


def _ours(name: str, title: str) -> Program:
    """Runs where the bench runs."""
    return Program(name, title, (sys.executable, "-m", f"bench.engines.{name}"))


def _peer(name: str, title: str, *, share: float = 0.25) -> Program:
    python = PEERS / name / "bin/python"
    command = (str(python), "-m", f"bench.engines.{name}")
    return Program(name, title, command, needs=PEERS / name / ".set-up", share=share)


#: In the order in which they run and are told.
PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        _ours("streamq", "streamq"),
        Program(
            "bullmq",
            "BullMQ (Node)",
            ("node", str(ROOT / "bench/engines/bullmq.mjs")),
            needs=NODE_MODULES / "bullmq/package.json",
        ),
        _peer("bullmq_python", "BullMQ (Python)"),
        _peer("taskiq", "taskiq-redis (stream)"),
        _peer("saq", "SAQ"),
        _peer("streaq", "streaQ"),
        _peer("arq", "arq"),
        _peer("dramatiq", "Dramatiq"),
        _peer("huey", "huey"),
        _peer("celery", "Celery"),
        _peer("rq", "RQ", share=0.05),
        _ours("raw", "raw loop (the limit)"),
    )
}


def call(program: Program, verb: str, *words: str, deadline: float = 120.0) -> dict[str, Any]:
    """Run the engine's program and return what its last line says. Raises EngineFailed."""
    command = [*program.command, verb, *words]
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline + GRACE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineFailed(f"{program.name} {verb} did not end within {deadline + GRACE:g} s") from None
    if "--profile" in words:
        print(ended.stderr, file=sys.stderr)
    try:
        if ended.returncode == 0:
            said = json.loads(ended.stdout.strip().splitlines()[-1])
            assert isinstance(said, dict)
            return said
    except (ValueError, IndexError, AssertionError):
        pass
    raise EngineFailed(f"{program.name} {verb} (exit {ended.returncode}): {_last_words(ended.stderr)}")


@contextmanager
def running(program: Program, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the engine, beside what the block does; killed at its end, with all that it started."""
    worker = subprocess.Popen(
        [*program.command, "work", *words],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield worker
    finally:
        kill(worker)


def kill(worker: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a worker and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "NODE_ENV": "production"}


def _last_words(text: str) -> str:
    lines: Sequence[str] = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "it said nothing"
