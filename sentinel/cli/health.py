"""`health`: one line per part, and whether all is well."""

from __future__ import annotations

import os
import shutil
from typing import Final

import msgspec
import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.logs import redact
from sentinel.cli.parts import verbs
from sentinel.errors import SentinelError
from sentinel.fetch.browser_program import find_program
from sentinel.settings import Settings, mask_url
from sentinel.store import Store
from streamq import StreamqError

app = verbs()

#: Bytes free below which the state folder is not well: an append-only file needs room to be rewritten.
LOW_DISK: Final = 256 * 1024 * 1024


class Part(msgspec.Struct, frozen=True):
    """How one part is."""

    name: str
    ok: bool
    detail: str


@app.command()
def health(context: typer.Context) -> int:
    """Say whether every part answers, one line each; exit 7 where one does not."""
    cli = cli_of(context)
    parts = cli.run(lambda: _look(cli))
    well = all(part.ok for part in parts)
    if cli.out.json:
        found = [{"name": p.name, "ok": p.ok, "detail": p.detail} for p in parts]
        cli.out.document({"schema": "sentinel.health/1", "ok": well, "parts": found})
    else:
        cli.out.table(
            ("PART", "STATE", "DETAIL"), [(p.name, "ok" if p.ok else "FAILED", p.detail) for p in parts]
        )
    return Exit.DONE if well else Exit.NO


async def _look(cli: Cli) -> list[Part]:
    return [
        await _redis(cli),
        *await _database(cli.settings),
        _state_folder(cli.settings),
        _browser(cli),
    ]


async def _redis(cli: Cli) -> Part:
    safe = cli.settings.redis.safe
    try:
        async with cli.broker() as broker:
            facts = await broker.ping()
    except (StreamqError, SentinelError) as error:
        return Part("redis", ok=False, detail=redact(f"{safe}: {error}"))
    policy = str(facts.get("policy", "unknown"))
    detail = f"{facts.get('server')} {facts.get('version')} at {safe}, {policy}"
    detail += ", aof on" if facts.get("appendonly") else ", aof off: a crash of Redis loses jobs"
    evicts = policy not in ("noeviction", "unknown") and not cli.settings.allow_eviction
    if evicts:
        detail += ": it may delete jobs; set maxmemory-policy noeviction"
    return Part("redis", ok=not evicts, detail=detail)


async def _database(settings: Settings) -> list[Part]:
    place = mask_url(settings.database_url)
    async with Store.open(settings.database_url) as store:
        try:
            status = await store.schema_status()
        except SentinelError as error:
            return [Part("database", ok=False, detail=redact(f"{place}: {error}"))]
    version = f"{status.current or 'empty'}, needed {status.head}"
    advice = "" if status.is_current else "; run: sentinel-worker migrate"
    return [
        Part("database", ok=True, detail=place),
        Part("schema", ok=status.is_current, detail=version + advice),
    ]


def _browser(cli: Cli) -> Part:
    """No browser is no fault: `auto` goes on by HTTP."""
    program = find_program(cli.settings.browser)
    return Part("browser", ok=True, detail=str(program.path) if program else f"none: {program.trouble}")


def _state_folder(settings: Settings) -> Part:
    folder = settings.state_dir
    existing = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if not existing.is_dir():
        return Part("state folder", ok=False, detail=f"{existing} is not a folder")
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {free / 2**30:.1f} GiB free"
    if not os.access(existing, os.W_OK | os.X_OK):
        return Part("state folder", ok=False, detail=f"{detail}, not writable")
    return Part("state folder", ok=free >= LOW_DISK, detail=detail)
