"""`recurring list`, `pause`, `resume`, `trigger`, `remove`: jobs by an interval or a cron expression."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import Streams, Yes, noun
from sentinel.cli.values import iso
from streamq import Broker, Recurring, RecurringJob, ScheduleNotFound

app = noun("recurring", "Jobs by an interval or a cron expression.")

ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The recurring job's id, such as nightly.")]


@app.command("list")
def list_(context: typer.Context, *, stream: Streams = None) -> int:
    """Show recurring jobs, the next ones first."""
    cli = cli_of(context)
    return cli.run(lambda: _list(cli, stream or streams.KNOWN))


async def _list(cli: Cli, names: Sequence[str]) -> int:
    found: list[RecurringJob] = []
    async with cli.broker() as broker:
        for name in names:
            jobs = await Recurring(name, broker).list()
            if not jobs:
                await streams.look(broker, name)  # says so where there is no such stream
            found += jobs
    if cli.out.json:
        for job in found:
            cli.out.document(shapes.recurring_line(job))
    elif not found:
        cli.out.say(f"no recurring jobs in {', '.join(names)}")
    else:
        rows = [
            (
                job.schedule.id,
                job.stream,
                shapes.timing_of(job),
                "paused" if job.paused else "-" if job.next_due is None else iso(job.next_due),
                "-" if job.last_tick is None else iso(job.last_tick),
                job.runs,
                shapes.limit_of(job),
            )
            for job in found
        ]
        cli.out.table(("ID", "STREAM", "WHEN", "NEXT", "LAST", "RUNS", "LIMIT"), rows)
    return Exit.DONE


@app.command()
def pause(context: typer.Context, schedule_id: ScheduleId, *, stream: Streams = None) -> int:
    """Fire no more ticks of it until it is resumed; kept in Redis."""
    return _altered(context, schedule_id, stream, lambda recurring: recurring.pause(schedule_id), "is paused")


@app.command()
def resume(context: typer.Context, schedule_id: ScheduleId, *, stream: Streams = None) -> int:
    """Fire its ticks again, from now on; those of the meantime are not made up for."""
    return _altered(context, schedule_id, stream, lambda recurring: recurring.resume(schedule_id), "goes on")


def _altered(
    context: typer.Context,
    schedule_id: str,
    names: Sequence[str] | None,
    alter: Callable[[Recurring], Awaitable[RecurringJob]],
    words: str,
) -> int:
    cli = cli_of(context)

    async def run() -> int:
        async with cli.broker() as broker:
            job = await alter(await _where(broker, names or streams.KNOWN, schedule_id))
        if cli.out.json:
            cli.out.document(shapes.recurring_line(job))
        due = "" if job.next_due is None else f"; next {iso(job.next_due)}"
        cli.out.say(f"{schedule_id} of {job.stream} {words}{due}")
        return Exit.DONE

    return cli.run(run)


@app.command()
def trigger(context: typer.Context, schedule_id: ScheduleId, *, stream: Streams = None) -> int:
    """Add one job of it now, beside its ticks."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.broker() as broker:
            recurring = await _where(broker, stream or streams.KNOWN, schedule_id)
            receipt = await recurring.trigger(schedule_id)
        if cli.out.json:
            cli.out.document(shapes.receipt_line(recurring.stream, receipt))
        if receipt.created:
            cli.out.say(f"job {receipt.job_id} was added to {recurring.stream}")
        else:
            cli.out.say(f"nothing was added: job {receipt.job_id} of it still waits or runs")
        return Exit.DONE

    return cli.run(run)


@app.command()
def remove(
    context: typer.Context, schedule_id: ScheduleId, *, stream: Streams = None, yes: Yes = False
) -> int:
    """End it; jobs of its earlier ticks stay. What a worker's code declares is back with its next start."""
    cli = cli_of(context)

    async def run() -> int:
        async with cli.broker() as broker:
            recurring = await _where(broker, stream or streams.KNOWN, schedule_id)
            job = await recurring.get(schedule_id)
            declared = ", which workers declare anew when they start" if job.declared else ""
            cli.confirm(f"Remove {schedule_id} of {job.stream} ({shapes.timing_of(job)}){declared}?", yes=yes)
            await recurring.remove(schedule_id)
        if cli.out.json:
            document = {"schema": "streamq.recurring_removed/1", "stream": job.stream}
            cli.out.document(document | {"schedule_id": schedule_id})
        cli.out.say(f"{schedule_id} of {job.stream} is removed")
        return Exit.DONE

    return cli.run(run)


async def _where(broker: Broker, names: Sequence[str], schedule_id: str) -> Recurring:
    """The stream that has it. Raises CommandError (not found)."""
    for name in names:
        recurring = Recurring(name, broker)
        try:
            await recurring.get(schedule_id)
        except ScheduleNotFound:
            continue
        return recurring
    where = ", ".join(names)
    raise CommandError(
        Exit.NOT_FOUND,
        f"no recurring job {schedule_id!r} in {where}",
        "sentinel-worker recurring list shows what there is",
    )
