"""Whatever a server sends, a fetch ends with a page or an error code, within its limits."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import os
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import brotli
import pytest
import zstandard

from sentinel.fetch.fetcher import Fetcher, FetchFailure
from sentinel.fetch.guard import NetworkPolicy
from sentinel.fetch.http import Limits
from sentinel.model import Fetched, FetchProfile
from tests.sentinel.fetch.world import hostile
from tests.support.http import RawHandler, Reply, Request, Site

PLAIN = FetchProfile()


def raw(*parts: bytes) -> RawHandler:
    """Sends the bytes as they are, and closes."""

    async def send(request: Request, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return send


def forever(head: bytes, piece: bytes, *, pause: float = 0.0) -> RawHandler:
    """Sends the head, then the piece again and again until the client goes."""

    async def send(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return send


def zeros(gibibytes: int = 1) -> bytes:
    """A gzip bomb of one member, 1:1000. Every full flush resets the coder, so its piece repeats."""
    coder = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    mebibyte = b"\0" * (1 << 20)
    first = coder.compress(mebibyte) + coder.flush(zlib.Z_FULL_FLUSH)
    piece = coder.compress(mebibyte) + coder.flush(zlib.Z_FULL_FLUSH)
    return first + piece * (gibibytes * 1024 - 1)


def encoded(body: bytes, *codings: str) -> Reply:
    return Reply(body=body, headers=[("Content-Encoding", coding) for coding in codings])


async def failure(
    fetcher: Fetcher, site: Site, route: Reply | RawHandler, profile: FetchProfile = PLAIN
) -> FetchFailure:
    url = site.route("/page", route)
    with pytest.raises(FetchFailure) as caught:
        await fetcher.fetch(url, profile)
    assert caught.value.code != "UNKNOWN"
    assert caught.value.detail.isprintable()
    return caught.value


async def page(fetcher: Fetcher, site: Site, route: Reply | RawHandler) -> Fetched:
    return await fetcher.fetch(site.route("/page", route), PLAIN)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
PAGE = b"<p>19.99</p>"

#: Rows that must end in an error: input -> what the server does, the code.
ERRORS: dict[str, tuple[Callable[[], Reply | RawHandler], str]] = {
    'py:gzip.compress(b"\\0"*(1<<30))': (lambda: encoded(zeros(), "gzip"), "FETCH_TOO_LARGE"),
    'py:gzip.compress(gzip.compress(b"\\0"*(256<<20))) with Content-Encoding: gzip, gzip': (
        lambda: encoded(gzip.compress(zeros()), "gzip, gzip"),
        "FETCH_TOO_LARGE",
    ),
    "Content-Encoding: x-unknown": (lambda: encoded(PAGE, "x-unknown"), "FETCH_DECODE"),
    "no Content-Length, endless body at full speed": (
        lambda: forever(OK + b"\r\n", b"x" * 65536),
        "FETCH_TOO_LARGE",
    ),
    "chunk size ZZ": (
        lambda: raw(OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n"),
        "FETCH_DECODE",
    ),
    "HTTP/1.1 999": (lambda: raw(b"HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nno"), "FETCH_DECODE"),
    # "record_as_typed": it is an image to us, and no HTML is read out of it.
    "Content-Type: image/png with an HTML body": (
        lambda: Reply(body=PAGE, content_type="image/png"),
        "FETCH_DECODE",
    ),
}

#: Rows that must end in a page: input -> what the server does, the text.
PAGES: dict[str, tuple[Callable[[], Reply | RawHandler], str]] = {
    "Content-Length and Transfer-Encoding: chunked": (
        lambda: raw(
            OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n" + PAGE + b"\r\n0\r\n\r\n"
        ),
        PAGE.decode(),
    ),
    "charset=no-such-charset": (
        lambda: Reply(body="<p>19,99 €</p>", content_type="text/html; charset=no-such-charset"),
        "<p>19,99 €</p>",
    ),
    "Content-Disposition: attachment; filename=../../x": (
        lambda: Reply(body=PAGE, headers={"Content-Disposition": "attachment; filename=../../x"}),
        PAGE.decode(),
    ),
    "Retry-After: abc": (lambda: Reply(body=PAGE, headers={"Retry-After": "abc"}), PAGE.decode()),
}


def test_every_response_row_has_a_test() -> None:
    assert {row["input"] for row in hostile("response")} == {*ERRORS, *PAGES}


@pytest.mark.parametrize("name", ERRORS)
async def test_a_hostile_answer_ends_in_its_error_code(name: str, inner_fetcher: Fetcher, site: Site) -> None:
    make, code = ERRORS[name]
    caught = await failure(inner_fetcher, site, make())
    assert caught.code == code
    assert caught.partial is not None
    # And the fetcher is as good as before
    assert (await page(inner_fetcher, site, Reply(body=PAGE))).text == PAGE.decode()


@pytest.mark.parametrize("name", PAGES)
async def test_an_odd_answer_that_can_be_read_is_read(
    name: str, inner_fetcher: Fetcher, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, text = PAGES[name]
    assert (await page(inner_fetcher, site, make())).text == text
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib would be told off for blocking here


async def test_an_unreadable_retry_after_is_no_retry_after(inner_fetcher: Fetcher, site: Site) -> None:
    caught = await failure(inner_fetcher, site, Reply(status=429, headers={"Retry-After": "abc"}))
    assert caught.retry_after is None


# --- sizes -------------------------------------------------------------------------------------


@contextmanager
def bounded_memory(mebibytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < mebibytes << 20, f"{peak >> 20} MiB"


def zstd_bomb() -> bytes:
    return zstandard.ZstdCompressor().compress(b"\0" * (256 << 20))


def brotli_bomb() -> bytes:
    return bytes(brotli.compress(b"\0" * (256 << 20), quality=1))


@pytest.mark.parametrize(
    ("make", "codings"),
    [
        (zeros, ("gzip",)),
        (lambda: gzip.compress(zeros()), ("gzip", "gzip")),
        (lambda: zlib.compress(zlib.compress(b"\0" * (64 << 20), 9)), ("deflate, deflate",)),
        (brotli_bomb, ("br",)),
        (zstd_bomb, ("zstd",)),
        (lambda: brotli.compress(zstd_bomb()), ("zstd", "br")),
    ],
    ids=["gzip", "gzip twice", "deflate twice", "brotli", "zstd", "zstd in brotli"],
)
async def test_a_bomb_costs_little_memory_with_the_limits_in_force(
    make: Callable[[], bytes], codings: tuple[str, ...], site: Site
) -> None:
    bomb = make()
    url = site.route("/page", encoded(bomb, *codings))
    async with Fetcher(NetworkPolicy(allow_private=True)) as fetcher:
        with bounded_memory(64), pytest.raises(FetchFailure) as caught:
            await fetcher.fetch(url, PLAIN)
    assert caught.value.code == "FETCH_TOO_LARGE"


async def test_a_body_announced_as_too_large_is_not_read(inner_fetcher: Fetcher, site: Site) -> None:
    caught = await failure(
        inner_fetcher, site, forever(OK + b"Content-Length: 5000000000\r\n\r\n", b"x" * 65536)
    )
    assert caught.code == "FETCH_TOO_LARGE"
    assert caught.partial is not None
    assert caught.partial.wire_bytes == 0


async def test_chunks_without_end_are_cut(inner_fetcher: Fetcher, site: Site) -> None:
    caught = await failure(inner_fetcher, site, Reply(chunks=itertools.repeat(b"x" * 65536)))
    assert caught.code == "FETCH_TOO_LARGE"


async def test_an_error_page_without_end_is_still_the_error_it_is(inner_fetcher: Fetcher, site: Site) -> None:
    caught = await failure(inner_fetcher, site, Reply(status=500, chunks=itertools.repeat(b"x" * 65536)))
    assert caught.code == "FETCH_HTTP_5XX"


@pytest.mark.parametrize(
    "head",
    [
        OK + b"".join(b"X-%d: v\r\n" % n for n in range(101)) + b"\r\n",
        OK + b"X-Long: " + b"v" * 70_000 + b"\r\n\r\n",
        OK + b"X-Endless: " + b"v" * 200_000,
    ],
    ids=["101 lines", "one long line", "a line without end"],
)
async def test_a_header_has_limits(head: bytes, inner_fetcher: Fetcher, site: Site) -> None:
    assert (await failure(inner_fetcher, site, raw(head, PAGE))).code == "FETCH_TOO_LARGE"


async def test_a_flood_of_interim_answers_is_cut(inner_fetcher: Fetcher, site: Site) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </" + b"a" * 2000 + b">\r\n\r\n"
    caught = await failure(inner_fetcher, site, forever(b"", hints))
    assert caught.code == "FETCH_TOO_LARGE"


async def test_dense_but_small_pages_are_pages(inner_fetcher: Fetcher, site: Site) -> None:
    text = "<li>row</li>" * 50_000
    got = await page(inner_fetcher, site, encoded(gzip.compress(text.encode()), "gzip"))
    assert got.text == text


# --- times -------------------------------------------------------------------------------------

HURRIED = FetchProfile(timeout=0.3)


@pytest.mark.parametrize(
    "route",
    [
        forever(b"", b"H", pause=0.02),
        forever(OK, b"X-A: b\r\n", pause=0.02),
        forever(OK + b"\r\n", b"x", pause=0.02),
        forever(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", pause=0.02),
        Reply(hold=asyncio.Event()),
    ],
    ids=["status line", "head", "body", "chunks", "silence"],
)
async def test_a_slow_answer_runs_into_the_deadline_of_the_whole(
    route: Reply | RawHandler, inner_fetcher: Fetcher, site: Site
) -> None:
    caught = await failure(inner_fetcher, site, route, HURRIED)
    assert caught.code == "FETCH_TIMEOUT"
    assert caught.partial is not None
    assert caught.partial.timings["total"] > 0


async def test_the_installations_deadline_stands_above_the_profiles(site: Site) -> None:
    url = site.route("/page", Reply(hold=asyncio.Event()))
    async with Fetcher(NetworkPolicy(allow_private=True), Limits(total_seconds=0.2)) as fetcher:
        with pytest.raises(FetchFailure) as caught:
            await fetcher.fetch(url, FetchProfile(timeout=300))
    assert caught.value.code == "FETCH_TIMEOUT"


async def test_silence_is_given_up_before_the_deadline_of_the_whole(site: Site) -> None:
    url = site.route("/page", Reply(hold=asyncio.Event()))
    async with Fetcher(NetworkPolicy(allow_private=True), Limits(read_seconds=0.1)) as fetcher:
        with pytest.raises(FetchFailure) as caught:
            await fetcher.fetch(url, FetchProfile(timeout=300))
    assert caught.value.code == "FETCH_TIMEOUT"


async def test_a_cancelled_fetch_leaves_no_connection(inner_fetcher: Fetcher, site: Site) -> None:
    gone = asyncio.Event()

    async def wait(request: Request, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        gone.set()

    fetch = asyncio.ensure_future(inner_fetcher.fetch(site.route("/page", wait), PLAIN))
    await site.requests_arrived(1)
    fetch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetch
    await asyncio.wait_for(gone.wait(), 10)


# --- framing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "FETCH_CONNECTION"),
        (b"\x00\x01\x02\x03", "FETCH_DECODE"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "FETCH_CONNECTION"),
        (b"HTTQ/1.1 200 OK\r\n\r\n", "FETCH_DECODE"),
        (b"HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n", "FETCH_DECODE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 7\r\n\r\nhello", "FETCH_DECODE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "FETCH_DECODE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", "FETCH_CONNECTION"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "FETCH_CONNECTION"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhel", "FETCH_CONNECTION"),
        (OK + b"Transfer-Encoding: gzip\r\n\r\nhello", "FETCH_DECODE"),
        (b"HTTP/1.1 200 OK\r\n", "FETCH_CONNECTION"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "FETCH_DECODE"),
    ],
)
async def test_broken_http_is_an_error_code(
    sent: bytes, code: str, inner_fetcher: Fetcher, site: Site
) -> None:
    caught = await failure(inner_fetcher, site, raw(sent))
    assert caught.code == code


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (PAGE, ("gzip",)),
        (PAGE, ("br",)),
        (PAGE, ("zstd",)),
        (bytes(range(156, 256)), ("deflate",)),
        (gzip.compress(PAGE * 1000)[:-20], ("gzip",)),
        (brotli.compress(PAGE * 1000)[:-2], ("br",)),
        (zstandard.compress(PAGE * 1000)[:-2], ("zstd",)),
        (zlib.compress(PAGE * 1000)[:-8], ("deflate",)),
        (PAGE, ("gzip, gzip, gzip",)),
        (PAGE, ("gzip", "br", "zstd")),
        (PAGE, ("compress",)),
        (gzip.compress(PAGE) * 300, ("gzip",)),
    ],
)
async def test_a_body_that_does_not_inflate_is_an_error(
    body: bytes, codings: tuple[str, ...], inner_fetcher: Fetcher, site: Site
) -> None:
    assert (await failure(inner_fetcher, site, encoded(body, *codings))).code == "FETCH_DECODE"


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (gzip.compress(PAGE), ("gzip",)),
        (gzip.compress(PAGE), ("X-GZIP",)),
        (gzip.compress(PAGE[:5]) + gzip.compress(PAGE[5:]), ("gzip",)),
        (gzip.compress(PAGE) + b"\0" * 100, ("gzip",)),
        (zlib.compress(PAGE), ("deflate",)),
        (zlib.compress(PAGE)[2:-4], ("deflate",)),
        (brotli.compress(PAGE), ("br",)),
        (zstandard.compress(PAGE), ("zstd",)),
        (zstandard.compress(PAGE[:5]) + zstandard.compress(PAGE[5:]), ("zstd",)),
        (brotli.compress(gzip.compress(PAGE)), ("gzip, br",)),
        (brotli.compress(gzip.compress(PAGE)), ("gzip", "br")),
        (PAGE, ("identity",)),
        (PAGE, ("",)),
    ],
)
async def test_every_coding_a_browser_takes_is_taken(
    body: bytes, codings: tuple[str, ...], inner_fetcher: Fetcher, site: Site
) -> None:
    got = await page(inner_fetcher, site, encoded(body, *codings))
    assert got.body == PAGE
    assert got.wire_bytes == len(body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("image/jpeg", b"\xff\xd8\xff\xe0"),
        ("application/pdf", b"%PDF-1.7"),
        ("video/mp4", b"..."),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK\x03\x04"),
        ("text/html", b"%PDF-1.7"),
        ("text/html", b"\x89PNG\r\n\x1a\n"),
        ("application/octet-stream", b"PK\x03\x04"),
        ("application/octet-stream", b"ab\x00cd"),
        (None, b"ab\x00cd"),
    ],
)
async def test_what_is_no_text_is_refused_politely(
    content_type: str | None, body: bytes, inner_fetcher: Fetcher, site: Site
) -> None:
    caught = await failure(inner_fetcher, site, Reply(body=body, content_type=content_type))
    assert caught.code == "FETCH_DECODE"
    assert caught.partial is not None
    assert caught.partial.content_type == (content_type or "")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/ld+json",
        "application/rss+xml",
        "image/svg+xml",
        "text/plain",
        "application/octet-stream",
        "application/x-whatever",
        "nonsense",
        None,
    ],
)
async def test_what_may_be_text_is_read(content_type: str | None, inner_fetcher: Fetcher, site: Site) -> None:
    got = await page(inner_fetcher, site, Reply(body='{"price": "19,99 €"}', content_type=content_type))
    assert got.text == '{"price": "19,99 €"}'
