"""A store of a test's own, quickly made; the store's own tests have fixtures of that name themselves."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentinel.store import Store
from tests.conftest import Shared

#: The test runs once on SQLite and once on PostgreSQL.
both_databases = pytest.mark.parametrize(
    "database_url",
    [
        pytest.param("sqlite", id="sqlite"),
        pytest.param("postgres", id="postgres", marks=pytest.mark.needs_postgres),
    ],
    indirect=True,
)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file of the current schema, to copy."""
    path = tmp_path_factory.mktemp("checks") / "empty.db"
    migrate(f"sqlite:///{path}")
    return path


def migrate(url: str) -> None:
    """Bring a database to the current schema."""

    async def go() -> None:
        async with Store.open(url) as store:
            await store.migrate()

    asyncio.run(go())


@pytest.fixture
def migrated_postgres_url(request: pytest.FixtureRequest, _shared: Shared) -> str:
    """A PostgreSQL database of the current schema, with nothing in it."""
    return _shared.migrated_postgres_url(request, migrate)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> str:
    """A SQLite database with nothing in it, or where a test says so (`both_databases`) one of PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{shutil.copy(migrated, tmp_path / 'sentinel.db')}"
    url: str = request.getfixturevalue("migrated_postgres_url")
    return url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store.open(database_url) as store:
        yield store


@pytest.fixture
async def other(store: Store, database_url: str) -> AsyncIterator[Store]:
    """Another process's view of the same database."""
    async with Store.open(database_url) as other:
        yield other
