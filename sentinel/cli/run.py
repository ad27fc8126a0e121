"""`run` and `dev`: the worker itself."""

from __future__ import annotations

import logging
from typing import Annotated

import anyio
import typer

from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import Streams, verbs
from sentinel.cli.streams import KNOWN, did_you_mean

app = verbs()

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
    burst: Annotated[bool, typer.Option("--burst", help="Exit when nothing is left to do.")] = False,
    burst_wait: Annotated[
        float, typer.Option("--burst-wait", min=0, help="Seconds a burst waits for what becomes due.")
    ] = 0.0,
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
    """Consume the streams until stopped."""
    cli = cli_of(context)
    streams = tuple(stream) if stream else KNOWN
    for one in streams:
        if one not in KNOWN:
            raise CommandError(Exit.USAGE, f"nothing here handles the stream {one!r}", did_you_mean(one))
    cli.flags |= {
        "concurrency_rules": concurrency,
        "concurrency_alerts": concurrency,
        "drain_timeout": drain_timeout,
        "metrics_port": metrics_port,
        "scheduler": False if no_scheduler else None,
    }
    return _work(cli, streams, burst_wait=burst_wait if burst else None, name=name)


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

    settings = cli.settings
    cli.log(logging.INFO)
    out = cli.out
    options = RunOptions(streams=streams, burst_wait=burst_wait, name=name)

    def started(worker: Worker, port: int | None) -> None:
        where = "" if port is None else f"; http://{settings.metrics_host}:{port}/metrics"
        out.say(f"working on {', '.join(streams)} as {worker.name}, redis {settings.redis.safe}{where}")

    async def main() -> int:
        async with opened(settings, cli.environ, migrate=migrate) as parts:
            return (await work(parts, options, started=started)).handed_back

    handed_back = anyio.run(main)
    if handed_back:
        out.say(f"{handed_back} jobs did not finish in time and were handed back")
        return Exit.UNDRAINED
    return Exit.DONE
