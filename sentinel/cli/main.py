"""The entry point: global options, the table of commands, and how everything ends.

A command's module is imported when the command is called, so that `--help` and a typo answer at
once. Global options may stand before or after the command's name (`hoist`).
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final, TextIO, cast

import typer
from typer.core import TyperCommand, TyperGroup

from sentinel.cli.context import Cli, cli_of, standard
from sentinel.cli.exits import CommandError, Exit, ending_of

PROGRAM: Final = "sentinel-worker"
DISTRIBUTION: Final = "sentinel-worker"

#: Command -> its module and its help line, in the order of `--help`.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("sentinel.cli.run", "Consume the streams until stopped."),
    "dev": ("sentinel.cli.run", "Run everything in one process on embedded Redis and SQLite."),
    "demo": ("sentinel.cli.demo", "Show a change travel from a page to a delivered webhook."),
    "pending": ("sentinel.cli.queues", "Show the jobs that workers have in hand."),
    "stats": ("sentinel.cli.queues", "Show how much lies in the streams."),
    "enqueue": ("sentinel.cli.enqueue", "Add jobs to a stream."),
    "jobs": ("sentinel.cli.jobs", "Look at one job in any state, and cancel it."),
    "dead": ("sentinel.cli.dead", "Look at dead letters, make them run again, delete them."),
    "pause": ("sentinel.cli.queues", "Stop taking jobs from a stream; what is in hand goes on."),
    "resume": ("sentinel.cli.queues", "Take jobs from a stream again."),
    "drain": ("sentinel.cli.queues", "Wait until nothing waits or runs in a stream."),
    "partitions": ("sentinel.cli.queues", "Show how many partitions a stream has, or give it more."),
    "workers": ("sentinel.cli.workers", "Who works, on what, and what they are asked to do."),
    "recurring": ("sentinel.cli.recurring", "Jobs by an interval or a cron expression."),
    "schedule": ("sentinel.cli.schedule", "When rules are due; have them checked now."),
    "rules": ("sentinel.cli.rules", "Rules: import, export, look at, switch, try."),
    "fetch": ("sentinel.cli.fetch", "Show what the fetcher makes of a URL."),
    "history": ("sentinel.cli.history", "Show what a rule's checks found, newest first."),
    "alerts": ("sentinel.cli.alerts", "Alerts, and what became of them."),
    "channels": ("sentinel.cli.channels", "Channels: look at, add, try, switch, rotate keys."),
    "migrate": ("sentinel.cli.migrate", "Bring the database's schema to this program's version."),
    "health": ("sentinel.cli.health", "Say whether every part answers, one line each."),
    "doctor": ("sentinel.cli.doctor", "Look for what commonly goes wrong, and say how to mend it."),
    "explain": ("sentinel.cli.explain", "Say what an error code means, and what to do about it."),
    "config": ("sentinel.cli.config", "Show what is set, and where it was said."),
}

#: Global options that take a value, and those that are a flag.
WITH_VALUE: Final = frozenset(("--redis-url", "--database-url", "--log-format", "--config", "--state-dir"))
FLAGS: Final = frozenset(("--json", "--quiet", "--verbose", "--no-color", "--embedded", "--version"))

# `typer` re-exports click's BadParameter, not its base; from click or Typer's own copy of it,
# whichever this version of Typer is built on.
UsageError: Final = cast("type[Exception]", typer.BadParameter.__bases__[0])


class LazyGroup(TyperGroup):
    """Commands by name; each one's module is imported when it is asked for."""

    def __init__(self, **attrs: Any) -> None:  # what Typer passes on
        super().__init__(**attrs)
        # Names only: what a typo is compared with.
        self.commands = dict.fromkeys(COMMANDS, TyperCommand("lazy"))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - a click.Context of this Typer
        """Every command, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - as above; a Command of this Typer
        """The command of that name, or None."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above
        """The help's list, from the table: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def load(name: str) -> Any:
    """Import a command's module and build it (a Command of this version's Typer)."""
    app: typer.Typer = importlib.import_module(COMMANDS[name][0]).app
    built: Any = typer.main.get_command(app)
    if app.info.name == name:
        return built
    return built.commands[name]


root = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=True,
)


def _print_version(value: bool) -> None:
    if value:
        try:
            found = version(DISTRIBUTION)
        except PackageNotFoundError:  # run from a checkout
            found = "unknown"
        typer.echo(f"{PROGRAM} {found}")
        raise typer.Exit


@root.callback()
def global_options(
    context: typer.Context,
    *,
    redis_url: Annotated[str | None, typer.Option(help="Redis [REDIS_URL].")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database [DATABASE_URL].")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="State folder [SENTINEL_STATE_DIR].")] = None,
    embedded: Annotated[bool, typer.Option("--embedded", help="Use the embedded Redis.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings in TOML [SENTINEL_CONFIG].")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Errors only on stderr.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="More on stderr, and tracebacks.")] = False,
    log_format: Annotated[str | None, typer.Option(metavar="console|json", help="Form of the log.")] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours [NO_COLOR].")] = False,
    version: Annotated[  # noqa: ARG001 - handled as soon as it is read
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Watch web pages and APIs by rules, and tell the right people when what matters changes.

    Global options may also stand after the command: `sentinel-worker stats --json`.
    """
    cli = cli_of(context)
    cli.config_file = config
    cli.flags = {
        "redis_url": redis_url,
        "database_url": database_url,
        "state_dir": state_dir,
        "log_format": log_format,
        # A flag that is not there says nothing: the environment may still say yes.
        "embedded": embedded or None,
        "json": json or None,
        "quiet": quiet or None,
        "verbose": verbose or None,
        "no_color": no_color or None,
    }


