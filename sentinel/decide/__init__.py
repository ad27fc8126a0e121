"""sentinel's judgement: pure functions from what was read to what it means."""

from __future__ import annotations

from sentinel.decide.judge import judge, judge_failure, judge_not_modified
from sentinel.decide.normalise import Normalised, normalise, normalise_rule
from sentinel.decide.schedule import next_due
from sentinel.decide.values import describe, value_json

__all__ = [
    "Normalised",
    "describe",
    "judge",
    "judge_failure",
    "judge_not_modified",
    "next_due",
    "normalise",
    "normalise_rule",
    "value_json",
]
