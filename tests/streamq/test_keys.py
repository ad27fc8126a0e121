"""The names of the keys: they are the public wire format."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq.errors import InvalidJob
from streamq.keys import LANES, MAX_NAME, StreamKeys

names = st.text(
    st.characters(exclude_characters="{}", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")),
    min_size=1,
    max_size=40,
)


def test_the_keys_are_those_of_the_wire_format() -> None:
    keys = StreamKeys.of("rules:run")
    assert keys.lanes == ("{rules:run}:high", "rules:run", "{rules:run}:low")
    assert (keys.delayed, keys.dead, keys.done) == (
        "{rules:run}:delayed", "{rules:run}:dead", "{rules:run}:done",
    )  # fmt: skip
    assert keys.meta == "{rules:run}:meta"
    assert keys.unique("a.png@640") == "{rules:run}:unique:a.png@640"
    assert keys.limit("shop.test") == "{rules:run}:limit:shop.test"
    assert LANES == ("high", "normal", "low")


def _hash_tag(key: str) -> str:
    """What a Cluster hashes: the part between the first brace and the next closing one, if any."""
    start = key.find("{")
    end = key.find("}", start + 1)
    return key[start + 1 : end] if start >= 0 and end > start + 1 else key


@given(names, st.text(max_size=30))
def test_every_key_of_a_stream_lies_in_its_slot_whatever_it_is_named_after(stream: str, said: str) -> None:
    keys = StreamKeys.of(stream)
    every = [
        *msgspec.structs.astuple(keys),
        keys.unique(said),
        keys.job_id(said),
        keys.call(said),
        keys.limit(said),
        keys.promises(said),
    ]
    assert {_hash_tag(key) for key in every} == {stream}


@given(names)
def test_no_two_keys_of_a_stream_are_the_same(stream: str) -> None:
    keys = msgspec.structs.astuple(StreamKeys.of(stream))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "name",
    ["", "a b", "{a}", "a}", "nul\0", "line\n", "tab\t", "\x1b[31m", "\x85", "\u2028", "\ud800", b"jobs", None,
     "x" * (MAX_NAME + 1)],
)  # fmt: skip
def test_a_name_that_would_leave_its_slot_or_break_a_line_is_refused(name: Any) -> None:
    with pytest.raises(InvalidJob):
        StreamKeys.of(name)
