"""Envelopes as flat fields: what we write we read, and what others write never raises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamq.job import Envelope
from streamq.keys import LANES, MAX_NAME, Lane
from streamq.limits import Limit
from streamq.retry import Retry
from streamq.wire import entry_ms, envelope_of, fields_again, fields_of, pairs

NAMES = [
    b"payload",
    b"id",
    b"attempt",
    b"crashes",
    b"enqueued",
    b"eligible",
    b"headers",
    b"retry",
    b"timeout",
    b"unique",
    b"replace",
    b"limit",
]

texts = st.text(st.characters(codec="utf-8"), max_size=40)
entries = st.builds("{}-{}".format, st.integers(1, 2**42), st.integers(0, 1000))
lanes = st.sampled_from(LANES)
envelopes = st.builds(
    Envelope,
    id=texts.filter(bool),
    payload=st.binary(max_size=200),
    attempt=st.integers(1, 1000),
    crashes=st.integers(0, 1000),
    enqueued_ms=st.integers(0, 2**42),
    lane=lanes,
    headers=st.dictionaries(texts, texts, max_size=4),
    retry=st.none() | st.builds(Retry, delays=st.lists(st.floats(0, 1000), max_size=4).map(tuple)),
    timeout=st.none() | st.floats(0.001, 1e6),
    unique=st.none() | texts.filter(bool),
    replace=st.booleans(),
    limit=st.none()
    | st.builds(Limit, st.just("k"), running=st.integers(1, 9), rate=st.none() | st.just(0.5)),
)


@given(envelopes, entries)
def test_what_is_written_is_read_again(envelope: Envelope, entry_id: str) -> None:
    flat = fields_again(envelope, attempt=envelope.attempt, crashes=envelope.crashes)
    read = envelope_of(entry_id, envelope.lane, pairs(flat))
    assert read.defect is None
    for name in (
        "id",
        "payload",
        "attempt",
        "crashes",
        "enqueued_ms",
        "lane",
        "headers",
        "retry",
        "timeout",
        "unique",
        "replace",
        "limit",
    ):
        assert getattr(read, name) == getattr(envelope, name), name


@given(
    st.dictionaries(st.sampled_from(NAMES) | st.binary(max_size=8), st.binary(max_size=60), max_size=10),
    entries,
    lanes,
)
def test_no_bytes_at_all_make_the_reader_raise(fields: dict[bytes, bytes], entry_id: str, lane: Lane) -> None:
    envelope = envelope_of(entry_id, lane, fields)
    assert envelope.id
    assert envelope.attempt >= 1
    assert envelope.crashes >= 0
    assert envelope.payload == fields.get(b"payload", b"")
    if b"payload" not in fields:
        assert envelope.defect is not None


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=60), max_size=10), entries)
def test_what_was_read_can_be_written_and_read_again_without_a_change(
    fields: dict[bytes, bytes], entry_id: str
) -> None:
    first = envelope_of(entry_id, "low", fields)
    flat = fields_again(first, attempt=first.attempt, crashes=first.crashes)
    second = envelope_of(entry_id, "low", pairs(flat))
    for name in (
        "id",
        "payload",
        "attempt",
        "crashes",
        "enqueued_ms",
        "headers",
        "retry",
        "timeout",
        "unique",
        "replace",
        "limit",
    ):
        assert getattr(second, name) == getattr(first, name), name


@given(texts.filter(bool), st.binary(max_size=60), entries)
def test_the_short_way_reads_as_the_long_way_does(job_id: str, payload: bytes, entry_id: str) -> None:
    short = dict(pairs(fields_of(job_id=job_id, payload=payload)))
    assert len(short) == 2
    assert envelope_of(entry_id, "normal", short) == envelope_of(
        entry_id, "normal", short | {b"attempt": b"1"}
    )


def test_of_a_repeated_field_the_first_counts() -> None:
    assert pairs([b"payload", b"1", b"payload", b"2"]) == {b"payload": b"1"}


def test_an_odd_field_at_the_end_is_no_harm() -> None:
    assert pairs([b"payload", b"1", b"lonely"]) == {b"payload": b"1"}


def test_a_name_that_is_far_too_long_is_a_defect_and_is_cut() -> None:
    envelope = envelope_of("1-0", "normal", {b"payload": b"1", b"id": b"x" * 100_000})
    assert envelope.defect is not None
    assert len(envelope.id) == MAX_NAME


def test_the_time_of_an_entry_is_in_its_id() -> None:
    assert entry_ms("1700000000123-7") == 1_700_000_000_123
