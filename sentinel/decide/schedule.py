"""When a rule is due next. Pure: the same rule and moment give the same answer."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from sentinel.decide.windows import is_active, windows
from sentinel.errors import Problem
from sentinel.model import Schedule

#: Where neither interval nor cron is given (an old row): once an hour, seconds.
DEFAULT_INTERVAL: Final = 3600
#: Share of the interval that jitter may take at most.
_MOST_JITTER: Final = 0.9
#: Failing checks in a row that leave a rule its own interval; a blip is looked at again soon.
FREE_FAILURES: Final = 2
#: Seconds that a rule that keeps failing is put off at most: it is still tried.
MOST_BACKOFF: Final = 86400.0
#: A cron expression that never comes due is looked at again after this, seconds.
_NEVER: Final = 366 * 86400.0
#: Windows that a cron expression is tried in before it counts as one that never comes due: a year of days.
_TRIED: Final = 400
#: Seconds that a tick within active hours may be claimed after their end: a scheduler looks once a second.
_LATE: Final = 60.0
#: Share of a window that rules which come once in it are spread over: none is due as it ends.
_SPREAD: Final = 0.9
#: 2026-01-01, to try schedules at.
_SOME_DAY: Final = 1767225600.0


def next_due(schedule: Schedule, after: float, *, seed: str) -> float:
    """The first due time later than `after` (seconds since the epoch).

    An interval ticks on a grid of its own per rule (`seed` is its id): rules spread over the interval,
    nothing drifts, and after downtime there is one tick and not one per missed. Jitter is added to
    each tick. Cron times are local times of the schedule's zone; an hour that daylight saving skips
    or doubles runs once, as cronsim does it (Debian's cron rules); jitter is added there too.

    With active hours every tick lies in one of their windows, jitter included. Of an interval, what falls
    outside becomes one tick in the next window: the first that the grid has there, or, where the window is
    too short for the grid, one at the rule's own place in it. Of cron, what falls outside is left out.

    The zone is the schedule's own (`in_zone` fills in the workspace's), else UTC. Never raises: `check`
    refuses a bad schedule when a rule is imported, and one that got in all the same (a zone that was
    renamed) must not end the scheduler of all others. It runs by UTC, or hourly.
    """
    zone = zone_of(schedule.timezone)
    if schedule.cron is not None:
        return _next_cron(schedule.cron, schedule, zone, after, seed=seed)
    interval = schedule.interval_seconds or DEFAULT_INTERVAL
    # Jitter as long as the interval would let one tick overtake the next.
    jitter = min(schedule.jitter_seconds, _MOST_JITTER * interval)
    due = _on_grid(interval, after, seed)
    if not schedule.active_hours:
        return due + _share(seed, due) * jitter
    for start, end in windows(schedule.active_hours, zone, due):
        if start > due:
            due = _on_grid(interval, start, seed)
            if due >= end:
                due = start + _share(seed, start) * _SPREAD * (end - start)
        return due + _share(seed, due) * min(jitter, _SPREAD * (end - due))
    return after + _NEVER


def is_allowed(schedule: Schedule, due: float, now: float) -> bool:
    """Whether a tick that was due at `due` may still be made at `now`, by the active hours.

    What a scheduler was away for is not made up for in hours that the rule is not to be checked in; a tick
    within them may be a little late.
    """
    if not schedule.active_hours:
        return True
    zone = zone_of(schedule.timezone)
    return is_active(schedule.active_hours, zone, now) or (
        0 <= now - due <= _LATE and is_active(schedule.active_hours, zone, due)
    )


def first_due(schedule: Schedule, now: float, *, seed: str) -> float:
    """When a rule that is new, or has another schedule now, is due.

    On an interval at once, as soon as its active hours let it: its first value is what later ones are
    compared with.
    """
    if schedule.cron is None and is_allowed(schedule, now, now):
        return now
    return next_due(schedule, now, seed=seed)


def in_zone(schedule: Schedule, timezone: str) -> Schedule:
    """The schedule in its own zone, or where it names none in the workspace's, `timezone`."""
    if schedule.timezone is not None or (schedule.cron is None and not schedule.active_hours):
        return schedule
    return msgspec.structs.replace(schedule, timezone=timezone)


def pace_of(schedule: Schedule) -> float:
    """Seconds between two of its ticks, about: of cron between the first two of a year."""
    if schedule.cron is None:
        return float(schedule.interval_seconds or DEFAULT_INTERVAL)
    ticks = msgspec.structs.replace(schedule, active_hours=[], jitter_seconds=0)
    first = next_due(ticks, _SOME_DAY, seed="")
    return max(1.0, next_due(ticks, first, seed="") - first)


