"""A world per test: on SQLite and on PostgreSQL, with a Redis of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentinel.store import Store
from streamq import RedisBroker
from tests.faults.world import World
from tests.support.http import Site
from tests.support.servers import OwnServers

DATABASES = [
    pytest.param("SQLite", id="sqlite"),
    # The workers are the same; what a database answers to a fence and to a claim is in tests/sentinel/store.
    pytest.param("PostgreSQL", id="postgres", marks=[pytest.mark.needs_postgres, pytest.mark.soak]),
]


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """Its name, for the printed line."""
    name: str = request.param
    return name


@pytest.fixture
async def world(
    request: pytest.FixtureRequest,
    database: str,
    own_server: OwnServers,
    thread_site: Site,
    tmp_path: Path,
) -> AsyncIterator[World]:
    if database == "SQLite":
        url = f"sqlite:///{tmp_path}/sentinel.db"
    else:
        url = request.getfixturevalue("postgres_url")
    server = own_server(appendonly=True)
    async with RedisBroker.from_url(server.url) as broker, Store.open(url) as store:
        await store.migrate()
        made = World(
            folder=tmp_path, site=thread_site, server=server, database_url=url, broker=broker, store=store
        )
        yield made
        made.end()
