"""Alerts to Discord by a webhook.

https://docs.discord.com/developers/resources/webhook#execute-webhook
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentinel.channels import keyed
from sentinel.channels.answers import seconds_of
from sentinel.channels.http import HttpExchange
from sentinel.channels.sender import Credentials, Sent
from sentinel.model import Channel, Document

# `Any` is JSON.


class DiscordSender:
    """POSTs to the URL that is the credential `url`, and waits for the id of the message."""

    def __init__(
        self, http: HttpExchange, credentials: Credentials, to_discord: Callable[[Document], dict[str, Any]]
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._to_discord = to_discord

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        urls = keyed.values(self._credentials, channel, "url")
        body = keyed.encoded(self._to_discord(document))
        answer = await keyed.first_known(
            urls,
            lambda url: self._http.post(_waiting(url), body, keyed.headers(message_id), read_accepted=True),
        )
        said = answer.json
        if answer.accepted:
            return Sent(http_status=answer.status, provider_id=answer.name_of(said.get("id")))
        raise self._http.failure(
            answer,
            asked=seconds_of(said.get("retry_after")),
            # Discord bans who keeps calling a webhook that is no more (topics/rate-limits).
            gone=answer.status == 404,
        )


def _waiting(url: str) -> str:
    """Asks for the message in the answer, so that 200 means that it is there."""
    return f"{url}{'&' if '?' in url else '?'}wait=true"
