"""Which partition a job belongs to: any language can say so."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq import Limit
from streamq.job import NewJob
from streamq.keys import StreamKeys
from streamq.partitions import (
    MAX_PARTITIONS,
    Plan,
    key_of,
    partition_name,
    partition_of,
    planned_for,
    split_name,
)

ROOT = Path(__file__).resolve().parents[2]
texts = st.text(min_size=1, max_size=60)
counts = st.integers(1, MAX_PARTITIONS)


def crc32(data: bytes) -> int:
    """CRC-32 as its standards write it down (IEEE 802.3, reflected, 0xEDB88320)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@given(texts, counts)
def test_the_partition_of_a_key_is_its_crc32_modulo_their_number(key: str, count: int) -> None:
    assert partition_of(key, count) == crc32(key.encode()) % count


@given(texts, st.integers(1, MAX_PARTITIONS // 2))
def test_twice_as_many_leave_a_key_where_it_was_or_move_it_to_a_new_one(key: str, count: int) -> None:
    assert partition_of(key, 2 * count) in (partition_of(key, count), partition_of(key, count) + count)


@given(st.lists(texts, min_size=1, max_size=40, unique=True), counts, counts)
def test_every_job_of_a_call_goes_to_one_partition_and_anew_to_where_it_then_belongs(
    ids: list[str], before: int, more: int
) -> None:
    jobs = [NewJob(payload=b"1", id=one) for one in ids]
    plan = Plan("s", jobs, f"call@{before}")
    parts = list(plan.parts)
    assert sorted(place for part in parts for place in part.places) == list(range(len(ids)))
    assert all(
        split_name(part.stream)[1] == partition_of(job.id, before) for part in parts for job in part.jobs
    )
    assert {(part.stream, part.call_id) for part in parts} == {
        (part.stream, f"call@{before}") for part in parts
    }

    plan.parts.clear()
    for part in parts:
        plan.divide_anew(part, more)
    again = list(plan.parts)
    assert sorted(place for part in again for place in part.places) == list(range(len(ids)))
    assert all(
        split_name(part.stream)[1] == partition_of(job.id, more) for part in again for job in part.jobs
    )
    # No two parts are taken for a repetition of each other.
    assert len({(part.stream, part.call_id) for part in (*parts, *again)}) == len(parts) + len(again)


@given(texts.filter(lambda text: "@" not in text), counts)
def test_a_calls_id_says_what_it_was_planned_for(text: str, count: int) -> None:
    assert planned_for(f"{text}@{count}") == count
    assert planned_for(text) == 1


@given(st.integers(0, MAX_PARTITIONS - 1))
def test_a_partitions_name_says_whose_it_is(partition: int) -> None:
    assert split_name(partition_name("rules:run", partition)) == ("rules:run", partition)
    assert StreamKeys.of(partition_name("rules:run", partition)).stream


@pytest.mark.parametrize("name", ["rules:run", "v1.x", "a.0", "a.01", ".1", "a.100", "1764000000000-0"])
def test_other_names_are_names(name: str) -> None:
    assert split_name(name) == (name, 0)


def test_a_limits_key_decides_then_the_uniqueness_key_then_the_id() -> None:
    job = NewJob(payload=b"1", id="i", unique="u", limit=Limit("l", running=1))
    assert key_of(job) == "l"
    assert key_of(NewJob(payload=b"1", id="i", unique="u")) == "u"
    assert key_of(NewJob(payload=b"1", id="i")) == "i"


def test_the_vectors_of_the_wire_format_are_right() -> None:
    page = (ROOT / "docs" / "wire-format.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) >= 5
    for key, checksum, *partitions in rows:
        assert zlib.crc32(key.encode()) == int(checksum)
        assert [partition_of(key, count) for count in (2, 3, 4)] == [int(one) for one in partitions]
