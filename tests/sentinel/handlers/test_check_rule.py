"""One check after another: what becomes stable, what is told, what a second delivery may not do again."""

from __future__ import annotations

import asyncio
import dataclasses

import anyio
import msgspec
import pytest
import sqlalchemy as sa

from sentinel.errors import StaleWorker
from sentinel.events import AlertRecorded, ChangeConfirmed, RunEnded
from sentinel.handlers.check_rule import FetchFailed
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN, DispatchAlert, RunRule
from sentinel.model import AlertPolicy, Condition, Confirm, Extraction, FetchProfile, Normalization
from sentinel.store.tables import rule as rule_table
from streamq import DeadLetter, Snooze
from tests.sentinel.conftest import both_databases
from tests.sentinel.handlers.checking import NOT_MODIFIED, WIDGET, Hand, World, page, tagged
from tests.sentinel.store.things import every_row
from tests.support.http import RawHandler, Reply, Request, Route, send

TWICE = AlertPolicy(require_consecutive=2, channels=["ops"])


# --- what is believed, and what is told ---------------------------------------------------------


async def test_the_first_good_value_is_stable_and_nobody_is_told(checks: World) -> None:
    await checks.watch(page("129,99 €"))

    await checks.check()

    (seen,) = await checks.seen()
    assert (seen.raw, seen.confirmed, seen.changed) == ("129,99 €", True, False)
    assert await checks.stable() == "129,99 €"
    run = await checks.last_run()
    assert (run.status, run.attempt, run.trigger) == ("ok", 1, "schedule")
    assert (run.result.mode, run.result.http_status, run.result.error_code) == ("http", 200, None)
    assert run.result.bytes
    assert run.result.content_hash
    assert await checks.store.alerts() == []
    assert await checks.waiting() == []
    assert [(event.mode, event.outcome) for event in checks.events if isinstance(event, RunEnded)] == [
        ("http", "ok")
    ]


async def test_a_new_value_is_told_when_it_was_read_often_enough(checks: World) -> None:
    await checks.watch(page("100,00 €"), alert_policy=TWICE)
    await checks.check()

    await checks.check_each(page("90,00 €"))
    assert (await checks.state()).candidate_raw == "90,00 €"
    assert await checks.store.alerts() == []

    await checks.check_each(page("EUR 90.00"))
    assert await checks.stable() == "EUR 90.00"
    (alert,) = await checks.store.alerts()
    assert (alert.state, alert.title) == ("pending", "widget: 100 EUR -> 90 EUR")
    assert [event.kind for event in checks.events if isinstance(event, ChangeConfirmed)] == ["decreased"]
    assert [event.result for event in checks.events if isinstance(event, AlertRecorded)] == ["queued"]


async def test_a_blip_and_another_way_to_write_the_same_are_told_to_nobody(checks: World) -> None:
    await checks.watch(page("100,00 €"), alert_policy=TWICE)
    await checks.check()
    await checks.check_each(page("1,00 €"), page("EUR 100.00"), page("2,00 €"), page(" 100,00&nbsp;€"))
    assert await checks.store.alerts() == []
    assert (await checks.state()).candidate is None


async def test_an_alert_comes_with_the_job_that_brings_it_to_its_channels(checks: World) -> None:
    only = Condition(id="drop", type="price_drop_percent", value="10", severity="critical")
    await checks.watch(page("100 €"), alert_policy=AlertPolicy(channels=["ops"], conditions=[only]))
    await checks.check()
    await checks.check_each(page("95 €"))
    assert await checks.store.alerts() == []

    await checks.check_each(page("80 €"))

    (alert,) = await checks.store.alerts()
    (row,) = await checks.store.unsent(10, checks.clock.time())
    assert (row.stream, row.job_id, row.lane) == (ALERTS_DISPATCH, f"alert-{alert.id}:ops", "high")
    payload = msgspec.json.decode(row.payload, type=DispatchAlert)
    assert (payload.alert_id, payload.rule_id, payload.channels) == (alert.id, WIDGET, ("ops",))


