"""Drain: jobs wait, one worker process starts; the watch runs from a tenth of the jobs to the last."""

from __future__ import annotations

from bench.fleet import Program, call
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes, per_job, rate
from bench.server import Server


class Drain:
    """One worker process, `concurrency` jobs at once."""

    every_round = True
    by_default = True
    sizes = Sizes(quick=8_000, short=20_000, long=100_000)

    def __init__(self, *, concurrency: int, appendonly: bool = False) -> None:
        self._concurrency = concurrency
        self._appendonly = appendonly
        self.name = f"appendonly-{concurrency}" if appendonly else f"drain-{concurrency}"
        self.title = f"drain, one worker process, concurrency {concurrency}"
        if appendonly:
            self.title += ", append-only file, fsync every second"

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        with server.appending(on=self._appendonly):
            return self._measure(program, server, setting, round_number)

    def _measure(self, program: Program, server: Server, setting: Setting, round_number: int) -> Measure:
        jobs = max(1, round(setting.jobs * program.share))
        call(
            program, "enqueue", "--url", server.url, "--jobs", str(jobs), "--bulk", deadline=setting.deadline
        )
        words = ["--url", server.url, "--jobs", str(jobs), "--concurrency", str(self._concurrency)]
        before = server.counters()
        said = call(
            program,
            "work",
            *words,
            "--deadline",
            str(setting.deadline),
            *setting.words,
            deadline=setting.deadline,
        )
        after = server.counters()
        whole = said["missing"] == 0
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=jobs,
            rate=rate(said) if whole else None,
            process_us=per_job(said["cpu_seconds"], said["measured"]) if whole else None,
            server_us=per_job(after.cpu - before.cpu, jobs),
            commands=(after.commands - before.commands) / jobs,
            reads=(after.reads - before.reads) / jobs,
            missing=said["missing"],
            twice=said["twice"],
            trouble=None if whole else f"{said['missing']:,} jobs had not run after {setting.deadline:g} s",
        )
