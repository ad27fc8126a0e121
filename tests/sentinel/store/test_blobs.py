"""Page bodies and screenshots: kept by hash, bounded, and gone when no row names them; in a folder, in a bucket."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
import zstandard

from sentinel.store import Store
from sentinel.store import object_blobs as module
from sentinel.store.blobs import GRACE, MAX_BLOB, Blobs, FileBlobs
from sentinel.store.object_blobs import REST, ObjectBlobs
from tests.sentinel.store.things import GOOD, HOUR, NOW, a_verdict, begin, finish, load
from tests.support.http import Reply, Site
from tests.support.s3 import ENVIRON, S3Server, serve_s3

LONG_AGO = NOW - 2 * GRACE


class Place(Protocol):
    """Where blobs lie, seen from outside."""

    def blobs(self, *, limit: int = 1 << 30, keeps: bool = True) -> Blobs: ...

    def sizes(self) -> dict[str, int]:
        """Name -> bytes as they lie there; a name ends in the hash and `.zst`."""
        ...

    def age(self, name: str, seconds: float) -> None: ...

    def write(self, name: str, data: bytes) -> None: ...


class Folder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blobs(self, *, limit: int = 1 << 30, keeps: bool = True) -> Blobs:
        return FileBlobs(self.folder, limit=limit, keeps=keeps)

    def sizes(self) -> dict[str, int]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.stat().st_size for path in files}

    def age(self, name: str, seconds: float) -> None:
        os.utime(self.folder / name, (seconds, seconds))

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)


class Bucket:
    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.name = server.new_bucket()

    def blobs(self, *, limit: int = 1 << 30, keeps: bool = True) -> Blobs:
        return ObjectBlobs(self.name, "kept/here", endpoint=self.server.url, limit=limit, keeps=keeps)

    def sizes(self) -> dict[str, int]:
        return self.server.sizes(self.name)

    def age(self, name: str, seconds: float) -> None:
        self.server.age(self.name, name, seconds)

    def write(self, name: str, data: bytes) -> None:
        self.server.write(self.name, name if name.startswith("kept/") else f"kept/here/{name}", data)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with serve_s3() as server:
        yield server


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, _credentials: None) -> Place:
    if request.param == "folder":
        return Folder(tmp_path / "blobs")
    return Bucket(request.getfixturevalue("s3"))


@pytest.fixture
def blobs(place: Place) -> Blobs:
    return place.blobs()


def aged(place: Place, seconds: float = LONG_AGO) -> None:
    for name in place.sizes():
        place.age(name, seconds)


async def none_in_use(hashes: list[str]) -> set[str]:
    return set()


# --- the same in both ---------------------------------------------------------------------------------


async def test_what_is_put_comes_back_by_the_hash_of_its_content(place: Place, blobs: Blobs) -> None:
    page = b"<p>price</p>" * 5_000
    digest = await blobs.put(page, "body")
    assert digest == hashlib.sha256(page).hexdigest()
    assert await blobs.get(digest) == page
    ((name, size),) = place.sizes().items()
    assert name.endswith(f"{digest[:2]}/{digest}.zst")
    assert size < len(page) / 20


async def test_the_same_content_lies_there_once(place: Place, blobs: Blobs) -> None:
    assert await blobs.put(b"", "body") == await blobs.put(b"", "screenshot")
    assert len(place.sizes()) == 1
    assert await blobs.get(hashlib.sha256(b"").hexdigest()) == b""


@pytest.mark.parametrize("digest", ["0" * 64, "", "../../../etc/passwd", "A" * 64, "0" * 64 + "\n"])
async def test_what_is_not_there_or_no_hash_is_none(blobs: Blobs, digest: str) -> None:
    assert await blobs.get(digest) is None


async def test_what_is_too_large_or_not_wanted_is_not_kept(place: Place, blobs: Blobs) -> None:
    assert await blobs.put(b"x" * (MAX_BLOB["body"] + 1), "body") is None
    assert await place.blobs(keeps=False).put(b"x", "body") is None
    assert place.sizes() == {}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not zstd",
        zstandard.compress(b"something else"),
        zstandard.compress(bytes(MAX_BLOB["screenshot"] + 1)),
        bytes(MAX_BLOB["screenshot"] + (2 << 20)),
    ],
    ids=["empty", "garbage", "another's", "too much inside", "too much"],
)
async def test_a_damaged_blob_is_gone_and_can_be_put_again(place: Place, blobs: Blobs, damage: bytes) -> None:
    digest = await blobs.put(b"page", "body")
    assert digest is not None
    (name,) = place.sizes()
    place.write(name, damage)
    assert await blobs.get(digest) is None
    assert await blobs.put(b"page", "body") == digest
    assert await blobs.get(digest) == b"page"


async def test_what_no_row_names_is_swept_away_after_a_while(
    store: Store, place: Place, blobs: Blobs
) -> None:
    await load(store)
    kept = [await blobs.put(name, "body") for name in (b"of a run", b"shown", b"last good")]
    lost = await blobs.put(b"of nothing", "body")
    ticket = await begin(store)
    result = msgspec.structs.replace(GOOD, body_blob=kept[0], screenshot_blob=kept[1])
    await finish(store, ticket, a_verdict(), result=result, page_blob=kept[2])

    assert (await store.run_of("job-1")).result.body_blob == kept[0]
    assert (await store.rule("widget")).page_blob == kept[2]
    assert (await blobs.sweep(store.blobs_in_use, NOW)).unused == 0  # too young: its row may be on its way
    place.write("00/.unfinished", b"x")
    aged(place)

    swept = await blobs.sweep(store.blobs_in_use, NOW)

    assert swept.unused == 2
    assert lost is not None
    assert await blobs.get(lost) is None
    for digest in kept:
        assert digest is not None
        assert await blobs.get(digest) is not None
    assert swept.size == sum(place.sizes().values())


async def test_what_is_put_again_while_it_is_swept_stays(place: Place, blobs: Blobs) -> None:
    digest = await blobs.put(b"page", "body")
    aged(place)

    async def meanwhile(hashes: list[str]) -> set[str]:
        await blobs.put(b"page", "body")
        return set()

    assert (await blobs.sweep(meanwhile, NOW)).unused == 0
    assert digest is not None
    assert await blobs.get(digest) == b"page"


async def test_beyond_the_limit_the_oldest_go_first(place: Place, blobs: Blobs) -> None:
    for _ in range(40):
        await blobs.put(os.urandom(1000), "body")
    names = sorted(place.sizes())
    young, old = names[::2], names[1::2]
    for name in young:
        place.age(name, NOW - 10)
    for name in old:
        place.age(name, NOW - HOUR / 2)

    swept = await place.blobs(limit=30_000).sweep(none_in_use, NOW)

    assert sorted(place.sizes()) == young
    assert swept.beyond == len(old)
    assert swept.size == sum(place.sizes().values())


# --- a folder -------------------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert await FileBlobs(tmp_path / "file", limit=1).put(b"x", "body") is None


# --- a bucket -------------------------------------------------------------------------------------------


class Trouble:
    """A store that can be had, and its log."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 0.0
        self._caplog = caplog

    def blobs(self, endpoint: str) -> ObjectBlobs:
        return ObjectBlobs("pages", "", endpoint=endpoint, limit=1 << 30, clock=lambda: self.now)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [
            (one.message, one.__dict__["error"])
            for one in self._caplog.records
            if one.name == "sentinel.blobs"
        ]


