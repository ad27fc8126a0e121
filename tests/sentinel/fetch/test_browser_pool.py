"""The browser's processes: started when needed, replaced when worn, ended whatever happens. Real ones, really killed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sentinel.errors import CheckFailure
from sentinel.fetch import browser_ground, browser_page, browser_process
from sentinel.fetch.browser import BrowserPool, Wear
from sentinel.fetch.browser_page import PageAsk, PageFound
from sentinel.fetch.browser_process import BrowserProcess
from sentinel.fetch.browser_program import Program, find_program
from sentinel.fetch.process_group import ProcessGroup
from tests.sentinel.fetch.browsing import html, new_pool, the_program
from tests.support.http import Reply, Site


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Program:
    return the_program(request)


@pytest.fixture
async def pool(program: Program) -> AsyncIterator[BrowserPool]:
    async with new_pool(program) as pool:
        yield pool


async def look(pool: BrowserPool, url: str, seconds: float = 30.0) -> PageFound:
    found, _ = await pool.fetch(PageAsk(url=url, seconds=seconds), lambda *_: True)
    return found


def running(pool: BrowserPool) -> BrowserProcess:
    return next(iter(pool._processes.values()))


async def test_nothing_is_started_before_it_is_needed_and_nothing_is_left_at_the_end(
    program: Program, site: Site
) -> None:
    before = browser_ground.drivers()
    pool = new_pool(program)
    assert not pool._processes
    await look(pool, site.route("/", html("here")))
    await pool.draw(PageAsk(url=f"{site.url}/"))
    groups = [process.group for process in pool._processes.values()]
    assert len(groups) == 2  # one with images, one without
    assert all(group.number != os.getpgrp() and group.members() for group in groups)
    assert len(browser_ground.drivers() - before) == 1

    await pool.aclose()

    assert [group.members() for group in groups] == [[], []]
    assert browser_ground.drivers() == before


async def test_a_killed_browser_fails_its_page_for_now_and_the_next_has_a_new_one(
    program: Program, site: Site
) -> None:
    restarts: list[int] = []
    async with new_pool(program, tell_restart=lambda: restarts.append(1)) as pool:
        held = asyncio.Event()
        site.route("/slow", Reply(body="slow", hold=held))
        page = asyncio.create_task(look(pool, f"{site.url}/slow"))
        await site.requests_arrived(1, path="/slow")
        killed = running(pool).group
        os.killpg(killed.number, signal.SIGKILL)

        with pytest.raises(CheckFailure) as failed:
            await page
        assert failed.value.code == "SYSTEM_BROWSER"
        held.set()
        assert "here" in (await look(pool, site.route("/", html("here")))).text
        assert running(pool).group.number != killed.number
        assert killed.members() == []
        assert restarts == [1]


async def test_a_browser_that_hangs_is_ended_and_the_next_page_has_a_new_one(
    pool: BrowserPool, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.route("/", html("here"))
    await look(pool, url)
    for module, name in (
        (browser_page, "OPEN_SECONDS"),
        (browser_page, "CLOSE_SECONDS"),
        (browser_process, "CLOSE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.5)
    hung = running(pool).group
    os.killpg(hung.number, signal.SIGSTOP)

    with pytest.raises(CheckFailure, match=r"SYSTEM_BROWSER.*hung"):
        await look(pool, url)

    assert hung.members() == []
    monkeypatch.undo()
    assert "here" in (await look(pool, url)).text


async def test_a_crashed_tab_fails_its_own_page_alone(pool: BrowserPool, site: Site) -> None:
    held = asyncio.Event()
    site.route("/slow", html("slow", hold=held))
    neighbour = asyncio.create_task(look(pool, f"{site.url}/slow"))
    await site.requests_arrived(1, path="/slow")
    with pytest.raises(CheckFailure):
        await look(pool, "chrome://crash", seconds=5)
    held.set()
    assert "slow" in (await neighbour).text


@pytest.fixture
async def deaf_loop() -> AsyncIterator[None]:
    """Nobody waits any more for what a killed driver owed; whether that is noticed is up to the collector."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    yield
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(before)


