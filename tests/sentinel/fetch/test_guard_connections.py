"""What the guard does with a connection: one lookup, every record, the address that was checked."""

from __future__ import annotations

import ast
import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

import sentinel
from sentinel.fetch import resolver
from sentinel.fetch.guard import NetworkPolicy, Refused, dial_mail, open_client, translate
from sentinel.fetch.http import Limits
from sentinel.fetch.resolver import is_own, system_resolve
from tests.sentinel.fetch.world import DATA, OTHER_PUBLIC, PUBLIC, Names, Switchboard, hostile
from tests.support.http import Reply, Site, serve

STRICT = NetworkPolicy()
INSIDE = NetworkPolicy(allow_private=True)


async def test_the_rebinding_row_is_the_one_this_file_tests() -> None:
    assert [row["expected"] for row in hostile("dns")] == ["connect_first_answer_only"]


async def test_a_name_that_changes_its_mind_is_dialled_at_the_checked_address_only(
    names: Names, switchboard: Switchboard, site: Site
) -> None:
    site.route("/", Reply(body="hello"))
    names.set("shop.example.org", [PUBLIC], ["127.0.0.1"])
    async with open_client(STRICT, resolve=names, backend=switchboard) as client:
        # Given a first answer that is public
        assert (await client.get("http://shop.example.org/")).text == "hello"
        # Then it was looked up once for that connection, and dialled as answered
        assert names.asked == ["shop.example.org"]
        assert switchboard.dialled == [(PUBLIC, 80)]
        # And the second answer is refused, undialled
        with pytest.raises(Refused):
            await client.get("http://shop.example.org/")
        assert switchboard.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        [PUBLIC, "127.0.0.1"],
        [PUBLIC, "10.0.0.1", OTHER_PUBLIC],
        ["::1"],
        ["::ffff:127.0.0.1"],
        [PUBLIC, "fe80::1%2"],
        ["169.254.169.254"],
        ["168.63.129.16"],
        [*[f"93.184.217.{n}" for n in range(200)], "192.168.0.1"],
        ["not an address"],
    ],
)
async def test_one_bad_record_refuses_the_name(
    answers: list[str], names: Names, switchboard: Switchboard
) -> None:
    names.set("shop.example.org", answers)
    async with open_client(STRICT, resolve=names, backend=switchboard) as client:
        with pytest.raises(Refused) as caught:
            await client.get("http://shop.example.org/")
    assert caught.value.code == "FETCH_REFUSED_ADDRESS"
    assert switchboard.dialled == []


async def test_where_private_networks_are_allowed_a_metadata_record_still_refuses_the_name(
    names: Names, switchboard: Switchboard
) -> None:
    names.set("inner", ["10.0.0.1", "169.254.169.254"])
    async with open_client(INSIDE, resolve=names, backend=switchboard) as client:
        with pytest.raises(Refused):
            await client.get("http://inner/")
    assert switchboard.dialled == []


@pytest.mark.parametrize("answers", [None, []])
async def test_a_name_without_an_address_is_a_dns_failure(
    answers: list[str] | None, names: Names, switchboard: Switchboard
) -> None:
    if answers is not None:
        names.set("gone.example.org", answers)
    async with open_client(STRICT, resolve=names, backend=switchboard) as client:
        with pytest.raises(Refused) as caught:
            await client.get("http://gone.example.org/")
    assert caught.value.code == "FETCH_DNS"
    assert switchboard.dialled == []


async def test_the_next_address_is_tried_where_one_does_not_answer(
    names: Names, switchboard: Switchboard, site: Site
) -> None:
    site.route("/", Reply(body="hello"))
    names.set("shop.example.org", ["2606:4700::1111", "93.184.216.99", PUBLIC])
    async with open_client(STRICT, resolve=names, backend=switchboard) as client:
        assert (await client.get("http://shop.example.org/")).text == "hello"
    assert [address for address, _ in switchboard.dialled] == ["2606:4700::1111", "93.184.216.99", PUBLIC]


async def test_a_name_with_many_dead_addresses_is_given_up(names: Names, switchboard: Switchboard) -> None:
    names.set("shop.example.org", [f"93.184.217.{n}" for n in range(100)])
    async with open_client(STRICT, resolve=names, backend=switchboard) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get("http://shop.example.org/")
    assert translate(caught.value).code == "FETCH_CONNECTION"
    assert len(switchboard.dialled) == 4


async def test_a_connection_that_ends_elsewhere_is_dropped_before_a_byte_is_sent(
    names: Names, switchboard: Switchboard, site: Site
) -> None:
    switchboard.diverted[PUBLIC] = "10.0.0.1"
    async with open_client(STRICT, resolve=names, backend=switchboard) as client:
        with pytest.raises(Refused) as caught:
            await client.get("http://shop.example.org/")
    assert caught.value.code == "FETCH_REFUSED_ADDRESS"
    assert site.requests == []


