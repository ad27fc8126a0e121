"""Anti-flap: a new value is believed when it was read often enough in a row."""

from __future__ import annotations

import msgspec

from sentinel.decide.values import is_empty, same
from sentinel.model import PriceValue, RuleState, TextValue, Value


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
        return Step(_fuller(state.stable, value), None, 0, confirmed=True, changed=False)
    # A rule whose kind was edited starts anew: 12 pieces and 12 EUR have nothing to tell each other.
    first = state.stable is None or _other_kind(state.stable, value)
    needed = (1 if first else required) + implausible
    count = state.candidate_count + 1 if same(state.candidate, value) else 1
    if count >= needed:
        return Step(value, None, 0, confirmed=True, changed=not first)
    return Step(state.stable, value, count, confirmed=False, changed=False)


def _fuller(stable: Value | None, value: Value) -> Value | None:
    """The stable value; a currency it lacked and the page names now is added, one it has is not lost.

    Of a text the new reading: it has the answers to conditions that the rule did not have before.
    """
    if isinstance(stable, TextValue) and isinstance(value, TextValue) and value.answers is not None:
        return value
    if isinstance(stable, PriceValue) and isinstance(value, PriceValue) and stable.currency is None:
        return value
    return stable


def _other_kind(stable: Value, value: Value) -> bool:
    return type(stable) is not type(value) and not is_empty(stable) and not is_empty(value)
