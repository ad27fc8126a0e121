"""When a failed job runs again: a list of delays, or exponential with a cap."""

from __future__ import annotations

import random
from typing import Annotated

import msgspec

from streamq.errors import InvalidJob

#: A retry further away than this is a mistake, not a policy (30 days, seconds).
MAX_DELAY = 30 * 86400.0


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often and how far apart a failing job is tried.

    `Retry(delays=(30, 120))` is the first try and two more, 30 s and 120 s after the failure before.
    `Retry(max_attempts=5, base=2, cap=600)` waits 2, 4, 8, 16 s. `Retry()` never retries.
    """

    #: Seconds before attempt 2, 3, ...; its length is the number of retries. Wins over the exponential.
    delays: tuple[float, ...] = ()
    #: Attempts in all, the first included, for the exponential form.
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    #: Seconds before the second attempt of the exponential form; doubles each time.
    base: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    #: Longest wait of the exponential form, seconds.
    cap: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
    #: Share of a delay that is drawn at random and added: 0.1 spreads 30 s over 30 to 33 s.
    jitter: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        for delay in self.delays:
            if not 0 <= delay <= MAX_DELAY:
                msg = f"retry delay {delay!r} is not between 0 and {MAX_DELAY:g} seconds"
                raise InvalidJob(msg)

    @property
    def attempts(self) -> int:
        """Attempts in all, the first included."""
        return len(self.delays) + 1 if self.delays else self.max_attempts

    def delay_after(self, attempt: int, rng: random.Random | None = None) -> float | None:
        """Seconds to wait after the failed attempt number `attempt` (from 1), or None: no attempt left.

        Jitter only ever adds, so a job is never earlier than its policy says.
        """
        if attempt >= self.attempts:
            return None
        if self.delays:
            delay = self.delays[attempt - 1]
        else:
            delay = min(self.cap, self.base * 2.0 ** min(attempt - 1, 64))
        if self.jitter:
            delay += delay * self.jitter * (rng or random).random()
        return delay
