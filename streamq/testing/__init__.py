"""For tests of programs that use streamq: an in-memory broker, a clock that is moved by hand, and `drain`.

The broker passes the same suite as the one on Redis (tests/streamq), so what a test shows on it holds
there too; it needs no server, and time stands still until the test moves it. On a `FaultyBroker` replies are
lost and workers die when they are told to.
"""

from __future__ import annotations

from streamq.clock import ManualClock
from streamq.testing.drain import Drained, EndlessDrainError, Ran, drain
from streamq.testing.faults import FaultyBroker, WorkerKilled
from streamq.testing.memory import MemoryBroker

__all__ = [
    "Drained",
    "EndlessDrainError",
    "FaultyBroker",
    "ManualClock",
    "MemoryBroker",
    "Ran",
    "WorkerKilled",
    "drain",
]
