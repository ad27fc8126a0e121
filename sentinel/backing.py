"""What sentinel stands on, as the settings choose it: a Redis, a database, a folder for pages, a browser.

Both commands and workers come here. What is heavy is imported when it is opened: `stats` needs no SQL,
`rules list` no Redis.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from sentinel.errors import CheckFailure, SettingsError
from sentinel.settings import RedisChoice, Settings

if TYPE_CHECKING:
    from sentinel.fetch.browser import BrowserPool
    from sentinel.fetch.fetcher import Fetcher
    from sentinel.fetch.guard import NetworkPolicy
    from sentinel.store import Store
    from sentinel.store.blobs import Blobs


@contextlib.asynccontextmanager
async def redis_at(choice: RedisChoice) -> AsyncIterator[str]:
    """The URL of the chosen Redis; the embedded one is started or joined, and let go with the block.

    Raises EmbeddedRedisFailed.
    """
    if choice.kind != "embedded" or choice.folder is None:
        yield choice.url
        return
    from sentinel.embedded import EmbeddedRedis  # noqa: PLC0415 - see the module

    server = EmbeddedRedis(choice.folder)
    await anyio.to_thread.run_sync(server.start)
    try:
        yield server.url
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(server.stop)


@contextlib.asynccontextmanager
async def store_of(
    settings: Settings,
    *,
    create: bool = False,
    migrate: bool = False,
    told: Callable[[], object] | None = None,
) -> AsyncIterator[Store]:
    """The chosen database, its schema seen to be current.

    A database that nobody named is the SQLite file of the state folder: it is ours, so it is made
    and brought up to date. One that was named is left to the `migrate` command, except that
    `create` makes a named SQLite file that is empty, and `migrate` brings any up to date. `told` is
    called where something was done to it. Raises StoreUnavailable, SchemaNotCurrent.
    """
    from sentinel.store import Store  # noqa: PLC0415 - see the module

    async with Store.open(settings.database_url) as store:
        status = await store.schema_status()
        make = create and status.current is None and settings.database_url.startswith("sqlite")
        if not status.is_current and (make or migrate or settings.is_default("DATABASE_URL")):
            await store.migrate()
            if told is not None:
                told()
        await store.check_schema()
        yield store


def blobs_of(settings: Settings) -> Blobs:
    """Where page bodies and screenshots are kept. Raises SettingsError (the library for it is not there)."""
    url = settings.blobs_url or ""
    if url.startswith("s3://"):
        return _objects_of(settings, *url.removeprefix("s3://").partition("/")[::2])
    from sentinel.store.blobs import FileBlobs  # noqa: PLC0415 - see the module

    folder = Path(url.removeprefix("file://")) if url else settings.state_dir / "blobs"
    return FileBlobs(folder, limit=settings.keep_bytes, keeps=settings.keep_pages)


def _objects_of(settings: Settings, bucket: str, prefix: str) -> Blobs:
    try:
        from sentinel.store.object_blobs import ObjectBlobs  # noqa: PLC0415 - see the module
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise SettingsError(
            ["SENTINEL_BLOBS_URL: s3:// needs the extra s3, pip install 'sentinel-worker[s3]'"]
        ) from error
    return ObjectBlobs(
        bucket,
        prefix.rstrip("/"),
        endpoint=settings.blobs_endpoint,
        limit=settings.keep_bytes,
        keeps=settings.keep_pages,
    )


@contextlib.asynccontextmanager
async def fetcher_of(
    settings: Settings,
    *,
    tell_pages: Callable[[int], object] = lambda _: None,
    tell_restart: Callable[[], object] = lambda: None,
) -> AsyncIterator[Fetcher]:
    """What fetches pages, with the browser of this machine where there is one; see BrowserPool."""
    from sentinel.fetch.browser import BrowserPool, Wear  # noqa: PLC0415 - see the module
    from sentinel.fetch.browser_program import find_program  # noqa: PLC0415 - see the module
    from sentinel.fetch.browser_way import way_out  # noqa: PLC0415 - see the module
    from sentinel.fetch.guard import NetworkPolicy  # noqa: PLC0415 - see the module

    policy = NetworkPolicy(allow_private=settings.allow_private_networks)
    wear = Wear(
        at_once=settings.browser_pages,
        pages=settings.browser_recycle_pages,
        memory=settings.browser_recycle_bytes,
    )
    async with (
        BrowserPool(
            find_program(settings.browser),
            way_out(policy),
            wear=wear,
            tell_pages=tell_pages,
            tell_restart=tell_restart,
        ) as browser,
        _opened(policy, browser, settings.solver_url) as fetcher,
    ):
        yield fetcher


def _opened(policy: NetworkPolicy, browser: BrowserPool, solver_url: str | None) -> Fetcher:
    """Raises SettingsError where the solver's URL is none that can be asked."""
    from sentinel.fetch.fetcher import Fetcher  # noqa: PLC0415 - see the module

    try:
        return Fetcher(policy, browser=browser, solver_url=solver_url)
    except CheckFailure as exc:
        raise SettingsError([f"SENTINEL_SOLVER_URL: {exc.detail}"]) from exc
