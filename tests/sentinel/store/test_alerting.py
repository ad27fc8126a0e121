"""Alerts that are held, told together, told as one, taken on: what the transactions write, once."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import msgspec
import pytest

from sentinel.errors import NotFound, StoreUnavailable
from sentinel.jobs import ALERT_DEDUPE_WINDOW, ALERTS_DISPATCH, DispatchAlert
from sentinel.model import (
    AlertPolicy,
    Channel,
    Digest,
    Escalation,
    Flood,
    Incident,
    QuietHours,
    Route,
    Rule,
    RulesFile,
    RuleState,
    Verdict,
    Workspace,
)
from sentinel.relay import Relay
from sentinel.store import Ages, Store, StoredAlert
from sentinel.store.digests import SHOWN
from sentinel.store.raising import delivery_jobs
from streamq import Queue
from streamq.clock import ManualClock
from streamq.testing.memory import MemoryBroker
from tests.sentinel.store.things import GOOD, a_rule, a_verdict, an_alert, begin, every_row, finish

ZONE = "Europe/Bratislava"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).timestamp()


NOON = at("2026-01-10 12:20")
NIGHT = at("2026-01-10 23:20")
MORNING = at("2026-01-11 07:00")
QUIET = QuietHours(start="22:00", end="07:00")
BY_HOST = Digest(by="host", every=3600)


async def load(store: Store, *rules: Rule, ops_fallback: str | None = None, **space: Any) -> None:
    ways = {"ops": ops_fallback}
    channels = [Channel(id=name, type="console", fallback=ways.get(name)) for name in ("ops", "boss", "mail")]
    space = {"incident": None, **space}
    await store.import_rules(
        RulesFile(
            workspace=Workspace(id="acme", timezone=ZONE, **space),
            channels=channels,
            rules=list(rules or [a_rule()]),
        ),
        now=NOON,
        first_due=lambda _: NOON,
    )


async def change(
    store: Store, key: str = "k", *, rule_id: str = "widget", now: float = NOON, **fields: Any
) -> StoredAlert:
    """A check that comes to one alert, as it is stored."""
    ticket = await begin(store, f"job-{rule_id}-{key}-{now}", rule_id=rule_id)
    draft = an_alert(f"{rule_id}:{key}", **{"channels": ("ops",), "title": f"{rule_id} {key}", **fields})
    finished = await finish(store, ticket, a_verdict(draft), now=now)
    (alert_id,) = finished.severities
    return await store.alert(alert_id)


async def jobs(store: Store, now: float) -> list[tuple[str, str]]:
    """(alert, channel) of the deliveries that were called for since last asked and may be made."""
    found = []
    for row in await store.unsent(100_000, now, lease=10**9):
        if row.stream == ALERTS_DISPATCH and (row.available_at or 0) <= now:
            payload = msgspec.json.decode(row.payload, type=DispatchAlert)
            found.append((payload.alert_id, *payload.channels))
    return found


async def digests(store: Store) -> list[StoredAlert]:
    return [alert for alert in await store.alerts(10_000) if alert.kind == "digest"]


# --- the key, and the day -----------------------------------------------------------------------


async def test_what_is_held_holds_its_key_and_what_is_not_told_does_not(store: Store) -> None:
    await load(store, quiet_hours=QUIET)
    assert (await change(store, "a", now=NIGHT)).suppressed == "quiet_hours"
    again = await change(store, "a", now=NIGHT + 60)
    assert again.suppressed == "duplicate", "it is told with the first one"
    assert again.suppressed_until == at("2026-01-11 00:00")
    assert (await change(store, "b", channels=())).suppressed == "no_channels"
    assert (await change(store, "b", now=NOON + 1)).state == "pending"


async def test_at_the_queue_a_key_is_held_for_five_minutes_over_midnight_too(store: Store) -> None:
    """The row's key is the day's; the queue's is each delivery's own, so that neither day holds up the other."""
    await load(store)
    late, early = at("2026-01-10 23:58"), at("2026-01-11 00:01")
    first = await change(store, "v:2026-01-10", now=late)
    second = await change(store, "v:2026-01-11", now=early)
    assert (first.suppressed, second.suppressed) == (None, None)
    clock = ManualClock(early)
    broker = MemoryBroker(clock)
    relay = Relay(store, broker, clock)
    await relay.flush()
    assert sum((await broker.stats(ALERTS_DISPATCH)).ready.values()) == 2
    payload = DispatchAlert(
        alert_id=first.id,
        workspace_id="acme",
        rule_id="widget",
        channels=("ops",),
        dedupe_key=first.dedupe_key,
    )
    (again,) = delivery_jobs("another-job", payload, "warning")
    for wait, created in ((0, False), (ALERT_DEDUPE_WINDOW - 1, False), (2, True)):
        clock.advance(wait)
        receipt = await Queue(ALERTS_DISPATCH, broker).enqueue(
            payload, job_id=f"another-{wait}", unique=again.unique, unique_for=again.unique_for
        )
        assert receipt.created is created, wait


async def test_a_duplicate_starts_no_cooldown_and_what_is_held_does(store: Store) -> None:
    await load(store, quiet_hours=QUIET)
    await change(store, "a")
    assert (await store.rule("widget")).state.last_alert_at == NOON
    await change(store, "a", now=NOON + 60)
    assert (await store.rule("widget")).state.last_alert_at == NOON
    await change(store, "b", now=NIGHT)
    assert (await store.rule("widget")).state.last_alert_at == NIGHT


# --- quiet hours --------------------------------------------------------------------------------


async def test_what_was_held_in_the_night_is_told_in_the_morning_as_one_for_each_channel(
    store: Store,
) -> None:
    await load(store, a_rule("x"), a_rule("y"), quiet_hours=QUIET)
    first = await change(store, "1", rule_id="x", now=NIGHT, channels=("ops", "boss"))
    second = await change(store, "2", rule_id="y", now=NIGHT + 5, severity="info")
    loud = await change(store, "3", rule_id="y", now=NIGHT + 9, severity="critical")
    assert (first.suppressed, first.suppressed_until) == ("quiet_hours", MORNING)
    assert await jobs(store, NIGHT + 10) == [(loud.id, "ops")], "critical passes"

    assert await store.close_digests(MORNING - 1) == 0
    assert await store.close_digests(MORNING) == 2
    told = {alert.channels: alert for alert in await digests(store)}
    assert set(told) == {("ops",), ("boss",)}
    body = told["ops",].body
    assert [member["alert_id"] for member in body["members"]] == [first.id, second.id]
    assert body["members"][0]["title"] == "x 1"
    assert body["members"][0]["after"] == {"amount": "90.10"}
    assert (body["more"], told["ops",].severity) == (0, "warning")
    assert told["ops",].title == "2 alerts from the quiet hours"
    assert sorted(await jobs(store, MORNING)) == sorted(
        (alert.id, channel) for (channel,), alert in told.items()
    )
    (where,) = await store.together(second.id)
    assert (where.channel_id, where.closed_at, where.alert_id) == ("ops", MORNING, told["ops",].id)


async def test_a_digest_of_nothing_is_not_sent(store: Store) -> None:
    await load(store, quiet_hours=QUIET)
    held = await change(store, now=NIGHT)
    assert await store.acknowledge(held.id, NIGHT + 60, by="eva")
    assert await store.close_digests(MORNING) == 1
    assert await digests(store) == []
    assert await jobs(store, MORNING) == []
    (where,) = await store.together(held.id)
    assert (where.closed_at, where.alert_id) == (MORNING, None)


# --- digests ------------------------------------------------------------------------------------


async def test_however_many_workers_close_a_digest_it_is_told_once(store: Store, other: Store) -> None:
    await load(store, digest=BY_HOST)
    for number in range(5):
        await change(store, str(number), now=NOON + number)
    closed: list[int] = []

    async def close(through: Store) -> None:
        closed.append(await through.close_digests(at("2026-01-10 13:00")))

    async with anyio.create_task_group() as group:
        for through in (store, other, store, other):
            group.start_soon(close, through)

    assert sorted(closed) == [0, 0, 0, 1]
    (told,) = await digests(store)
    assert await jobs(store, NOON + 9999) == [(told.id, "ops")]
    assert told.title == "5 alerts of shop.example"
    assert await store.close_digests(NOON + 99999) == 0


async def test_a_digest_that_could_not_be_written_whole_is_not_closed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death anywhere in the transaction is an exception at its end: all of it comes back."""
    await load(store, digest=BY_HOST)
    await change(store)
    before = await every_row(store)

    async def die(*_: object) -> None:
        raise StoreUnavailable("gone in the middle")

    with monkeypatch.context() as patched:
        patched.setattr("sentinel.store.digests.add_jobs", die)
        with pytest.raises(StoreUnavailable):
            await store.close_digests(at("2026-01-10 13:00"))
    assert await every_row(store) == before
    assert await store.close_digests(at("2026-01-10 13:00")) == 1


