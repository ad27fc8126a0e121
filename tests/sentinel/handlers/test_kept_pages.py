"""Which pages a check keeps: of a change, of a failure, and the last good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.store.blobs import Blobs, FileBlobs
from sentinel.store.object_blobs import ObjectBlobs
from tests.sentinel.handlers.checking import NOT_MODIFIED, WIDGET, World, page, tagged
from tests.support.http import Reply
from tests.support.s3 import ENVIRON

HOUR = 3600.0


@pytest.fixture
def blobs(checks: World, tmp_path: Path) -> FileBlobs:
    kept = FileBlobs(tmp_path / "blobs", limit=1 << 30)
    checks.handler = checks.new_handler(blobs=kept)
    return kept


async def last_good(checks: World, blobs: FileBlobs) -> bytes | None:
    digest = (await checks.store.rule(WIDGET)).page_blob
    return None if digest is None else await blobs.get(digest)


async def seen_last(checks: World, blobs: FileBlobs) -> bytes | None:
    digest = (await checks.last_run()).result.body_blob
    return None if digest is None else await blobs.get(digest)


def body(reply: Reply) -> bytes:
    assert isinstance(reply.body, str)
    return reply.body.encode()


async def test_the_page_of_a_change_is_kept_and_is_the_last_good_one(checks: World, blobs: FileBlobs) -> None:
    await checks.watch(page("100,00 €"))
    await checks.check()
    assert await last_good(checks, blobs) == body(page("100,00 €"))
    assert await seen_last(checks, blobs) is None  # nothing changed

    await checks.check_each(page("90,00 €"))

    assert (await checks.seen())[-1].changed
    assert await seen_last(checks, blobs) == await last_good(checks, blobs) == body(page("90,00 €"))


async def test_the_page_of_a_failed_extraction_is_kept_and_the_last_good_one_stays(
    checks: World, blobs: FileBlobs
) -> None:
    await checks.watch(page("100,00 €"))
    await checks.check_each(page("100,00 €"), Reply(body="<p>sold out</p>"))
    assert (await checks.last_run()).status == "error"
    assert await seen_last(checks, blobs) == b"<p>sold out</p>"
    assert await last_good(checks, blobs) == body(page("100,00 €"))


async def test_noise_is_not_kept_more_often_than_every_hour(checks: World, blobs: FileBlobs) -> None:
    noisy = [page("100,00 €", body=f"<p class='price'>100,00 €</p> at {n}") for n in range(3)]
    await checks.watch(noisy[0])
    await checks.check_each(noisy[0], noisy[1])
    assert await last_good(checks, blobs) == body(noisy[0])
    checks.clock.advance(HOUR)
    await checks.check_each(noisy[2])
    assert await last_good(checks, blobs) == body(noisy[2])
    assert await seen_last(checks, blobs) is None


async def test_a_page_that_is_as_it_was_is_kept_once(checks: World, blobs: FileBlobs) -> None:
    await checks.watch(tagged("100,00 €", "a"))
    await checks.check()
    kept_at = (await checks.store.rule(WIDGET)).page_blob_at
    checks.clock.advance(2 * HOUR)
    await checks.check_each(NOT_MODIFIED, tagged("100,00 €", "a"))
    assert (await checks.store.rule(WIDGET)).page_blob_at == kept_at


@pytest.mark.parametrize("where", ["a full disk", "a bucket that is away"])
async def test_a_store_for_pages_that_is_full_or_away_fails_no_check(
    checks: World, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "file").write_bytes(b"")
    blobs: Blobs = FileBlobs(tmp_path / "file", limit=1)
    if where != "a full disk":
        blobs = ObjectBlobs("pages", "", endpoint="http://127.0.0.1:9", limit=1)
    checks.handler = checks.new_handler(blobs=blobs)
    await checks.watch(page("100,00 €"))
    await checks.check()
    assert await checks.stable() == "100,00 €"
    assert (await checks.store.rule(WIDGET)).page_blob is None
