"""What a job may be, and the fence of a delivery."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.errors import InvalidJob, PayloadTooLarge
from streamq.job import NewJob, fence_of, new_job_id
from streamq.keys import MAX_NAME
from streamq.queue import new_job

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
        {"id": 5},
        {"id": "\ud800"},
        {"unique": "\ud800"},
        {"unique": 5},
        {"lane": "urgent"},
        {"headers": {"a": 1}},
        {"headers": [("a", "b")]},
        {"retry": 5},
        {"limit": "x"},
        {"delay": "10"},
        {"delay": ""},
        {"timeout": "1"},
        {"timeout": 1e9},
        {"at": "now"},
        {"max_wait": 5.0},
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
    ids=ascii,
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


class Key(StrEnum):
    SHOP = "shop"


class Seconds(float):
    """As numpy's floats are: a float, and more."""


def test_names_and_numbers_may_be_of_a_type_of_their_own() -> None:
    made = new_job({}, job_id=Key.SHOP, unique=Key.SHOP, headers={Key.SHOP: Key.SHOP}, delay=Seconds(5))
    assert (made.id, made.unique, made.headers, made.delay) == ("shop", "shop", {"shop": "shop"}, 5)
    with pytest.raises(InvalidJob, match=r"^delay=True"):
        new_job({}, delay=True)


def _endless() -> list[Any]:
    nest: list[Any] = []
    nest.append(nest)
    return nest


@pytest.mark.parametrize(
    ("payload", "options"),
    [
        (b"\xff\xfe", {}),
        (b"{", {}),
        (b"", {}),
        (_endless(), {}),
        (object(), {}),
        ({"a": "\ud800"}, {}),
        ({}, {"job_id": ""}),
        ({}, {"headers": 5}),
        ({}, {"headers": {"a": "\ud800"}}),
        ({}, {"headers": {"a": object()}}),
        ({}, {"unique_for": 5}),
    ],
    ids=range(11),
)
def test_what_no_handler_could_be_given_is_refused_where_it_is_handed_over(
    payload: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidJob):
        new_job(payload, **options)


def test_headers_count_in_what_a_job_may_weigh() -> None:
    assert new_job("x" * 50, max_payload=100, headers={"a": "b"}).headers == {"a": "b"}
    with pytest.raises(PayloadTooLarge, match="payload and headers have 1"):
        new_job("x" * 50, max_payload=100, headers={"a": "b" * 50})
