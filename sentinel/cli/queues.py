"""`stats`, `pending`, `pause`, `resume`, `drain`, `partitions`: how the streams are."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

import anyio
import msgspec
import typer

from sentinel.cli import shapes, streams
from sentinel.cli.context import Cli, cli_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.output import Output
from sentinel.cli.parts import Limit, Stream, Streams, Yes, verbs
from sentinel.cli.values import brief, duration, number, option
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from streamq.admin import Admin
from streamq.broker import DoneJob, PendingEntry, Reclaimed, StreamStats
from streamq.handlers import CRASH_BUDGET
from streamq.load import measure
from streamq.partitions import MAX_PARTITIONS, check_growth, partition_names, split_name

app = verbs()

#: Entries looked at to find dead workers.
CLAIM_LOOK: Final = 10_000
#: Jobs at once of a worker whose settings are not known.
DEFAULT_SLOTS: Final = 10
#: Completed records looked at for the rate.
RATE_RECORDS: Final = 1000


# --- stats ---------------------------------------------------------------------------------------


class Limitation(msgspec.Struct, frozen=True):
    """`oldest>60s`: what must not be."""

    text: str
    name: str
    compare: Callable[[float, float], bool]
    bound: float

    def met_by(self, stats: StreamStats) -> bool:
        """The stream is as it must not be."""
        return self.compare(NUMBERS[self.name](stats), self.bound)


#: What `--fail-if` may name.
NUMBERS: Final[Mapping[str, Callable[[StreamStats], float]]] = {
    "ready": lambda s: sum(s.ready.values()),
    "leased": lambda s: s.leased,
    "delayed": lambda s: s.delayed,
    "parked": lambda s: s.parked,
    "dead": lambda s: s.dead,
    "done": lambda s: s.done,
    "oldest": lambda s: s.oldest_seconds or 0.0,
    "workers": lambda s: s.workers,
    "paused": lambda s: s.paused,
}
#: Seconds between two looks of `--watch`, at least.
SHORTEST_PAUSE: Final = 0.1
_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_LIMITATION: Final = re.compile(r"\s*(\w+)\s*(>=|<=|!=|==|=|>|<)\s*(\S+)\s*")


def limitation(text: str) -> Limitation:
    """Read `oldest>60s`, `workers<1`, `dead > 0`."""
    found = _LIMITATION.fullmatch(text)
    if found is None or found[1] not in NUMBERS:
        raise typer.BadParameter(f"{text!r} is not such as 'oldest>60s'; names are {', '.join(NUMBERS)}")
    return Limitation(text, found[1], _OPERATORS[found[2]], duration(found[3]))


def seconds_between(text: str) -> float:
    """Read the seconds between two looks."""
    seconds = duration(text)
    if seconds < SHORTEST_PAUSE:
        raise typer.BadParameter(f"{text!r} is shorter than {SHORTEST_PAUSE:g} s")
    return seconds


@app.command()
def stats(
    context: typer.Context,
    *,
    stream: Streams = None,
    watch: Annotated[
        float | None, typer.Option(parser=seconds_between, metavar="SECONDS", help="Again and again.")
    ] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="Exit 7 where it is so: 'oldest>60s', 'dead>0', 'workers<1'.")
    ] = None,
) -> int:
    """Show how much lies in the streams."""
    cli = cli_of(context)
    limits = [option("--fail-if", limitation, text) for text in fail_if or ()]
    return cli.run(lambda: _stats(cli, stream or streams.KNOWN, watch, limits))


async def _stats(cli: Cli, names: Sequence[str], watch: float | None, limits: Sequence[Limitation]) -> int:
    async with cli.broker() as broker:
        while True:
            found = [await streams.look(broker, name) for name in names]
            if cli.out.json:
                for one in found:
                    cli.out.document(shapes.stats_line(one))
            else:
                records = [await broker.done(one.stream, limit=RATE_RECORDS) for one in found]
                needed = [_needed(cli, one, ended) for one, ended in zip(found, records, strict=True)]
                rates = [_rate(ended) for ended in records]
                _show_stats(cli.out, found, rates, needed, again=watch is not None)
            broken = [f"{one.stream}: {limit.text}" for one in found for limit in limits if limit.met_by(one)]
            for text in broken:
                cli.out.error([text])
            if broken or watch is None:
                return Exit.NO if broken else Exit.DONE
            await anyio.sleep(watch)


def _show_stats(
    out: Output,
    found: Sequence[StreamStats],
    rates: Sequence[str],
    needed: Sequence[int],
    *,
    again: bool,
) -> None:
    rows: list[Sequence[object]] = []
    for one, rate, workers in zip(found, rates, needed, strict=True):
        rows.append(
            (
                one.stream,
                number(sum(one.ready.values())),
                number(one.leased),
                number(one.delayed),
                number(one.dead),
                number(one.done),
                brief(one.oldest_seconds),
                rate,
                _failed(one),
                f"{one.workers}/{workers}",
            )
        )
        empty = ("",) * 8
        if one.ready["high"] or one.ready["low"]:
            rows += [(f"  {lane} lane", number(count), *empty) for lane, count in one.ready.items()]
        for number_, part in enumerate(one.partitions):
            sizes = (sum(part.ready.values()), part.leased, part.delayed, part.dead, part.done)
            rest = (brief(part.oldest_seconds), "", "", "")
            rows.append((f"  partition {number_}", *map(number, sizes), *rest))
        if one.parked:
            rows.append(("  parked", number(one.parked), *empty))
        if one.paused:
            rows.append(("  paused", "", *empty))
    if again:
        out.clear()
    out.table(
        ("STREAM", "READY", "LEASED", "DELAYED", "DEAD", "DONE", "AGE", "/MIN", "FAIL%", "WORKERS"),
        rows,
        right="READY LEASED DELAYED DEAD DONE AGE /MIN FAIL% WORKERS",
    )
    out.stdout.flush()


def _needed(cli: Cli, stats: StreamStats, records: Sequence[DoneJob]) -> int:
    """Workers that would be enough, if each ran as many jobs at once as it is told to."""
    settings = cli.settings
    slots = {RULES_RUN: settings.concurrency_rules, ALERTS_DISPATCH: settings.concurrency_alerts}
    each = stats.concurrency or slots.get(stats.stream, DEFAULT_SLOTS)
    return measure(stats, records).workers_needed(each)


def _rate(records: Sequence[DoneJob]) -> str:
    """Jobs done in a minute, from the completed records that are kept."""
    if not records:
        return "-"
    # The server's clock wrote them; the newest stands for its "now", for ours may differ.
    records = [r for r in records if r.outcome == "done"]
    recent = [r for r in records if r.finished_ms > records[0].finished_ms - 60_000]
    span = records[0].finished_ms - recent[-1].finished_ms if recent else 0
    if len(recent) < RATE_RECORDS or not span:
        return number(len(recent))
    return number(len(recent) * 60_000 / span)  # the records do not reach back a minute


def _failed(stats: StreamStats) -> str:
    """Share of ended jobs that ended as dead letters, since the stream began."""
    done, dead = stats.counters.get("done", 0), stats.counters.get("dead", 0)
    return f"{100 * dead / (done + dead):.1f}" if done + dead else "-"


# --- pending -------------------------------------------------------------------------------------


@app.command()
def pending(
    context: typer.Context,
    *,
    stream: Stream,
    consumer: Annotated[str | None, typer.Option(help="Only what this worker holds.")] = None,
    idle_over: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="Only what was not renewed for so long."),
    ] = None,
    limit: Limit = 100,
    claim: Annotated[
        bool, typer.Option("--claim", help="Hand back what a dead worker holds (silent for over a lease).")
    ] = False,
) -> int:
    """Show the jobs that workers have in hand, longest silent first."""
    cli = cli_of(context)
    if claim:
        return cli.run(lambda: _claim(cli, stream, consumer, idle_over or 0.0))
    return cli.run(lambda: _pending(cli, stream, consumer, idle_over or 0.0, limit))


async def _pending(cli: Cli, stream: str, consumer: str | None, idle_over: float, limit: int) -> int:
    async with cli.broker() as broker:
        await streams.look(broker, stream)
        entries = await broker.pending(stream, worker=consumer, idle_over=idle_over, limit=limit)
    if cli.out.json:
        for entry in entries:
            cli.out.document(shapes.pending_line(stream, entry))
        return Exit.DONE
    if not entries:
        cli.out.say(f"nothing in hand in {stream}")
        return Exit.DONE
    cli.out.table(
        ("ENTRY", "JOB", "IDLE", "DELIV", "CRASHES", "WHAT", "WORKER"),
        [
            (
                entry.entry_id,
                entry.envelope.id,
                brief(entry.idle_seconds),
                entry.deliveries,
                entry.envelope.crashes,
                shapes.what_of(entry.envelope.payload),
                entry.worker,
            )
            for entry in entries
        ],
        right="IDLE DELIV CRASHES",
    )
    if len(entries) == limit:
        cli.out.say(f"the longest silent {limit}; --limit shows more")
    return Exit.DONE


async def _claim(cli: Cli, stream: str, consumer: str | None, idle_over: float) -> int:
    silence = max(idle_over, cli.settings.lease_seconds + cli.settings.renew_seconds)
    async with cli.broker() as broker:
        await streams.look(broker, stream)
        # Each partition knows how many there are; by its own name it is meant alone.
        count = 1 if split_name(stream)[1] else await broker.partitions(stream)
        names = partition_names(stream, count)
        held = await broker.pending(stream, worker=consumer, limit=CLAIM_LOOK)
        dead, alive = _dead_and_alive(held, silence)
        if consumer in alive:
            raise CommandError(
                Exit.FAILED,
                f"worker {consumer} renewed its leases {brief(alive[consumer])} ago: it is alive",
                f"a worker is taken for dead after {brief(silence)} of silence",
            )
        for worker in dead:
            ready = dead_now = 0
            for name in names:
                made = await broker.reclaim(name, worker, beat=None, crash_budget=CRASH_BUDGET)
                ready, dead_now = ready + made.ready, dead_now + made.dead
            _tell_claimed(cli.out, stream, worker, Reclaimed(ready, dead_now))
    if not dead:
        cli.out.say(f"no dead worker holds anything in {stream}")
    return Exit.DONE


def _dead_and_alive(held: Sequence[PendingEntry], silence: float) -> tuple[list[str], dict[str, float]]:
    """Workers that renewed nothing for `silence` seconds; the others with their last renewal's age.

    A worker renews all it holds at once, so its freshest entry tells how it is.
    """
    freshest: dict[str, float] = {}
    for entry in held:
        freshest[entry.worker] = min(entry.idle_seconds, freshest.get(entry.worker, entry.idle_seconds))
    dead = [worker for worker, idle in freshest.items() if idle > silence]
    return dead, {worker: idle for worker, idle in freshest.items() if idle <= silence}


def _tell_claimed(out: Output, stream: str, worker: str, made: Reclaimed) -> None:
    if out.json:
        document = {"schema": "streamq.claimed/1", "stream": stream, "worker": worker}
        out.document(document | {"ready": made.ready, "dead": made.dead})
    else:
        out.line(f"{worker}: {made.ready} ready again, {made.dead} dead (crash budget spent)")


# --- pause, resume, drain -------------------------------------------------------------------------------


@app.command()
def pause(context: typer.Context, stream: Stream) -> int:
    """Stop taking jobs from a stream; what is in hand goes on."""
    cli = cli_of(context)
    return cli.run(lambda: _set_paused(cli, stream, paused=True))


@app.command()
def resume(context: typer.Context, stream: Stream) -> int:
    """Take jobs from a stream again."""
    cli = cli_of(context)
    return cli.run(lambda: _set_paused(cli, stream, paused=False))


@app.command()
def drain(
    context: typer.Context,
    stream: Stream,
    *,
    pause: Annotated[
        bool, typer.Option("--pause", help="Take no more first: wait only for what is in hand.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="Give up after this: exit 7.")
    ] = None,
) -> int:
    """Wait until nothing waits or runs in a stream; what is delayed stays.

    Nothing is stopped: a drain ends when producers pause. Workers must be up. With --pause no worker takes
    another job, what waits stays, and the stream stays paused until `resume`.
    """
    cli = cli_of(context)
    if pause:
        return cli.run(lambda: _settle(cli, stream, timeout))
    return cli.run(lambda: _drain(cli, stream, timeout))


async def _drain(cli: Cli, stream: str, within: float | None) -> int:
    async with cli.broker() as broker:
        before = await streams.look(broker, stream)
        ready = sum(before.ready.values())
        if ready and (before.paused or not before.workers):
            why = f"{stream} is paused" if before.paused else f"no worker is up for {stream}"
            cli.out.warn(f"{why}: {number(ready)} waiting jobs stay until that changes")
        after = await Admin(broker, [stream]).drained(stream, within=within)
    left = sum(after.ready.values()) + after.leased
    if cli.out.json:
        cli.out.document(shapes.drained_line(after, drained=not left))
    if left:
        cli.out.error([f"{stream} is not drained: {left - after.leased} wait, {after.leased} run"])
        return Exit.NO
    cli.out.say(f"{stream} is drained" + (f"; {number(after.delayed)} are delayed" if after.delayed else ""))
    return Exit.DONE


async def _settle(cli: Cli, stream: str, within: float | None) -> int:
    async with cli.broker() as broker:
        await streams.look(broker, stream)
        after = await Admin(broker, [stream]).settled(stream, within=within)
    if cli.out.json:
        cli.out.document(shapes.drained_line(after, drained=not after.leased))
    if after.leased:
        cli.out.error([f"{stream} is paused, and {after.leased} still run"])
        return Exit.NO
    waiting = sum(after.ready.values())
    cli.out.say(f"{stream} is paused and nothing of it runs; {number(waiting)} wait until it is resumed")
    return Exit.DONE


async def _set_paused(cli: Cli, stream: str, *, paused: bool) -> int:
    async with cli.broker() as broker:
        before = await streams.look(broker, stream)
        await broker.set_paused(stream, paused=paused)
    if cli.out.json:
        cli.out.document({"schema": "streamq.paused/1", "stream": stream, "paused": paused})
    state = "paused" if paused else "running"
    cli.out.say(f"{stream} {'was already' if before.paused == paused else 'is now'} {state}")
    return Exit.DONE


# --- partitions -----------------------------------------------------------------------------------------


@app.command()
def partitions(
    context: typer.Context,
    *,
    stream: Stream,
    set_: Annotated[
        int | None,
        typer.Option(
            "--set",
            min=1,
            max=MAX_PARTITIONS,
            metavar="N",
            help="Have so many from now on, more than before.",
        ),
    ] = None,
    yes: Yes = False,
) -> int:
    """Show how many partitions a stream has, or give it more; there can never be fewer again.

    Workers that are up take from new ones after their next heartbeat.
    """
    cli = cli_of(context)
    return cli.run(lambda: _partitions(cli, stream, set_, yes=yes))


async def _partitions(cli: Cli, stream: str, wanted: int | None, *, yes: bool) -> int:
    async with cli.broker() as broker:
        await streams.look(broker, stream)
        count = await broker.partitions(stream)
        whole, number_ = split_name(stream)
        if number_ and count > 1:
            raise CommandError(
                Exit.USAGE,
                f"{stream} is a partition of {whole}",
                f"sentinel-worker partitions --stream {whole}",
            )
        if wanted is not None and wanted != count:
            check_growth(stream, wanted, count)
            cli.confirm(f"Give {stream} {wanted} partitions instead of {count}, for good?", yes=yes)
            count = await broker.set_partitions(stream, wanted)
    if cli.out.json:
        cli.out.document({"schema": "streamq.partitions/1", "stream": stream, "partitions": count})
    else:
        cli.out.line(f"{stream} has {count} partition{'s' if count > 1 else ''}")
    return Exit.DONE
