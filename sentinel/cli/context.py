"""What one call of the command line has: settings, output, and the way to Redis and the database."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import anyio
import typer

from sentinel.backing import redis_at, store_of
from sentinel.cli import logs
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.output import Output
from sentinel.credentials import Concealer
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
        #: What must not be told: passwords of the settings, and every credential that is looked up.
        self.concealer = Concealer()

    @property
    def settings(self) -> Settings:
        """Raises SettingsError."""
        if self._settings is None:
            self._settings = Settings.load(self.flags, self.environ, self._config)
            self.concealer.learn_login(self._settings.redis.url)
            self.concealer.learn_login(self._settings.database_url)
            self.concealer.learn_login(self._settings.smtp_url)
            self.concealer.learn(*(b64encode(key).decode() for key in self._settings.secret_keys))
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
        logs.set_up(self._streams[1], log_format=s.log_format, level=level, conceal=self.conceal)

    def conceal(self, text: str) -> str:
        """`text` with everything masked that must not be told."""
        return self.concealer.conceal(logs.redact(text))

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

        async with (
            redis_at(self.settings.redis) as url,
            RedisBroker.from_url(url, client_name="sentinel-cli") as broker,
        ):
            await broker.ping()
            yield broker

    @contextlib.asynccontextmanager
    async def store(self, *, create: bool = False) -> AsyncIterator[Store]:
        """The database of the settings, see `store_of`. Raises StoreUnavailable, SchemaNotCurrent."""

        def told() -> None:
            self.out.say(f"made the database {mask_url(self.settings.database_url)}")

        async with store_of(self.settings, create=create, told=told) as store:
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

    def secret(self, question: str) -> str:
        """A secret from the terminal, unseen, or the next line of stdin. Raises CommandError: none."""
        if self.stdin is sys.stdin and self.stdin.isatty():
            answer = getpass.getpass(question)
        else:
            answer = self.stdin.readline()
        if not answer.strip():
            raise CommandError(Exit.USAGE, "a secret is missing", "one line of stdin for each --secret")
        return answer.strip()


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
