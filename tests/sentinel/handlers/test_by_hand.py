"""A test by hand among thousands of checks that wait for the rate of their host."""

from __future__ import annotations

import pytest

from streamq import Snooze
from tests.sentinel.handlers.checking import World, page


async def test_a_test_by_hand_goes_before_the_rules_that_wait_for_the_rate_of_its_host(checks: World) -> None:
    rules = [checks.rule(f"rule-{number}", path=f"/{number}") for number in range(20)]
    for number in range(20):
        checks.site.route(f"/{number}", page("9,00 €"))
    await checks.load(*rules)
    handler = checks.new_handler(rate_per_domain=0.1)
    await handler(checks.job("rule-0"))
    for rule in rules[1:]:
        with pytest.raises(Snooze):
            await handler(checks.job(rule.id, job_id=f"tick-{rule.id}"))

    by_hand = checks.job("rule-7", job_id="by-hand", trigger="manual_test")
    with pytest.raises(Snooze) as waits:
        await handler(by_hand)
    assert waits.value.seconds <= 10
    checks.clock.advance(waits.value.seconds)
    await handler(by_hand)

    assert (await checks.store.run_of("by-hand")).status == "ok"
    assert checks.site.requests[-1].path == "/7"
    assert len(checks.site.requests) == 2
