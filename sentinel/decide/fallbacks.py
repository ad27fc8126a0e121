"""Whether channels' fallbacks lead somewhere: no circle, no long chain. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Channels that may be told one after another in place of the first.
MAX_FALLBACKS: Final = 3


def trouble(channel_id: str, fallbacks: Mapping[str, str | None]) -> str | None:
    """What is wrong with where `channel_id` falls back to, or None; `fallbacks` by channel id."""
    way = [channel_id]
    while (following := fallbacks.get(way[-1])) is not None:
        if following in way:
            return "leads back to itself: " + " -> ".join((*way, following))
        way.append(following)
        if len(way) > MAX_FALLBACKS + 1:
            return f"is a chain of more than {MAX_FALLBACKS}: " + " -> ".join(way)
    return None
