"""What the picture of a results file shows: a panel a scenario, a bar an engine, the best first."""

from __future__ import annotations

import subprocess
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import msgspec

from bench import table
from bench.fleet import ROOT
from bench.measure import Measure, Results

PYTHON: Final = ROOT / ".venv/bench/plot/bin/python"
LIMIT: Final = "raw"


class NoPictureError(Exception):
    """Why none was drawn."""


def panels(results: Results, titles: dict[str, str], names: dict[str, str]) -> list[dict[str, Any]]:
    """For `bench/plot.py`: the best run of every engine in every scenario that was measured."""
    found = []
    for scenario, title in titles.items():
        best = {
            name: table.best(runs)
            for name in names
            if (runs := [one for one in results.measures if (one.scenario, one.engine) == (scenario, name)])
        }
        if not best:
            continue
        less = not any(one.rate is not None for one in best.values())
        bars = [_bar(one, names[name]) for name, one in best.items()]
        bars.sort(key=lambda bar: _place(bar["value"], less=less))
        found.append({"title": fill(title, 60), "less": less, "bars": bars})
    return found


def draw(results: Results, titles: dict[str, str], names: dict[str, str], out: Path) -> None:
    """Writes the picture (SVG); `NoPictureError` where matplotlib's environment is not set up."""
    if not PYTHON.exists():
        raise NoPictureError("matplotlib is not installed for it: ./dev bench does that")
    machine = ", ".join(f"{key} {value}" for key, value in results.machine.items())
    said = {"title": f"{results.made} UTC: {machine}", "panels": panels(results, titles, names)}
    run = subprocess.run(
        [PYTHON, Path(__file__).with_name("plot.py"), out.absolute()],
        input=msgspec.json.encode(said),
        capture_output=True,
        check=False,
    )
    if run.returncode:
        raise NoPictureError(run.stderr.decode(errors="replace").strip().rpartition("\n")[2])


def _bar(one: Measure, name: str) -> dict[str, Any]:
    value = table.value(one)
    label = table.figure(one) if value is not None else f"{one.missing} not run" if one.missing else "failed"
    role = {table.OURS: "ours", LIMIT: "limit"}.get(one.engine, "theirs")
    return {"name": name, "value": value, "label": label, "role": role}


def _place(value: float | None, *, less: bool) -> float:
    if value is None:
        return float("inf")
    return value if less else -value
