"""Every test of the store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

DATABASES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgres", id="postgres", marks=pytest.mark.needs_postgres),
]


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables; of SQLite, not even a file."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/sentinel.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> str:
    """A database of the current schema with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(migrated, tmp_path / 'sentinel.db')}"
    url: str = request.getfixturevalue("migrated_postgres_url")
    return url
