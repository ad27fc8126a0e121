"""`config show`: every setting, its value and where it was said."""

from __future__ import annotations

import typer

from sentinel.cli.context import cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.parts import noun

app = noun("config", "Show what is set, and where it was said.")


@app.command()
def show(context: typer.Context) -> int:
    """Print every setting with its source; secrets are masked."""
    cli = cli_of(context)
    told = cli.settings.sources()
    if cli.out.json:
        settings = [{"name": s.name, "value": s.value, "source": s.source, "note": s.note} for s in told]
        cli.out.document(
            {"schema": "sentinel.config/1", "redis": cli.settings.redis.safe, "settings": settings}
        )
        return Exit.DONE
    cli.out.table(
        ("SETTING", "SOURCE", "VALUE"),
        [(s.name, s.source, f"{s.value or '-'}{f'  ({s.note})' if s.note else ''}") for s in told],
    )
    return Exit.DONE
