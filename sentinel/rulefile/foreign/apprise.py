"""Addresses of notifications as changedetection.io keeps them (Apprise's) as channels of ours.

Only what is no secret is read from them. What is one has to be put in an environment variable by a
person, who is told which.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from sentinel.rulefile.foreign.carried import Draft

# `Any` is a plain value.

#: scheme -> what a credential is called here, and what it is made of, for people.
_TOLD: Final = {
    "slack": ("url", "https://hooks.slack.com/services/A/B/C of slack://A/B/C"),
    "discord": ("url", "https://discord.com/api/webhooks/ID/TOKEN of discord://ID/TOKEN"),
    "teams": ("url", "the workflow's whole https address"),
    "telegram": ("bot_token", "123456789:AA... of tgram://TOKEN/CHAT"),
    "pagerduty": ("routing_key", "the integration key of pagerduty://KEY@APIKEY"),
    "apprise": ("url", "the whole address, as it was"),
    "email": ("smtp_url", "smtp://user:password@host:587"),
}


def channel_of(address: str, draft: Draft, known: dict[str, str]) -> str | None:
    """The id of the channel for an address, made when it is first met; None: it is none."""
    address = address.strip()[:4000]
    if address in known:
        return known[address]
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    scheme = parts.scheme.lower()
    if not re.fullmatch(r"[a-z][a-z0-9+.-]{1,30}", scheme) or "{" in scheme:
        draft.note("notification_urls", "", "dropped", "an address that has no scheme")
        return None
    made = _BY_SCHEME.get(scheme, _apprise)(parts)
    channel_id = draft.new_id(made["type"])
    channel = {"id": channel_id, **made}
    if (told := _TOLD.get(channel["type"])) is not None:
        name, what = told
        variable = f"IMPORTED_{channel_id.upper().replace('-', '_')}"
        channel["credentials"] = {name: {"env": variable}}
        draft.note(channel_id, f"{scheme}://", "carried", f"set {variable}: {what}")
    if channel["type"] == "apprise":
        draft.note(
            channel_id, f"{scheme}://", "carried", "needs the extra apprise and SENTINEL_APPRISE_SCHEMES"
        )
    if channel["type"] == "webhook":
        draft.note(
            channel_id,
            f"{scheme}://",
            "carried",
            "its body is another: docs/webhooks.md; give it a signing secret",
        )
    draft.channels.append(channel)
    known[address] = channel_id
    return channel_id


def _webhook(parts: SplitResult) -> dict[str, Any]:
    scheme = "https" if parts.scheme.lower().endswith("s") else "http"
    host = parts.netloc.rpartition("@")[2]
    return {"type": "webhook", "url": f"{scheme}://{host}{parts.path or '/'}"}


def _telegram(parts: SplitResult) -> dict[str, Any]:
    found = re.search(r"/(-?\d{1,20}|@[A-Za-z]\w{3,63})/?$", parts.path)
    return {"type": "telegram", "chatId": found[1] if found else ""}


def _ntfy(parts: SplitResult) -> dict[str, Any]:
    topic = parts.path.strip("/").partition("/")[0]
    host = parts.netloc.rpartition("@")[2]
    if not topic:
        return {"type": "ntfy", "topic": host}
    scheme = "https" if parts.scheme.lower() == "ntfys" else "http"
    return {"type": "ntfy", "topic": topic, "url": f"{scheme}://{host}"}


def _mail(parts: SplitResult) -> dict[str, Any]:
    queried = re.search(r"(?:^|&)to=([^&]+)", parts.query)
    user, _, host = parts.netloc.rpartition("@")
    own = user.partition(":")[0] or parts.path.strip("/")
    to = queried[1].replace("%40", "@") if queried else own if "@" in own else f"{own}@{host}"
    return {"type": "email", "to": [to]}


def _just(kind: str) -> Callable[[SplitResult], dict[str, Any]]:
    return lambda parts: {"type": kind}  # noqa: ARG005 - the address holds nothing but secrets


_apprise: Final = _just("apprise")

_BY_SCHEME: Final[dict[str, Callable[[SplitResult], dict[str, Any]]]] = {
    "slack": _just("slack"),
    "discord": _just("discord"),
    "msteams": _just("teams"),
    "workflow": _just("teams"),
    "workflows": _just("teams"),
    "tgram": _telegram,
    "telegram": _telegram,
    "ntfy": _ntfy,
    "ntfys": _ntfy,
    "mailto": _mail,
    "mailtos": _mail,
    "pagerduty": _just("pagerduty"),
    "json": _webhook,
    "jsons": _webhook,
    "post": _webhook,
    "posts": _webhook,
}
