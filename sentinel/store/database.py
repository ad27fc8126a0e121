"""The engine under the store: URLs, pragmas, transactions with a deadline, errors translated once."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sentinel.errors import SchemaNotCurrent, SettingsError, StoreUnavailable
from sentinel.store.units import Unit, Units

R = TypeVar("R")
Insert = sqlite.Insert | postgresql.Insert

#: Longest wait for another writer (SQLite's lock; a row's lock on PostgreSQL), seconds.
LOCK_WAIT: Final = 5.0
#: Between looks at a lock that SQLite does not wait for by itself, seconds.
LOCK_LOOK: Final = 0.01
#: Longest one statement, and one connection attempt, may take on PostgreSQL, seconds.
STATEMENT_WAIT: Final = 15.0
CONNECT_WAIT: Final = 5.0
#: Longest wait for a commit once it is asked for; above what the driver waits by itself, seconds.
COMMIT_WAIT: Final = STATEMENT_WAIT + 5.0
#: A whole transaction, waiting for a connection and for locks included: above every wait inside it.
TRANSACTION_WAIT: Final = 30.0
#: For a connection; below the whole, for two timeouts in one moment hide each other.
POOL_WAIT: Final = 20.0
#: Undoing and giving back a connection; after that it is thrown away.
CLEANUP_WAIT: Final = 3.0
#: A worker frozen inside a transaction loses it after this, so that its successor can write (seconds).
#: Below the first retry of `rules:run` (30 s).
IDLE_IN_TRANSACTION: Final = 15.0
#: Connections per process.
POOL_SIZE: Final = 8

#: PostgreSQL's advisory lock; the number only has to be ours.
_ONE_AT_A_TIME: Final = 0x53454E54
_WRITES: Final = "sentinel_writes"


class Database:
    """One SQLite file or PostgreSQL database; reads and writes are transactions of bounded length."""

    def __init__(self, url: URL, *, read_only: bool) -> None:
        self.url = url
        self.read_only = read_only
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(url, read_only) if self.is_sqlite else _postgres_engine(url, read_only)
        #: Of the SQLite driver, one a connection.
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        if self.is_sqlite:
            sa.event.listen(self._engine.sync_engine, "connect", self._connected)
        # SQLite lets one writer in at a time anyway; queueing here is fairer than its busy handler.
        self._writers: anyio.Lock | None = anyio.Lock() if self.is_sqlite else None
        self._in_thread: AsyncEngine | None = None
        if self.is_sqlite:
            self._in_thread = _in_thread_engine(url, read_only)
            self._write_units = Units(
                self._in_thread, self._options(writes=True), writes=True, turn=self._queue
            )
            self._read_units = Units(
                self._in_thread, self._options(writes=False), writes=False, turn=_no_turn
            )

    def __repr__(self) -> str:
        return f"Database({self.url.render_as_string(hide_password=True)!r})"

    @property
    def engines(self) -> tuple[sa.Engine, ...]:
        """Those whose connections see the work: for who listens to their events."""
        engines = (self._engine, self._in_thread)
        return tuple(engine.sync_engine for engine in engines if engine is not None)

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database. Raises StoreUnavailable."""
        self._must_exist()
        with self._translated():
            async with self._transaction(writes=False) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: committed at the end, undone by any exception.

        Raises StoreUnavailable: nothing was written, or (the connection broke while committing)
        all of it. Whoever comes again finds out which, by job id.
        """
        self._must_exist()
        with self._translated():
            async with self._queue(), self._transaction(writes=True) as connection:
                yield connection

    async def read(self, unit: Unit[R]) -> R:
        """What `unit` returns of one state of the database; see `write`. Raises StoreUnavailable."""
        if self._in_thread is None:
            async with self.reading() as connection:
                return await unit(connection)
        self._must_exist()
        with self._translated():
            return await self._read_units.run(unit)

    async def write(self, unit: Unit[R]) -> R:
        """As `writing`, for what is done often: `unit` has a transaction, or a part of one, to itself.

        It awaits nothing but its connection (on SQLite it runs in another thread, with no event loop),
        and may be undone though it ended well, so it changes nothing outside the database.
        """
        if self._in_thread is None:
            async with self.writing() as connection:
                return await unit(connection)
        self._must_exist()
        with self._translated():
            return await self._write_units.run(unit)

    async def serialise(self, connection: AsyncConnection) -> None:
        """Let one transaction at a time past here (imports, migrations); SQLite's writers are so already."""
        if not self.is_sqlite:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))

    def insert(self, table: sa.Table) -> Insert:
        """The dialect's INSERT, which knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    async def close(self) -> None:
        """Close every connection. Using the database again opens new ones."""
        with anyio.move_on_after(CLEANUP_WAIT, shield=True):
            await self._engine.dispose()
            if self._in_thread is not None:
                await anyio.to_thread.run_sync(self._in_thread.sync_engine.dispose)
            # A connection that was thrown away ends in its own time, and its driver's thread then wants to
            # tell an event loop that must still be there.
            await anyio.to_thread.run_sync(_join, list(self._threads), abandon_on_cancel=True)

    def _connected(self, connection: Any, _record: object) -> None:  # Any: SQLAlchemy's adapter of aiosqlite
        thread = getattr(connection.driver_connection, "_thread", None)
        if isinstance(thread, threading.Thread):
            self._threads.add(thread)

    async def make_file(self) -> None:
        """An SQLite file that is not there yet, with its folder, in WAL mode. Raises StoreUnavailable.

        The mode is changed here and not where connections are made: SQLite refuses to change it at once,
        whatever the busy timeout, while anybody holds a lock, as two processes do to each other that
        are started on a new file in the same moment. Here that is waited for, in a thread.
        """
        if self.is_sqlite and self.url.database:
            with self._translated():
                await anyio.to_thread.run_sync(_make_file, Path(self.url.database))

    def is_missing_file(self) -> bool:
        """An SQLite file that is not there yet (connecting would make it)."""
        return self.is_sqlite and not Path(self.url.database or "").exists()

    def _must_exist(self) -> None:
        """A reader must not leave an empty file behind."""
        if self.read_only and self.is_missing_file():
            raise StoreUnavailable(f"{self.name}: no such file")

    @contextlib.asynccontextmanager
    async def _queue(self) -> AsyncIterator[None]:
        if self._writers is None:
            yield
            return
        with anyio.fail_after(TRANSACTION_WAIT):
            await self._writers.acquire()
        try:
            yield
        finally:
            self._writers.release()

    @contextlib.asynccontextmanager
    async def _transaction(self, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        with self._bounded():
            connection = await self._engine.connect()
            try:
                await connection.execution_options(**self._options(writes=writes))
                await connection.begin()
                yield connection
                # A commit once asked for is waited for: cancelled, nobody would know what became of it.
                with anyio.fail_after(COMMIT_WAIT, shield=True):
                    await connection.commit()
            except BaseException:
                await _give_up(connection.rollback())
                raise
            finally:
                await _give_back(connection)

    def _bounded(self) -> contextlib.AbstractContextManager[anyio.CancelScope]:
        """What ends a transaction that takes too long.

        On SQLite nothing does from outside: a statement runs to its end in the driver's thread, and
        a connection given up meanwhile keeps its lock for good. Cancellation waits, for the few
        milliseconds of a local transaction; what can take longer (the lock, the pool) has a limit.
        """
        if self.is_sqlite:
            return anyio.CancelScope(shield=True)
        return anyio.fail_after(TRANSACTION_WAIT)

    def _options(self, *, writes: bool) -> dict[str, Any]:  # Any: SQLAlchemy's options
        if writes or self.is_sqlite:
            return {_WRITES: writes}
        # By default PostgreSQL shows each statement of a transaction another state.
        return {_WRITES: False, "isolation_level": "REPEATABLE READ"}

    @property
    def name(self) -> str:
        """The URL as people may see it."""
        return self.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Foreign errors become ours, once, here. Messages name the place, never the password."""
        try:
            yield
        except TimeoutError as error:
            raise StoreUnavailable(f"{self.name}: no answer in time") from error
        except exc.TimeoutError as error:
            raise StoreUnavailable(f"{self.name}: all {POOL_SIZE} connections are in use") from error
        except exc.DBAPIError as error:
            if _lacks_table(error):
                raise SchemaNotCurrent from error
            if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError) or (
                error.connection_invalidated or _passes(error)
            ):
                raise StoreUnavailable(f"{self.name}: {_reason(error)}") from error
            raise
        except sqlite3.Error as error:  # of `make_file`, which needs no SQLAlchemy
            raise StoreUnavailable(f"{self.name}: {error}") from error
        except OSError as error:
            raise StoreUnavailable(f"{self.name}: {error.strerror or error}") from error