def backed_off(schedule: Schedule, after: float, failures: int, *, seed: str) -> float:
    """When a rule is due whose last `failures` checks failed: with each after the second twice as far off.

    The first tick of its own schedule that is so far off, or a day. Never raises.
    """
    due = next_due(schedule, after, seed=seed)
    if failures <= FREE_FAILURES:
        return due
    interval = _interval_of(schedule, due, seed=seed)
    wait = min(interval * 2.0 ** min(failures - FREE_FAILURES, 40), max(interval, MOST_BACKOFF))
    return next_due(schedule, after + wait - interval, seed=seed)


def backoff_reason(failures: int) -> str | None:
    """Why a rule is due later than its schedule says, for people; None: it is not."""
    if failures <= FREE_FAILURES:
        return None
    return f"{failures} checks in a row failed, so it is looked at less often until one is good"


def _interval_of(schedule: Schedule, due: float, *, seed: str) -> float:
    if schedule.cron is None:
        return float(schedule.interval_seconds or DEFAULT_INTERVAL)
    return max(0.0, next_due(schedule, due, seed=seed) - due)


def _on_grid(interval: float, after: float, seed: str) -> float:
    """The first tick later than `after` of an interval's grid."""
    offset = _share(seed, 0.0) * interval
    return (math.floor((after - offset) / interval) + 1) * interval + offset


def _next_cron(cron: str, schedule: Schedule, zone: ZoneInfo, after: float, *, seed: str) -> float:
    jitter, hours = schedule.jitter_seconds, schedule.active_hours
    try:
        due = _cron_tick(cron, zone, after)
        for _ in range(_TRIED if hours else 0):
            window = next(windows(hours, zone, due), None)
            if window is None:
                break
            start, end = window
            if start <= due:
                return due + _share(seed, due) * min(jitter, _SPREAD * (end - due))
            due = _cron_tick(cron, zone, start - 1)
        return after + _NEVER if hours else due + _share(seed, due) * jitter
    except CronSimError:
        return after + DEFAULT_INTERVAL
    except StopIteration:
        return after + _NEVER


def _cron_tick(cron: str, zone: ZoneInfo, after: float) -> float:
    """Raises CronSimError, StopIteration."""
    ticks = CronSim(cron, datetime.fromtimestamp(after, zone))
    while True:
        due = next(ticks).astimezone(UTC).timestamp()
        # In the hour that is doubled cronsim answers with the first pass, which may be over.
        if due > after:
            return due


def zone_of(name: str | None) -> ZoneInfo:
    """The zone of that name, or UTC: a strange name must not cost a check."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def check(schedule: Schedule) -> list[Problem]:
    """What is wrong with a schedule; paths are relative to it."""
    problems = []
    if schedule.cron is not None and schedule.interval_seconds is not None:
        problems.append(Problem("", "both intervalSeconds and cron are given", "keep one of them"))
    if schedule.cron is None and schedule.interval_seconds is None:
        hint = "for example {intervalSeconds: 300}"
        problems.append(Problem("", "neither intervalSeconds nor cron is given", hint))
    if schedule.cron is not None and (trouble := _cron_trouble(schedule.cron)):
        hint = "minute hour day month weekday, as `*/5 8-18 * * 1-5`"
        problems.append(Problem("cron", f"{schedule.cron[:80]!r} is not a cron expression: {trouble}", hint))
    return problems + _hours_troubles(schedule) + check_timezone(schedule.timezone)


def _hours_troubles(schedule: Schedule) -> list[Problem]:
    problems = []
    for index, hours in enumerate(schedule.active_hours):
        path = f"activeHours[{index}]"
        if hours.start == hours.end:
            hint = "a whole day is {days: [monday]}, with neither start nor end"
            problems.append(Problem(path, "it ends when it starts", hint))
        if len(set(hours.days)) < len(hours.days):
            problems.append(Problem(f"{path}.days", "a day is given twice", "name each once"))
    if problems or not schedule.active_hours or schedule.cron is None or _cron_trouble(schedule.cron):
        return problems
    if next_due(schedule, _SOME_DAY, seed="") - _SOME_DAY >= _NEVER:
        hint = "times of the cron expression outside of the active hours are left out"
        return [Problem("activeHours", f"{schedule.cron[:80]!r} never comes due in them", hint)]
    return []


def check_timezone(name: str | None) -> list[Problem]:
    """What is wrong with a `timezone`; the path is relative to what has it."""
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "a name as Europe/Bratislava or UTC"
        return [Problem("timezone", f"no such time zone {(name or '')[:80]!r}", hint)]
    return []


def _cron_trouble(expression: str) -> str:
    try:
        next(CronSim(expression, datetime.fromtimestamp(_SOME_DAY, UTC)))
    except CronSimError as exc:
        return str(exc).lower()
    except StopIteration:
        return "it never comes due"
    return ""


def _share(seed: str, tick: float) -> float:
    """A number from 0 up to 1, always the same for a seed and a tick."""
    digest = hashlib.blake2b(f"{seed}\0{tick:.0f}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
