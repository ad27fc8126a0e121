"""Which streams there are, and what to say about one that is not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from sentinel.cli.exits import CommandError, Exit
from sentinel.jobs import ALERTS_DISPATCH, DISPATCH_ALERT_RETRY, RULES_RUN, RUN_RULE_RETRY
from streamq import Broker, Retry
from streamq.broker import StreamStats

KNOWN: Final = (RULES_RUN, ALERTS_DISPATCH)
RETRIES: Final[Mapping[str, Retry]] = {RULES_RUN: RUN_RULE_RETRY, ALERTS_DISPATCH: DISPATCH_ALERT_RETRY}


async def look(broker: Broker, stream: str, *, otherwise: Exit = Exit.NOT_FOUND) -> StreamStats:
    """A stream's numbers. Raises CommandError for one nobody knows and nobody has used."""
    stats = await broker.stats(stream)
    if stream not in KNOWN and not _used(stats):
        raise CommandError(otherwise, f"there is no stream {stream!r}", did_you_mean(stream))
    return stats


def did_you_mean(stream: str) -> str:
    """The known name that was probably meant, or all of them."""
    close = difflib.get_close_matches(stream, KNOWN, 1)
    return f"did you mean {close[0]}?" if close else f"sentinel's own are {', '.join(KNOWN)}"


def _used(stats: StreamStats) -> bool:
    numbers = (*stats.ready.values(), stats.leased, stats.delayed, stats.dead, stats.done, stats.workers)
    return any(numbers) or bool(stats.counters) or stats.paused
