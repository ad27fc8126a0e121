"""When a failed job runs again: a list of delays, or exponential with a cap."""

from __future__ import annotations

import random
from typing import Annotated, Final

import msgspec

from streamq.checks import check_number, check_tuple, check_whole

#: A retry further away than this is a mistake, not a policy (30 days, seconds).
MAX_DELAY: Final = 30 * 86400.0
MAX_ATTEMPTS: Final = 1000


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often and how far apart a failing job is tried.

    `Retry(delays=(30, 120))` is the first try and two more, 30 s and 120 s after the failure before.
    `Retry(max_attempts=5, base=2, cap=600)` waits 2, 4, 8, 16 s. `Retry()` never retries.
    Raises InvalidJob for what cannot be.
    """

    #: Seconds before attempt 2, 3, ...; its length is the number of retries. Wins over the exponential.
    delays: tuple[float, ...] = ()
    #: Attempts in all, the first included, for the exponential form.
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=MAX_ATTEMPTS)] = 1
    #: Seconds before the second attempt of the exponential form; doubles each time.
    base: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    #: Longest wait of the exponential form, seconds.
    cap: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
    #: Share of a delay that is drawn at random and added: 0.1 spreads 30 s over 30 to 33 s.
    jitter: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    #: Names of exception types, bare or with their module, that are not worth another try: a job whose
    #: handler raises one, or one derived from it, is dead at once. `("ValueError", "shop.errors.NotSold")`.
    stop_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_tuple("delays", self.delays, object, MAX_ATTEMPTS - 1)
        for delay in self.delays:
            check_number("retry delay", delay, 0, MAX_DELAY)
        check_whole("max_attempts", self.max_attempts, 1, MAX_ATTEMPTS)
        check_number("base", self.base, 0, MAX_DELAY)
        check_number("cap", self.cap, 0, MAX_DELAY)
        check_number("jitter", self.jitter, 0, 1)
        check_tuple("stop_on", self.stop_on, str, 100)

    @property
    def attempts(self) -> int:
        """Attempts in all, the first included."""
        return len(self.delays) + 1 if self.delays else self.max_attempts

    def stops_on(self, error: BaseException) -> bool:
        """Whether another try is not worth while after `error`, by `stop_on`."""
        if not self.stop_on:
            return False
        names = {name for kind in type(error).__mro__ for name in _names(kind)}
        return not names.isdisjoint(self.stop_on)

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


def _names(kind: type) -> tuple[str, str]:
    return kind.__name__, f"{kind.__module__}.{kind.__qualname__}"