async def test_who_comes_after_a_digest_was_told_is_in_the_next(store: Store) -> None:
    await load(store, digest=BY_HOST)
    first = await change(store, "1")
    end = at("2026-01-10 13:00")
    await store.close_digests(end)
    late = await change(store, "2", now=end - 1)  # a clock that runs behind
    assert late.suppressed == "digest"
    assert await store.close_digests(end + 3600) == 1
    told = [[member["alert_id"] for member in one.body["members"]] for one in await digests(store)]
    assert sorted(told) == sorted([[first.id], [late.id]])


async def test_a_digest_shows_some_of_its_members_and_counts_the_others(store: Store) -> None:
    await load(store, digest=Digest(every=3600))
    for number in range(SHOWN + 3):
        await change(store, str(number), severity="info", now=NOON + number)
    await store.close_digests(at("2026-01-10 13:00"))
    (told,) = await digests(store)
    assert (len(told.body["members"]), told.body["more"]) == (SHOWN, 3)
    assert told.title == f"{SHOWN + 3} alerts"


async def test_a_channel_that_collects_gets_the_digest_and_another_the_alert(store: Store) -> None:
    routes = [Route(channels=["ops"], go_on=True), Route(channels=["mail"], digest=BY_HOST)]
    await load(store, a_rule(alert_policy=AlertPolicy()), routes=routes)
    alert = await change(store, channels=())
    assert (alert.state, alert.suppressed, alert.channels) == ("pending", None, ("ops", "mail"))
    assert await jobs(store, NOON) == [(alert.id, "ops")]
    await store.close_digests(at("2026-01-10 13:00"))
    (told,) = await digests(store)
    assert await jobs(store, NOON) == [(told.id, "mail")]


