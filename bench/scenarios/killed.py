"""Killed: a worker with ten jobs in hand gets SIGKILL, another starts at once, all settings by default."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.fleet import Program, call, kill, running
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes
from bench.server import Server

#: Jobs that are in hand when it is killed; the others wait.
IN_HAND = 10
#: Seconds those take; the others take none, so that what is measured is the wait for the ten.
TAKES = 3.0
#: Seconds after which what has not run is called lost.
PATIENCE = 150.0


class Killed:
    """Seconds from the kill until every job has run to its end."""

    name = "killed"
    title = (
        f"SIGKILL of a worker, {IN_HAND} jobs of {TAKES:g} s in hand, 100 short: seconds until all have run"
    )
    every_round = False
    by_default = False
    sizes = Sizes(quick=110, short=110, long=110)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        call(
            program,
            "enqueue",
            "--url",
            server.url,
            "--jobs",
            str(setting.jobs),
            "--bulk",
            deadline=setting.deadline,
        )
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            log = Path(folder) / "log"
            log.touch()
            words = [
                "--url",
                server.url,
                "--jobs",
                str(setting.jobs),
                "--slow",
                str(TAKES),
                "--slow-first",
                str(IN_HAND),
                "--log",
                str(log),
            ]
            words += ["--deadline", "3600", "--concurrency", str(IN_HAND)]
            with running(program, *words) as first:
                until = time.monotonic() + 60.0
                while _in_hand(log) < min(IN_HAND, setting.jobs):
                    if time.monotonic() > until:
                        break
                    time.sleep(0.05)
                time.sleep(TAKES / 6)
                kill(first)
            began = time.monotonic()
            with running(program, *words):
                while len(_told(log)["ended"]) < setting.jobs and time.monotonic() - began < PATIENCE:
                    time.sleep(0.1)
                seconds = time.monotonic() - began
            ended = _told(log)["ended"]
        lost = setting.jobs - len(ended)
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=setting.jobs,
            seconds=seconds if not lost else None,
            missing=lost,
            twice=sum(count > 1 for count in ended.values()),
            trouble=f"{lost} jobs had not run {PATIENCE:g} s after the kill" if lost else None,
        )


def _in_hand(log: Path) -> int:
    told = _told(log)
    return (told["began"] - told["ended"]).total()


def _told(log: Path) -> dict[str, Counter[str]]:
    """What began and what ended, by job."""
    found: dict[str, Counter[str]] = {"began": Counter(), "ended": Counter()}
    for line in log.read_text().splitlines():
        what, _, job = line.partition(" ")
        if job:
            found[what][job] += 1
    return found
