"""The two payloads, their streams and their policies: the contract of the worker this replaces."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from streamq import Retention, Retry

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


#: First try and two more, seconds after the failure before.
RUN_RULE_RETRY: Final = Retry(delays=(30.0, 120.0))
DISPATCH_ALERT_RETRY: Final = Retry(delays=(10.0, 30.0, 60.0, 120.0, 300.0))

#: Done: 24 h and at most 1,000. Dead letters: 7 days.
RETENTION: Final = Retention(done_seconds=86400.0, done_count=1000, dead_seconds=7 * 86400.0)

#: Seconds a second alert of the same dedupe key is a duplicate.
ALERT_DEDUPE_WINDOW: Final = 300.0
