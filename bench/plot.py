"""A results file as one picture: python -m bench --show FILE --plot PICTURE.svg

Runs in an environment of its own (`bench/requirements/plot.txt`), for matplotlib is needed for this alone; so
it imports nothing of the project and reads, on standard input, what `python -m bench` has made ready for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures give the same file

from matplotlib import pyplot as plt  # noqa: E402 - after the kind of picture is chosen

COLUMNS = 3
OURS, THEIRS, LIMIT, TROUBLE = "#0b6e4f", "#8d99ae", "#d9d9d9", "#b00020"


def draw(panels: list[dict[str, Any]], title: str, out: Path) -> None:
    """Each panel: `title`, `unit`, `less` (less is better) and `bars` of name, value or None, label, role."""
    rows = -(-len(panels) // COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(6.4 * COLUMNS, 3.5 * rows), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        bars = panel["bars"]
        most = max((bar["value"] for bar in bars if bar["value"] is not None), default=1.0)
        for place, bar in enumerate(bars):
            value = bar["value"] or 0.0
            colour = {"ours": OURS, "limit": LIMIT}.get(bar["role"], THEIRS)
            axes.barh(place, value, color=colour, height=0.72)
            axes.text(
                value + most * 0.01,
                place,
                bar["label"],
                va="center",
                fontsize=8,
                color=TROUBLE if bar["value"] is None else "black",
                fontweight="bold" if bar["role"] == "ours" else "normal",
            )
        axes.set_yticks(range(len(bars)), [bar["name"] for bar in bars], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, most * 1.3)
        axes.set_xticks([])
        better = "less is better" if panel["less"] else "more is better"
        axes.set_title(f"{panel['title']}\n{better}", fontsize=9, loc="left")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    said = json.load(sys.stdin)
    draw(said["panels"], said["title"], Path(sys.argv[1]))
