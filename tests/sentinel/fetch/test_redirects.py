"""Redirects are followed by hand: every hop is checked, and nothing private crosses an origin."""

from __future__ import annotations

import asyncio
import gzip

import httpx
import pytest

from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.http import Ask, Limits, _Hop
from sentinel.model import FetchProfile
from tests.sentinel.fetch.world import OTHER_PUBLIC, PUBLIC, Names, Switchboard, hostile, text_of
from tests.support.http import Reply, Request, Site

START = "http://shop.example.org/start"
PLAIN = FetchProfile()
ROWS = [(text_of(row), row["expected"]) for row in hostile("redirect")]
CREDENTIALS_ROW = "https://other.example.com/ (with Authorization and Cookie set)"


def to(location: str, *, status: int = 302, set_cookie: str | None = None) -> Reply:
    cookies = [("Set-Cookie", set_cookie)] if set_cookie else []
    return Reply(status=status, headers=[("Location", location), *cookies])


@pytest.mark.parametrize("location", [text for text, _ in ROWS if text != CREDENTIALS_ROW])
async def test_a_hostile_redirect_ends_the_fetch_and_dials_nothing(
    location: str, fetcher: Fetcher, switchboard: Switchboard, site: Site
) -> None:
    site.route("/start", to(location))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(START, PLAIN)
    assert caught.value.code in ("FETCH_BAD_URL", "FETCH_REFUSED_ADDRESS", "FETCH_TOO_LARGE")
    assert switchboard.dialled == [(PUBLIC, 80)]
    assert caught.value.partial is not None
    assert caught.value.partial.status == 302


def test_every_redirect_row_has_a_test() -> None:
    assert {expected for _, expected in ROWS} == {"refuse", "error_clean", "follow_without_credentials"}
    assert [text for text, expected in ROWS if expected.startswith("follow")] == [CREDENTIALS_ROW]


@pytest.mark.parametrize(
    "location",
    [
        "//127.0.0.1/",
        "///127.0.0.1/",
        "http://user:pass@example.com/",
        "http://example.com:22/",
        "http:\\\\127.0.0.1\\",
        "/\\127.0.0.1/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://inner.localhost/",
    ],
)
async def test_further_hostile_redirects_dial_nothing(
    location: str, fetcher: Fetcher, switchboard: Switchboard, site: Site
) -> None:
    site.route("/start", to(location))
    with pytest.raises(FetchFailure):
        await fetcher.fetch(START, PLAIN)
    assert switchboard.dialled == [(PUBLIC, 80)]


async def test_a_redirect_to_a_name_with_an_inner_address_is_refused(
    fetcher: Fetcher, names: Names, switchboard: Switchboard, site: Site
) -> None:
    names.set("rebind.example.com", ["10.0.0.1"])
    site.route("/start", to("http://rebind.example.com/"))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(START, PLAIN)
    assert caught.value.code == "FETCH_REFUSED_ADDRESS"
    assert switchboard.dialled == [(PUBLIC, 80)]


async def test_the_name_is_looked_up_anew_on_every_hop(fetcher: Fetcher, names: Names, site: Site) -> None:
    names.set("shop.example.org", [PUBLIC], ["127.0.0.1"])
    site.route("/start", to("/next"))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(START, PLAIN)
    assert caught.value.code == "FETCH_REFUSED_ADDRESS"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/next", "/next"),
        ("next", "/next"),
        ("//example.com/next", "/next"),
        ("http://example.com/next#part", "/next"),
        ("/ne%20xt", "/ne%20xt"),
        ("/ne xt", "/ne%20xt"),
        ("HTTP://EXAMPLE.COM/next", "/next"),
    ],
)
async def test_honest_redirects_are_followed(
    status: int, location: str, path: str, fetcher: Fetcher, site: Site
) -> None:
    site.route("/start", to(location, status=status))
    site.route(path, Reply(body="there"))
    page = await fetcher.fetch(START, PLAIN)
    assert page.text == "there"
    assert path in page.final_url
    assert page.url == START


async def test_five_redirects_are_followed_and_six_are_not(fetcher: Fetcher, site: Site) -> None:
    for hop in range(1, 7):
        site.route(f"/{hop}", to(f"/{hop - 1}"))
    site.route("/0", Reply(body="there"))
    assert (await fetcher.fetch("http://shop.example.org/5", PLAIN)).text == "there"
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch("http://shop.example.org/6", PLAIN)
    assert caught.value.code == "FETCH_HTTP_4XX"


