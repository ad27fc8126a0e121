"""`migrate`, `migrate status`: the version of the database's schema."""

from __future__ import annotations

import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import Exit
from sentinel.settings import mask_url
from sentinel.store import SchemaStatus, Store

app = typer.Typer(
    name="migrate",
    help="Bring the database's schema to this program's version.",
    rich_markup_mode=None,
    add_completion=False,
    invoke_without_command=True,
)


@app.callback()
def migrate(context: typer.Context) -> int:
    """Bring the database's schema to this program's version; all of it or nothing."""
    cli = cli_of(context)
    if context.invoked_subcommand is not None:
        return Exit.DONE

    async def run() -> int:
        async with Store.open(cli.settings.database_url) as store:
            before = await store.schema_status()
            after = await store.migrate()
        _tell(cli, after)
        moved = f"from {before.current or 'empty'} to {after.current}"
        cli.out.say("nothing to do" if before == after else f"migrated {moved}")
        return Exit.DONE

    return cli.run(run)


@app.command()
def status(context: typer.Context) -> int:
    """Show the schema's version and the one this program needs; exit 4 where they differ."""
    cli = cli_of(context)

    async def run() -> int:
        async with Store.open(cli.settings.database_url) as store:
            found = await store.schema_status()
        _tell(cli, found)
        return Exit.DONE if found.is_current else Exit.DATABASE

    return cli.run(run)


def _tell(cli: Cli, found: SchemaStatus) -> None:
    if cli.out.json:
        document = {"schema": "sentinel.migration/1", "current": found.current, "head": found.head}
        cli.out.document(document | {"is_current": found.is_current})
    else:
        state = "current" if found.is_current else "not current"
        place = mask_url(cli.settings.database_url)
        cli.out.line(f"{place}: {found.current or 'empty'}, needed {found.head}: {state}")