async def test_a_digest_is_told_of_a_rule_that_was_deleted_meanwhile(store: Store) -> None:
    await load(store, digest=BY_HOST)
    await change(store)
    await store.delete_rule("widget")
    await store.close_digests(at("2026-01-10 13:00"))
    (told,) = await digests(store)
    assert told.rule_id == "widget"


# --- floods -------------------------------------------------------------------------------------


async def test_more_that_are_alike_are_told_together_with_their_number(store: Store) -> None:
    rules = [a_rule(f"page-{number}") for number in range(12)]
    await load(store, *rules, flood=Flood(alerts=5, within=60))
    seen = [await change(store, "new", rule_id=rule.id, title=f"{rule.id}: 5 -> 4") for rule in rules]
    assert [alert.suppressed for alert in seen] == [None] * 5 + ["flood"] * 7
    odd = await change(store, "odd", rule_id="page-1", title="something else", now=NOON + 1)
    assert odd.suppressed is None

    until = seen[-1].suppressed_until
    assert until == at("2026-01-10 12:25")
    assert await store.close_digests(until) == 1
    (told,) = await digests(store)
    assert told.title == "7 more like this: page-#: # -> #"
    later = await change(store, "new", rule_id="page-2", title="page-2: 4 -> 3", now=NOON + 120)
    assert later.suppressed is None or later.suppressed == "duplicate"


async def test_a_rule_that_floods_is_held_though_its_titles_differ_and_are_critical(store: Store) -> None:
    await load(store, flood=Flood(alerts=2, within=60))
    found = [
        await change(store, word, title=word, severity="critical", now=NOON + n)
        for n, word in enumerate(("one", "two", "three", "four"))
    ]
    assert [alert.suppressed for alert in found] == [None, None, "flood", "flood"]
    assert (await change(store, "five", now=NOON + 120)).suppressed is None


# --- incidents ----------------------------------------------------------------------------------


def ten(**fields: Any) -> list[Rule]:
    return [a_rule(f"r{number}", **fields) for number in range(10)]


async def fails(store: Store, rule_id: str, *, now: float) -> None:
    """A check that fails, of a rule that is not broken by it."""
    ticket = await begin(store, f"fail-{rule_id}-{now}", rule_id=rule_id)
    state = RuleState(health=60.0, health_state="degraded", fail_streak=1, last_run_at=now)
    await finish(store, ticket, Verdict(state=state), now=now, result=_FAILED)


