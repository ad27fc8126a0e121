"""Loopback servers that behave as the chat services do: their schema, limits, answers and errors.

    async with receivers.opened(receivers.Slack) as slack:         # on this loop; serve_in_thread alike
        channel = slack.channel("ops")                             # a Channel that leads there
        credentials = slack.credentials                            # {"url": "http://127.0.0.1:.../services/..."}
        slack.trouble(slack.rate_limited(7), dropped)              # the next two requests; then as usual
        ...
        slack.accepted[0].payload                                  # decoded, valid by the service's schema
        slack.ids["job-1:ops"]                                     # how often that message was accepted
        slack.refused                                              # why payloads were refused, in words
        slack.requests                                             # everything that came, as tests.support.http

A message is known by what the service itself looks at (PagerDuty: dedup_key and action, ntfy:
sequence_id), else by the header `webhook-id` that every sender of ours sends.

Troubles: a `Reply` (a 4xx or 5xx with any body and headers), an async function of (Request,
StreamWriter) such as `dropped` and `silent`, `slow(seconds)`, `redirected(to)`, and each service's own
`rate_limited(seconds)` and `documented` errors by their name. `always=...` sets one for good, None ends
it. `opened(..., broken_tls=True)` speaks TLS with a certificate nobody trusts.
"""

from __future__ import annotations

from tests.support.receivers.base import (
    Accepted,
    Receiver,
    dropped,
    opened,
    opened_in_thread,
    redirected,
    silent,
    slow,
)
from tests.support.receivers.discord import Discord
from tests.support.receivers.ntfy import Ntfy
from tests.support.receivers.pagerduty import PagerDuty
from tests.support.receivers.slack import Slack
from tests.support.receivers.teams import Teams
from tests.support.receivers.telegram import Telegram
from tests.support.receivers.webhook import Webhook

#: By the type of channel that they receive.
RECEIVERS: dict[str, type[Receiver]] = {
    kind.kind: kind for kind in (Webhook, Slack, Discord, Teams, Telegram, Ntfy, PagerDuty)
}

__all__ = [
    "RECEIVERS",
    "Accepted",
    "Discord",
    "Ntfy",
    "PagerDuty",
    "Receiver",
    "Slack",
    "Teams",
    "Telegram",
    "Webhook",
    "dropped",
    "opened",
    "opened_in_thread",
    "redirected",
    "silent",
    "slow",
]
