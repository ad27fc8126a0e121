"""A check that HTTP is not enough for: the second look by a browser, its memory, and pictures of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentinel.fetch.browser import BrowserPool
from sentinel.fetch.fetcher import Fetcher
from sentinel.fetch.http import Limits
from sentinel.model import FetchProfile
from sentinel.store.blobs import FileBlobs
from tests.sentinel.fetch.browsing import PRIVATE, new_pool, the_program
from tests.sentinel.handlers.checking import World, page
from tests.support.http import Reply, Request, send
from tests.support.png import size

DAY = 86400.0


def late(price: str) -> Reply:
    """A page with much text, on which the price is put by a script."""
    text = "All about the widget. " * 40
    script = f"setTimeout(() => document.querySelector('.price').append('{price}'), 100)"
    return Reply(body=f"<h1>Widget</h1><p>{text}</p><b class=price></b><script>{script}</script>")


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[BrowserPool]:
    async with new_pool(the_program()) as pool:
        yield pool


@pytest.fixture
async def looking(
    checks: World, pool: BrowserPool, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    the_program(request)
    async with Fetcher(PRIVATE, Limits(), browser=pool) as fetcher:
        checks.fetcher = fetcher
        checks.handler = checks.new_handler(blobs=FileBlobs(tmp_path / "blobs", limit=1 << 30))
        yield checks


async def test_where_http_finds_nothing_a_browser_looks_and_is_remembered_for_a_week(looking: World) -> None:
    await looking.watch(late("19,99 €"))
    await looking.check()
    run = await looking.last_run()
    assert await looking.stable() == "19,99 €"
    assert (run.status, run.result.mode) == ("ok", "headless")
    assert run.result.fallback_reason == "over http: EXTRACT_EMPTY_VALUE"
    assert len(looking.site.requests_to("/widget")) == 2

    await looking.check()
    run = await looking.last_run()
    assert (run.result.mode, run.result.fallback_reason or "") == ("headless", run.result.fallback_reason)
    assert (run.result.fallback_reason or "").startswith("remembered:")
    assert len(looking.site.requests_to("/widget")) == 3  # by the browser alone

    looking.clock.advance(7 * DAY)
    looking.site.route("/widget", page("19,99 €"))
    await looking.check()
    run = await looking.last_run()
    assert (run.status, run.result.mode, run.result.fallback_reason) == ("ok", "http", None)
    state = await looking.state()
    assert state.mode_that_worked == "http"


async def test_a_shell_that_is_as_it_was_says_nothing_of_what_scripts_put_into_it(looking: World) -> None:
    shell = late("19,99 €")

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        whole = Reply(body=shell.body, headers={"ETag": '"build-7"'}, close=True)
        await send(Reply(status=304) if "if-none-match" in request.headers else whole, request, writer)

    await looking.watch(answer)
    await looking.check()
    looking.clock.advance(7 * DAY)  # HTTP is tried again
    shell = late("9,99 €")
    await looking.check()
    assert await looking.stable() == "9,99 €"


async def test_force_teaches_nothing(looking: World) -> None:
    await looking.watch(page("19,99 €"))
    await looking.check()
    before = await looking.state()
    await looking.check(looking.job(force_mode="headless", trigger="manual_test"))
    assert (await looking.last_run()).result.mode == "headless"
    after = await looking.state()
    assert (after.mode_that_worked, after.mode_since) == ("http", before.mode_since)


async def test_what_neither_way_finds_is_told_of_the_browsers_look(looking: World) -> None:
    await looking.watch(Reply(body="<p>sold out</p><script></script>"), fetch=FetchProfile(timeout=3))
    await looking.check()
    run = await looking.last_run()
    assert (run.status, run.result.error_code, run.result.mode) == (
        "error",
        "EXTRACT_SELECTOR_NOT_FOUND",
        "headless",
    )


async def test_a_browser_that_did_not_help_either_is_left_out_for_a_while_and_then_looks_again(
    looking: World,
) -> None:
    gone = Reply(body="<p>sold out</p><script></script>")

    async def mode() -> str | None:
        await looking.check()
        return (await looking.last_run()).result.mode

    await looking.watch(page("19,99 €"), fetch=FetchProfile(timeout=3))
    assert await mode() == "http"
    looking.site.route("/widget", gone)
    assert [await mode() for _ in range(3)] == ["headless", "http", "http"]
    run = await looking.last_run()
    assert run.result.error_code == "EXTRACT_SELECTOR_NOT_FOUND"
    assert (run.result.error_detail or "").endswith("a browser did not help either, it looks again in 8 min")

    # Whoever tests it by hand sees both ways
    await looking.check(looking.job(trigger="manual_test"))
    assert (await looking.last_run()).result.mode == "headless"

    # The longer it has failed, the longer the browser rests
    looking.clock.advance(3600)
    assert [await mode() for _ in range(2)] == ["headless", "http"]
    looking.clock.advance(3600)
    assert await mode() == "http"
    looking.clock.advance(600)
    looking.site.route("/widget", late("19,99 €"))
    assert await mode() == "headless"
    assert await looking.stable() == "19,99 €"
    assert (await looking.state()).mode_that_worked == "headless"


async def test_what_http_finds_again_needs_no_browser(looking: World) -> None:
    await looking.watch(Reply(body="<p>sold out</p><script></script>"), fetch=FetchProfile(timeout=3))
    await looking.check()
    assert (await looking.state()).mode_that_worked == "neither"
    await looking.check_each(page("19,99 €"))
    assert (await looking.state()).mode_that_worked == "http"


async def test_a_confirmed_change_is_drawn_and_nothing_else_is(looking: World, tmp_path: Path) -> None:
    await looking.watch(page("100,00 €"), fetch=FetchProfile(screenshot_on_change=True))
    await looking.check_each(page("100,00 €"), page("100,00 €"))
    assert (await looking.last_run()).result.screenshot_blob is None

    await looking.check_each(page("90,00 €"))
    run = await looking.last_run()
    blobs = FileBlobs(tmp_path / "blobs", limit=1 << 30)
    assert (run.result.mode, run.status) == ("http", "ok")
    drawn = await blobs.get(run.result.screenshot_blob or "")
    element = await blobs.get(run.result.element_blob or "")
    assert drawn is not None
    assert element is not None
    assert size(drawn) == (1280, 800)
    assert size(element)[0] < 200
    assert await looking.store.blobs_in_use(
        [run.result.screenshot_blob or "", run.result.element_blob or ""]
    ) == {
        run.result.screenshot_blob,
        run.result.element_blob,
    }


async def test_a_change_that_cannot_be_drawn_is_a_change_all_the_same(
    looking: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await looking.watch(page("100,00 €"), fetch=FetchProfile(screenshot_on_change=True))
    await looking.check()
    monkeypatch.setattr(looking.fetcher, "_browser", None)
    await looking.check_each(page("90,00 €"))
    assert (await looking.last_run()).result.screenshot_blob is None
    assert (await looking.seen())[-1].changed
