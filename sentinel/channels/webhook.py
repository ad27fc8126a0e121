"""Alerts to an HTTP endpoint, by Standard Webhooks 1.0.0.

A channel without the credential `signing_secret` (in short: `secret_env`) is sent unsigned, knowingly.
One that names it is sent signed or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx

from sentinel.channels.http import HttpExchange
from sentinel.channels.sender import DEADLINE, Credentials, Sent
from sentinel.channels.signature import SigningKey, sign
from sentinel.errors import SendRefused
from sentinel.model import Channel, Document

USER_AGENT: Final = "sentinel-webhook/1"


class WebhookSender:
    """POSTs the JSON of an alert through the client it is given, which must be the guard's."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        credentials: Credentials,
        to_json: Callable[[Document], bytes],
        now: Callable[[], float],
        *,
        deadline: float = DEADLINE,
    ) -> None:
        """`now` gives seconds since the epoch."""
        self._http = HttpExchange(client, now, deadline=deadline)
        self._credentials = credentials
        self._to_json = to_json
        self._now = now

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        body = self._to_json(document)
        # An address that is a secret itself is a credential, not a field.
        url = next(iter(self._credentials.get(channel, "url")), channel.url or "")
        answer = await self._http.post(url, body, self._headers(channel, body, message_id))
        if answer.accepted:
            return Sent(http_status=answer.status)
        raise self._http.failure(answer)

    def _headers(self, channel: Channel, body: bytes, message_id: str) -> dict[str, str]:
        timestamp = int(self._now())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
        }
        if keys := self._keys(channel):
            headers["webhook-signature"] = sign(keys, message_id, timestamp, body)
        return headers

    def _keys(self, channel: Channel) -> list[SigningKey]:
        """The keys that sign: every one that the channel names, or SendRefused."""
        try:
            return [SigningKey.parse(text) for text in self._credentials.get(channel, "signing_secret")]
        except ValueError as exc:
            raise SendRefused(f"the credential signing_secret: {exc}; nothing was sent") from exc
