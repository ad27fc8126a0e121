"""What the broker suite holds a broker by: workers, foreign producers, and time that passes."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec
import redis.asyncio as aioredis

from streamq.broker import (
    Again,
    Broker,
    Bury,
    Done,
    Finish,
    Lease,
    Release,
    Renewal,
    Retention,
    StreamStats,
    Turn,
)
from streamq.clock import ManualClock
from streamq.job import NewJob, Receipt, new_job_id
from streamq.keys import Lane, StreamKeys
from streamq.redis_broker import RedisBroker
from streamq.testing import MemoryBroker

#: Seconds after which a test gives up on something that should long have happened.
PATIENCE = 10.0
#: Crash budget of tests that are not about it.
BUDGET = 3

KEEP = Retention()

#: What may become of a delivery, by name.
FINISHES: dict[str, Callable[[Lease], Finish]] = {
    "done": Done,
    "retry": lambda lease: Again(lease, delay=60, counts=True),
    "snooze": lambda lease: Again(lease, delay=60, counts=False),
    "bury": lambda lease: Bury(lease, reason="because"),
    "release": Release,
}


class Hand:
    """One worker as the broker sees it: a name and a turn number."""

    def __init__(self, broker: Broker, stream: str, name: str) -> None:
        self.broker = broker
        self.stream = stream
        self.name = name
        self.sequence = 0

    async def turn(self, *finished: Finish, free: int = 0, retention: Retention = KEEP) -> Turn:
        self.sequence += 1
        return await self.repeat(*finished, free=free, retention=retention)

    async def repeat(self, *finished: Finish, free: int = 0, retention: Retention = KEEP) -> Turn:
        """The last turn once more, as after a lost reply."""
        return await self.broker.turn(
            self.stream,
            self.name,
            sequence=self.sequence,
            finished=finished,
            free=free,
            retention=retention,
        )

    async def take(self, free: int = 1) -> list[Lease]:
        return list((await self.turn(free=free)).leases)

    async def take_one(self) -> Lease:
        (lease,) = await self.take(1)
        return lease

    async def finish(self, *finished: Finish) -> frozenset[str]:
        """The keys of the leases that were refused."""
        return (await self.turn(*finished)).refused

    def renew(self, *held: Lease) -> Renewal:
        return self.broker.renew(self.stream, self.name, held)


class Rig:
    """A broker and one stream on it."""

    def __init__(self, broker: MemoryBroker | RedisBroker, client: aioredis.Redis | None) -> None:
        self.broker: Broker = broker
        self.stream = "jobs"
        self._memory = broker if isinstance(broker, MemoryBroker) else None
        self._client = client
        self._calls = itertools.count()

    def hand(self, name: str = "alice") -> Hand:
        return Hand(self.broker, self.stream, name)

    async def put(self, *jobs: NewJob, call_id: str | None = None) -> list[Receipt]:
        call_id = call_id or f"call-{next(self._calls)}"
        return await self.broker.enqueue(self.stream, jobs, call_id=call_id)

    async def put_one(self, **options: Any) -> str:
        (receipt,) = await self.put(job(**options))
        return receipt.job_id

    async def stats(self) -> StreamStats:
        return await self.broker.stats(self.stream)

    async def places(self) -> dict[str, int]:
        """How many jobs are where; what is nowhere is left out."""
        stats = await self.stats()
        places = {
            "ready": sum(stats.ready.values()),
            "leased": stats.leased,
            "delayed": stats.delayed,
            "parked": stats.parked,
            "dead": stats.dead,
            "done": stats.done,
        }
        return {place: count for place, count in places.items() if count}

    async def inject(self, fields: Mapping[Any, Any], lane: Lane = "normal") -> str:
        """What a producer in another language does: XADD and nothing else."""
        if self._memory is not None:
            return self._memory.inject(self.stream, fields, lane)
        keys = StreamKeys.of(self.stream)
        key = dict(zip(("high", "normal", "low"), keys.lanes, strict=True))[lane]
        entry_id = await self.client.xadd(key, dict(fields))
        return entry_id.decode() if isinstance(entry_id, bytes) else entry_id

    async def now_ms(self) -> int:
        if self._memory is not None:
            return int(self._memory.clock.time() * 1000 + 0.001)
        seconds, micros = await self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def let_pass(self, seconds: float) -> None:
        """Return when the broker's clock is `seconds` further."""
        if self._memory is not None and isinstance(self._memory.clock, ManualClock):
            self._memory.clock.advance(seconds)
            return
        until = await self.now_ms() + seconds * 1000

        async def passed() -> bool:
            return await self.now_ms() > until

        await eventually(passed)

    async def kill(self, hand: Hand, *, budget: int = BUDGET) -> None:
        """The worker has died, and somebody noticed."""
        await self.broker.reclaim(self.stream, hand.name, beat=None, crash_budget=budget)

    async def unique_seconds(self, key: str) -> float:
        """How long a uniqueness key would still be held if nothing else happened."""
        if self._memory is not None:
            return self._memory._streams[self.stream].unique.left(key, await self.now_ms()) / 1000
        return await self.client.pttl(StreamKeys.of(self.stream).unique(key)) / 1000

    async def sleepers(self) -> int:
        """Waits that are asleep at the broker now."""
        if self._memory is not None:
            return len(self._memory._streams[self.stream].sleepers)
        return int((await self.client.info("clients"))["blocked_clients"])

    @property
    def client(self) -> aioredis.Redis:
        """A plain client; on Redis only."""
        assert self._client is not None
        return self._client


def job(payload: object = None, **options: Any) -> NewJob:
    """A job whose payload does not matter."""
    options.setdefault("id", new_job_id())
    raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return NewJob(payload=raw, **options)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when it is so; fail when it is not so for a long time."""
    with anyio.fail_after(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - another process knows, it tells nobody
            await anyio.sleep(0.002)


def ids(leases: Sequence[Lease]) -> list[str]:
    return [lease.envelope.id for lease in leases]
