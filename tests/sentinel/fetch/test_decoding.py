"""Inflating gives back what was deflated, or an error: never more than was agreed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import CheckFailure
from sentinel.fetch.decoding import bounded_decode, codings_of

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@given(st.binary(max_size=3000), st.lists(st.sampled_from(sorted(COMPRESS)), max_size=2))
def test_what_was_compressed_comes_back(body: bytes, codings: list[str]) -> None:
    wire = body
    for coding in codings:
        wire = COMPRESS[coding](wire)
    assert bounded_decode(wire, codings, max_bytes=10_000, max_ratio=100) == body


@given(st.binary(max_size=500), st.sampled_from(sorted(COMPRESS)))
def test_rubbish_is_an_error_or_bytes_within_the_limit(wire: bytes, coding: str) -> None:
    try:
        body = bounded_decode(wire, [coding], max_bytes=1000, max_ratio=100)
    except CheckFailure as failure:
        assert failure.code in ("FETCH_DECODE", "FETCH_TOO_LARGE")  # noqa: PT017 - either is right
    else:
        assert len(body) <= 1000


@pytest.mark.parametrize("coding", COMPRESS)
def test_any_cut_is_noticed(coding: str) -> None:
    whole = COMPRESS[coding](b"price 19.99 " * 50)
    for length in range(1, len(whole)):
        with pytest.raises(CheckFailure):
            bounded_decode(whole[:length], [coding], max_bytes=10_000, max_ratio=100)


@pytest.mark.parametrize("coding", COMPRESS)
def test_the_limit_is_exact(coding: str) -> None:
    wire = COMPRESS[coding](b"x" * 1_000_000)
    assert len(bounded_decode(wire, [coding], max_bytes=1_000_000, max_ratio=1e9)) == 1_000_000
    with pytest.raises(CheckFailure) as caught:
        bounded_decode(wire, [coding], max_bytes=999_999, max_ratio=1e9)
    assert caught.value.code == "FETCH_TOO_LARGE"


def test_a_body_may_not_be_a_hundred_times_its_size_on_the_wire() -> None:
    wire = gzip.compress(b"x" * 3_000_000)
    with pytest.raises(CheckFailure) as caught:
        bounded_decode(wire, ["gzip"], max_bytes=20_000_000, max_ratio=100)
    assert caught.value.code == "FETCH_TOO_LARGE"


def test_codings_are_read_from_every_header_line_in_order() -> None:
    assert codings_of(["gzip, identity", " BR "]) == ["gzip", "br"]
    assert codings_of([]) == []
    for values in (["gzip"] * 3, ["sdch"], ["gzip;q=1"]):
        with pytest.raises(CheckFailure):
            codings_of(values)
