"""Alerts to PagerDuty by its Events API v2.

https://developer.pagerduty.com/docs/send-alert-event

`url` of the channel is where events go: https://events.eu.pagerduty.com/v2/enqueue for the EU region.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sentinel.channels import keyed
from sentinel.channels.http import Answer, HttpExchange
from sentinel.channels.sender import Credentials, Sent
from sentinel.model import Channel, Document

# `Any` is JSON.

DEFAULT_URL: Final = "https://events.pagerduty.com/v2/enqueue"


class PagerDutySender:
    """Enqueues events with the credential `routing_key`."""

    def __init__(
        self, http: HttpExchange, credentials: Credentials, to_pagerduty: Callable[[Document], dict[str, Any]]
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._to_pagerduty = to_pagerduty

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        keys = keyed.values(self._credentials, channel, "routing_key")
        event = self._to_pagerduty(document)

        async def ask(key: str) -> Answer:
            return await self._http.post(
                channel.url or DEFAULT_URL,
                keyed.encoded({"routing_key": key, **event}),
                keyed.headers(message_id),
                read_accepted=True,
            )

        # The newest alone: PagerDuty tells an unknown key from a wrong event in words only, and asks for
        # no second try.
        answer = await ask(keys[0])
        if answer.accepted:
            return Sent(http_status=answer.status, provider_id=answer.name_of(answer.json.get("dedup_key")))
        raise self._http.failure(answer)
