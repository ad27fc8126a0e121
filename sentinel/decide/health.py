"""A rule's health: 0 to 100, down by each failure's weight, up by good runs, with hysteresis."""

from __future__ import annotations

from typing import Final

from sentinel.decide.schedule import next_due
from sentinel.errors import ERROR_CODES
from sentinel.model import Health, Schedule

#: Points a good run gives back: two bring a broken rule home, one does not.
GAIN: Final = 25.0
#: Under this a rule is broken; it is well again at RECOVERED.
BROKEN: Final = 40.0
RECOVERED: Final = 70.0
#: Under RECOVERED a well rule is degraded; a degraded one is well again a little above it.
WELL_AGAIN: Final = 80.0
#: Seconds between two reminders of a broken rule.
REMIND_EVERY: Final = 86400.0
#: Seconds that a rule may be late whatever its interval: a check and its two retries.
PATIENCE: Final = 300.0


def after_failure(score: float, code: str) -> float:
    """The score after a run that ended with `code`."""
    known = ERROR_CODES.get(code)
    return max(0.0, score - (known.weight if known is not None else 20))


def after_success(score: float) -> float:
    """The score after a good run."""
    return min(100.0, score + GAIN)


def state_of(score: float, was: Health) -> Health:
    """ok, degraded or broken; which it was decides at the edges."""
    if score < BROKEN or (was == "broken" and score < RECOVERED):
        return "broken"
    if score < RECOVERED or (was == "degraded" and score < WELL_AGAIN):
        return "degraded"
    return "ok"


def overdue_from(schedule: Schedule, due: float, *, seed: str) -> float:
    """When a rule that was due at `due` is overdue, should nobody have checked it until then.

    That is with its second tick after that one, by cron as by interval, and not before what a check that
    is retried may take.
    """
    second = next_due(schedule, next_due(schedule, due, seed=seed), seed=seed)
    return max(second, due + PATIENCE)
