"""Alerts to phones by ntfy, published as JSON.

https://docs.ntfy.sh/publish/#publish-as-json
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from sentinel.channels import keyed
from sentinel.channels.http import Answer, HttpExchange
from sentinel.channels.sender import Credentials, Sent
from sentinel.errors import SendRefused
from sentinel.model import Channel, Document

# `Any` is JSON.

DEFAULT_URL: Final = "https://ntfy.sh"


class NtfySender:
    """Publishes to the channel's topic, with the credential `token` where it names one."""

    def __init__(
        self, http: HttpExchange, credentials: Credentials, to_ntfy: Callable[[Document], dict[str, Any]]
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._to_ntfy = to_ntfy

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        if not channel.topic:
            raise SendRefused("the channel has no topic; nothing was sent")
        tokens = self._credentials.get(channel, "token")
        url = (channel.url or DEFAULT_URL).rstrip("/") + "/"
        body = keyed.encoded(
            {"topic": channel.topic, "sequence_id": _sequence(message_id), **self._to_ntfy(document)}
        )

        async def ask(token: str) -> Answer:
            headers = keyed.headers(message_id) | ({"Authorization": f"Bearer {token}"} if token else {})
            return await self._http.post(url, body, headers, read_accepted=True)

        answer = await keyed.first_known(tokens or ("",), ask)
        if answer.accepted:
            return Sent(http_status=answer.status, provider_id=answer.name_of(answer.json.get("id")))
        raise self._http.failure(answer)


def _sequence(message_id: str) -> str:
    """By it a server (2.16 and later) and its apps take a second try for the same notification."""
    return hashlib.sha256(message_id.encode()).hexdigest()[:32]
