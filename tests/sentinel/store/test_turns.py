"""Whose turn a delivery is: endpoints that want to be left alone, order, and who is told instead."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import msgspec
import pytest

from sentinel.decide.endpoint import Breaker
from sentinel.errors import NotYet, RuleFileError
from sentinel.jobs import ALERTS_DISPATCH, DispatchAlert
from sentinel.model import Channel, RulesFile, Workspace
from sentinel.store import DeliveryTicket, Store, StoredAlert
from sentinel.store.alerts import ABANDONED, ORDER_PATIENCE
from tests.sentinel.store.things import HOUR, NOW, a_rule, a_verdict, an_alert, begin, finish, load

BREAKER = Breaker(after=2, first=10.0, cap=40.0, probe=30.0)


async def raised(store: Store, number: int = 1, *, rule_id: str = "widget", **fields: Any) -> StoredAlert:
    """The alert number `number` of a rule, a second after the one before."""
    ticket = await begin(store, f"{rule_id}-{number}", rule_id=rule_id)
    finished = await finish(
        store, ticket, a_verdict(an_alert(f"{rule_id}:{number}", **fields)), now=NOW + number
    )
    return await store.alert(finished.alerts[0])


async def import_channels(store: Store, *channels: Channel, rules: bool = True) -> None:
    file = RulesFile(
        workspace=Workspace(id="acme"), channels=list(channels), rules=[a_rule()] if rules else []
    )
    await store.import_rules(file, now=NOW, first_due=lambda _: NOW)


def a_channel(channel_id: str, **fields: Any) -> Channel:
    return Channel(id=channel_id, type="console", **fields)


async def claim(
    store: Store, alert: StoredAlert, channel: str = "ops", *, now: float = NOW + 9, fence: int = 1
) -> DeliveryTicket:
    job_id = f"alert-{alert.id}:{channel}"
    return await store.claim_delivery(alert.id, channel, job_id, fence, now, breaker=BREAKER)


async def fail(store: Store, alert: StoredAlert, *, now: float, fence: int = 1, **more: Any) -> None:
    ticket = await claim(store, alert, now=now, fence=fence)
    await store.record_attempt(ticket, "failed", now=now, breaker=BREAKER, **more)


async def held(
    store: Store, alert: StoredAlert, now: float, channel: str = "ops"
) -> tuple[str, float] | None:
    """Why it has to wait, and for how long."""
    hold = (await store.prospect(alert, channel, now, breaker=BREAKER)).hold
    return None if hold is None else (hold.reason, round(hold.until - now, 3))


async def of_rules(store: Store, count: int) -> list[StoredAlert]:
    """An alert of each of so many rules, so that none waits for another."""
    ids = [f"rule{number}" for number in range(count)]
    await load(store, *(a_rule(name) for name in ids))
    return [await raised(store, rule_id=name) for name in ids]


async def test_an_endpoint_that_asks_for_time_has_it_from_every_delivery(store: Store) -> None:
    first, second = await of_rules(store, 2)
    await fail(store, first, now=NOW, wait=60.0, next_at=NOW + 60)

    assert await held(store, second, NOW + 20) == ("retry_after", 40.0)
    assert (await store.prospect(second, "ops", NOW + 20, breaker=BREAKER)).waiting == 2
    assert await held(store, second, NOW + 20, "boss") is None
    with pytest.raises(NotYet) as caught:
        await claim(store, second, now=NOW + 20)
    assert (caught.value.reason, caught.value.until) == ("retry_after", NOW + 60)
    assert (await store.alert(second.id)).deliveries[1].state == "pending", "nothing was changed"
    assert await held(store, second, NOW + 60) is None
    assert (await claim(store, second, now=NOW + 60)).settled is None


async def test_an_endpoint_that_fails_different_deliveries_in_a_row_is_left_alone_and_then_tried_by_one(
    store: Store, other: Store
) -> None:
    one, two, three, four = await of_rules(store, 4)
    await fail(store, one, now=NOW)
    await fail(store, one, now=NOW + 1, fence=2)
    assert await held(store, three, NOW + 1) is None, "one delivery counts once"
    await fail(store, two, now=NOW + 2)
    assert await held(store, three, NOW + 3) == ("breaker", 9.0)
    assert await held(store, two, NOW + 3) is None, "its own failure does not put it off"

    won: list[str] = []
    lost: list[str] = []

    async def try_it(where: Store, alert: StoredAlert) -> None:
        try:
            await claim(where, alert, now=NOW + 12)
        except NotYet as later:
            lost.append(later.reason)
        else:
            won.append(alert.id)

    async with anyio.create_task_group() as group:
        group.start_soon(try_it, store, three)
        group.start_soon(try_it, other, four)
    assert (len(won), lost) == (1, ["breaker"])

    (probe,) = [alert for alert in (three, four) if alert.id in won]
    ticket = await claim(store, probe, now=NOW + 13, fence=2)
    await store.record_attempt(ticket, "sent", now=NOW + 13, breaker=BREAKER)
    assert [await held(store, alert, NOW + 13) for alert in (one, two, three, four)] == [None] * 4


async def test_a_channel_that_leads_elsewhere_now_is_not_held_to_what_was_before(store: Store) -> None:
    await load(store)
    alert = await raised(store)
    await fail(store, alert, now=NOW, wait=600.0)

    await import_channels(store, a_channel("ops", rate_per_minute=5))
    assert await held(store, alert, NOW + 1) == ("retry_after", 599.0)
    await import_channels(store, Channel(id="ops", type="webhook", url="https://new.example.com/"))
    assert await held(store, alert, NOW + 1) is None


async def test_an_alert_waits_for_an_older_one_of_its_rule_on_the_same_channel(store: Store) -> None:
    await load(store, a_rule(), a_rule("gadget"))
    older, newer, another = (
        await raised(store, 1),
        await raised(store, 2),
        await raised(store, 3, rule_id="gadget"),
    )

    assert await held(store, older, NOW + 9) is None
    assert await held(store, newer, NOW + 9) == ("order", 1.0)
    assert await held(store, another, NOW + 9) is None

    await fail(store, older, now=NOW + 9, next_at=NOW + 39)
    assert await held(store, newer, NOW + 10) == ("order", 30.0), "a moment after the older one's turn"
    await store.record_attempt(await claim(store, older, now=NOW + 39, fence=2), "sent", now=NOW + 40)
    assert await held(store, newer, NOW + 40) is None
    assert await held(store, newer, NOW + 40, "boss") == ("order", 1.0)


async def test_an_alert_waits_no_longer_than_the_older_ones_schedule_lasts(store: Store) -> None:
    await load(store)
    older, newer = await raised(store, 1), await raised(store, 2)
    await fail(store, older, now=NOW + 9, next_at=NOW + 309)

    assert await held(store, newer, NOW + 309 + ORDER_PATIENCE - 1) is not None
    assert await held(store, newer, NOW + 309 + ORDER_PATIENCE) is None


@pytest.mark.parametrize("outcome", ["dead", "failed"])
async def test_a_delivery_that_ended_unsent_is_made_to_the_fallback_in_the_same_transaction(
    store: Store, outcome: Any
) -> None:
    await import_channels(store, a_channel("ops", fallback="spare"), a_channel("boss"), a_channel("spare"))
    alert = await raised(store)
    await store.mark_sent([row.id for row in await store.unsent(10, NOW + 1)])

    ticket = await claim(store, alert)
    await store.record_attempt(ticket, outcome, now=NOW + 9, last_attempt=True)
    await store.record_attempt(ticket, outcome, now=NOW + 9, last_attempt=True)

    (row,) = await store.unsent(10, NOW + 9)
    payload = msgspec.json.decode(row.payload, type=DispatchAlert)
    assert (row.stream, row.job_id) == (ALERTS_DISPATCH, f"alert-{alert.id}:spare")
    assert payload.channels == ("spare",)
    told = {one.channel_id: (one.state, one.fallback_of) for one in (await store.alert(alert.id)).deliveries}
    assert told == {"ops": (outcome, None), "boss": ("pending", None), "spare": ("pending", "ops")}


async def test_while_there_is_another_attempt_nobody_else_is_told(store: Store) -> None:
    await import_channels(store, a_channel("ops", fallback="spare"), a_channel("boss"), a_channel("spare"))
    alert = await raised(store)
    await fail(store, alert, now=NOW + 9)
    assert len((await store.alert(alert.id)).deliveries) == 2


async def test_a_channel_that_is_told_anyway_is_not_told_twice_as_a_fallback(store: Store) -> None:
    await import_channels(store, a_channel("ops", fallback="boss"), a_channel("boss"))
    alert = await raised(store)
    await store.mark_sent([row.id for row in await store.unsent(10, NOW + 1)])

    await store.record_attempt(await claim(store, alert), "dead", now=NOW + 9)

    assert await store.unsent(10, NOW + 9) == []


async def test_fallbacks_fall_back_themselves_and_the_row_says_for_whom(store: Store) -> None:
    names = ("ops", "b", "c", "d")
    ways = dict(itertools.pairwise(names))
    await import_channels(store, *(a_channel(name, fallback=ways.get(name)) for name in names))
    alert = await raised(store, channels=("ops",))

    for name in names:
        await store.record_attempt(await claim(store, alert, name), "dead", now=NOW + 9)

    done = await store.alert(alert.id)
    assert {one.channel_id: one.fallback_of for one in done.deliveries} == {
        "ops": None,
        "b": "ops",
        "c": "b",
        "d": "c",
    }
    assert done.state == "failed"


@pytest.mark.parametrize(("gone", "told"), [(True, 2), (False, 1)])
async def test_a_channel_that_we_have_switched_off_falls_back_and_one_that_a_person_has_does_not(
    store: Store, gone: bool, told: int
) -> None:
    await import_channels(store, a_channel("ops", fallback="spare", enabled=gone), a_channel("spare"))
    if gone:
        first = await raised(store, 1, channels=("ops",))
        await store.record_attempt(
            await claim(store, first), "dead", now=NOW + 1, http_status=410, error="gone", disables=True
        )
    alert = await raised(store, 2, channels=("ops",))

    ticket = await claim(store, alert)
    assert ticket.channel is not None
    assert not ticket.channel.enabled
    await store.record_attempt(ticket, "dead", now=NOW + 9, asked=False)

    assert len((await store.alert(alert.id)).deliveries) == told


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ([a_channel("a", fallback="a")], "leads back to itself: a -> a"),
        ([a_channel("a", fallback="b"), a_channel("b", fallback="a")], "leads back to itself: a -> b -> a"),
        ([a_channel("a", fallback="none")], "there is no channel none"),
        ([a_channel("a", fallback="kept")], "leads back to itself: a -> kept -> a"),
        (
            [a_channel(one, fallback=two) for one, two in zip("abcd", "bcde", strict=True)]
            + [a_channel("e")],
            "chain of more than 3: a -> b -> c -> d -> e",
        ),
    ],
)
async def test_fallbacks_that_lead_nowhere_are_refused_together_with_what_is_stored(
    store: Store, channels: list[Channel], words: str
) -> None:
    await import_channels(store, a_channel("a"), a_channel("kept", fallback="a"), rules=False)

    with pytest.raises(RuleFileError, match=words) as caught:
        await import_channels(store, *channels, rules=False)

    assert caught.value.problems[0].path == "channels[0].fallback"


async def test_what_is_off_or_ended_waits_for_nothing(store: Store) -> None:
    await import_channels(store, a_channel("ops"), a_channel("boss", enabled=False))
    first, alert = await raised(store, 1), await raised(store, 2)
    await fail(store, first, now=NOW + 3, wait=HOUR)
    assert await held(store, alert, NOW + 9, "boss") is None
    assert await held(store, alert, NOW + 9, "nobody") is None


async def test_a_delivery_that_nothing_was_heard_of_ends_and_its_fallback_is_told(store: Store) -> None:
    await import_channels(store, a_channel("ops", fallback="spare"), a_channel("boss"), a_channel("spare"))
    alert = await raised(store)
    await claim(store, alert)
    boss = await claim(store, alert, "boss")
    await store.record_attempt(boss, "failed", now=NOW + 9, next_at=NOW + 9 + HOUR)

    assert await store.abandon_deliveries(before=NOW + 9, now=NOW + 9) == 0
    assert await store.abandon_deliveries(before=NOW + HOUR, now=NOW + HOUR + 9) == 1

    told = {one.channel_id: (one.state, one.error) for one in (await store.alert(alert.id)).deliveries}
    assert told == {
        "ops": ("failed", ABANDONED),
        "boss": ("retrying", None),
        "spare": ("pending", None),
    }
    late = await claim(store, alert, fence=2)
    await store.record_attempt(late, "sent", now=NOW + 2 * HOUR)
    assert (await claim(store, alert, fence=3)).settled == "sent"
