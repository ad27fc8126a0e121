"""How a command's module starts: a Typer with the house's settings, and options that recur."""

from __future__ import annotations

from typing import Annotated

import typer


def verbs() -> typer.Typer:
    """For modules whose commands stand at the top: `stats`."""
    # With a callback, Typer keeps a group even of one command.
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.callback()(_nothing)
    return app


def noun(name: str, text: str) -> typer.Typer:
    """For modules whose commands stand under a word: `dead list`."""
    app = typer.Typer(name=name, help=text, rich_markup_mode=None, add_completion=False, no_args_is_help=True)
    app.callback()(_nothing)
    return app


def _nothing() -> None:
    pass


Stream = Annotated[str, typer.Option("--stream", help="Stream, such as rules:run.")]
Streams = Annotated[list[str] | None, typer.Option("--stream", help="Only this stream; may be repeated.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="At most so many.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