def hoist(arguments: Sequence[str]) -> list[str]:
    """`arguments` with the global options first, wherever they stood before a `--`.

    Raises CommandError for one that lacks its value, which would else swallow the command's name.
    """
    moved: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in FLAGS or (
            word.startswith("--") and word.partition("=")[0] in WITH_VALUE and "=" in word
        ):
            moved.append(word)
        elif word in WITH_VALUE:
            value = next(words, None)
            if value is None:
                raise CommandError(Exit.USAGE, f"{word} needs a value", f"{PROGRAM} --help")
            moved += [word, value]
        else:
            rest.append(word)
    return moved + rest


def main(
    arguments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    streams: Mapping[str, TextIO] | None = None,
) -> int:
    """Run one command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    cli = Cli(os.environ if environ is None else environ, **(streams or standard()))
    cli.arguments = tuple(given)
    try:
        result = typer.main.get_command(root).main(
            args=hoist(given), prog_name=PROGRAM, standalone_mode=False, obj=cli
        )
        cli.plain_out.stdout.flush()  # a pipe closed by now is told of here, not after our last line
    except SystemExit as ended:  # Typer's answer to a closed pipe, and shell completion
        return ended.code if isinstance(ended.code, int) else Exit.FAILED
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return _close_pipe()
    except UsageError as error:
        return _tell_usage(cli, error, given)
    except Exception as error:  # noqa: BLE001 - the last place: whatever it is becomes a line and a code
        code = _tell(cli, error)
        try:
            cli.plain_out.stdout.flush()
        except OSError:  # a full disk: told once, and not again by the interpreter with a code of its own
            _close_pipe()
        return code
    return result if isinstance(result, int) else Exit.DONE


def _tell(cli: Cli, error: Exception) -> int:
    ending = ending_of(error)
    if cli.verbose:
        cli.plain_out.stderr.write(cli.conceal("".join(traceback.format_exception(error))))
    cli.plain_out.error([cli.conceal(message) for message in ending.messages], ending.hint)
    return ending.code


def _tell_usage(cli: Cli, error: Exception, given: Sequence[str]) -> int:
    """A usage error of Typer's; without arguments its message is the whole help."""
    message: str = error.format_message()  # type: ignore[attr-defined]  # every ClickException has it
    message = message.replace("Value error, ", "", 1)  # a library's word for its own kind of error
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        cli.plain_out.stderr.write(message + "\n")
    else:
        path = context.command_path if context is not None else _command_of(given)
        cli.plain_out.error([message], f"{path} --help")
    return Exit.USAGE


def _command_of(given: Sequence[str]) -> str:
    """The command that was meant, where the parser did not get as far as to say so."""
    words = [word for word in given if not word.startswith("-")]
    if not words or words[0] not in COMMANDS:
        return PROGRAM
    under = getattr(load(words[0]), "commands", {})
    return " ".join([PROGRAM, words[0], *(word for word in words[1:2] if word in under)])


def _close_pipe() -> int:
    """The reader of our output went away (`| head`): end without a word, also at the last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.FAILED


if __name__ == "__main__":
    sys.exit(main())