async def test_a_redirect_loop_ends_after_six_requests(fetcher: Fetcher, site: Site) -> None:
    site.route("/start", to("/start"))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(START, PLAIN)
    assert len(site.requests) == 6
    assert "circle" in caught.value.detail


async def test_a_redirect_without_a_location_is_told_as_the_status_it_is(
    fetcher: Fetcher, site: Site
) -> None:
    site.route("/start", Reply(status=302, body="moved"))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(START, PLAIN)
    assert caught.value.code == "FETCH_HTTP_4XX"
    assert "302" in caught.value.detail


async def test_the_body_of_a_redirect_is_not_read(fetcher: Fetcher, site: Site) -> None:
    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /next\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    site.route("/start", endless)
    site.route("/next", Reply(body="there"))
    assert (await fetcher.fetch(START, PLAIN)).text == "there"


# --- credentials -------------------------------------------------------------------------------

SECRETIVE = FetchProfile(
    headers={
        "Authorization": "Bearer s3cret",
        "X-Api-Key": "s3cret",
        "Cookie": "a=s3cret",
        "Referer": "https://shop.example.org/?token=s3cret",
        "Accept-Language": "sk",
    },
    cookies={"sid": "s3cret"},
    user_agent="Watcher/1.0",
)


async def test_credentials_stay_at_the_first_origin(
    fetcher: Fetcher, switchboard: Switchboard, site: Site
) -> None:
    site.route("/start", to("http://other.example.com/landing"))
    site.route("/landing", Reply(body="there"))
    await fetcher.fetch(START, SECRETIVE)
    first, second = site.requests
    # Given to the origin the rule names
    assert first.headers["authorization"] == "Bearer s3cret"
    assert first.headers["x-api-key"] == "s3cret"
    assert first.headers["cookie"] == "a=s3cret; sid=s3cret"
    # And none of it to where that leads
    assert [address for address, _ in switchboard.dialled] == [PUBLIC, OTHER_PUBLIC]
    assert "s3cret" not in str(second.raw_headers)
    assert second.headers["accept-language"] == "sk"
    assert second.headers["user-agent"] == "Watcher/1.0"


async def test_credentials_do_not_come_back_with_a_second_redirect(fetcher: Fetcher, site: Site) -> None:
    site.route("/start", to("http://other.example.com/bounce"))
    site.route("/bounce", to("http://shop.example.org/landing"))
    site.route("/landing", Reply(body="there"))
    await fetcher.fetch(START, SECRETIVE)
    assert "s3cret" not in str(site.requests[-1].raw_headers)


async def test_another_port_is_another_origin(fetcher: Fetcher, site: Site) -> None:
    site.route("/start", to("http://shop.example.org:8080/landing"))
    site.route("/landing", Reply(body="there"))
    await fetcher.fetch(START, SECRETIVE)
    assert "s3cret" not in str(site.requests[-1].raw_headers)


async def test_credentials_follow_a_redirect_on_the_same_origin(fetcher: Fetcher, site: Site) -> None:
    site.route("/start", to("/landing"))
    site.route("/landing", Reply(body="there"))
    await fetcher.fetch(START, SECRETIVE)
    assert site.requests[-1].headers["authorization"] == "Bearer s3cret"


async def test_a_cookie_set_on_the_way_is_sent_on_the_way_and_then_forgotten(
    fetcher: Fetcher, site: Site
) -> None:
    # Given a page that loops until its cookie comes back
    site.route("/start", to("/landing", set_cookie="seen=1; Path=/; HttpOnly"))
    site.route("/landing", to("http://other.example.com/end"))
    site.route("/end", Reply(body="there"))
    await fetcher.fetch(START, PLAIN)
    start, landing, end = site.requests
    assert "cookie" not in start.headers
    assert landing.headers["cookie"] == "seen=1"
    assert "cookie" not in end.headers
    # And the next fetch knows nothing of it
    await fetcher.fetch(START, PLAIN)
    assert "cookie" not in site.requests[3].headers


