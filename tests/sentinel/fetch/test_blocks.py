"""Walls are told from pages; a page that mentions a wall is a page."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from sentinel.fetch.blocks import classify, visible_text

HTML = {"content-type": "text/html; charset=utf-8"}
LOREM = "<p>" + "A solid oak table, oiled by hand, for six people. Price on request. " * 80 + "</p>"

CLOUDFLARE = "BLOCK_CLOUDFLARE_SUSPECTED"
CAPTCHA = "BLOCK_CAPTCHA_SUSPECTED"
DENIED = "BLOCK_FORBIDDEN_403"


def page(title: str, body: str) -> str:
    return f"<!doctype html><html><head><title>{title}</title></head><body>{body}</body></html>"


CHALLENGE = page(
    "Just a moment...",
    "<noscript>Enable JavaScript and cookies to continue</noscript>"
    "<script>window._cf_chl_opt={cvId:'3'};a.src='/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1'</script>",
)

WALLS = [
    # Cloudflare
    (503, CHALLENGE, CLOUDFLARE),
    (403, CHALLENGE, CLOUDFLARE),
    (200, CHALLENGE, CLOUDFLARE),
    (
        403,
        page("Attention Required! | Cloudflare", "<h1>Sorry, you have been blocked</h1>Cloudflare Ray ID: 1"),
        CLOUDFLARE,
    ),
    (
        503,
        page(
            "Please wait",
            "Checking your browser before accessing shop.example.com. DDoS protection by Cloudflare",
        ),
        CLOUDFLARE,
    ),
    # captchas
    (
        200,
        page(
            "Amazon.com",
            "<form action='/errors/validateCaptcha'><h4>Enter the characters you see below</h4></form>",
        ),
        CAPTCHA,
    ),
    (
        200,
        page(
            "",
            "Our systems have detected unusual traffic from your computer network. <div class='g-recaptcha'></div>",
        ),
        CAPTCHA,
    ),
    (
        403,
        page(
            "shop.example.com",
            "<script>var dd={'host':'geo.captcha-delivery.com'}</script><p>Please verify you are a human</p>",
        ),
        CAPTCHA,
    ),
    (
        200,
        page(
            "Access to this page has been denied",
            "<div id='px-captcha'></div>Press & Hold to confirm you are a human",
        ),
        CAPTCHA,
    ),
    (200, page("Are you a robot?", "<p>Please complete the security check to go on.</p>"), CAPTCHA),
    (200, page("Security check", "<div class='h-captcha'></div>"), CAPTCHA),
    # denied
    (200, page("Access Denied", "You don't have permission to access this server. Reference #18.2d"), DENIED),
    (200, page("403 Forbidden", "<h1>Forbidden</h1><hr>nginx"), DENIED),
    (200, page("Shop", "<p>This site is not available in your country.</p>"), DENIED),
    (403, "", DENIED),
    (403, page("x", LOREM), DENIED),
    (429, page("x", LOREM), "BLOCK_RATE_LIMIT_429"),
    # login
    (200, page("Log in", "<form><input name=user><input type='password'></form>"), "PAGE_LOGIN"),
    (200, page("Members", '<h1>Sign in</h1><form><input type="password"></form>'), "PAGE_LOGIN"),
    (200, page("Přihlášení", "<form><input type=password></form>"), "PAGE_LOGIN"),
    (200, page("Shop", "<h1>Login required</h1><p>Please log in to see prices.</p>"), "PAGE_LOGIN"),
    # consent
    (
        200,
        page(
            "Before you continue to Google",
            "<form action='https://consent.google.com/save'>Accept all Reject all</form>",
        ),
        "PAGE_CONSENT",
    ),
    (200, page("News", "<h1>We value your privacy</h1><button>Accept all</button>"), "PAGE_CONSENT"),
    # maintenance
    (
        200,
        page("Under maintenance", "<p>Our shop is undergoing maintenance. We'll be back soon.</p>"),
        "PAGE_MAINTENANCE",
    ),
    (503, page("Shop", "<p>Down for maintenance, be back shortly</p>"), "PAGE_MAINTENANCE"),
    (200, page("Wartungsarbeiten", "<p>Wir sind bald zurück</p>"), "PAGE_MAINTENANCE"),
    # not found, sent as 200
    (200, page("404 Not Found", "<h1>Not Found</h1>"), "FETCH_HTTP_4XX"),
    (200, page("Page not found - Shop", "<p>The page you are looking for was moved.</p>"), "FETCH_HTTP_4XX"),
    (200, page("404", "<h1>Oops</h1>"), "FETCH_HTTP_4XX"),
    (200, page("Shop", "<h1>Seite nicht gefunden</h1>"), "FETCH_HTTP_4XX"),
]


@pytest.mark.parametrize(("status", "text", "code"), WALLS)
def test_a_wall_is_known_for_what_it_is(status: int, text: str, code: str) -> None:
    block = classify(status, HTML, text)
    assert block is not None
    assert block.code == code
    assert 0.6 <= block.confidence <= 1
    assert block.detail


@pytest.mark.parametrize(
    "headers",
    [{"cf-mitigated": "challenge"}, {"cf-mitigated": "Challenge", "content-type": "application/json"}],
)
def test_cloudflares_own_header_decides_alone(headers: dict[str, str]) -> None:
    block = classify(403, headers, "")
    assert block is not None
    assert (block.code, block.confidence) == (CLOUDFLARE, 1.0)


def test_the_waf_header_of_aws_decides_alone() -> None:
    block = classify(202, {"x-amzn-waf-action": "challenge"}, "")
    assert block is not None
    assert block.code == CAPTCHA


PAGES = [
    page(
        "Oak table", LOREM + "Protected by Cloudflare. Solve the captcha: are you a robot? I'm not a robot."
    ),
    page("Just a moment...", LOREM),
    page(
        "What is a CAPTCHA? Security check explained",
        LOREM + "Complete the captcha. Access denied. 404 not found.",
    ),
    page("Cloudflare Ray ID explained", LOREM + "Checking your browser before accessing"),
    page("Oak table", LOREM + "<form>Log in<input type=password></form>"),
    page("Oak table", "<div class=price>19.99 €</div><p>In stock</p>"),
    page("Oak table", "<div class=price>19.99</div>"),
    page("Oak table 19,99 €", "<div class='h-captcha'></div><p>In stock</p>"),
    page("Contact", "<form>Write to us<div class='g-recaptcha'></div></form>"),
    page(
        "Oak table", "<script src='/cdn-cgi/challenge-platform/scripts/jsd/main.js'></script><p>In stock</p>"
    ),
    page("Oak table", "<p>Cookies: <button>Accept all</button></p><p>120 €</p>"),
    page("Peugeot 404 model car", "<p>In stock</p>"),
    page(
        "Maintenance kit for HP LaserJet", '<script type="application/ld+json">{"@type":"Product"}</script>'
    ),
    page("Oak table", "<p>This product is temporarily unavailable</p>"),
    page("Oak table", "<p>Sold out. We'll be back soon!</p>"),
    page("Blog", "<p>cloudflare captcha access denied</p>"),
    "",
    "<p>19.99</p>",
]


@pytest.mark.parametrize("text", PAGES)
def test_a_page_that_mentions_a_wall_is_a_page(text: str) -> None:
    assert classify(200, HTML, text) is None


def test_what_is_no_html_is_judged_by_status_and_headers_only() -> None:
    body = '{"title": "Just a moment...", "x": "_cf_chl_opt", "captcha": "are you a robot?"}'
    assert classify(200, {"content-type": "application/json"}, body) is None


@pytest.mark.parametrize("status", [400, 404, 410, 500, 502])
def test_an_error_page_says_no_more_than_its_status(status: int) -> None:
    assert classify(status, HTML, page("404 Not Found", "<h1>Not Found</h1>")) is None
    assert classify(status, HTML, page("Log in", "<input type=password>")) is None


#: Real product pages (scrapinghub/product-extraction-benchmark, MIT): the shortest and the most
#: captcha-minded lie here, others with the tests that read prices; PRODUCT_PAGES names a whole folder.
PRODUCT_PAGES = sorted(
    file
    for place in (
        Path(__file__).parent / "data" / "pages",
        Path(__file__).parents[1] / "extract" / "data" / "html",
        Path(os.environ.get("PRODUCT_PAGES", "nowhere")),
    )
    for file in place.glob("*.html.gz")
)


def test_no_real_product_page_is_taken_for_a_wall() -> None:
    assert len(PRODUCT_PAGES) >= 15
    walls = {}
    for file in PRODUCT_PAGES:
        block = classify(200, HTML, gzip.decompress(file.read_bytes()).decode("utf-8", "replace"))
        if block is not None:
            walls[file.name[:12]] = block
    assert walls == {}


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<script>",
        "<!--",
        "<h1>",
        "<title>",
        "type=",
        'action="',
        "page you ",
        "<script></script>",
        "</",
        "İ",
    ],
)
def test_a_page_made_to_be_slow_to_read_is_read(piece: str) -> None:
    classify(200, HTML, piece * (1_000_000 // len(piece)))


def test_visible_text_is_what_a_reader_sees() -> None:
    markup = "<title>t</title><style>p{}</style><p>One<br>two&nbsp;<!-- no --> three</p><script>no()</script ><SCRIPT>no"
    assert visible_text(markup) == "One two three"