async def test_a_check_knocks_at_the_relay_so_that_its_alert_leaves_at_once(checks: World) -> None:
    await checks.watch(page("100 €"))
    await checks.check()

    async with anyio.create_task_group() as beside:
        beside.start_soon(checks.relay.run)
        await checks.check_each(page("80 €"))
        with anyio.fail_after(1.5):  # less than the two seconds after which a relay looks by itself
            while sum((await checks.broker.stats(ALERTS_DISPATCH)).ready.values()) < 1:  # noqa: ASYNC110 - a broker tells nobody
                await anyio.sleep(0.01)
        beside.cancel_scope.cancel()


async def test_a_doubtful_value_needs_one_reading_more_also_when_the_page_is_not_modified(
    checks: World,
) -> None:
    plausible = Normalization(kind="price", max="1000")
    await checks.watch(tagged("100 €", "a"), normalization=plausible)
    await checks.check()

    await checks.check_each(tagged("5000 €", "b"))
    assert await checks.stable() == "100 €"
    await checks.check_each(NOT_MODIFIED)

    assert checks.validators() == [None, '"a"', '"b"']
    assert await checks.stable() == "5000 €"
    assert [seen.raw for seen in await checks.seen()] == ["100 €", "5000 €", "5000 €"]


# --- once is enough -----------------------------------------------------------------------------


@both_databases
async def test_a_second_delivery_of_a_finished_job_changes_nothing(checks: World) -> None:
    await checks.watch(page("100 €"))
    await checks.check()
    job = checks.job()
    checks.site.route("/widget", page("80 €"))
    await checks.check(job)
    asked, before = len(checks.site.requests), await every_row(checks.store)

    await checks.check(msgspec.structs.replace(job, fence=job.fence + 1000))

    assert len(checks.site.requests) == asked
    assert await every_row(checks.store) == before


@both_databases
async def test_a_worker_that_was_overtaken_writes_nothing(checks: World) -> None:
    await checks.watch(page("100 €"))
    await checks.check()
    let_go = asyncio.Event()
    checks.site.route("/widget", [page("80 €", hold=let_go), page("90 €")])
    job = checks.job()
    async with anyio.create_task_group() as both:

        async def frozen() -> None:
            with pytest.raises(StaleWorker):
                await checks.handler(job)

        both.start_soon(frozen)
        await checks.site.requests_arrived(2)
        await checks.handler(msgspec.structs.replace(job, fence=job.fence + 1))
        before = await every_row(checks.store)
        let_go.set()

    assert await every_row(checks.store) == before
    assert await checks.stable() == "90 €"
    assert len(await checks.store.alerts()) == 1


async def test_a_worker_that_comes_late_does_not_even_ask_the_page(checks: World) -> None:
    await checks.watch(page())
    let_go = asyncio.Event()
    checks.site.route("/widget", page(hold=let_go))
    job = checks.job()
    async with anyio.create_task_group() as both:
        both.start_soon(checks.handler, job)
        await checks.site.requests_arrived(1)
        with pytest.raises(StaleWorker):
            await checks.handler(msgspec.structs.replace(job, fence=job.fence - 1))
        let_go.set()
    assert len(checks.site.requests) == 1


async def test_a_job_id_that_another_rule_has_used_is_refused_and_its_run_left_alone(checks: World) -> None:
    await checks.load(checks.rule(), checks.rule("other"))
    checks.site.route("/widget", Reply(status=500))
    with pytest.raises(FetchFailed):
        await checks.check(checks.job(job_id="shared"))
    before = await every_row(checks.store)

    with pytest.raises(DeadLetter, match="not of other") as caught:
        await checks.check(checks.job("other", job_id="shared"))

    assert caught.value.reason == "refused"
    assert await every_row(checks.store) == before


# --- two checks of one rule at the same moment --------------------------------------------------


