"""The proof harness of streamq: what is lost, doubled or stuck under every fault we can make.

python -m tests.faults                                  all parts, full: 100,000 jobs, 200 kills, 40 freezes; an hour
python -m tests.faults storm --jobs 20000 --kills 60 --freezes 12
python -m tests.faults points --share 0.05              a twentieth of the kill points
python -m tests.faults mutants                          the harness held by engines with one bug each
python -m tests.faults drills refusals                  zombies, attempts, lateness, a blocked loop; error codes x calls
python -m tests.faults peers --engines streamq,saq      other queues under the same kills; by its name only
python -m tests.faults outages recovery                 clock, power, memory, disk, FLUSHALL; time to recover
python -m tests.faults --short                          every part, small: some minutes

Prints a table and keeps it as bench/results/DATE-faults-PART.txt. Exit code 1: something was broken.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio

from bench.fleet import PROGRAMS, EngineFailed
from bench.server import Server
from bench.server import find as bench_server
from streamq import RedisBroker
from tests.faults.nemesis import drills as drill
from tests.faults.nemesis import report
from tests.faults.nemesis.caught import catch
from tests.faults.nemesis.checker import quantile
from tests.faults.nemesis.ledger import Ledger
from tests.faults.nemesis.mutants import MUTANTS
from tests.faults.nemesis.outages import cut_power, jump, survive
from tests.faults.nemesis.peers import BY_DEFAULT, survive_kills
from tests.faults.nemesis.points import run_points
from tests.faults.nemesis.refusals import CODES, SITES, matrix, refuse
from tests.faults.nemesis.report import Row
from tests.faults.nemesis.storm import Plan, run_storm


def storm(options: argparse.Namespace) -> list[Row]:
    """R1, R2, R4, R5: kills, freezes, cuts, lost replies, restarts of Redis."""
    short = options.short
    plan = Plan(
        jobs=options.jobs or (2000 if short else 100_000),
        seed=options.seed,
        kills=options.kills if options.kills is not None else (8 if short else 200),
        freezes=options.freezes if options.freezes is not None else (2 if short else 40),
        cuts=options.cuts if options.cuts is not None else (2 if short else 20),
        resets=options.resets if options.resets is not None else (1 if short else 10),
        restarts=options.restarts if options.restarts is not None else (1 if short else 5),
        lost_replies=options.lost_replies,
        lease=options.lease,
        renew=options.lease / 4,
    )
    began = time.monotonic()
    verdict = run_storm(plan, told=_say)
    took = time.monotonic() - began
    faults = ", ".join(f"{times} {kind}s" for kind, times in sorted(verdict.faults.items()))
    run = f"{verdict.jobs:,} jobs, seed {plan.seed}, {faults}; {took:.0f} s"
    hit = f"{verdict.hit:,} running jobs were hit; {verdict.deliveries:,} deliveries"
    refused = f"{verdict.refused_ends} ends and {verdict.refused_effects} effects refused"
    late = f"p50 {verdict.share(0.5):.2f} s, p99 {verdict.share(0.99):.2f} s"
    if verdict.broken:
        _say(f"broken: {verdict.broken}")
    return [
        _none("R1", "jobs lost", verdict.lost, run),
        _none("R1", "jobs stuck", verdict.stuck, hit),
        _none("R2", "effects doubled", verdict.doubled, hit),
        _none("R2", "jobs ended twice, or run again after their end", verdict.ended_twice, ""),
        _none("R2", "run again without a fault of their worker", verdict.unexplained, ""),
        _none("R4", "effects of stale workers let through", verdict.stale_effects, refused),
        _none("R4", "fence, attempt or crash count wrong", verdict.order, ""),
        Row(
            id="R5",
            what="killed worker's job starts again, in the storm (who would take it is killed too)",
            figure=late,
            run=f"{len(verdict.recovery)} jobs, lease {plan.lease:g} s",
        ),
        _none("R12", "delayed jobs early", verdict.early, f"{len(verdict.lateness):,} delayed"),
        _none("R13", "attempts of failing jobs wrong", verdict.retries, ""),
        _none("", "uniqueness keys held after the end", verdict.unique_held, ""),
        _none("", "began while as many of their limit's key as may were running", verdict.crowded, ""),
        _none("", "ended and never enqueued", verdict.invented, ""),
    ]


def recovery(options: argparse.Namespace) -> list[Row]:
    """R5: kills far apart, so that somebody lives who takes the jobs."""
    kills = 4 if options.short else 20
    plan = Plan(
        jobs=400 * kills,
        seed=options.seed,
        kills=kills,
        lease=options.lease,
        renew=options.lease / 4,
        seconds=0.1,
        ahead=24,  # fewer than there are slots: nothing waits for its turn
    )
    verdict = run_storm(plan, told=_say)
    p99 = verdict.share(0.99)
    return [
        Row(
            id="R5",
            what="killed worker's job starts again",
            figure=f"p50 {verdict.share(0.5):.2f} s, p99 {p99:.2f} s",
            target=f"p99 at most lease + 2 s = {plan.lease + 2:g} s",
            run=f"{len(verdict.recovery)} jobs of {kills} kills, {plan.jobs:,} jobs, seed {plan.seed}",
            good=p99 <= plan.lease + 2 and not verdict.broken,
        )
    ]


def outages(options: argparse.Namespace) -> list[Row]:
    """R7, R10, R18: the server's clock, power, memory, disk and data."""
    logging.disable()
    rows = []
    for what in ("memory", "disk", "flushall", "groups"):
        found = anyio.run(survive, what)
        rows.append(
            Row(
                id="R18",
                what={
                    "memory": "no memory (maxmemory)",
                    "disk": "no disk (the append-only file may not grow)",
                    "flushall": "FLUSHALL; jobs put in after it",
                    "groups": "every consumer group destroyed",
                }[what],
                figure=f"{found.lost} lost",
                target="0, and no restart of the worker",
                run=f"{found.jobs} jobs, felt as: {found.felt or 'nothing'}, {found.again} ran again",
                good=found.good,
            )
        )
    try:
        for hours in (1.0, -1.0):
            moved = jump(hours)
            rows.append(
                Row(
                    id="R10",
                    what=f"the server's clock jumps by {hours:+g} h",
                    figure=f"{moved.stolen} stolen, {moved.lost} lost, recovered in {moved.recovered:.1f} s",
                    target="0, 0, two leases",
                    run=f"lease {moved.lease:g} s, one of two workers killed after the jump",
                    good=not moved.stolen and not moved.lost and 0 < moved.recovered <= 2 * moved.lease + 1,
                )
            )
        for mode, limit in (("always", 0.0), ("everysec", 2.0), ("no", None)):
            cut = cut_power(mode, seconds=1.5 if options.short else 5.0)
            rows.append(
                Row(
                    id="R7",
                    what=f"power cut, appendfsync {mode}",
                    figure=f"{cut.lost:,} of {cut.acknowledged:,} lost, the last {cut.window:.2f} s",
                    target={"always": "0", "everysec": "the last second, two at most", "no": ""}[mode],
                    run=f"{1.5 if options.short else 5.0:g} s of enqueues",
                    good=cut.whole and (limit is None or cut.window <= limit),
                )
            )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        _say(f"clock and power left out: {error}")
    return rows


