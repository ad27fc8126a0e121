"""Enqueue: one process puts jobs in, one awaited call after another, or as many a call as it offers."""

from __future__ import annotations

from bench.fleet import Program, call
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes, per_job, rate
from bench.server import Server


class Enqueue:
    """Producers only; no worker runs."""

    every_round = True
    by_default = True

    def __init__(self, *, bulk: bool) -> None:
        self._bulk = bulk
        self.name = "enqueue-bulk" if bulk else "enqueue-one"
        self.title = "enqueue in bulk, 500 a call" if bulk else "enqueue, awaited one by one"
        self.sizes = Sizes(2_000, 10_000, 50_000) if bulk else Sizes(1_000, 2_000, 10_000)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        jobs = setting.jobs
        words = ["--url", server.url, "--jobs", str(jobs + 1), *(["--bulk"] if self._bulk else [])]
        before = server.counters()
        said = call(program, "enqueue", *words, deadline=setting.deadline)
        after = server.counters()
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=jobs,
            rate=rate(said),
            process_us=per_job(said["cpu_seconds"], said["measured"]),
            server_us=per_job(after.cpu - before.cpu, jobs),
            commands=(after.commands - before.commands) / jobs,
            reads=(after.reads - before.reads) / jobs,
        )
