"""Whether an endpoint is to be asked now: what its last answers mean for the deliveries to come. Pure.

    closed ──5 different deliveries fail in a row──▶ open 10 s ──▶ half open: one delivery tries
      ▲                                               ▲                 │
      └──────────────── it answers ───────────────────┼─────────────────┤
                                                      └─── it fails: open twice as long, 300 s at most

A delivery's own failures never put off its own next attempt: that has a schedule. They put off the
others'.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sentinel.errors import HoldReason

#: Seconds the others keep away from an endpoint that says "too many" and not how long.
TOO_MANY_WAIT: Final = 10.0
#: Seconds of nothing but 404 after which an endpoint is taken for gone, as if it had said 410 (Standard
#: Webhooks leaves the time open; five days is what its authors' service takes).
MISSING_AFTER: Final = 5 * 86400.0


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint is left alone; seconds throughout."""

    #: Different deliveries that must fail in a row. Two at least: one may not hold up itself.
    after: int = 5
    #: How long it is left alone the first time; doubles with each failed probe, up to `cap`: the
    #: longest wait of a delivery's own schedule.
    first: float = 10.0
    cap: float = 300.0
    #: A probe that has said nothing for so long is taken for lost (a send and its record, at most).
    probe: float = 40.0
    #: How soon the others look whether the probe has brought something.
    look: float = 2.0


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one channel's endpoint; times are seconds since the epoch."""

    #: Different deliveries that failed since it answered last, and since when that has been counted.
    failures: int = 0
    failing_since: float | None = None
    #: Times in a row it was left alone, and until when: None means closed, a time gone by half open.
    opened: int = 0
    open_until: float | None = None
    #: The alert whose delivery tries it, or was the last to fail; and until when that is waited for.
    probe: str | None = None
    probe_until: float | None = None
    #: The other side asked to be left alone until then.
    retry_at: float | None = None
    last_ok_at: float | None = None
    last_error: str | None = None


class Hold(msgspec.Struct, frozen=True):
    """A delivery has to wait."""

    reason: HoldReason
    #: Seconds since the epoch.
    until: float


def hold(endpoint: Endpoint, alert_id: str, now: float, breaker: Breaker) -> Hold | None:
    """Whether the delivery of `alert_id` has to wait, and why."""
    if endpoint.retry_at is not None and endpoint.retry_at > now:
        return Hold("retry_after", endpoint.retry_at)
    if endpoint.open_until is None or endpoint.probe == alert_id:
        return None
    if endpoint.open_until > now:
        return Hold("breaker", endpoint.open_until)
    if endpoint.probe_until is not None and endpoint.probe_until > now:
        return Hold("breaker", min(endpoint.probe_until, now + breaker.look))
    return None


def probing(endpoint: Endpoint, alert_id: str, now: float, breaker: Breaker) -> Endpoint:
    """The delivery of `alert_id` tries; where the endpoint is half open, nobody else does."""
    if endpoint.open_until is None:
        return endpoint
    return msgspec.structs.replace(endpoint, probe=alert_id, probe_until=now + breaker.probe)


def is_missing(since: float | None, now: float) -> bool:
    """Whether an endpoint that says 404, as all its answers since `since` did, is not there any more."""
    return since is not None and now - since >= MISSING_AFTER


def accepted(endpoint: Endpoint, now: float) -> Endpoint:
    """It works. How long it asked to be left alone is kept to all the same."""
    return Endpoint(retry_at=_still(endpoint.retry_at, now), last_ok_at=now)


def refused(endpoint: Endpoint, alert_id: str, now: float, *, answered: bool, error: str) -> Endpoint:
    """It will not have this message (`answered`), or we did not send it: only an answer says it is there."""
    if answered:
        return Endpoint(
            retry_at=_still(endpoint.retry_at, now), last_ok_at=endpoint.last_ok_at, last_error=error
        )
    return msgspec.structs.replace(
        endpoint, probe_until=None if endpoint.probe == alert_id else endpoint.probe_until, last_error=error
    )


def failed(
    endpoint: Endpoint,
    alert_id: str,
    now: float,
    breaker: Breaker,
    *,
    first: bool,
    wait: float | None,
    error: str,
) -> Endpoint:
    """It did not answer, or not now. `first`: of this delivery since `failing_since`.

    `wait`: seconds that it asked to be left alone.
    """
    after = msgspec.structs.replace(
        endpoint,
        failures=endpoint.failures + first,
        failing_since=now if endpoint.failing_since is None else endpoint.failing_since,
        retry_at=_latest(endpoint.retry_at, None if wait is None else now + wait),
        last_error=error,
    )
    # One that came at its own time while it was open is no probe: its failure says nothing new.
    probed = endpoint.open_until is not None and endpoint.open_until <= now and endpoint.probe == alert_id
    broke = endpoint.open_until is None and after.failures >= breaker.after
    if not (probed or broke):
        return after
    seconds = min(breaker.cap, breaker.first * 2.0 ** min(endpoint.opened, 32))
    return msgspec.structs.replace(
        after, opened=endpoint.opened + 1, open_until=now + seconds, probe=alert_id, probe_until=None
    )


def _still(time: float | None, now: float) -> float | None:
    return None if time is None or time <= now else time


def _latest(*times: float | None) -> float | None:
    return max((time for time in times if time is not None), default=None)
