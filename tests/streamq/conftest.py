"""Every test that asks for `rig` runs on every broker: in memory, on Valkey, on Redis 7."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from streamq.redis_broker import RedisBroker
from streamq.testing import ManualClock, MemoryBroker
from tests.conftest import SERVERS
from tests.streamq.rig import Rig


@pytest.fixture(params=[pytest.param("memory", id="memory"), *SERVERS])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        yield Rig(MemoryBroker(ManualClock()), None)
        return
    url = request.getfixturevalue("_shared").fresh_url(request.param, request)
    async with RedisBroker.from_url(url) as broker, aioredis.Redis.from_url(url) as client:
        yield Rig(broker, client)


@pytest.fixture
async def redis_rig(server_url: str) -> AsyncIterator[Rig]:
    async with RedisBroker.from_url(server_url) as broker, aioredis.Redis.from_url(server_url) as client:
        yield Rig(broker, client)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory_rig(clock: ManualClock) -> Rig:
    return Rig(MemoryBroker(clock), None)
