"""The schema: migrations make what `tables.py` says, once, however many processes ask."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.errors import SchemaNotCurrent, SettingsError, StoreUnavailable
from sentinel.store import SchemaStatus, Store, schema
from sentinel.store.tables import metadata


async def test_migrations_make_exactly_the_tables_that_the_code_uses(store: Store) -> None:
    async with store._database.reading() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(sync, opts={"compare_type": False}), metadata
            )
        )
    assert differences == []


def test_the_folder_of_versions_says_what_alembic_reads_in_them() -> None:
    config = Config()
    config.set_main_option("script_location", "sentinel:store/migrations")
    scripts = ScriptDirectory.from_config(config)
    known = [script.revision for script in scripts.walk_revisions()]
    assert (schema._known(), schema._head()) == (known[::-1], scripts.get_current_head())


_OPENED = """
import sys, anyio
from sentinel.store import Store

async def main() -> None:
    async with Store.open(sys.argv[1]) as store:
        assert (await store.migrate()).is_current
    print("alembic" in sys.modules)

anyio.run(main)
"""


async def test_who_finds_the_schema_current_does_not_load_what_makes_it(empty_url: str) -> None:
    found = []
    for _ in range(2):
        ended = await anyio.run_process([sys.executable, "-c", _OPENED, empty_url])
        found.append(ended.stdout.decode().strip())
    assert found == ["True", "False"]


async def test_migrating_again_changes_nothing(store: Store) -> None:
    before = await store.schema_status()
    assert await store.migrate() == before
    assert before.is_current


async def test_an_empty_database_says_what_to_run(empty_url: str) -> None:
    async with Store.open(empty_url) as store:
        assert (await store.schema_status()).current is None
        with pytest.raises(SchemaNotCurrent, match="sentinel-worker migrate"):
            await store.check_schema()


async def test_a_database_of_a_newer_program_is_refused_in_words(store: Store) -> None:
    async with store._database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaNotCurrent, match="Update the program"):
        await store.check_schema()


async def test_a_query_without_the_tables_is_not_a_temporary_failure(empty_url: str) -> None:
    async with Store.open(empty_url) as store:
        await store._database.make_file()
        with pytest.raises(SchemaNotCurrent):
            await store.rules()


async def test_stores_that_migrate_at_the_same_moment_all_find_it_done(empty_url: str) -> None:
    found: list[SchemaStatus] = []

    async def migrate() -> None:
        async with Store.open(empty_url) as store:
            found.append(await store.migrate())

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(migrate)

    assert len(found) == 4
    assert all(status.is_current for status in found)


async def test_a_new_file_on_which_somebody_works_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses to change the mode while anybody has a lock, and does not wait for it."""
    file = tmp_path / "new.db"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE another (x)")
    async with Store.open(f"sqlite:///{file}") as store, anyio.create_task_group() as group:
        assert await store._database.read(_journal_mode) == "delete"  # reading is not refused for it
        group.start_soon(store.migrate)
        assert [await store._database.read(_journal_mode) for _ in range(20)] == ["delete"] * 20
        other.execute("COMMIT")
        other.close()
    async with Store.open(f"sqlite:///{file}") as store:
        assert (await store.schema_status()).is_current
        assert await store._database.read(_journal_mode) == "wal"


async def _journal_mode(connection: AsyncConnection) -> str:
    return str((await connection.execute(sa.text("PRAGMA journal_mode"))).scalar_one())


def test_processes_that_migrate_at_the_same_moment_all_find_it_done(empty_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from sentinel.store import Store\n"
        "async def main():\n"
        "    async with Store.open(sys.argv[1]) as store:\n"
        "        assert (await store.migrate()).is_current\n"
        "asyncio.run(main())\n"
    )
    here = Path(__file__).parents[3]
    running = [
        subprocess.Popen([sys.executable, "-c", program, empty_url], cwd=here, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[1] for process in running] == [b"", b""]
    assert [process.returncode for process in running] == [0, 0]


async def test_a_reader_leaves_no_empty_file_behind(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    async with Store.open(f"sqlite:///{file}", read_only=True) as store:
        with pytest.raises(StoreUnavailable, match="no such file"):
            await store.rules()
    assert not file.exists()


async def test_a_read_only_store_refuses_to_write(store: Store, database_url: str) -> None:
    async with Store.open(database_url, read_only=True) as reader:
        assert await reader.rules() == []
        with pytest.raises(StoreUnavailable):
            await reader.mark_sent([1])


@pytest.mark.parametrize("url", ["", "mysql://u:hunter2@h/d", "sqlite://", "://hunter2", "hunter2"])
def test_a_wrong_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Store.open(url)
    assert "hunter2" not in str(caught.value)


def test_a_store_shows_where_it_is_but_not_the_password() -> None:
    assert repr(Store.open("postgres://me:hunter2@db/x")) == "Store('postgresql+asyncpg://me:***@db/x')"


async def test_a_server_that_is_not_there_is_a_temporary_failure_without_the_password() -> None:
    async with Store.open("postgresql://me:hunter2@127.0.0.1:9/x") as store:
        with pytest.raises(StoreUnavailable) as caught:
            await store.rules()
    assert "hunter2" not in str(caught.value)
