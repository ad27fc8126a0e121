"""What one call of the command line has: settings, output, and the way to Redis and the database."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import anyio
import anyio.to_thread
import typer

from sentinel.cli import logs
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.output import Output
from sentinel.settings import Given, Settings, Survey, mask_url

if TYPE_CHECKING:
    from sentinel.store import Store
    from streamq import RedisBroker

T = TypeVar("T")


class Cli:
    """One call. Settings are read when first needed, after all flags are known."""

    def __init__(self, environ: Mapping[str, str], *, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> None:
        self.environ = environ
        #: The command line, as it was given.
        self.arguments: tuple[str, ...] = ()
        self.stdin = stdin
        self.flags: dict[str, Given] = {}
        self.config_file: Path | None = None
        self._streams = (stdout, stderr)
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """Raises SettingsError."""
        if self._settings is None:
            self._settings = Settings.load(self.flags, self.environ, self._config)
        return self._settings

    def survey(self) -> Survey:
        """What was said where, also where it is wrong."""
        return Settings.survey(self.flags, self.environ, self._config)

    @property
    def _config(self) -> Path | None:
        return self.config_file or _path(self.environ.get("SENTINEL_CONFIG"))

    @property
    def out(self) -> Output:
        """Where the words go. Raises SettingsError."""
        s = self.settings
        return Output(*self._streams, json=s.json, quiet=s.quiet, color=not s.no_color)

    @property
    def plain_out(self) -> Output:
        """For errors before, or about, the settings."""
        return Output(*self._streams, color=not self.environ.get("NO_COLOR"))

    @property
    def verbose(self) -> bool:
        """Tracebacks are wanted; known even where the settings are wrong."""
        if self._settings is not None:
            return self._settings.verbose
        return bool(self.flags.get("verbose"))

    def log(self, default: int = logging.WARNING) -> None:
        """Set logging up; `default` is the level without --quiet and --verbose."""
        s = self.settings
        level = logging.ERROR if s.quiet else logging.DEBUG if s.verbose else default
        logs.set_up(self._streams[1], log_format=s.log_format, level=level)

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run a command's coroutine function."""
        self.log()
        return anyio.run(main)

    @contextlib.asynccontextmanager
    async def broker(self) -> AsyncIterator[RedisBroker]:
        """The Redis of the settings, seen to answer; the embedded one is started or joined.

        Raises BrokerUnavailable, BrokerRefused, EmbeddedRedisFailed.
        """
        from streamq import RedisBroker  # noqa: PLC0415 - 0.1 s that --help does without

        async with self._redis_url() as url, RedisBroker.from_url(url, client_name="sentinel-cli") as broker:
            await broker.ping()
            yield broker

    @contextlib.asynccontextmanager
    async def _redis_url(self) -> AsyncIterator[str]:
        choice = self.settings.redis
        if choice.kind != "embedded" or choice.folder is None:
            yield choice.url
            return
        from sentinel.embedded import EmbeddedRedis  # noqa: PLC0415 - as above

        server = EmbeddedRedis(choice.folder)
        await anyio.to_thread.run_sync(server.start)
        try:
            yield server.url
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(server.stop)

    @contextlib.asynccontextmanager
    async def store(self, *, create: bool = False) -> AsyncIterator[Store]:
        """The database of the settings, its schema seen to be current.

        A database that nobody named is the SQLite file of the state folder: it is ours, so it is
        made and brought up to date. `create`: a named SQLite file that is empty is made too. Raises
        StoreUnavailable, SchemaNotCurrent.
        """
        from sentinel.store import Store  # noqa: PLC0415 - SQLAlchemy: 0.2 s that others do without

        settings = self.settings
        is_ours = any(told.name == "DATABASE_URL" and told.source == "default" for told in settings.sources())
        async with Store.open(settings.database_url) as store:
            if is_ours or (create and settings.database_url.startswith("sqlite")):
                status = await store.schema_status()
                if status.current is None or (is_ours and not status.is_current):
                    await store.migrate()
                    self.out.say(f"made the database {mask_url(settings.database_url)}")
            await store.check_schema()
            yield store

    def confirm(self, question: str, *, yes: bool, hint: str = "") -> None:
        """Ask before something that cannot be undone; `hint`: what else could be done.

        Raises CommandError where nobody can be asked.
        """
        if yes:
            return
        if not (self.stdin.isatty() and self._streams[1].isatty()):
            raise CommandError(Exit.UNCONFIRMED, f"{question} Not without --yes.", hint)
        self._streams[1].write(f"{question} [y/N] ")
        self._streams[1].flush()
        if self.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandError(Exit.FAILED, "not confirmed; nothing was changed")


def cli_of(context: typer.Context) -> Cli:
    """The call a command belongs to."""
    found = context.find_object(Cli)
    if found is None:
        raise RuntimeError("a command runs under sentinel.cli.main.main")
    return found


def standard() -> dict[str, TextIO]:
    """The process's own streams, as they are now; one that was closed is empty, or takes everything.

    Opened in this order: an open file of ours must not get a number that is taken for stdout.
    """
    return {
        "stdin": sys.stdin or Path(os.devnull).open(encoding="utf-8"),
        "stdout": sys.stdout or Path(os.devnull).open("w", encoding="utf-8"),
        "stderr": sys.stderr or Path(os.devnull).open("w", encoding="utf-8"),
    }


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