def _none(figure: str, what: str, found: int | Sequence[int], run: str) -> Row:
    count = found if isinstance(found, int) else len(found)
    return Row(id=figure, what=what, figure=str(count), target="0", run=run, good=not count)


def points(options: argparse.Namespace) -> list[Row]:
    """R3 and R9: every line, every command, before and after."""
    share = options.share if options.share is not None else (0.02 if options.short else 1.0)
    summary = run_points(share=share, seed=options.seed)
    for point, broken in summary.broken[:10]:
        _say(f"broken: {point.kind} {point.number}: {broken}")
    rows = []
    for kind, (there, tried) in summary.points.items():
        bad = sum(point.kind == kind for point, _ in summary.broken)
        rows.append(
            Row(
                id="R9" if kind == "cut after" else "R3",
                what={
                    "lines": "SIGKILL at a line of streamq",
                    "kill before": "SIGKILL before a command is sent",
                    "kill after": "SIGKILL when its reply has come, unseen",
                    "cut before": "connection cut before a command is sent",
                    "cut after": "connection cut with the reply unseen",
                }[kind],
                figure=f"{bad} broken of {tried}",
                target="0 lost, doubled, stuck",
                run=f"{there} points of that kind, seed {options.seed}",
                good=not bad,
            )
        )
    told = f"{summary.jobs:,} jobs, {summary.deliveries:,} deliveries, {summary.killed:,} lives killed; {summary.seconds:.0f} s"
    return [
        *rows,
        Row(
            id="R3",
            what="all points",
            figure=f"{len(summary.broken)} broken",
            run=told,
            good=not summary.broken,
        ),
    ]


