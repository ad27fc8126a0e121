"""Bodies made to fill memory: what they cost, printed with `-s`, and that they end as errors."""

from __future__ import annotations

import gzip
import itertools
import random
import time
import zlib
from pathlib import Path

import brotli
import pytest
import zstandard

from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.guard import NetworkPolicy
from sentinel.model import FetchProfile
from tests.support.http import Reply, serve_in_thread

MIB = 1024 * 1024


def _deflated(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])


@pytest.fixture(scope="module")
def bombs() -> dict[str, Reply]:
    flat = _deflated(128 * MIB)
    # Nothing to notice but its size: 45 bytes for each that comes.
    dense = gzip.compress(b"".join(random.Random(1).randbytes(400) + bytes(20_000) for _ in range(2000)))
    packed = {
        "within the ratio": (dense, "gzip"),
        "gzip": (flat, "gzip"),
        "gzip in gzip": (gzip.compress(flat), "gzip, gzip"),
        "three codings": (gzip.compress(gzip.compress(flat)), "gzip, gzip, gzip"),
        "deflate": (zlib.compress(bytes(64 * MIB)), "deflate"),
        "brotli": (brotli.compress(bytes(64 * MIB), quality=1), "br"),
        "zstd": (zstandard.compress(bytes(128 * MIB)), "zstd"),
        "zstd in gzip": (gzip.compress(zstandard.compress(bytes(128 * MIB))), "zstd, gzip"),
    }
    replies = {
        name: Reply(body=body, headers={"Content-Encoding": coding})
        for name, (body, coding) in packed.items()
    }
    replies["endless chunks"] = Reply(chunks=itertools.repeat(b"x" * 65536))
    replies["6 MiB said"] = Reply(body=b"x" * (6 * MIB))
    return replies


def _peak() -> int:
    """Bytes of resident memory at most since `_forget`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _forget() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def test_a_bomb_ends_as_an_error_within_memory_and_time(bombs: dict[str, Reply]) -> None:
    worst = (0, 0.0)
    with serve_in_thread() as site:
        async with Fetcher(NetworkPolicy(allow_private=True)) as fetcher:
            for name, reply in bombs.items():
                url = site.route("/bomb", reply)
                _forget()
                before, began = _peak(), time.monotonic()
                with pytest.raises(FetchFailure) as caught:
                    await fetcher.fetch(url, FetchProfile(mode="http"))
                added, seconds = _peak() - before, time.monotonic() - began
                worst = (max(worst[0], added), max(worst[1], seconds))
                print(f"\n{name:16} {added / MIB:6.1f} MiB {seconds:5.2f} s  {caught.value.code}", end="")
                assert caught.value.code in ("FETCH_TOO_LARGE", "FETCH_DECODE")
                assert added <= 64 * MIB
    print(f"\nbombs: {len(bombs)}, at most {worst[0] / MIB:.1f} MiB added, {worst[1]:.2f} s")
