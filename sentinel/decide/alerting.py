"""Whether an alert goes out now, later with others, or not at all, and why. Pure: no clock, no I/O.

    draft ─▶ routes ─▶ duplicate ─▶ cooldown ─▶ incident ─▶ flood ─▶ quiet hours ─▶ digest ─▶ channels

The store asks with what it found in the transaction of the observation, and `alerts route` asks what
would be, so that the one explains the other.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from sentinel.decide.hours import quiet_until, told, window_end
from sentinel.decide.routing import Leg, Routing, Step, host_of, routed
from sentinel.errors import Severity
from sentinel.model import AlertKind, Digest, Escalation, Incident, Rule, Workspace

#: Why an alert is not sent by itself. Those of `HELD` are told later, with others.
Reason = Literal["no_channels", "duplicate", "cooldown", "incident", "flood", "quiet_hours", "digest"]
HELD: Final[frozenset[Reason]] = frozenset({"flood", "quiet_hours", "digest"})

#: What follows a flood is told this many of its windows at a time.
_FLOOD_WINDOWS: Final = 5
#: Characters of a title's pattern.
_PATTERN: Final = 120
_NUMBERS: Final = re.compile(r"\d+(?:[.,:\-]\d+)*")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An alert to decide about."""

    kind: AlertKind
    severity: Severity
    title: str
    rule: Rule
    workspace: Workspace
    #: Channels that the rule names itself.
    own: tuple[str, ...] = ()
    #: Set: for these, whatever rule and routes say.
    channels: tuple[str, ...] = ()
    #: Until when the rule's cooldown holds it back, if it does.
    cooling_until: float | None = None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What else there is: found out by the store, in the same transaction."""

    #: The alert that has its dedupe key.
    duplicate_of: str | None = None
    #: Alerts before it within the flood's window: of its rule, and with its title's pattern.
    like_rule: int = 0
    like_pattern: int = 0
    #: It is part of this incident ...
    incident: str | None = None
    #: ... which is told, or (seconds since the epoch) may still turn out to be none.
    incident_told: bool = False
    incident_until: float | None = None


class Hold(msgspec.Struct, frozen=True):
    """A channel that is told later, together with what else is held for it."""

    cause: Literal["flood", "quiet_hours", "digest"]
    #: What is collected: a host, a tag, a rule, a pattern; '' the whole workspace.
    by: str
    group: str
    channel: str
    #: When it is told.
    until: float


class Plan(msgspec.Struct, frozen=True):
    """What becomes of an alert."""

    #: Channels that are told at once.
    now: tuple[str, ...]
    holds: tuple[Hold, ...]
    escalations: tuple[Escalation, ...]
    #: Every channel it is meant for.
    channels: tuple[str, ...]
    steps: tuple[Step, ...]
    #: None: at least one channel is told at once.
    reason: Reason | None = None
    #: Until when `reason` holds, where that is known.
    until: float | None = None
    #: What would have let it through.
    undo: str = ""


def plan(asked: Asked, view: View, *, now: float) -> Plan:
    """What becomes of it at `now`."""
    routing = _routed(asked)
    channels = tuple(leg.channel for leg in routing.legs)
    steps = list(routing.steps)
    stop = _stopped(asked, view, routing, now)
    if stop is not None:
        reason, until, undo, words = stop
        steps.append(Step(reason, words, True))
        return Plan((), (), (), channels, tuple(steps), reason, until, undo)
    holds, why = _held(asked, view, routing, now)
    steps += why
    waiting = {hold.channel for hold in holds}
    at_once = tuple(channel for channel in channels if channel not in waiting)
    if not at_once:
        first = holds[0]
        return Plan((), holds, (), channels, tuple(steps), first.cause, first.until, _UNDO[first.cause])
    steps.append(Step("told", f"at once: {', '.join(at_once)}", True))
    steps += [
        Step("told", f"{', '.join(one.channels)} after {one.after} s, unless acknowledged", True)
        for one in routing.escalations
    ]
    return Plan(at_once, holds, routing.escalations, channels, tuple(steps))


def _routed(asked: Asked) -> Routing:
    if not asked.channels:
        return routed(asked.rule, asked.workspace, asked.own, asked.kind, asked.severity)
    named = ", ".join(asked.channels)
    legs = tuple(Leg(channel, asked.workspace.digest) for channel in asked.channels)
    return Routing(legs, (), (Step("rule", f"the channels of the rules it is about: {named}", True),))


def pattern_of(title: str) -> str:
    """What titles have in common that differ in their numbers only."""
    return _NUMBERS.sub("#", title).casefold()[:_PATTERN]


# --- where it stops -------------------------------------------------------------------------------

_Stop = tuple[Reason, float | None, str, str]

_UNDO: Final[dict[str, str]] = {
    "no_channels": "a route that fits, or channels of the rule's own (alertPolicy.channels)",
    "cooldown": "a shorter alertPolicy.cooldownSeconds",
    "duplicate": "another value or condition, or another day where the workspace is",
    "incident": "a larger workspace.incident.rules, or incident: null",
    "flood": "a larger workspace.flood.alerts, or no flood",
    "quiet_hours": "severity critical, or other workspace.quietHours",
    "digest": "severity critical, or no digest for its route",
}


def _stopped(asked: Asked, view: View, routing: Routing, now: float) -> _Stop | None:
    zone = asked.workspace.timezone
    if not routing.legs:
        return "no_channels", None, _UNDO["no_channels"], "it is meant for nobody"
    if view.duplicate_of is not None:
        words = f"alert {view.duplicate_of} told the same today"
        return "duplicate", window_end(86400, zone, now), _UNDO["duplicate"], words
    if asked.cooling_until is not None:
        until = asked.cooling_until
        words = f"the rule told something less than {asked.rule.alert_policy.cooldown_seconds} s before"
        return "cooldown", until, _UNDO["cooldown"], f"{words}: until {told(until, zone, now=now)}"
    if view.incident is not None:
        words = f"part of incident {view.incident}"
        if view.incident_told:
            words += f": {host_of(asked.rule.url)} is told as one"
        elif view.incident_until is not None:
            words += f", if it is one: told by itself at {told(view.incident_until, zone, now=now)} if not"
        return "incident", view.incident_until, _UNDO["incident"], words
    return None


def _held(asked: Asked, view: View, routing: Routing, now: float) -> tuple[tuple[Hold, ...], list[Step]]:
    """Channels that are told later, and why."""
    space = asked.workspace
    if (flood := _flood(asked, view)) is not None:
        by, group, words = flood
        limit = space.flood.within * _FLOOD_WINDOWS if space.flood is not None else 0
        until = _not_in_quiet_hours(asked, window_end(limit, space.timezone, now))
        holds = tuple(Hold("flood", by, group, leg.channel, until) for leg in routing.legs)
        return holds, [_holding("flood", words, until, asked, now)]
    if asked.severity == "critical":
        return (), [Step("quiet_hours", "critical passes quiet hours and digests")]
    until = quiet_until(space.quiet_hours, space.timezone, now) or 0.0
    if until:
        holds = tuple(Hold("quiet_hours", "workspace", "", leg.channel, until) for leg in routing.legs)
        return holds, [_holding("quiet_hours", "it is quiet", until, asked, now)]
    holds = tuple(_digest_of(asked, leg, leg.digest, now) for leg in routing.legs if leg.digest is not None)
    steps = [
        _holding("digest", f"{hold.channel} by {hold.by} {hold.group}".rstrip(), hold.until, asked, now)
        for hold in holds
    ]
    return holds, steps


def _flood(asked: Asked, view: View) -> tuple[str, str, str] | None:
    """What it is one too many of: (by, group, words)."""
    limit = asked.workspace.flood
    if limit is None:
        return None
    if view.like_rule >= limit.alerts:
        words = f"the rule told {view.like_rule} alerts within {limit.within} s"
        return "rule", asked.rule.id, words
    # What only looks alike may be a different trouble; that is not for numbers to decide when it matters.
    if view.like_pattern >= limit.alerts and asked.severity != "critical":
        words = f"{view.like_pattern} alerts like it within {limit.within} s"
        return "pattern", pattern_of(asked.title), words
    return None


def _digest_of(asked: Asked, leg: Leg, digest: Digest, now: float) -> Hold:
    match digest.by:
        case "host":
            group = host_of(asked.rule.url)
        case "tag":
            group = next(iter(asked.rule.tags), "")
        case "workspace":
            group = ""
    until = _not_in_quiet_hours(asked, window_end(digest.every, asked.workspace.timezone, now))
    return Hold("digest", digest.by, group, leg.channel, until)


def _not_in_quiet_hours(asked: Asked, moment: float) -> float:
    """What is told together is not told in the night either."""
    if asked.severity == "critical":
        return moment
    return quiet_until(asked.workspace.quiet_hours, asked.workspace.timezone, moment) or moment


def _holding(reason: Reason, words: str, until: float, asked: Asked, now: float) -> Step:
    when = told(until, asked.workspace.timezone, now=now)
    return Step(reason, f"{words}: told with others at {when}", True)


# --- incidents ------------------------------------------------------------------------------------

IncidentStep = Literal["none", "watch", "open"]


def incident_step(settings: Incident, *, broken: int, failing: int) -> IncidentStep:
    """What a rule that has just broken makes of its host.

    `broken`: rules of the host that broke within the window, this one too; `failing`: others that fail
    and are not broken yet. watch: it may become an incident, so that this rule is not told by itself
    until that is known; with few that fail there is nothing to wait for.
    """
    if broken >= settings.rules:
        return "open"
    if broken + failing >= settings.rules:
        return "watch"
    return "none"
