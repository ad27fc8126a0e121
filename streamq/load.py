"""How much work comes into a stream, and how many workers that needs.

    slots = arriving (runs a second) x duration (seconds)            what comes in, Little's law
          + ready x duration / within                                what waits, done in `within` seconds
    workers = slots / slots of one worker, rounded up

`measure` makes it of what every broker tells: its numbers, and the newest of its completed records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from streamq.broker import DoneJob, StreamStats

#: Seconds in which what waits is to be worked off, where nothing else is said.
WITHIN: Final = 60.0
#: Completed records that the duration of a run is read from: the newest.
RECORDS: Final = 200
#: Seconds of records that count; what ran an hour ago says little of now. One record always counts.
RECENT: Final = 300.0

#: Counters of runs that ended, each of which had a slot. A snooze is none: it gives it back at once.
_RUNS: Final = ("done", "retried", "dead", "cancelled")


class Look(msgspec.Struct, frozen=True):
    """Runs that ended or wait for their end, at one moment: the difference of two looks is what came in."""

    #: Monotonic seconds.
    at: float
    runs: int


class Load(msgspec.Struct, frozen=True):
    """The work of one stream."""

    stats: StreamStats
    #: Runs that are asked for in a second: new jobs, due ones, retries. Between two looks it is counted,
    #: also for jobs that came by a plain XADD; with one look it is what was done of late.
    arriving: float
    #: Seconds a run takes, the mean of those that ended well of late; None: none is known.
    duration: float | None

    @property
    def slots_needed(self) -> float:
        """Jobs that run at once in the long run, where nothing waits; 0.0 where that is not known."""
        return self.arriving * (self.duration or 0.0)

    def workers_needed(self, slots: int, *, within: float = WITHIN) -> int:
        """Workers of `slots` jobs at once each that keep up with what arrives, and work off what waits in
        `within` seconds.

        Never more than would have every job in hand at once beside those that arrive, and enough to keep
        hold of long jobs that run. At least one where anything runs or waits, also for its time or its
        key: it becomes ready only where a worker is up to see it. A paused stream needs those that hold
        something. As long as no duration is known: workers that would have every job in hand at once.
        """
        stats = self.stats
        if stats.paused or self.duration is None:
            return stats.workers_needed(slots)
        share = min(1.0, self.duration / max(within, 0.001))
        ready = sum(stats.ready.values())
        wanted = max(self.slots_needed + ready * share, (ready + stats.leased) * share)
        idle = not (ready or stats.leased or stats.delayed or stats.parked)
        # A hair less, so that 3.0000000001 slots are three.
        return max(math.ceil(wanted / max(1, slots) - 1e-9), 0 if idle and not wanted else 1)


def look(stats: StreamStats, at: float) -> Look:
    """What is to be compared with a later look, at monotonic seconds."""
    present = sum(stats.ready.values()) + stats.leased + stats.parked
    return Look(at, present + sum(stats.counters.get(name, 0) for name in _RUNS))


def measure(
    stats: StreamStats,
    records: Sequence[DoneJob],
    *,
    now: Look | None = None,
    before: Look | None = None,
) -> Load:
    """The load, by the newest completed records (newest first) and, where there are two, two looks."""
    done = [one for one in records if one.outcome == "done"]
    recent = [one for one in done if one.finished_ms > done[0].finished_ms - RECENT * 1000]
    duration = sum(one.duration for one in recent) / len(recent) if recent else None
    if now is not None and before is not None and now.at > before.at:
        return Load(stats, max(0, now.runs - before.runs) / (now.at - before.at), duration)
    span = (recent[0].finished_ms - recent[-1].finished_ms) / 1000 if recent else 0.0
    return Load(stats, (len(recent) - 1) / span if span else 0.0, duration)
