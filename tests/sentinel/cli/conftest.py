from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.main import main


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Nothing of this machine's environment; a state folder of its own."""
    return {"SENTINEL_STATE_DIR": str(tmp_path / "state")}


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """One call of the command line in this process: `run("stats", "--json")`."""

    def call(
        *arguments: str, stdin: str = "", terminal: bool = False, env: Mapping[str, str] | None = None
    ) -> Result:
        kind = Terminal if terminal else io.StringIO
        streams = {"stdin": kind(stdin), "stdout": kind(), "stderr": kind()}
        code = main(arguments, environ={**environ, **(env or {})}, streams=streams)
        return Result(code, streams["stdout"].getvalue(), streams["stderr"].getvalue())

    return call