async def overtaken(checks: World, held: Reply, then: Route) -> None:
    """A check whose page is held back until another check, which sees `then`, has been written."""
    let_go = asyncio.Event()
    asked = len(checks.site.requests)
    checks.site.route("/widget", dataclasses.replace(held, hold=let_go))
    async with anyio.create_task_group() as both:
        both.start_soon(checks.handler, checks.job())
        await checks.site.requests_arrived(asked + 1)
        checks.site.route("/widget", then)
        await checks.handler(checks.job(trigger="manual_test"))
        let_go.set()


@both_databases
async def test_the_slower_of_two_checks_is_judged_by_what_the_quicker_one_wrote(checks: World) -> None:
    await checks.watch(page("100 €"), alert_policy=TWICE)
    await checks.check()

    await overtaken(checks, page("90 €"), page("90 €"))

    assert [run.status for run in await checks.store.runs(WIDGET)] == ["ok"] * 3
    assert await checks.stable() == "90 €"
    assert len(await checks.store.alerts()) == 1
    assert (await checks.state()).version == 3


async def test_not_modified_since_before_is_no_second_reading_of_what_was_read_meanwhile(
    checks: World,
) -> None:
    await checks.watch(tagged("100 €", "a"), alert_policy=TWICE)
    await checks.check()

    await overtaken(checks, NOT_MODIFIED, [tagged("90 €", "b"), tagged("100 €", "c")])

    assert checks.validators() == [None, '"a"', None, '"b"']
    assert await checks.stable() == "100 €"
    assert (await checks.state()).candidate is None
    assert await checks.store.alerts() == []


async def test_what_was_read_before_an_edit_is_not_believed_after_it(checks: World) -> None:
    await checks.watch(page("100 €"))
    await checks.check()
    let_go = asyncio.Event()
    checks.site.route("/widget", page("100 €", hold=let_go))
    checks.site.route("/gadget", page("7 €"))
    async with anyio.create_task_group() as both:
        both.start_soon(checks.handler, checks.job())
        await checks.site.requests_arrived(2)
        await checks.load(checks.rule(path="/gadget"))
        let_go.set()
    await checks.check()

    assert await checks.stable() == "7 €"
    assert await checks.store.alerts() == []
    assert [run.result.error_code for run in await checks.store.runs(WIDGET)] == [None] * 3


async def test_an_edit_of_the_policy_alone_has_no_page_fetched_twice(checks: World) -> None:
    await checks.watch(page("100 €"))
    await checks.check()
    let_go = asyncio.Event()
    checks.site.route("/widget", page("90 €", hold=let_go))
    async with anyio.create_task_group() as both:
        both.start_soon(checks.handler, checks.job())
        await checks.site.requests_arrived(2)
        await checks.load(checks.rule(alert_policy=TWICE))
        let_go.set()

    assert len(checks.site.requests) == 2
    assert (await checks.state()).candidate_raw in {"90 €", None}


# --- conditional requests -----------------------------------------------------------------------


async def test_every_tenth_fetch_is_a_full_one(checks: World) -> None:
    await checks.watch([tagged("100 €", "a"), *[NOT_MODIFIED] * 9, tagged("100 €", "b"), NOT_MODIFIED])

    await checks.check(*[checks.job() for _ in range(12)])

    assert checks.validators() == [None, *['"a"'] * 9, None, '"b"']
    assert [seen.raw for seen in await checks.seen()] == ["100 €"] * 12
    last = await checks.last_run()
    assert (last.result.not_modified, last.result.http_status) == (True, 304)


async def test_a_date_is_a_validator_too(checks: World) -> None:
    date = "Sat, 31 Jan 2026 12:00:00 GMT"
    await checks.watch([page(headers={"Last-Modified": date}), NOT_MODIFIED])
    await checks.check(checks.job(), checks.job())
    assert checks.site.requests[1].headers["if-modified-since"] == date


async def test_a_person_s_check_and_one_that_has_read_nothing_yet_ask_for_the_whole_page(
    checks: World,
) -> None:
    await checks.watch([tagged("sold out", "a"), tagged("100 €", "b"), tagged("100 €", "b")])
    await checks.check(checks.job(), checks.job(), checks.job(trigger="manual_test"))
    assert checks.validators() == [None, None, None]


