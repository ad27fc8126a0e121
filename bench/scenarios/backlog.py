"""Backlog: the same number of jobs run, with more and more waiting behind them."""

from __future__ import annotations

from bench.fleet import Program, call
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes, per_job, rate
from bench.server import Server

#: Jobs that run.
RUN = 5_000


class Backlog:
    """`waiting` jobs wait, RUN of them are run."""

    every_round = False
    by_default = False

    def __init__(self, *, waiting: int) -> None:
        self.name = f"backlog-{waiting}"
        self.title = f"drain of {RUN:,} jobs with {waiting:,} waiting, concurrency 10"
        self.sizes = Sizes(quick=waiting, short=waiting, long=waiting)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        jobs, enough = setting.jobs + RUN, RUN
        call(
            program, "enqueue", "--url", server.url, "--jobs", str(jobs), "--bulk", deadline=setting.deadline
        )
        before = server.counters()
        words = ["--url", server.url, "--jobs", str(jobs), "--enough", str(enough)]
        said = call(program, "work", *words, "--deadline", str(setting.deadline), deadline=setting.deadline)
        after = server.counters()
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=jobs,
            rate=rate(said) if said["missing"] == 0 else None,
            process_us=per_job(said["cpu_seconds"], said["measured"]),
            server_us=per_job(after.cpu - before.cpu, said["runs"]),
            missing=said["missing"],
        )
