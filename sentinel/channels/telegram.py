"""Alerts to a Telegram chat by a bot.

https://core.telegram.org/bots/api#sendmessage

`url` of the channel is where the Bot API is: Telegram's, or a server of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from sentinel.channels import keyed
from sentinel.channels.answers import seconds_of
from sentinel.channels.http import Answer, HttpExchange
from sentinel.channels.sender import Credentials, Sent
from sentinel.errors import SendFailed, SendRefused
from sentinel.model import Channel, Document

# `Any` is JSON.

DEFAULT_URL: Final = "https://api.telegram.org"

#: It becomes a part of the path: nothing else may come in by it.
_TOKEN: Final = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,100}")
#: 403 in these words means that nobody is there any more.
_GONE: Final = ("bot was blocked by the user", "bot was kicked", "user is deactivated")


class TelegramSender:
    """Calls sendMessage with the credential `bot_token`."""

    def __init__(
        self, http: HttpExchange, credentials: Credentials, to_telegram: Callable[[Document], dict[str, Any]]
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._to_telegram = to_telegram

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        tokens = keyed.values(self._credentials, channel, "bot_token")
        if not all(_TOKEN.fullmatch(token) for token in tokens):
            raise SendRefused("the credential bot_token is not a bot's token; nothing was sent")
        if not channel.chat_id:
            raise SendRefused("the channel has no chatId; nothing was sent")
        base = (channel.url or DEFAULT_URL).rstrip("/")
        body = keyed.encoded({"chat_id": channel.chat_id, **self._to_telegram(document)})
        answer = await keyed.first_known(
            tokens,
            lambda token: self._http.post(
                f"{base}/bot{token}/sendMessage",
                body,
                keyed.headers(message_id),
                read_accepted=True,
            ),
        )
        if not answer.accepted:
            raise self._failure(answer)
        result = answer.json.get("result")
        number = result.get("message_id") if isinstance(result, dict) else None
        return Sent(http_status=answer.status, provider_id=answer.name_of(number))

    def _failure(self, answer: Answer) -> SendFailed:
        said = answer.json
        parameters = said.get("parameters")
        asked = parameters.get("retry_after") if isinstance(parameters, dict) else None
        words = str(said.get("description"))
        return self._http.failure(
            answer,
            asked=seconds_of(asked),
            gone=answer.status == 403 and any(sign in words for sign in _GONE),
        )
