"""Local time of a workspace: quiet hours and the windows of digests. Pure; seconds since the epoch.

The clock on the wall decides. In the night that an hour is left out, quiet hours that end within it
end when the clock jumps over it; in the night that an hour comes twice, what is quiet by the clock is
so both times.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sentinel.decide.schedule import zone_of
from sentinel.model import QuietHours

_MINUTE: Final = 60.0


def quiet_until(quiet: QuietHours | None, timezone: str, now: float) -> float | None:
    """When the quiet hours that `now` lies in end, or None: it is not quiet."""
    if quiet is None:
        return None
    zone = zone_of(timezone)
    local = datetime.fromtimestamp(now, zone)
    start, end = time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)
    if not _within(local.time(), start, end):
        return None
    # Over midnight, the end is tomorrow's for what is before midnight.
    day = local.date() + timedelta(days=start > end and local.time() >= start)
    return _instant(day, end, zone, after=now)


def window_end(every: int, timezone: str, now: float) -> float:
    """When the window that `now` lies in ends: windows of `every` seconds, counted from local midnight.

    The last of a day ends with it, so that a day of 23 or 25 hours shifts nothing.
    """
    zone = zone_of(timezone)
    today = datetime.fromtimestamp(now, zone).date()
    begun = datetime.combine(today, time(), zone).timestamp()
    over = datetime.combine(today + timedelta(days=1), time(), zone).timestamp()
    return min(begun + (int((now - begun) // every) + 1) * every, over)


def told(moment: float, timezone: str, *, now: float) -> str:
    """A moment in a person's words: `07:00`, with the day where it is another one than now."""
    zone = zone_of(timezone)
    local, today = datetime.fromtimestamp(moment, zone), datetime.fromtimestamp(now, zone)
    form = "%H:%M" if local.date() == today.date() else "%Y-%m-%d %H:%M"
    return f"{local.strftime(form)} ({timezone})"


def _within(moment: time, start: time, end: time) -> bool:
    if start <= end:
        return start <= moment < end
    return moment >= start or moment < end


def _instant(day: date, wall: time, zone: ZoneInfo, *, after: float) -> float:
    """When the clock shows `wall` on `day`: the first time that lies after `after`."""
    first = datetime.combine(day, wall, zone)
    moment = first.timestamp()
    if moment <= after:  # the hour comes twice, and this is its second time
        return first.replace(fold=1).timestamp()
    if datetime.fromtimestamp(moment, zone).time() == wall:
        return moment
    # Left out: back to the jump, which is on a minute.
    while datetime.fromtimestamp(moment - _MINUTE, zone).time() > wall:
        moment -= _MINUTE
    return moment
