"""What an answer means, what is asked and how, and what a failure still knows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

import pytest

from sentinel.errors import ERROR_CODES
from sentinel.fetch.fetcher import Fetcher, FetchFailure, check_profile
from sentinel.fetch.guard import USER_AGENT, NetworkPolicy
from sentinel.model import FetchProfile
from tests.sentinel.fetch.world import PUBLIC, Names, Switchboard
from tests.support.http import Reply, Site

PLAIN = FetchProfile()
NOW = 1_750_000_000.0


Mode = Literal["http", "headless"]


async def failure(
    fetcher: Fetcher, url: str, profile: FetchProfile = PLAIN, *, force_mode: Mode | None = None
) -> FetchFailure:
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(url, profile, force_mode=force_mode)
    return caught.value


async def test_a_page_comes_with_everything_known_of_it(inner_fetcher: Fetcher, site: Site) -> None:
    url = site.route("/p", Reply(body="<p>19,99 €</p>", headers={"ETag": '"1"', "Set-Cookie": "id=s3cret"}))
    page = await inner_fetcher.fetch(url, PLAIN)
    assert (page.status, page.mode, page.blocked, page.not_modified) == (200, "http", None, False)
    assert page.text == "<p>19,99 €</p>"
    assert page.body == "<p>19,99 €</p>".encode()
    assert page.url == page.final_url == url
    assert page.content_type == "text/html"
    assert page.headers["etag"] == '"1"'
    assert page.wire_bytes == len(page.body)
    assert set(page.timings) == {"dns", "connect", "ttfb", "body", "total"}
    assert (
        page.timings["total"]
        >= sum(page.timings[stage] for stage in ("dns", "connect", "ttfb", "body")) - 1e-5
    )
    # A session cookie of the page is a secret, and nobody needs it later
    assert "s3cret" not in repr(page)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "FETCH_HTTP_4XX"),
        (401, "FETCH_HTTP_4XX"),
        (403, "BLOCK_FORBIDDEN_403"),
        (404, "FETCH_HTTP_4XX"),
        (410, "FETCH_HTTP_4XX"),
        (429, "BLOCK_RATE_LIMIT_429"),
        (451, "FETCH_HTTP_4XX"),
        (500, "FETCH_HTTP_5XX"),
        (502, "FETCH_HTTP_5XX"),
        (503, "FETCH_HTTP_5XX"),
        (599, "FETCH_HTTP_5XX"),
        (300, "FETCH_HTTP_4XX"),
        (304, "FETCH_HTTP_4XX"),
    ],
)
async def test_a_status_that_is_no_page_has_its_code(
    status: int, code: str, inner_fetcher: Fetcher, site: Site
) -> None:
    url = site.route("/p", Reply(status=status, body="<p>sorry</p>"))
    caught = await failure(inner_fetcher, url)
    assert caught.code == code
    assert code in ERROR_CODES
    assert str(status) in caught.detail
    assert caught.partial is not None
    assert caught.partial.status == status
    assert caught.partial.final_url == url
    assert caught.partial.timings["total"] > 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999999", 86400.0),
        ("-5", None),
        ("soon", None),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), 0.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_how_long_a_server_asks_us_to_wait_is_passed_on(
    status: int, value: str, seconds: float | None, site: Site
) -> None:
    url = site.route("/p", Reply(status=status, headers={"Retry-After": value}))
    async with Fetcher(NetworkPolicy(allow_private=True), now=lambda: NOW) as fetcher:
        assert (await failure(fetcher, url)).retry_after == seconds


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=""),
        Reply(body=" \n\t "),
        Reply(status=204),
        Reply(body=b"\x00\x00", content_type="text/html"),
    ],
)
async def test_nothing_is_not_a_page(reply: Reply, inner_fetcher: Fetcher, site: Site) -> None:
    assert (await failure(inner_fetcher, site.route("/p", reply))).code == "PAGE_EMPTY"


async def test_a_wall_sent_as_a_good_page_is_a_page_that_says_so(inner_fetcher: Fetcher, site: Site) -> None:
    body = '<title>Robot check</title><form><div class="g-recaptcha"></div>Are you a human?</form>'
    page = await inner_fetcher.fetch(site.route("/p", Reply(body=body)), PLAIN)
    assert page.blocked == "BLOCK_CAPTCHA_SUSPECTED"
    assert page.block_confidence > 0.6
    assert page.block_detail


async def test_a_challenge_is_told_from_a_plain_403(inner_fetcher: Fetcher, site: Site) -> None:
    url = site.route(
        "/p", Reply(status=403, headers={"cf-mitigated": "challenge"}, body="<title>Just a moment...</title>")
    )
    assert (await failure(inner_fetcher, url)).code == "BLOCK_CLOUDFLARE_SUSPECTED"


async def test_maintenance_is_told_from_a_plain_503(inner_fetcher: Fetcher, site: Site) -> None:
    body = "<h1>Down for maintenance</h1><p>We'll be back soon.</p>"
    url = site.route("/p", Reply(status=503, headers={"Retry-After": "600"}, body=body))
    caught = await failure(inner_fetcher, url)
    assert (caught.code, caught.retry_after) == ("PAGE_MAINTENANCE", 600.0)


# --- conditional requests ----------------------------------------------------------------------


async def test_a_page_that_did_not_change_comes_back_empty(inner_fetcher: Fetcher, site: Site) -> None:
    url = site.route("/p", Reply(status=304, headers={"ETag": '"1"'}))
    page = await inner_fetcher.fetch(url, PLAIN, etag='"1"', last_modified="Mon, 01 Jan 2024 00:00:00 GMT")
    assert page.not_modified
    assert (page.status, page.body, page.text) == (304, b"", "")
    assert site.requests[0].headers["if-none-match"] == '"1"'
    assert site.requests[0].headers["if-modified-since"] == "Mon, 01 Jan 2024 00:00:00 GMT"


async def test_validators_follow_a_redirect_to_the_page_they_are_of(
    inner_fetcher: Fetcher, site: Site
) -> None:
    url = site.route("/p", Reply(status=301, headers={"Location": "/q"}))
    site.route("/q", Reply(status=304))
    page = await inner_fetcher.fetch(url, PLAIN, etag='W/"2"')
    assert page.not_modified
    assert page.final_url.endswith("/q")


async def test_a_validator_that_is_no_header_value_is_left_out(inner_fetcher: Fetcher, site: Site) -> None:
    url = site.route("/p", Reply(body="<p>x</p>"))
    await inner_fetcher.fetch(url, PLAIN, etag='"1"\r\nX-Injected: 1', last_modified="")
    assert "if-none-match" not in site.requests[0].headers
    assert "x-injected" not in site.requests[0].headers


# --- what is asked -----------------------------------------------------------------------------


async def test_a_page_is_asked_for_as_a_browser_would_with_our_own_name(
    inner_fetcher: Fetcher, site: Site
) -> None:
    await inner_fetcher.fetch(site.route("/p", Reply(body="<p>x</p>")), PLAIN)
    headers = site.requests[0].headers
    assert headers["user-agent"] == USER_AGENT
    assert "Sentinel" in USER_AGENT
    assert headers["accept"].startswith("text/html")
    assert headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert headers["host"] == f"127.0.0.1:{site.port}"
    assert len({name.lower() for name, _ in site.requests[0].raw_headers}) == len(
        site.requests[0].raw_headers
    )


async def test_the_profiles_headers_replace_ours(inner_fetcher: Fetcher, site: Site) -> None:
    profile = FetchProfile(
        user_agent="Watcher/1.0",
        headers={"accept-language": "sk", "ACCEPT": "text/plain", "X-Shop": "Bratislava – Staré Mesto"},
        cookies={"a": "1", "b": "2"},
    )
    await inner_fetcher.fetch(site.route("/p", Reply(body="<p>x</p>")), profile)
    request = site.requests[0]
    assert request.headers["user-agent"] == "Watcher/1.0"
    assert request.headers["accept-language"] == "sk"
    assert request.headers["accept"] == "text/plain"
    assert request.headers["cookie"] == "a=1; b=2"
    assert request.headers["x-shop"].encode("latin-1").decode() == "Bratislava – Staré Mesto"
    names = [name.lower() for name, _ in request.raw_headers]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("profile", "path"),
    [
        (FetchProfile(headers={"X": "a\r\nX-Injected: 1"}), "headers.X"),
        (FetchProfile(headers={"X": "a\x00"}), "headers.X"),
        (FetchProfile(headers={"X": " a"}), "headers.X"),
        (FetchProfile(headers={"X": "a\ud800"}), "headers.X"),
        (FetchProfile(headers={"Bad Name": "a"}), "headers.Bad Name"),
        (FetchProfile(headers={"": "a"}), "headers."),
        (FetchProfile(headers={"Ä": "a"}), "headers.Ä"),
        (FetchProfile(headers={"Host": "127.0.0.1"}), "headers.Host"),
        (FetchProfile(headers={"Transfer-Encoding": "chunked"}), "headers.Transfer-Encoding"),
        (FetchProfile(headers={"accept-encoding": "compress"}), "headers.accept-encoding"),
        (FetchProfile(cookies={"a": "1; b=2"}), "cookies.a"),
        (FetchProfile(cookies={"a b": "1"}), "cookies.a b"),
        (FetchProfile(cookies={"a": "1\r\n"}), "cookies.a"),
        (FetchProfile(user_agent="x\r\ny"), "userAgent"),
    ],
)
async def test_a_profile_that_cannot_be_sent_is_refused_before_anything_is(
    profile: FetchProfile, path: str, inner_fetcher: Fetcher, site: Site
) -> None:
    assert [problem.path for problem in check_profile(profile)] == [path]
    caught = await failure(inner_fetcher, site.url + "/p", profile)
    assert caught.code == "RULE_INVALID"
    assert site.connections == 0


def test_a_profile_with_secrets_shows_none_in_its_problems() -> None:
    profile = FetchProfile(headers={"Authorization": "s3cret\n"}, cookies={"sid": "s3cret;"})
    problems = check_profile(profile)
    assert len(problems) == 2
    assert "s3cret" not in str(problems)


# --- ways --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "force", "works"),
    [
        ("http", None, True),
        ("auto", None, True),
        ("headless", None, False),
        ("headless", "http", True),
        ("http", "headless", False),
        ("auto", "headless", False),
    ],
)
async def test_the_forced_mode_wins_and_a_browser_is_told_to_be_missing(
    mode: Literal["http", "headless", "auto"],
    force: Mode | None,
    works: bool,
    inner_fetcher: Fetcher,
    site: Site,
) -> None:
    url = site.route("/p", Reply(body="<p>x</p>"))
    profile = FetchProfile(mode=mode)
    if works:
        page = await inner_fetcher.fetch(url, profile, force_mode=force)
        assert page.mode == "http"
    else:
        assert (await failure(inner_fetcher, url, profile, force_mode=force)).code == "SYSTEM_BROWSER"
        assert site.connections == 0


# --- what a failure knows ----------------------------------------------------------------------


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1/", "http://example.com:22/"])
async def test_of_a_refused_url_nothing_is_known_and_nothing_was_dialled(
    url: str, fetcher: Fetcher, names: Names, switchboard: Switchboard
) -> None:
    caught = await failure(fetcher, url)
    assert caught.partial is None
    assert (names.asked, switchboard.dialled) == ([], [])


async def test_of_a_name_with_a_bad_address_nothing_is_known(fetcher: Fetcher, names: Names) -> None:
    names.set("shop.example.org", ["10.0.0.1"])
    caught = await failure(fetcher, "http://shop.example.org/")
    assert caught.code == "FETCH_REFUSED_ADDRESS"
    assert caught.partial is None


async def test_of_a_dead_name_the_time_it_took_is_known(fetcher: Fetcher) -> None:
    caught = await failure(fetcher, "http://gone.example.org/")
    assert caught.code == "FETCH_DNS"
    assert caught.partial is not None
    assert caught.partial.status == 0
    assert "dns" in caught.partial.timings


async def test_of_a_dead_server_the_code_is_a_connection(fetcher: Fetcher, names: Names) -> None:
    names.set("shop.example.org", ["93.184.216.99"])
    caught = await failure(fetcher, "http://shop.example.org/")
    assert caught.code == "FETCH_CONNECTION"
    assert caught.partial is not None
    assert caught.partial.status == 0


async def test_of_a_page_cut_short_status_and_bytes_are_known(
    fetcher: Fetcher, switchboard: Switchboard, site: Site
) -> None:
    site.route("/", Reply(body="x" * 1000, cut_after=400))
    caught = await failure(fetcher, "http://shop.example.org/")
    assert caught.code == "FETCH_CONNECTION"
    assert caught.partial is not None
    assert (caught.partial.status, caught.partial.wire_bytes) == (200, 400)
    assert switchboard.dialled == [(PUBLIC, 80)]


async def test_the_fetcher_serves_many_fetches_at_once(inner_fetcher: Fetcher, site: Site) -> None:
    urls = [site.route(f"/{n}", Reply(body=f"<p>{n}</p>", delay=0.01)) for n in range(30)]
    pages = await asyncio.gather(*(inner_fetcher.fetch(url, PLAIN) for url in urls))
    assert [page.text for page in pages] == [f"<p>{n}</p>" for n in range(30)]
    assert all(page.timings["connect"] >= 0 for page in pages)
