"""What recurs, and when: grids of ticks, and what is due of them. Pure: no clock, no broker.

A schedule's **tick** is a moment of its grid, ms since the epoch; its job is named after it
(`nightly@2026-01-01T03:00:00Z`). Jitter moves the start of a tick's job, never the tick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Literal

import msgspec

from streamq.errors import InvalidJob, InvalidPayload
from streamq.job import LATEST, NewJob
from streamq.keys import Lane
from streamq.limits import Limit
from streamq.retry import Retry

#: Seconds between two ticks at least: what runs more often is a loop, not a schedule.
SHORTEST: Final = 1.0
#: Seconds between two ticks at most, ten years.
LONGEST: Final = 3660 * 86400.0
#: Share of an interval that jitter may take: more, and a tick could overtake the next one.
MOST_JITTER: Final = 0.9
#: Jobs added in one step at most, where missed ticks are all made up for.
BATCH: Final = 100
#: Characters of a schedule's id: it is part of its jobs' ids.
MAX_ID: Final = 200
#: Headers of a tick's job: the schedule's id, and the tick.
SCHEDULE_HEADER: Final = "streamq-schedule"
TICK_HEADER: Final = "streamq-tick"

#: Windows in which the last due tick of a cron expression is looked for, seconds: few steps in each.
_WINDOWS: Final = (120, 7200, 172_800, 40 * 86400, 400 * 86400, 3660 * 86400, 60 * 366 * 86400)

CatchUp = Literal["once", "every", "skip"]
Overlap = Literal["allow", "skip"]


class Every(msgspec.Struct, frozen=True, tag="every", tag_field="type"):
    """Every so many seconds: on the multiples since 1970 (UTC), or since the schedule's start."""

    seconds: float


class Cron(msgspec.Struct, frozen=True, tag="cron", tag_field="type", omit_defaults=True):
    """`minute hour day month weekday` (or six fields, seconds first) in local time of a zone.

    By Debian's rules: a fixed time that daylight saving skips runs right after the gap, one that it doubles
    runs once; what runs every so many minutes or hours goes on by real time. Needs the extra `cron`.
    """

    expression: str
    timezone: str = "UTC"


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One recurring job, as somebody asked for it. `new_schedule` builds and checks it."""

    id: str
    when: Every | Cron
    #: JSON text.
    payload: msgspec.Raw
    #: A tick's job starts up to so many seconds later, always the same for a tick.
    jitter: float = 0.0
    #: Seconds since the epoch: no tick before, none after.
    start: float | None = None
    end: float | None = None
    #: Ticks in all.
    max_runs: int | None = None
    #: What becomes of ticks that nobody fired in time: one job for all of them (the last one's), a job
    #: for each, or none (but for the last one, while it is not later than `grace`).
    catch_up: CatchUp = "once"
    #: Seconds a tick may be late where missed ones are skipped.
    grace: float = 60.0
    #: skip: no job for a tick while the job of an earlier one waits or runs.
    overlap: Overlap = "allow"
    lane: Lane = "normal"
    headers: dict[str, str] = {}
    retry: Retry | None = None
    timeout: float | None = None
    #: The terms under which its jobs may start, beside others of that key.
    limit: Limit | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule and how far it has come: what lies in the broker, as JSON."""

    schedule: Schedule
    #: The next tick, ms; None: paused, or none is left.
    tick: int | None = None
    #: Ticks that had a job.
    runs: int = 0
    paused: bool = False
    #: Declared in a worker's code (`Handlers.recur`).
    declared: bool = False
    #: The last tick that had a job, ms.
    last_tick: int | None = None
    #: Ticks that had no job because an earlier one's was still there.
    overlapped: int = 0

    @property
    def due_ms(self) -> int | None:
        """When the next tick's job starts, jitter included; None: there is no next."""
        return None if self.tick is None else due_of(self.schedule, self.tick)


