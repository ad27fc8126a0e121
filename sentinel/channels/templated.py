"""Any sender, given the words of the channel's template in place of the usual ones."""

from __future__ import annotations

from collections.abc import Callable

from sentinel.channels.sender import Sender, Sent
from sentinel.model import Channel, Document


class TemplatedSender:
    """Sends through another sender what `with_template` makes of the document."""

    def __init__(self, sender: Sender, with_template: Callable[[Channel, Document], Document]) -> None:
        """`with_template` never fails."""
        self._sender = sender
        self._with_template = with_template

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        return await self._sender.send(channel, self._with_template(channel, document), message_id=message_id)
