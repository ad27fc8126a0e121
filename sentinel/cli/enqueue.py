"""`enqueue`: add jobs to a stream, checked as the worker will check them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.parts import verbs
from sentinel.cli.values import duration, moment, option, per_second
from sentinel.jobs import (
    ALERTS_DISPATCH,
    RULES_RUN,
    DispatchAlert,
    Policy,
    RunRule,
    dispatch_alert_policy,
    run_rule_policy,
)
from streamq import InvalidJob, Limit, NewJob, NotConfirmed, Receipt
from streamq.durability import durability_of
from streamq.limits import MAX_BURST, MAX_RUNNING
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
    replace: bool
    max_wait: float | None
    limit: Limit | None


class Terms(msgspec.Struct, frozen=True):
    """What the options say of the limit."""

    key: str | None
    running: int | None
    rate: str | None
    burst: int | None

    def limit(self) -> Limit | None:
        """None: there is none. Raises BadParameter."""
        if self.key is None:
            for name, value in (("--running", self.running), ("--rate", self.rate), ("--burst", self.burst)):
                if value is not None:
                    raise typer.BadParameter(f"{name} is said of a key: --limit KEY is missing")
            return None
        if self.running is None and self.rate is None:
            raise typer.BadParameter(
                f"--limit {self.key!r} limits nothing: it needs --running N or --rate N/s"
            )
        if self.burst is not None and self.rate is None:
            raise typer.BadParameter("--burst is said of a rate: --rate N/s is missing")
        rate = None if self.rate is None else option("--rate", per_second, self.rate)
        try:
            return Limit(self.key, self.running, rate, self.burst or 1)
        except InvalidJob as error:
            raise typer.BadParameter(str(error)) from None


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
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the job that has the key and waits.")
    ] = False,
    max_wait: Annotated[
        float | None,
        typer.Option(
            parser=duration, metavar="DURATION", help="With --replace: put the first one off so long at most."
        ),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Hold it to a limit by this key: with --running, --rate."),
    ] = None,
    running: Annotated[
        int | None, typer.Option(min=1, max=MAX_RUNNING, help="So many of the limit's key at once.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N/s", help="So many starts of the limit's key (0.5/s, 100/m).")
    ] = None,
    burst: Annotated[
        int | None, typer.Option(min=1, max=MAX_BURST, help="With --rate: so many together after a pause.")
    ] = None,
    durability: Annotated[
        str,
        typer.Option(
            metavar="none|replicas:N|fsync",
            help="Return when replicas, or the server's disk, have it as well.",
        ),
    ] = "none",
) -> int:
    """Add jobs to a stream.

    Unless you say otherwise, one check per rule waits or runs, and one alert per dedupe key goes out
    in five minutes; a second one is answered with the id of the first. A stream of another program takes
    any JSON, and must be known: a worker of it is up, or a job of it was there.
    """
    cli = cli_of(context)
    if delay and at:
        raise typer.BadParameter("--delay and --at exclude each other")
    if replace and unique_for is not None:
        raise typer.BadParameter(
            "--replace and --unique-for exclude each other: the key is held until the job has ended"
        )
    if max_wait is not None and not replace:
        raise typer.BadParameter("--max-wait is said of what is replaced: --replace is missing")
    wish = Wish(
        delay=delay or 0.0,
        at=option("--at", moment, at) if at else None,
        lane=lane,
        unique=unique,
        unique_for=unique_for,
        replace=replace,
        max_wait=max_wait,
        limit=Terms(limit, running, rate, burst).limit(),
    )
    option("--durability", _durability, durability)
    jobs = _read(cli, stream, payload, wish)
    return cli.run(lambda: _enqueue(cli, stream, jobs, durability))


def _durability(text: str) -> str:
    try:
        durability_of(text)
    except InvalidJob as error:
        raise typer.BadParameter(str(error)) from None
    return text


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
    own = wish.unique is None and wish.unique_for is None and not wish.replace
    held = policy.unique_for if own else wish.unique_for
    if wish.replace and not key:
        raise typer.BadParameter("--replace is said of a uniqueness key: --unique KEY is missing")
    return new_job(
        payload,
        delay=wish.delay,
        at=wish.at,
        lane=wish.lane or policy.lane,
        unique=key or None,
        unique_for=held if key else None,
        replace=wish.replace,
        max_wait=wish.max_wait,
        limit=wish.limit,
    )


async def _enqueue(cli: Cli, stream: str, jobs: list[NewJob], durability: str) -> int:
    outcomes: Counter[str] = Counter()
    async with cli.broker() as broker:
        await streams.look(broker, stream, otherwise=Exit.USAGE)
        queue = Queue(stream, broker, durability=durability)
        for first in range(0, len(jobs), BATCH):
            for receipt in await _confirmed(queue, jobs[first : first + BATCH]):
                outcomes[receipt.outcome] += 1
                if cli.out.json:
                    cli.out.document(shapes.receipt_line(stream, receipt))
                else:
                    cli.out.line(receipt.job_id)
    words = [f"{outcomes['created']} enqueued"]
    words += [
        f"{outcomes[outcome]} {word}"
        for outcome, word in (("replaced", "replaced"), ("duplicate", "already there"))
        if outcomes[outcome]
    ]
    cli.out.say(f"{', '.join(words)} in {stream}")
    return Exit.DONE


async def _confirmed(queue: Queue, jobs: list[NewJob]) -> list[Receipt]:
    """Enqueue; where it is not confirmed, ask once more under the same call, then CommandError."""
    try:
        return await queue.enqueue_jobs(jobs)
    except NotConfirmed as error:
        call_id = error.call_id
    try:
        return await queue.enqueue_jobs(jobs, call_id=call_id)
    except NotConfirmed as error:
        raise CommandError(
            Exit.REDIS,
            f"{len(jobs)} in {queue.stream} from job {jobs[0].id} on: {error}",
            "what was told before is confirmed, these will run as well; enqueued again they are further jobs,"
            " but for those of a uniqueness key that is held",
        ) from None


_EXAMPLES: Final = {
    RULES_RUN: '{"ruleId":"r1","trigger":"manual_test","requestedAt":"2026-01-31T12:00:00Z"}',
    ALERTS_DISPATCH: (
        '{"alertId":"a1","workspaceId":"w1","ruleId":"r1","channels":["ops"],"dedupeKey":"r1:drop"}'
    ),
}