class Firing(msgspec.Struct, frozen=True):
    """What to do about due ticks: these jobs, and this record in the place of the old one."""

    jobs: tuple[NewJob, ...]
    record: Record
    #: The record where the job is not added, since one of an earlier tick is still there.
    if_taken: Record
    #: Start of the last of them, ms: not to be done before.
    not_before_ms: int
    #: The ticks of `jobs`, ms.
    ticks: tuple[int, ...] = ()


def new_schedule(
    schedule_id: str, when: Every | Cron, payload: Any, *, payload_type: Any = Any, **options: Any
) -> Schedule:
    """A schedule that was looked through: options as the fields of `Schedule`.

    `payload`: as `Queue.enqueue` takes it; it is decoded as `payload_type`, as its handler will. Raises
    InvalidJob for what cannot be, InvalidPayload for a payload that the handler would not be given.
    """
    try:
        data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    except (TypeError, ValueError) as error:
        raise InvalidJob(f"the payload cannot be written as JSON: {error}") from error
    try:
        msgspec.json.decode(data, type=payload_type)
    except (ValueError, RecursionError) as error:
        raise InvalidPayload(f"schedule {schedule_id!r}: {type(error).__name__}: {error}") from error
    schedule = Schedule(id=schedule_id, when=when, payload=msgspec.Raw(data), **options)
    _check(schedule)
    # As it will be read from the broker: a wrong type among the options is told now.
    try:
        return msgspec.json.decode(msgspec.json.encode(schedule), type=Schedule)
    except msgspec.ValidationError as error:
        raise InvalidJob(f"schedule {schedule_id!r}: {error}") from error


def _check(schedule: Schedule) -> None:
    """Raises InvalidJob with what is wrong."""
    wrong = next(_wrong_of(schedule), None)
    if wrong:
        raise InvalidJob(f"schedule {schedule.id[:80]!r}: {wrong}")
    first = next(_grid(schedule, int(max(0.0, schedule.start or 0.0) * 1000) - 1), None)
    if first is None:
        raise InvalidJob(f"schedule {schedule.id!r} has no tick between its start and its end")
    _job(schedule, first)  # what a job may not have is told now, not at the first tick


def _wrong_of(schedule: Schedule) -> Iterator[str]:
    """What is wrong, one after the other."""
    if not schedule.id or len(schedule.id) > MAX_ID or any(c in schedule.id for c in "@{}\0\r\n "):
        yield f"its id must have 1 to {MAX_ID} characters and no '@', brace, space or line break"
    for name in ("start", "end"):
        moment = getattr(schedule, name)
        if moment is not None and not 0 <= moment <= LATEST:
            yield f"{name}={moment!r} is not between 1970 and 9999, in seconds since 1970"
    if schedule.max_runs is not None and schedule.max_runs < 1:
        yield f"max_runs={schedule.max_runs!r} is not 1 or more"
    if not schedule.grace >= 0:
        yield f"grace={schedule.grace!r} is below 0 seconds"
    if schedule.overlap == "skip" and schedule.catch_up == "every":
        yield "with overlap='skip' missed ticks cannot each have a job: catch up 'once' or 'skip'"
    yield from _wrong_when(schedule)


def _wrong_when(schedule: Schedule) -> Iterator[str]:
    match schedule.when:
        case Every(seconds):
            if not SHORTEST <= seconds <= LONGEST:
                yield f"every {seconds!r} s is not between {SHORTEST:g} and {LONGEST:g} seconds"
            elif not 0 <= schedule.jitter <= MOST_JITTER * seconds:
                yield f"jitter={schedule.jitter!r} is not between 0 and {MOST_JITTER:g} of the interval"
        case Cron():
            if not 0 <= schedule.jitter <= 86400:
                yield f"jitter={schedule.jitter!r} is not between 0 and 86400 seconds"
            wrong = _wrong_cron(schedule.when)
            if wrong:
                yield wrong


