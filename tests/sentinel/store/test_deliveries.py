"""A delivery's life: claimed, tried, sent once and never taken back."""

from __future__ import annotations

import msgspec
import pytest

from sentinel.errors import NotFound, StaleWorker
from sentinel.jobs import DispatchAlert
from sentinel.store import DeliveryTicket, Store
from tests.sentinel.store.things import NOW, every_row, load, raised_alert


@pytest.fixture
async def alert_id(store: Store) -> str:
    await load(store)
    return await raised_alert(store)


async def claim(store: Store, alert_id: str, channel: str = "ops", fence: int = 1) -> DeliveryTicket:
    return await store.claim_delivery(alert_id, channel, "job-a", fence, NOW + 2)


async def test_an_alert_waits_for_each_of_its_channels(store: Store, alert_id: str) -> None:
    alert = await store.alert(alert_id)
    assert [(one.channel_id, one.state, one.attempts) for one in alert.deliveries] == [
        ("boss", "pending", 0),
        ("ops", "pending", 0),
    ]
    with pytest.raises(NotFound):
        await store.alert("none")


async def test_it_is_sent_when_all_channels_have_it(store: Store, alert_id: str) -> None:
    ops = await claim(store, alert_id)
    assert await store.record_attempt(ops, "sent", now=NOW + 3, http_status=204, latency=0.5) == "pending"
    boss = await claim(store, alert_id, "boss")
    assert await store.record_attempt(boss, "sent", now=NOW + 4, provider_id="p1") == "sent"

    alert = await store.alert(alert_id)
    (first, second) = sorted(alert.deliveries, key=lambda one: one.sent_at or 0)
    assert (first.http_status, first.attempts, first.sent_at) == (204, 1, NOW + 3)
    assert first.history[0].latency == 0.5
    assert second.provider_id == "p1"


async def test_a_failure_is_retried_and_every_attempt_is_kept(store: Store, alert_id: str) -> None:
    first = await claim(store, alert_id)
    await store.record_attempt(first, "failed", now=NOW, http_status=503, error="busy")
    second = await claim(store, alert_id, fence=2)
    await store.record_attempt(second, "sent", now=NOW + 10, http_status=200)

    ops = next(one for one in (await store.alert(alert_id)).deliveries if one.channel_id == "ops")
    assert (ops.state, ops.attempts, ops.error) == ("sent", 2, None)
    assert [(one.number, one.outcome, one.http_status) for one in ops.history] == [
        (1, "failed", 503),
        (2, "sent", 200),
    ]


async def test_what_was_sent_is_never_sent_again_nor_taken_back(store: Store, alert_id: str) -> None:
    ticket = await claim(store, alert_id)
    await store.record_attempt(ticket, "sent", now=NOW + 3)
    before = await every_row(store)

    assert (await claim(store, alert_id, fence=9)).settled == "sent"
    for outcome in ("failed", "dead"):
        with pytest.raises(StaleWorker):
            await store.record_attempt(ticket, outcome, now=NOW + 4)
    assert await every_row(store) == before


async def test_recording_the_same_attempt_twice_records_it_once(store: Store, alert_id: str) -> None:
    ticket = await claim(store, alert_id)
    await store.record_attempt(ticket, "sent", now=NOW + 3)
    before = await every_row(store)
    assert await store.record_attempt(ticket, "sent", now=NOW + 3) == "pending"
    assert await every_row(store) == before


async def test_a_stale_worker_neither_claims_nor_records(store: Store, alert_id: str) -> None:
    stale = await claim(store, alert_id, fence=1)
    await claim(store, alert_id, fence=2)
    before = await every_row(store)
    with pytest.raises(StaleWorker):
        await store.record_attempt(stale, "sent", now=NOW)
    with pytest.raises(StaleWorker):
        await claim(store, alert_id, fence=1)
    assert await every_row(store) == before


async def test_one_channel_that_refuses_leaves_the_others_alone(store: Store, alert_id: str) -> None:
    dead = await claim(store, alert_id, "boss")
    await store.record_attempt(dead, "dead", now=NOW, http_status=404, error="no such hook")
    sent = await claim(store, alert_id)
    assert await store.record_attempt(sent, "sent", now=NOW) == "partial"
    assert (await claim(store, alert_id, "boss", fence=2)).settled == "dead"


