"""Hosts that ask to be left alone, or do not answer: what becomes of the checks of all their rules."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest

from sentinel.handlers.check_rule import CheckRuleHandler, FetchFailed
from sentinel.jobs import RULES_RUN, RunRule
from sentinel.model import FetchProfile
from streamq import Job, Snooze
from tests.sentinel.handlers.checking import Hand, World, page
from tests.support.http import Reply

DOWN = Reply(status=500, body="no")
#: Rules of one host, each with a page of its own.
NAMES = ("a", "b", "c", "d")


async def load(world: World, reply: Reply, *names: str) -> CheckRuleHandler:
    """Rules on one host, all answered the same; and a handler that spares it."""
    await world.load(
        *(world.rule(name, path=f"/{name}", fetch=FetchProfile(mode="http")) for name in names or NAMES)
    )
    answer(world, reply, *names)
    return world.new_handler(rate_per_domain=1000.0)


def answer(world: World, reply: Reply, *names: str) -> None:
    for name in names or NAMES:
        world.site.route(f"/{name}", reply)


async def last_try(world: World, handler: CheckRuleHandler, *names: str) -> None:
    """A check that has no attempt left."""
    for name in names:
        with suppress(FetchFailed):
            await handler(world.job(name, last=True))


async def waits(handler: CheckRuleHandler, job: Job[RunRule]) -> tuple[float, str]:
    """Seconds that it is snoozed, and why."""
    with pytest.raises(Snooze) as caught:
        await handler(job)
    return round(caught.value.seconds, 3), caught.value.why


def asked(world: World) -> list[str]:
    return [request.path for request in world.site.requests]


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
async def test_a_host_that_asks_for_time_gets_it_from_all_its_rules_and_workers(
    checks: World, status: int
) -> None:
    handler = await load(checks, Reply(status=status, headers={"Retry-After": "600"}, body="later"))
    await last_try(checks, handler, "a")
    other = checks.new_handler(rate_per_domain=1000.0)

    seconds, why = await waits(other, checks.job("b"))

    assert seconds == 600.0
    assert "asked to be left alone" in why
    assert str(status) in why
    assert await waits(handler, checks.job("a")) == (seconds, why)
    assert asked(checks) == ["/a"]
    assert await checks.store.runs("b") == [], "it has not begun, so nothing failed"
    checks.clock.advance(600)
    answer(checks, page())
    await other(checks.job("b"))
    assert (await checks.last_run("b")).status == "ok"


async def test_a_held_check_waits_once_and_loses_no_attempt(checks: World) -> None:
    await load(checks, page())
    answer(checks, Reply(status=429, headers={"Retry-After": "90"}), "a")
    hand = Hand(checks, rate_per_domain=1000.0)
    await hand.enqueue("a", "b")

    assert await hand.run() == [0.0, 0.0, pytest.approx(90.0)]

    assert (await checks.last_run("a")).result.error_code == "BLOCK_RATE_LIMIT_429"
    run = await checks.last_run("b")
    assert (run.status, run.attempt) == ("ok", 1)


@pytest.mark.parametrize(("header", "seconds"), [({}, 60.0), ({"Retry-After": "80000"}, 3600.0)])
async def test_too_many_without_a_time_is_a_minute_and_nobody_waits_longer_than_an_hour(
    checks: World, header: dict[str, str], seconds: float
) -> None:
    handler = await load(checks, Reply(status=429, headers=header))
    await handler(checks.job("a"))
    assert (await waits(handler, checks.job("b")))[0] == seconds


async def test_who_tests_by_hand_may_go_and_what_would_have_held_it_is_in_the_log(
    checks: World, caplog: pytest.LogCaptureFixture
) -> None:
    handler = await load(checks, Reply(status=429, headers={"Retry-After": "600"}))
    await handler(checks.job("a"))
    answer(checks, page(), "b")

    await handler(checks.job("b", trigger="manual_test"))

    assert (await checks.last_run("b")).status == "ok"
    (record,) = [record for record in caplog.records if record.message == "host_not_spared"]
    assert "asked to be left alone" in record.reason  # type: ignore[attr-defined]
    assert (await waits(handler, checks.job("c")))[0] == 600.0, "a good answer takes back no request"


async def test_another_workspaces_rules_another_port_and_another_proxy_are_not_held(checks: World) -> None:
    handler = await load(checks, Reply(status=429, headers={"Retry-After": "600"}))
    await handler(checks.job("a"))
    host = f"127.0.0.1:{checks.site.port}"
    now = checks.clock.time()
    assert await checks.store.admit_check("acme", host, "b", now) is not None
    assert await checks.store.admit_check("acme", "127.0.0.1", "b", now) is None
    assert await checks.store.admit_check("acme", f"{host} by proxy 12", "b", now) is None
    assert await checks.store.admit_check("other", host, "b", now) is None


async def test_without_rate_limiting_nobody_is_held(checks: World) -> None:
    await load(checks, Reply(status=429, headers={"Retry-After": "600"}))
    free = checks.new_handler(rate_per_domain=None)
    await free(checks.job("a"))
    await free(checks.job("b"))
    assert asked(checks) == ["/a", "/b"]


# --- the breaker ----------------------------------------------------------------------------------


async def test_one_rule_that_fails_says_nothing_of_its_host(checks: World) -> None:
    handler = await load(checks, DOWN)
    await last_try(checks, handler, *["a"] * 6)
    answer(checks, page(), "b")
    await handler(checks.job("b"))
    assert (await checks.last_run("b")).status == "ok"


async def test_three_rules_that_fail_in_a_row_keep_the_others_away_until_one_tried(checks: World) -> None:
    handler = await load(checks, DOWN)
    await last_try(checks, handler, "a", "b", "c")

    seconds, why = await waits(handler, checks.job("d"))
    assert seconds == 30.0
    assert "does not answer (FETCH_HTTP_5XX: the server answered 500" in why

    checks.clock.advance(30)
    answer(checks, page())
    await handler(checks.job("d"))
    for name in NAMES:
        await handler(checks.job(name))
    assert [(await checks.last_run(name)).status for name in NAMES] == ["ok"] * 4
    host = f"127.0.0.1:{checks.site.port}"
    assert await checks.store.host("acme", host) is None, "a host that is well has no row"


async def test_while_one_tries_the_others_look_again_soon(checks: World) -> None:
    handler = await load(checks, DOWN)
    await last_try(checks, handler, "a", "b", "c")
    checks.clock.advance(30)
    host = f"127.0.0.1:{checks.site.port}"

    assert await checks.store.admit_check("acme", host, "d", checks.clock.time()) is None
    assert (await waits(handler, checks.job("a")))[0] == 2.0

    checks.clock.advance(180)  # the one that tried is lost
    assert await checks.store.admit_check("acme", host, "a", checks.clock.time()) is None


async def test_each_try_that_fails_makes_the_pause_longer_up_to_half_an_hour(checks: World) -> None:
    handler = await load(checks, DOWN)
    await last_try(checks, handler, "a", "b", "c")
    host = f"127.0.0.1:{checks.site.port}"
    pauses = []
    for turn in range(9):
        known = await checks.store.host("acme", host)
        assert known is not None
        assert known.endpoint.open_until is not None
        pauses.append(known.endpoint.open_until - checks.clock.time())
        checks.clock.advance(pauses[-1])
        await last_try(checks, handler, NAMES[turn % 4])
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0]


async def test_a_host_that_is_gone_for_long_breaks_its_rules_without_being_asked_and_each_is_told_once(
    checks: World,
) -> None:
    handler = await load(checks, page())
    await handler(checks.job("d"))
    answer(checks, DOWN)
    await last_try(checks, handler, "a", "b", "c")
    checks.clock.advance(200)
    await last_try(checks, handler, "a")  # tries, and fails
    requests = len(asked(checks))

    for _ in range(5):
        checks.clock.advance(10)
        await handler(checks.job("d"))

    assert len(asked(checks)) == requests
    state, run = await checks.state("d"), await checks.last_run("d")
    assert (state.fail_streak, state.health, state.health_state) == (5, 25.0, "broken")
    assert (run.status, run.result.error_code) == ("error", "FETCH_HTTP_5XX")
    assert (run.result.error_detail or "").startswith("not asked, for its host has not answered any rule")
    assert state.stable_raw == "100,00 €"
    told = [alert for alert in await checks.store.alerts() if alert.rule_id == "d"]
    assert [alert.kind for alert in told] == ["health"]


async def test_a_check_that_was_not_made_is_done_and_costs_no_attempts(checks: World) -> None:
    handler = await load(checks, DOWN)
    await last_try(checks, handler, "a", "b", "c")
    checks.clock.advance(200)
    await last_try(checks, handler, "a")
    hand = Hand(checks, rate_per_domain=1000.0)
    await hand.enqueue("d")
    assert await hand.run() == [0.0]
    assert await checks.broker.dead(RULES_RUN) == []
    assert (await checks.state("d")).fail_streak == 1


async def test_a_page_that_is_not_there_shows_a_host_that_is(checks: World) -> None:
    handler = await load(checks, DOWN)
    await last_try(checks, handler, "a", "b")
    answer(checks, Reply(status=404), "c")
    await handler(checks.job("c"))
    await last_try(checks, handler, "a", "b")
    with pytest.raises(Exception, match="500"):
        await handler(checks.job("d"))


async def test_what_a_redirect_leads_to_elsewhere_is_not_held_against_the_host_but_is_charged(
    checks: World,
) -> None:
    elsewhere = checks.site.url.replace("127.0.0.1", "localhost")
    handler = await load(checks, Reply(status=302, headers={"Location": f"{elsewhere}/down"}))
    checks.site.route("/down", DOWN)
    await last_try(checks, handler, "a", "b", "c")
    assert await checks.store.host("acme", f"127.0.0.1:{checks.site.port}") is None

    checks.clock.advance(60)
    slow = checks.new_handler(rate_per_domain=0.1)
    await last_try(checks, slow, "a")
    there = msgspec.structs.replace(checks.rule("there"), url=f"{elsewhere}/there")
    await checks.load(there)
    assert (await waits(slow, checks.job("there")))[1] == "its host's rate limit"