def _wrong_cron(cron: Cron) -> str | None:
    try:
        _zone(cron.timezone)
    except (KeyError, ValueError, OSError):
        return f"no such time zone {cron.timezone[:80]!r} (a name as Europe/Bratislava or UTC)"
    cronsim = _cronsim()
    try:
        next(cronsim.CronSim(cron.expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except cronsim.CronSimError as error:
        return f"{cron.expression[:80]!r} is not a cron expression: {str(error).lower()}"
    except StopIteration:
        return f"{cron.expression[:80]!r} never comes due"
    return None


def _zone(name: str) -> tzinfo:
    """Imported when it is used, as below. Raises KeyError, ValueError, OSError for a name that is none."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - see above

    return ZoneInfo(name)


def _cronsim() -> Any:  # a module without types
    """Imported when a cron expression is used, and not before: producers do without."""
    try:
        import cronsim  # noqa: PLC0415 - see above
    except ImportError as error:
        raise InvalidJob("cron expressions need the package cronsim (the extra `cron`)") from error
    return cronsim


# --- the grid --------------------------------------------------------------------------------


def next_tick(schedule: Schedule, after_ms: int) -> int | None:
    """The first tick later than `after_ms`; None: there is none."""
    return next(_grid(schedule, after_ms), None)


def due_of(schedule: Schedule, tick: int) -> int:
    """When the job of a tick starts, ms."""
    if not schedule.jitter:
        return tick
    digest = hashlib.blake2b(f"{schedule.id}\0{tick}".encode(), digest_size=8).digest()
    return tick + int(schedule.jitter * 1000 * int.from_bytes(digest) / 2**64)


def _grid(schedule: Schedule, after_ms: int) -> Iterator[int]:
    """Ticks later than `after_ms`, in order."""
    start = 0 if schedule.start is None else round(schedule.start * 1000)
    end = round((LATEST if schedule.end is None else schedule.end) * 1000)
    after = max(after_ms, start - 1)
    match schedule.when:
        case Every(seconds):
            step = round(seconds * 1000)
            ticks: Iterator[int] = iter(range(after + 1 + (start - after - 1) % step, end + 1, step))
        case Cron():
            ticks = _cron_ticks(schedule.when, after)
    for tick in ticks:
        if tick > end:
            return
        yield tick


def _cron_ticks(cron: Cron, after_ms: int) -> Iterator[int]:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=after_ms)
    last = after_ms
    try:
        for local in _cronsim().CronSim(cron.expression, moment.astimezone(_zone(cron.timezone))):
            tick = int(local.astimezone(UTC).timestamp()) * 1000
            # In an hour that is doubled it begins with the first pass, which may be over; and a time that is
            # skipped may fall upon another one of the same expression.
            if tick > last:
                yield tick
                last = tick
    except (OverflowError, ValueError):  # the end of the calendar
        return


def last_tick(schedule: Schedule, first: int, now_ms: int) -> int:
    """The last tick from `first` (a tick) on whose job is to have started by `now_ms`; at least `first`."""
    if isinstance(schedule.when, Every):
        step = round(schedule.when.seconds * 1000)
        end = now_ms if schedule.end is None else min(now_ms, round(schedule.end * 1000))
        last = max(first, first + (end - first) // step * step)
        # Of the last two, jitter may have moved the start of the later one beyond now.
        while last > first and due_of(schedule, last) > now_ms:
            last -= step
        return last
    for window in _WINDOWS:
        after = max(first, now_ms - window * 1000)
        found = [tick for tick in _up_to(schedule, after, now_ms) if due_of(schedule, tick) <= now_ms]
        if found:
            return found[-1]
        if after == first:
            break
    return first


def _up_to(schedule: Schedule, after_ms: int, now_ms: int) -> Iterator[int]:
    for tick in _grid(schedule, after_ms):
        if tick > now_ms:
            return
        yield tick


# --- decisions -------------------------------------------------------------------------------


def added(old: Record | None, schedule: Schedule, now_ms: int, *, declared: bool = False) -> Record:
    """The record of a schedule that somebody adds, or adds again.

    Where only its payload or the manner of its jobs changed it keeps its next tick; ticks that are missing
    from it for another reason (a new interval, a later end) count from now.
    """
    if old is None:
        return Record(schedule=schedule, tick=next_tick(schedule, now_ms), declared=declared)
    record = msgspec.structs.replace(old, schedule=schedule, declared=declared)
    if _timing(old.schedule) == _timing(schedule) or record.paused:
        return record
    return msgspec.structs.replace(record, tick=_next_of(record, now_ms))


def _timing(schedule: Schedule) -> tuple[Any, ...]:
    return schedule.when, schedule.jitter, schedule.start, schedule.end, schedule.max_runs


def _next_of(record: Record, after_ms: int) -> int | None:
    limit = record.schedule.max_runs
    return None if limit is not None and record.runs >= limit else next_tick(record.schedule, after_ms)


def paused(record: Record) -> Record:
    """No more ticks until it is resumed."""
    return msgspec.structs.replace(record, paused=True, tick=None)


def resumed(record: Record, now_ms: int) -> Record:
    """Ticks again, from now on: those of the meantime were not missed, they were not wanted."""
    if not record.paused:
        return record
    return msgspec.structs.replace(record, paused=False, tick=_next_of(record, now_ms))


def fire(record: Record, now_ms: int) -> Firing | None:
    """What is due of a schedule at `now_ms` and what becomes of it; None: nothing is."""
    schedule, first = record.schedule, record.tick
    if first is None or due_of(schedule, first) > now_ms:
        return None
    if schedule.catch_up == "every":
        ticks = _due_ticks(record, first, now_ms)
    else:
        last = last_tick(schedule, first, now_ms)
        late = now_ms - due_of(schedule, last)
        missed = schedule.catch_up == "skip" and late > schedule.grace * 1000
        # Nothing later is due than what is behind `last`, whatever jitter says.
        if missed:
            after = msgspec.structs.replace(record, tick=_next_of(record, last))
            return Firing((), after, after, due_of(schedule, last))
        ticks = [last]
    fired = msgspec.structs.replace(record, runs=record.runs + len(ticks), last_tick=ticks[-1])
    after = msgspec.structs.replace(fired, tick=_next_of(fired, ticks[-1]))
    instead = msgspec.structs.replace(
        record, tick=_next_of(record, ticks[-1]), overlapped=record.overlapped + 1
    )
    return Firing(
        jobs=tuple(_job(schedule, tick) for tick in ticks),
        record=after,
        if_taken=instead,
        not_before_ms=max(due_of(schedule, tick) for tick in ticks),
        ticks=tuple(ticks),
    )


def _due_ticks(record: Record, first: int, now_ms: int) -> list[int]:
    """Each of them, in order, a batch at most."""
    schedule, ticks = record.schedule, [first]
    most = BATCH if schedule.max_runs is None else min(BATCH, schedule.max_runs - record.runs)
    for tick in _up_to(schedule, first, now_ms):
        if len(ticks) >= most or due_of(schedule, tick) > now_ms:
            break
        ticks.append(tick)
    return ticks


# --- jobs ------------------------------------------------------------------------------------


def tick_words(tick: int) -> str:
    """`2026-01-01T03:00:00Z`; ms only where there are any."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=tick)
    return moment.isoformat(timespec="milliseconds" if tick % 1000 else "seconds").replace("+00:00", "Z")


def upcoming(schedule: Schedule, after_ms: int, count: int) -> Sequence[int]:
    """The next `count` ticks later than `after_ms`, ms."""
    return [tick for tick, _ in zip(_grid(schedule, after_ms), range(count), strict=False)]


def job_of(schedule: Schedule, name: str, tick: str, *, due_ms: int | None = None) -> NewJob:
    """A job of the schedule under the id `<schedule>@<name>`."""
    return NewJob(
        payload=bytes(schedule.payload),
        id=f"{schedule.id}@{name}",
        lane=schedule.lane,
        at=None if due_ms is None else due_ms / 1000,
        headers={**schedule.headers, SCHEDULE_HEADER: schedule.id, TICK_HEADER: tick},
        retry=schedule.retry,
        timeout=schedule.timeout,
        limit=schedule.limit,
        unique=f"recurring:{schedule.id}" if schedule.overlap == "skip" else None,
    )


def _job(schedule: Schedule, tick: int) -> NewJob:
    words = tick_words(tick)
    return job_of(schedule, words, words, due_ms=due_of(schedule, tick))
