"""`jobs show`, `jobs why`, `jobs cancel`, `jobs list`: one job, wherever it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import Limit, Stream, Streams, Yes, noun
from sentinel.cli.values import iso_ms
from streamq import Broker
from streamq.admin import Admin
from streamq.broker import LOOK, Cancellation, Sighting

app = noun("jobs", "Look at one job in any state, and cancel it.")

State = Literal["ready", "leased", "delayed", "parked", "dead", "done"]

JobId = Annotated[str, typer.Argument(metavar="ID", help="Job id.")]
Look = Annotated[
    int, typer.Option("--look", min=0, help="Entries of each lane to look at for a job that waits.")
]


@app.command()
def show(context: typer.Context, job_id: JobId, *, stream: Streams = None, look: Look = LOOK) -> int:
    """Show one job: where it is, its attempts, its payload, and why it does not run."""
    cli = cli_of(context)
    return cli.run(lambda: _show(cli, stream or streams.KNOWN, job_id, look, whole=True))


@app.command()
def why(context: typer.Context, job_id: JobId, *, stream: Streams = None, look: Look = LOOK) -> int:
    """Say in one sentence why a job is not running."""
    cli = cli_of(context)
    return cli.run(lambda: _show(cli, stream or streams.KNOWN, job_id, look, whole=False))


async def _show(cli: Cli, names: Sequence[str], job_id: str, look: int, *, whole: bool) -> int:
    async with cli.broker() as broker:
        admin = await _admin(broker, names)
        seen = await admin.find(job_id, look=look)
        sentence = await admin.why(seen)
    if seen.state == "unknown":
        hint = "" if seen.looked_at_all else "--look 1000000 looks further"
        raise CommandError(Exit.NOT_FOUND, f"job {job_id}: {sentence}", hint)
    if cli.out.json:
        cli.out.document(shapes.job_line(seen) | {"why": sentence})
    elif whole:
        _show_whole(cli, seen, sentence)
    else:
        cli.out.line(sentence)
    return Exit.DONE


async def _admin(broker: Broker, names: Sequence[str]) -> Admin:
    for name in names:
        await streams.look(broker, name)
    return Admin(broker, names, retries=streams.RETRIES)


def _show_whole(cli: Cli, seen: Sighting, sentence: str) -> None:
    document = shapes.job_line(seen)
    for name, value in document.items():
        if name not in ("schema", "payload", "headers", "tries", "result") and value not in (None, False):
            cli.out.line(f"{name:<14} {value}")
    cli.out.line(f"{'why':<14} {sentence}")
    for one in seen.envelope.tries if seen.envelope is not None else ():
        cli.out.line(f"{f'attempt {one.attempt}':<14} ready at {iso_ms(one.ready_ms)}: {one.error}")
    if seen.envelope is not None:
        for name in ("headers", "payload"):
            value = document[name]
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            cli.out.line(f"{name:<14} {text}")
    if "result" in document:
        cli.out.line(f"{'result':<14} {msgspec.json.encode(document['result']).decode()}")


@app.command()
def cancel(
    context: typer.Context,
    job_id: JobId,
    *,
    stream: Streams = None,
    look: Look = LOOK,
    yes: Yes = False,
) -> int:
    """End a job for good, in whatever state it is.

    What waits ends at once. What runs is stopped at its worker's next heartbeat, whatever it was doing.
    """
    cli = cli_of(context)
    return cli.run(lambda: _cancel(cli, stream or streams.KNOWN, job_id, look, yes=yes))


async def _cancel(cli: Cli, names: Sequence[str], job_id: str, look: int, *, yes: bool) -> int:
    async with cli.broker() as broker:
        admin = await _admin(broker, names)
        seen = await admin.find(job_id, look=look)
        if seen.state in ("ready", "leased", "delayed", "parked"):
            sentence = await admin.why(seen)
            cli.confirm(f"Cancel job {job_id} of {seen.stream} ({sentence})?", yes=yes)
        name, made = await admin.cancel(job_id, look=look)
    if made.found == "unknown":
        raise CommandError(Exit.NOT_FOUND, f"no job {job_id} waits, runs or has lately ended")
    if cli.out.json:
        cli.out.document(shapes.cancellation_line(name, made))
    cli.out.say(f"job {job_id} of {name} {_came_to(made)}")
    return Exit.DONE


def _came_to(made: Cancellation) -> str:
    match made.found:
        case "waiting":
            return "was waiting and is cancelled"
        case "delayed":
            return "was delayed and is cancelled"
        case "running":
            return f"runs: {made.worker} was asked to stop it and hears so at its next heartbeat"
        case "sought":
            return (
                f"is not among the {made.looked:,} entries that were looked at;"
                " should a worker meet it within a week, it ends there"
            )
        case _:
            return f"had ended already: {made.state}"


# --- list -------------------------------------------------------------------------------------------------


@app.command("list")
def list_(
    context: typer.Context,
    *,
    stream: Stream,
    state: Annotated[State, typer.Option("--state", help="Which ones.")],
    limit: Limit = 100,
) -> int:
    """Show jobs of one state: the next ones first, of those that ended the last ones."""
    cli = cli_of(context)
    return cli.run(lambda: _list(cli, stream, state, limit))


async def _list(cli: Cli, stream: str, state: State, limit: int) -> int:
    rows: list[Sequence[object]] = []
    async with cli.broker() as broker:
        await streams.look(broker, stream)
        for seen in await _jobs(broker, stream, state, limit):
            if cli.out.json:
                cli.out.document(shapes.job_line(seen))
            else:
                rows.append(_row(seen))
    if cli.out.json:
        return Exit.DONE
    if not rows:
        cli.out.say(f"no job of {stream} is {state}")
        return Exit.DONE
    cli.out.table(("JOB", "LANE", "TRY", "CRASHES", "WHEN", "WHAT", "ABOUT"), rows, right="TRY CRASHES")
    if len(rows) == limit:
        cli.out.say(f"the first {limit}; --limit shows more")
    return Exit.DONE


async def _jobs(broker: Broker, stream: str, state: State, limit: int) -> list[Sighting]:
    """Every job of that state, as `Broker.find` would have seen it."""

    def sighting(job_id: str, **seen: Any) -> Sighting:  # the fields of one
        return Sighting(stream=stream, job_id=job_id, **({"state": state, "server_ms": 0} | seen))

    match state:
        case "ready":
            waiting = await broker.waiting(stream, limit=limit)
            return [
                sighting(one.envelope.id, envelope=one.envelope, entry_id=one.entry_id, before=number)
                for number, one in enumerate(waiting)
            ]
        case "leased":
            return [
                sighting(
                    one.envelope.id,
                    envelope=one.envelope,
                    entry_id=one.entry_id,
                    worker=one.worker,
                    silent_seconds=one.idle_seconds,
                )
                for one in await broker.pending(stream, limit=limit)
            ]
        case "delayed":
            delayed = await broker.delayed(stream, limit=limit)
            return [sighting(one.id, envelope=one, due_in=due) for one, due in delayed]
        case "parked":
            return [sighting(one.id, envelope=one) for one in await broker.parked(stream, limit=limit)]
        case "dead":
            letters = await broker.dead(stream, limit=limit)
            return [
                sighting(one.envelope.id, envelope=one.envelope, entry_id=one.entry_id, dead=one)
                for one in letters
            ]
        case "done":
            records = await broker.done(stream, limit=limit)
            return [
                sighting(one.job_id, entry_id=one.entry_id, done=one, state=one.outcome) for one in records
            ]


_NO_LANE: Final = "-"


def _row(seen: Sighting) -> Sequence[object]:
    envelope = seen.envelope
    document = shapes.job_line(seen)
    when = document["due_at"] or document["ended_at"] or document["enqueued_at"] or _NO_LANE
    about = seen.worker or (seen.dead.reason if seen.dead else "") or (envelope.note if envelope else "")
    return (
        seen.job_id,
        envelope.lane if envelope else _NO_LANE,
        document["attempt"],
        document["crashes"],
        str(when)[:19],
        shapes.what_of(envelope.payload) if envelope else _NO_LANE,
        about or (seen.state if seen.state in ("done", "cancelled") else _NO_LANE),
    )