async def test_a_failure_of_the_last_attempt_ends_it(store: Store, alert_id: str) -> None:
    for channel in ("ops", "boss"):
        ticket = await claim(store, alert_id, channel)
        state = await store.record_attempt(ticket, "failed", now=NOW, last_attempt=True)
    assert state == "failed"


async def test_a_requeued_job_may_try_a_failed_delivery_again(store: Store, alert_id: str) -> None:
    ticket = await claim(store, alert_id)
    await store.record_attempt(ticket, "failed", now=NOW, last_attempt=True)
    again = await claim(store, alert_id, fence=2)
    assert (again.settled, again.attempt) == (None, 2)


async def test_resending_reaches_those_that_did_not_get_it(store: Store, alert_id: str) -> None:
    await store.record_attempt(await claim(store, alert_id), "sent", now=NOW)
    await store.record_attempt(await claim(store, alert_id, "boss"), "dead", now=NOW)
    await store.mark_sent([row.id for row in await store.unsent(10, NOW)])

    job_ids = await store.resend(alert_id, NOW + 60)

    (row,) = await store.unsent(10, NOW + 60)
    payload = msgspec.json.decode(row.payload, type=DispatchAlert)
    assert ([row.job_id], payload.channels) == (job_ids, ("boss",))
    assert payload.dedupe_key != "widget:drop"
    assert row.job_id.endswith(":boss")
    assert (await claim(store, alert_id, fence=2)).settled == "sent"
    assert (await claim(store, alert_id, "boss", fence=2)).settled is None
    with pytest.raises(NotFound):
        await store.resend("none", NOW)


async def test_the_other_side_knows_a_delivery_by_one_id_whichever_job_brings_it(
    store: Store, alert_id: str
) -> None:
    first = await store.claim_delivery(alert_id, "ops", "job-a", 1, NOW, message_id="a:ops")
    await store.record_attempt(first, "failed", now=NOW, last_attempt=True)
    await store.resend(alert_id, NOW + 60)
    again = await store.claim_delivery(alert_id, "ops", "job-b", 2, NOW, message_id="b:ops")
    assert (first.message_id, again.message_id) == ("a:ops", "a:ops")


async def test_resending_lets_one_that_is_being_sent_say_so(store: Store, alert_id: str) -> None:
    in_hand = await claim(store, alert_id)
    await store.resend(alert_id, NOW + 60, channels=["ops"])
    await store.record_attempt(in_hand, "sent", now=NOW + 61)
    assert (await claim(store, alert_id, fence=9)).settled == "sent"


async def test_those_that_have_accepted_an_alert_are_not_among_the_open_ones(
    store: Store, alert_id: str
) -> None:
    await store.record_attempt(await claim(store, alert_id), "sent", now=NOW)
    assert await store.open_deliveries(alert_id, ["ops", "third", "boss", "third"], NOW) == ["third", "boss"]
    assert {one.channel_id: one.state for one in (await store.alert(alert_id)).deliveries} == {
        "ops": "sent",
        "boss": "pending",
        "third": "pending",
    }
    with pytest.raises(NotFound):
        await store.open_deliveries("none", ["ops"], NOW)


async def test_a_channel_the_alert_did_not_name_gets_a_delivery_of_its_own(
    store: Store, alert_id: str
) -> None:
    ticket = await claim(store, alert_id, "third")
    assert (ticket.workspace_id, ticket.attempt) == ("acme", 1)
    assert len((await store.alert(alert_id)).deliveries) == 3
    with pytest.raises(NotFound):
        await claim(store, "none")


async def test_alerts_are_listed_newest_first_by_rule_and_state(store: Store, alert_id: str) -> None:
    assert [one.id for one in await store.alerts(rule_id="widget", state="pending")] == [alert_id]
    assert await store.alerts(rule_id="none") == []
    assert await store.alerts(state="sent") == []
    assert await store.alerts(0) == []
