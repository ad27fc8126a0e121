"""What reads like a wall is one where the rule finds nothing of its own; forms, scripts and redirects always are."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.model import Extraction
from tests.sentinel.handlers.checking import World
from tests.support.http import Reply


def css(selector: str) -> Extraction:
    return Extraction(method="css", selector=selector)


def page(body: str) -> Reply:
    return Reply(body=f"<html><head><title>Acme</title></head><body>{body}</body></html>")


STATUS = "<h2>Scheduled maintenance</h2>"
LOGIN = "<h1>Sign in</h1><form><input name=user><input type=password></form>"

#: What the page shows, the rule, and what its run ends with (None: well, whatever the page says).
PAGES: dict[str, tuple[str, str, Extraction, str | None]] = {
    "a status page": (STATUS + "<div id=inc>Upgrade on Sunday</div>", "text", css("#inc"), None),
    "a stock that is what walls say": ("<h2 id=s>Temporarily unavailable</h2>", "availability", css("#s"), None),
    "a price below": (STATUS + "<p class=price>12</p>", "price", css(".price"), None),
    "a table below": (
        STATUS + "<table><tr><th>A<th>B<tr><td>x<td>1</table>",
        "list",
        Extraction(method="table", selector="table", key="A"),
        None,
    ),
    # walls
    "what the wall says": (STATUS, "text", css("h2"), "PAGE_MAINTENANCE"),
    "what the wall says, in a box": (
        "<div id=inc><h2>Scheduled maintenance</h2>Soon.</div>",
        "text",
        css("#inc"),
        "PAGE_MAINTENANCE",
    ),
    "anything": (STATUS + "<p>Soon.</p>", "text", css("p"), "PAGE_MAINTENANCE"),
    "the whole page": (STATUS + "<p>Soon.</p>", "text", Extraction(method="text"), "PAGE_MAINTENANCE"),
    "nothing": (STATUS, "price", css(".price"), "PAGE_MAINTENANCE"),
    "a guess": (STATUS + "<p>12 of us</p>", "price", Extraction(method="auto", selector="price"), "PAGE_MAINTENANCE"),
    "a price of something else": (
        "<title>Page not found</title><h1>Page not found</h1><p class=price>12 €</p>",
        "price",
        css(".price"),
        "FETCH_HTTP_4XX",
    ),
    "a price of a login": (LOGIN + "<p class=price>9.99</p>", "price", css(".price"), "PAGE_LOGIN"),
    "a price of a captcha": (
        "<h1>Security check</h1><div class='h-captcha'></div><p class=price>9.99</p>",
        "price",
        css(".price"),
        "BLOCK_CAPTCHA_SUSPECTED",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
async def test_a_wall_of_words_yields_to_the_rule_that_finds_its_own_value(checks: World, name: str) -> None:
    body, kind, extraction, code = PAGES[name]
    asked: dict[str, Any] = {"type": kind, "extraction": extraction}
    await checks.watch(page(body), **asked)
    await checks.check(checks.job(last=True))
    run = await checks.last_run()
    assert (run.result.error_code, run.result.block) == (code, code)
    assert ((await checks.state()).stable is None) == (code is not None)


async def test_who_is_sent_to_a_login_reads_no_price_there(checks: World) -> None:
    checks.site.route("/signin", page("<h1>Welcome</h1><input type=password><p class=price>9,99 €</p>"))
    await checks.watch(page("<h1>Widget</h1><p class=price>10 €</p>"))
    await checks.check()
    await checks.check_each(Reply(status=302, headers={"Location": "/signin?next=/widget"}))
    assert (await checks.last_run()).result.error_code == "PAGE_LOGIN"
    assert await checks.store.alerts(limit=5) == []


async def test_nothing_is_healed_on_what_reads_like_a_wall(checks: World) -> None:
    well = "<main><h1>Widget</h1><div id=box class=offer><p class=price data-kind=price>10</p></div></main>"
    await checks.watch(page(well))
    await checks.check()
    redesigned = well.replace("class=price", "class=cost").replace("<h1>Widget</h1>", "")
    await checks.check_each(page(STATUS + redesigned))
    assert (await checks.last_run()).result.error_code == "PAGE_MAINTENANCE"
    await checks.check_each(page(redesigned))
    healed = (await checks.last_run()).result
    assert (healed.error_code, (healed.error_detail or "")[:15]) == (None, "SELECTOR_HEALED")