async def test_not_modified_confirms_a_candidate_with_the_words_that_were_read(checks: World) -> None:
    await checks.watch([tagged("100 €", "a"), tagged("90 €", "b"), NOT_MODIFIED], alert_policy=TWICE)
    await checks.check(*[checks.job() for _ in range(3)])
    assert await checks.stable() == "90 €"
    assert len(await checks.store.alerts()) == 1


async def test_a_failed_check_does_not_forget_the_validators_of_the_last_good_one(checks: World) -> None:
    await checks.watch([tagged("100 €", "a"), Reply(status=404, headers={"ETag": '"x"'}), NOT_MODIFIED])
    await checks.check(*[checks.job() for _ in range(3)])
    assert checks.validators() == [None, '"a"', '"a"']
    assert [seen.raw for seen in await checks.seen()] == ["100 €"] * 2


def by_tag(body: str, etag: str) -> RawHandler:
    """A server that knows its page: 304 to whoever has it."""

    whole = Reply(body=body, headers={"ETag": etag, "Vary": "Cookie, Accept-Language"}, close=True)

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        known = request.headers.get("if-none-match") == etag
        await send(NOT_MODIFIED if known else whole, request, writer)

    return answer


async def test_an_edited_selector_reads_a_page_that_is_as_it_was(checks: World) -> None:
    body = "<b class=price>100 €</b><i class=other>7 €</i>"
    await checks.watch(by_tag(body, 'W/"a"'))
    await checks.check(checks.job(), checks.job())
    assert checks.validators() == [None, 'W/"a"']

    await checks.load(checks.rule(extraction=Extraction(method="css", selector=".other")))
    await checks.check()
    assert await checks.stable() == "7 €"
    await checks.load(checks.rule(extraction=Extraction(method="css", selector=".gone")))
    await checks.check()
    assert (await checks.last_run()).result.error_code == "EXTRACT_SELECTOR_NOT_FOUND"


async def test_an_edit_of_cookies_or_language_asks_for_the_whole_page(checks: World) -> None:
    await checks.watch(by_tag("<b class=price>100 €</b>", '"a"'))
    await checks.check()
    for fetch in (FetchProfile(cookies={"currency": "usd"}), FetchProfile(geo="de-AT")):
        await checks.load(checks.rule(fetch=fetch))
        await checks.check()
    assert checks.validators() == [None, None, None]


async def test_as_it_was_of_another_page_than_the_last_one_is_not_believed(checks: World) -> None:
    # Given a page that sends on, and places that count their versions alike
    checks.site.route("/one", by_tag("<b class=price>100 €</b>", '"1"'))
    checks.site.route("/two", by_tag("<b class=price>80 €</b>", '"1"'))
    await checks.watch(Reply(status=302, headers={"Location": "/one"}))
    await checks.check(checks.job(), checks.job())
    assert (await checks.last_run()).result.not_modified

    checks.site.route("/widget", Reply(status=302, headers={"Location": "/two"}))
    await checks.check()

    run = await checks.last_run()
    assert (run.result.not_modified, run.result.http_status) == (False, 200)
    assert await checks.stable() == "80 €"


async def test_a_304_that_nobody_asked_for_is_an_error(checks: World) -> None:
    await checks.watch([page("100 €"), NOT_MODIFIED])
    await checks.check(checks.job(), checks.job())
    assert checks.validators() == [None, None]
    assert (await checks.last_run()).result.error_code == "FETCH_HTTP_4XX"
    assert await checks.stable() == "100 €"


# --- whether and how ----------------------------------------------------------------------------


async def test_a_check_asked_for_by_force_goes_the_way_it_says(checks: World) -> None:
    await checks.watch(page(), fetch=FetchProfile(mode="headless"))

    with pytest.raises(FetchFailed, match="no browser"):
        await checks.check(checks.job(last=True))
    run = await checks.last_run()
    assert (run.status, run.result.error_code) == ("error", "SYSTEM_BROWSER")
    assert checks.site.requests == []

    await checks.check(checks.job(force_mode="http"))
    assert (await checks.last_run()).result.mode == "http"
    assert await checks.stable() == "100,00 €"


