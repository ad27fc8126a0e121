"""Which way is taken: by HTTP, by a browser, one after the other, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sentinel.fetch.browser import BrowserPool
from sentinel.fetch.browser_program import find_program
from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.http import Limits
from sentinel.fetch.modes import REMEMBERED, Mode, Worked, first_mode, is_empty_shell, wall
from sentinel.model import FetchModeName, FetchProfile
from tests.sentinel.fetch.browsing import LATE, PRIVATE, html, new_pool, the_program, way_out
from tests.support.http import Reply, Request, Site, send

AUTO = FetchProfile()
WALL = html("<h1>403 Forbidden</h1>", status=403)


@pytest.mark.parametrize(
    ("wanted", "forced", "worked", "browser", "first"),
    [
        ("auto", None, Worked(), True, "http"),
        ("auto", None, Worked("http", 5.0), True, "http"),
        ("auto", None, Worked("headless", 5.0), True, "headless"),
        ("auto", None, Worked("headless", REMEMBERED - 1), True, "headless"),
        ("auto", None, Worked("headless", REMEMBERED), True, "http"),  # it may be enough by now
        ("auto", None, Worked("headless", -5.0), True, "http"),  # a clock that was set back
        ("auto", None, Worked("neither", 5.0), True, "http"),
        ("auto", None, Worked("headless", 5.0), False, "http"),
        ("auto", "headless", Worked("http", 5.0), False, "headless"),
        ("headless", "http", Worked("headless", 5.0), True, "http"),
        ("headless", None, Worked(), False, "headless"),
        ("http", None, Worked("headless", 5.0), True, "http"),
    ],
)
def test_the_first_way_follows_force_then_the_rule_then_memory(
    wanted: FetchModeName, forced: Mode | None, worked: Worked, browser: bool, first: Mode
) -> None:
    mode, reason = first_mode(wanted, forced, worked, browser=browser)
    assert mode == first
    assert (reason is not None) == (wanted == "auto" and forced is None and first == "headless")


@pytest.mark.parametrize(
    ("worked", "rests"),
    [
        (Worked(), 0),
        (Worked("http", 5.0, 9.0), 0),
        (Worked("neither", 0.0, 60.0), 600),
        (Worked("neither", 599.0, 60.0), 1),
        (Worked("neither", 600.0, 60.0), 0),
        (Worked("neither", 600.0, 1200.0), 600),
        (Worked("neither", 0.0, 1e7), 86_400),
        (Worked("neither", 86_400.0, 1e7), 0),
        (Worked("neither", 0.0), 3600),  # never good
        (Worked("neither", -5.0, 60.0), 0),  # a clock that was set back
    ],
)
def test_a_browser_that_did_not_help_rests_as_long_as_there_was_nothing_good(
    worked: Worked, rests: float
) -> None:
    assert worked.rests == rests


@pytest.mark.parametrize(
    ("markup", "shell"),
    [
        ("<div id=root></div><script src=/app.js></script>", True),
        (
            "<noscript>You need to enable JavaScript</noscript><div id=app></div><script src=/a.js></script>",
            True,
        ),
        (LATE, True),
        ("<p>Loading...</p><script>" + "x = 1;" * 200 + "</script>", True),
        ("<p>Price: 5</p>", False),
        ("<p>" + "words " * 60 + "</p><script src=/a.js></script><script src=/b.js></script>", False),
        (
            '<script type="application/ld+json">{"@type": "Product"}</script><script src=/a.js></script>',
            False,
        ),
        ("<script>" * 20_000, True),  # in linear time
        ("", False),
    ],
)
def test_a_shell_says_little_and_has_much_script(markup: str, shell: bool) -> None:
    assert is_empty_shell(markup) is shell


def test_a_rate_limit_is_no_wall_that_a_browser_gets_over() -> None:
    assert wall("BLOCK_RATE_LIMIT_429", "") is None
    assert wall("PAGE_LOGIN", "") is None
    assert wall("BLOCK_FORBIDDEN_403", "no") == "BLOCK_FORBIDDEN_403: no"


# --- with a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[BrowserPool]:
    async with new_pool(the_program()) as pool:
        yield pool


@pytest.fixture
async def both(pool: BrowserPool, request: pytest.FixtureRequest) -> AsyncIterator[Fetcher]:
    the_program(request)
    async with Fetcher(PRIVATE, Limits(), browser=pool) as fetcher:
        yield fetcher


async def test_a_page_that_http_brings_is_not_asked_for_again(both: Fetcher, site: Site) -> None:
    found = await both.fetch(site.route("/", html("<p>19,99 €</p>")), AUTO)
    assert (found.mode, found.fallback_reason, len(site.requests)) == ("http", None, 1)


async def test_a_shell_is_looked_at_by_a_browser(both: Fetcher, site: Site) -> None:
    found = await both.fetch(site.route("/", Reply(body=LATE)), AUTO, hope_for=".price")
    assert "19,99 €" in found.text
    assert (found.mode, found.fallback_reason) == ("headless", "an empty shell: little text and much script")


async def test_a_wall_that_stops_programs_is_looked_at_by_a_browser_and_says_why(
    both: Fetcher, site: Site
) -> None:
    async def door(request: Request, writer: object) -> None:
        shown = html("<p>19,99 €</p>") if "sec-ch-ua" in request.headers else WALL
        await send(shown, request, writer)  # type: ignore[arg-type]

    found = await both.fetch(site.route("/", door), AUTO)
    assert "19,99 €" in found.text
    assert (found.mode, found.status) == ("headless", 200)
    assert found.fallback_reason == (
        "BLOCK_FORBIDDEN_403: the server answered 403 Forbidden: the server denies access"
    )


async def test_a_wall_for_browsers_too_is_told_with_how_it_was_tried(both: Fetcher, site: Site) -> None:
    with pytest.raises(FetchFailure) as failed:
        await both.fetch(site.route("/", WALL), AUTO)
    assert failed.value.code == "BLOCK_FORBIDDEN_403"
    assert failed.value.partial is not None
    assert failed.value.partial.mode == "headless"
    assert "BLOCK_FORBIDDEN_403" in (failed.value.partial.fallback_reason or "")


@pytest.mark.parametrize(
    "reply", [html("no", status=429), html("gone", status=404), html("down", status=500)]
)
async def test_what_a_browser_cannot_better_is_not_asked_for_again(
    both: Fetcher, site: Site, reply: Reply
) -> None:
    with pytest.raises(FetchFailure):
        await both.fetch(site.route("/", reply), AUTO)
    assert len(site.requests) == 1


async def test_what_was_remembered_is_asked_at_once_and_told(both: Fetcher, site: Site) -> None:
    found = await both.fetch(site.route("/", html("<p>here")), AUTO, worked=Worked("headless", 86400.0))
    assert (found.mode, len(site.requests)) == ("headless", 1)
    assert found.fallback_reason == "remembered: http was not enough; it is tried again in 6.0 days"


async def test_force_wins_both_ways(both: Fetcher, site: Site) -> None:
    url = site.route("/", Reply(body=LATE))
    assert (await both.fetch(url, FetchProfile(mode="headless"), force_mode="http")).mode == "http"
    assert (await both.fetch(url, FetchProfile(mode="http"), force_mode="headless")).mode == "headless"
    assert (await both.fetch(url, AUTO, force_mode="http")).mode == "http"


async def test_a_browser_goes_where_the_guard_lets_it_and_says_who_refused(
    site: Site, request: pytest.FixtureRequest
) -> None:
    program = the_program(request)
    strict = NetworkPolicy()
    async with BrowserPool(program, way_out(strict)) as pool, Fetcher(strict, browser=pool) as fetcher:
        with pytest.raises(FetchFailure) as refused:
            await fetcher.fetch(site.route("/", html("inside")), FetchProfile(mode="headless"))
    assert refused.value.code == "FETCH_REFUSED_ADDRESS"
    assert refused.value.partial is None
    assert site.requests == []


async def test_no_connection_is_told_as_such(both: Fetcher, site: Site) -> None:
    site.route("/hop", Reply(status=302, headers={"Location": "http://127.0.0.1:22/"}))
    for path, code in (
        (f"{site.url}/hop", "FETCH_REFUSED_ADDRESS"),
        ("http://127.0.0.1:9999/", "FETCH_CONNECTION"),
    ):
        with pytest.raises(FetchFailure) as failed:
            await both.fetch(path, FetchProfile(mode="headless"))
        assert failed.value.code == code


# --- without one ------------------------------------------------------------------------------------


async def test_without_a_browser_auto_goes_on_by_http_and_headless_says_what_to_install(site: Site) -> None:
    none = BrowserPool(find_program("none"), way_out(PRIVATE))
    async with none, Fetcher(PRIVATE, browser=none) as fetcher:
        url = site.route("/", Reply(body=LATE))
        assert (await fetcher.fetch(url, AUTO, worked=Worked("headless", 5.0))).mode == "http"
        with pytest.raises(FetchFailure, match="SYSTEM_BROWSER: the browser is switched off"):
            await fetcher.fetch(url, FetchProfile(mode="headless"))
        with pytest.raises(FetchFailure, match="BLOCK_FORBIDDEN_403"):
            await fetcher.fetch(site.route("/wall", WALL), AUTO)
