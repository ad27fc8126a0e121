"""What a person does to streams, and asks of them: cancel, find, why, requeue, drain, order workers about.

Everything here is made of the broker's verbs, so it works on every broker; none of it is needed for
jobs to run.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import anyio
import msgspec

from streamq.broker import (
    LOOK,
    Broker,
    Cancellation,
    DeadJob,
    Order,
    Requeued,
    Sighting,
    StreamStats,
    Verb,
    WorkerSeen,
)
from streamq.clock import Clock, SystemClock
from streamq.retry import Retry
from streamq.why import Surroundings, explain

__all__ = ["Admin", "Surroundings", "WorkerView", "explain"]

#: Dead letters read, requeued or purged in one call.
PAGE: Final = 200
#: Seconds between looks at whether a stream is drained, and at whether a worker has answered.
DRAIN_LOOK: Final = 0.2
ANSWER_LOOK: Final = 0.1
#: Seconds a worker is given to answer: more than three heartbeats at their default.
PATIENCE: Final = 10.0


class WorkerView(msgspec.Struct, frozen=True):
    """A worker, over all the streams that were asked about."""

    name: str
    #: Stream -> how it was seen there.
    streams: dict[str, WorkerSeen]

    @property
    def in_hand(self) -> int:
        """Jobs in its hands."""
        return sum(one.in_hand for one in self.streams.values())

    @property
    def slots(self) -> int:
        """Jobs it runs at once, all streams together."""
        return sum(one.facts.slots for one in self.streams.values())

    @property
    def quiet(self) -> bool:
        """It takes no more."""
        return any(one.facts.quiet for one in self.streams.values())

    @property
    def heard_seconds(self) -> float | None:
        """Seconds since its last heartbeat; None: it never told."""
        return min(
            (one.heard_seconds for one in self.streams.values() if one.heard_seconds is not None),
            default=None,
        )

    @property
    def listed(self) -> bool:
        """Somebody watches over it; False: it holds something, and only a sweep takes that back."""
        return any(one.beat is not None for one in self.streams.values())


class Admin:
    """Control and inspection of some streams."""

    def __init__(
        self,
        broker: Broker,
        streams: Sequence[str],
        *,
        retries: Mapping[str, Retry] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`retries`: the retry policies of the streams, for words such as `attempt 2 of 3`."""
        self._broker = broker
        self._streams = tuple(streams)
        self._retries = dict(retries or {})
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"<Admin of {', '.join(self._streams)}>"

    # --- one job --------------------------------------------------------------------------------

    async def find(self, job_id: str, *, look: int = LOOK) -> Sighting:
        """One job in whatever state, in whichever stream; see `Broker.find`."""
        unknown: Sighting | None = None
        for stream in self._streams:
            seen = await self._broker.find(stream, job_id, look=look)
            if seen.state != "unknown":
                return seen
            # Of the streams it is not in, the one it may yet be in says so.
            if unknown is None or not seen.looked_at_all:
                unknown = seen
        if unknown is None:
            raise ValueError("there is no stream to look in")
        return unknown

    async def why(self, seen: Sighting) -> str:
        """Why a job is not running, in one sentence."""
        around = Surroundings(
            await self._broker.stats(seen.stream),
            await self._broker.workers(seen.stream),
            self._retries.get(seen.stream),
        )
        return explain(seen, around)

    async def cancel(self, job_id: str, *, look: int = LOOK) -> tuple[str, Cancellation]:
        """Cancel a job in the stream that it is in; see `Broker.cancel`. The stream, and what was found."""
        seen = await self.find(job_id, look=look)
        return seen.stream, await self._broker.cancel(seen.stream, job_id, look=look)

    # --- dead letters -----------------------------------------------------------------------------

    async def dead_letters(self, stream: str) -> AsyncIterator[DeadJob]:
        """All of a stream's, newest first, a page at a time."""
        before: str | None = None
        while page := await self._broker.dead(stream, limit=PAGE, before=before):
            for letter in page:
                yield letter
            before = page[-1].entry_id

    async def requeue(
        self,
        stream: str,
        entry_ids: Sequence[str],
        *,
        rate: float | None = None,
        payloads: Mapping[str, bytes] | None = None,
    ) -> Requeued:
        """Make dead letters ready again, in this order, at most `rate` of them a second."""
        size = PAGE if rate is None else max(1, min(PAGE, int(rate * DRAIN_LOOK)))
        ready: list[str] = []
        duplicate: list[str] = []
        began = self._clock.monotonic()
        for first in range(0, len(entry_ids), size):
            if rate is not None:
                await anyio.sleep(max(0.0, began + first / rate - self._clock.monotonic()))
            made = await self._broker.requeue(stream, entry_ids[first : first + size], payloads=payloads)
            ready += made.ready
            duplicate += made.duplicate
        return Requeued(tuple(ready), tuple(duplicate))

    async def purge(self, stream: str, entry_ids: Sequence[str]) -> int:
        """Delete dead letters; how many there were."""
        gone = 0
        for first in range(0, len(entry_ids), PAGE):
            gone += await self._broker.purge(stream, entry_ids[first : first + PAGE])
        return gone

    # --- streams and workers -----------------------------------------------------------------------

    async def drained(self, stream: str, *, within: float | None = None) -> StreamStats:
        """Wait until nothing is ready or in hand, at most so many seconds; how it is then.

        What is delayed stays, and producers are not stopped: nothing in Redis could.
        """
        deadline = None if within is None else self._clock.monotonic() + within
        while True:
            stats = await self._broker.stats(stream)
            if not stats.leased and not sum(stats.ready.values()):
                return stats
            if deadline is not None and self._clock.monotonic() >= deadline:
                return stats
            await anyio.sleep(DRAIN_LOOK)

    async def workers(self) -> list[WorkerView]:
        """Who works on the streams, by name."""
        found: dict[str, dict[str, WorkerSeen]] = {}
        for stream in self._streams:
            for seen in await self._broker.workers(stream):
                found.setdefault(seen.name, {})[stream] = seen
        return [WorkerView(name, streams) for name, streams in sorted(found.items())]

    async def order(self, worker: WorkerView, verb: Verb, *, patience: float = PATIENCE) -> str | None:
        """Have a worker do something, and answer; None: it has not answered within `patience` seconds.

        It may still do it, when its next heartbeat comes through.
        """
        order = Order(secrets.token_hex(6), verb)
        for stream, seen in worker.streams.items():
            if seen.beat is not None and await self._broker.order(stream, worker.name, order):
                return await self._answer(stream, order, patience)
        return None

    async def _answer(self, stream: str, order: Order, patience: float) -> str | None:
        with anyio.move_on_after(patience):
            while True:
                answer = await self._broker.answered(stream, order.order_id)
                if answer is not None:
                    return answer
                await anyio.sleep(ANSWER_LOOK)
        return None