async def test_a_flood_of_cookies_is_cut() -> None:
    hop = _Hop(Ask(url=httpx.URL(START), headers={}))
    flood = [("set-cookie", f"c{n}=v") for n in range(200)] + [("set-cookie", "big=" + "v" * 9000)]
    hop.follow(httpx.Headers(flood), "/next", NetworkPolicy())
    sent = hop.request(Limits()).headers["cookie"]
    assert sent.count("=") == 50
    assert "big" not in sent


@pytest.mark.parametrize(
    "location",
    [
        *(
            "gopher://example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "mailto:a@b.c",
        ),
        *("ftp://example.com/", "ws://example.com/", "tel:+1", "FILE:///x", "market://details?id=x"),
    ],
)
async def test_a_redirect_to_what_is_no_web_page_says_so(
    location: str, fetcher: Fetcher, site: Site, switchboard: Switchboard
) -> None:
    site.route("/", Reply(status=302, headers=[("Location", location)]))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch("http://shop.example.org/", FetchProfile(mode="http"))
    assert caught.value.code == "FETCH_BAD_URL"
    assert f"a {location.partition(':')[0].lower()}: address" in caught.value.detail
    assert len(switchboard.dialled) == 1


# --- by `Refresh` ---------------------------------------------------------------------------------------

WIDGET = Reply(body="<h1>Widget</h1><p class=price>10 €</p>")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body="<meta http-equiv=refresh content='0;url=/widget'>"),
        Reply(body='<META HTTP-EQUIV="Refresh" CONTENT="5; URL=&#47;widget">'),
        Reply(body="<html><head><title>x</title><meta content=\"3;url='/widget'\" http-equiv='refresh'></head></html>"),
        Reply(body="<meta http-equiv=refresh content='0, /widget'><p>Redirecting…</p>"),
        Reply(body="", headers={"Refresh": "0;url=/widget"}),
        Reply(body=gzip.compress(b"<meta http-equiv=refresh content='0;url=/widget'>"), headers={"Content-Encoding": "gzip"}),
    ],
)  # fmt: skip
async def test_an_empty_page_that_sends_on_is_a_redirect(fetcher: Fetcher, site: Site, reply: Reply) -> None:
    site.route("/start", reply)
    site.route("/widget", WIDGET)
    page = await fetcher.fetch(START, PLAIN)
    assert (page.final_url, "10 €" in page.text) == ("http://shop.example.org/widget", True)


@pytest.mark.parametrize(
    "body",
    [
        "<meta http-equiv=refresh content='60;url=/widget'>",
        "<meta http-equiv=refresh content='0'>",
        "<meta http-equiv=refresh content='0;url=/start'>",
        "<meta http-equiv=refresh content='0;url=http://shop.example.org/start'>",
    ],
)
async def test_an_empty_page_that_comes_again_is_empty(fetcher: Fetcher, site: Site, body: str) -> None:
    site.route("/start", Reply(body=body))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(START, PLAIN)
    assert caught.value.code == "PAGE_EMPTY"
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        "<meta http-equiv=refresh content='5;url=/widget'><p id=n>42</p>",
        "<meta http-equiv=refresh content='0;url=/widget'><p>" + "A page of its own. " * 20,
        "<noscript><meta http-equiv=refresh content='0;url=/widget'></noscript><script>fill()</script>",
        "<!-- <meta http-equiv=refresh content='0;url=/widget'> --><p>x",
        "<meta http-equiv=refresh content='soon'>",
    ],
)
async def test_a_page_that_says_something_is_read_as_it_is(fetcher: Fetcher, site: Site, body: str) -> None:
    site.route("/start", Reply(body=body))
    assert (await fetcher.fetch(START, PLAIN)).text == body


async def test_sending_on_is_held_to_what_redirects_are(
    fetcher: Fetcher, site: Site, switchboard: Switchboard
) -> None:
    site.route(
        "/start", Reply(body="<meta http-equiv=refresh content='0;url=http://169.254.169.254/latest'>")
    )
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(START, PLAIN)
    assert caught.value.code == "FETCH_REFUSED_ADDRESS"
    assert switchboard.dialled == [(PUBLIC, 80)]

    for here, there in (("/start", "/other"), ("/other", "/start")):
        site.route(here, Reply(body=f"<meta http-equiv=refresh content='0;url={there}'>"))
    with pytest.raises(FetchFailure, match="in a circle"):
        await fetcher.fetch(START, PLAIN)
    assert len(site.requests) == 1 + Limits().redirects + 1