async def breaks(store: Store, rule_id: str, *, now: float, again: bool = False) -> dict[str, str]:
    """A check that breaks a rule; what became of its alerts: reason, or "told", by title."""
    ticket = await begin(store, f"break-{rule_id}-{now}", rule_id=rule_id)
    state = RuleState(health=0.0, health_state="broken", fail_streak=5, last_run_at=now, broken_told_at=now)
    words = f"{rule_id}: {'still ' if again else ''}not watching: it hangs"
    draft = an_alert(
        f"{rule_id}:broken:{now:.0f}", kind="health", title=words, channels=("ops",), conditions=(),
        body={"rule": rule_id, "url": f"https://shop.example/{rule_id}", "code": "FETCH_TIMEOUT", "detail": "30 s"},
    )  # fmt: skip
    return await _became(
        store, await finish(store, ticket, Verdict(state=state, alerts=(draft,)), now=now, result=_FAILED)
    )


async def recovers(store: Store, rule_id: str, *, now: float) -> dict[str, str]:
    ticket = await begin(store, f"well-{rule_id}-{now}", rule_id=rule_id)
    draft = an_alert(
        f"{rule_id}:recovered:{now:.0f}", kind="recovery", severity="info", title=f"{rule_id}: watching again",
        channels=("ops",), conditions=(), body={"rule": rule_id, "url": f"https://shop.example/{rule_id}"},
    )  # fmt: skip
    verdict = Verdict(state=RuleState(health=75.0, last_run_at=now), alerts=(draft,))
    return await _became(store, await finish(store, ticket, verdict, now=now))


async def _became(store: Store, finished: Any) -> dict[str, str]:
    alerts = [await store.alert(alert_id) for alert_id in finished.severities]
    return {alert.title: alert.suppressed or "told" for alert in alerts}


_FAILED = msgspec.structs.replace(GOOD, error_code="FETCH_TIMEOUT", error_detail="30 s")


async def test_ten_rules_of_a_host_that_break_together_are_told_once_and_once_when_they_work(
    store: Store,
) -> None:
    await load(store, *ten(), incident=Incident())
    for rule in ten():
        await fails(store, rule.id, now=NOON)
    became = [await breaks(store, rule.id, now=NOON + 30 * n) for n, rule in enumerate(ten())]
    assert Counter(reason for one in became for reason in one.values()) == {"incident": 10, "told": 1}
    assert became[-1]["shop.example: 10 rules not watching: it hangs"] == "told"
    assert [channel for _, channel in await jobs(store, NOON + 300)] == ["ops"]

    well = [await recovers(store, rule.id, now=NOON + 4000 + n) for n, rule in enumerate(ten())]
    assert Counter(reason for one in well for reason in one.values()) == {"incident": 10, "told": 1}
    assert well[-1]["shop.example: watching again"] == "told"
    assert len(await jobs(store, NOON + 5000)) == 1
    assert await store.settle_incidents(NOON + 9999) == 0, "it is over"
    assert (await breaks(store, "r0", now=NOON + 9999)) == {"r0: not watching: it hangs": "told"}


async def test_a_rule_that_breaks_alone_is_told_at_once(store: Store) -> None:
    await load(store, *ten(), incident=Incident())
    assert await breaks(store, "r0", now=NOON) == {"r0: not watching: it hangs": "told"}
    assert await recovers(store, "r0", now=NOON + 60) == {"r0: watching again": "told"}


async def test_where_it_becomes_no_incident_each_is_told_by_itself_once(store: Store, other: Store) -> None:
    await load(store, *ten(), incident=Incident())
    for rule in ten():
        await fails(store, rule.id, now=NOON)
    for rule_id in ("r0", "r1", "r2"):
        assert set((await breaks(store, rule_id, now=NOON + 1)).values()) == {"incident"}
    assert await recovers(store, "r2", now=NOON + 60) == {"r2: watching again": "incident"}
    assert await store.settle_incidents(NOON + 600) == 0
    settled: list[int] = []

    async def settle(through: Store) -> None:
        settled.append(await through.settle_incidents(NOON + 602))

    async with anyio.create_task_group() as group:
        for through in (store, other, store):
            group.start_soon(settle, through)
    assert sum(settled) == 1
    told = {alert.rule_id for alert in await store.alerts() if alert.state == "pending"}
    assert told == {"r0", "r1"}, "the one that works again was never told, in neither way"
    assert len(await jobs(store, NOON + 602)) == 2


