"""How many jobs of one key may run at once, and how many may start in a while."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from streamq.errors import InvalidJob

#: Bounds of what a limit says; the scripts know them too (lua/lib/limits.lua).
MAX_KEY: Final = 512
MAX_RUNNING: Final = 1_000_000
#: Starts a second: one in eleven days to a million.
RATES: Final = (1e-6, 1e6)
MAX_BURST: Final = 10_000


class Limit(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The terms under which a job may start, beside the other jobs of its stream that have the same key.

    `Limit("tenant-7", running=3)`: while three of that key run, a fourth waits; it blocks nobody else.
    `Limit("shop.test", rate=0.5, burst=2)`: two at once, then one every two seconds. Both may be given.
    Where jobs of one key say different things, each is held to its own.
    """

    #: 1 to 512 characters, none of them a control character.
    key: str
    #: Jobs of the key that may run at once; None: any number.
    running: Annotated[int, msgspec.Meta(ge=1, le=MAX_RUNNING)] | None = None
    #: Starts a second, in the long run; None: any number.
    rate: Annotated[float, msgspec.Meta(ge=RATES[0], le=RATES[1])] | None = None
    #: Starts that may come at once where none came for a while.
    burst: Annotated[int, msgspec.Meta(ge=1, le=MAX_BURST)] = 1

    def __post_init__(self) -> None:
        if not 0 < len(self.key) <= MAX_KEY or any(ord(c) < 32 or ord(c) == 127 for c in self.key):
            raise InvalidJob(f"a limit's key has 1 to {MAX_KEY} characters, and no control characters")
        if self.running is None and self.rate is None:
            raise InvalidJob(f"the limit of key {self.key!r} limits nothing: it needs `running` or `rate`")
        for name, value, least, most in (
            ("running", self.running, 1, MAX_RUNNING),
            ("rate", self.rate, *RATES),
            ("burst", self.burst, 1, MAX_BURST),
        ):
            if value is not None and not least <= value <= most:
                raise InvalidJob(
                    f"{name}={value!r} of key {self.key!r} is not between {least:g} and {most:g}"
                )

    @property
    def interval_us(self) -> int | None:
        """Microseconds from one start to the next, in the long run; None: no rate is asked for."""
        return None if self.rate is None else max(1, int(1e6 / self.rate + 0.5))
