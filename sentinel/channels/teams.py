"""Alerts to Microsoft Teams by a Workflows webhook ("When a Teams webhook request is received")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sentinel.channels import keyed
from sentinel.channels.http import HttpExchange
from sentinel.channels.sender import Credentials, Sent
from sentinel.model import Channel, Document

# `Any` is JSON.


class TeamsSender:
    """POSTs to the URL that is the credential `url`. Accepted means that the flow has begun."""

    def __init__(
        self, http: HttpExchange, credentials: Credentials, to_teams: Callable[[Document], dict[str, Any]]
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._to_teams = to_teams

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        urls = keyed.values(self._credentials, channel, "url")
        body = keyed.encoded(self._to_teams(document))
        answer = await keyed.first_known(
            urls, lambda url: self._http.post(url, body, keyed.headers(message_id))
        )
        if answer.accepted:
            run = answer.headers.get("x-ms-workflow-run-id")
            return Sent(http_status=answer.status, provider_id=answer.name_of(run))
        raise self._http.failure(answer)
