"""Alerts to Slack, or what speaks like it, by an incoming webhook.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sentinel.channels import keyed
from sentinel.channels.http import HttpExchange
from sentinel.channels.sender import Credentials, Sent
from sentinel.model import Channel, Document

# `Any` is JSON.

#: What Slack says of a webhook that was removed or switched off: it will not come back.
_GONE: Final = frozenset((b"no_service", b"no_team", b"team_disabled"))


class SlackSender:
    """POSTs to the URL that is the credential `url`."""

    def __init__(
        self, http: HttpExchange, credentials: Credentials, to_slack: Callable[[Document], dict[str, Any]]
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._to_slack = to_slack

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        urls = keyed.values(self._credentials, channel, "url")
        body = keyed.encoded(self._to_slack(document))
        answer = await keyed.first_known(
            urls, lambda url: self._http.post(url, body, keyed.headers(message_id))
        )
        if answer.accepted:
            return Sent(http_status=answer.status)
        raise self._http.failure(answer, gone=answer.body.strip() in _GONE)
