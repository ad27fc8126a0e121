"""Retries: every job fails at its first run and is due again a second later."""

from __future__ import annotations

from bench.fleet import Program, call
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes
from bench.server import Server


class RetryStorm:
    """The watch runs from the first handler that is called to the last job that is done."""

    name = "retries"
    title = "every job fails once and is due again after 1 s: seconds until done, concurrency 100"
    every_round = False
    by_default = True
    sizes = Sizes(quick=200, short=2_000, long=5_000)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        words = ["--url", server.url, "--jobs", str(setting.jobs), "--fail-once"]
        call(program, "enqueue", *words, "--bulk", deadline=setting.deadline)
        more = ["--concurrency", "100", "--deadline", str(setting.deadline)]
        said = call(program, "work", *words, *more, deadline=setting.deadline)
        whole = said["missing"] == 0
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=setting.jobs,
            seconds=said["all_seconds"] if whole else None,
            missing=said["missing"],
            twice=said["twice"],
            trouble=None if whole else f"{said['missing']:,} jobs were not done after {setting.deadline:g} s",
        )
