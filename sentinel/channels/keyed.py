"""What senders that authenticate by a secret share: its values in turn, and the headers of a POST.

What an endpoint repeats of a secret is masked by DiscreetSender, which wraps them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import msgspec

from sentinel.channels.http import Answer
from sentinel.channels.sender import Credentials
from sentinel.errors import SendRefused
from sentinel.model import Channel

USER_AGENT: Final = "sentinel-alerts/1"

#: Statuses by which services say that they do not know a secret.
_UNKNOWN: Final = frozenset((401, 403, 404))


def values(credentials: Credentials, channel: Channel, name: str) -> tuple[str, ...]:
    """The values of a credential that there must be, the newest first. Raises SendRefused."""
    found = credentials.get(channel, name)
    if not found:
        raise SendRefused(f"the channel names no credential {name}; nothing was sent")
    return found


async def first_known(secrets: Collection[str], ask: Callable[[str], Awaitable[Answer]]) -> Answer:
    """The answer to the newest secret, or to an older one where the other side does not know the newest.

    Both are in use while a secret is rotated, and either side may be the first to change.
    """
    *newer, oldest = secrets
    for secret in newer:
        answer = await ask(secret)
        if answer.status not in _UNKNOWN:
            return answer
    return await ask(oldest)


def headers(message_id: str) -> dict[str, str]:
    """Of a POST of JSON. The id is for gateways and logs: the services themselves do not look at it."""
    return {"Content-Type": "application/json", "User-Agent": USER_AGENT, "webhook-id": message_id}


def encoded(payload: dict[str, Any]) -> bytes:
    """`payload` (JSON) as it is sent."""
    return msgspec.json.encode(payload)
