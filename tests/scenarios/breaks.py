"""Histories in which a rule goes blind: told once, and once when it sees again; one bad check is told to nobody."""

from __future__ import annotations

import asyncio

from tests.scenarios.history import (
    CAREFUL_PRICE,
    PRICE,
    STOCK,
    History,
    Step,
    broken,
    css,
    html,
    json,
    quiet,
    rule,
    shop,
    tells,
    well_again,
    with_status,
)
from tests.support.http import Reply, Request, Route

WELL = shop("€10")
CHALLENGE = html(
    "<h1>Just a moment...</h1><p>Checking your browser before accessing shop.example.</p>"
    "<form id=challenge-form action='/cdn-cgi/challenge-platform/h/b/orchestrate'></form>",
    status=403,
    headers={"cf-mitigated": "challenge", "server": "cloudflare"},
)
CAPTCHA = html(
    "<h1>Are you a robot?</h1><form><div class='g-recaptcha' data-sitekey='x'></div></form>"
    "<script src='https://www.google.com/recaptcha/api.js'></script>"
)
LOGIN = html(
    "<h1>Sign in</h1><p>Please log in to continue.</p><form method=post action='/login'><input name=user>"
    "<input type=password name=password><button>Log in</button></form>"
)
CONSENT = html(
    "<h1>Before you continue</h1><p>We use cookies and data. Accept all or reject all to continue to the site.</p>"
    "<form action='/consent'><button>Accept all</button><button>Reject all</button></form>"
)
MAINTENANCE = html(
    "<h1>We'll be back soon</h1><p>The site is down for scheduled maintenance.</p>", status=503
)
REDESIGNED = html("<main><h1>Widget</h1><p>A new shop, a new look.</p></main>")


async def cut(request: Request, writer: asyncio.StreamWriter) -> None:
    """Hangs up without a word."""
    writer.transport.abort()


async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    await asyncio.sleep(3)


def goes_blind(name: str, page: Route, code: str, *, the_rule: object = PRICE, well: Route = WELL) -> History:
    """Well, blind for some checks, well again."""
    story = [*quiet(well, well), *broken(page, code), *well_again(well)]
    return History(name, "break", the_rule, story)  # type: ignore[arg-type] # what YAML holds


def one_bad(
    name: str, page: Route, code: str | None, *, the_rule: object = CAREFUL_PRICE, well: Route = WELL
) -> History:
    """One failing check between good ones."""
    story = [*quiet(well, well), Step(page, None, code), *quiet(well, well)]
    return History(name, "blip", the_rule, story)  # type: ignore[arg-type] # what YAML holds


# As long as a busy machine may take for the good pages, and no longer: each bad one takes all of it.
HASTY = {**PRICE, "fetch": {"mode": "http", "timeout": 1.5}}
LD_PRICE = rule("price", {"method": "schema", "selector": "price"})
API = rule("number", {"method": "jsonpath", "selector": "$.price"})

