"""Page bodies and screenshots: kept by hash, bounded, and gone when no row names them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest
import zstandard

from sentinel.store import Store
from sentinel.store.blobs import GRACE, MAX_BLOB, FileBlobs
from tests.sentinel.store.things import GOOD, HOUR, NOW, a_verdict, begin, finish, load

LONG_AGO = NOW - 2 * GRACE


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs", limit=1 << 30)


def files(blobs: FileBlobs) -> list[Path]:
    return sorted(path for path in blobs._folder.rglob("*") if path.is_file())


def aged(blobs: FileBlobs, seconds: float = LONG_AGO) -> None:
    for path in files(blobs):
        os.utime(path, (seconds, seconds))


async def none_in_use(hashes: list[str]) -> set[str]:
    return set()


async def test_what_is_put_comes_back_by_the_hash_of_its_content(blobs: FileBlobs) -> None:
    page = b"<p>price</p>" * 5_000
    digest = await blobs.put(page, "body")
    assert digest == hashlib.sha256(page).hexdigest()
    assert await blobs.get(digest) == page
    (file,) = files(blobs)
    assert file.stat().st_size < len(page) / 20


async def test_the_same_content_lies_there_once(blobs: FileBlobs) -> None:
    assert await blobs.put(b"", "body") == await blobs.put(b"", "screenshot")
    assert len(files(blobs)) == 1
    assert await blobs.get(hashlib.sha256(b"").hexdigest()) == b""


@pytest.mark.parametrize("digest", ["0" * 64, "", "../../../etc/passwd", "A" * 64, "0" * 64 + "\n"])
async def test_what_is_not_there_or_no_hash_is_none(blobs: FileBlobs, digest: str) -> None:
    assert await blobs.get(digest) is None


async def test_what_is_too_large_or_not_wanted_is_not_kept(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path, limit=1 << 30)
    assert await blobs.put(b"x" * (MAX_BLOB["body"] + 1), "body") is None
    assert await FileBlobs(tmp_path, limit=1 << 30, keeps=False).put(b"x", "body") is None
    assert files(blobs) == []


async def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert await FileBlobs(tmp_path / "file", limit=1).put(b"x", "body") is None


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not zstd",
        zstandard.compress(b"something else"),
        zstandard.compress(bytes(MAX_BLOB["screenshot"] + 1)),
    ],
    ids=["empty", "garbage", "another's", "too much"],
)
async def test_a_damaged_blob_is_gone_and_can_be_put_again(blobs: FileBlobs, damage: bytes) -> None:
    digest = await blobs.put(b"page", "body")
    assert digest is not None
    files(blobs)[0].write_bytes(damage)
    assert await blobs.get(digest) is None
    assert await blobs.put(b"page", "body") == digest
    assert await blobs.get(digest) == b"page"


async def test_what_no_row_names_is_swept_away_after_a_while(store: Store, blobs: FileBlobs) -> None:
    await load(store)
    kept = [await blobs.put(name, "body") for name in (b"of a run", b"shown", b"last good")]
    lost = await blobs.put(b"of nothing", "body")
    ticket = await begin(store)
    result = msgspec.structs.replace(GOOD, body_blob=kept[0], screenshot_blob=kept[1])
    await finish(store, ticket, a_verdict(), result=result, page_blob=kept[2])

    assert (await store.run_of("job-1")).result.body_blob == kept[0]
    assert (await store.rule("widget")).page_blob == kept[2]
    assert (await blobs.sweep(store.blobs_in_use, NOW)).unused == 0  # too young: its row may be on its way
    aged(blobs)
    (blobs._folder / "00").mkdir(exist_ok=True)
    (blobs._folder / "00" / ".unfinished").write_bytes(b"x")
    os.utime(blobs._folder / "00" / ".unfinished", (LONG_AGO, LONG_AGO))

    swept = await blobs.sweep(store.blobs_in_use, NOW)

    assert swept.unused == 2
    assert lost is not None
    assert await blobs.get(lost) is None
    for digest in kept:
        assert digest is not None
        assert await blobs.get(digest) is not None
    assert swept.size == sum(path.stat().st_size for path in files(blobs))


async def test_what_is_put_again_while_it_is_swept_stays(blobs: FileBlobs) -> None:
    digest = await blobs.put(b"page", "body")
    aged(blobs)

    async def meanwhile(hashes: list[str]) -> set[str]:
        await blobs.put(b"page", "body")
        return set()

    assert (await blobs.sweep(meanwhile, NOW)).unused == 0
    assert digest is not None
    assert await blobs.get(digest) == b"page"


async def test_beyond_the_limit_the_oldest_go_first(tmp_path: Path) -> None:
    unbounded = FileBlobs(tmp_path, limit=1 << 30)
    for _ in range(40):
        await unbounded.put(os.urandom(1000), "body")
    young, old = files(unbounded)[::2], files(unbounded)[1::2]
    for path in young:
        os.utime(path, (NOW - 10, NOW - 10))
    for path in old:
        os.utime(path, (NOW - HOUR / 2, NOW - HOUR / 2))

    swept = await FileBlobs(tmp_path, limit=30_000).sweep(none_in_use, NOW)

    assert files(unbounded) == young
    assert swept.beyond == len(old)
    assert swept.size == sum(path.stat().st_size for path in young)
