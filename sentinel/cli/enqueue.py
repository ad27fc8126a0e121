"""`enqueue`: add jobs to a stream, checked as the worker will check them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import verbs
from sentinel.cli.values import duration, moment, option
from sentinel.jobs import (
    ALERTS_DISPATCH,
    RULES_RUN,
    DispatchAlert,
    Policy,
    RunRule,
    dispatch_alert_policy,
    run_rule_policy,
)
from streamq import NewJob
from streamq.queue import Queue, new_job

app = verbs()

#: Jobs sent in one call.
BATCH: Final = 500
#: Bad lines told before giving up on telling.
MAX_TOLD: Final = 20

#: Stream -> what reads a payload and says how it is enqueued. Raises msgspec.DecodeError.
_READERS: Final[Mapping[str, Callable[[bytes], tuple[msgspec.Struct | bytes, Policy]]]] = {
    RULES_RUN: lambda data: _with_policy(msgspec.json.decode(data, type=RunRule), run_rule_policy),
    ALERTS_DISPATCH: lambda data: _with_policy(
        msgspec.json.decode(data, type=DispatchAlert), dispatch_alert_policy
    ),
}


def _with_policy(
    payload: Any, policy: Callable[[Any], Policy]
) -> tuple[msgspec.Struct, Policy]:  # either payload
    return payload, policy(payload)


def _any_json(data: bytes) -> tuple[bytes, Policy]:
    msgspec.json.decode(data)
    return data, _NO_POLICY


#: Of a stream that is not sentinel's.
_NO_POLICY: Final = Policy(lane="normal", unique="", unique_for=None)


class Wish(msgspec.Struct, frozen=True):
    """What the caller wants otherwise than the stream's policy."""

    delay: float
    at: float | None
    lane: Literal["high", "normal", "low"] | None
    unique: str | None
    unique_for: float | None


@app.command()
def enqueue(
    context: typer.Context,
    *,
    stream: Annotated[
        str, typer.Argument(help="rules:run, alerts:dispatch, or one of yours that is in use.")
    ],
    payload: Annotated[
        str, typer.Argument(metavar="JSON", help="The payload; - reads JSON lines from stdin.")
    ],
    delay: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="Not before so long from now.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Not before this ISO 8601 time.")] = None,
    lane: Annotated[
        Literal["high", "normal", "low"] | None, typer.Option(help="Instead of the payload's own lane.")
    ] = None,
    unique: Annotated[
        str | None, typer.Option(help="Uniqueness key instead of the stream's own; empty: none.")
    ] = None,
    unique_for: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="Hold the key so long.")
    ] = None,
) -> int:
    """Add jobs to a stream.

    Unless you say otherwise, one check per rule waits or runs, and one alert per dedupe key goes out
    in five minutes; a second one is answered with the id of the first. A stream of another program takes
    any JSON, and must be known: a worker of it is up, or a job of it was there.
    """
    cli = cli_of(context)
    if delay and at:
        raise typer.BadParameter("--delay and --at exclude each other")
    wish = Wish(delay or 0.0, option("--at", moment, at) if at else None, lane, unique, unique_for)
    jobs = _read(cli, stream, payload, wish)
    return cli.run(lambda: _enqueue(cli, stream, jobs))


def read_payload(stream: str, data: bytes) -> None:
    """Nothing, where a worker could read it; of a stream that is not sentinel's, any JSON. Raises
    msgspec.DecodeError.
    """
    _READERS.get(stream, _any_json)(data)


def _read(cli: Cli, stream: str, argument: str, wish: Wish) -> list[NewJob]:
    """Every job, or CommandError naming every bad line: nothing is enqueued then."""
    jobs: list[NewJob] = []
    problems: list[str] = []
    for place, data in _payloads(cli, argument):
        try:
            jobs.append(_job(stream, data, wish))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            problems.append(f"{place}{str(error) or type(error).__name__}")
    if problems:
        more = f"\n... and {len(problems) - MAX_TOLD} more" if len(problems) > MAX_TOLD else ""
        raise CommandError(
            Exit.FAILED,
            f"not a payload of {stream}: " + "\n".join(problems[:MAX_TOLD]) + more,
            f"nothing was enqueued; a payload looks like {_EXAMPLES.get(stream, '{}')}",
        )
    return jobs


def _payloads(cli: Cli, argument: str) -> Iterator[tuple[str, bytes]]:
    if argument != "-":
        yield "", argument.encode("utf-8", "surrogateescape")
        return
    for number, line in enumerate(cli.stdin, 1):
        if line.strip():
            yield f"line {number}: ", line.encode("utf-8", "surrogateescape")


def _job(stream: str, data: bytes, wish: Wish) -> NewJob:
    payload, policy = _READERS.get(stream, _any_json)(data)
    key = policy.unique if wish.unique is None else wish.unique
    held = policy.unique_for if wish.unique is None and wish.unique_for is None else wish.unique_for
    return new_job(
        payload,
        delay=wish.delay,
        at=wish.at,
        lane=wish.lane or policy.lane,
        unique=key or None,
        unique_for=held if key else None,
    )


async def _enqueue(cli: Cli, stream: str, jobs: list[NewJob]) -> int:
    duplicates = 0
    async with cli.broker() as broker:
        await streams.look(broker, stream, otherwise=Exit.USAGE)
        queue = Queue(stream, broker)
        for first in range(0, len(jobs), BATCH):
            for receipt in await queue.enqueue_jobs(jobs[first : first + BATCH]):
                duplicates += not receipt.created
                if cli.out.json:
                    cli.out.document(shapes.receipt_line(stream, receipt))
                else:
                    cli.out.line(receipt.job_id)
    created = len(jobs) - duplicates
    words = f"{created} enqueued" if not duplicates else f"{created} enqueued, {duplicates} already there"
    cli.out.say(f"{words} in {stream}")
    return Exit.DONE


_EXAMPLES: Final = {
    RULES_RUN: '{"ruleId":"r1","trigger":"manual_test","requestedAt":"2026-01-31T12:00:00Z"}',
    ALERTS_DISPATCH: (
        '{"alertId":"a1","workspaceId":"w1","ruleId":"r1","channels":["ops"],"dedupeKey":"r1:drop"}'
    ),
}
