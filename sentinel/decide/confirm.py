"""Anti-flap: a new value is believed when it was read often enough in a row."""

from __future__ import annotations

import msgspec

from sentinel.decide.values import same
from sentinel.model import RuleState, Value


class Step(msgspec.Struct, frozen=True):
    """Where a reading leaves the rule."""

    stable: Value | None
    candidate: Value | None
    candidate_count: int
    #: The reading is (or became) the stable value.
    confirmed: bool
    #: The stable value was replaced by another.
    changed: bool


def confirm(state: RuleState, value: Value, *, required: int, implausible: bool = False) -> Step:
    """One good reading more.

    The first good value becomes stable without a word. The stable one clears a candidate. Another
    becomes the candidate, and stable after `required` equal readings in a row. An implausible value
    needs one reading more than that, also as the first.
    """
    if same(state.stable, value):
        # The fuller form is kept: a currency once known is not forgotten.
        return Step(state.stable, None, 0, confirmed=True, changed=False)
    first = state.stable is None
    needed = (1 if first else required) + implausible
    count = state.candidate_count + 1 if same(state.candidate, value) else 1
    if count >= needed:
        return Step(value, None, 0, confirmed=True, changed=not first)
    return Step(state.stable, value, count, confirmed=False, changed=False)
