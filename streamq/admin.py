"""What a person does to streams, and asks of them: cancel, find, why, requeue, drain, order workers about.

Everything here is made of the broker's verbs, so it works on every broker; none of it is needed for
jobs to run.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

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
from streamq.errors import InvalidJob, InvalidPayload
from streamq.letters import DeadFilter
from streamq.load import RECORDS, Load, look, measure
from streamq.partitions import split_name
from streamq.retry import Retry
from streamq.steering import check_entry_ids, check_order
from streamq.why import Surroundings, explain

__all__ = ["Admin", "DeadFilter", "Load", "Surroundings", "WorkerView", "explain"]

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
        payload_types: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`retries`: the retry policies of the streams, for words such as `attempt 2 of 3`.
        `payload_types`: what an edited payload is held against, by stream; of others, any JSON will do.
        """
        self._broker = broker
        self._streams = tuple(streams)
        self._retries = dict(retries or {})
        self._payload_types = dict(payload_types or {})
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
            self._retries.get(seen.stream, self._retries.get(split_name(seen.stream)[0])),
        )
        return explain(seen, around)

    async def cancel(self, job_id: str, *, look: int = LOOK) -> tuple[str, Cancellation]:
        """Cancel a job in the stream that it is in; see `Broker.cancel`. The stream, and what was found."""
        seen = await self.find(job_id, look=look)
        return seen.stream, await self._broker.cancel(seen.stream, job_id, look=look)

    # --- dead letters -----------------------------------------------------------------------------

    async def dead_letters(
        self,
        stream: str,
        wanted: DeadFilter = DeadFilter(),  # noqa: B008 - frozen
    ) -> AsyncIterator[DeadJob]:
        """A stream's that are meant, newest first, a page at a time. To look at them first is the dry run of
        `requeue` and `purge`, which take their `entry_id`s.
        """
        before: str | None = None
        while page := await self._broker.dead(stream, limit=PAGE, before=before):
            for letter in page:
                if wanted.ends_at(letter):
                    return
                if wanted.accepts(letter):
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
        """Make dead letters ready again, in this order, at most `rate` of them a second.

        `payloads`, by entry id, are put in the place of those that were wrong. Raises InvalidPayload where
        one of them does not fit its stream's type, InvalidJob for a rate of 0 or no entry id; nothing
        has changed then.
        """
        if rate is not None and not 0 < rate < math.inf:
            raise InvalidJob(
                f"dead letters are requeued at a rate above 0 a second, or None: at once; not {rate!r}"
            )
        check_entry_ids(split_name(str(one))[0] for one in entry_ids)
        for entry_id, payload in (payloads or {}).items():
            self._check_payload(stream, entry_id, payload)
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

    def _check_payload(self, stream: str, entry_id: str, payload: bytes) -> None:
        try:
            msgspec.json.decode(payload, type=self._payload_types.get(stream, Any))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidPayload(f"the payload for dead letter {entry_id} of {stream}: {error}") from error

    async def purge(self, stream: str, entry_ids: Sequence[str]) -> int:
        """Delete dead letters; how many there were. Raises InvalidJob, and deletes none, for no id."""
        check_entry_ids(split_name(str(one))[0] for one in entry_ids)
        gone = 0
        for first in range(0, len(entry_ids), PAGE):
            gone += await self._broker.purge(stream, entry_ids[first : first + PAGE])
        return gone

    # --- streams and workers -----------------------------------------------------------------------

    async def set_partitions(self, stream: str, count: int) -> int:
        """Have so many partitions, more than before; see `Broker.set_partitions`."""
        return await self._broker.set_partitions(stream, count)

    async def drained(self, stream: str, *, within: float | None = None) -> StreamStats:
        """Wait until nothing is ready or in hand, at most so many seconds; how it is then.

        What is delayed stays, and producers are not stopped: nothing in Redis could.
        """
        return await self._until(stream, _is_empty, within)

    async def settled(self, stream: str, *, within: float | None = None) -> StreamStats:
        """Pause the stream and wait until nothing of it is in hand, at most so many seconds; how it is then.

        What waits stays where it is, for whoever resumes the stream.
        """
        await self._broker.set_paused(stream, paused=True)
        return await self._until(stream, _is_at_rest, within)

    async def _until(
        self, stream: str, so: Callable[[StreamStats], bool], within: float | None
    ) -> StreamStats:
        deadline = None if within is None else self._clock.monotonic() + within
        while True:
            stats = await self._broker.stats(stream)
            if so(stats) or (deadline is not None and self._clock.monotonic() >= deadline):
                return stats
            await anyio.sleep(DRAIN_LOOK)

    async def load(self, stream: str, *, over: float = 0.0) -> Load:
        """How much work comes in and how long it takes: `load.workers_needed(slots)`.

        Looked at twice, `over` seconds apart; 0: once, and what comes in is taken for what was done of late.
        """
        before = None
        if over > 0:
            before = look(await self._broker.stats(stream), self._clock.monotonic())
            await anyio.sleep(over)
        stats = await self._broker.stats(stream)
        now = look(stats, self._clock.monotonic())
        return measure(stats, await self._broker.done(stream, limit=RECORDS), now=now, before=before)

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
        check_order(order)
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


def _is_empty(stats: StreamStats) -> bool:
    return not stats.leased and not sum(stats.ready.values())


def _is_at_rest(stats: StreamStats) -> bool:
    return not stats.leased