def parse_url(text: str) -> URL:
    """A database URL as people write it, with the driver filled in.

    Takes sqlite:///file, sqlite+aiosqlite:///file, postgresql://, postgres:// and
    postgresql+asyncpg:// (libpq's `sslmode` too). Raises SettingsError, without the password.
    """
    try:
        url = make_url(text)
    except (exc.ArgumentError, ValueError):
        # Not `from`: the foreign message quotes the URL, password and all.
        raise SettingsError(["DATABASE_URL is not a database URL"]) from None
    match url.drivername:
        case "sqlite" | "sqlite+aiosqlite":
            if not url.database or url.database == ":memory:":
                raise SettingsError(["DATABASE_URL: SQLite needs a file, as sqlite:///sentinel.db"])
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres" | "postgresql+asyncpg":
            return _with_ssl(url.set(drivername="postgresql+asyncpg"))
        case other:
            raise SettingsError([f"DATABASE_URL: {other} is neither sqlite nor postgresql"])


def _with_ssl(url: URL) -> URL:
    """Rename to what asyncpg calls libpq's sslmode."""
    if "sslmode" not in url.query:
        return url
    query = dict(url.query)
    query["ssl"] = query.pop("sslmode")
    return url.set(query=query)


def _sqlite_engine(url: URL, read_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT,
        json_serializer=_as_it_is,
        json_deserializer=_as_it_is,
        connect_args={"timeout": LOCK_WAIT},
    )
    _set_up(engine.sync_engine, read_only)
    return engine


