"""Memory: how much the server grows per job that waits, and per job that has run."""

from __future__ import annotations

from bench.fleet import Program, call
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes
from bench.server import Server


class Memory:
    """`used_memory` before and after, once the producer has gone."""

    name = "memory"
    title = "server memory per waiting job"
    every_round = False
    by_default = True
    sizes = Sizes(quick=2_000, short=20_000, long=100_000)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        jobs = setting.jobs
        before = server.counters()
        call(
            program, "enqueue", "--url", server.url, "--jobs", str(jobs), "--bulk", deadline=setting.deadline
        )
        after = server.counters()
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=jobs,
            bytes=(after.memory - before.memory) / jobs,
        )


class Kept:
    """The same per job that has run: what is kept of it by default."""

    name = "kept"
    title = "server memory per completed job, kept as by default"
    every_round = False
    by_default = True
    sizes = Sizes(quick=1_000, short=5_000, long=20_000)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        jobs = max(1, round(setting.jobs * program.share))
        before = server.counters()
        words = ["--url", server.url, "--jobs", str(jobs)]
        call(program, "enqueue", *words, "--bulk", deadline=setting.deadline)
        said = call(program, "work", *words, "--deadline", str(setting.deadline), deadline=setting.deadline)
        after = server.counters()
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=jobs,
            bytes=(after.memory - before.memory) / jobs,
            missing=said["missing"],
        )
