"""What every way to tell somebody has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from sentinel.model import Channel, ChannelType, Document

#: A whole send, name lookup to answer, may take this long (seconds): Standard Webhooks asks for 15 to 30.
DEADLINE: Final = 20.0


class Sent(msgspec.Struct, frozen=True):
    """The channel accepted the alert."""

    http_status: int | None = None
    #: The other side's name for it, where it gives one.
    provider_id: str | None = None
    #: What else there is to know: who of several did not get it, and why.
    note: str | None = None


class Sender(Protocol):
    """One way to tell somebody."""

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """Hand `document` over once, within the deadline.

        `message_id` is the same on every try of the same delivery, so that the other side can tell
        a repetition. Raises SendLater, SendRefused or EndpointGone, nothing else.
        """
        ...


class Credentials(Protocol):
    """Where the values of a channel's credentials are had."""

    def get(self, channel: Channel, name: str) -> tuple[str, ...]:
        """The values of the credential `name`, the newest first: several while it is rotated.

        () where the channel names none of that name. Asked anew for each send, so that a rotated
        value is in use with the next one; never keep, log or quote what it gives. Raises
        SendRefused, which quotes no value, where one is named that cannot be had here.
        """
        ...


#: By channel type; a type that is missing has no sender in this process.
Senders = Mapping[ChannelType, Sender]
