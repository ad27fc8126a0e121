"""Several: the same drain by more than one worker process."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from bench.fleet import Program, call, running
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes
from bench.server import Server

#: The watch runs from this share of the jobs, when all have started, to `TO`: one may hold up the last.
FROM, TO = 0.4, 0.95


class Several:
    """`processes` workers, told by what each says of itself every few milliseconds."""

    every_round = True
    sizes = Sizes(quick=8_000, short=120_000, long=400_000)

    def __init__(self, *, processes: int, by_default: bool) -> None:
        self.by_default = by_default
        self._processes = processes
        self.name = f"processes-{processes}"
        self.title = f"drain by {processes} worker processes, concurrency 10 each"

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        jobs = max(1, round(setting.jobs * program.share))
        call(
            program, "enqueue", "--url", server.url, "--jobs", str(jobs), "--bulk", deadline=setting.deadline
        )
        before = server.counters()
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            counts = [folder / str(number) for number in range(self._processes)]
            for file in counts:
                words = [
                    "--url",
                    server.url,
                    "--jobs",
                    str(jobs),
                    "--concurrency",
                    "10",
                    "--counts",
                    str(file),
                ]
                stack.enter_context(running(program, *words, "--deadline", "3600"))
            began = _reached(counts, FROM * jobs, setting.deadline)
            ended = _reached(counts, TO * jobs, setting.deadline)
            after = server.counters()
        whole = began is not None and ended is not None
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=jobs,
            rate=(ended[1] - began[1]) / (ended[0] - began[0]) if began and ended else None,
            server_us=(after.cpu - before.cpu) * 1e6 / jobs,
            trouble=None if whole else f"not done within {setting.deadline:g} s",
        )


def _reached(counts: list[Path], wanted: float, deadline: float) -> tuple[float, int] | None:
    """When, and at how many jobs; None: not in time."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        ran = sum(int(file.read_text() or 0) for file in counts if file.exists())
        if ran >= wanted:
            return time.monotonic(), ran
        time.sleep(0.005)
    return None
