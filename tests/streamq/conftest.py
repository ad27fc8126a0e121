"""Every test that asks for `rig` runs on every broker: in memory, on Valkey, on Redis 7; some of them, and with
`--servers all` every one, on each of these behind Sentinels, as a Cluster, with TLS, and on the newest Redis.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from streamq.redis_broker import RedisBroker
from streamq.testing import ManualClock, MemoryBroker
from tests.conftest import FLEETS, SERVERS
from tests.streamq.rig import Rig


@pytest.fixture(params=[pytest.param("memory", id="memory"), *SERVERS, *FLEETS])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        yield Rig(MemoryBroker(ManualClock()), None)
        return
    async with _on_server(request) as rig:
        yield rig


@pytest.fixture(params=[*SERVERS, *FLEETS])
async def redis_rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with _on_server(request) as rig:
        yield rig


@contextlib.asynccontextmanager
async def _on_server(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    url, holder_url = request.getfixturevalue("_shared").fresh_urls(request.param, request)
    async with RedisBroker.from_url(url) as broker, aioredis.Redis.from_url(holder_url) as client:
        # A greeting by TLS takes longer than the delays of some tests: not in the middle of one.
        await broker.ping()
        await client.ping()
        yield Rig(broker, client)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory_rig(clock: ManualClock) -> Rig:
    return Rig(MemoryBroker(clock), None)