async def test_a_resolver_that_hangs_runs_into_its_own_deadline(switchboard: Switchboard) -> None:
    from sentinel.fetch.fetcher import Fetcher, FetchFailure
    from sentinel.model import FetchProfile

    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    limits = Limits(dns_seconds=0.05)
    async with Fetcher(STRICT, limits, resolve=hang, backend=switchboard) as fetcher:
        with pytest.raises(FetchFailure) as caught:
            await fetcher.fetch("http://shop.example.org/", FetchProfile())
    assert caught.value.code == "FETCH_DNS"
    assert switchboard.dialled == []


async def test_the_machines_resolver_knows_localhost_and_no_invalid_names() -> None:
    assert {"127.0.0.1", "::1"} & set(await system_resolve("localhost", 80))
    with pytest.raises(OSError, match=r"."):
        await system_resolve("no-such-name.invalid", 80)


async def test_lookups_that_hang_are_bounded_and_do_not_hold_up_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a name server that answers nobody, and every lookup slot taken
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(*args: object, **kwargs: object) -> list[object]:
        asyncio.run_coroutine_threadsafe(answered.wait(), loop).result()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    waiting = [asyncio.ensure_future(system_resolve("a.example.org", 80)) for _ in range(32)]
    await asyncio.sleep(0)
    # When one more asks
    with pytest.raises(sentinel.errors.CheckFailure) as caught:
        await system_resolve("b.example.org", 80)
    # Then it is told so at once
    assert caught.value.code == "FETCH_DNS"
    # And the slots come back when the server answers, also those nobody waits for any more
    for task in waiting[:16]:
        task.cancel()
    answered.set()
    assert await asyncio.gather(*waiting[16:]) == [[]] * 16
    taken = 0
    for _ in range(1000):
        taken += resolver._slots.acquire(blocking=False)
        if taken == 32:
            break
        await asyncio.sleep(0.001)
    for _ in range(taken):
        resolver._slots.release()
    assert taken == 32


def test_an_address_of_this_machine_is_known_as_such() -> None:
    assert is_own("127.0.0.1")
    assert not is_own(PUBLIC)
    assert not is_own("2606:4700::1111")


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(DATA / "shop.pem")
    return context


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """Trusts the test certificate, which is made out to shop.example.org alone."""
    return ssl.create_default_context(cafile=DATA / "shop.pem")


