"""`dead list`, `dead show`, `dead requeue`: what will not run again by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec
import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import DryRun, Limit, Stream, Streams, Yes, noun
from sentinel.cli.values import iso_ms, option, pair, past
from streamq import Broker
from streamq.broker import DeadJob

app = noun("dead", "Look at dead letters, and make them run again.")

#: Dead letters read, or requeued, in one call.
PAGE: Final = 200

Reason = Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated.")]
ErrorPart = Annotated[str | None, typer.Option("--error", help="Only where the error holds this text.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Died since: 2h, or ISO 8601.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Died before: 2h (ago), or ISO 8601.")]
Match = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Only where the payload says so; a.b reaches in."),
]


class Filter(msgspec.Struct, frozen=True):
    """Which dead letters are meant; everything given must hold."""

    job_ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    error: str = ""
    since_ms: float | None = None
    until_ms: float | None = None
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def is_everything(self) -> bool:
        """Nothing was asked for in particular."""
        return self == Filter()

    def accepts(self, letter: DeadJob) -> bool:
        """This one is meant."""
        return (
            (not self.job_ids or letter.envelope.id in self.job_ids)
            and (not self.reasons or letter.reason in self.reasons)
            and self.error.lower() in letter.error.lower()
            and (self.since_ms is None or letter.died_ms >= self.since_ms)
            and (self.until_ms is None or letter.died_ms < self.until_ms)
            and all(_says(letter, path, value) for path, value in self.fields)
        )


def _filter(
    *,
    job_ids: Sequence[str] | None = None,
    reason: Sequence[str] | None,
    error: str | None,
    since: str | None,
    until: str | None,
    match: Sequence[str] | None,
) -> Filter:
    return Filter(
        job_ids=frozenset(job_ids or ()),
        reasons=frozenset(reason or ()),
        error=error or "",
        since_ms=option("--since", past, since) * 1000 if since else None,
        until_ms=option("--until", past, until) * 1000 if until else None,
        fields=tuple(option("--match", pair, text) for text in match or ()),
    )


def _says(letter: DeadJob, path: str, value: str) -> bool:
    """The payload's field at `path` is `value`, compared as text (`true`, `3`, `null` as JSON has them)."""
    found = shapes.payload_of(letter.envelope.payload)
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return (found if isinstance(found, str) else msgspec.json.encode(found).decode()) == value


async def _letters(broker: Broker, stream: str, wanted: Filter) -> AsyncIterator[DeadJob]:
    """Matching dead letters, newest first, a page at a time."""
    before: str | None = None
    while page := await broker.dead(stream, limit=PAGE, before=before):
        for letter in page:
            if wanted.since_ms is not None and letter.died_ms < wanted.since_ms:
                return  # they only get older
            if wanted.accepts(letter):
                yield letter
        before = page[-1].entry_id


@app.command("list")
def list_(
    context: typer.Context,
    *,
    stream: Streams = None,
    reason: Reason = None,
    error: ErrorPart = None,
    since: Since = None,
    until: Until = None,
    match: Match = None,
    limit: Limit = 100,
) -> int:
    """Show dead letters, newest first; for people, counted by reason first."""
    cli = cli_of(context)
    wanted = _filter(reason=reason, error=error, since=since, until=until, match=match)
    return cli.run(lambda: _list(cli, stream or streams.KNOWN, wanted, limit))


async def _list(cli: Cli, names: Sequence[str], wanted: Filter, limit: int) -> int:
    found: list[tuple[str, DeadJob]] = []
    reasons: Counter[tuple[str, str]] = Counter()
    async with cli.broker() as broker:
        for name in names:
            await streams.look(broker, name)
            shown = 0
            async for letter in _letters(broker, name, wanted):
                reasons[name, letter.reason] += 1
                shown += 1
                if shown > limit and cli.out.json:
                    break
                if shown <= limit:
                    found.append((name, letter))
                    if cli.out.json:
                        cli.out.document(shapes.dead_line(name, letter))
    if cli.out.json:
        return Exit.DONE
    if not found:
        cli.out.say("no dead letters")
        return Exit.DONE
    _show(cli, found, reasons)
    return Exit.DONE


