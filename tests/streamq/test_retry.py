"""When a failed job runs again."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.errors import InvalidJob
from streamq.retry import MAX_DELAY, Retry

delay_lists = st.lists(st.floats(0, MAX_DELAY), min_size=1, max_size=8).map(tuple)
policies = st.builds(
    Retry,
    delays=st.one_of(st.just(()), delay_lists),
    max_attempts=st.integers(1, 1000),
    base=st.floats(0, 100),
    cap=st.floats(0, 10_000),
    jitter=st.floats(0, 1),
)


def test_the_default_never_retries() -> None:
    assert Retry().attempts == 1
    assert Retry().delay_after(1) is None


def test_a_list_of_delays_is_one_try_more_than_its_length() -> None:
    retry = Retry(delays=(30, 120))
    assert retry.attempts == 3
    assert [retry.delay_after(n) for n in (1, 2, 3, 4)] == [30, 120, None, None]


def test_the_exponential_form_doubles_up_to_its_cap() -> None:
    retry = Retry(max_attempts=6, base=2, cap=10)
    assert [retry.delay_after(n) for n in range(1, 7)] == [2, 4, 8, 10, 10, None]


def test_a_list_of_delays_wins_over_the_exponential_form() -> None:
    retry = Retry(delays=(1,), max_attempts=9, base=5)
    assert retry.attempts == 2
    assert retry.delay_after(1) == 1


def test_a_very_late_attempt_of_a_long_policy_overflows_nothing() -> None:
    assert Retry(max_attempts=1000, base=1, cap=7).delay_after(999) == 7


@pytest.mark.parametrize("delay", [-0.001, MAX_DELAY + 1, float("nan"), float("inf")])
def test_a_delay_out_of_range_is_refused(delay: float) -> None:
    with pytest.raises(InvalidJob, match="retry delay"):
        Retry(delays=(1, delay))


def test_jitter_is_drawn_from_the_given_source() -> None:
    retry = Retry(delays=(100,), jitter=0.5)
    draws = [retry.delay_after(1, random.Random(7)) for _ in range(2)]
    assert draws[0] == draws[1] != 100


@given(policies, st.integers(1, 1100))
def test_a_delay_is_never_earlier_than_the_policy_nor_later_than_its_jitter(
    retry: Retry, attempt: int
) -> None:
    exact = msgspec.structs.replace(retry, jitter=0.0).delay_after(attempt)
    drawn = retry.delay_after(attempt)
    if exact is None:
        assert drawn is None
        assert attempt >= retry.attempts
    else:
        assert drawn is not None
        assert exact <= drawn <= exact * (1 + retry.jitter)


@given(policies)
def test_a_job_that_always_fails_is_tried_exactly_as_often_as_said(retry: Retry) -> None:
    tries = next(n for n in itertools.count(1) if retry.delay_after(n) is None)
    assert tries == retry.attempts


@given(st.integers(2, 200), st.floats(0.001, 100), st.floats(0.001, 10_000))
def test_the_exponential_form_never_waits_less_than_before(attempts: int, base: float, cap: float) -> None:
    retry = Retry(max_attempts=attempts, base=base, cap=cap)
    delays = [retry.delay_after(n) or 0.0 for n in range(1, attempts)]
    assert delays == sorted(delays)
    assert max(delays) <= cap


@given(policies)
def test_a_policy_survives_the_wire(retry: Retry) -> None:
    assert msgspec.json.decode(msgspec.json.encode(retry), type=Retry) == retry
