"""A proxy that a profile names: guarded, asked for everything, its password told to nobody else."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from sentinel.errors import CheckFailure
from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.proxy import FilteringProxy
from sentinel.fetch.upstream import read_proxy
from sentinel.model import FetchProfile
from tests.sentinel.fetch.forward import Forward, forwarding
from tests.sentinel.fetch.test_proxy import ask, connect, get, line
from tests.sentinel.fetch.world import Names, Switchboard
from tests.support.http import Reply, Site

HOST = "93.184.216.40"
PROXY = f"http://us%40er:s3cret@{HOST}:3128"
#: As it goes over the wire.
SHOWN = base64.b64encode(b"us@er:s3cret").decode()


@pytest.fixture
async def forward(site: Site, switchboard: Switchboard) -> AsyncIterator[Forward]:
    async with forwarding(site) as forward:
        switchboard.connect(HOST, forward.port)
        yield forward


async def test_a_page_comes_through_the_proxy_by_absolute_form(
    fetcher: Fetcher, forward: Forward, site: Site, switchboard: Switchboard, names: Names
) -> None:
    site.route("/page", Reply(body="<p>19,99 €</p>"))
    page = await fetcher.fetch("http://far.example.org/page", FetchProfile(proxy=PROXY))
    assert "19,99" in page.text
    (head,) = forward.asked
    assert head[0] == "GET http://far.example.org/page HTTP/1.1"
    assert f"proxy-authorization: Basic {SHOWN}".lower() in [one.lower() for one in head]
    assert switchboard.dialled == [(HOST, 3128)]
    assert names.asked == []  # the page's name is the proxy's to look up


async def test_a_secure_page_is_asked_for_by_connect(fetcher: Fetcher, forward: Forward) -> None:
    with pytest.raises(FetchFailure):  # the site speaks no TLS
        await fetcher.fetch("https://far.example.org/page", FetchProfile(proxy=PROXY))
    assert forward.asked[0][0] == "CONNECT far.example.org:443 HTTP/1.1"
    assert SHOWN in " ".join(forward.asked[0])


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://10.0.0.1/", "http://169.254.169.254/", "http://localhost/"),
        *("http://db.internal/", "http://2130706433/", "https://[::1]/", "http://far.example.org:6379/"),
    ],
)
async def test_a_target_inside_is_not_asked_for(fetcher: Fetcher, forward: Forward, url: str) -> None:
    with pytest.raises(FetchFailure):
        await fetcher.fetch(url, FetchProfile(proxy=PROXY))
    assert forward.asked == []


async def test_a_redirect_inside_is_not_followed_through_the_proxy(
    fetcher: Fetcher, forward: Forward, site: Site
) -> None:
    site.route("/go", Reply(status=302, headers=[("Location", "http://10.0.0.1/")]))
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch("http://far.example.org/go", FetchProfile(proxy=PROXY))
    assert caught.value.code == "FETCH_REFUSED_ADDRESS"
    assert len(forward.asked) == 1


@pytest.mark.parametrize(
    ("proxy", "code"),
    [
        ("http://u:s3cret@127.0.0.1:3128", "FETCH_REFUSED_ADDRESS"),
        ("http://u:s3cret@localhost:3128", "FETCH_REFUSED_ADDRESS"),
        ("http://u:s3cret@inside.example.org:3128", "FETCH_REFUSED_ADDRESS"),
        ("http://u:s3cret@proxy.example.org:6379", "FETCH_REFUSED_ADDRESS"),
        ("http://u:s3cret@proxy.example.org:9999", "FETCH_REFUSED_ADDRESS"),
        ("http://u:s3cret@0x7f.1:3128", "FETCH_REFUSED_ADDRESS"),
        ("socks5://u:s3cret@proxy.example.org:1080", "FETCH_BAD_URL"),
        ("http://u:s3cret@a@proxy.example.org", "FETCH_BAD_URL"),
        ("http://u:s3cret@proxy.example.org/s3cret", "FETCH_BAD_URL"),
        ("http://u:s3cret@", "FETCH_BAD_URL"),
        ("s3cret", "FETCH_BAD_URL"),
        ("", "FETCH_BAD_URL"),
    ],
)
async def test_a_proxy_that_may_not_be_dialled_is_refused_without_its_password(
    fetcher: Fetcher, names: Names, switchboard: Switchboard, proxy: str, code: str
) -> None:
    names.set("inside.example.org", ["127.0.0.1"])
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch("http://shop.example.org/", FetchProfile(proxy=proxy))
    assert caught.value.code == code
    assert "s3cret" not in f"{caught.value} {caught.value.detail} {caught.value.partial}"
    assert switchboard.dialled == []


async def test_what_a_proxy_refuses_is_told_as_its_refusal(fetcher: Fetcher, forward: Forward) -> None:
    forward.answer = "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"
    for url in ("https://far.example.org/", "http://far.example.org/"):
        with pytest.raises(FetchFailure) as caught:
            await fetcher.fetch(url, FetchProfile(proxy=PROXY))
        assert "407" in caught.value.detail
        assert "s3cret" not in str(caught.value)


async def test_a_proxys_password_is_in_no_repr() -> None:
    proxy = read_proxy("https://u:s3cret@proxy.example.org:8443", NetworkPolicy())
    assert "s3cret" not in repr(proxy)
    with pytest.raises(CheckFailure):
        read_proxy("https://u:s3cret@10.0.0.1:8443", NetworkPolicy())


async def test_the_browsers_proxy_goes_on_through_it(
    names: Names, switchboard: Switchboard, forward: Forward, site: Site
) -> None:
    site.route("/last", Reply(body="hello", close=True))
    async with FilteringProxy(NetworkPolicy(), resolve=names, backend=switchboard) as proxy:
        ticket = proxy.admit(upstream=read_proxy(PROXY, NetworkPolicy()))
        assert (await ask(proxy, get("http://far.example.org/last", ticket))).endswith("hello")
        async with line(proxy) as tunnel:
            await tunnel.say(connect("far.example.org:443", ticket))
            assert (await tunnel.head()).startswith("HTTP/1.1 200 ")
            await tunnel.say("GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await tunnel.rest()).endswith("hello")
        assert [head[0] for head in forward.asked] == [
            "GET http://far.example.org/last HTTP/1.1",
            "CONNECT far.example.org:443 HTTP/1.1",
        ]
        assert all(SHOWN in " ".join(head) for head in forward.asked)
        for target in ("10.0.0.1:443", "localhost:443", "169.254.169.254:80"):
            assert (await ask(proxy, connect(target, ticket)))[9:12] == "403"
        forward.answer = "HTTP/1.1 403 No\r\n\r\n"
        assert (await ask(proxy, connect("far.example.org:443", ticket)))[9:12] == "403"
        assert len(forward.asked) == 3
        # Another ticket goes by itself.
        assert (await ask(proxy, get("http://shop.example.org/last", proxy.admit()))).endswith("hello")
        assert len(forward.asked) == 3
