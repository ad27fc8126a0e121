"""A run is finished in one transaction: all of it, or nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest

from sentinel.errors import PermanentFailure, StaleWorker, StateConflict
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN, DispatchAlert, RunRule
from sentinel.model import (
    Change,
    DateValue,
    FieldsValue,
    PriceValue,
    RowsValue,
    RuleState,
    TextValue,
    Verdict,
)
from sentinel.store import FinishedRun, NewOutboxJob, RunResult, Store
from tests.sentinel.store.things import (
    EUR_90,
    EUR_100,
    GOOD,
    NOW,
    a_rule,
    a_verdict,
    an_alert,
    begin,
    every_row,
    finish,
    load,
)


@pytest.fixture(autouse=True)
async def _one_rule(store: Store) -> None:
    await load(store, a_rule(), a_rule("gadget"))


async def test_a_check_writes_run_observation_state_alert_and_job_together(store: Store) -> None:
    finished = await finish(store, await begin(store), a_verdict(an_alert()))

    (run,) = await store.runs("widget")
    assert (run.run_id, run.status, run.job_id) == (finished.run_id, "ok", "job-1")
    assert (run.started_at, run.finished_at) == (NOW, NOW + 1)
    assert run.result == GOOD
    (seen,) = await store.history("widget")
    assert (seen.run_id, seen.rule_id, seen.at) == (run.run_id, "widget", NOW + 1)
    assert (seen.raw, seen.value, seen.before) == ("90,10 €", EUR_90, EUR_100)
    assert (seen.changed, seen.change_kind, seen.confirmed) == (True, "decreased", True)
    assert seen.percent == Decimal("-9.9")
    state = (await store.rule("widget")).state
    assert state == RuleState(
        stable=EUR_90,
        stable_raw="90,10 €",
        last_run_at=NOW,
        last_alert_at=NOW + 1,
        last_alert_severity="warning",
        version=1,
    )
    (alert,) = await store.alerts()
    assert finished.alerts == (alert.id,)
    assert (alert.state, alert.run_id, alert.created_at) == ("pending", run.run_id, NOW + 1)
    assert alert.body == an_alert().body
    rows = await store.unsent(10, NOW + 1)
    assert [(row.stream, row.job_id, row.lane) for row in rows] == [
        (ALERTS_DISPATCH, f"alert-{alert.id}:ops", "normal"),
        (ALERTS_DISPATCH, f"alert-{alert.id}:boss", "normal"),
    ]
    assert len({row.unique for row in rows}) == 2
    assert all("widget:drop" in (row.unique or "") and row.unique_for == 300.0 for row in rows)
    assert [msgspec.json.decode(row.payload, type=DispatchAlert) for row in rows] == [
        DispatchAlert(
            alert_id=alert.id,
            workspace_id="acme",
            rule_id="widget",
            channels=(channel,),
            dedupe_key="widget:drop",
        )
        for channel in ("ops", "boss")
    ]


async def test_a_failed_check_is_a_run_with_an_error_code_and_no_observation(store: Store) -> None:
    result = RunResult(http_status=404, error_code="FETCH_HTTP_4XX", error_detail="404 " * 2000)
    await finish(store, await begin(store), Verdict(state=RuleState(fail_streak=1)), result=result)

    (run,) = await store.runs("widget")
    assert (run.status, run.result.error_code) == ("error", "FETCH_HTTP_4XX")
    assert len(run.result.error_detail or "") == 2000
    assert await store.history("widget") == []


async def test_a_critical_alert_goes_into_the_high_lane(store: Store) -> None:
    await finish(store, await begin(store), a_verdict(an_alert(severity="critical")))
    assert (await store.unsent(10, NOW))[0].lane == "high"


async def test_the_callers_own_job_is_written_with_the_run_and_waits_for_its_time(store: Store) -> None:
    payload = RunRule(rule_id="widget", trigger="retry", requested_at="x")
    again = NewOutboxJob(stream=RULES_RUN, job_id="job-1+", payload=payload, available_at=NOW + 60)

    await finish(store, await begin(store), a_verdict(), outbox=[again])

    counts = await store.counts(NOW)
    assert (counts.outbox, counts.outbox_now) == (1, 0)
    assert (await store.counts(NOW + 60)).outbox_now == 1
    (row,) = await store.unsent(10, NOW)
    assert (row.job_id, row.available_at) == ("job-1+", NOW + 60)


async def test_a_second_delivery_of_a_finished_job_is_told_what_it_came_to(store: Store) -> None:
    ticket = await begin(store)
    finished = await finish(store, ticket, a_verdict(an_alert(), an_alert("k", suppressed="cooldown")))
    before = await every_row(store)

    assert await finish(store, ticket, a_verdict(an_alert())) == finished
    assert (await begin(store, fence=2)).finished == finished
    assert await every_row(store) == before


async def test_a_later_delivery_takes_a_run_over_and_an_earlier_one_does_not(store: Store) -> None:
    first = await begin(store, fence=1)
    second = await begin(store, fence=2)

    assert second.run_id == first.run_id
    assert (first.taken_over, second.taken_over) == (False, True)
    with pytest.raises(StaleWorker):
        await begin(store, fence=1)


async def test_a_stale_worker_writes_nothing_in_any_table(store: Store) -> None:
    stale = await begin(store, fence=1)
    holder = await begin(store, fence=2)
    before = await every_row(store)

    with pytest.raises(StaleWorker):
        await finish(store, stale, a_verdict(an_alert()))

    assert await every_row(store) == before
    assert (await finish(store, holder, a_verdict(an_alert()))).status == "ok"
    after = await every_row(store)
    with pytest.raises(StaleWorker):
        await finish(store, stale, a_verdict(an_alert("other")))
    assert await every_row(store) == after


async def test_an_attempt_that_failed_is_told_by_the_open_run_and_is_gone_from_the_finished_one(
    store: Store,
) -> None:
    await begin(store)
    state = (await store.rule("widget")).state
    failed = RunResult(mode="http", http_status=500, error_code="FETCH_HTTP_5XX", error_detail="it said 500")

    assert await store.note_failure("widget", "job-1", 1, failed)

    (open_run,) = await store.runs("widget")
    assert (open_run.status, open_run.attempt, open_run.finished_at) == ("running", 1, None)
    assert open_run.result == failed
    assert (await store.rule("widget")).state == state

    again = await store.begin_run("widget", "job-1", 2, "schedule", NOW + 30, attempt=2)
    await finish(store, again, a_verdict())

    (ended,) = await store.runs("widget")
    assert (ended.run_id, ended.status, ended.attempt) == (open_run.run_id, "ok", 2)
    assert ended.result == GOOD


async def test_neither_a_stale_worker_nor_one_that_has_finished_notes_an_attempt(store: Store) -> None:
    await begin(store, fence=1)
    holder = await begin(store, fence=2)
    failed = RunResult(error_code="FETCH_TIMEOUT")
    assert not await store.note_failure("widget", "job-1", 1, failed)
    assert not await store.note_failure("gadget", "job-1", 2, failed), "another rule's run"
    await finish(store, holder, a_verdict())
    assert not await store.note_failure("widget", "job-1", 2, failed, ended_at=NOW + 2)
    assert not await store.note_failure("widget", "no such job", 2, failed)
    (ended,) = await store.runs("widget")
    assert (ended.status, ended.result.error_code) == ("ok", None)


async def test_an_attempt_with_none_to_follow_ends_the_run(store: Store) -> None:
    await begin(store)
    failed = RunResult(error_code="SYSTEM_STORE", error_detail="the disk is full")

    assert await store.note_failure("widget", "job-1", 7, failed, ended_at=NOW + 9)

    (ended,) = await store.runs("widget")
    assert (ended.status, ended.finished_at, ended.result) == ("error", NOW + 9, failed)
    assert (await store.rule("widget")).state == RuleState()


@pytest.mark.parametrize("code", ["FETCH_HTTP_5XX", "SYSTEM_STORE", "SYSTEM_WORKER_CRASH"])
async def test_a_run_that_was_given_up_begins_anew_when_its_job_is_requeued(store: Store, code: str) -> None:
    first = await store.begin_run("widget", "job-1", 3, "schedule", NOW, attempt=3)
    await store.note_failure("widget", "job-1", 3, RunResult(error_code=code), ended_at=NOW + 1)

    again = await store.begin_run("widget", "job-1", 9, "schedule", NOW + 500, attempt=1)

    assert (again.run_id, again.finished, again.started_at) == (first.run_id, None, NOW + 500)
    await finish(store, again, a_verdict(), now=NOW + 501)
    (ended,) = await store.runs("widget")
    assert (ended.status, ended.attempt, ended.result) == ("ok", 1, GOOD)


async def test_a_run_that_was_given_up_is_finished_for_a_second_delivery_of_its_last_attempt(
    store: Store,
) -> None:
    await store.begin_run("widget", "job-1", 3, "schedule", NOW, attempt=3)
    await store.note_failure("widget", "job-1", 3, RunResult(error_code="FETCH_TIMEOUT"), ended_at=NOW + 1)
    before = await every_row(store)

    assert (await store.begin_run("widget", "job-1", 4, "schedule", NOW + 2, attempt=3)).finished is not None
    assert await every_row(store) == before


async def test_what_the_page_itself_said_is_a_result_also_for_a_requeued_job(store: Store) -> None:
    ticket = await store.begin_run("widget", "job-1", 3, "schedule", NOW, attempt=3)
    await finish(
        store, ticket, Verdict(state=RuleState()), result=RunResult(error_code="EXTRACT_SELECTOR_NOT_FOUND")
    )
    assert (await store.begin_run("widget", "job-1", 9, "schedule", NOW + 2, attempt=1)).finished is not None


async def test_a_state_that_was_written_meanwhile_refuses_the_run_and_writes_nothing(store: Store) -> None:
    slow, quick = await begin(store, "slow"), await begin(store, "quick")
    await finish(store, quick, a_verdict())
    before = await every_row(store)

    with pytest.raises(StateConflict):
        await finish(store, slow, a_verdict(an_alert()))
    assert await every_row(store) == before

    fresh = await store.rule("widget")
    await finish(store, slow, a_verdict(), expected_state_version=fresh.state.version)
    assert (await store.rule("widget")).state.version == 2


async def test_of_checks_that_end_at_the_same_moment_one_is_written(store: Store, other: Store) -> None:
    tickets = [await begin(store, f"job-{number}") for number in range(6)]
    outcomes: list[FinishedRun | StateConflict] = []

    async def end(number: int) -> None:
        try:
            through = (store, other)[number % 2]
            outcomes.append(await finish(through, tickets[number], a_verdict(an_alert(f"key-{number}"))))
        except StateConflict as conflict:
            outcomes.append(conflict)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(end, number)

    assert sum(isinstance(outcome, FinishedRun) for outcome in outcomes) == 1
    assert len(await store.alerts()) == 1
    assert (await store.rule("widget")).state.version == 1


async def test_an_edited_rule_makes_a_check_under_way_judge_again(store: Store) -> None:
    ticket = await begin(store)
    await load(store, a_rule(url="https://shop.example/elsewhere"))
    with pytest.raises(StateConflict):
        await finish(store, ticket, a_verdict())


async def test_a_taken_dedupe_key_is_recorded_as_a_duplicate_and_not_sent(store: Store) -> None:
    await finish(store, await begin(store), a_verdict(an_alert()))
    second = await finish(store, await begin(store, "job-2"), a_verdict(an_alert()), now=NOW + 2)

    assert second.alerts == ()
    assert list(second.suppressed.values()) == ["duplicate"]
    newest = (await store.alerts())[0]
    assert (newest.state, newest.suppressed, newest.deliveries) == ("suppressed", "duplicate", ())
    assert len(await store.unsent(10, NOW + 1)) == 2, "of the first, one for each channel"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"suppressed": "cooldown"}, "cooldown"), ({"channels": ()}, "no_channels")],
)
async def test_an_alert_not_to_be_sent_is_recorded_with_the_reason_and_holds_nothing_up(
    store: Store, fields: dict[str, Any], reason: str
) -> None:
    first = await finish(store, await begin(store), a_verdict(an_alert(**fields)))
    assert list(first.suppressed.values()) == [reason]
    assert await store.unsent(10, NOW) == []

    second = await finish(store, await begin(store, "job-2"), a_verdict(an_alert()))
    assert len(second.alerts) == 1


async def test_a_job_id_of_another_rule_is_refused(store: Store) -> None:
    await begin(store, "shared")
    with pytest.raises(PermanentFailure, match="widget"):
        await begin(store, "shared", rule_id="gadget")


async def test_every_field_of_the_state_is_remembered(store: Store) -> None:
    full = RuleState(
        stable=TextValue(text="€ \u2028", hash="ff"),
        stable_raw="raw",
        candidate=EUR_100,
        candidate_count=3,
        candidate_raw="100.00",
        candidate_doubt="above the maximum",
        etag='"x"',
        last_modified="Mon",
        conditional_count=4,
        mode_that_worked="http",
        decimal_separator=",",
        health=41.5,
        health_state="degraded",
        fail_streak=2,
        last_run_at=NOW,
        last_good_at=NOW + 0.000001,
        last_change_at=NOW - 1,
        last_alert_at=NOW - 2,
        broken_told_at=NOW - 3,
        unsettled=5,
        unstable_told_at=NOW - 4,
        page_size=50_000,
        told={"low": NOW - 5},
        disarmed=("once", "twice"),
        owed=("rise",),
        told_value=EUR_100,
        last_alert_severity="info",
    )
    await finish(store, await begin(store), Verdict(state=full))
    assert (await store.rule("widget")).state == msgspec.structs.replace(full, version=1)


async def test_values_of_rows_and_fields_come_back_in_the_order_they_went_in(store: Store) -> None:
    rows = RowsValue({"b": {"z": "1", "a": "2"}, "a": {}}, ordered=True)
    record = FieldsValue({"price": EUR_100, "sizes": rows, "since": DateValue("2026-11-24"), "stock": None})
    await finish(
        store, await begin(store), Verdict(state=RuleState(stable=record), value=record, confirmed=True)
    )

    for back in ((await store.history("widget"))[0].value, (await store.rule("widget")).state.stable):
        assert isinstance(back, FieldsValue)
        assert back == record
        assert isinstance(back.fields["sizes"], RowsValue)
        assert list(back.fields["sizes"].rows) == ["b", "a"]
        assert list(back.fields) == ["price", "sizes", "since", "stock"]


async def test_what_was_believed_is_told_with_the_time_it_was_replaced(store: Store) -> None:
    for number, (before, after) in enumerate([("100", "90"), ("90", "80")]):
        was, now = (PriceValue(Decimal(amount), "EUR") for amount in (before, after))
        change = Change(kind="decreased", before=was, after=now)
        changed = Verdict(state=RuleState(stable=now), value=now, change=change, confirmed=True)
        ticket = await begin(store, f"job-{number}")
        await finish(store, ticket, changed, now=NOW + number, expected_state_version=number)
    same = Verdict(state=RuleState(), value=EUR_100, confirmed=True)
    await finish(store, await begin(store, "job-9"), same, now=NOW + 9, expected_state_version=2)

    eur = [PriceValue(Decimal(amount), "EUR") for amount in ("90", "100")]
    assert await store.replaced_values("widget", NOW) == [(NOW + 1, eur[0]), (NOW, eur[1])]
    assert await store.replaced_values("widget", NOW + 0.5) == [(NOW + 1, eur[0])]


async def test_history_and_runs_are_newest_first_and_bounded(store: Store) -> None:
    for number in range(3):
        await finish(store, await begin(store, f"job-{number}"), a_verdict(), now=NOW + number)
    assert [seen.at for seen in await store.history("widget", 2)] == [NOW + 2, NOW + 1]
    assert [run.job_id for run in await store.runs("widget", 2)] == ["job-2", "job-1"]
    assert [seen.at for seen in await store.history("widget", before=NOW + 1)] == [NOW]


async def test_a_run_whose_job_never_came_back_ends_as_a_crash(store: Store) -> None:
    ticket = await begin(store)
    assert await store.abandon_runs(before=NOW, now=NOW + 9) == 0
    assert await store.abandon_runs(before=NOW + 1, now=NOW + 9) == 1
    assert (await store.runs("widget"))[0].result.error_code == "SYSTEM_WORKER_CRASH"
    with pytest.raises(StaleWorker):
        await finish(store, ticket, a_verdict())
