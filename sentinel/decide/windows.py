"""Active hours: the windows of local time in which a rule is checked. Pure; seconds since the epoch.

The clock on the wall decides, as for quiet hours. An hour that daylight saving leaves out is in no window;
in the night that an hour comes twice, what lies in a window by the clock does so both times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sentinel.model import ActiveHours

_DAY: Final = 86400
#: Days looked at: each window comes once in a week, and once more where a night left it out.
_FORESIGHT: Final = 15
_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_GROUPS: Final = {"weekdays": frozenset(range(5)), "weekend": frozenset((5, 6))}

#: From, and up to but not at.
Window = tuple[float, float]


def is_active(hours: Sequence[ActiveHours], zone: ZoneInfo, now: float) -> bool:
    """Whether `now` lies in one of the windows; it does where there are none."""
    today = _day_of(zone, now)
    return not hours or any(start <= now < end for start, end in _windows_of(hours, zone, today))


def windows(hours: Sequence[ActiveHours], zone: ZoneInfo, now: float) -> Iterator[Window]:
    """The windows that end after `now`, in their order; those that touch are one. Two weeks of them."""
    today = _day_of(zone, now)
    open_: Window | None = None
    for number in range(_FORESIGHT):
        for start, end in _windows_of(hours, zone, today + timedelta(days=number)):
            if open_ is None:
                open_ = (start, end)
            elif start <= open_[1]:
                open_ = (open_[0], max(open_[1], end))
            else:
                if open_[1] > now:
                    yield open_
                open_ = (start, end)
    if open_ is not None and open_[1] > now:
        yield open_


def days_of(hours: ActiveHours) -> frozenset[int]:
    """Days of the week on which its windows begin, Monday is 0."""
    found: set[int] = set()
    for name in hours.days:
        found |= _GROUPS[name] if name in _GROUPS else {_NAMES.index(name)}
    return frozenset(found or range(7))


def _day_of(zone: ZoneInfo, now: float) -> date:
    """The local day; a datetime of the last fraction of a microsecond would be the next day's."""
    return datetime.fromtimestamp(math.floor(now), zone).date()


def _windows_of(hours: Sequence[ActiveHours], zone: ZoneInfo, day: date) -> list[Window]:
    """What lies on one day, the rest of last night's included; pieces by their start, as they are."""
    spans = list(_spans(hours, day))
    found = [
        (max(begin, midnight + start), min(end, midnight + stop))
        for begin, end, midnight in _pieces(zone, day)
        for start, stop in spans
    ]
    return sorted((start, end) for start, end in found if start < end)


def _spans(hours: Sequence[ActiveHours], day: date) -> Iterator[tuple[int, int]]:
    """Seconds of the day by its clock, from and to."""
    today, yesterday = day.weekday(), (day.weekday() - 1) % 7
    for one in hours:
        start, end, days = _seconds(one.start), _seconds(one.end), days_of(one)
        if today in days:
            yield start, end if start < end else _DAY
        if start > end and yesterday in days:
            yield 0, end


def _seconds(wall: str) -> int:
    hour, _, minute = wall.partition(":")
    return int(hour) * 3600 + int(minute) * 60


def _pieces(zone: ZoneInfo, day: date) -> Iterator[tuple[float, float, float]]:
    """The parts of a day in which the clock runs on: begin, end, and when it would have shown midnight."""
    begin = datetime.combine(day, time(), zone).timestamp()
    over = datetime.combine(day + timedelta(days=1), time(), zone).timestamp()
    while begin < over:
        offset = _offset(zone, begin)
        end = over if _offset(zone, over - 1) == offset else _jump(zone, begin, over)
        midnight = datetime.combine(day, time(), UTC).timestamp() - offset
        yield begin, end, midnight
        begin = end


def _jump(zone: ZoneInfo, begin: float, over: float) -> float:
    """When the clock is set, between two moments that differ in it; clocks are set on a full second."""
    offset = _offset(zone, begin)
    while over - begin > 1:
        middle = (begin + over) // 2
        if _offset(zone, middle) == offset:
            begin = middle
        else:
            over = middle
    return over


def _offset(zone: ZoneInfo, moment: float) -> float:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    return offset.total_seconds() if offset else 0.0
