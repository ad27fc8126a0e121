"""What happens to jobs, told to whoever listens: metrics, logs, hooks.

An observer is a plain callable; it must be quick and must not raise (what it raises is logged
and dropped, for a job must not fail because somebody counts it). `Hooks` is one that calls a function
by what happened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

log = logging.getLogger("streamq.worker")

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
    #: Put into the place of jobs that waited.
    replaced: int = 0


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
    partition: int = 0


class BrokerTrouble(msgspec.Struct, frozen=True):
    """A call to the broker failed; the caller goes on."""

    kind: str
    detail: str


Event = JobStarted | JobEnded | JobsReclaimed | JobsEnqueued | TickFired | ReadCompleted | BrokerTrouble
Observer = Callable[[Event], None]


def tell(observers: Iterable[Observer], event: Event) -> None:
    """Tell each of them; what one raises is logged, and harms neither the job nor the others."""
    for observer in observers:
        try:
            observer(event)
        except Exception:
            log.exception("observer_failed", extra={"event": type(event).__name__})


class Hooks:
    """An observer that calls functions by name: `Worker(..., observers=[Hooks(on_dead=page_somebody)])`."""

    def __init__(
        self,
        *,
        on_completed: Callable[[JobEnded], object] | None = None,
        on_failed: Callable[[JobEnded], object] | None = None,
        on_retry: Callable[[JobEnded], object] | None = None,
        on_dead: Callable[[JobEnded], object] | None = None,
        on_reclaimed: Callable[[JobsReclaimed], object] | None = None,
    ) -> None:
        """`on_failed`: an attempt failed, whether it is tried again (`on_retry`) or is dead (`on_dead`).

        `on_reclaimed`: jobs were taken from a dead worker, by this one.
        """
        self._by_outcome: dict[Outcome, tuple[Callable[[JobEnded], object] | None, ...]] = {
            "done": (on_completed,),
            "retried": (on_failed, on_retry),
            "dead": (on_failed, on_dead),
        }
        self._on_reclaimed = on_reclaimed

    def __call__(self, event: Event) -> None:
        """Call whom it concerns."""
        match event:
            case JobEnded():
                hooks = self._by_outcome.get(event.outcome, ())
                tell([_calling(hook) for hook in hooks if hook is not None], event)
            case JobsReclaimed() if self._on_reclaimed is not None:
                tell([_calling(self._on_reclaimed)], event)
            case _:
                pass


def _calling(hook: Callable[..., object]) -> Observer:
    def observer(event: Event) -> None:
        hook(event)

    return observer
