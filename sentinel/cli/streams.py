"""Which streams there are, and what to say about one that is not."""

from __future__ import annotations

import difflib
from typing import Final

from sentinel.cli.exits import CommandError, Exit
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from streamq import Broker
from streamq.broker import StreamStats

KNOWN: Final = (RULES_RUN, ALERTS_DISPATCH)


async def look(broker: Broker, stream: str) -> StreamStats:
    """A stream's numbers. Raises CommandError (not found) for one nobody knows and nobody has used."""
    stats = await broker.stats(stream)
    if stream not in KNOWN and not _used(stats):
        raise CommandError(Exit.NOT_FOUND, f"there is no stream {stream!r}", did_you_mean(stream))
    return stats


def did_you_mean(stream: str) -> str:
    """The known name that was probably meant, or all of them."""
    close = difflib.get_close_matches(stream, KNOWN, 1)
    return f"did you mean {close[0]}?" if close else f"sentinel's own are {', '.join(KNOWN)}"


def _used(stats: StreamStats) -> bool:
    numbers = (*stats.ready.values(), stats.leased, stats.delayed, stats.dead, stats.done, stats.workers)
    return any(numbers) or bool(stats.counters) or stats.paused
