"""A small sample of the pairs of bench.healing: wrong answers stay rare."""

from __future__ import annotations

import functools
from collections import Counter

from bench.healing import HELD_OUT, TUNED, Base, bases, gone, line, outcome, pair


@functools.cache
def sample() -> list[Base]:
    """Shops from templates and a few committed pages."""
    known = list(bases([], seed=1))
    return [one for one in known if one.name.startswith("shop")] + known[:3]


def test_less_than_2_percent_of_the_answers_are_wrong_and_more_than_60_right() -> None:
    counted: Counter[str] = Counter()
    for one in sample():
        for change in (*TUNED, *HELD_OUT):
            counted[outcome(one, pair(one, change, 1))[0]] += 1

    print(line("sample", counted))
    made = counted.total() - counted["unmade"]
    assert made > 150
    assert counted["wrong"] < 0.02 * made
    assert counted["right"] > 0.6 * made


def test_where_the_element_is_gone_the_right_answer_is_none() -> None:
    one = next(one for one in sample() if one.name.startswith("shop"))

    after = pair(one, gone, 1)

    assert not after.there
    assert outcome(one, after) == ("right", "")