def mutants(options: argparse.Namespace) -> list[Row]:
    """R14: is a bug seen?"""
    rows = []
    for name, mutant in MUTANTS.items():
        if options.short and mutant.caught_by == "machine":
            continue
        found = catch(name)
        _say(f"{name}: {found.evidence or 'NOT CAUGHT'} ({found.seconds:.0f} s)")
        figure = f"caught: {found.evidence}" if found.evidence else "not caught"
        rows.append(
            Row(
                id="R14",
                what=mutant.words,
                figure=figure,
                target="caught",
                run=f"by the {found.by}, {found.seconds:.0f} s",
                good=bool(found.evidence),
            )
        )
    caught = sum(row.good is True for row in rows)
    return [
        *rows,
        Row(id="R14", what="all mutants", figure=f"{caught} of {len(rows)} caught", good=caught == len(rows)),
    ]


def drills(options: argparse.Namespace) -> list[Row]:
    """R4, R12, R13, R16, a thousand times each."""
    many = 200 if options.short else 1000
    logging.disable()
    with drill.server() as running, tempfile.TemporaryDirectory(prefix="sq-drills-") as folder:

        async def all_three() -> tuple[drill.Zombies, drill.Retries, drill.Lateness]:
            async with RedisBroker.from_url(running.url) as broker:
                ledger = Ledger(Path(folder) / "effects.db")
                return (
                    await drill.zombies(broker, ledger, many),
                    await drill.retries(broker, many),
                    await drill.lateness(broker, rate=many, seconds=2 if options.short else 10),
                )

        stale, failing, delayed = anyio.run(all_three)
        stood = drill.blocked(running, jobs=100)
    p50, p99 = quantile(delayed.late, 0.5) * 1000, quantile(delayed.late, 0.99) * 1000
    exact = failing.attempts == {3: many} and failing.letters == {3: many}
    zombies = f"{many:,} zombies, {stale.tried:,} ends tried"
    return [
        _none("R4", "ends of a stale worker accepted", stale.accepted, zombies),
        _none("R4", "leases a stale heartbeat kept", stale.renewed, zombies),
        _none("R4", "fenced writes of a stale worker let through", stale.written, zombies),
        Row(
            id="R13",
            what="always failing jobs: attempts -> jobs",
            figure=f"{failing.attempts}",
            target=f"{{3: {many}}}, as many dead letters",
            run=f"letters {failing.letters}, attempts before their delay {failing.early}",
            good=exact and not failing.early,
        ),
        _none(
            "R12",
            "delayed jobs early",
            delayed.early,
            f"{delayed.jobs:,} jobs, {delayed.rate:,} due a second",
        ),
        Row(
            id="R12",
            what="lateness",
            figure=f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            target="p99 at most 250 ms",
            run="one worker that does nothing else",
            good=p99 <= 250,
        ),
        Row(
            id="R16",
            what=f"handler that blocks its loop for {stood.blocked:g} s, lease {stood.lease:g} s",
            figure=f"{stood.lost} lost, {stood.again} ran again",
            target="0, 0",
            run=f"{stood.jobs} jobs; last start in the worker beside it {stood.beside:.1f} s,"
            f" in its own {stood.behind:.1f} s after the start",
            good=not stood.lost and not stood.again,
        ),
    ]


