"""The two payloads, their streams and their policies: the contract of the worker this replaces."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec

from sentinel.errors import Severity
from streamq import Lane, Retention, Retry

RULES_RUN: Final = "rules:run"
ALERTS_DISPATCH: Final = "alerts:dispatch"

Trigger = Literal["schedule", "manual_test", "retry"]
ForceMode = Literal["http", "headless"]


class RunRule(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`rules:run`: check this rule now."""

    rule_id: str
    trigger: Trigger
    #: ISO 8601.
    requested_at: str
    force_mode: ForceMode | None = None
    debug: bool = False


class DispatchAlert(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`alerts:dispatch`: bring this alert to its channels."""

    alert_id: str
    workspace_id: str
    rule_id: str
    #: Channel ids.
    channels: tuple[str, ...]
    dedupe_key: str


#: Error codes that say nothing of the page, but of us and of the way there, for now: the stream tries
#: again. Any other is a result: the check is done.
OURS_FOR_NOW: Final = frozenset(
    {
        *("FETCH_TIMEOUT", "FETCH_DNS", "FETCH_CONNECTION", "FETCH_HTTP_5XX"),
        *("SYSTEM_STORE", "SYSTEM_WORKER_CRASH", "SYSTEM_BROWSER", "SYSTEM_SOLVER"),
    }
)

#: First try and two more, seconds after the failure before.
RUN_RULE_RETRY: Final = Retry(delays=(30.0, 120.0))
DISPATCH_ALERT_RETRY: Final = Retry(delays=(10.0, 30.0, 60.0, 120.0, 300.0))

#: Done: 24 h and at most 1,000. Dead letters: 7 days.
RETENTION: Final = Retention(done_seconds=86400.0, done_count=1000, dead_seconds=7 * 86400.0)

#: Seconds a second alert of the same dedupe key is a duplicate.
ALERT_DEDUPE_WINDOW: Final = 300.0

#: Longer ids and keys are told by their hash where a channel's id is put behind them.
_LONG: Final = 300


class Policy(msgspec.Struct, frozen=True):
    """How a producer enqueues a payload, whoever the producer is: what `Queue.enqueue` takes."""

    lane: Lane
    #: Uniqueness key.
    unique: str
    #: Seconds the key is held; None: until the job has ended.
    unique_for: float | None


def run_rule_policy(payload: RunRule, *, confirms: bool = False) -> Policy:
    """One waiting or running check per rule; what a person asked for goes first.

    A check that confirms another one (`confirms`) is queued while that one still runs and holds the
    rule's key, so it has a key of its own.
    """
    key = f"rule:{payload.rule_id}"
    return Policy(
        lane="high" if payload.trigger == "manual_test" else "normal",
        unique=f"{key}:confirm" if confirms else key,
        unique_for=None,
    )


def dispatch_alert_policy(payload: DispatchAlert, *, severity: Severity = "warning") -> Policy:
    """One alert per dedupe key in five minutes; a critical one goes first."""
    return Policy(
        lane="high" if severity == "critical" else "normal",
        unique=payload.dedupe_key,
        unique_for=ALERT_DEDUPE_WINDOW,
    )


def delivery_policy(payload: DispatchAlert, channel_id: str, *, lane: Lane) -> Policy:
    """How the job of one delivery is enqueued: one per alert and channel in the window.

    The alert is part of the key, so that a payload which names somebody else's dedupe key holds up
    nothing but itself.
    """
    key = f"{payload.dedupe_key}:{payload.alert_id}"
    return Policy(lane=lane, unique=f"{_bounded(key)}:{channel_id}", unique_for=ALERT_DEDUPE_WINDOW)


def delivery_job_id(job_id: str, channel_id: str) -> str:
    """The id of the job that brings the alert of job `job_id` to one channel; always the same."""
    return f"{_bounded(job_id)}:{channel_id}"


def alert_job_id(job_id: str, payload: DispatchAlert) -> str | None:
    """The job that one delivery's job `job_id` is part of; None: it is not the job of one delivery."""
    if len(payload.channels) != 1:
        return None
    whole, colon, channel_id = job_id.rpartition(f":{payload.channels[0]}")
    return whole if colon and whole and not channel_id else None


def _bounded(text: str) -> str:
    if len(text) <= _LONG:
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