async def test_tls_is_verified_against_the_name_while_the_address_is_pinned(
    names: Names, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    switchboard = Switchboard()
    async with serve(tls=server_tls) as secure:
        secure.route("/", Reply(body="hello"))
        switchboard.connect(PUBLIC, secure.port)
        async with open_client(STRICT, resolve=names, backend=switchboard, ssl_context=trusting) as client:
            assert (await client.get("https://shop.example.org/")).text == "hello"
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get("https://example.com/")
    assert switchboard.dialled == [(PUBLIC, 443), (PUBLIC, 443)]
    failure = translate(caught.value)
    assert failure.code == "FETCH_TLS"
    assert "example.com" in failure.detail


async def test_a_self_signed_certificate_is_a_tls_failure(names: Names, server_tls: ssl.SSLContext) -> None:
    switchboard = Switchboard()
    async with serve(tls=server_tls) as secure:
        switchboard.connect(PUBLIC, secure.port)
        async with open_client(STRICT, resolve=names, backend=switchboard) as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get("https://shop.example.org/")
        assert secure.requests == []
    assert translate(caught.value).code == "FETCH_TLS"
    assert "self-signed" in translate(caught.value).detail


async def test_a_server_that_does_not_speak_tls_is_a_tls_failure(names: Names) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    switchboard = Switchboard()
    switchboard.connect(PUBLIC, server.sockets[0].getsockname()[1])
    async with server, open_client(STRICT, resolve=names, backend=switchboard) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get("https://shop.example.org/")
    assert translate(caught.value).code == "FETCH_TLS"


# --- the client --------------------------------------------------------------------------------


async def test_the_client_follows_no_redirect_by_itself(site: Site) -> None:
    site.route("/hook", Reply(status=302, headers={"Location": "/elsewhere"}))
    async with open_client(INSIDE) as client:
        assert (await client.post(site.url + "/hook", content=b"{}")).status_code == 302
    assert site.requests_to("/elsewhere") == []


async def test_a_redirect_that_a_caller_has_httpx_follow_is_checked_too(
    names: Names, switchboard: Switchboard, site: Site
) -> None:
    site.route("/hook", Reply(status=302, headers={"Location": "http://169.254.169.254/"}))
    async with open_client(STRICT, resolve=names, backend=switchboard) as client:
        with pytest.raises(Refused):
            await client.get("http://shop.example.org/hook", follow_redirects=True)
    assert switchboard.dialled == [(PUBLIC, 80)]


async def test_no_cookie_of_one_answer_reaches_the_next_request(site: Site) -> None:
    site.route("/", Reply(body="hello", headers={"Set-Cookie": "id=1; Path=/"}))
    async with open_client(INSIDE) as client:
        await client.get(site.url + "/")
        await client.get(site.url + "/")
    assert all("cookie" not in request.headers for request in site.requests)


async def test_every_request_has_a_connection_of_its_own(site: Site) -> None:
    site.route("/", Reply(body="hello"))
    async with open_client(INSIDE) as client:
        for _ in range(3):
            await client.get(site.url + "/")
    assert site.connections == 3


async def test_proxies_of_the_environment_are_ignored(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    site.route("/", Reply(body="hello"))
    async with open_client(INSIDE) as client:
        assert (await client.get(site.url + "/")).text == "hello"


async def test_a_refusal_is_a_request_error_for_who_only_knows_httpx() -> None:
    async with open_client(STRICT) as client:
        with pytest.raises(httpx.RequestError):
            await client.post("http://127.0.0.1/")


#: Modules that open connections by themselves, and what of other modules does.
DIALLING_MODULES = {"requests", "aiohttp", "urllib.request", "http.client", "ftplib", "smtplib", "telnetlib"}
DIALLING_CALLS = {
    *(
        "AsyncClient",
        "Client",
        "HTTPTransport",
        "AsyncHTTPTransport",
        "AsyncConnectionPool",
        "ConnectionPool",
    ),
    *("AsyncHTTPProxy", "HTTPProxy", "AnyIOBackend", "urlopen", "open_connection", "create_connection"),
    *(
        "connect_tcp",
        "connect_tcp_with_tls",
        "sock_connect",
        "create_datagram_endpoint",
        "sendto",
        "connect_ex",
    ),
}
#: Where the guard is, and who dials through it (`connect_tcp` of a GuardBackend).
DIALLERS = {"fetch/guard.py", "fetch/proxy.py", "fetch/upstream.py"}


def dials(source: str) -> bool:
    """Whether the code of a module opens connections to wherever it is told."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) if any(name.name in DIALLING_MODULES for name in names):
                return True
            case ast.ImportFrom(module=str(module)) if module in DIALLING_MODULES:
                return True
            case ast.Call(func=ast.Attribute(value=ast.Name(id="httpx" | "urllib3"), attr=called)) if (
                called in {"get", "post", "put", "request", "stream", "head", "PoolManager"}
            ):
                return True
            case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called)) if called in DIALLING_CALLS:
                return True
            case _:
                pass
    return False


def test_nothing_but_the_guard_makes_a_client_or_opens_a_socket() -> None:
    root = Path(sentinel.__file__).parent
    found = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*.py")
        if dials(file.read_text(encoding="utf-8"))
    }
    assert "fetch/guard.py" in found
    assert found <= DIALLERS


@pytest.mark.parametrize("module", ["fetch/proxy.py", "fetch/upstream.py"])
def test_who_dials_besides_the_guard_has_nothing_else_to_dial_with(module: str) -> None:
    file = Path(sentinel.__file__).parent / module
    if file.exists():
        source = file.read_text(encoding="utf-8")
        called = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
        assert not called & (DIALLING_CALLS - {"connect_tcp"})


@pytest.mark.parametrize(
    "planted",
    [
        *("import requests", "from urllib.request import urlopen", "httpx.get(url)", "httpx.AsyncClient()"),
        *("await asyncio.open_connection(host, port)", "socket.create_connection(where)", "import smtplib"),
        *("await anyio.connect_tcp(host, 80)", "httpcore.AsyncConnectionPool()", "loop.sock_connect(s, a)"),
    ],
)
def test_a_planted_second_client_is_found(planted: str) -> None:
    assert dials(f"async def f():\n    {planted}\n")


# --- mail servers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["169.254.169.254"], ["::1"]])
async def test_a_mail_server_whose_name_leads_inside_is_not_dialled(names: Names, answers: list[str]) -> None:
    names.set("mail.example.org", answers)

    with pytest.raises(Refused) as caught:
        await dial_mail("mail.example.org", 587, STRICT, resolve=names)

    assert caught.value.code == "FETCH_REFUSED_ADDRESS"


async def test_a_mail_server_is_dialled_at_the_address_that_was_checked(names: Names, site: Site) -> None:
    names.set("mail.example.org", ["127.0.0.1"], ["10.0.0.1"])

    connected = await dial_mail("mail.example.org", site.port, INSIDE, resolve=names)

    with connected:
        assert connected.getpeername() == ("127.0.0.1", site.port)
    assert names.asked == ["mail.example.org"]


@pytest.mark.parametrize("port", [22, 80, 6379, 11211])
async def test_a_mail_server_is_no_other_service(names: Names, port: int) -> None:
    with pytest.raises(Refused):
        await dial_mail("mail.example.org", port, STRICT, resolve=names)
    assert names.asked == []
