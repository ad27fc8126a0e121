"""Any sender, given the words of the channel's template in place of the usual ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sentinel.channels.sender import Sender, Sent
from sentinel.model import Channel, Document


class TemplatedSender:
    """Sends through another sender what its template makes of the document."""

    def __init__(self, sender: Sender, words: Callable[[Channel, Document], Awaitable[Document]]) -> None:
        """`words` never fails."""
        self._sender = sender
        self._words = words

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        return await self._sender.send(channel, await self._words(channel, document), message_id=message_id)
