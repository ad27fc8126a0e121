"""What the runs came to, as lines a person reads and a file keeps."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sentinel.embedded import server_version
from tests.faults.nemesis.nursery import ROOT
from tests.support.servers import find_valkey

RESULTS = ROOT / "bench/results"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the scoreboard."""

    #: R1, R2 ...; several figures may have one.
    id: str
    what: str
    figure: str
    target: str = ""
    #: Seed, counts, seconds: what it takes to repeat it.
    run: str = ""
    #: None: a figure that is told and not judged.
    good: bool | None = True


def show(rows: Sequence[Row]) -> str:
    """A table."""
    heads = ("", "figure", "what", "found", "target", "of")
    cells = [heads]
    cells += [
        ({True: "ok", False: "BROKEN", None: ""}[row.good], row.id, row.what, row.figure, row.target, row.run)
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def keep(name: str, rows: Sequence[Row], *, extra: str = "") -> Path:
    """Write the table to bench/results, with the machine it was made on."""
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y-%m-%d}-faults-{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = f"{now:%Y-%m-%d %H:%M} UTC, {_machine()}\n\n{show(rows)}\n"
    file.write_text(text + (f"\n{extra}\n" if extra else ""))
    return file


def _machine() -> str:
    git = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    program = find_valkey()
    server = f"{program.name} {'.'.join(map(str, server_version(program)))}" if program else "no server"
    load = f"load {os.getloadavg()[0]:.1f} at the end"
    commit = git.stdout.strip() or "unknown"
    return f"commit {commit}, Python {platform.python_version()}, {server}, {os.cpu_count()} cores, {load}"