async def test_an_incident_is_reminded_of_once_a_day_and_ends_with_its_last_rule(store: Store) -> None:
    await load(store, *ten(), incident=Incident(rules=2))
    await breaks(store, "r0", now=NOON)
    await breaks(store, "r1", now=NOON + 1)
    await breaks(store, "r2", now=NOON + 2)
    day = 86400.0
    became = [await breaks(store, f"r{n}", now=NOON + day + n + 5, again=True) for n in (1, 2)]
    assert [list(one.values()) for one in became] == [["incident", "told"], ["incident"]]
    assert "shop.example: 2 rules still not watching: it hangs" in became[0]

    await store.delete_rule("r1")
    assert await store.settle_incidents(NOON + day + 60) == 0
    await store.set_enabled("r2", False, NOON + day)
    await jobs(store, NOON + day + 60)
    assert await store.settle_incidents(NOON + day + 60) == 1
    newest = (await store.alerts(1))[0]
    assert (newest.title, newest.state) == ("shop.example: watching again", "pending")


async def test_rules_that_break_at_the_same_moment_make_one_incident(store: Store, other: Store) -> None:
    await load(store, *ten(), incident=Incident())
    for rule in ten():
        await fails(store, rule.id, now=NOON)
    became: list[dict[str, str]] = []

    async def one(through: Store, rule_id: str) -> None:
        became.append(await breaks(through, rule_id, now=NOON + 1))

    async with anyio.create_task_group() as group:
        for number, rule in enumerate(ten()):
            group.start_soon(one, store if number % 2 else other, rule.id)
    assert Counter(reason for each in became for reason in each.values()) == {"incident": 10, "told": 1}
    assert len(await jobs(store, NOON + 1)) == 1


# --- acknowledged, or not -----------------------------------------------------------------------


ESCALATES = AlertPolicy(channels=["ops"], escalate=Escalation(after=900, channels=["boss"]))


async def test_what_nobody_acknowledges_is_told_to_others_later(store: Store) -> None:
    await load(store, a_rule(alert_policy=ESCALATES))
    alert = await change(store)
    assert await jobs(store, NOON) == [(alert.id, "ops")]
    waiting = {one.channel_id: one for one in alert.deliveries}
    assert (waiting["boss"].state, waiting["boss"].escalates_at) == ("pending", NOON + 900)

    ticket = await store.claim_delivery(alert.id, "ops", "j", 1, NOON)
    assert await store.record_attempt(ticket, "sent", now=NOON + 1) == "sent", "it does not wait for the boss"
    ticket = await store.claim_delivery(alert.id, "boss", "j2", 1, NOON + 900)
    assert ticket.settled is None
    assert await store.record_attempt(ticket, "sent", now=NOON + 901) == "sent"


async def test_the_job_of_an_escalation_waits_in_the_outbox_for_its_time(store: Store) -> None:
    await load(store, a_rule(alert_policy=ESCALATES))
    alert = await change(store)
    due = {row.job_id: row.available_at for row in await store.unsent(10, NOON)}
    assert due == {f"alert-{alert.id}:ops": None, f"alert-{alert.id}:boss": NOON + 900}


async def test_acknowledged_in_time_nobody_else_is_told(store: Store) -> None:
    await load(store, a_rule(alert_policy=ESCALATES))
    alert = await change(store)
    assert await store.acknowledge(alert.id, NOON + 60, by="eva", note="calling the shop")
    assert not await store.acknowledge(alert.id, NOON + 61, by="somebody else")
    seen = await store.alert(alert.id)
    assert (seen.acked_at, seen.acked_by, seen.ack_note) == (NOON + 60, "eva", "calling the shop")
    boss = next(one for one in seen.deliveries if one.channel_id == "boss")
    assert (boss.state, boss.error) == ("skipped", "acknowledged by eva")
    ticket = await store.claim_delivery(alert.id, "boss", "j", 1, NOON + 900)
    assert ticket.settled == "skipped"


