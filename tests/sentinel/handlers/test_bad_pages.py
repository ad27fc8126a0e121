"""Every bad page of the issue has one outcome: its error code, its run, done or tried again, no value touched."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest

from sentinel.errors import ERROR_CODES
from sentinel.fetch.fetcher import Fetcher
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.http import Limits
from sentinel.jobs import OURS_FOR_NOW, RULES_RUN
from sentinel.model import AlertPolicy, FetchProfile
from tests.sentinel.handlers.checking import WIDGET, Hand, World, page
from tests.support.http import Reply, Request, Route

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00" + bytes(
    range(256)
)
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" + bytes(range(256)) * 4
HTML = "text/html; charset=utf-8"


async def _cut(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _no_http(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ftp.example.com ready\r\n\r\n")
    await writer.drain()


def _gzipped(body: bytes, **reply: object) -> Reply:
    return Reply(body=body, headers={"Content-Encoding": "gzip"})


def _bomb() -> bytes:
    return gzip.compress(b"<p>" + b" " * 4_000_000)


NEVER = asyncio.Event()

#: What the page does, what the run says, how often it is tried.
BAD: dict[str, tuple[Route, str, int]] = {
    "not found": (Reply(status=404, body="<h1>Nothing here</h1>"), "FETCH_HTTP_4XX", 1),
    "gone": (Reply(status=410), "FETCH_HTTP_4XX", 1),
    "forbidden": (Reply(status=403), "BLOCK_FORBIDDEN_403", 1),
    "too many requests": (Reply(status=429), "BLOCK_RATE_LIMIT_429", 1),
    "server error": (Reply(status=500, body="<h1>Oops</h1>"), "FETCH_HTTP_5XX", 3),
    "bad gateway": (Reply(status=502), "FETCH_HTTP_5XX", 3),
    "empty": (Reply(body=""), "PAGE_EMPTY", 1),
    "white space": (Reply(body=" \n\t\n "), "PAGE_EMPTY", 1),
    "no content": (Reply(status=204), "PAGE_EMPTY", 1),
    "huge, and says so": (Reply(body=b"<p>" + b"x" * 100_000), "FETCH_TOO_LARGE", 1),
    "huge, and does not": (Reply(chunks=[b"x" * 10_000] * 10), "FETCH_TOO_LARGE", 1),
    "endless": (lambda: Reply(chunks=itertools.repeat(b"x" * 4096)), "FETCH_TOO_LARGE", 1),  # type: ignore[dict-item] - made anew for each test
    "a bomb": (_gzipped(_bomb()), "FETCH_TOO_LARGE", 1),
    "never answers": (Reply(hold=NEVER), "FETCH_TIMEOUT", 3),
    "drips": (
        lambda: Reply(chunks=itertools.repeat(b"<p>"), chunk_delay=0.05),  # type: ignore[dict-item] - as above
        "FETCH_TIMEOUT",
        3,
    ),
    "an image": (Reply(body=PNG, content_type="image/png"), "FETCH_DECODE", 1),
    "an image that says it is a page": (Reply(body=PNG, content_type=HTML), "FETCH_DECODE", 1),
    "a PDF": (Reply(body=PDF, content_type="application/pdf"), "FETCH_DECODE", 1),
    "a PDF that says nothing": (Reply(body=PDF, content_type=None), "FETCH_DECODE", 1),
    "broken compression": (_gzipped(b"this is no gzip"), "FETCH_DECODE", 1),
    "half of its compression": (_gzipped(gzip.compress(b"<p>99 EUR</p>" * 500)[:40]), "FETCH_DECODE", 1),
    "hung up": (_cut, "FETCH_CONNECTION", 3),
    "hung up half-way": (page(cut_after=20), "FETCH_CONNECTION", 3),
    "no HTTP": (_no_http, "FETCH_DECODE", 1),
    "a circle": (Reply(status=302, headers={"Location": "/widget"}), "FETCH_HTTP_4XX", 1),
    "a way out of http": (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "FETCH_BAD_URL", 1),
    "a way to metadata": (
        Reply(status=302, headers={"Location": "http://169.254.169.254/latest/"}),
        "FETCH_REFUSED_ADDRESS",
        1,
    ),
    "rebuilt": (Reply(body="<p class='cost'>99,00 €</p>"), "EXTRACT_SELECTOR_NOT_FOUND", 1),
    "an empty price": (page(""), "EXTRACT_EMPTY_VALUE", 1),
    "no price": (page("call us"), "EXTRACT_PARSE_ERROR", 1),
    "JSON": (Reply(body='{"price": 99}', content_type="application/json"), "EXTRACT_SELECTOR_NOT_FOUND", 1),
    "a captcha": (
        Reply(
            body="<title>Security check</title><p>Prove that you are human</p><div class='h-captcha'></div>"
        ),
        "BLOCK_CAPTCHA_SUSPECTED",
        1,
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_page_has_its_code_its_run_and_its_end_and_no_value_is_touched(
    checks: World, name: str
) -> None:
    route, code, attempts = BAD[name]
    await checks.watch(page("100,00 €"), alert_policy=AlertPolicy(require_consecutive=3, channels=["ops"]))
    await checks.check()
    await checks.check_each(page("90,00 €"))
    good = await checks.state()
    await checks.load(checks.rule(fetch=FetchProfile(timeout=0.4)))
    checks.site.route("/widget", route() if name in ("endless", "drips") else route)  # type: ignore[operator] - as above
    hand = Hand(checks)
    await hand.enqueue(job_id="bad")

    waits = await hand.run()

    assert waits == [0.0, 30.0, 120.0][:attempts]
    await _ended(checks, code, attempts)
    state = await checks.state()
    assert (state.stable, state.stable_raw, state.etag) == (good.stable, "100,00 €", good.etag)
    assert (state.candidate, state.candidate_raw, state.candidate_count) == (good.candidate, "90,00 €", 1)
    assert state.fail_streak == 1
    assert len(await checks.seen()) == 2
    breaks_at_once = ERROR_CODES[code].weight > 60
    assert [one.kind for one in await checks.store.alerts()] == ["health"] * breaks_at_once


async def _ended(checks: World, code: str, attempts: int) -> None:
    """One run, closed with its code; the job done, or dead where it was tried to the end."""
    run = await checks.store.run_of("bad")
    assert (run.result.error_code, run.status, run.attempt) == (code, "error", attempts)
    assert run.finished_at is not None
    assert run.result.error_detail
    assert len(run.result.error_detail) < 500
    dead = await checks.broker.dead(RULES_RUN)
    stats = await checks.broker.stats(RULES_RUN)
    assert (stats.leased, stats.delayed, sum(stats.ready.values())) == (0, 0, 0)
    if code in OURS_FOR_NOW:
        (letter,) = dead
        assert (letter.reason, letter.attempts, stats.done) == ("exhausted", 3, 0)
        assert code in letter.error
    else:
        assert (dead, stats.done) == ([], 1)


@pytest.mark.parametrize(
    ("body", "content_type", "raw"),
    [
        ("129,99 €".encode("windows-1250"), "text/html; charset=windows-1250", "129,99 €"),
        ("129,99 €".encode("iso-8859-15"), "text/html; charset=ISO-8859-15", "129,99 €"),
        ("129,99 Kč".encode("iso-8859-2"), "text/html; charset=iso-8859-2", "129,99 Kč"),
        ("129,99 €".encode("utf-16"), "text/html", "129,99 €"),
        ("129,99 €".encode("utf-8-sig"), "text/html", "129,99 €"),
        ("129,99 €".encode("windows-1252"), "text/html", "129,99 €"),
        ("129,99 €".encode(), "text/html; charset=no-such-thing", "129,99 €"),
        ("￥12,999".encode("shift_jis"), "text/html; charset=Shift_JIS", "￥12,999"),
    ],
    ids=["cp1250", "latin9", "latin2", "utf-16 mark", "utf-8 mark", "undeclared", "unknown", "shift_jis"],
)
async def test_a_page_that_is_not_utf_8_is_read_all_the_same(
    checks: World, body: bytes, content_type: str, raw: str
) -> None:
    encoding = "utf-16-le" if body.startswith(b"\xff\xfe") else "ascii"
    before, after = "<p class='price'>".encode(encoding), "</p>".encode(encoding)
    mark = 2 if encoding != "ascii" else 3 if body.startswith(b"\xef\xbb\xbf") else 0
    await checks.watch(Reply(body=body[:mark] + before + body[mark:] + after, content_type=content_type))

    await checks.check()

    assert [seen.raw for seen in await checks.seen()] == [raw]


async def test_bytes_of_no_charset_are_a_page_with_holes_and_no_crash(checks: World) -> None:
    await checks.watch(Reply(body=b"<p>\xff\xfe\xc3\x28\xf0\x9f</p><p class='price'>99 EUR</p>\xe2\x82"))
    await checks.check()
    assert await checks.stable() == "99 EUR"


# --- ways that lead nowhere ---------------------------------------------------------------------


async def _no_such_name(host: str, port: int) -> Sequence[str]:
    raise OSError(-2, "Name or service not known")


@pytest.fixture
async def strict(checks: World) -> AsyncIterator[World]:
    """As in production: nothing private may be reached, and no name is known."""
    async with Fetcher(NetworkPolicy(), Limits(), resolve=_no_such_name) as fetcher:
        checks.fetcher = fetcher
        yield checks


@pytest.mark.parametrize(
    ("url", "code", "attempts"),
    [
        ("http://127.0.0.1:{port}/widget", "FETCH_REFUSED_ADDRESS", 1),
        ("http://[::1]:{port}/widget", "FETCH_REFUSED_ADDRESS", 1),
        ("http://0x7f.1:{port}/widget", "FETCH_REFUSED_ADDRESS", 1),
        ("http://shop.example.com/widget", "FETCH_DNS", 3),
        ("ftp://shop.example.com/widget", "FETCH_BAD_URL", 1),
        ("http://user:hunter2@shop.example.com/", "FETCH_BAD_URL", 1),
    ],
)
async def test_an_address_that_may_not_be_or_is_not_ends_with_its_code_and_is_not_dialled(
    strict: World, url: str, code: str, attempts: int
) -> None:
    await strict.load(strict.rule(url=url.format(port=strict.site.port)))
    hand = Hand(strict)
    await hand.enqueue(job_id="bad")

    assert len(await hand.run()) == attempts

    await _ended(strict, code, attempts)
    assert strict.site.connections == 0
    assert "hunter2" not in ((await strict.last_run()).result.error_detail or "")


async def test_a_port_where_nobody_listens_is_tried_again(checks: World, free_tcp_port: int) -> None:
    await checks.load(checks.rule(url=f"http://127.0.0.1:{free_tcp_port}/"))
    hand = Hand(checks)
    await hand.enqueue(job_id="bad")

    await hand.run()

    await _ended(checks, "FETCH_CONNECTION", 3)


# --- telling ------------------------------------------------------------------------------------


async def test_a_page_that_stays_bad_is_told_once_and_its_recovery_too(checks: World) -> None:
    await checks.watch(page())
    await checks.check()
    await checks.check_each(*[Reply(status=404)] * 5, *[page()] * 3)
    assert [alert.kind for alert in (await checks.store.alerts())[::-1]] == ["health", "recovery"]
    assert [one.result.error_code for one in await checks.store.runs(WIDGET)].count("FETCH_HTTP_4XX") == 5
    assert await checks.stable() == "100,00 €"


async def test_a_very_long_text_is_kept_short(checks: World) -> None:
    await checks.watch(page("9 €" + " or so" * 9000))
    await checks.check()
    (seen,) = await checks.seen()
    assert len(seen.raw or "") == 20_000
    assert len(await checks.stable() or "") == 20_000
