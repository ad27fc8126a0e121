"""The filtering proxy: who may use it, what it lets through, what a ticket's end means."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

import pytest

from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.proxy import MAX_HEAD, Budget, FilteringProxy, Ticket
from tests.sentinel.fetch.world import Names, Switchboard
from tests.support.http import Reply, Site


@pytest.fixture
async def proxy(names: Names, switchboard: Switchboard) -> AsyncIterator[FilteringProxy]:
    """Strict, on the small internet."""
    async with FilteringProxy(NetworkPolicy(), resolve=names, backend=switchboard, head_seconds=0.5) as proxy:
        yield proxy


class Line:
    """A connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, text: str) -> None:
        self.writer.write(text.encode("latin-1"))
        await self.writer.drain()

    async def head(self) -> str:
        return (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")

    async def rest(self) -> str:
        """Until it is closed."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := await asyncio.wait_for(self.reader.read(65536), 10):
                data += piece
        return data.decode("latin-1")


@contextlib.asynccontextmanager
async def line(proxy: FilteringProxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.server.rpartition(":")[2]))
    try:
        yield Line(reader, writer)
    finally:
        writer.close()


def shown(ticket: Ticket, *, password: str | None = None) -> str:
    pair = f"{ticket.username}:{ticket.password if password is None else password}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


async def ask(proxy: FilteringProxy, request: str) -> str:
    async with line(proxy) as open_line:
        await open_line.say(request)
        return await open_line.rest()


def get(url: str, ticket: Ticket, headers: str = "") -> str:
    return f"GET {url} HTTP/1.1\r\nHost: x\r\n{shown(ticket)}{headers}\r\n"


def connect(target: str, ticket: Ticket) -> str:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{shown(ticket)}\r\n"


async def test_a_plain_request_and_a_tunnel_reach_the_public_server(
    proxy: FilteringProxy, site: Site, switchboard: Switchboard
) -> None:
    site.route(
        "/page",
        Reply(
            body="hello",
            headers=[("X-Kept", "1"), ("Proxy-Thing", "2"), ("X-Hop", "3"), ("Connection", "X-Hop")],
        ),
    )
    site.route("/last", Reply(body="hello", close=True))
    ticket = proxy.admit()
    plain = await ask(
        proxy,
        get(
            "http://shop.example.org/page?q=1", ticket, "Proxy-Connection: x\r\nUpgrade: h2c\r\nX-Mine: 1\r\n"
        ),
    )
    assert plain.startswith("HTTP/1.1 200 ")
    assert plain.endswith("hello")
    assert "x-kept: 1" in plain.lower()
    assert "proxy-thing" not in plain.lower()
    assert "x-hop" not in plain.lower()
    seen = site.requests[-1]
    assert (seen.target, seen.headers["host"]) == ("/page?q=1", "shop.example.org")
    assert seen.headers["x-mine"] == "1"
    assert not {"proxy-authorization", "proxy-connection", "upgrade"} & seen.headers.keys()
    async with line(proxy) as tunnel:
        await tunnel.say(connect("shop.example.org:443", ticket))
        assert (await tunnel.head()).startswith("HTTP/1.1 200 ")
        await tunnel.say("GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await tunnel.rest()).endswith("hello")
    assert [port for _, port in switchboard.dialled] == [80, 443]
    assert ticket.connections == 2
    assert ticket.bytes > 10
    assert ticket.refused == []


async def test_a_body_is_passed_on_with_a_length_and_in_chunks(proxy: FilteringProxy, site: Site) -> None:
    site.route("/form", Reply(body="taken"))
    ticket = proxy.admit()
    head = f"POST http://shop.example.org/form HTTP/1.1\r\nHost: x\r\n{shown(ticket)}"
    await ask(proxy, f"{head}Content-Length: 5\r\n\r\nabcde")
    await ask(proxy, f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert [request.body for request in site.requests] == [b"abcde", b"abc"]


@pytest.mark.parametrize("how", ["none", "password", "name", "nonsense", "two", "bearer", "closed"])
async def test_without_a_good_ticket_nothing_is_dialled(
    proxy: FilteringProxy, switchboard: Switchboard, names: Names, how: str
) -> None:
    ticket = proxy.admit()
    if how == "closed":
        ticket.close()
    words = {
        "none": "",
        "password": shown(ticket, password="x" * 32),
        "name": "Proxy-Authorization: Basic eDp5\r\n",
        "nonsense": "Proxy-Authorization: Basic \xff\xfe\r\n",
        "two": shown(ticket) * 2,
        "bearer": f"Proxy-Authorization: Bearer {ticket.password}\r\n",
        "closed": shown(ticket),
    }[how]
    for request in ("CONNECT shop.example.org:443", "GET http://shop.example.org/"):
        answer = await ask(proxy, f"{request} HTTP/1.1\r\nHost: x\r\n{words}\r\n")
        assert answer.startswith("HTTP/1.1 407 ")
        assert "proxy-authenticate: basic" in answer.lower()
    assert switchboard.dialled == []
    assert names.asked == []


REFUSED = [
    *("127.0.0.1:80", "127.0.0.1:443", "[::1]:443", "[::ffff:127.0.0.1]:443", "2130706433:443", "0x7f.1:443"),
    *("169.254.169.254:80", "localhost:443", "app.localhost:443", "db.internal:443", "shop.example.org:22"),
    *(
        "shop.example.org:6379",
        "shop.example.org:99999",
        "shop.example.org:0",
        "shop.example.org",
        "a@b.com:443",
    ),
    *("shop.example.org:443/x", "shop.example.org:443#x", "sh%6fp.example.org:443", "rebind.example.org:443"),
    *("mixed.example.org:443", "nowhere.example.org:443", "update.googleapis.com:443", "*:443", ":443"),
]


@pytest.mark.parametrize("target", REFUSED)
async def test_a_tunnel_to_what_the_guard_refuses_is_not_dialled(
    proxy: FilteringProxy, names: Names, switchboard: Switchboard, target: str
) -> None:
    names.set("rebind.example.org", ["127.0.0.1"])
    names.set("mixed.example.org", ["93.184.216.34", "10.0.0.1"])
    ticket = proxy.admit()
    assert (await ask(proxy, connect(target, ticket))).startswith("HTTP/1.1 403 ")
    assert switchboard.dialled == []
    (refusal,) = ticket.refused
    assert refusal.target == target
    assert refusal.code.startswith("FETCH_")
    assert refusal.reason


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://2130706433/", "http://[::1]/", "http://user:p@shop.example.org/"),
        *("https://shop.example.org/", "ftp://shop.example.org/", "/", "*", "http://shop.example.org:22/"),
        *("http://127.0.0.1:80/?x", "http://rebind.example.org/", "file:///etc/passwd"),
    ],
)
async def test_a_plain_request_to_what_the_guard_refuses_is_not_dialled(
    proxy: FilteringProxy, names: Names, switchboard: Switchboard, url: str
) -> None:
    names.set("rebind.example.org", ["127.0.0.1"])
    ticket = proxy.admit()
    assert (await ask(proxy, get(url, ticket))).startswith("HTTP/1.1 403 ")
    assert switchboard.dialled == []
    assert len(ticket.refused) == 1


async def test_why_a_host_was_not_reached_can_be_asked(proxy: FilteringProxy) -> None:
    ticket = proxy.admit()
    await ask(proxy, connect("10.0.0.1:443", ticket))
    refused = ticket.refusal("10.0.0.1")
    assert refused is not None
    assert refused.code == "FETCH_REFUSED_ADDRESS"
    assert ticket.refusal("shop.example.org") is None


async def test_a_name_that_changes_its_mind_is_checked_at_every_connection(
    proxy: FilteringProxy, names: Names, switchboard: Switchboard, site: Site
) -> None:
    names.set("rebind.example.org", ["93.184.216.34"], ["127.0.0.1"])
    ticket = proxy.admit()
    assert "404" in await ask(proxy, get("http://rebind.example.org/", ticket))
    assert "403" in await ask(proxy, get("http://rebind.example.org/", ticket))
    assert len(switchboard.dialled) == 1


async def test_a_closed_ticket_cuts_its_tunnels_and_no_others(proxy: FilteringProxy, site: Site) -> None:
    site.route("/last", Reply(body="hello", close=True))
    one, other = proxy.admit(), proxy.admit()
    async with line(proxy) as mine, line(proxy) as yours:
        for tunnel, ticket in ((mine, one), (yours, other)):
            await tunnel.say(connect("shop.example.org:443", ticket))
            await tunnel.head()
        one.close()
        assert await mine.rest() == ""
        await yours.say("GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
        assert "hello" in await yours.rest()


async def test_a_ticket_ends_after_its_seconds(proxy: FilteringProxy, site: Site) -> None:
    ticket = proxy.admit(Budget(seconds=0.3))
    async with line(proxy) as tunnel:
        await tunnel.say(connect("shop.example.org:443", ticket))
        await tunnel.head()
        assert await tunnel.rest() == ""
    assert ticket.closed


async def test_a_ticket_ends_with_its_bytes(proxy: FilteringProxy, site: Site) -> None:
    site.route("/big", Reply(body=b"x" * 1_000_000))
    for request in ("plain", "tunnel"):
        ticket = proxy.admit(Budget(bytes=100_000))
        async with line(proxy) as open_line:
            if request == "plain":
                await open_line.say(get("http://shop.example.org/big", ticket))
            else:
                await open_line.say(connect("shop.example.org:443", ticket))
                await open_line.head()
                await open_line.say("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            assert len(await open_line.rest()) < 300_000
        assert ticket.closed
        assert [refusal.code for refusal in ticket.refused] == ["FETCH_TOO_LARGE"]


async def test_a_ticket_dials_so_many_connections_and_no_more(
    proxy: FilteringProxy, site: Site, switchboard: Switchboard
) -> None:
    ticket = proxy.admit(Budget(connections=2))
    answers = [await ask(proxy, get("http://shop.example.org/", ticket)) for _ in range(4)]
    assert [answer[9:12] for answer in answers] == ["404", "404", "403", "403"]
    assert len(switchboard.dialled) == 2


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET http://shop.example.org/ HTTP/1.1\r\nX: " + "a" * MAX_HEAD * 2 + "\r\n\r\n", "431"),
        ("GET http://shop.example.org/ HTTP/1.1\r\nHost: x\r\n" + "X: y\r\n" * 200 + "\r\n", "431"),
        ("nonsense\r\n\r\n", "400"),
        ("GET http://shop.example.org/ HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n", "400"),
        (
            "GET http://shop.example.org/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "400",
        ),
        ("GET http://shop.example.org/\x00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    ],
)
async def test_a_head_that_is_too_large_or_broken_is_answered(
    proxy: FilteringProxy, switchboard: Switchboard, request_text: str, status: str
) -> None:
    assert (await ask(proxy, request_text))[9:12] == status
    assert switchboard.dialled == []


async def test_a_client_that_takes_its_time_is_cut(proxy: FilteringProxy) -> None:
    async with line(proxy) as slow:
        await slow.say("GET http://shop.ex")
        assert await slow.rest() == ""


async def test_a_server_that_cannot_be_reached_or_talks_nonsense_is_502(
    proxy: FilteringProxy, names: Names, site: Site
) -> None:
    async def nonsense(request: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\r\n\r\n")
        writer.close()

    names.set("away.example.org", ["93.184.216.99"])
    site.route("/bad", nonsense)
    ticket = proxy.admit()
    assert (await ask(proxy, get("http://away.example.org/", ticket)))[9:12] == "502"
    assert (await ask(proxy, connect("away.example.org:443", ticket)))[9:12] == "502"
    assert (await ask(proxy, get("http://shop.example.org/bad", ticket)))[9:12] == "502"


async def test_closing_the_proxy_leaves_nothing_open(
    names: Names, switchboard: Switchboard, site: Site
) -> None:
    async with FilteringProxy(NetworkPolicy(), resolve=names, backend=switchboard) as proxy:
        ticket = proxy.admit()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.server.rpartition(":")[2]))
        writer.write(connect("shop.example.org:443", ticket).encode())
        await reader.readuntil(b"\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    assert ticket.closed
    assert "open" not in repr(ticket)
    assert ticket.password not in repr(ticket)
