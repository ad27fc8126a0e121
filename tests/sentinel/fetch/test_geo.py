"""`fetch.geo` and `fetch.proxy` as the other side sees them: from where, in which language, by whose line."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from sentinel.fetch import geo
from sentinel.fetch.browser import BrowserPool
from sentinel.fetch.fetcher import Fetcher, FetchFailure, check_profile
from sentinel.fetch.http import Limits
from sentinel.model import FetchProfile
from tests.sentinel.fetch.browsing import PRIVATE, html, new_pool, the_program
from tests.sentinel.fetch.forward import forwarding
from tests.support.fleets import free_port
from tests.support.http import Reply, Site

#: Says of its reader what a page can know.
KNOWS = html(
    "<p id=told></p><script>navigator.geolocation.getCurrentPosition(at => say([at.coords.latitude, "
    "at.coords.longitude]), () => say(['refused']));"
    "const say = where => document.querySelector('#told').append([navigator.language, "
    "Intl.DateTimeFormat().resolvedOptions().timeZone, ...where].join(' '))</script>"
)
BASIC = "proxy-authorization: basic " + base64.b64encode(b"us@er:s3cret").decode().lower()


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[BrowserPool]:
    async with new_pool(the_program()) as pool:
        yield pool


@pytest.fixture
async def looking(pool: BrowserPool, request: pytest.FixtureRequest) -> AsyncIterator[Fetcher]:
    the_program(request)
    async with Fetcher(PRIVATE, Limits(), browser=pool) as fetcher:
        yield fetcher


@pytest.mark.parametrize(
    ("written", "zone", "latitude", "longitude", "header"),
    [
        ("de-AT", "Europe/Vienna", 48, 16, "de-AT,de;q=0.9,en;q=0.5"),
        ("en-AU", "Australia/Sydney", -34, 151, "en-AU,en;q=0.9"),
        ("pt-BR", "America/Sao_Paulo", -24, -47, "pt-BR,pt;q=0.9,en;q=0.5"),
        ("uk-UA", "Europe/Kyiv", 50, 31, "uk-UA,uk;q=0.9,en;q=0.5"),
        ("en-US", "America/New_York", 41, -74, "en-US,en;q=0.9"),
    ],
)
def test_a_country_has_a_clock_and_a_place(
    written: str, zone: str, latitude: int, longitude: int, header: str
) -> None:
    found = geo.read_geo(written)
    assert found is not None
    assert (found.timezone, round(found.latitude), round(found.longitude)) == (zone, latitude, longitude)
    assert found.accept_language == header


def test_a_country_that_is_none_is_refused() -> None:
    (problem,) = check_profile(FetchProfile(geo="de-XX"))
    assert (problem.path, problem.message) == ("geo", "there is no country 'XX'")


async def test_over_http_the_language_is_said_unless_the_rule_says_another(site: Site) -> None:
    url = site.route("/p", Reply(body="<p>19,99 €</p>"))
    async with Fetcher(PRIVATE, Limits()) as fetcher:
        await fetcher.fetch(url, FetchProfile(geo="de-AT"))
        await fetcher.fetch(url, FetchProfile(geo="de-AT", headers={"accept-language": "sk"}))
    said = [request.headers["accept-language"] for request in site.requests_to("/p")]
    assert said == ["de-AT,de;q=0.9,en;q=0.5", "sk"]


async def test_a_browser_has_the_language_the_clock_and_the_place(looking: Fetcher, site: Site) -> None:
    url = site.route("/p", KNOWS)
    page = await looking.fetch(
        url, FetchProfile(geo="de-AT", wait_for_selector="#told:not(:empty)"), force_mode="headless"
    )
    assert "de-AT Europe/Vienna 48.2167 16.3333</p>" in page.text
    assert site.requests_to("/p")[-1].headers["accept-language"].startswith("de-AT")
    page = await looking.fetch(
        url, FetchProfile(wait_for_selector="#told:not(:empty)"), force_mode="headless"
    )
    assert "en-US UTC refused</p>" in page.text


async def test_a_browser_asks_the_rules_proxy_for_the_page_and_all_it_loads(
    looking: Fetcher, site: Site
) -> None:
    site.route("/page", html("<b></b><script src=/price.js></script>"))
    site.route(
        "/price.js",
        Reply(body="document.querySelector('b').append('19,99 €')", content_type="text/javascript"),
    )
    async with forwarding(site) as forward:
        proxy = f"http://us%40er:s3cret@127.0.0.1:{forward.port}"
        # A name that only the proxy knows.
        page = await looking.fetch(
            "http://far.example.org/page",
            FetchProfile(proxy=proxy, timeout=20),
            force_mode="headless",
            hope_for="b:not(:empty)",
        )
    assert "<b>19,99 €</b>" in page.text
    assert page.mode == "headless"
    asked = [head[0] for head in forward.asked]
    assert asked[:2] == [f"GET http://far.example.org/{path} HTTP/1.1" for path in ("page", "price.js")]
    assert all(BASIC in (line.lower() for line in head) for head in forward.asked)
    assert "s3cret" not in page.text + str(page.headers)


async def test_a_browsers_proxy_that_is_away_ends_the_check_without_its_password(looking: Fetcher) -> None:
    proxy = f"http://us%40er:s3cret@127.0.0.1:{free_port()}"
    with pytest.raises(FetchFailure) as caught:
        await looking.fetch(
            "http://far.example.org/", FetchProfile(proxy=proxy, timeout=4), force_mode="headless"
        )
    assert "s3cret" not in f"{caught.value} {caught.value.detail} {caught.value.partial}"
    assert caught.value.code.startswith("FETCH_")