def refused(options: argparse.Namespace) -> list[Row]:
    """R11: error codes at calls."""
    logging.disable()
    codes = [text.partition(" ")[0] for text in CODES]
    if options.short:
        codes = codes[::4]
    with drill.server() as running:
        cells = anyio.run(refuse, running, codes, SITES)
    print(matrix(cells))
    good = sum(cell.good for cell in cells)
    run = f"{len(codes)} codes at {', '.join(SITES)}"
    return [
        Row(
            id="R11",
            what="error codes x calls: goes on, or ends with a clear refusal",
            figure=f"{good} of {len(cells)}",
            target="all",
            run=run,
            good=good == len(cells),
        )
    ]


def peers(options: argparse.Namespace) -> list[Row]:
    """R1 beside others. By its name only: it takes minutes for each that waits for a lease, or loses jobs."""
    wanted = options.engines.split(",") if options.engines else list(BY_DEFAULT)
    jobs = options.jobs or (200 if options.short else 2000)
    kills = options.kills if options.kills is not None else (2 if options.short else 10)
    rows = []
    with Server(bench_server("valkey")) as server:
        for name in wanted:
            program = PROGRAMS[name]
            if not program.is_here:
                _say(f"{program.title} is not installed here: left out")
                continue
            try:
                found = survive_kills(
                    program, server, jobs=jobs, kills=kills, seed=options.seed, patience=options.patience
                )
            except EngineFailed as failure:
                rows.append(Row(id="R1", what=program.title, figure=f"did not run: {failure}", good=None))
                continue
            late = f"{found.seconds:6.1f} s" if found.seconds is not None else f"> {options.patience:4g} s"
            figure = f"{found.lost:5} not ended, {found.twice:4} twice, all done after {late}"
            _say(f"{program.title}: {figure} ({found.hit} hit, {found.took:.0f} s)")
            rows.append(
                Row(
                    id="R1",
                    what=program.title,
                    figure=figure,
                    target="0 not ended" if name == "streamq" else "",
                    run=f"{found.jobs} jobs, {found.kills} kills hit {found.hit}; {BY_DEFAULT[name]}",
                    good=not found.lost if name == "streamq" else None,
                )
            )
    return rows


PARTS: Mapping[str, Callable[[argparse.Namespace], list[Row]]] = {
    "storm": storm,
    "recovery": recovery,
    "points": points,
    "mutants": mutants,
    "drills": drills,
    "refusals": refused,
    "outages": outages,
    "peers": peers,
}


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    good = True
    for name in options.parts or [part for part in PARTS if part != "peers"]:
        _say(f"{name} ...")
        rows = PARTS[name](options)
        print(report.show(rows), flush=True)
        kept = report.keep(f"{name}-short" if options.short else name, rows)
        _say(f"kept as {kept}")
        good = good and all(row.good is not False for row in rows)
    return 0 if good else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; by default all but peers"
    )
    parser.add_argument("--short", action="store_true", help="every part small")
    parser.add_argument("--seed", type=int, default=1)
    storms = parser.add_argument_group("storm")
    for name, what in (
        ("jobs", "jobs that go through"),
        ("kills", "SIGKILLs of a worker"),
        ("freezes", "SIGSTOPs past the lease"),
        ("cuts", "resets of every connection of one worker"),
        ("resets", "CLIENT KILLs of everybody"),
        ("restarts", "SIGKILLs of Redis"),
    ):
        storms.add_argument(f"--{name}", type=int, help=what)
    storms.add_argument("--lost-replies", type=float, default=2.0, help="of a thousand replies to one worker")
    storms.add_argument("--lease", type=float, default=1.0, help="seconds")
    parser.add_argument("--share", type=float, help="points: of all, from 0 to 1")
    others = parser.add_argument_group("peers")
    others.add_argument("--engines", help=f"of {','.join(BY_DEFAULT)}; by default all that are installed")
    others.add_argument("--patience", type=float, default=150.0, help="seconds after the last kill")
    options = parser.parse_args(argv)
    if unknown := set(filter(None, (options.engines or "").split(","))) - BY_DEFAULT.keys():
        parser.error(f"there is no engine {', '.join(unknown)}; there are {', '.join(BY_DEFAULT)}")
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
