from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sentinel.extract.contained import open_extractor
from sentinel.fetch.fetcher import Fetcher
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.http import Limits
from sentinel.store import Store
from streamq.clock import ManualClock
from streamq.testing.memory import MemoryBroker
from tests.sentinel.handlers.checking import World
from tests.support.http import Site


@pytest.fixture
async def checks(store: Store, site: Site) -> AsyncIterator[World]:
    """Checks of pages on `site`, with limits a test reaches quickly."""
    limits = Limits(wire_bytes=64 * 1024, decoded_bytes=256 * 1024)
    async with Fetcher(NetworkPolicy(allow_private=True), limits) as fetcher, open_extractor(1) as extractor:
        clock = ManualClock()
        yield World(store, site, clock, MemoryBroker(clock), fetcher, extractor)
