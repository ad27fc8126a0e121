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
#: Share of the interval that jitter may take at most.
_MOST_JITTER: Final = 0.9
#: Failing checks in a row that leave a rule its own interval; a blip is looked at again soon.
FREE_FAILURES: Final = 2
#: Seconds that a rule that keeps failing is put off at most: it is still tried.
MOST_BACKOFF: Final = 86400.0
#: A cron expression that never comes due is looked at again after this, seconds.
_NEVER: Final = 366 * 86400.0


def next_due(schedule: Schedule, after: float, *, seed: str) -> float:
    """The first due time later than `after` (seconds since the epoch).

    An interval ticks on a grid of its own per rule (`seed` is its id): rules spread over the interval,
    nothing drifts, and after downtime there is one tick and not one per missed. Jitter is added to
    each tick. Cron times are local times of the schedule's zone; an hour that daylight saving skips
    or doubles runs once, as cronsim does it (Debian's cron rules); jitter is added there too.

    Never raises: `check` refuses a bad schedule when a rule is imported, and one that got in all the
    same (a zone that was renamed) must not end the scheduler of all others. It runs by UTC, or hourly.
    """
    # Jitter as long as the interval would let one tick overtake the next.
    if schedule.cron is not None:
        return _next_cron(schedule.cron, zone_of(schedule.timezone), after, schedule.jitter_seconds, seed)
    interval = schedule.interval_seconds or DEFAULT_INTERVAL
    jitter = min(schedule.jitter_seconds, _MOST_JITTER * interval)
    offset = _share(seed, 0.0) * interval
    due = (int((after - offset) // interval) + 1) * interval + offset
    return due + _share(seed, due) * jitter


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


def _next_cron(cron: str, zone: ZoneInfo, after: float, jitter: int, seed: str) -> float:
    try:
        ticks = CronSim(cron, datetime.fromtimestamp(after, zone))
        for tick in ticks:
            due = tick.astimezone(UTC).timestamp()
            # In the hour that is doubled cronsim answers with the first pass, which may be over.
            if due > after:
                return due + _share(seed, due) * jitter
    except CronSimError:
        return after + DEFAULT_INTERVAL
    return after + _NEVER


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
    return problems + check_timezone(schedule.timezone)


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
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as exc:
        return str(exc).lower()
    except StopIteration:
        return "it never comes due"
    return ""


def _share(seed: str, tick: float) -> float:
    """A number from 0 up to 1, always the same for a seed and a tick."""
    digest = hashlib.blake2b(f"{seed}\0{tick:.0f}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
