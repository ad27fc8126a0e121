"""What is measured: one scenario per file, each a function of an engine and an emptied server."""

from __future__ import annotations

from collections.abc import Mapping

from bench.scenarios.drain import Drain
from bench.scenarios.enqueue import Enqueue
from bench.scenarios.memory import Memory
from bench.scenarios.scenario import Scenario

#: By name, in the order in which they run and are told.
SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Drain(concurrency=10),
        Drain(concurrency=100),
        Enqueue(bulk=False),
        Enqueue(bulk=True),
        Memory(),
    )
}
