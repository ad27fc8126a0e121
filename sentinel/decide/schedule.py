"""When a rule is due next. Pure: the same rule and moment give the same answer."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from sentinel.errors import Problem
from sentinel.model import Schedule

#: Where neither interval nor cron is given (an old row): once an hour, seconds.
DEFAULT_INTERVAL: Final = 3600


def next_due(schedule: Schedule, after: float, *, seed: str) -> float:
    """The first due time later than `after` (seconds since the epoch).

    An interval ticks on a grid of its own per rule (`seed` is its id): rules spread over the interval,
    nothing drifts, and after downtime there is one tick and not one per missed. Jitter is added to
    each tick. Cron times are local times of the schedule's zone; an hour that daylight saving skips
    or doubles runs once, as cronsim does it (Debian's cron rules).
    """
    if schedule.cron is not None:
        zone = ZoneInfo(schedule.timezone or "UTC")
        tick = next(CronSim(schedule.cron, datetime.fromtimestamp(after, zone)))
        due = tick.astimezone(UTC).timestamp()
        return due + _share(seed, due) * schedule.jitter_seconds
    interval = schedule.interval_seconds or DEFAULT_INTERVAL
    offset = _share(seed, 0.0) * interval
    due = (int((after - offset) // interval) + 1) * interval + offset
    return due + _share(seed, due) * schedule.jitter_seconds


def check(schedule: Schedule) -> list[Problem]:
    """What is wrong with a schedule; paths are relative to it."""
    problems = []
    if schedule.cron is not None:
        try:
            next(CronSim(schedule.cron, datetime(2026, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as exc:
            hint = "five fields: minute hour day month weekday, as `*/5 8-18 * * 1-5`"
            problems.append(
                Problem("cron", f"not a cron expression: {str(exc) or 'it never comes due'}", hint)
            )
    if schedule.timezone is not None:
        try:
            ZoneInfo(schedule.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            hint = "a name of the IANA database, as Europe/Bratislava"
            problems.append(Problem("timezone", f"unknown time zone {schedule.timezone[:60]!r}", hint))
    return problems


def _share(seed: str, tick: float) -> float:
    """A number from 0 up to 1, always the same for a seed and a tick."""
    digest = hashlib.blake2b(f"{seed}\0{tick:.0f}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
