"""What a job may be, and the fence of a delivery."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.errors import InvalidJob
from streamq.job import NewJob, fence_of, new_job_id
from streamq.keys import MAX_NAME

moments = st.tuples(st.integers(0, 2**42), st.integers(0, 2**20 - 1))


def test_fresh_ids_do_not_repeat_and_need_no_quoting() -> None:
    made = {new_job_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(len(one) == 16 and one.replace("-", "").replace("_", "").isalnum() for one in made)


@given(moments, moments)
def test_a_later_entry_has_a_higher_fence(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = sorted((one, other))
    lower, higher = (fence_of(f"{ms}-{sequence}") for ms, sequence in (first, second))
    assert (lower < higher) == (first < second)


@given(moments)
def test_a_fence_fits_an_sql_bigint(moment: tuple[int, int]) -> None:
    assert 0 <= fence_of(f"{moment[0]}-{moment[1]}") < 2**63


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * (MAX_NAME + 1)},
        {"unique": ""},
        {"unique": "x" * (MAX_NAME + 1)},
        {"unique": "k", "unique_for": 0.0},
        {"unique": "k", "unique_for": -1.0},
        {"unique": "k", "unique_for": 1e9},
        {"unique": "k", "unique_for": float("nan")},
        {"delay": -0.001},
        {"delay": 1e12},
        {"delay": float("nan")},
        {"delay": float("inf")},
        {"timeout": 0.0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"at": float("nan")},
        {"at": float("inf")},
        {"at": 1e15},
    ],
    ids=str,
)
def test_a_field_out_of_range_is_refused_before_anything_is_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        NewJob(**{"payload": b"{}", "id": "x", **wrong})


@pytest.mark.parametrize(
    "right",
    [
        {"id": "x" * MAX_NAME},
        {"unique": "ü" * MAX_NAME, "unique_for": 0.001},
        {"delay": 360 * 86400.0},
        {"at": 0.0},
        {"timeout": 0.001},
    ],
    ids=lambda right: next(iter(right)),
)
def test_the_ends_of_each_range_are_allowed(right: dict[str, Any]) -> None:
    NewJob(**{"payload": b"{}", "id": "x", **right})
