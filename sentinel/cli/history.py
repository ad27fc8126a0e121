"""`history`: what a rule's checks found, as a list, a difference, a picture or a file."""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final, TextIO

import msgspec
import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.difference import diff_document, show_diff
from sentinel.cli.entries import Cursor, Entry, Told, at_of, entries, entry_line, with_results
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.keepsake import Kept, write_kept
from sentinel.cli.parts import verbs
from sentinel.cli.values import iso, option, past
from sentinel.decide.text import shorten
from sentinel.decide.values import describe
from sentinel.store import Observation, RunRecord, RunResult, Store

app = verbs()

#: Entries without --limit: of a list, of a picture.
LISTED: Final = 100
DRAWN: Final = 20_000
FORMS: Final = ("csv", "jsonl")
_COLUMNS: Final = ("at", "run_id", "value", "change_kind", "confirmed", "error_code", "raw")
#: Characters of the reason for a browser, in a list.
WHY: Final = 60
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
#: What a spreadsheet takes for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Wanted(msgspec.Struct, frozen=True):
    """What `history` was asked for."""

    rule_id: str
    limit: int | None
    since: float | None
    until: float | None
    after: Cursor
    diff: tuple[str, str] | None
    plot: bool
    forms: tuple[str, ...]
    out: Path | None
    kept: Kept | None = None


@app.command()
def history(
    context: typer.Context,
    *,
    rule_id: Annotated[str, typer.Argument(metavar="RULE", help="Rule id.")],
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many; a list has 100.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Not before: a time, or 7d ago.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only before that.")] = None,
    before: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="The next page: the cursor of the last line.")
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option("--diff", metavar="RUN RUN", help="What differs between two runs."),
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw it here; with --out FILE.png as a picture.")
    ] = False,
    export: Annotated[str | None, typer.Option(metavar="csv,jsonl", help="All of it as a table.")] = None,
    screenshot: Annotated[
        str | None, typer.Option(metavar="RUN", help="Write the pictures of a run, page and element.")
    ] = None,
    body: Annotated[
        str | None, typer.Option(metavar="RUN", help="Write the page that was kept of a run.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where a picture, a page or an export goes.")
    ] = None,
) -> int:
    """Show what a rule's checks found, newest first: values, changes, and errors."""
    cli = cli_of(context)
    wanted = Wanted(
        rule_id,
        limit,
        None if since is None else option("--since", past, since),
        None if until is None else option("--until", past, until),
        Cursor() if before is None else option("--before", _cursor, before),
        diff,
        plot,
        _forms(export),
        out,
        _kept(screenshot, body),
    )
    if sum((diff is not None, plot, bool(wanted.forms), screenshot is not None, body is not None)) > 1:
        raise typer.BadParameter("--diff, --plot, --export, --screenshot and --body are one at a time")
    if out is not None and not (plot or wanted.forms or wanted.kept):
        raise typer.BadParameter("goes with --plot, --export, --screenshot or --body", param_hint="'--out'")
    return cli.run(lambda: _history(cli, wanted))


def _kept(screenshot: str | None, body: str | None) -> Kept | None:
    for kind, run_id in (("screenshot", screenshot), ("body", body)):
        if run_id is not None:
            if _NUMBER.fullmatch(run_id) is None:
                raise typer.BadParameter(f"{run_id!r} is not the number of a run", param_hint=f"'--{kind}'")
            return Kept("screenshot" if kind == "screenshot" else "body", int(run_id))
    return None