HISTORIES = [
    goes_blind("not-found", with_status(html("<h1>Not found</h1>"), 404), "FETCH_HTTP_4XX"),
    goes_blind("gone", with_status(html("gone"), 410), "FETCH_HTTP_4XX"),
    goes_blind("server-error", with_status(html("oops"), 500), "FETCH_HTTP_5XX"),
    goes_blind("maintenance", MAINTENANCE, "PAGE_MAINTENANCE"),
    goes_blind("hangs-up", cut, "FETCH_CONNECTION"),
    goes_blind("does-not-answer", silent, "FETCH_TIMEOUT", the_rule=HASTY),
    goes_blind("cloudflare", CHALLENGE, "BLOCK_CLOUDFLARE_SUSPECTED"),
    goes_blind("captcha", CAPTCHA, "BLOCK_CAPTCHA_SUSPECTED"),
    goes_blind("forbidden", with_status(html("<h1>Forbidden</h1>"), 403), "BLOCK_FORBIDDEN_403"),
    goes_blind("too-many-requests", with_status(html("slow down"), 429), "BLOCK_RATE_LIMIT_429"),
    goes_blind("login-wall", LOGIN, "PAGE_LOGIN"),
    goes_blind("consent-wall", CONSENT, "PAGE_CONSENT"),
    goes_blind("empty-page", Reply(body=" "), "PAGE_EMPTY"),
    goes_blind("redesign", REDESIGNED, "EXTRACT_SELECTOR_NOT_FOUND"),
    goes_blind("no-structured-data", html("<h1>Widget</h1>"), "EXTRACT_SCHEMA_NOT_FOUND", the_rule=LD_PRICE, well=html(
        "<h1>Widget</h1><script type='application/ld+json'>{\"@type\":\"Product\",\"name\":\"Widget\",\"offers\":{\"price\":\"10\",\"priceCurrency\":\"EUR\"}}</script>")),
    goes_blind("empty-value", shop(""), "EXTRACT_EMPTY_VALUE"),
    goes_blind("call-for-price", shop("Call for price"), "EXTRACT_PARSE_ERROR"),
    goes_blind("no-json-any-more", html("<h1>Error</h1>"), "EXTRACT_PARSE_ERROR", the_rule=API, well=json('{"price": 10}')),
    goes_blind("a-picture-instead", Reply(body=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, content_type="image/png"), "FETCH_DECODE"),
    goes_blind("sent-to-another-scheme", Reply(status=302, headers={"Location": "ftp://files.example/x"}), "FETCH_BAD_URL"),
    goes_blind("sent-round-and-round", Reply(status=302, headers={"Location": "?again"}), "FETCH_HTTP_4XX"),
    *[
        goes_blind(f"text-{name}", html(body), code, the_rule=rule("text", {"method": "text"}), well=html("<main><h1>Terms</h1><p>Returns within 14 days.</p></main>"))
        for name, code, body in (
            ("soft-not-found", "FETCH_HTTP_4XX", "<h1>Page not found</h1><p>Sorry, the page you are looking for does not exist.</p>"),
            ("soft-failure", "FETCH_HTTP_5XX", "<h1>Something went wrong</h1><p>Please try again later.</p>"),
            ("of-a-proxy", "FETCH_HTTP_5XX", "<center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center>"),
            ("of-nobody", "FETCH_HTTP_4XX", "<h1>shop.example is for sale</h1><p>Buy this domain.</p>"),
            ("of-a-queue", "BLOCK_RATE_LIMIT_429", "<h1>You are now in line</h1><p>Your estimated wait time is 12 minutes.</p>"),
            ("of-a-login", "PAGE_LOGIN", "<p>Your session has expired. Please log in again.</p>"),
        )
    ],
    goes_blind("an-error-in-json", json('{"error": "rate limited"}'), "EXTRACT_SELECTOR_NOT_FOUND", the_rule=API, well=json('{"price": 10}')),
    goes_blind("sent-to-a-login", Reply(status=302, headers={"Location": "/signin?next=%2Fwidget"}), "PAGE_LOGIN"),
    *[
        one_bad(f"one-{name}", page, code, the_rule=rule("text", {"method": "text"}), well=html("<main><h1>Terms</h1><p>Returns within 14 days.</p></main>"))
        for name, code, page in (
            ("consent-wall-in-german", "PAGE_CONSENT", html("<h1>Wir respektieren Ihre Privatsphäre</h1><p>Wir und unsere 842 Partner.</p><button>Alle akzeptieren</button>")),
            ("product-that-is-gone", "FETCH_HTTP_4XX", html("<h1>Sorry!</h1><p>We could not find the product you were looking for.</p>")),
            ("database-that-is-away", "FETCH_HTTP_5XX", Reply(body="<html><body>Database error: could not connect to server</body></html>")),
            ("proxy-in-plain-text", "FETCH_HTTP_5XX", Reply(body="upstream connect error or disconnect/reset before headers. reset reason: connection failure", content_type="text/plain")),
        )
    ],
    History("breaks-and-comes-back-changed", "break", PRICE, [
        *quiet(WELL, WELL), *broken(REDESIGNED, "EXTRACT_SELECTOR_NOT_FOUND", steps=5),
        tells(shop("€8")), *well_again(shop("€8"), steps=3)]),
    one_bad("one-server-error", with_status(html("oops"), 500), "FETCH_HTTP_5XX"),
    one_bad("one-not-found", with_status(html("none"), 404), "FETCH_HTTP_4XX"),
    one_bad("one-hang-up", cut, "FETCH_CONNECTION"),
    one_bad("one-captcha", CAPTCHA, "BLOCK_CAPTCHA_SUSPECTED"),
    one_bad("one-empty-price", shop(""), "EXTRACT_EMPTY_VALUE"),
    one_bad("one-placeholder-of-the-shop", html("<main><h1>Sorry</h1><p class=price>€0.00</p></main>"), None),
    one_bad("one-login-wall", LOGIN, "PAGE_LOGIN", the_rule=STOCK, well=shop("€1", stock="In stock")),
    one_bad("one-half-page", Reply(body="<html><body><h1>Widget</h1>"), "EXTRACT_SELECTOR_NOT_FOUND"),
    one_bad("one-cut-off-text", html("<main>Terms.</main>"), None, the_rule=rule("text", css("main"), policy={"requireConsecutive": 2}), well=html("<main>Terms. " + "Returns within 14 days. " * 30 + "</main>")),
    History("a-bad-check-between-two-new-readings", "blip", CAREFUL_PRICE, [
        *quiet(WELL, WELL, shop("€8")), Step(with_status(html("oops"), 500), None, "FETCH_HTTP_5XX"), tells(shop("€8"))]),
    History("the-break-is-no-change", "blip", rule("text", css("main")), [
        *quiet(html("<main>Terms</main>"), html("<main>Terms</main>")),
        Step(with_status(html("<main>Internal error</main>"), 500), None, "FETCH_HTTP_5XX"),
        Step(LOGIN, None, "PAGE_LOGIN"), *quiet(html("<main>Terms</main>"))]),
]  # fmt: skip
