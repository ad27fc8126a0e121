"""What a real Chromium makes of pages: what it waits for, what it refuses, what it keeps apart."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sentinel.fetch.browser import BrowserPool
from sentinel.fetch.browser_page import PageAsk
from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.http import Limits
from sentinel.model import Fetched, FetchProfile
from tests.sentinel.fetch.browsing import LATE, PRIVATE, html, new_pool, the_program
from tests.support.http import Reply, Site, serve
from tests.support.png import pixels, size


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[BrowserPool]:
    """One for all these tests: they show that a page leaves nothing to the next."""
    async with new_pool(the_program()) as pool:
        yield pool


@pytest.fixture
async def browser(pool: BrowserPool, request: pytest.FixtureRequest) -> AsyncIterator[Fetcher]:
    the_program(request)
    async with Fetcher(PRIVATE, Limits(decoded_bytes=1024 * 1024), browser=pool) as fetcher:
        yield fetcher


async def look(browser: Fetcher, url: str, *, hope_for: str | None = None, **profile: object) -> Fetched:
    return await browser.fetch(url, FetchProfile(**{"mode": "headless", **profile}), hope_for=hope_for)


async def failure(browser: Fetcher, url: str, **profile: object) -> FetchFailure:
    with pytest.raises(FetchFailure) as failed:
        await look(browser, url, **profile)
    return failed.value


async def test_a_page_comes_with_what_its_scripts_made_of_it(browser: Fetcher, site: Site) -> None:
    found = await look(
        browser,
        site.route("/", html("<script>document.body.append('19,99 €')</script>", headers={"ETag": "1"})),
    )
    assert "19,99 €" in found.text
    assert found.text.startswith("<!DOCTYPE html>")
    assert found.body.decode() == found.text
    assert (found.status, found.mode, found.fallback_reason) == (200, "headless", None)
    assert found.content_type == "text/html"
    assert found.wire_bytes > 0
    assert found.timings.keys() >= {"load", "body", "total"}
    assert "etag" not in found.headers  # it is of the page as it was sent


@pytest.mark.parametrize(
    "waits", [{"hope_for": ".price"}, {"wait_for_selector": ".price"}, {"render_wait": 0.6}, {}]
)
async def test_what_comes_late_is_waited_for(browser: Fetcher, site: Site, waits: dict[str, object]) -> None:
    assert "19,99 €" in (await look(browser, site.route("/", Reply(body=LATE)), **waits)).text


async def test_what_must_appear_and_does_not_is_told(browser: Fetcher, site: Site) -> None:
    failed = await failure(browser, site.route("/", html("<p>here")), wait_for_selector=".price", timeout=1.6)
    assert failed.code == "EXTRACT_SELECTOR_NOT_FOUND"
    assert "waitForSelector" in failed.detail


async def test_nothing_of_one_check_is_there_in_the_next(browser: Fetcher, site: Site) -> None:
    script = """<script>document.body.append([document.cookie, localStorage.length, caches ? 1 : 0].join('/'));
        document.cookie = 'mine=1; max-age=9999'; localStorage.setItem('a', 'b');</script>"""
    url = site.route("/", html(script, headers={"Set-Cookie": "theirs=1; Max-Age=9999; HttpOnly"}))
    first, second = await look(browser, url), await look(browser, url)
    assert first.text == second.text
    assert all("cookie" not in request.headers for request in site.requests)


async def test_what_may_be_a_credential_goes_to_the_first_origin_alone(browser: Fetcher, site: Site) -> None:
    async with serve() as other:
        other.route("/away", html("<img src='/x.png'><script src='/x.js'></script>"))
        site.route("/hop", Reply(status=302, headers={"Location": f"{other.url}/away"}))
        site.route(
            "/",
            html(f"<p>{'words ' * 50}<iframe src='/hop'></iframe><script src='{other.url}/y.js'></script>"),
        )
        await look(
            browser,
            f"{site.url}/",
            headers={"X-Api-Key": "s3cret", "Authorization": "Bearer s3cret", "DNT": "1", "Cookie": "a=1"},
            cookies={"session": "s3cret"},
            user_agent="Mine/1",
        )
        assert {request.path for request in other.requests} >= {"/away", "/x.js", "/y.js"}
        for request in site.requests_to("/") + site.requests_to("/hop"):
            assert request.headers["x-api-key"] == "s3cret"
            assert request.headers["authorization"] == "Bearer s3cret"
        assert set(site.requests_to("/")[0].headers["cookie"].split("; ")) == {"session=s3cret", "a=1"}
        for request in other.requests:
            assert "authorization" not in request.headers
            assert "x-api-key" not in request.headers
            assert request.headers["dnt"] == "1"
        assert {request.headers["user-agent"] for request in site.requests + other.requests} == {"Mine/1"}


async def test_images_and_fonts_are_asked_for_only_to_be_drawn(
    pool: BrowserPool, browser: Fetcher, site: Site
) -> None:
    style = "<style>@font-face{font-family:x;src:url(/f.woff2)}p{font-family:x}</style>"
    url = site.route("/", html(f"{style}<p>text</p><img src='/i.png'><img src='/no-suffix'>"))
    await look(browser, url, render_wait=0.3)
    assert {request.path for request in site.requests} == {"/"}

    await pool.draw(PageAsk(url=url, render_wait=0.3))
    assert {request.path for request in site.requests} >= {"/f.woff2", "/i.png", "/no-suffix"}


async def test_a_picture_shows_the_page_and_the_element(browser: Fetcher, site: Site) -> None:
    url = site.route(
        "/",
        html(
            "<style>*{margin:0} div{height:1000px;background:#00f} .price{background:#f00;height:40px;width:90px}"
            "</style><p class=price></p><div></div>"
        ),
    )
    drawn = await browser.draw(url, FetchProfile(), ".price")
    assert drawn.page is not None
    assert drawn.element is not None
    assert size(drawn.element) == (90, 40)
    assert {pixel for row in pixels(drawn.element) for pixel in row} == {(255, 0, 0)}
    assert size(drawn.page) == (1280, 1040)
    whole = pixels(drawn.page, 50)
    assert (whole[10][10], whole[10][500], whole[45][10]) == ((255, 0, 0), (255, 255, 255), (0, 0, 255))


async def test_a_picture_of_an_endless_page_is_bounded(
    pool: BrowserPool, request: pytest.FixtureRequest, site: Site
) -> None:
    the_program(request)
    url = site.route("/", html("<p style='height:9000000px'>long"))
    drawn = await pool.draw(PageAsk(url=url), ".none")
    assert drawn.element is None
    assert drawn.page is not None
    assert size(drawn.page) == (1280, 4000)


async def test_what_a_page_opens_is_closed_and_what_it_asks_is_dismissed(
    pool: BrowserPool, browser: Fetcher, site: Site
) -> None:
    site.route("/popup", html("popup"))
    script = (
        "alert(1); const said = confirm('?'); window.open('/popup'); document.body.append('said ' + said);"
    )
    found = await look(browser, site.route("/", html(f"<script>{script}</script>")))
    assert "said false" in found.text
    (process,) = (one for one in pool._processes.values() if not one.pictures)
    assert process.browser.contexts == []


async def test_what_is_sent_to_be_kept_is_not(browser: Fetcher, site: Site) -> None:
    site.route("/file", Reply(body="x", headers={"Content-Disposition": "attachment; filename=x.bin"}))
    assert (await failure(browser, f"{site.url}/file")).code == "FETCH_DECODE"
    found = await look(browser, site.route("/", html("<p>stays</p><script>location = '/file'</script>")))
    assert "stays" in found.text


async def test_a_script_that_never_ends_ends_with_the_page(browser: Fetcher, site: Site) -> None:
    for number, script in enumerate(
        ("for(;;);", "addEventListener('load', () => { setTimeout(() => { for(;;); }) })")
    ):
        url = site.route(f"/{number}", html(f"<script>{script}</script>"))
        assert (await failure(browser, url, timeout=1.5)).code == "FETCH_TIMEOUT"
    assert "fine" in (await look(browser, site.route("/ok", html("fine")))).text


async def test_a_document_without_end_is_not_taken_over(browser: Fetcher, site: Site) -> None:
    url = site.route("/", html("<script>document.body.append('x'.repeat(3e6))</script>"))
    assert (await failure(browser, url)).code == "FETCH_TOO_LARGE"


async def test_a_page_cannot_put_another_document_under_us(browser: Fetcher, site: Site) -> None:
    script = "Object.defineProperty(Element.prototype, 'outerHTML', {get() { return 'forged'; }});"
    found = await look(browser, site.route("/", html(f"<p>real</p><script>{script}</script>")))
    assert "<p>real</p>" in found.text


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/json", '{"a": 1}', '{"a": 1}'),
        ("text/plain", "<b>1 < 2", "<b>1 < 2"),
        ("application/xml", "<a><b>1</b></a>", "<b>1</b>"),
    ],
)
async def test_what_is_no_html_comes_as_it_was_sent(
    browser: Fetcher, site: Site, kind: str, body: str, said: str
) -> None:
    found = await look(browser, site.route("/", Reply(body=body, content_type=kind)))
    assert said in found.text
    assert found.content_type == kind


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (html("gone", status=404), "FETCH_HTTP_4XX"),
        (html("down", status=500), "FETCH_HTTP_5XX"),
        (Reply(status=500, body=""), "FETCH_HTTP_5XX"),
        (Reply(body=""), "PAGE_EMPTY"),
        (html("no", status=429, headers={"Retry-After": "7"}), "BLOCK_RATE_LIMIT_429"),
        (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "FETCH_REFUSED_ADDRESS"),
        (Reply(status=302, headers={"Location": "/"}), "FETCH_HTTP_4XX"),
    ],
)
async def test_what_is_no_page_has_its_code(browser: Fetcher, site: Site, reply: Reply, code: str) -> None:
    failed = await failure(browser, site.route("/", reply))
    assert failed.code == code
    assert failed.partial is not None or code == "FETCH_REFUSED_ADDRESS"


async def test_no_page_reads_a_file(browser: Fetcher, site: Site) -> None:
    script = "<p>page</p><iframe src='file:///etc/passwd'></iframe><script>location = 'file:///etc/passwd'</script>"
    assert "root:" not in (await look(browser, site.route("/", html(script)))).text


async def test_a_challenge_that_solves_itself_is_passed(browser: Fetcher, site: Site) -> None:
    async def door(request: object, writer: object) -> None:
        from tests.support.http import Request, send

        assert isinstance(request, Request)
        known = "pass=1" in request.headers.get("cookie", "")
        challenge = "<title>Just a moment...</title><script>document.cookie='pass=1'; setTimeout(() => location.reload(), 300)</script>"
        reply = html("<p class=price>5 €</p>") if known else html(challenge, status=403)
        await send(reply, request, writer)  # type: ignore[arg-type]

    found = await look(browser, site.route("/", door))
    assert "5 €" in found.text
    assert (found.status, found.blocked) == (200, None)
