from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

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


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file of the current schema, to copy."""
    path = tmp_path_factory.mktemp("checks") / "empty.db"

    async def migrate() -> None:
        async with Store.open(f"sqlite:///{path}") as store:
            await store.migrate()

    asyncio.run(migrate())
    return path


@pytest.fixture
async def store(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> AsyncIterator[Store]:
    """On SQLite, or where a test says so (`both_databases`) on PostgreSQL."""
    if getattr(request, "param", "sqlite") == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{shutil.copy(migrated, tmp_path / 'sentinel.db')}"
    async with Store.open(url) as store:
        await store.migrate()
        yield store


@pytest.fixture
async def checks(store: Store, site: Site) -> AsyncIterator[World]:
    """Checks of pages on `site`, with limits a test reaches quickly."""
    limits = Limits(wire_bytes=64 * 1024, decoded_bytes=256 * 1024)
    async with Fetcher(NetworkPolicy(allow_private=True), limits) as fetcher, open_extractor(1) as extractor:
        clock = ManualClock()
        yield World(store, site, clock, MemoryBroker(clock), fetcher, extractor)