@pytest.mark.usefixtures("deaf_loop")
async def test_a_driver_that_was_killed_is_replaced_with_its_browser(pool: BrowserPool, site: Site) -> None:
    url = site.route("/", html("here"))
    await look(pool, url)
    assert pool._ground is not None
    first, driver = running(pool).group, pool._ground._driver
    assert driver is not None
    os.kill(driver, signal.SIGKILL)
    assert await first.gone(10)

    assert "here" in (await look(pool, url)).text
    assert pool._ground._driver != driver


@pytest.mark.parametrize("wear", [Wear(pages=2), Wear(memory=1)])
async def test_a_worn_browser_is_replaced(program: Program, site: Site, wear: Wear) -> None:
    url, groups = site.route("/", html("here")), []
    async with new_pool(program, wear=wear) as pool:
        for _ in range(4 if wear.pages == 2 else 2):
            await look(pool, url)
            groups.append(running(pool).group)
        assert len({group.number for group in groups}) == 2
        assert [group.members() for group in groups if group.number != groups[-1].number] != []
    assert all(group.members() == [] for group in groups)


async def test_a_worn_browser_ends_after_its_last_page(program: Program, site: Site) -> None:
    held = asyncio.Event()
    site.route("/slow", html("slow", hold=held))
    async with new_pool(program, wear=Wear(pages=2)) as pool:
        slow = asyncio.create_task(look(pool, f"{site.url}/slow"))
        await site.requests_arrived(1, path="/slow")
        old = running(pool).group
        await look(pool, site.route("/", html("here")))  # its second page
        await look(pool, f"{site.url}/")
        assert running(pool).group.number != old.number
        held.set()
        assert "slow" in (await slow).text
        assert old.members() == []


async def test_no_more_pages_are_open_than_may_be(program: Program, site: Site) -> None:
    told: list[int] = []
    async with new_pool(program, wear=Wear(at_once=2), tell_pages=told.append) as pool:
        url = site.route("/", html("here"))
        await asyncio.gather(*(look(pool, url) for _ in range(5)))
    assert max(told) == 2
    assert told[-1] == 0


async def test_a_cancelled_page_leaves_no_context(pool: BrowserPool, site: Site) -> None:
    held = asyncio.Event()
    site.route("/slow", html("slow", hold=held))
    page = asyncio.create_task(look(pool, f"{site.url}/slow"))
    await site.requests_arrived(1, path="/slow")
    page.cancel()
    with pytest.raises(asyncio.CancelledError):
        await page
    held.set()
    assert running(pool).browser.contexts == []
    assert running(pool).open == 0


async def test_a_killed_worker_leaves_no_browser(program: Program, site: Site) -> None:
    url = site.route("/", html("here"))
    script = f"""
import asyncio
from tests.sentinel.fetch.browsing import new_pool, the_program
from sentinel.fetch.browser_page import PageAsk
async def main():
    pool = new_pool(the_program())
    await pool.fetch(PageAsk(url={url!r}), lambda *_: True)
    print(next(iter(pool._processes.values())).group.number, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert worker.stdout is not None
    group = ProcessGroup(int(await worker.stdout.readline()), worker.pid)
    assert group.members()
    worker.kill()
    await worker.wait()
    assert await group.gone(10)


async def test_a_program_that_is_no_browser_is_told_and_left_alone_for_a_while(
    program: Program, site: Site
) -> None:
    async with new_pool(Program(Path("/bin/false"))) as pool:
        with pytest.raises(CheckFailure, match=r"SYSTEM_BROWSER.*did not start"):
            await look(pool, site.route("/", html("here")))
        assert "did not start a moment ago" in pool.trouble


def test_what_is_missing_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "chromium-headless-shell" in find_program().trouble
    assert "no program nowhere" in find_program("nowhere").trouble
    assert "switched off" in find_program("none").trouble
    (tmp_path / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "chromium").chmod(0o755)
    assert find_program().path == tmp_path / "chromium"
    assert find_program(str(tmp_path / "chromium")).path == tmp_path / "chromium"
    assert not find_program().trouble
