"""`config show`: every setting, its value and where it was said."""

from __future__ import annotations

import typer

from sentinel.cli.context import cli_of
from sentinel.cli.exits import Exit
from sentinel.cli.parts import noun

app = noun("config", "Show what is set, and where it was said.")


@app.command()
def show(context: typer.Context) -> int:
    """Print every setting with its source, secrets masked; exit 2 where one is wrong."""
    cli = cli_of(context)
    survey = cli.survey()
    # What is wrong may be the output's own settings: then the plain form must do.
    out = cli.plain_out if survey.problems else cli.out
    if out.json:
        settings = [
            {"name": s.name, "value": s.value, "source": s.source, "note": s.note} for s in survey.told
        ]
        out.document({"schema": "sentinel.config/1", "redis": survey.redis, "settings": settings})
        return Exit.DONE
    out.table(
        ("SETTING", "SOURCE", "VALUE"),
        [(s.name, s.source, f"{s.value or '-'}{f'  ({s.note})' if s.note else ''}") for s in survey.told],
    )
    out.error(survey.problems)
    return Exit.USAGE if survey.problems else Exit.DONE