def _show(cli: Cli, found: Sequence[tuple[str, DeadJob]], reasons: Counter[tuple[str, str]]) -> None:
    cli.out.table(
        ("STREAM", "REASON", "COUNT"),
        [(name, reason, count) for (name, reason), count in reasons.most_common()],
        right="COUNT",
    )
    cli.out.line()
    cli.out.table(
        ("DIED", "JOB", "REASON", "TRIES", "WHAT", "ERROR"),
        [
            (
                iso_ms(letter.died_ms)[:19],
                letter.envelope.id,
                letter.reason,
                letter.attempts,
                shapes.what_of(letter.envelope.payload),
                letter.error,
            )
            for _, letter in found
        ],
        right="TRIES",
    )
    total = reasons.total()
    if total > len(found):
        cli.out.say(f"{len(found)} of {total}; --limit shows more")


@app.command()
def show(
    context: typer.Context,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="Job id.")],
    stream: Streams = None,
) -> int:
    """Show one dead letter with its payload and traceback."""
    cli = cli_of(context)
    return cli.run(lambda: _show_one(cli, stream or streams.KNOWN, job_id))


async def _show_one(cli: Cli, names: Sequence[str], job_id: str) -> int:
    async with cli.broker() as broker:
        for name in names:
            async for letter in _letters(broker, name, Filter(job_ids=frozenset((job_id,)))):
                _show_whole(cli, name, letter)
                return Exit.DONE
    raise CommandError(Exit.NOT_FOUND, f"no dead letter of job {job_id}", "sentinel-worker dead list")


def _show_whole(cli: Cli, stream: str, letter: DeadJob) -> None:
    document = shapes.dead_line(stream, letter)
    if cli.out.json:
        cli.out.document(document | {"headers": letter.envelope.headers, "traceback": letter.traceback})
        return
    for name, value in document.items():
        if name not in ("schema", "payload"):
            cli.out.line(f"{name:<12} {value}")
    payload = document["payload"]
    cli.out.line(
        "payload      " + (payload if isinstance(payload, str) else msgspec.json.encode(payload).decode())
    )
    if letter.traceback:
        cli.out.line()
        cli.out.line(letter.traceback)


@app.command()
def requeue(
    context: typer.Context,
    *,
    stream: Stream,
    job_id: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these jobs.")] = None,
    reason: Reason = None,
    error: ErrorPart = None,
    since: Since = None,
    until: Until = None,
    match: Match = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> int:
    """Make dead letters ready again, under the same job id.

    Without an id or a filter it is all of them, and you are asked first.
    """
    cli = cli_of(context)
    wanted = _filter(job_ids=job_id, reason=reason, error=error, since=since, until=until, match=match)
    return cli.run(lambda: _requeue(cli, stream, wanted, dry_run=dry_run, yes=yes))


async def _requeue(cli: Cli, stream: str, wanted: Filter, *, dry_run: bool, yes: bool) -> int:
    async with cli.broker() as broker:
        stats = await streams.look(broker, stream)
        letters = [letter async for letter in _letters(broker, stream, wanted)]
        missing = wanted.job_ids - {letter.envelope.id for letter in letters}
        if missing:
            raise CommandError(Exit.NOT_FOUND, f"no dead letter of job {', '.join(sorted(missing))}")
        if dry_run or not letters:
            return _tell_requeued(cli, stream, len(letters), 0, 0, note=f"of {stats.dead} dead jobs match")
        if wanted.is_everything:
            cli.confirm(
                f"Requeue all {len(letters)} dead letters of {stream}?",
                yes=yes,
                hint="--dry-run shows what would be done",
            )
        ready = duplicate = 0
        # Oldest first, as they were enqueued.
        entry_ids = [letter.entry_id for letter in reversed(letters)]
        for first in range(0, len(entry_ids), PAGE):
            made = await broker.requeue(stream, entry_ids[first : first + PAGE])
            ready, duplicate = ready + len(made.ready), duplicate + len(made.duplicate)
    return _tell_requeued(cli, stream, len(letters), ready, duplicate)


def _tell_requeued(cli: Cli, stream: str, matched: int, ready: int, duplicate: int, *, note: str = "") -> int:
    if cli.out.json:
        document = {"schema": "streamq.requeued/1", "stream": stream, "matched": matched}
        cli.out.document(document | {"ready": ready, "duplicate": duplicate, "dry_run": bool(note)})
    if note:
        cli.out.say(f"{matched} {note}; nothing was changed")
    else:
        left = f", {duplicate} left: another job holds their key" if duplicate else ""
        cli.out.say(f"{ready} of {matched} ready again in {stream}{left}")
    return Exit.DONE
