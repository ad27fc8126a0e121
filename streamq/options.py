"""How a worker behaves."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from streamq.checks import check_number, check_whole
from streamq.errors import InvalidJob

#: Longest that a lease, or a drain, may be told to be: ten days, seconds.
MAX_TIME: Final = 864_000.0


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker behaves; seconds throughout."""

    #: A worker whose heartbeat stands still this long is dead, and its jobs are taken.
    lease: float = 10.0
    #: Between two heartbeats; must be well below `lease`.
    renew: float = 3.0
    #: After a stop, what still runs is handed back after this.
    drain_timeout: float = 25.0
    #: Without an answer from the broker for this long the worker gives up (exits non-zero).
    give_up_after: float = 600.0
    #: Stop when nothing is ready or leased and nothing becomes due within this; None: run on.
    burst_wait: float | None = None
    #: Stop, to be replaced, when about so many jobs have ended here or so many MiB are resident; None: never.
    max_jobs: int | None = None
    max_memory: int | None = None

    def __post_init__(self) -> None:
        for name, most in (("lease", MAX_TIME), ("renew", MAX_TIME), ("drain_timeout", MAX_TIME)):
            check_number(name, getattr(self, name), 0, most, what="seconds")
        check_number("give_up_after", self.give_up_after, 0, math.inf, what="seconds")
        if self.burst_wait is not None:
            check_number("burst_wait", self.burst_wait, 0, math.inf, what="seconds")
        for name, value in (("max_jobs", self.max_jobs), ("max_memory", self.max_memory)):
            if value is not None:
                check_whole(name, value, 1, 2**53)
        if not 0 < self.renew < self.lease:
            raise InvalidJob(f"renew={self.renew:g} must be above 0 and below lease={self.lease:g} seconds")
