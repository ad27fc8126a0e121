"""Measure, print, keep.

python -m bench                                   the short form: everything that is installed
python -m bench drain --engines streamq,raw --jobs 20000
python -m bench drain-10 --engines streamq --profile worker.prof
python -m bench --show bench/results/2026-11-24-queues.json
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench import aims, machine, picture, summary, table
from bench.fleet import PROGRAMS, ROOT, EngineFailed, Program, call
from bench.measure import Measure, Results
from bench.scenarios import SCENARIOS
from bench.scenarios.scenario import Scenario, Setting
from bench.server import Server, find

#: Rounds of each form: engines take turns in each, the best run of each counts.
ROUNDS = {"quick": 1, "short": 3, "long": 5}
RESULTS = ROOT / "bench/results"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1: an engine did not do what was asked of it."""
    options = _options(argv)
    if options.show:
        try:
            results = kept(options.show)
        except (OSError, msgspec.DecodeError) as error:
            _say(f"cannot show it: {error}")
            return 2
    else:
        results = measure_all(options)
        if options.out:
            _keep(results, options.out)
    names = {name: program.title for name, program in PROGRAMS.items()}
    if options.markdown:
        print(summary.render(results, names), end="")
        return 0
    print(table.render(results, _titles(), names))
    if options.aims:
        print(aims.render(results))
    if options.plot:
        try:
            picture.draw(results, _titles(), names, options.plot)
        except picture.NoPictureError as why:
            _say(f"no picture: {why}")
            return 1
    return 1 if any(one.trouble for one in results.measures) else 0


def kept(files: Sequence[Path]) -> Results:
    """Results as they were written; of several files as one, with what the first says of the machine."""
    first, *more = (msgspec.json.decode(file.read_bytes(), type=Results) for file in files)
    return msgspec.structs.replace(
        first, measures=[*first.measures, *(m for one in more for m in one.measures)]
    )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}; or a start"
    )
    parser.add_argument("--engines", help=f"of {','.join(PROGRAMS)}; by default all that are installed")
    parser.add_argument("--form", choices=ROUNDS, default="short", help="how many jobs and rounds")
    parser.add_argument("--jobs", type=int, help="jobs of every run, instead of the form's")
    parser.add_argument("--rounds", type=int, help="rounds, instead of the form's")
    parser.add_argument("--server", default="valkey", help="valkey (bundled), redis (on PATH) or a program")
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds until a run is given up")
    parser.add_argument(
        "--pin", action="store_true", help="the server on the first core, engines on the rest"
    )
    parser.add_argument("--profile", type=Path, help="cProfile of streamq's worker, to this file")
    parser.add_argument("--out", type=Path, help="write the results here (JSON)")
    parser.add_argument("--keep", action="store_true", help="write them to bench/results/DATE-FORM.json")
    parser.add_argument(
        "--show",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing: print the tables of these files",
    )
    parser.add_argument("--markdown", action="store_true", help="one table of all instead, for a page")
    parser.add_argument("--aims", action="store_true", help="and what streamq set out to reach, beside it")
    parser.add_argument("--plot", type=Path, metavar="SVG", help="draw them as a picture as well")
    options = parser.parse_args(argv)
    options.scenarios = _chosen(parser, options.scenarios, options.form)
    options.programs = _programs(parser, options.engines)
    if options.keep:
        kind = options.form if options.server == "valkey" else f"{options.form}-{Path(options.server).name}"
        options.out = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{kind}.json"
    return options


def _chosen(parser: argparse.ArgumentParser, words: Sequence[str], form: str) -> list[Scenario]:
    """A whole name is that scenario; the start of names is all of those."""
    chosen: set[str] = set()
    if not words:
        return [one for one in SCENARIOS.values() if one.by_default or form == "long"]
    for word in words:
        found = {word} & set(SCENARIOS) or {name for name in SCENARIOS if name.startswith(word)}
        if not found:
            parser.error(f"no scenario starts with {word!r}; there are {', '.join(SCENARIOS)}")
        chosen |= found
    return [scenario for name, scenario in SCENARIOS.items() if name in chosen]


def _programs(parser: argparse.ArgumentParser, words: str | None) -> list[Program]:
    """Those asked for, which must be here; else those that are here."""
    if words is None:
        for program in PROGRAMS.values():
            if not program.is_here:
                _say(f"{program.title} is not installed here: left out (./dev bench installs what it can)")
        return [program for program in PROGRAMS.values() if program.is_here]
    for word in words.split(","):
        if word not in PROGRAMS:
            parser.error(f"no engine {word!r}; there are {', '.join(PROGRAMS)}")
        if not PROGRAMS[word].is_here:
            parser.error(f"{PROGRAMS[word].title} is not installed here: ./dev bench installs it")
    return [PROGRAMS[word] for word in words.split(",")]


# --- measuring ------------------------------------------------------------------------------------


def measure_all(options: argparse.Namespace) -> Results:
    """Round by round, so that a noisy minute hits every engine alike."""
    rounds = options.rounds or ROUNDS[options.form]
    engines = _introduce(options.programs)
    programs = [program for program in options.programs if program.name in engines]
    with Server(find(options.server)) as server:
        if options.pin:
            _pin(server)
        facts = machine.facts(server.name) | {"pinned": options.pin}
        measures = [
            _measure(scenario, program, server, options, round_number)
            for round_number in range(1, rounds + 1)
            for scenario in options.scenarios
            if scenario.every_round or round_number == 1
            for program in _turned(programs, round_number)
        ]
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    return Results(made=made, form=options.form, machine=facts, engines=engines, measures=measures)


def _introduce(programs: Sequence[Program]) -> dict[str, Any]:
    """What each engine says of itself; one that cannot say it is left out."""
    engines: dict[str, Any] = {}
    for program in programs:
        try:
            engines[program.name] = call(program, "about")
        except EngineFailed as failure:
            _say(f"{program.title} does not run here: left out ({failure})")
    return engines


def _turned(programs: Sequence[Program], round_number: int) -> Iterator[Program]:
    """Each round another one begins."""
    first = (round_number - 1) % max(1, len(programs))
    yield from programs[first:]
    yield from programs[:first]


def _measure(
    scenario: Scenario, program: Program, server: Server, options: argparse.Namespace, round_number: int
) -> Measure:
    jobs = options.jobs or getattr(scenario.sizes, options.form)
    profiled = options.profile is not None and program.name == "streamq"
    words = ("--profile", str(options.profile.absolute())) if profiled else ()
    server.empty()
    try:
        setting = Setting(jobs=jobs, deadline=options.deadline, words=words)
        found = scenario.measure(program, server, setting, round_number=round_number)
    except EngineFailed as failure:
        found = Measure(
            scenario=scenario.name, engine=program.name, round=round_number, jobs=jobs, trouble=str(failure)
        )
    told = found.trouble or table.figure(found)
    _say(f"round {round_number}: {scenario.name:13} {program.name:13} {told}")
    return found


def _pin(server: Server) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or server.pid is None:
        _say("not pinned: one core, or a server that is not ours")
        return
    os.sched_setaffinity(server.pid, cores[:1])
    os.sched_setaffinity(0, cores[1:])  # the engines inherit it


def _titles() -> dict[str, str]:
    return {name: scenario.title for name, scenario in SCENARIOS.items()}


def _keep(results: Results, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    _say(f"written to {file}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
