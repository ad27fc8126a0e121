"""robots.txt, by the examples of RFC 9309 and what strangers write."""

from __future__ import annotations

import httpx
import pytest

from sentinel.errors import CheckFailure
from sentinel.fetch.robots import KEEP, KEEP_TROUBLE, RobotsFiles, parse

RFC = """
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize(
    ("product", "path", "line"),
    [
        ("sentinel", "/a/b.gif", "Disallow: *.gif$"),
        ("sentinel", "/a/b.gif?size=2", None),
        ("sentinel", "/example/", "Disallow: /example/"),
        ("sentinel", "/publications/x.gif", None),
        ("foobot", "/", "Disallow: /"),
        ("foobot", "/example/page.html", None),
        ("bazbot", "/example/page.html", "Disallow: /example/page.html"),
        ("barbot", "/example/other.html", None),
        ("quxbot", "/example/page.html", None),
    ],
)
def test_the_longest_line_that_fits_decides(product: str, path: str, line: str | None) -> None:
    found = parse(RFC, product).forbids(path)
    assert (None if found is None else str(found)) == line


@pytest.mark.parametrize(
    ("pattern", "path", "forbidden"),
    [
        ("/foo/bar/\u30c4", "/foo/bar/%E3%83%84", True),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz", True),
        ("/a%2fb", "/a%2Fb", True),
        ("/a%2fb", "/a/b", False),
        ("/*/x*y$", "/1/x2y", True),
        ("/*/x*y$", "/1/x2yz", False),
        ("/a*a$", "/a", False),
        ("/$", "/", True),
        ("/$", "/x", False),
        ("", "/x", False),
    ],
)
def test_patterns(pattern: str, path: str, forbidden: bool) -> None:
    assert (parse(f"user-agent: *\ndisallow: {pattern} # why").forbids(path) is not None) == forbidden


def test_a_pattern_made_to_take_for_ever_does_not() -> None:
    robots = parse("User-agent: *\n" + ("Disallow: /" + "*a" * 900 + "*b$\n") * 250)
    assert robots.forbids("/" + "a" * 8000) is None


def test_crawl_delay_is_a_number_of_seconds_up_to_an_hour() -> None:
    assert parse("User-agent: *\nCrawl-delay: 2.5").delay == 2.5
    assert parse("User-agent: *\nCrawl-delay: 999999").delay == 3600
    assert parse("User-agent: *\nCrawl-delay: -1").delay is None


async def test_it_is_kept_for_a_day_and_what_cannot_be_read_forbids_for_a_while() -> None:
    now = [0.0]
    asked: list[str] = []
    answers = [(503, b""), (404, b""), (200, b"User-agent: *\nDisallow: /x")]

    async def get(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return answers[len(asked) - 1]

    files, url = RobotsFiles(lambda: now[0]), httpx.URL("https://shop.example.com:8443/a?b#c")
    for moment in (0.0, KEEP_TROUBLE - 1):
        now[0] = moment
        with pytest.raises(CheckFailure, match="the server answered 503"):
            await files.of(url, get)
    for moment in (KEEP_TROUBLE, KEEP_TROUBLE + KEEP - 1):
        now[0] = moment
        assert (await files.of(url, get)).forbids("/x") is None
    now[0] = KEEP_TROUBLE + KEEP
    assert str((await files.of(url, get)).forbids("/x")) == "Disallow: /x"
    assert asked == ["https://shop.example.com:8443/robots.txt"] * 3
