"""What is measured: one scenario per file, each a function of an engine and an emptied server."""

from __future__ import annotations

from collections.abc import Mapping

from bench.scenarios.backlog import Backlog
from bench.scenarios.drain import Drain
from bench.scenarios.enqueue import Enqueue
from bench.scenarios.idle import Idle
from bench.scenarios.killed import Killed
from bench.scenarios.memory import Kept, Memory
from bench.scenarios.retries import RetryStorm
from bench.scenarios.scenario import Scenario
from bench.scenarios.several import Several
from bench.scenarios.timed import Delayed, Pickup

#: By name, in the order in which they run and are told.
SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Drain(concurrency=10),
        Drain(concurrency=100),
        Enqueue(bulk=False),
        Enqueue(bulk=True),
        Pickup(),
        Delayed(),
        RetryStorm(),
        Several(processes=2, by_default=True),
        Several(processes=4, by_default=False),
        Drain(concurrency=10, appendonly=True),
        Memory(),
        Kept(),
        Idle(),
        Killed(),
        Backlog(waiting=1_000),
        Backlog(waiting=100_000),
        Backlog(waiting=1_000_000),
    )
}
