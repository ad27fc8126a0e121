"""Whether a host is to be asked now: what the checks of all its rules say of it. Pure.

    well ──3 different rules fail in a row──▶ open 30 s ──▶ half open: one check tries
      ▲                                         ▲                │
      └──────────── it answers ─────────────────┼────────────────┤
                                                └── it fails: open twice as long, half an hour at most

While it is open the others wait for the probe, as long as a check's own attempts would have taken. A host
that is gone for longer ends them at once, as it would have ended them had it been asked: so each rule
breaks, and is told, as if it had been. The states are those of a channel's endpoint.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sentinel.decide.endpoint import Breaker, Endpoint, accepted, failed, hold, refused

#: `after` counts rules: one page that fails says nothing of its host, however often it is asked.
#: `probe`: a check by HTTP and by a browser, at most.
BREAKER: Final = Breaker(after=3, first=30.0, cap=1800.0, probe=180.0)
#: Seconds that a check waits for a host to come back: what its own attempts would have taken.
PATIENCE: Final = 150.0
#: Seconds that a host is left alone at most because it asked for it; then it is asked again.
MAX_RETRY: Final = 3600.0
#: The same where it says "too many" and not how long.
TOO_MANY_WAIT: Final = 60.0

#: Codes that say: the host is not there, or cannot serve.
_TROUBLE: Final = frozenset({"FETCH_TIMEOUT", "FETCH_DNS", "FETCH_CONNECTION", "FETCH_HTTP_5XX"})
#: Codes of checks that never came as far as the host.
_NOT_ASKED: Final = frozenset({"FETCH_REFUSED_ADDRESS", "FETCH_BAD_URL", "FETCH_ROBOTS", "RULE_INVALID"})
_TOO_MANY: Final = "BLOCK_RATE_LIMIT_429"


class Host(msgspec.Struct, frozen=True):
    """What is remembered of a host in trouble; of one that is well nothing is."""

    endpoint: Endpoint = Endpoint()
    #: Rules that failed since it answered last; `BREAKER.after` of them at most.
    failing: tuple[str, ...] = ()


class Wait(msgspec.Struct, frozen=True):
    """A check has to wait until then."""

    #: Seconds since the epoch.
    until: float
    #: For whoever asks why it waits; what stands before it is the host's name.
    why: str


class Gone(msgspec.Struct, frozen=True):
    """The host does not answer, so a check need not be made to know how it ends."""

    #: Of the last check that was made.
    code: str
    why: str


def admit(host: Host, rule_id: str, now: float) -> Wait | Gone | None:
    """Whether a check of `rule_id` has to wait, or has ended; None: it may go.

    The rule that tried last is not put off by its own failures: it has attempts and an interval.
    """
    endpoint = host.endpoint
    held = hold(endpoint, rule_id, now, BREAKER)
    if held is None:
        return None
    if held.reason == "retry_after":
        return Wait(held.until, f"asked to be left alone ({endpoint.last_error})")
    since = now if endpoint.failing_since is None else endpoint.failing_since
    code, _, detail = (endpoint.last_error or "").partition(": ")
    if code not in _TROUBLE or endpoint.opened < 2 or now - since < PATIENCE:  # a probe must have failed
        return Wait(held.until, f"does not answer ({endpoint.last_error}); one check at a time tries")
    return Gone(
        code,
        f"not asked, for its host has not answered any rule for {now - since:.0f} s and one check at a time"
        f" tries it: {detail}",
    )


def note(
    host: Host, rule_id: str, now: float, *, code: str | None, detail: str, retry_after: float | None
) -> Host:
    """What the end of an attempt says of its host. `code`: None where all went well; seconds."""
    wait = TOO_MANY_WAIT if code == _TOO_MANY and retry_after is None else retry_after
    wait = None if wait is None else min(wait, MAX_RETRY)
    endpoint = host.endpoint
    error = f"{code}: {detail}"[:500]
    if code is not None and code in _TROUBLE:
        first = rule_id not in host.failing
        after = failed(endpoint, rule_id, now, BREAKER, first=first, wait=wait, error=error)
        return Host(after, (*host.failing, rule_id)[-BREAKER.after :] if first else host.failing)
    if code is not None and (code in _NOT_ASKED or code.startswith("SYSTEM_")):
        return Host(
            refused(endpoint, rule_id, now, answered=False, error=endpoint.last_error or ""), host.failing
        )
    well = accepted(endpoint, now)
    if wait is not None and wait > 0:
        asked = max(well.retry_at or 0.0, now + wait)
        well = msgspec.structs.replace(well, retry_at=asked, last_error=error)
    return Host(well)


def is_well(host: Host) -> bool:
    """There is nothing to remember."""
    return msgspec.structs.replace(host.endpoint, last_ok_at=None, last_error=None) == Endpoint()