@pytest.mark.parametrize("trigger", ["schedule", "retry"])
async def test_a_rule_that_is_switched_off_is_not_looked_at(checks: World, trigger: str) -> None:
    await checks.watch(page(), enabled=False)
    await checks.check(checks.job(trigger=trigger))
    assert checks.site.requests == []
    assert await checks.store.runs(WIDGET) == []


async def test_a_person_may_check_a_rule_that_is_switched_off(checks: World) -> None:
    await checks.watch(page(), enabled=False)
    await checks.check(checks.job(trigger="manual_test"))
    assert (await checks.last_run()).status == "ok"


async def test_more_checks_than_a_host_may_have_wait_their_turn_and_lose_no_attempt(checks: World) -> None:
    names = [f"r{number}" for number in range(5)]
    await checks.load(*(checks.rule(name) for name in names))
    checks.site.route("/widget", page())
    hand = Hand(checks, rate_per_domain=2.0)
    for name in names:
        await hand.enqueue(name)
    began = checks.clock.time()

    await hand.run()

    runs = [run for name in names for run in await checks.store.runs(name)]
    assert sorted(round(run.started_at - began, 3) for run in runs) == [0.0, 0.0, 0.5, 1.0, 1.5]
    assert {(run.status, run.attempt) for run in runs} == {("ok", 1)}
    assert (await checks.broker.stats(RULES_RUN)).done == 5
    assert await checks.broker.dead(RULES_RUN) == []


async def test_many_checks_of_one_host_each_wait_once(checks: World) -> None:
    names = [f"r{number}" for number in range(20)]
    await checks.load(*(checks.rule(name) for name in names))
    checks.site.route("/widget", page())
    hand = Hand(checks, rate_per_domain=3.0)
    await hand.enqueue(*names)

    waits = await hand.run()

    assert len(waits) == 20 + 17, "all but the first three were snoozed, once"
    assert sum(waits) == pytest.approx(17 / 3, rel=0.01)


async def test_a_snoozed_check_has_not_begun(checks: World) -> None:
    await checks.watch(page())
    slow = checks.new_handler(rate_per_domain=0.1)
    await slow(checks.job())
    with pytest.raises(Snooze) as caught:
        await slow(checks.job(job_id="second"))
    assert caught.value.seconds == pytest.approx(10.0)
    assert len(await checks.store.runs(WIDGET)) == 1


# --- confirming soon ----------------------------------------------------------------------------


async def test_a_new_value_is_looked_at_again_soon_by_a_job_of_its_own(checks: World) -> None:
    policy = AlertPolicy(require_consecutive=3, confirm=Confirm(within=60), channels=["ops"])
    await checks.watch([page("100 €"), page("90 €")], alert_policy=policy)
    await checks.check()
    job = checks.job(job_id="tick", requested_at="2026-01-31T12:34:56Z")

    await checks.check(job)

    (row,) = await checks.store.unsent(10, checks.clock.time(), lease=0.0)
    assert (row.stream, row.job_id, row.lane) == (RULES_RUN, "tick+", "normal")
    assert row.available_at == checks.clock.time() + 60
    assert (row.unique, row.unique_for) == ("rule:widget:confirm:1", None)
    payload = msgspec.json.decode(row.payload, type=RunRule)
    assert payload == RunRule(rule_id=WIDGET, trigger="retry", requested_at="2026-01-31T12:34:56Z")

    assert await Hand(checks).run() == [60.0, 60.0]
    assert await checks.stable() == "90 €"
    assert [run.job_id for run in await checks.store.runs(WIDGET)][:2] == ["tick++", "tick+"]
    assert len(await checks.store.alerts()) == 1


async def test_a_second_delivery_asks_for_no_second_confirmation(checks: World) -> None:
    policy = AlertPolicy(require_consecutive=2, confirm=Confirm(within=60), channels=["ops"])
    await checks.watch([page("100 €"), page("90 €")], alert_policy=policy)
    await checks.check()
    job = checks.job()
    await checks.check(job, msgspec.structs.replace(job, fence=job.fence + 1000))
    assert await checks.waiting() == [f"{job.id}+"]


