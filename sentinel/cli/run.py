"""`run` and `dev`: the worker itself."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated, Final

import anyio
import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import Streams, verbs
from sentinel.cli.streams import KNOWN, did_you_mean
from streamq.parent import is_supervised

app = verbs()

#: Seconds past the drain timeout in which a process lets go of everything.
LET_GO: Final = 30.0

Concurrency = Annotated[int | None, typer.Option("--concurrency", min=1, help="Jobs at once, per stream.")]
MetricsPort = Annotated[
    int | None,
    typer.Option("--metrics-port", min=0, max=65535, help="Serve /metrics, /healthz, /readyz here."),
]
DrainTimeout = Annotated[
    float | None, typer.Option("--drain-timeout", min=0, help="Seconds to finish after TERM or INT.")
]


@app.command()
def run(
    context: typer.Context,
    *,
    stream: Streams = None,
    concurrency: Concurrency = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", min=1, help="Worker processes, under one supervisor [SENTINEL_PROCESSES]."
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            "--partitions", min=1, max=64, help="Partitions of each stream, at least [STREAMQ_PARTITIONS]."
        ),
    ] = None,
    max_jobs: Annotated[
        int | None,
        typer.Option("--max-jobs", min=1, help="Replace a process after about so many [SENTINEL_MAX_JOBS]."),
    ] = None,
    max_memory: Annotated[
        int | None,
        typer.Option("--max-memory", min=64, help="Replace one at so many MiB [SENTINEL_MAX_MEMORY_MIB]."),
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="Exit when nothing is left to do.")] = False,
    burst_wait: Annotated[
        float | None,
        typer.Option("--burst-wait", min=0, help="Seconds a burst waits for what becomes due (0)."),
    ] = None,
    drain_timeout: DrainTimeout = None,
    metrics_port: MetricsPort = None,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Do not look for rules that are due.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", help="A name no other worker has: takes over at once after a crash."),
    ] = None,
) -> Exit:
    """Consume the streams until stopped.

    With --processes N, a supervisor keeps N workers running, passes signals on to them, and ends with
    8 where one handed jobs back. Worker I is called NAME-I; it serves /metrics on the port + I. With
    --max-jobs or --max-memory one process is supervised too.
    """
    cli = cli_of(context)
    streams = tuple(stream) if stream else KNOWN
    for one in streams:
        if one not in KNOWN:
            raise CommandError(Exit.USAGE, f"nothing here handles the stream {one!r}", did_you_mean(one))
    if burst_wait is not None and not burst:
        raise CommandError(Exit.USAGE, "--burst-wait is a burst's", "add --burst, or leave it out to run on")
    cli.flags |= {
        "concurrency_rules": concurrency,
        "concurrency_alerts": concurrency,
        "processes": processes,
        "partitions": partitions,
        "max_jobs": max_jobs,
        "max_memory_mib": max_memory,
        "drain_timeout": drain_timeout,
        "metrics_port": metrics_port,
        "scheduler": False if no_scheduler else None,
    }
    settings = cli.settings
    # One of those that are supervised is this command line too.
    recycles = bool(settings.max_jobs or settings.max_memory_mib) and not is_supervised(cli.environ)
    if settings.processes > 1 or recycles:
        return _supervise(cli, burst=burst, name=name)
    return _work(cli, streams, burst_wait=(burst_wait or 0.0) if burst else None, name=name)


@app.command()
def dev(
    context: typer.Context,
    *,
    concurrency: Concurrency = None,
    metrics_port: MetricsPort = 0,
    drain_timeout: DrainTimeout = None,
) -> Exit:
    """Run everything in one process on embedded Redis and SQLite."""
    cli = cli_of(context)
    cli.flags |= {
        "embedded": True if cli.flags.get("redis_url") is None else None,
        "concurrency_rules": concurrency,
        "concurrency_alerts": concurrency,
        "drain_timeout": drain_timeout,
        "metrics_port": metrics_port,
    }
    return _work(cli, KNOWN, burst_wait=None, name=None, migrate=True)


def _work(
    cli: Cli, streams: tuple[str, ...], *, burst_wait: float | None, name: str | None, migrate: bool = False
) -> Exit:
    """Build everything, run it, say how it ended."""
    from sentinel.app import RunOptions, opened, work  # noqa: PLC0415 - brings everything, which --help does without
    from streamq import Worker  # noqa: PLC0415 - as above
    from streamq.loop import run as run_loop  # noqa: PLC0415 - as above

    settings = cli.settings
    cli.log(logging.INFO)
    out = cli.out
    options = RunOptions(streams=streams, burst_wait=burst_wait, name=name)

    def started(worker: Worker, port: int | None) -> None:
        where = "" if port is None else f"; http://{settings.metrics_host}:{port}/metrics"
        out.say(f"working on {', '.join(streams)} as {worker.name}, redis {settings.redis.safe}{where}")

    async def main() -> int:
        async with opened(settings, cli.environ, concealer=cli.concealer, migrate=migrate) as parts:
            return (await work(parts, options, started=started)).handed_back

    handed_back = run_loop(main)
    if handed_back:
        out.say(f"{handed_back} jobs did not finish in time and were handed back")
        return Exit.UNDRAINED
    return Exit.DONE


def _supervise(cli: Cli, *, burst: bool, name: str | None) -> Exit:
    """Keep several processes running, each of them this command line with one process."""
    from streamq import Supervisor, SupervisorOptions, SupervisorResult  # noqa: PLC0415 - as above

    settings = cli.settings
    command = _command_of(cli, name)
    cli.log(logging.INFO)

    async def main() -> SupervisorResult:
        # What would stop every process is told once, before there is one. The SQLite file of the state
        # folder is made here, and an embedded Redis is ours as long as any of them may need it.
        async with cli.store():
            pass
        async with cli.broker() as broker:
            await broker.check(allow_eviction=settings.allow_eviction)
            supervisor = Supervisor(
                command,
                processes=settings.processes,
                env=_environment_of(cli),
                options=SupervisorOptions(burst=burst, stop_timeout=settings.drain_timeout + LET_GO),
                broker=broker,
            )
            many = "process" if settings.processes == 1 else "processes"
            cli.out.say(f"{settings.processes} worker {many}, redis {settings.redis.safe}")
            return await supervisor.run()

    result = anyio.run(main)
    if result.failure:
        cli.out.error([f"{result.failure}; what it said is above"])
    try:
        return Exit(result.exit_code)
    except ValueError:  # one was ended by a signal while the others drained
        return Exit.FAILED


def _command_of(cli: Cli, name: str | None) -> Callable[[int], list[str]]:
    """The command line of process n: this one, with a name and a port of its own.

    Always a name: the replacement of one that died takes its jobs back at once, not after a lease.
    Raises CommandError where the ports do not suffice.
    """
    from streamq.worker import make_worker_name  # noqa: PLC0415 - as above

    port, count = cli.settings.metrics_port, cli.settings.processes
    if port and port + count - 1 > 65535:
        raise CommandError(
            Exit.USAGE,
            f"{count} processes need the ports {port} to {port + count - 1}, and 65535 is the last",
        )
    family = name or make_worker_name()
    # Of an option given twice the last counts. `run` takes no arguments: nothing can follow a "--".
    given = [word for word in cli.arguments if word != "--"]

    def command(number: int) -> list[str]:
        own = ["--processes=1", f"--name={family}-{number}"]
        if port is not None:
            own.append(f"--metrics-port={port + number if port else 0}")
        return [sys.executable, "-P", "-m", "sentinel.cli.main", *given, *own]

    return command


def _environment_of(cli: Cli) -> dict[str, str]:
    """Ours, and the same modules as here, from wherever this program was started."""
    path = os.pathsep.join(folder or os.curdir for folder in sys.path)
    return {**cli.environ, "PYTHONPATH": path}
