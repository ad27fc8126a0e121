"""A chart as a PNG, drawn by Pillow (the extra `plot`).

matplotlib would bring 60 MB and half a second for one line with steps; what is needed of it is below.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from sentinel.cli.chart import Chart, Point
from sentinel.cli.exits import CommandError, Exit

# `Any` is Pillow, which is there or not.

WIDTH: Final = 1200
HEIGHT: Final = 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 150, 30, 56, 84
#: Okabe and Ito's palette: told apart by the colour-blind too.
_PAPER, _INK, _FAINT = (255, 255, 255), (40, 40, 40), (214, 214, 214)
_LINE, _ALERT, _FAILED = (0, 114, 178), (213, 94, 0), (240, 228, 215)
_STATES: Final = (
    (0, 158, 115), (213, 94, 0), (86, 180, 233), (230, 159, 0), (0, 114, 178), (204, 121, 167),
    (120, 120, 120), (170, 170, 170),
)  # fmt: skip


def png(chart: Chart) -> bytes:
    """The picture. Raises CommandError where Pillow is not installed."""
    try:
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = "pip install 'sentinel-worker[plot]'; without --out it is drawn in the terminal"
        raise CommandError(Exit.FAILED, "a picture needs Pillow", hint) from error
    image = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    drawing = _Drawing(ImageDraw.Draw(image), ImageFont, chart)
    drawing.all()
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


class _Drawing:
    """One chart on one sheet."""

    def __init__(self, draw: Any, fonts: Any, chart: Chart) -> None:
        self._draw = draw
        self._font = fonts.load_default(15)
        self._big = fonts.load_default(20)
        self._chart = chart
        self._pairs = list(pairwise([*chart.points, chart.points[-1]]))

    def all(self) -> None:
        """Everything, what lies below first."""
        self._draw.text((_LEFT, 16), self._chart.title[:90], _INK, self._big)
        self._failures()
        self._times()
        if self._chart.states:
            self._band()
        else:
            self._line()
        self._marks()
        self._legend()

    def _x(self, at: float) -> float:
        first, last = self._chart.span
        return _LEFT + (at - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float | str) -> float:
        return HEIGHT - _BOTTOM - self._chart.height(value) * (HEIGHT - _TOP - _BOTTOM)

    def _failures(self) -> None:
        for here, following in self._pairs:
            if here.value is None:
                box = (
                    self._x(here.at),
                    _TOP,
                    max(self._x(following.at), self._x(here.at) + 2),
                    HEIGHT - _BOTTOM,
                )
                self._draw.rectangle(box, _FAILED)

    def _times(self) -> None:
        first, last = self._chart.span
        form = "%Y-%m-%d" if last - first > 6 * 86_400 else "%m-%d %H:%M"
        for number in range(6):
            at = first + (last - first) * number / 5
            words = datetime.fromtimestamp(at, UTC).strftime(form)
            self._draw.line((self._x(at), _TOP, self._x(at), HEIGHT - _BOTTOM), _FAINT)
            self._draw.text(
                (self._x(at), HEIGHT - _BOTTOM + 26),
                words,
                _INK,
                self._font,
                anchor="mt" if number < 5 else "rt",
            )

    def _line(self) -> None:
        low, high = self._chart.limits
        for number in range(5):
            value = low + (high - low) * number / 4
            self._draw.line((_LEFT, self._y(value), WIDTH - _RIGHT, self._y(value)), _FAINT)
            words = f"{value:.6g} {self._chart.unit}".rstrip()
            self._draw.text((_LEFT - 10, self._y(value)), words, _INK, self._font, anchor="rm")
        for here, following in self._pairs:
            if here.value is None:
                continue
            x, y, end = self._x(here.at), self._y(here.value), self._x(following.at)
            self._draw.line((x, y, max(end, x + 2), y), _LINE, 3)
            if following.value is not None:
                self._draw.line((end, y, end, self._y(following.value)), _LINE, 3)

    def _band(self) -> None:
        half = (HEIGHT - _TOP - _BOTTOM) / len(self._chart.states) * 0.32
        for number, state in enumerate(self._chart.states):
            y = self._y(state)
            self._draw.text((_LEFT - 10, y), state[:17], _INK, self._font, anchor="rm")
            for here, following in self._pairs:
                if here.value == state:
                    x = self._x(here.at)
                    box = (x, y - half, max(self._x(following.at), x + 2), y + half)
                    self._draw.rectangle(box, _STATES[number % len(_STATES)])

    def _marks(self) -> None:
        for point in self._chart.points:
            if point.mark is not None and point.value is not None:
                self._mark(self._x(point.at), self._y(point.value), point)

    def _mark(self, x: float, y: float, point: Point) -> None:
        if point.mark == "alert":
            self._draw.polygon(((x, y - 9), (x - 9, y + 7), (x + 9, y + 7)), _ALERT, _PAPER)
        else:
            self._draw.ellipse((x - 5, y - 5, x + 5, y + 5), _PAPER, _INK, 2)

    def _legend(self) -> None:
        y, x = HEIGHT - 26, _LEFT
        self._draw.polygon(((x, y - 8), (x - 8, y + 6), (x + 8, y + 6)), _ALERT)
        self._draw.text((x + 16, y), "alert", _INK, self._font, anchor="lm")
        self._draw.ellipse((x + 85, y - 5, x + 95, y + 5), _PAPER, _INK, 2)
        self._draw.text((x + 103, y), "change", _INK, self._font, anchor="lm")
        self._draw.rectangle((x + 180, y - 8, x + 200, y + 8), _FAILED)
        self._draw.text((x + 208, y), "checks failed; times are UTC", _INK, self._font, anchor="lm")
