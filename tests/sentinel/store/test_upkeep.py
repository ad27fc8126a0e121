"""Counting, retention, and mending what Redis lost."""

from __future__ import annotations

from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from sentinel.model import Rule
from sentinel.store import Ages, Pruned, Store
from sentinel.store.upkeep import PAGE
from tests.sentinel.store.things import (
    HOUR,
    NOW,
    a_rule,
    a_verdict,
    an_alert,
    begin,
    finish,
    load,
    raised_alert,
)

EVERYTHING = Ages(runs=0.0, observations=0.0, alerts=0.0)


def hourly(_: Rule, now: float) -> float:
    return now + HOUR


async def test_enabled_rules_are_counted_by_health(store: Store) -> None:
    await load(store, a_rule(), a_rule("well"), a_rule("off", enabled=False))
    await finish(store, await begin(store), a_verdict(an_alert(), health_state="broken"))

    counts = await store.counts(NOW + 11)

    assert counts.rules == {"ok": 1, "degraded": 0, "broken": 1}
    assert counts.rules_disabled == 1
    assert (counts.outbox, counts.outbox_now, counts.outbox_oldest) == (2, 2, 10.0)
    assert counts.alerts_pending == 1


async def test_an_empty_store_counts_nothing(store: Store) -> None:
    counts = await store.counts(NOW)
    assert counts.rules == {"ok": 0, "degraded": 0, "broken": 0}
    assert (counts.outbox, counts.outbox_oldest) == (0, 0.0)


async def test_what_is_old_is_removed_but_a_pending_alert_is_kept(store: Store) -> None:
    await load(store)
    alert_id = await raised_alert(store)
    assert await store.prune(NOW + HOUR, Ages()) == Pruned()

    pruned = await store.prune(NOW + HOUR, EVERYTHING)

    assert (pruned.runs, pruned.observations, pruned.alerts) == (1, 1, 0)
    assert (await store.alert(alert_id)).run_id is None
    for channel in ("ops", "boss"):
        ticket = await store.claim_delivery(alert_id, channel, "j", 1, NOW)
        await store.record_attempt(ticket, "sent", now=NOW)
    assert (await store.prune(NOW + HOUR, EVERYTHING)).alerts == 1
    assert (await store.rule("widget")).state.stable is not None


async def test_runs_that_have_an_observation_stay_as_long_as_it_does(store: Store) -> None:
    await load(store)
    await finish(store, await begin(store), a_verdict())
    await begin(store, "running")
    assert await store.prune(NOW + HOUR, Ages(runs=0.0)) == Pruned()
    assert len(await store.runs("widget")) == 2


async def unfinished(store: Store, *, after: float, before: float) -> list[tuple[str, str]]:
    """Stream and id of each job, in order."""
    pages = [page async for page in store.unfinished(after=after, before=before)]
    return [(job.stream, job.job_id) for page in pages for job in page]


async def test_unfinished_work_has_its_jobs_under_their_own_ids(store: Store) -> None:
    await load(store, a_rule(), a_rule("gadget"), a_rule("ticked"))
    claimed = await store.claim_due(NOW, limit=3, next_due=hourly)
    (ticked,) = [one.job_id for one in claimed if one.rule_id == "ticked"]
    alert_id = await raised_alert(store)
    await begin(store, "under-way", rule_id="gadget")

    assert await unfinished(store, after=NOW - HOUR, before=NOW - 1) == []
    assert await unfinished(store, after=NOW - HOUR, before=NOW + 2) == [
        (RULES_RUN, ticked),
        (RULES_RUN, "under-way"),
        (ALERTS_DISPATCH, f"alert-{alert_id}:boss"),
        (ALERTS_DISPATCH, f"alert-{alert_id}:ops"),
    ]
    assert await unfinished(store, after=NOW + 2, before=NOW + 3) == []


async def test_a_delivery_that_another_job_holds_is_told_by_that_ones_id_and_one_that_is_sent_not_at_all(
    store: Store,
) -> None:
    await load(store)
    alert_id = await raised_alert(store)
    sent = await store.claim_delivery(alert_id, "ops", f"alert-{alert_id}:ops", 1, NOW)
    await store.record_attempt(sent, "sent", now=NOW)
    await store.claim_delivery(alert_id, "boss", "theirs:boss", 1, NOW)

    assert await unfinished(store, after=NOW - HOUR, before=NOW + 1) == [(ALERTS_DISPATCH, "theirs:boss")]


async def test_finished_work_has_no_jobs(store: Store) -> None:
    await load(store)
    await store.claim_due(NOW, limit=1, next_due=hourly)
    alert_id = await raised_alert(store)
    for channel in ("ops", "boss"):
        ticket = await store.claim_delivery(alert_id, channel, "j", 1, NOW)
        await store.record_attempt(ticket, "sent", now=NOW)
    assert await unfinished(store, after=0, before=NOW + HOUR) == []


async def test_every_page_of_unfinished_work_is_told_once(store: Store) -> None:
    ids = [f"rule-{number:04}" for number in range(2 * PAGE + 1)]
    await load(store, *(a_rule(rule_id) for rule_id in ids))
    claimed = await store.claim_due(NOW, limit=len(ids), next_due=hourly)
    assert sorted(job for _, job in await unfinished(store, after=0, before=NOW + 1)) == sorted(
        one.job_id for one in claimed
    )


async def test_a_delivery_that_waits_for_its_next_try_is_not_lost_because_its_jobs_id_is_forgotten(
    store: Store,
) -> None:
    await load(store)
    alert_id = await raised_alert(store)
    later = NOW + 30 * HOUR
    ticket = await store.claim_delivery(alert_id, "ops", "its-job", 1, later)
    await store.record_attempt(ticket, "failed", now=later)
    assert await unfinished(store, after=later - 23 * HOUR, before=later + 1) == []
    assert ("alerts:dispatch", "its-job") in await unfinished(store, after=NOW, before=later + 1)
