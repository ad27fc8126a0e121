"""`dead list`, `show`, `requeue`, `purge`, `export`: what will not run again by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.enqueue import read_payload
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import DryRun, Limit, Stream, Streams, Yes, noun
from sentinel.cli.values import iso_ms, option, pair, past, per_second
from streamq import Broker
from streamq.admin import Admin, DeadFilter
from streamq.broker import DeadJob

app = noun("dead", "Look at dead letters, make them run again, delete them.")

#: How many a second, `10/s` or `100/m`.

Reason = Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated.")]
ErrorPart = Annotated[str | None, typer.Option("--error", help="Only where the error holds this text.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Died since: 2h, or ISO 8601.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Died before: 2h (ago), or ISO 8601.")]
Match = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Only where the payload says so; a.b reaches in."),
]


def _filter(
    *,
    job_ids: Sequence[str] | None = None,
    reason: Sequence[str] | None,
    error: str | None,
    since: str | None,
    until: str | None,
    match: Sequence[str] | None,
) -> DeadFilter:
    return DeadFilter(
        job_ids=frozenset(job_ids or ()),
        reasons=frozenset(reason or ()),
        error=error or "",
        since_ms=option("--since", past, since) * 1000 if since else None,
        until_ms=option("--until", past, until) * 1000 if until else None,
        fields=tuple(option("--match", pair, text) for text in match or ()),
    )


def _letters(broker: Broker, stream: str, wanted: DeadFilter) -> AsyncIterator[DeadJob]:
    """Matching dead letters, newest first, a page at a time."""
    return Admin(broker, [stream]).dead_letters(stream, wanted)


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


async def _list(cli: Cli, names: Sequence[str], wanted: DeadFilter, limit: int) -> int:
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
            async for letter in _letters(broker, name, DeadFilter(job_ids=frozenset((job_id,)))):
                _show_whole(cli, name, letter)
                return Exit.DONE
    raise CommandError(Exit.NOT_FOUND, f"no dead letter of job {job_id}", "sentinel-worker dead list")


def _show_whole(cli: Cli, stream: str, letter: DeadJob) -> None:
    document = shapes.dead_line(stream, letter)
    if cli.out.json:
        cli.out.document(shapes.letter_line(stream, letter))
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
    rate: Annotated[
        str | None, typer.Option(metavar="N/s", help="At most so many a second (10/s, 100/m).")
    ] = None,
    edit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Payloads to put in the place of theirs: one payload for one letter, or lines of"
            " `dead export`, which then say which letters are meant; - is stdin.",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> int:
    """Make dead letters ready again, under the same job id.

    Without an id or a filter it is all of them, and you are asked first.
    """
    cli = cli_of(context)
    wanted = _filter(job_ids=job_id, reason=reason, error=error, since=since, until=until, match=match)
    edits = Edits() if edit is None else _edits(cli, stream, edit)
    if edits.by_job:
        wanted = msgspec.structs.replace(wanted, job_ids=wanted.job_ids | set(edits.by_job))
    pace = option("--rate", per_second, rate) if rate else None
    return cli.run(lambda: _requeue(cli, stream, wanted, edits, pace, dry_run=dry_run, yes=yes))


async def _requeue(
    cli: Cli, stream: str, wanted: DeadFilter, edits: Edits, rate: float | None, *, dry_run: bool, yes: bool
) -> int:
    async with cli.broker() as broker:
        stats = await streams.look(broker, stream)
        letters = await _meant(broker, stream, wanted)
        payloads = edits.payloads(letters)
        if dry_run or not letters:
            return _tell_requeued(cli, stream, len(letters), 0, 0, note=f"of {stats.dead} dead jobs match")
        if wanted.is_everything:
            cli.confirm(
                f"Requeue all {len(letters)} dead letters of {stream}?",
                yes=yes,
                hint="--dry-run shows what would be done",
            )
        # Oldest first, as they were enqueued.
        entry_ids = [letter.entry_id for letter in reversed(letters)]
        made = await Admin(broker, [stream]).requeue(stream, entry_ids, rate=rate, payloads=payloads)
    return _tell_requeued(cli, stream, len(letters), len(made.ready), len(made.duplicate))


async def _meant(broker: Broker, stream: str, wanted: DeadFilter) -> list[DeadJob]:
    """The letters that are meant. Raises CommandError where a job that was named has none."""
    letters = [letter async for letter in _letters(broker, stream, wanted)]
    missing = wanted.job_ids - {letter.envelope.id for letter in letters}
    if missing:
        raise CommandError(Exit.NOT_FOUND, f"no dead letter of job {', '.join(sorted(missing))}")
    return letters


# --- editing ----------------------------------------------------------------------------------------------


class Edits(msgspec.Struct, frozen=True):
    """Payloads for letters."""

    #: For the one letter that is meant.
    single: bytes | None = None
    #: Job id -> payload.
    by_job: dict[str, bytes] = {}

    def payloads(self, letters: Sequence[DeadJob]) -> dict[str, bytes]:
        """Entry id -> payload. Raises CommandError where one payload would go to several letters."""
        if self.single is None:
            return {
                letter.entry_id: self.by_job[letter.envelope.id]
                for letter in letters
                if letter.envelope.id in self.by_job
            }
        if len(letters) != 1:
            raise CommandError(
                Exit.USAGE,
                f"one payload is for one dead letter, and {len(letters)} match",
                "name the job, or edit the lines of `dead export`",
            )
        return {letters[0].entry_id: self.single}


def _edits(cli: Cli, stream: str, path: Path) -> Edits:
    """What the file says; every payload is read as the worker will read it. Raises CommandError."""
    raw = cli.stdin.read().encode("utf-8", "surrogateescape") if str(path) == "-" else path.read_bytes()
    try:
        documents = [msgspec.json.decode(line) for line in raw.splitlines() if line.strip()]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        documents = []
    by_job = {}
    for number, document in enumerate(documents, 1):
        if not isinstance(document, dict) or document.get("schema") != "streamq.dead/1":
            break
        place = f"line {number}: "
        if document.get("stream") != stream or not isinstance(document.get("job_id"), str):
            raise CommandError(Exit.FAILED, f"{place}not a dead letter of {stream}", "nothing was changed")
        payload = document.get("payload")
        text = payload if isinstance(payload, str) else msgspec.json.encode(payload).decode()
        by_job[document["job_id"]] = _checked(stream, text.encode("utf-8", "surrogateescape"), place)
    if by_job and len(by_job) == len(documents):
        return Edits(by_job=by_job)
    return Edits(single=_checked(stream, raw.strip(), ""))


def _checked(stream: str, payload: bytes, place: str) -> bytes:
    try:
        read_payload(stream, payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CommandError(
            Exit.FAILED, f"{place}not a payload of {stream}: {error}", "nothing was changed"
        ) from None
    return payload


# --- away with them ------------------------------------------------------------------------------------


@app.command()
def purge(
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
    """Delete dead letters for good. Without an id or a filter it is all of them; you are asked first."""
    cli = cli_of(context)
    wanted = _filter(job_ids=job_id, reason=reason, error=error, since=since, until=until, match=match)
    return cli.run(lambda: _purge(cli, stream, wanted, dry_run=dry_run, yes=yes))


async def _purge(cli: Cli, stream: str, wanted: DeadFilter, *, dry_run: bool, yes: bool) -> int:
    purged = 0
    async with cli.broker() as broker:
        stats = await streams.look(broker, stream)
        letters = await _meant(broker, stream, wanted)
        if letters and not dry_run:
            cli.confirm(
                f"Delete {len(letters)} of {stats.dead} dead letters of {stream} for good?",
                yes=yes,
                hint="--dry-run shows what would be done; dead export keeps a copy",
            )
            purged = await Admin(broker, [stream]).purge(stream, [letter.entry_id for letter in letters])
    if cli.out.json:
        document = {"schema": "streamq.purged/1", "stream": stream, "matched": len(letters)}
        cli.out.document(document | {"purged": purged, "dry_run": dry_run})
    if dry_run or not letters:
        cli.out.say(f"{len(letters)} of {stats.dead} dead jobs match; nothing was changed")
    else:
        cli.out.say(f"{purged} dead letters of {stream} deleted")
    return Exit.DONE


@app.command()
def export(
    context: typer.Context,
    *,
    stream: Stream,
    job_id: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these jobs.")] = None,
    reason: Reason = None,
    error: ErrorPart = None,
    since: Since = None,
    until: Until = None,
    match: Match = None,
) -> int:
    """Write dead letters as JSON lines, each with its headers and traceback; `requeue --edit` reads them."""
    cli = cli_of(context)
    wanted = _filter(job_ids=job_id, reason=reason, error=error, since=since, until=until, match=match)
    return cli.run(lambda: _export(cli, stream, wanted))


async def _export(cli: Cli, stream: str, wanted: DeadFilter) -> int:
    written = 0
    async with cli.broker() as broker:
        await streams.look(broker, stream)
        async for letter in _letters(broker, stream, wanted):
            cli.out.document(shapes.letter_line(stream, letter))
            written += 1
    cli.out.say(f"{written} dead letters of {stream}")
    return Exit.DONE


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
