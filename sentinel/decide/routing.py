"""Which channels an alert goes to: the rule's own, or those of the routes that fit. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args
from urllib.parse import urlsplit

import msgspec

from sentinel.errors import Severity
from sentinel.model import AlertKind, Digest, Escalation, Route, Rule, RuleType, Workspace

RANK: Final[dict[Severity, int]] = {"info": 0, "warning": 1, "critical": 2}
_TYPES: Final = frozenset(get_args(RuleType))


class Step(msgspec.Struct, frozen=True):
    """One line of the way from an alert to its channels, or to where it stops."""

    #: rule | route | cooldown | duplicate | incident | flood | quiet_hours | digest | told
    name: str
    words: str
    #: It decides: this is where the alert goes, or why it does not.
    counts: bool = False


class Leg(msgspec.Struct, frozen=True):
    """A channel that an alert is meant for."""

    channel: str
    #: It is collected there instead of sent at once.
    digest: Digest | None = None


class Routing(msgspec.Struct, frozen=True):
    """Where an alert is meant to go, before anything holds it back."""

    legs: tuple[Leg, ...]
    escalations: tuple[Escalation, ...]
    steps: tuple[Step, ...]


def routed(
    rule: Rule, workspace: Workspace, own: Sequence[str], kind: AlertKind, severity: Severity
) -> Routing:
    """The rule's `own` channels if it names any, else those of the routes.

    A channel that several routes name is told once, as the first of them says.
    """
    policy = rule.alert_policy
    if own:
        legs = [Leg(channel, workspace.digest) for channel in dict.fromkeys(own)]
        steps = [Step("rule", f"its own channels: {', '.join(own)}; routes are not asked", True)]
        escalations = [] if policy.escalate is None else [policy.escalate]
        return Routing(tuple(legs), _new(escalations, legs), tuple(steps))
    steps = [Step("rule", "it names no channels of its own: routes are asked")]
    found: dict[str, Leg] = {}
    escalations = []
    for number, route in enumerate(workspace.routes, start=1):
        no = misfit(route, rule, kind, severity)
        steps.append(_step(route, number, no))
        if no is not None:
            continue
        for channel in route.channels:
            found.setdefault(channel, Leg(channel, route.digest or workspace.digest))
        escalation = policy.escalate or route.escalate
        if escalation is not None and escalation not in escalations:
            escalations.append(escalation)
        if not route.go_on:
            break
    legs = list(found.values())
    return Routing(tuple(legs), _new(escalations, legs), tuple(steps))


def misfit(route: Route, rule: Rule, kind: AlertKind, severity: Severity) -> str | None:
    """Why a route does not take such an alert, or None: it does."""
    if route.severity is not None and RANK[severity] < RANK[route.severity]:
        return f"{severity} is less than {route.severity}"
    if route.tags and not set(route.tags) & set(rule.tags):
        return f"the rule has none of the tags {', '.join(route.tags)}"
    types = _TYPES & set(route.kinds)
    kinds = set(route.kinds) - _TYPES
    if types and rule.type not in types:
        return f"the rule is of type {rule.type}"
    if kinds and kind not in kinds:
        return f"the alert is of kind {kind}"
    host = host_of(rule.url)
    if route.hosts and not any(under(host, one) for one in route.hosts):
        return f"{host or 'no host'} is not under {', '.join(route.hosts)}"
    return None


def covers(first: Route, later: Route) -> bool:
    """Whether `first` takes every alert that `later` would."""
    if RANK[first.severity or "info"] > RANK[later.severity or "info"]:
        return False
    if first.tags and not (later.tags and set(later.tags) <= set(first.tags)):
        return False
    for sort in (_TYPES, _KINDS):
        mine, its = set(first.kinds) & sort, set(later.kinds) & sort
        if mine and not (its and its <= mine):
            return False
    return not first.hosts or bool(
        later.hosts and all(any(under(one, host) for host in first.hosts) for one in later.hosts)
    )


def host_of(url: str) -> str:
    """The host of a page, lower case; '' where there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def under(host: str, suffix: str) -> bool:
    """Whether a host is `suffix`, or lies under it."""
    wanted = suffix.lower().strip(".")
    return host == wanted or host.endswith(f".{wanted}")


_KINDS: Final = frozenset(get_args(AlertKind))


def _new(escalations: list[Escalation], legs: list[Leg]) -> tuple[Escalation, ...]:
    """Without the channels that are told anyway."""
    known = {leg.channel for leg in legs}
    rest = []
    for one in escalations:
        channels = [channel for channel in dict.fromkeys(one.channels) if channel not in known]
        known.update(channels)
        if channels:
            rest.append(Escalation(after=one.after, channels=channels))
    return tuple(rest)


def _step(route: Route, number: int, no: str | None) -> Step:
    name = f"route {number}" if route.id is None else f"route {number} ({route.id})"
    if no is not None:
        return Step("route", f"{name}: no, {no}")
    words = f"{name}: yes, to {', '.join(route.channels) or 'nobody'}"
    if route.digest is not None:
        words += f", as a digest by {route.digest.by} every {route.digest.every} s"
    if route.escalate is not None:
        words += f"; unacknowledged after {route.escalate.after} s to {', '.join(route.escalate.channels)}"
    return Step("route", words + ("; and on" if route.go_on else ""), True)
