"""A selector that finds nothing any more: healed, doubted, told once, kept or undone; or an error as before."""

from __future__ import annotations

import dataclasses

from sentinel.model import AlertPolicy
from tests.sentinel.handlers.checking import WIDGET, World
from tests.support.http import Reply

TWICE = AlertPolicy(require_consecutive=2, channels=["ops"])


def shop(price: str, *, name: str = "price", offer: str | None = None) -> Reply:
    """A product page; `offer`: other markup in place of the price."""
    value = offer if offer is not None else f'<span class="{name}">{price}</span>'
    return Reply(
        body='<html><body><header><a href="/">Shop</a></header><main class="product"><h1>Widget</h1>'
        f'<div class="box"><b>Price:</b> {value}<button>Buy</button></div><p>A fine thing.</p></main>'
        '<section><h2>Others</h2><ul><li><h3>Gadget</h3><span class="cost">55,00 €</span></li></ul></section>'
        "</body></html>"
    )


async def test_a_renamed_class_is_healed_and_the_run_says_old_and_new(checks: World) -> None:
    await checks.watch(shop("100,00 €"))
    await checks.check()

    await checks.check_each(shop("100,00 €", name="amount"))

    run = await checks.last_run()
    assert (run.status, run.result.error_code) == ("ok", None)
    assert run.result.error_detail is not None
    assert run.result.error_detail.startswith(
        "SELECTOR_HEALED: css '.price' found nothing, read by css 'span.amount' (likeness "
    )
    assert (await checks.state()).health_state == "degraded"
    assert await checks.store.alerts() == [], "once may be a blip"


async def test_a_healed_value_needs_one_reading_more_than_the_policy_says(checks: World) -> None:
    await checks.watch(shop("100,00 €"), alert_policy=TWICE)
    await checks.check()

    await checks.check_each(*[shop("80,00 €", name="amount")] * 2)

    assert await checks.stable() == "100,00 €"
    state = await checks.state()
    assert (state.candidate_raw, state.candidate_doubt) == ("80,00 €", "it was read by a healed selector")
    await checks.check()
    assert await checks.stable() == "80,00 €"


async def test_that_a_rule_works_by_a_healed_selector_is_told_once(checks: World) -> None:
    await checks.watch(shop("100,00 €"))
    await checks.check()

    await checks.check_each(*[shop("100,00 €", name="amount")] * 5)

    (told,) = await checks.store.alerts()
    assert (told.kind, told.severity, told.title) == (
        "health",
        "info",
        f"{WIDGET}: works by a healed selector",
    )
    assert told.body["code"] == "SELECTOR_HEALED"
    assert "'span.amount'" in told.body["detail"]
    state = await checks.state()
    assert (state.health_state, state.health) == ("degraded", 69.0)


async def test_an_element_that_is_gone_is_the_error_it_was_before(checks: World) -> None:
    await checks.watch(shop("100,00 €"))
    await checks.check()

    await checks.check_each(*[shop("", offer="Sold out")] * 3)

    run = await checks.last_run()
    assert (run.status, run.result.error_code) == ("error", "EXTRACT_SELECTOR_NOT_FOUND")
    assert await checks.stable() == "100,00 €"
    assert [alert.kind for alert in await checks.store.alerts()] == ["health"]


async def test_the_old_selector_is_preferred_when_it_finds_something_again(checks: World) -> None:
    await checks.watch(shop("100,00 €"))
    await checks.check()
    await checks.check_each(shop("100,00 €", name="amount"))

    await checks.check_each(*[shop("100,00 €")] * 2)

    assert (await checks.last_run()).result.error_detail is None
    assert (await checks.state()).health_state == "ok"
    assert (await checks.store.rule(WIDGET)).elements[""].healed is None


async def test_what_is_known_of_an_element_is_written_when_it_changes_only(checks: World) -> None:
    await checks.watch(shop("100,00 €"))
    await checks.check()
    before = (await checks.store.rule(WIDGET)).elements[""]

    await checks.check_each(shop("100,00 €"))

    assert (await checks.store.rule(WIDGET)).elements[""] == before
    assert (before.fingerprint.tag, before.fingerprint.words, before.fingerprint.before) == (
        "span",
        ("price",),
        "Price:",
    )


class TestAPersonDecides:
    async def healed(self, checks: World) -> None:
        await checks.watch(shop("100,00 €"))
        await checks.check()
        await checks.check_each(shop("100,00 €", name="amount"))

    async def test_accepted_it_is_a_fallback_of_the_rule_and_the_rule_is_well_again(
        self, checks: World
    ) -> None:
        await self.healed(checks)

        (kept,) = await checks.store.settle_healing(WIDGET, accept=True, now=checks.clock.time())
        await checks.check()
        await checks.check()

        assert kept.selector == "span.amount"
        stored = await checks.store.rule(WIDGET)
        assert stored.rule.extraction is not None
        assert [one.selector for one in stored.rule.extraction.fallback_selectors] == ["span.amount"]
        run = await checks.last_run()
        assert (run.result.error_detail, run.result.selector_index) == (None, 1)
        assert stored.state.health_state == "ok"
        assert await checks.stable() == "100,00 €", "the value is not forgotten"

    async def test_undone_the_rule_fails_as_it_is_written(self, checks: World) -> None:
        await self.healed(checks)

        await checks.store.settle_healing(WIDGET, accept=False, now=checks.clock.time())
        await checks.check()

        assert (await checks.last_run()).result.error_code == "EXTRACT_SELECTOR_NOT_FOUND"
        assert await checks.store.settle_healing(WIDGET, accept=False, now=checks.clock.time()) == ()

    async def test_undone_the_next_check_reads_the_page_whatever_its_validators_say(
        self, checks: World
    ) -> None:
        tagged = dataclasses.replace(shop("100,00 €", name="amount"), headers={"ETag": '"a"'})
        await checks.watch(shop("100,00 €"))
        await checks.check()
        await checks.check_each(tagged)
        assert (await checks.state()).etag == '"a"'

        await checks.store.settle_healing(WIDGET, accept=False, now=checks.clock.time())
        await checks.check_each(tagged)

        assert checks.validators()[-1] is None
        assert (await checks.last_run()).result.error_code == "EXTRACT_SELECTOR_NOT_FOUND"
