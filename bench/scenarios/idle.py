"""Idle: what a worker with nothing to do asks of the server."""

from __future__ import annotations

import time

from bench.fleet import Program, call, running
from bench.measure import Measure
from bench.scenarios.scenario import Setting, Sizes
from bench.server import Server

#: Seconds a worker is given to start, and seconds that are then looked at.
START = 4.0
LOOK = 10.0


class Idle:
    """One job, long done, and a worker that waits for the next."""

    name = "idle"
    title = f"commands a second of an idle worker, over {LOOK:g} s, concurrency 10"
    every_round = False
    by_default = True
    sizes = Sizes(quick=1, short=1, long=1)

    def measure(self, program: Program, server: Server, setting: Setting, *, round_number: int) -> Measure:
        call(program, "enqueue", "--url", server.url, "--jobs", "1", deadline=setting.deadline)
        with running(program, "--url", server.url, "--jobs", "2", "--deadline", "3600"):
            time.sleep(START)
            before = server.counters()
            time.sleep(LOOK)
            after = server.counters()
        return Measure(
            scenario=self.name,
            engine=program.name,
            round=round_number,
            jobs=1,
            idle=(after.commands - before.commands) / LOOK,
            # The last look's own request is among them.
            idle_reads=(after.reads - before.reads - 1) / LOOK,
        )
