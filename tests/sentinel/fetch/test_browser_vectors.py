"""Every way out of a page is tried in a real Chromium against canary ports the policy refuses.

    .venv/bin/python -m pytest tests/sentinel/fetch/test_browser_vectors.py -s

prints how many reach them with the guard (what is shipped: the pool, its flags, its contexts, the filtering
proxy) and, of a handful, without it (a plain Chromium). `--soak` tries all of them without it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from sentinel.errors import CheckFailure
from sentinel.fetch.browser import BrowserPool, Wear
from sentinel.fetch.browser_page import PageAsk
from sentinel.fetch.browser_program import Program
from sentinel.fetch.browser_way import way_out
from sentinel.fetch.guard import NetworkPolicy
from tests.sentinel.fetch.browsing import the_program
from tests.sentinel.fetch.vectors import FRAMED, TOP, Canary, open_canary, put_up
from tests.sentinel.fetch.world import Names
from tests.support.http import Reply, serve

#: Where the pages are; everything else of the machine is refused.
OUTSIDE = "127.0.0.3"
POLICY = NetworkPolicy(
    allow_private=True, refused_networks=(ip_network("127.0.0.0/31"), ip_network("::1/128"))
)
ALL = [*FRAMED, *TOP]
#: Seconds for what a page does a while after it was loaded.
AFTER = 1.5

#: Reached without the guard at once, else the canaries prove nothing: one of HTML, of CSS, of scripts ...
HANDFUL = ("image", "css background", "script", "iframe", "fetch", "xhr post", "beacon", "websocket")

INSIDE_NAMES = ("localhost", "app.localhost", "inside.example.org", "rebind.example.org", "mixed.example.org")


def answers() -> Names:
    names = Names()
    for name in INSIDE_NAMES[:3]:
        names.set(name, ["127.0.0.1"])
    names.set("rebind.example.org", [OUTSIDE], ["127.0.0.1"])
    names.set("mixed.example.org", [OUTSIDE, "127.0.0.1"])
    return names


async def test_no_way_out_of_a_page_reaches_what_the_guard_refuses(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = the_program(request)
    # One of the frames never ends loading, and nothing begins after a second.
    monkeypatch.setattr("sentinel.fetch.browser_page.LOAD_SECONDS", 2.5)
    async with open_canary(ALL) as canary, serve(host=OUTSIDE) as site:
        opened = put_up(site, canary)
        await _with(program, opened)
        with_guard = set(canary.reached)
        loaded = {seen.path for seen in site.requests}
        canary.reached.clear()
        frames = "".join(f"<iframe src='/v/{[*FRAMED].index(name)}'></iframe>" for name in HANDFUL)
        await _without(program, {"few": site.route("/few", Reply(body=frames))}, until=(canary, {*HANDFUL}))
        without = set(canary.reached)
    print(f"\nvectors reached: {len(with_guard)} of {len(ALL)} with the guard")
    print(f"without it, of a handful: {len(without)} of {len(HANDFUL)}")
    assert with_guard == set()
    assert without == {*HANDFUL}
    assert {f"/v/{number}" for number in range(len(FRAMED))} <= loaded


@pytest.mark.soak
async def test_nearly_every_way_out_works_where_nobody_guards(request: pytest.FixtureRequest) -> None:
    program = the_program(request)
    async with open_canary(ALL) as canary, serve(host=OUTSIDE) as site:
        await _without(program, put_up(site, canary))
        without = set(canary.reached)
    print(f"\nvectors reached without the guard: {len(without)} of {len(ALL)}")
    print(f"not reached: {', '.join(sorted(set(ALL) - without)) or 'none'}")
    assert len(without) >= 60  # else the pages prove nothing


async def _with(program: Program, opened: Mapping[str, str]) -> None:
    """The browser as it is shipped. Pictures are on: images are vectors too."""
    async with BrowserPool(
        program, way_out(POLICY, resolve=answers()), wear=Wear(at_once=len(opened))
    ) as pool:

        async def visit(url: str) -> None:
            with contextlib.suppress(CheckFailure):  # the guard refused the page as a whole
                await pool.draw(PageAsk(url=url, render_wait=AFTER, seconds=20))

        await asyncio.gather(*(visit(url) for url in opened.values()))


async def _without(
    program: Program, opened: Mapping[str, str], *, until: tuple[Canary, set[str]] | None = None
) -> None:
    """A Chromium that nobody guards, for a while, or `until` these were reached."""
    from playwright.async_api import Error, async_playwright

    rules = ",".join(f"MAP {name} 127.0.0.1" for name in INSIDE_NAMES)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program.path,
            args=[f"--host-resolver-rules={rules}"],
            chromium_sandbox=os.geteuid() != 0,
        )
        context = await browser.new_context()

        async def visit(url: str) -> None:
            page = await context.new_page()
            with contextlib.suppress(Error):
                await page.goto(url, timeout=10_000)
            if until is None:
                await page.wait_for_timeout(AFTER * 1000)
            else:
                await _reached(*until)

        await asyncio.gather(*(visit(url) for url in opened.values()))
        await browser.close()


async def _reached(canary: Canary, names: set[str]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            while not names <= canary.reached:
                await canary.news.wait()
                canary.news.clear()
