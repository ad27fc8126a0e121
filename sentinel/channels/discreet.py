"""Any sender, made unable to repeat a secret: what endpoints say ends in rows, logs and dead letters."""

from __future__ import annotations

import msgspec

from sentinel.channels.sender import Sender, Sent
from sentinel.credentials import Concealer
from sentinel.errors import SendFailed
from sentinel.model import Channel, Document


class DiscreetSender:
    """Sends through another sender, and masks known secrets in what comes back."""

    def __init__(self, sender: Sender, concealer: Concealer) -> None:
        """`concealer` is the one that learns every credential that `sender` is given."""
        self._sender = sender
        self._concealer = concealer

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        self._concealer.learn_query(channel.url)
        try:
            sent = await self._sender.send(channel, document, message_id=message_id)
        except SendFailed as failed:
            # Another error in its place: what led to the first one may hold what is masked in its words.
            raise type(failed)(
                self._concealer.conceal(failed.detail),
                http_status=failed.http_status,
                retry_after=failed.retry_after,
            ) from None
        if sent.provider_id is None and sent.note is None:
            return sent
        told = (
            None if text is None else self._concealer.conceal(text) for text in (sent.provider_id, sent.note)
        )
        provider_id, note = told
        return msgspec.structs.replace(sent, provider_id=provider_id, note=note)
