"""`workers list`, `quiet`, `resume`, `trace`, `concurrency`: who works, and what they are asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import Stream, Streams, noun
from sentinel.cli.values import brief, duration
from streamq import Broker
from streamq.admin import PATIENCE, Admin, WorkerView
from streamq.broker import Verb

app = noun("workers", "Who works, on what, and what they are asked to do.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Worker's name, or its unmistakable beginning.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", parser=duration, metavar="DURATION", help="How long to wait for its answer."),
]


@app.command("list")
def list_(context: typer.Context, *, stream: Streams = None) -> int:
    """Show the workers: streams, jobs in hand, slots, and when each was last heard."""
    cli = cli_of(context)
    return cli.run(lambda: _list(cli, stream or streams.KNOWN))


async def _list(cli: Cli, names: Sequence[str]) -> int:
    async with cli.broker() as broker:
        for name in names:
            await streams.look(broker, name)
        found = await Admin(broker, names).workers()
    if cli.out.json:
        for view in found:
            cli.out.document(shapes.worker_line(view))
        return Exit.DONE
    if not found:
        cli.out.say(f"no worker is up for {', '.join(names)}")
        return Exit.DONE
    cli.out.table(
        ("WORKER", "IN HAND", "SLOTS", "HEARD", "STATE", "STREAMS"),
        [
            (
                view.name,
                view.in_hand,
                view.slots,
                brief(view.heard_seconds),
                shapes.worker_state(view),
                ", ".join(view.streams),
            )
            for view in found
        ],
        right="SLOTS HEARD",
    )
    return Exit.DONE


@app.command()
def quiet(context: typer.Context, name: Name, *, stream: Streams = None, timeout: Timeout = None) -> int:
    """Have a worker take no more jobs; what it has in hand goes on, and it stays up."""
    return _order(context, name, "quiet", stream, timeout)


@app.command()
def resume(context: typer.Context, name: Name, *, stream: Streams = None, timeout: Timeout = None) -> int:
    """Have a quiet worker take jobs again."""
    return _order(context, name, "resume", stream, timeout)


@app.command()
def trace(context: typer.Context, name: Name, *, stream: Streams = None, timeout: Timeout = None) -> int:
    """Show every running job of a worker and where in its code it stands."""
    return _order(context, name, "trace", stream, timeout)


def _order(
    context: typer.Context, name: str, verb: Verb, stream: list[str] | None, timeout: float | None
) -> int:
    cli = cli_of(context)
    patience = PATIENCE if timeout is None else timeout
    return cli.run(lambda: _ordered(cli, stream or streams.KNOWN, name, verb, patience))


async def _ordered(cli: Cli, names: Sequence[str], name: str, verb: Verb, patience: float) -> int:
    async with cli.broker() as broker:
        admin = Admin(broker, names)
        worker = _one(await admin.workers(), name)
        answer = await admin.order(worker, verb, patience=patience)
    if answer is None:
        raise CommandError(
            Exit.FAILED,
            f"worker {worker.name} has not answered within {brief(patience)}",
            "it hears with its next heartbeat; workers list tells when it was last heard",
        )
    if cli.out.json:
        document = {"schema": "streamq.worker_answer/1", "worker": worker.name}
        cli.out.document(document | {"order": verb, "answer": answer})
    elif verb == "trace":
        cli.out.line(answer)
    cli.out.say(f"{worker.name}: {answer}" if verb != "trace" else f"{worker.name} as of now")
    return Exit.DONE


def _one(found: Sequence[WorkerView], name: str) -> WorkerView:
    """The worker of that name, or the only one whose name begins so. Raises CommandError."""
    exact = [view for view in found if view.name == name]
    meant = exact or [view for view in found if view.name.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise CommandError(Exit.USAGE, f"{name!r} may be any of {', '.join(view.name for view in meant)}")
    raise CommandError(Exit.NOT_FOUND, f"there is no worker {name!r}", "sentinel-worker workers list")


@app.command()
def concurrency(
    context: typer.Context,
    jobs: Annotated[
        int | None, typer.Argument(metavar="[N]", min=1, max=10_000, help="Jobs at once, in each worker.")
    ] = None,
    *,
    stream: Stream,
    reset: Annotated[bool, typer.Option("--reset", help="As many as each worker was started with.")] = False,
) -> int:
    """Change how many jobs of a stream every worker runs at once; kept in Redis.

    Busy workers obey with their next turn, others with their next heartbeat. What runs goes on.
    """
    cli = cli_of(context)
    if (jobs is None) == (not reset):
        raise CommandError(Exit.USAGE, "say how many jobs, or --reset", "workers concurrency --stream S 20")
    return cli.run(lambda: _set_concurrency(cli, stream, jobs))


async def _set_concurrency(cli: Cli, stream: str, jobs: int | None) -> int:
    async with cli.broker() as broker:
        await streams.look(broker, stream)
        await broker.set_concurrency(stream, jobs)
        workers = await _listed(broker, stream)
    if cli.out.json:
        cli.out.document({"schema": "streamq.concurrency/1", "stream": stream, "concurrency": jobs})
    wanted = "as many jobs at once as it was started with" if jobs is None else f"{jobs} jobs at once"
    cli.out.say(f"every worker of {stream} runs {wanted}; {workers} up now")
    return Exit.DONE


async def _listed(broker: Broker, stream: str) -> int:
    return sum(one.beat is not None for one in await broker.workers(stream))
