"""A rule or a channel that this program cannot read (hand-edited, or of another version) is its own trouble alone."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sentinel.errors import Unreadable
from sentinel.model import Rule
from sentinel.store import Store, StoredChannel, StoredRule, UnreadableChannel, UnreadableRule
from sentinel.store.tables import channel, rule
from tests.sentinel.store.things import (
    HOUR,
    NOW,
    a_file,
    a_rule,
    a_verdict,
    begin,
    finish,
    load,
    raised_alert,
)


def hourly(_: Rule, now: float) -> float:
    return now + HOUR


async def spoil(store: Store, rule_id: str, definition: str = '{"id": "bad", "colour": "red"}') -> None:
    """What a person with an SQL prompt does."""
    async with store._database.writing() as connection:
        columns = sa.update(rule).where(rule.c.id == rule_id)
        await connection.execute(columns.values(definition=sa.type_coerce(definition, sa.JSON)))


@pytest.fixture
async def spoilt(store: Store) -> Store:
    """`bad` was due first, `good` after it."""
    await load(store, a_rule("bad", tags=["red"]), due=NOW - 2)
    await load(store, a_rule("good"), due=NOW - 1)
    await spoil(store, "bad")
    return store


async def test_it_is_listed_in_its_place_where_it_is_asked_for(spoilt: Store) -> None:
    bad, good = await spoilt.all_rules()
    assert isinstance(bad, UnreadableRule)
    assert (bad.rule_id, bad.workspace.id, bad.enabled, bad.next_due) == ("bad", "acme", True, NOW - 2)
    assert "import it again, or delete it" in bad.problem
    assert isinstance(good, StoredRule)
    with pytest.raises(Unreadable, match="rule bad"):
        await spoilt.rules()


async def test_the_others_are_claimed_and_it_is_told(spoilt: Store) -> None:
    bad, good = await spoilt.claim_due(NOW, limit=10, next_due=hourly)

    assert (good.rule_id, good.problem) == ("good", None)
    assert bad.rule_id == "bad"
    assert bad.problem is not None
    assert "unknown field `colour`" in bad.problem
    assert [row.job_id for row in await spoilt.unsent(10, NOW)] == [good.job_id]


async def test_it_is_looked_at_again_much_later_and_not_with_every_tick(spoilt: Store) -> None:
    await spoilt.claim_due(NOW, limit=10, next_due=hourly)
    assert await spoilt.claim_due(NOW + 60, limit=10, next_due=hourly) == []
    (again, _) = await spoilt.claim_due(NOW + HOUR, limit=10, next_due=hourly)
    assert again.problem is not None


async def test_its_history_says_rule_invalid_and_its_health_is_broken(spoilt: Store) -> None:
    await spoilt.claim_due(NOW, limit=10, next_due=hourly)

    (run,) = await spoilt.runs("bad")
    assert (run.status, run.trigger, run.result.error_code) == ("error", "schedule", "RULE_INVALID")
    assert run.result.error_detail is not None
    assert "colour" in run.result.error_detail
    assert (await spoilt.counts(NOW)).rules == {"ok": 1, "degraded": 0, "broken": 1}


async def test_a_schedule_that_cannot_be_worked_out_is_the_same(store: Store) -> None:
    await load(store, a_rule("bad"), a_rule("good"), due=NOW)

    def breaks(item: Rule, now: float) -> float:
        if item.id == "bad":
            raise OverflowError("year 10000")
        return hourly(item, now)

    claimed = {one.rule_id: one.problem for one in await store.claim_due(NOW, limit=10, next_due=breaks)}

    assert claimed == {"good": None, "bad": "its schedule cannot be worked out: OverflowError: year 10000"}
    assert (await store.rule("bad")).state.health_state == "broken"
    assert [row.job_id.partition("@")[0] for row in await store.unsent(10, NOW)] == ["good"]


async def test_reading_it_says_which_one_and_what_to_do(spoilt: Store) -> None:
    for reading in (spoilt.rule("bad"), spoilt.rules(), spoilt.export()):
        with pytest.raises(Unreadable, match=r"rule bad .*colour.*import it again"):
            await reading


async def test_importing_it_again_mends_it(spoilt: Store) -> None:
    await spoilt.claim_due(NOW, limit=10, next_due=hourly)

    report = await spoilt.import_rules(
        a_file(a_rule("bad"), a_rule("good")), now=NOW + 1, first_due=lambda _: NOW + 1
    )

    (change,) = report.rules.updated
    assert (change.id, change.forgets_value, report.rules.unchanged) == ("bad", True, ("good",))
    mended = await spoilt.rule("bad")
    assert (mended.rule, mended.next_due) == (a_rule("bad"), NOW + 1)
    assert await spoilt.rules(tag="red") == []
    (claimed,) = await spoilt.claim_due(NOW + 1, limit=10, next_due=hourly)
    assert (claimed.rule_id, claimed.problem) == ("bad", None)
    done = await finish(spoilt, await begin(spoilt, claimed.job_id, rule_id="bad"), a_verdict())
    assert done.error_code is None


async def test_it_can_be_deleted(spoilt: Store) -> None:
    await spoilt.delete_rule("bad")
    assert [stored.rule.id for stored in await spoilt.rules()] == ["good"]


# --- channels -------------------------------------------------------------------------------------


async def spoil_channel(store: Store, channel_id: str = "ops") -> None:
    async with store._database.writing() as connection:
        columns = sa.update(channel).where(channel.c.id == channel_id)
        definition = '{"id": "ops", "type": "console", "colour": "red"}'
        await connection.execute(columns.values(definition=sa.type_coerce(definition, sa.JSON)))


@pytest.fixture
async def spoilt_channel(store: Store) -> Store:
    """`ops` cannot be read, `boss` can."""
    await load(store, a_rule())
    await spoil_channel(store)
    return store


async def test_a_channel_is_listed_in_its_place(spoilt_channel: Store) -> None:
    boss, ops = await spoilt_channel.channels()
    assert isinstance(boss, StoredChannel)
    assert isinstance(ops, UnreadableChannel)
    assert (ops.channel_id, ops.workspace_id, ops.type, ops.enabled) == ("ops", "acme", "console", True)
    assert await spoilt_channel.channel_ids() == ["boss", "ops"]
    outlook = await spoilt_channel.outlook("widget", NOW)
    assert [type(one) for one in outlook.channels] == [StoredChannel, UnreadableChannel]


async def test_reading_a_channel_says_which_one_and_what_to_do(spoilt_channel: Store) -> None:
    for reading in (
        spoilt_channel.channel("acme", "ops"),
        spoilt_channel.find_channel("ops"),
        spoilt_channel.set_channel_enabled("acme", "ops", False, NOW),
        spoilt_channel.export(),
    ):
        with pytest.raises(Unreadable, match=r"channel ops .*colour.*import it again"):
            await reading


async def test_its_delivery_fails_for_its_reason_and_is_sent_once_the_channel_is_mended(
    spoilt_channel: Store,
) -> None:
    alert_id = await raised_alert(spoilt_channel, channels=("ops",))
    told = await spoilt_channel.alert(alert_id)
    assert (await spoilt_channel.prospect(told, "ops", NOW)).hold is None

    ticket = await spoilt_channel.claim_delivery(alert_id, "ops", "job-a", 1, NOW)
    assert (ticket.channel, ticket.settled) == (None, None)
    assert ticket.unreadable is not None
    assert "channel ops" in ticket.unreadable
    state = await spoilt_channel.record_attempt(
        ticket, "failed", now=NOW, error=ticket.unreadable, last_attempt=True, asked=False
    )
    assert state == "failed"
    (delivery,) = (await spoilt_channel.alert(alert_id)).deliveries
    assert "import it again" in (delivery.error or "")

    await load(spoilt_channel, a_rule())
    assert await spoilt_channel.resend(alert_id, NOW)
    again = await spoilt_channel.claim_delivery(alert_id, "ops", "job-b", 1, NOW)
    assert again.channel is not None
    assert again.unreadable is None


async def test_a_channel_that_cannot_be_read_can_be_deleted(spoilt_channel: Store) -> None:
    found = await spoilt_channel.find_any_channel("ops")
    assert isinstance(found, UnreadableChannel)
    assert await spoilt_channel.named_by("acme", "ops") == ["rule widget"]
    await spoilt_channel.delete_channel("acme", "ops")
    assert await spoilt_channel.channel_ids() == ["boss"]
