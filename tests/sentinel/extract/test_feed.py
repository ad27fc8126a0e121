from __future__ import annotations

from typing import Any

import pytest

from sentinel.errors import CheckFailure
from sentinel.extract import extract
from sentinel.model import Extraction
from tests.sentinel.extract.pages import page

RSS = """<?xml version="1.0"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>News</title>
<item><guid>n2</guid><title>Two &amp; more</title><link>https://example.com/2</link><pubDate>Tue, 02 Jun 2026</pubDate>
<description>&lt;p&gt;Now &lt;b&gt;better&lt;/b&gt;&lt;/p&gt;</description><dc:creator>Ann</dc:creator></item>
<item><title>One</title><link>https://example.com/1</link></item></channel></rss>"""
RDF = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
<channel/><item rdf:about="urn:1"><title>One</title></item></rdf:RDF>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><entry><id>tag:1</id><title type="html">&lt;i&gt;One&lt;/i&gt;</title>
<link rel="replies" href="/replies"/><link href="https://example.com/1"/><updated>2026-06-02T00:00:00Z</updated>
<author><name>Ann</name><email>a@example.com</email></author><summary>Short</summary></entry></feed>"""
JSON = """{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": 1, "url": "https://example.com/1", "title": "One",
"content_html": "<p>Words</p>", "date_published": "2026-06-02", "authors": [{"name": "Ann"}]}]}"""


def rows(text: str, kind: str = "application/xml", **extraction: Any) -> list[tuple[str, dict[str, str]]]:
    found = extract(page(text, kind=kind), Extraction(method="feed", **extraction))
    assert found.rows is not None
    return list(found.rows)


def test_rss_2() -> None:
    assert rows(RSS) == [
        (
            "n2",
            {
                "title": "Two & more",
                "link": "https://example.com/2",
                "published": "Tue, 02 Jun 2026",
                "author": "Ann",
                "summary": "Now better",
            },
        ),
        ("https://example.com/1", {"title": "One", "link": "https://example.com/1"}),
    ]


def test_rss_1_is_known_by_what_it_is_about() -> None:
    assert rows(RDF) == [("urn:1", {"title": "One"})]


def test_atom_links_to_the_page_itself() -> None:
    assert rows(ATOM) == [
        (
            "tag:1",
            {
                "title": "One",
                "link": "https://example.com/1",
                "updated": "2026-06-02T00:00:00Z",
                "author": "Ann",
                "summary": "Short",
            },
        )
    ]


def test_json_feed() -> None:
    assert rows(JSON, kind="application/feed+json") == [
        (
            "1",
            {
                "title": "One",
                "link": "https://example.com/1",
                "published": "2026-06-02",
                "author": "Ann",
                "summary": "Words",
            },
        )
    ]


def test_key_and_columns_may_be_any_element() -> None:
    assert rows(RSS, key="title", columns={"by": "creator", "link": "link"}) == [
        ("Two & more", {"by": "Ann", "link": "https://example.com/2"}),
        ("One", {"by": "", "link": "https://example.com/1"}),
    ]
    with pytest.raises(CheckFailure, match="no column 'titel': did you mean 'title'"):
        rows(RSS, columns=["titel"])


def test_other_xml_has_entries_where_the_rule_says_what_they_are() -> None:
    text = "<urlset><url><loc>/a</loc></url><url><loc>/b</loc></url></urlset>"
    assert rows(text, row="url", key="loc", columns=["loc"]) == [("/a", {"loc": "/a"}), ("/b", {"loc": "/b"})]


@pytest.mark.parametrize(
    "text",
    [
        "<html><body>not a feed</body></html>",
        "<rss><channel>",
        '{"items": 1}',
        "{",
        '{"a":' * 5_000,
        "<!DOCTYPE rss [<!ENTITY a 'x'>]><rss><item><title>&a;</title></item></rss>",
        "<!DOCTYPE rss SYSTEM 'http://127.0.0.1/x.dtd'><rss/>",
        "<rss>" + "<item><title>x</title></item>" * 25_000 + "</rss>",
        "<rss>" + "<a>" * 6_000,
    ],
)
def test_what_is_no_feed_or_too_much_of_one(text: str) -> None:
    with pytest.raises(CheckFailure, match="EXTRACT_PARSE_ERROR"):
        rows(text)


@pytest.mark.parametrize(
    "text",
    [
        "<!doctype html><html><head><title>News</title><meta charset=utf-8></head><body>News</body></html>",
        "\n<!-- made by hand --><html><body>x",
        '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body/></html>',
    ],
)
def test_a_page_in_place_of_a_feed_is_called_one(text: str) -> None:
    with pytest.raises(CheckFailure, match="the page is HTML, not a feed"):
        rows(text)


def test_a_feed_without_entries_holds_no_rows() -> None:
    with pytest.raises(CheckFailure, match="EXTRACT_EMPTY_VALUE"):
        rows("<rss><channel/></rss>")
    nothing = Extraction(method="feed", columns=["title"])
    found = extract(page("<rss><channel/></rss>", kind="text/xml"), nothing, allow_empty=True)
    assert found.rows == ()
