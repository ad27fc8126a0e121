"""A database that is locked, full, frozen, gone or not ours: told in bounded time, nothing lost, works again after."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from sentinel.errors import StoreUnavailable
from sentinel.store import Store, database
from tests.sentinel.store.things import a_rule, a_verdict, an_alert, begin, every_row, finish, load

#: Bytes of SQLite's pages.
PAGE = 4096


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits are the code's; only their length is the test's."""
    monkeypatch.setattr(database, "LOCK_WAIT", 0.2)
    monkeypatch.setattr(database, "STATEMENT_WAIT", 0.5)
    monkeypatch.setattr(database, "CONNECT_WAIT", 2.0)
    monkeypatch.setattr(database, "CLEANUP_WAIT", 1.0)


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    return tmp_path / "sentinel.db"


@pytest.fixture
async def on_file(file: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{file}") as store:
        await store.migrate()
        await load(store)
        yield store


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """As by another process in the middle of a write."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


async def test_a_locked_file_can_be_read_and_refuses_writers_in_bounded_time(
    on_file: Store, file: Path
) -> None:
    with locked(file):
        assert (await on_file.rule("widget")).rule.id == "widget"
        with anyio.fail_after(20), pytest.raises(StoreUnavailable, match="locked"):
            await begin(on_file)
    assert (await begin(on_file)).taken_over is False


async def test_a_check_that_meets_a_lock_is_written_once_when_it_comes_again(
    on_file: Store, file: Path
) -> None:
    ticket = await begin(on_file)
    before = await every_row(on_file)
    with locked(file), pytest.raises(StoreUnavailable):
        await finish(on_file, ticket, a_verdict(an_alert()))
    assert await every_row(on_file) == before
    await finish(on_file, ticket, a_verdict(an_alert()))
    assert len(await on_file.history("widget")) == 1


async def test_a_full_disk_is_told_and_nothing_is_broken_when_it_has_room_again(
    file: Path, on_file: Store
) -> None:
    limit = 0

    def full(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {limit}")
        cursor.close()

    async with Store.open(f"sqlite:///{file}") as store:
        sa.event.listen(store._database._engine.sync_engine, "connect", full)
        limit = file.stat().st_size // PAGE + 1  # noqa: ASYNC240 - a test's own file
        written = await _load_until_refused(store)
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert len(await on_file.rules()) == written + 1
    await load(on_file, a_rule("afterwards"))


async def _load_until_refused(store: Store) -> int:
    """How many rules went in besides the one that was there."""
    for written in range(1000):
        try:
            await load(store, a_rule(f"rule-{written}", name="x" * 300))
        except StoreUnavailable as refusal:
            if "full" not in str(refusal):
                raise
            return written
    raise AssertionError("never full")


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear database, " * 500)
    async with Store.open(f"sqlite:///{tmp_path}/letter.txt") as store:
        with pytest.raises(StoreUnavailable, match="not a database"):
            await store.ping()


async def test_cancelled_at_any_statement_a_write_is_whole_or_not_there_and_holds_nothing(
    store: Store,
) -> None:
    await load(store)
    for moment in range(12):
        with anyio.CancelScope() as scope, cancelled_at(store, moment, scope):
            await load(store, a_rule(f"rule-{moment}", tags=["cut"]))
        tables = await every_row(store)
        counts = {name: sum(f"rule-{moment}" in map(str, row) for row in tables[name]) for name in WRITTEN}
        assert set(counts.values()) in ({0}, {1}), f"a piece of it at statement {moment}: {counts}"
    await load(store, a_rule("afterwards"))


#: Tables that importing a rule writes to, with its id in a column.
WRITTEN = ("rule", "rule_state", "rule_tag")


@contextmanager
def cancelled_at(store: Store, moment: int, scope: anyio.CancelScope) -> Iterator[None]:
    """Cancels `scope` before the given statement goes out, counted from 0."""
    left = iter(range(moment))

    def cancel(*_: Any) -> None:
        if next(left, None) is None:
            scope.cancel()

    engine = store._database._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", cancel)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", cancel)


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.mark.needs_postgres
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda url: url.replace("postgres@", "stranger:hush@"), "stranger"),
        (lambda url: f"{url}_which_is_not_there", "does not exist"),
    ],
    ids=["user", "database"],
)
async def test_a_server_that_does_not_let_us_in_is_told_without_the_password(
    postgres_url: str, wrong: Any, words: str
) -> None:
    async with Store.open(wrong(postgres_url)) as store:
        with pytest.raises(StoreUnavailable, match=words) as caught:
            await store.ping()
    assert "hush" not in str(caught.value)


@pytest.mark.needs_postgres
async def test_a_server_that_freezes_is_told_in_bounded_time_and_the_check_is_written_once_after(
    postgres_url: str,
) -> None:
    async with Store.open(postgres_url) as store:
        await store.migrate()
        await load(store)
        ticket = await begin(store)
        server = await _backend(store)
        os.kill(server, signal.SIGSTOP)
        try:
            with anyio.fail_after(60), pytest.raises(StoreUnavailable):
                await finish(store, ticket, a_verdict(an_alert()))
        finally:
            os.kill(server, signal.SIGCONT)
        await finish(store, ticket, a_verdict(an_alert()))
        assert len(await store.history("widget")) == 1


@pytest.mark.needs_postgres
async def test_connections_that_the_server_closed_are_replaced(postgres_url: str) -> None:
    async with Store.open(postgres_url) as store, Store.open(postgres_url) as operator:
        await store.migrate()
        await load(store)
        async with operator._database.writing() as connection:
            await connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        assert (await store.rule("widget")).rule.id == "widget"


@pytest.mark.needs_postgres
async def test_a_worker_frozen_inside_a_transaction_does_not_hold_up_its_successor(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_WAIT", 30.0)
    monkeypatch.setattr(database, "STATEMENT_WAIT", 45.0)
    async with contextlib.AsyncExitStack() as stores:
        successor = await stores.enter_async_context(Store.open(postgres_url))
        await successor.migrate()
        await load(successor)
        await begin(successor, fence=1)
        # Only for the one that freezes: a busy machine makes any other pause as long.
        monkeypatch.setattr(database, "IDLE_IN_TRANSACTION", 0.3)
        frozen = await stores.enter_async_context(Store.open(postgres_url))

        async def freeze_in_the_middle() -> None:
            async with frozen._database.writing() as connection:
                await connection.execute(sa.text("UPDATE run SET fence = fence"))
                ticket = await begin(successor, fence=2)
                assert ticket.taken_over
                await finish(successor, ticket, a_verdict())
                await connection.execute(sa.select(1))

        with pytest.raises(StoreUnavailable):
            await freeze_in_the_middle()
        assert len(await successor.history("widget")) == 1


async def _backend(store: Store) -> int:
    async with store._database.reading() as connection:
        found: int = (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()
        return found
