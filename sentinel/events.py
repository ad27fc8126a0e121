"""What happens to rules and alerts, told to whoever listens: metrics, logs.

As streamq.events: an observer is a plain callable that is quick and does not raise. Nothing here
names a page, a rule's content or a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from sentinel.errors import Severity


class RunEnded(msgspec.Struct, frozen=True):
    """A check was committed."""

    rule_id: str
    #: http | headless, or `none`: it ended before anything was fetched.
    mode: str
    #: `ok`, or the error code.
    outcome: str
    #: Seconds of the fetch; None: none was made.
    fetch_seconds: float | None = None
    #: Bytes on the wire.
    fetch_bytes: int | None = None


class ChangeConfirmed(msgspec.Struct, frozen=True):
    """A rule's stable value changed."""

    rule_id: str
    #: sentinel.model.ChangeKind
    kind: str


class AlertRecorded(msgspec.Struct, frozen=True):
    """An alert was committed."""

    alert_id: str
    severity: Severity
    #: `queued`, or why it is not sent: duplicate, cooldown, quiet_hours ...
    result: str


class DeliveryEnded(msgspec.Struct, frozen=True):
    """A channel was tried, or could not be yet (`held`)."""

    alert_id: str
    #: webhook, console ...
    channel_kind: str
    outcome: Literal["sent", "retry", "dead", "skipped", "held"]
    #: Seconds from change seen to accepted; None: not accepted.
    seconds: float | None = None


Event = RunEnded | ChangeConfirmed | AlertRecorded | DeliveryEnded
Observer = Callable[[Event], None]


def ignore(_: Event) -> None:
    """The observer of those who do not listen."""