def _make_file(file: Path) -> None:
    """See `Database.make_file`. Raises OSError, TimeoutError or sqlite3's errors."""
    file.parent.mkdir(parents=True, exist_ok=True)
    patience = time.monotonic() + LOCK_WAIT
    with contextlib.closing(sqlite3.connect(file, timeout=LOCK_WAIT)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                    raise
                time.sleep(LOCK_LOOK)
            else:
                return


def _in_thread_engine(url: URL, read_only: bool) -> AsyncEngine:
    """The same on the driver that blocks: its connections have the face of the other's and never wait."""
    engine = sa.create_engine(
        url.set(drivername="sqlite+pysqlite"),
        pool_size=2,  # one that writes, one that reads
        max_overflow=0,
        pool_timeout=POOL_WAIT,
        json_serializer=_as_it_is,
        json_deserializer=_as_it_is,
        connect_args={"timeout": LOCK_WAIT, "check_same_thread": False},
    )
    _set_up(engine, read_only)
    engine.dialect.is_async = True  # AsyncEngine asks; what never waits may be awaited
    return AsyncEngine(engine)


def _set_up(engine: sa.Engine, read_only: bool) -> None:
    def connected(connection: Any, _record: object) -> None:  # Any: SQLAlchemy's adapter of aiosqlite
        # The driver must not begin transactions by itself: "begin" below says which kind.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(LOCK_WAIT * 1000)}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = NORMAL")
        if not read_only:
            # A file that came from elsewhere may be in another mode; where somebody works on it, so may we.
            with contextlib.suppress(sqlite3.OperationalError):
                cursor.execute("PRAGMA journal_mode = WAL")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    def begun(connection: sa.Connection) -> None:
        # A writer takes the lock at once: one that began by reading could only fail when it gets to write.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "begin", begun)


@contextlib.asynccontextmanager
async def _no_turn() -> AsyncIterator[None]:
    """Readers wait for nobody."""
    yield


def _postgres_engine(url: URL, read_only: bool) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT,
        pool_pre_ping=True,  # a restarted server costs one round trip, not one failed job per connection
        json_serializer=_as_it_is,
        json_deserializer=_as_it_is,
        connect_args={
            "timeout": CONNECT_WAIT,
            "command_timeout": STATEMENT_WAIT,
            "server_settings": {
                "application_name": "sentinel",
                "lock_timeout": _milliseconds(LOCK_WAIT),
                "idle_in_transaction_session_timeout": _milliseconds(IDLE_IN_TRANSACTION),
                "default_transaction_read_only": "on" if read_only else "off",
            },
        },
    )


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _as_it_is(text: str) -> str:
    """JSON is encoded and decoded by `columns.Document`, which knows the type."""
    return text


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join(CLEANUP_WAIT)


async def _give_up(undoing: Any) -> None:  # Any: a coroutine whose result nobody wants
    """Undo, for a bounded time, whatever happens: the error on its way up is the one that counts."""
    with anyio.move_on_after(CLEANUP_WAIT, shield=True), contextlib.suppress(exc.SQLAlchemyError, OSError):
        await undoing


async def _give_back(connection: AsyncConnection) -> None:
    """To the pool, or away with it when the server does not answer."""
    with anyio.move_on_after(CLEANUP_WAIT, shield=True) as patience:
        await connection.close()
    if patience.cancelled_caught:
        await _give_up(connection.invalidate())


#: SQLSTATEs (PostgreSQL) of what is not the fault of the statement: connection, login, no such database,
#: resources, operator, system, deadlock, lock, idle too long, read-only.
_PASSING_STATES: Final = ("08", "28", "3D", "53", "57", "58", "40", "55P03", "25P03", "25006")
#: The same for SQLite: locked, full, broken, or another kind of file.
_PASSING_SQLITE: Final = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
)


def _lacks_table(error: exc.DBAPIError) -> bool:
    """A table or column is missing: the schema is of another version."""
    state = getattr(error.orig, "sqlstate", None)
    return state in ("42P01", "42703") or str(error.orig).startswith(("no such table", "no such column"))


def _passes(error: exc.DBAPIError) -> bool:
    """It is the database's trouble and may pass, not a fault of the statement."""
    state = getattr(error.orig, "sqlstate", None) or ""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return state.startswith(_PASSING_STATES) or code in _PASSING_SQLITE


def _reason(error: exc.DBAPIError) -> str:
    """The driver's own words on one line, without the statement and its values."""
    words = " ".join(str(error.orig).split())
    # SQLAlchemy's asyncpg adapter puts "<class '...'>: " in front.
    return words.rpartition("'>: ")[2][:300]