def _cursor(text: str) -> Cursor:
    try:
        return Cursor.read(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _forms(text: str | None) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text is not None else ()
    for one in found:
        if one not in FORMS:
            raise typer.BadParameter(f"{one!r} is none of {', '.join(FORMS)}", param_hint="'--export'")
    return found


async def _history(cli: Cli, wanted: Wanted) -> int:
    async with cli.store() as store:
        if wanted.diff is not None:
            before, after = [await _observation(store, wanted.rule_id, one) for one in wanted.diff]
            if cli.out.json:
                cli.out.document(diff_document(before, after))
            else:
                show_diff(cli.out, before, after)
        elif wanted.kept is not None:
            await write_kept(cli, store, wanted.rule_id, wanted.kept, wanted.out)
        elif wanted.plot:
            await _plot(cli, store, wanted)
        elif wanted.forms:
            await _export(cli, wanted, _told(store, wanted, sys.maxsize))
        else:
            found = [one async for one in _told(store, wanted, LISTED)]
            _show(cli, found, full=len(found) == (wanted.limit or LISTED))
    return Exit.DONE


def _entries(store: Store, wanted: Wanted, usual: int) -> AsyncIterator[tuple[Entry, Cursor]]:
    limit = usual if wanted.limit is None else wanted.limit
    return entries(
        store, wanted.rule_id, limit=limit, since=wanted.since, until=wanted.until, after=wanted.after
    )


def _told(store: Store, wanted: Wanted, usual: int) -> AsyncIterator[Told]:
    return with_results(store, wanted.rule_id, _entries(store, wanted, usual))


async def _observation(store: Store, rule_id: str, run_id: str) -> Observation:
    if _NUMBER.fullmatch(run_id) is None:
        raise CommandError(
            Exit.USAGE, f"{run_id!r} is not the number of a run", f"sentinel-worker history {rule_id}"
        )
    return await store.observation(rule_id, int(run_id))


# --- a list ---------------------------------------------------------------------------------------


def _show(cli: Cli, found: Sequence[Told], *, full: bool) -> None:
    """`full`: as many as were asked for, so that there may be more."""
    if cli.out.json:
        for one in found:
            cli.out.document(entry_line(*one))
    elif not found:
        cli.out.say("no checks yet")
    else:
        rows = [(iso(at_of(entry))[:19], *_words(entry), _how(result)) for entry, _, result in found]
        cli.out.table(("AT", "RUN", "CHANGE", "VALUE", "BY"), rows, right="RUN")
        if full:
            cli.out.say(f"older ones: --before {found[-1][1]}")


def _words(entry: Entry) -> tuple[object, str, str]:
    if isinstance(entry, RunRecord):
        detail = entry.result.error_detail or ""
        kind = "trying again" if entry.status == "running" else "error"
        return entry.run_id, kind, f"{entry.result.error_code}  {detail}".rstrip()
    change = entry.change_kind or ("" if entry.confirmed else "not confirmed")
    before = f"  (was {describe(entry.before)})" if entry.before is not None else ""
    return entry.run_id, change, f"{describe(entry.value)}{before}"


def _how(result: RunResult | None) -> str:
    """By which way, why not by HTTP, and what is kept of it."""
    if result is None:
        return ""
    kept = [name for name, blob in (("page", result.body_blob), ("picture", result.screenshot_blob)) if blob]
    because = f" ({shorten(result.fallback_reason, WHY)})" if result.fallback_reason else ""
    return f"{result.mode or '-'}{because}{''.join(f', {name}' for name in kept)}"


# --- a picture ------------------------------------------------------------------------------------


async def _plot(cli: Cli, store: Store, wanted: Wanted) -> None:
    from sentinel.cli.chart import chart_of, in_terminal  # noqa: PLC0415 - for this alone
    from sentinel.cli.picture import png  # noqa: PLC0415 - for this alone

    found = [entry async for entry, _ in _entries(store, wanted, DRAWN)]
    if not found:
        cli.out.say("no checks yet")
        return
    alerts = await store.alerts(DRAWN, rule_id=wanted.rule_id)
    chart = chart_of(wanted.rule_id, found, alerts)
    if wanted.out is not None:
        wanted.out.write_bytes(png(chart))
        cli.out.say(f"{wanted.out}: {len(found)} checks")
        return
    for line in in_terminal(chart):
        cli.out.line(line)


# --- a file ---------------------------------------------------------------------------------------


async def _export(cli: Cli, wanted: Wanted, found: AsyncIterator[Told]) -> None:
    """To stdout, or to FILE; several forms to FILE.csv and FILE.jsonl."""
    if len(wanted.forms) > 1 and wanted.out is None:
        raise CommandError(
            Exit.USAGE, "two forms need --out", "--out prices makes prices.csv and prices.jsonl"
        )
    count, began = 0, time.monotonic()
    with ExitStack() as files:
        writers = [_writer(form, _target(cli, wanted, form, files)) for form in wanted.forms]
        async for one in found:
            count += 1
            for write in writers:
                write(*one)
    cli.out.say(f"{count} checks in {time.monotonic() - began:.1f} s")


def _target(cli: Cli, wanted: Wanted, form: str, files: ExitStack) -> TextIO:
    if wanted.out is None:
        return cli.out.stdout
    path = wanted.out if len(wanted.forms) == 1 else wanted.out.with_name(f"{wanted.out.name}.{form}")
    return files.enter_context(path.open("w", encoding="utf-8", newline=""))


def _writer(form: str, target: TextIO) -> Callable[[Entry, Cursor, RunResult | None], object]:
    if form == "jsonl":
        return lambda *one: target.write(msgspec.json.encode(entry_line(*one)).decode() + "\n")
    table = csv.writer(target, lineterminator="\n")
    table.writerow(_COLUMNS)
    return lambda *one: table.writerow(_row(*one))


def _row(entry: Entry, cursor: Cursor, result: RunResult | None) -> list[object]:
    line = entry_line(entry, cursor, result)
    cells = {name: line[name] for name in _COLUMNS} | {"value": _plainly(line["value"])}
    return [_harmless(one) if isinstance(one, str) else one for one in cells.values()]


def _plainly(value: object) -> object:
    """A value in one cell: its number, status or text alone; else its JSON."""
    if isinstance(value, dict):
        for name in ("amount", "number", "status", "text", "date"):
            if name in value:
                return value[name]
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _harmless(text: str) -> str:
    """A page's text must not become a formula in somebody's spreadsheet; a number stays one."""
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
