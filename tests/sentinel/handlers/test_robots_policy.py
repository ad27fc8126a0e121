"""A workspace that obeys robots.txt, and one that does not."""

from __future__ import annotations

import pytest

from sentinel.model import FetchProfile
from streamq import Snooze
from tests.sentinel.handlers.checking import World, page
from tests.support.http import Reply

TEXT = "User-agent: *\nDisallow: /wid\nCrawl-delay: 5"


async def test_a_page_that_robots_txt_forbids_is_not_asked_for_and_the_line_is_told(checks: World) -> None:
    checks.site.route("/robots.txt", Reply(body=TEXT, content_type="text/plain"))
    checks.site.route("/widget", page())
    secret = FetchProfile(mode="http", headers={"Authorization": "Bearer x"}, cookies={"session": "x"})
    await checks.load(checks.rule(fetch=secret), robots="obey")
    await checks.check()
    await checks.check()
    run = (await checks.last_run()).result
    assert run.error_code == "FETCH_ROBOTS"
    assert (run.error_detail or "").endswith("forbids it: Disallow: /wid")
    (request,) = checks.site.requests
    assert request.path == "/robots.txt"
    assert not {"authorization", "cookie"} & {name.lower() for name in request.headers}


async def test_without_a_robots_txt_and_by_default_everything_may_be_looked_at(checks: World) -> None:
    checks.site.route("/widget", page())
    await checks.load(checks.rule(), robots="obey")
    await checks.check()
    assert (await checks.last_run()).status == "ok"
    checks.site.route("/robots.txt", Reply(body=TEXT))
    await checks.load(checks.rule())
    await checks.check()
    assert (await checks.last_run()).status == "ok"


async def test_a_robots_txt_that_cannot_be_had_or_is_too_large_forbids_everything(checks: World) -> None:
    await checks.load(checks.rule(), robots="obey")
    checks.site.route("/widget", page())
    for reply in (Reply(status=500), Reply(body=b"#" * 600_000, content_type="text/plain")):
        checks.site.route("/robots.txt", reply)
        await checks.new_handler()(checks.job())
        run = (await checks.last_run()).result
        assert run.error_code == "FETCH_ROBOTS"
        assert "cannot be read" in (run.error_detail or "")


@pytest.mark.parametrize("rate", [3.0, None])
async def test_crawl_delay_is_the_time_between_two_checks_of_the_host(
    checks: World, rate: float | None
) -> None:
    checks.site.route("/robots.txt", Reply(body="User-agent: *\nCrawl-delay: 20", content_type="text/plain"))
    checks.site.route("/widget", page())
    await checks.load(checks.rule(), checks.rule("gadget"), robots="obey")
    handler = checks.new_handler(rate_per_domain=rate)
    await handler(checks.job())
    waiting = checks.job("gadget")
    with pytest.raises(Snooze) as waits:
        await handler(waiting)
    assert 19 < waits.value.seconds <= 20
    assert len(checks.site.requests_to("/widget")) == 1

    checks.clock.advance(21)
    await handler(waiting)
    assert len(checks.site.requests_to("/widget")) == 2