@pytest.mark.parametrize("job_id", ["x" * 512, "+" * 600, "é\ud800" * 300], ids=["long", "plus", "odd"])
async def test_a_confirming_check_has_an_id_that_a_job_may_have_whatever_the_first_one_s_was(
    checks: World, job_id: str
) -> None:
    policy = AlertPolicy(require_consecutive=4, confirm=Confirm(within=60), channels=["ops"])
    await checks.watch([page("100 €"), page("90 €")], alert_policy=policy)
    await checks.check()

    await checks.check(checks.job(job_id=job_id))

    assert await Hand(checks).run() == [60.0, 60.0, 60.0]
    assert await checks.stable() == "90 €"


# --- a rule that goes away ----------------------------------------------------------------------


async def test_a_job_of_a_rule_that_is_gone_is_a_dead_letter(checks: World) -> None:
    await checks.watch(page())
    hand = Hand(checks)
    await hand.enqueue()
    await checks.store.delete_rule(WIDGET)

    await hand.run()

    (dead,) = await checks.broker.dead(RULES_RUN)
    assert (dead.reason, dead.attempts) == ("rule_not_found", 1)
    assert checks.site.requests == []


@both_databases
@pytest.mark.parametrize("rule_id", ["\x00", "x" * 100_000, ""], ids=["nul", "long", "empty"])
async def test_a_rule_id_that_cannot_be_one_is_a_dead_letter_with_few_words(
    checks: World, rule_id: str
) -> None:
    with pytest.raises(DeadLetter) as caught:
        await checks.check(checks.job(rule_id))
    assert caught.value.reason == "rule_not_found"
    assert len(caught.value.detail) < 1000


async def test_a_rule_deleted_between_two_attempts_ends_its_run(checks: World) -> None:
    await checks.watch(Reply(status=500))
    with pytest.raises(FetchFailed):
        await checks.check(checks.job(job_id="j"))
    await checks.store.delete_rule(WIDGET)

    with pytest.raises(DeadLetter):
        await checks.check(checks.job(job_id="j", attempt=2))

    run = await checks.store.run_of("j")
    assert (run.status, run.result.error_code) == ("error", "RULE_INVALID")


async def test_a_rule_deleted_during_its_check_ends_its_run(checks: World) -> None:
    let_go = asyncio.Event()
    await checks.watch(page(hold=let_go))
    async with anyio.create_task_group() as both:

        async def check() -> None:
            with pytest.raises(DeadLetter) as caught:
                await checks.handler(checks.job(job_id="j"))
            assert caught.value.reason == "rule_not_found"

        both.start_soon(check)
        await checks.site.requests_arrived(1)
        await checks.store.delete_rule(WIDGET)
        let_go.set()

    run = await checks.store.run_of("j")
    assert (run.status, run.result.error_code) == ("error", "RULE_INVALID")


async def test_a_rule_switched_off_between_two_attempts_ends_its_run(checks: World) -> None:
    await checks.watch(Reply(status=500))
    with pytest.raises(FetchFailed):
        await checks.check(checks.job(job_id="j"))
    await checks.store.set_enabled(WIDGET, False, checks.clock.time())

    await checks.check(checks.job(job_id="j", attempt=2))

    assert (await checks.store.run_of("j")).status == "error"
    assert len(checks.site.requests) == 1


async def test_a_rule_that_cannot_be_read_is_a_dead_letter_that_says_why(checks: World) -> None:
    await checks.watch(page())
    async with checks.store._database.writing() as connection:
        spoilt = sa.type_coerce('{"id": "widget", "colour": "red"}', sa.JSON)
        await connection.execute(sa.update(rule_table).values(definition=spoilt))

    with pytest.raises(DeadLetter, match="colour") as caught:
        await checks.check()

    assert caught.value.reason == "rule_invalid"
