"""What happens to jobs, told to whoever listens: metrics, logs, hooks.

An observer is a plain callable; it must be quick and must not raise (what it raises is logged
and dropped, for a job must not fail because somebody counts it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

Outcome = Literal["done", "retried", "snoozed", "dead", "released", "lease_lost", "cancelled"]


class JobStarted(msgspec.Struct, frozen=True):
    """A handler was given a job."""

    stream: str
    job_id: str
    attempt: int
    #: Seconds from eligible to started.
    waited: float
    #: Seconds past the due time, for a job that was delayed; else None.
    lateness: float | None


class JobEnded(msgspec.Struct, frozen=True):
    """A delivery ended and the broker has accepted (or refused) its outcome."""

    stream: str
    job_id: str
    attempt: int
    outcome: Outcome
    #: Seconds the handler ran.
    duration: float
    #: Seconds until the next attempt, for retried and snoozed.
    delay: float | None = None
    #: Dead letter's reason, for dead.
    reason: str | None = None
    error: str | None = None


class JobsReclaimed(msgspec.Struct, frozen=True):
    """Jobs of a dead worker were made ready again (or dead-lettered: crash budget spent)."""

    stream: str
    worker: str
    ready: int
    dead: int


class JobsEnqueued(msgspec.Struct, frozen=True):
    """A producer call was answered."""

    stream: str
    created: int
    duplicate: int


class TickFired(msgspec.Struct, frozen=True):
    """This worker fired a tick of a recurring job."""

    stream: str
    schedule_id: str
    job_id: str
    #: Seconds past the tick (its jitter included).
    lateness: float
    #: False: no job was added, because the job of an earlier tick still waits or runs.
    created: bool


class ReadCompleted(msgspec.Struct, frozen=True):
    """A worker's read was answered, with jobs or without."""

    stream: str


class BrokerTrouble(msgspec.Struct, frozen=True):
    """A call to the broker failed; the caller goes on."""

    kind: str
    detail: str


Event = JobStarted | JobEnded | JobsReclaimed | JobsEnqueued | TickFired | ReadCompleted | BrokerTrouble
Observer = Callable[[Event], None]
