"""Whether a workspace's routes, digests and quiet hours can do what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from sentinel.decide.routing import covers
from sentinel.errors import Problem
from sentinel.extract.hints import shown
from sentinel.rulefile.shape import BAD

# `Any` is a part of a struct as the reader made it.

_HOST: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*")


def workspace_trouble(parts: dict[str, Any]) -> Iterator[Problem]:
    """Paths are relative to the workspace."""
    quiet = parts.get("quiet_hours")
    if quiet not in (None, BAD) and quiet.start == quiet.end:
        hint = "leave them out, or let digest: {every: 86400} collect what is not critical"
        yield Problem("quietHours", "they end when they start", hint)
    routes = parts.get("routes", [])
    for later, route in enumerate(routes):
        before = (index for index in range(later) if _takes(routes[index], route))
        if (first := next(before, None)) is not None:
            hint = f"put it before routes[{first}], or give that one `continue: true`"
            yield Problem(f"routes[{later}]", f"nothing gets here: routes[{first}] takes it all", hint)


def route_trouble(parts: dict[str, Any]) -> Iterator[Problem]:
    """Paths are relative to the route."""
    channels = parts.get("channels", [])
    if not channels:
        yield Problem("channels", "a route without channels leads nowhere", "channels: [ops]")
    for index, host in enumerate(parts.get("hosts", [])):
        if host is not BAD and not _HOST.fullmatch(host):
            hint = "shop.example.com stands for itself and the hosts under it"
            yield Problem(f"hosts[{index}]", f"{shown(host)} is not the name of a host", hint)
    if parts.get("escalate") not in (None, BAD):
        yield from escalation_trouble(parts["escalate"], channels)


def escalation_trouble(escalation: Any, channels: list[Any]) -> Iterator[Problem]:
    """An escalation beside the channels that are told at once; paths are relative to what has both."""
    if channels and set(escalation.channels) <= set(channels):
        hint = "name channels that are not told before"
        yield Problem("escalate.channels", "they are told at once already", hint)


def _takes(first: Any, later: Any) -> bool:
    if not (_whole(first) and _whole(later)):
        return False  # what is wrong with it is told already; what it would take is not known
    return not first.go_on and covers(first, later)


def _whole(route: Any) -> bool:
    return route is not BAD and BAD not in (*route.tags, *route.kinds, *route.hosts)
