"""`sentinel-worker` as real processes, on a state folder and servers of the test's own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sentinel.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]
#: Seconds a command may take on a machine that has much else to do.
PATIENCE = 120.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Program:
    """The command line in one environment; nothing of this machine's own settings reaches it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        ours = {"PYTHONPATH": str(REPOSITORY), "SENTINEL_STATE_DIR": str(self.folder)}
        return kept | ours | dict(self.environ)

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> Done:
        """Run one command to its end, which must be `code`."""
        ran = subprocess.run(
            [sys.executable, "-m", "sentinel.cli.main", *arguments],
            input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE,
            cwd=self.folder, env=self.environment,
        )  # fmt: skip
        assert ran.returncode == code, f"{' '.join(arguments)}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return Done(ran.returncode, ran.stdout, ran.stderr)

    def here(self, *arguments: str, code: int = 0) -> Done:
        """The same in this process, which spares a second of imports; for what only looks."""
        streams = {name: io.StringIO() for name in ("stdin", "stdout", "stderr")}
        ended = main(arguments, environ=self.environment, streams=streams)
        done = Done(ended, streams["stdout"].getvalue(), streams["stderr"].getvalue())
        assert ended == code, f"{' '.join(arguments)}: {done}"
        return done

    def stats(self, *options: str) -> dict[str, dict[str, Any]]:
        """`stats --json` by stream."""
        return {line["stream"]: line for line in self.here("stats", "--json", *options).lines}


def wait_until(moments: Sequence[str]) -> None:
    """Return when the latest of some ISO 8601 moments has come."""
    latest = max(datetime.fromisoformat(moment).timestamp() for moment in moments)
    while (left := latest - time.time()) > 0:
        assert left < PATIENCE, "that is not soon"
        time.sleep(left)
