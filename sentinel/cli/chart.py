"""The story of a rule's values as a chart: what is drawn, whichever way it is drawn.

Numbers, prices and dates are a line with steps; whatever else a value is, a band of states. Where
checks failed there is a gap, and changes and alerts have marks.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal

import msgspec

from sentinel.cli.entries import Entry, at_of
from sentinel.cli.output import printable
from sentinel.decide.values import describe, number_of
from sentinel.model import NumberValue, PriceValue, Value
from sentinel.store import Observation, StoredAlert

Mark = Literal["change", "alert"]

#: States that have a row of their own in a band; those after them share the last one.
MAX_STATES: Final = 8
#: Rows and narrowest width of a chart in a terminal, characters.
ROWS: Final = 12
NARROWEST: Final = 30
OTHER: Final = "(others)"


class Point(msgspec.Struct, frozen=True):
    """One check."""

    #: Seconds since the epoch.
    at: float
    #: None: it failed.
    value: float | str | None
    mark: Mark | None = None


class Chart(msgspec.Struct, frozen=True):
    """What is drawn, oldest first."""

    title: str
    points: tuple[Point, ...]
    #: What numbers are of; '' for none.
    unit: str = ""
    #: States from top to bottom; none: the values are numbers.
    states: tuple[str, ...] = ()

    @property
    def span(self) -> tuple[float, float]:
        """From when until when; never empty."""
        first, last = self.points[0].at, self.points[-1].at
        return first, last if last > first else first + 1

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest number, with room; never empty."""
        numbers = [one.value for one in self.points if isinstance(one.value, float)]
        low, high = min(numbers, default=0.0), max(numbers, default=0.0)
        room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        return low - room, high + room

    def height(self, value: float | str) -> float:
        """Where a value is drawn: 0 at the bottom to 1 at the top."""
        if isinstance(value, str):
            return 1 - (self.states.index(value) + 0.5) / len(self.states)
        low, high = self.limits
        return (value - low) / (high - low)


def chart_of(title: str, entries: Sequence[Entry], alerts: Sequence[StoredAlert]) -> Chart:
    """The chart of some checks, in any order."""
    told = {alert.run_id for alert in alerts if alert.kind == "change" and alert.suppressed is None}
    ordered = sorted(entries, key=at_of)
    numeric = [number_of(one.value) for one in ordered if isinstance(one, Observation)]
    if numeric and all(number is not None for number in numeric):
        points = [Point(at_of(one), _number(one), _mark(one, told)) for one in ordered]
        unit = next((word for one in reversed(ordered) if (word := _unit(one))), "")
        return Chart(title, tuple(points), unit)
    words = {one.run_id: _state(one.value) for one in ordered if isinstance(one, Observation)}
    counted: dict[str, int] = {}
    for word in words.values():
        counted[word] = counted.get(word, 0) + 1
    states = sorted(counted, key=lambda word: -counted[word])
    kept = states if len(states) <= MAX_STATES else [*states[: MAX_STATES - 1], OTHER]
    points = [Point(at_of(one), _kept(words, one, kept), _mark(one, told)) for one in ordered]
    return Chart(title, tuple(points), "", tuple(kept))


def _number(entry: Entry) -> float | None:
    number = number_of(entry.value) if isinstance(entry, Observation) else None
    if number is None:
        return None
    made = float(number)
    return made if math.isfinite(made) else None


def _unit(entry: Entry) -> str:
    match entry.value if isinstance(entry, Observation) else None:
        case PriceValue(currency=str() as word) | NumberValue(unit=str() as word):
            return printable(word)[:12]
        case _:
            return ""


def _state(value: Value) -> str:
    return printable(describe(value)).replace("\n", " ")[:24] or "(empty)"


def _kept(words: Mapping[int, str], entry: Entry, kept: Sequence[str]) -> str | None:
    word = words.get(entry.run_id) if isinstance(entry, Observation) else None
    return word if word is None or word in kept else OTHER


def _mark(entry: Entry, told: set[int | None]) -> Mark | None:
    if not isinstance(entry, Observation) or not entry.changed:
        return None
    return "alert" if entry.run_id in told else "change"


# --- in a terminal --------------------------------------------------------------------------------

#: Dots of a braille character, by column (0, 1) and row from the top (0 to 3).
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def in_terminal(chart: Chart, *, columns: int | None = None) -> list[str]:
    """Lines of text: the title, the picture, its marks, and the times below."""
    labels = _labels(chart)
    margin = max(len(label) for label in labels)
    width = max(NARROWEST, (columns or shutil.get_terminal_size().columns) - margin - 2)
    picture = _line(chart, width) if not chart.states else _band(chart, width)
    lines = [
        chart.title,
        *(f"{label:>{margin}} {row}".rstrip() for label, row in zip(labels, picture, strict=True)),
    ]
    lines.append(f"{'':>{margin}} {_marks(chart, width)}".rstrip())
    first, last = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") for at in chart.span)
    lines.append(f"{'':>{margin}} {first}{last:>{width - len(first)}}")
    lines.append(f"{'':>{margin}} ▲ alert  · change  x failed")
    return lines


def _labels(chart: Chart) -> list[str]:
    if chart.states:
        return list(chart.states)
    low, high = chart.limits
    labels = [""] * ROWS
    for row in (0, ROWS // 2, ROWS - 1):
        labels[row] = f"{high - (high - low) * row / (ROWS - 1):.6g} {chart.unit}".rstrip()
    return labels


def column_of(chart: Chart, at: float, width: int) -> int:
    """Which of `width` columns a moment falls in."""
    first, last = chart.span
    return min(width - 1, int((at - first) / (last - first) * width))


def _line(chart: Chart, width: int) -> list[str]:
    cells = [[0] * width for _ in range(ROWS)]

    def dot(x: int, y: int) -> None:
        cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]

    tall = ROWS * 4
    for here, following in pairwise([*chart.points, chart.points[-1]]):
        if here.value is None:
            continue
        x, y = column_of(chart, here.at, width * 2), _from_top(chart, here.value, tall)
        end = column_of(chart, following.at, width * 2)
        for step in range(x, max(end, x + 1)):
            dot(step, y)
        if following.value is not None:
            to = _from_top(chart, following.value, tall)
            for step in range(min(y, to), max(y, to) + 1):
                dot(end, step)
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in cells]


def _from_top(chart: Chart, value: float | str, tall: int) -> int:
    return min(tall - 1, max(0, round((1 - chart.height(value)) * (tall - 1))))


def _band(chart: Chart, width: int) -> list[str]:
    rows = {state: [" "] * width for state in chart.states}
    for here, following in pairwise([*chart.points, chart.points[-1]]):
        if isinstance(here.value, str):
            start, end = column_of(chart, here.at, width), column_of(chart, following.at, width)
            for column in range(start, max(end, start + 1)):
                rows[here.value][column] = "█"
    return ["".join(row) for row in rows.values()]


def _marks(chart: Chart, width: int) -> str:
    signs = [" "] * width
    rank = {" ": 0, "x": 1, "·": 2, "▲": 3}
    for point in chart.points:
        sign = "x" if point.value is None else {"alert": "▲", "change": "·", None: " "}[point.mark]
        column = column_of(chart, point.at, width)
        signs[column] = max(signs[column], sign, key=rank.__getitem__)
    return "".join(signs)