@pytest.fixture
def trouble(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, _credentials: None) -> Trouble:
    monkeypatch.setattr(module, "RETRIES", 0)
    caplog.set_level(logging.DEBUG)
    return Trouble(caplog)


async def everything(blobs: Blobs) -> None:
    """Each of the three, of which none may raise."""
    assert await blobs.put(b"page", "body") is None
    assert await blobs.get("0" * 64) is None
    assert (await blobs.sweep(none_in_use, time.time())).unused == 0


async def test_a_store_that_is_not_there_fails_nothing_and_is_left_alone_for_a_while(
    trouble: Trouble, site: Site
) -> None:
    blobs = trouble.blobs("http://127.0.0.1:9")
    await everything(blobs)
    names = ["blob_not_kept", "blob_not_read", "blobs_not_swept"]
    assert trouble.told == [(name, "the store does not answer as it should") for name in names]

    asked = trouble.blobs(site.url)
    site.default = Reply(status=404, body="<Error><Code>NoSuchBucket</Code></Error>")
    for now in (0.0, REST - 1, REST + 1):
        trouble.now = now
        assert await asked.put(b"page", "body") is None
    assert [one.method for one in site.requests] == ["PUT", "PUT"]
    assert trouble.told[-1] == ("blob_not_kept", "no such bucket")


async def test_what_is_signed_with_another_secret_is_refused(
    s3: S3Server, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, refused = s3.new_bucket(), s3.refused
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    blobs = ObjectBlobs(bucket, "", endpoint=s3.url, limit=1 << 30)
    assert await blobs.put(b"page", "body") is None
    assert (s3.sizes(bucket), s3.refused) == ({}, refused + 1)
    assert trouble.told == [("blob_not_kept", "the store refuses the credentials")]


async def test_a_store_that_refuses_us_is_told_of_without_what_it_said(
    trouble: Trouble, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    secret = ENVIRON["AWS_SECRET_ACCESS_KEY"]
    site.default = Reply(status=403, body=f"<Error><StringToSign>{secret} AKIATESTS</StringToSign></Error>")
    await everything(trouble.blobs(site.url))
    refused = "the store refuses the credentials"
    assert trouble.told[:2] == [("blob_not_kept", refused), ("blob_not_read", refused)]
    assert "AKIATESTS" in site.requests[0].headers["authorization"]
    assert secret not in str(site.requests)
    assert "AKIATESTS" not in caplog.text
    assert secret not in caplog.text + repr(trouble.blobs(site.url))


async def test_a_store_that_never_answers_is_given_up(
    trouble: Trouble, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.default = Reply(hold=asyncio.Event())
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    monkeypatch.setattr(module, "REQUEST_WAIT", 0.5)
    await everything(trouble.blobs(site.url))
    assert trouble.told[0] == ("blob_not_kept", "no answer in time")
