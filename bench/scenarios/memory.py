"""Memory: how much the server grows per job that waits."""

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
