"""A solver is asked where a wall stands and the rule allows it; its answers are held to the guard's rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sentinel.errors import CheckFailure
from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.http import Limits
from sentinel.fetch.solver import Solver
from sentinel.model import FetchProfile
from tests.sentinel.fetch.test_blocks import CHALLENGE
from tests.sentinel.fetch.world import Names, Switchboard
from tests.support.http import RawHandler, Reply, Site, serve

URL = "http://shop.example.org/kettle"
ALLOWED = FetchProfile(solver=True)
WALL = Reply(status=403, body=CHALLENGE)
KETTLE = "<html><head></head><body><h1>Kettle</h1><p class=price>19.99 EUR</p></body></html>"


def ok(**solution: Any) -> Reply:
    """As FlareSolverr 3 answers: the status is always 200, headers are empty."""
    told = {
        "url": URL,
        "status": 200,
        "headers": {},
        "response": KETTLE,
        "cookies": [],
        "userAgent": "Chrome",
    }
    return said({"status": "ok", "message": "Challenge solved!", "solution": told | solution})


def said(answer: object, *, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(answer), content_type="application/json")


@pytest.fixture
async def desk() -> AsyncIterator[Site]:
    """Where the solver listens."""
    async with serve() as desk:
        yield desk


@pytest.fixture
async def fetcher(names: Names, switchboard: Switchboard, site: Site, desk: Site) -> AsyncIterator[Fetcher]:
    site.route("/kettle", WALL)
    async with Fetcher(
        NetworkPolicy(),
        Limits(decoded_bytes=100_000),
        resolve=names,
        backend=switchboard,
        solver_url=desk.url,
    ) as fetcher:
        yield fetcher


async def failure(fetcher: Fetcher, profile: FetchProfile = ALLOWED) -> FetchFailure:
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(URL, profile)
    return caught.value


async def test_a_wall_is_taken_to_the_solver_and_its_page_is_the_page(fetcher: Fetcher, desk: Site) -> None:
    desk.route(
        "/v1", ok(url="http://shop.example.org/kettle?v=2", cookies=[{"name": "cf_clearance", "value": "x"}])
    )
    page = await fetcher.fetch(URL, ALLOWED)
    assert (page.text, page.mode, page.status) == (KETTLE, "solver", 200)
    assert (page.url, page.final_url) == (URL, "http://shop.example.org/kettle?v=2")
    assert page.fallback_reason is not None
    assert page.fallback_reason.startswith("BLOCK_CLOUDFLARE_SUSPECTED: ")
    assert page.content_type == "text/html"
    assert page.blocked is None
    assert "cf_clearance" not in repr(page.headers)


async def test_it_is_asked_as_its_api_says(fetcher: Fetcher, desk: Site) -> None:
    desk.route("/v1", ok())
    profile = FetchProfile(
        solver=True,
        timeout=20,
        cookies={"currency": "EUR"},
        headers={"Cookie": "a=b"},
        proxy="http://us%40er:s3cret@93.184.216.40:3128",
    )
    # The wall has to be met through the proxy too, and nobody listens there: the solver is asked directly.
    await fetcher._by_solver(URL, profile, "BLOCK_FORBIDDEN_403: 403")
    (request,) = desk.requests
    assert (request.method, request.target) == ("POST", "/v1")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "cmd": "request.get",
        "url": URL,
        "maxTimeout": 20_000,
        "cookies": [{"name": "a", "value": "b"}, {"name": "currency", "value": "EUR"}],
        "proxy": {"url": "http://93.184.216.40:3128", "username": "us@er", "password": "s3cret"},
    }


@pytest.mark.parametrize(
    "profile",
    [FetchProfile(), FetchProfile(solver=True, mode="http")],
    ids=["the profile does not allow it", "by HTTP alone"],
)
async def test_it_is_not_asked_where_the_profile_does_not_let_it(
    profile: FetchProfile, fetcher: Fetcher, desk: Site
) -> None:
    assert (await failure(fetcher, profile)).code == "BLOCK_CLOUDFLARE_SUSPECTED"
    assert desk.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        Reply(body=KETTLE),
        Reply(status=404, body="gone"),
        Reply(status=429, body="slow down"),
        Reply(status=500, body="broken"),
        Reply(body="<form action=login><input type=password name=p></form><title>Sign in</title>"),
    ],
    ids=["a page", "404", "429", "500", "login"],
)
async def test_it_is_not_asked_where_no_wall_of_its_kind_stands(
    answer: Reply, fetcher: Fetcher, site: Site, desk: Site
) -> None:
    site.route("/kettle", answer)
    try:
        await fetcher.fetch(URL, ALLOWED)
    except FetchFailure as failed:
        assert not failed.code.startswith("SYSTEM_")  # noqa: PT017 - a page is as right
    assert desk.requests == []


async def test_a_wall_that_the_solver_cannot_lift_stays_that_wall(fetcher: Fetcher, desk: Site) -> None:
    message = "Error: Error solving the challenge. Timeout after 30.0 seconds.\n\x1b[31mforged"
    desk.route("/v1", said({"status": "error", "message": message}, status=500))
    failed = await failure(fetcher)
    assert failed.code == "BLOCK_CLOUDFLARE_SUSPECTED"
    assert "the solver: Error: Error solving the challenge. Timeout" in failed.detail
    assert failed.detail.isprintable()
    assert failed.partial is not None
    assert failed.partial.mode == "solver"


async def test_a_wall_in_the_solvers_own_answer_is_a_wall(fetcher: Fetcher, desk: Site) -> None:
    desk.route(
        "/v1",
        ok(response=CHALLENGE),
    )
    page = await fetcher.fetch(URL, ALLOWED)
    assert page.blocked == "BLOCK_CLOUDFLARE_SUSPECTED"


@pytest.mark.parametrize(
    "ended",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://2130706433/",
        "http://inside.example.org/",
        "http://shop.example.org:6379/",
        "file:///etc/passwd",
        "chrome-error://chromewebdata/",
        "about:blank",
        "http://u:p@shop.example.org/",
        "",
    ],
)
async def test_where_the_solver_ended_is_held_to_the_guards_rules(
    ended: str, fetcher: Fetcher, names: Names, desk: Site
) -> None:
    names.set("inside.example.org", ["93.184.216.34", "10.0.0.1"])
    desk.route("/v1", ok(url=ended, response="<p>root:x:0:0"))
    failed = await failure(fetcher)
    assert failed.code in ("FETCH_REFUSED_ADDRESS", "FETCH_BAD_URL")
    assert "the solver ended at" in failed.detail
    assert failed.partial is not None
    assert failed.partial.text == ""


async def test_a_name_that_moved_inside_since_is_not_asked_for(
    fetcher: Fetcher, names: Names, desk: Site
) -> None:
    names.set("shop.example.org", ["93.184.216.34"], ["127.0.0.1"])
    assert (await failure(fetcher)).code == "FETCH_REFUSED_ADDRESS"
    assert desk.requests == []


def hang_up(head: bytes) -> RawHandler:
    async def send(_: object, writer: asyncio.StreamWriter) -> None:
        writer.write(head)

    return send


OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply(body="<h1>It works"), "SYSTEM_SOLVER"),
        (Reply(body=b"\xff\xfe{"), "SYSTEM_SOLVER"),
        (Reply(body="[" * 50_000), "SYSTEM_SOLVER"),
        (Reply(body="null"), "SYSTEM_SOLVER"),
        (Reply(body="{}"), "BLOCK_CLOUDFLARE_SUSPECTED"),
        (Reply(status=404, body="{}"), "SYSTEM_SOLVER"),
        (Reply(status=302, headers={"Location": "http://127.0.0.1/"}), "SYSTEM_SOLVER"),
        (said({"status": "ok"}), "SYSTEM_SOLVER"),
        (said({"status": "ok", "solution": None}), "SYSTEM_SOLVER"),
        (said({"status": "ok", "solution": "page"}), "SYSTEM_SOLVER"),
        (ok(response=None), "SYSTEM_SOLVER"),
        (ok(response={"html": "x"}), "SYSTEM_SOLVER"),
        (ok(response=""), "PAGE_EMPTY"),
        (ok(response="<html><head></head><body></body></html>"), "PAGE_EMPTY"),
        (ok(response="x" * 100_001), "FETCH_TOO_LARGE"),
        (Reply(body=b"x" * 500_000), "FETCH_TOO_LARGE"),
        (ok(status=404), "FETCH_HTTP_4XX"),
        (ok(status=503), "FETCH_HTTP_5XX"),
        (hang_up(OK_HEAD + b"Content-Length: 100\r\n\r\n{"), "SYSTEM_SOLVER"),
        (hang_up(b"nonsense"), "SYSTEM_SOLVER"),
        (hang_up(OK_HEAD + b"X: " + b"y" * 300_000), "SYSTEM_SOLVER"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,  # no addresses, no long bodies
)
async def test_whatever_a_solver_answers_ends_in_a_code(
    answer: Reply | RawHandler, code: str, fetcher: Fetcher, desk: Site
) -> None:
    desk.route("/v1", answer)
    failed = await failure(fetcher)
    assert failed.code == code
    assert failed.detail.isprintable()
    desk.route("/v1", ok())
    assert (await fetcher.fetch(URL, ALLOWED)).text == KETTLE  # as good as before


@pytest.mark.parametrize(
    "strange",
    [
        {"status": "200"},
        {"status": 0},
        {"status": None},
        {"headers": [1]},
        {"headers": {"x": 1, "Set-Cookie": "a"}},
    ],
    ids=str,
)
async def test_what_is_beside_the_document_may_be_anything(
    strange: dict[str, Any], fetcher: Fetcher, desk: Site
) -> None:
    desk.route("/v1", ok(**strange))
    page = await fetcher.fetch(URL, ALLOWED)
    assert (page.status, page.text) == (200, KETTLE)
    assert set(page.headers) == {"content-type"}


async def test_a_solver_that_is_not_there_is_our_fault_and_not_the_page_s(
    names: Names, switchboard: Switchboard, site: Site
) -> None:
    site.route("/kettle", WALL)
    async with serve() as gone:
        url = gone.url
    async with Fetcher(NetworkPolicy(), resolve=names, backend=switchboard, solver_url=url) as fetcher:
        failed = await failure(fetcher)
    assert failed.code == "SYSTEM_SOLVER"
    assert "cannot be reached" in failed.detail


async def test_a_solver_that_hangs_is_given_up(
    fetcher: Fetcher, desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentinel.fetch.solver._GRACE", 0.1)
    hold = asyncio.Event()
    desk.route("/v1", Reply(hold=hold))
    with pytest.raises(FetchFailure, match=r"SYSTEM_SOLVER: .*did not answer within"):
        await fetcher._by_solver(URL, FetchProfile(solver=True, timeout=0.1), "BLOCK_FORBIDDEN_403: 403")
    hold.set()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8191", "http://solver:8191/", "http://[::1]:8191/v1"])
def test_a_solver_may_be_private(url: str) -> None:
    solver = Solver(url, NetworkPolicy(), None, max_length=1)  # type: ignore[arg-type] # nothing is looked up
    assert solver._url.endswith(":8191/v1")


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://a:b@solver/", "http://127.0.0.1:6379/", "http://"]
)
def test_a_url_that_is_no_solver_s_is_said_at_the_start(url: str) -> None:
    with pytest.raises(CheckFailure):
        Fetcher(NetworkPolicy(), solver_url=url)