async def test_who_is_escalated_to_and_is_the_fallback_too_is_told_once_the_channel_has_failed(
    store: Store,
) -> None:
    await load(store, a_rule(alert_policy=ESCALATES), ops_fallback="boss")
    alert = await change(store)
    first = {row.job_id: row for row in await store.unsent(10, NOON, lease=10**9)}
    later = first[f"alert-{alert.id}:boss"]

    ticket = await store.claim_delivery(alert.id, "ops", "j", 1, NOON)
    await store.record_attempt(ticket, "dead", now=NOON + 1)

    (boss,) = (one for one in (await store.alert(alert.id)).deliveries if one.channel_id == "boss")
    assert (boss.state, boss.escalates_at, boss.fallback_of) == ("pending", None, "ops")
    (at_once,) = await store.unsent(10, NOON + 1)
    assert at_once.available_at is None
    assert at_once.unique != later.unique, "it would be taken for the one that waits"

    ticket = await store.claim_delivery(alert.id, "boss", at_once.job_id, 1, NOON + 2)
    assert await store.record_attempt(ticket, "sent", now=NOON + 2) == "partial"
    ticket = await store.claim_delivery(alert.id, "boss", later.job_id, 2, NOON + 900)
    assert ticket.settled == "sent"


async def test_an_escalation_that_was_not_needed_is_not_brought_back_by_a_fallback(store: Store) -> None:
    await load(store, a_rule(alert_policy=ESCALATES), ops_fallback="boss")
    alert = await change(store)
    await jobs(store, NOON)
    ticket = await store.claim_delivery(alert.id, "ops", "j", 1, NOON)
    assert await store.acknowledge(alert.id, NOON + 1, by="eva")

    await store.record_attempt(ticket, "dead", now=NOON + 2)

    (boss,) = (one for one in (await store.alert(alert.id)).deliveries if one.channel_id == "boss")
    assert boss.state == "skipped"
    assert await jobs(store, NOON + 2) == []


async def test_an_escalation_that_redis_lost_is_given_to_it_again_when_it_is_due(store: Store) -> None:
    await load(store, a_rule(alert_policy=ESCALATES))
    alert = await change(store)

    async def lost(now: float) -> set[str]:
        pages = [page async for page in store.unfinished(after=NOON - 1, before=now - 120)]
        return {job.job_id for page in pages for job in page if job.stream == ALERTS_DISPATCH}

    assert await lost(NOON + 300) == {f"alert-{alert.id}:ops"}
    assert await lost(NOON + 1100) == {f"alert-{alert.id}:ops", f"alert-{alert.id}:boss"}


async def test_an_alert_that_is_not_there_cannot_be_acknowledged(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.acknowledge("nobody", NOON)


# --- asked beforehand ---------------------------------------------------------------------------


async def test_what_is_explained_is_what_happens(store: Store) -> None:
    from sentinel.decide.alerting import plan

    routes = [Route(channels=["boss"], severity="critical"), Route(channels=["ops"], digest=BY_HOST)]
    await load(
        store, a_rule(alert_policy=AlertPolicy(cooldown_seconds=600)), routes=routes, quiet_hours=QUIET
    )
    for now, severity in (
        (NOON, "warning"),
        (NOON + 1000, "critical"),
        (NIGHT, "warning"),
        (NIGHT + 700, "critical"),
    ):
        outlook = await store.outlook("widget", now, severity=severity)  # type: ignore[arg-type] # one of the literals
        expected = plan(outlook.asked, outlook.view, now=now)
        alert = await change(store, str(now), now=now, severity=severity, channels=())
        assert (alert.suppressed, alert.suppressed_until) == (expected.reason, expected.until)
        assert alert.routing == tuple(step for step in expected.steps if step.counts)
    cooling = plan(**await _asked(store, NIGHT + 800), now=NIGHT + 800)
    assert (cooling.reason, cooling.until) == ("cooldown", NIGHT + 700 + 600)
    assert {one.channel.id for one in (await store.outlook("widget", NOON)).channels} == {
        "ops",
        "boss",
        "mail",
    }


async def _asked(store: Store, now: float) -> dict[str, Any]:
    outlook = await store.outlook("widget", now)
    return {"asked": outlook.asked, "view": outlook.view}


async def test_digests_and_incidents_go_with_the_alerts_of_their_age(store: Store) -> None:
    await load(store, a_rule("q"), *ten(), digest=BY_HOST, incident=Incident(rules=2))
    await change(store, rule_id="q")
    for rule_id in ("r0", "r1"):
        await breaks(store, rule_id, now=NOON)
    for rule_id in ("r0", "r1"):
        await recovers(store, rule_id, now=NOON + 1)
    await store.close_digests(NOON + 9999)
    await store.prune(NOON + 100 * 86400, Ages(alerts=86400.0))
    rows = await every_row(store)
    assert [rows[name] for name in ("digest", "digest_member", "incident", "incident_member")] == [
        [],
        [],
        [],
        [],
    ]
