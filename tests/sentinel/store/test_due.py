"""Due rules are claimed exactly once, with their jobs, and the outbox gives those to one relay."""

from __future__ import annotations

from collections import Counter

import anyio
import msgspec
import sqlalchemy as sa

from sentinel.jobs import RULES_RUN, RunRule
from sentinel.model import Rule
from sentinel.store import Store
from tests.sentinel.store.things import HOUR, NOW, a_rule, every_row, load


def hourly(_: Rule, now: float) -> float:
    return now + HOUR


async def test_a_due_rule_becomes_a_job_in_the_outbox_and_is_due_later(store: Store) -> None:
    await load(store, due=NOW - 1)

    (claimed,) = await store.claim_due(NOW, limit=10, next_due=hourly)

    (row,) = await store.unsent(10, NOW)
    assert claimed.job_id == row.job_id == f"widget@{int((NOW - 1) * 1000)}"
    assert (row.stream, row.lane, row.unique, row.unique_for) == (RULES_RUN, "normal", "rule:widget", None)
    assert row.available_at is None
    payload = msgspec.json.decode(row.payload, type=RunRule)
    assert payload == RunRule(rule_id="widget", trigger="schedule", requested_at="2025-11-24T16:00:00.123Z")
    assert (await store.rule("widget")).next_due == NOW + HOUR


async def test_what_is_not_due_or_switched_off_is_left_alone(store: Store) -> None:
    await load(store, a_rule("later"), due=NOW + 1)
    await load(store, a_rule("off", enabled=False), due=NOW - 1)
    before = await every_row(store)
    assert await store.claim_due(NOW, limit=10, next_due=hourly) == []
    assert await every_row(store) == before


async def test_after_downtime_a_rule_fires_once(store: Store) -> None:
    await load(store, due=NOW - 100 * HOUR)
    assert len(await store.claim_due(NOW, limit=10, next_due=hourly)) == 1
    assert await store.claim_due(NOW, limit=10, next_due=hourly) == []


async def test_many_schedulers_claim_every_tick_exactly_once(store: Store, other: Store) -> None:
    await load(store, *(a_rule(f"r{number}") for number in range(60)))
    claimed: list[str] = []

    async def claim(through: Store) -> None:
        while batch := await through.claim_due(NOW, limit=7, next_due=hourly):
            claimed.extend(one.rule_id for one in batch)

    async with anyio.create_task_group() as group:
        for through in (store, other, store, other):
            group.start_soon(claim, through)

    # A scheduler that met only locked rows gives up early; what it left is somebody else's.
    await claim(store)
    assert Counter(claimed) == {f"r{number}": 1 for number in range(60)}
    assert len({row.job_id for row in await store.unsent(100, NOW)}) == 60


async def test_the_oldest_are_claimed_first(store: Store) -> None:
    await load(store, a_rule("second"), due=NOW - 1)
    await load(store, a_rule("first"), due=NOW - 2)
    batch = await store.claim_due(NOW, limit=1, next_due=hourly)
    assert [one.rule_id for one in batch] == ["first"]


async def test_two_relays_never_hold_the_same_row(store: Store, other: Store) -> None:
    await load(store, *(a_rule(f"r{number}") for number in range(40)))
    await store.claim_due(NOW, limit=100, next_due=hourly)
    held: list[int] = []

    async def relay(through: Store) -> None:
        while rows := await through.unsent(6, NOW):
            held.extend(row.id for row in rows)

    async with anyio.create_task_group() as group:
        for through in (store, other, store, other):
            group.start_soon(relay, through)

    await relay(store)
    assert len(held) == len(set(held)) == 40


async def test_a_relay_that_died_leaves_its_rows_to_the_next_one_when_the_lease_ends(store: Store) -> None:
    await load(store)
    await store.claim_due(NOW, limit=1, next_due=hourly)
    (row,) = await store.unsent(10, NOW, lease=30.0)

    assert await store.unsent(10, NOW + 29.9) == []
    assert [again.id for again in await store.unsent(10, NOW + 30.0)] == [row.id]

    await store.mark_sent([row.id])
    assert await store.unsent(10, NOW + 1000) == []
    assert (await store.counts(NOW)).outbox == 0


async def test_rows_that_redis_did_not_take_are_free_at_once(store: Store) -> None:
    await load(store)
    await store.claim_due(NOW, limit=1, next_due=hourly)
    (row,) = await store.unsent(10, NOW)
    await store.release([row.id])
    assert [again.id for again in await store.unsent(10, NOW)] == [row.id]


async def test_hundreds_of_overdue_rules_of_one_workspace_do_not_keep_another_waiting(store: Store) -> None:
    crowd = [a_rule(f"crowd-{number:04}", url="https://big.example/") for number in range(300)]
    await load(store, *crowd, due=NOW - 9 * HOUR, workspace="crowd")
    await load(store, a_rule("beside", url="https://small.example/"), due=NOW - 9 * HOUR, workspace="crowd")
    await load(store, a_rule("alone"), due=NOW - 1, workspace="alone")

    batch = await store.claim_due(NOW, limit=5, next_due=hourly)

    claimed = {one.rule_id for one in batch}
    assert {"alone", "beside"} < claimed
    assert len(claimed) == len(batch) == 5


async def test_a_crowd_is_ranked_once_for_several_claims_and_what_others_took_is_made_up_for(
    store: Store, other: Store
) -> None:
    await load(store, *(a_rule(f"r{number:03}") for number in range(100)))
    ranked = []

    def note(*event: object) -> None:
        ranked.extend([0] if "row_number" in str(event[2]) else [])

    for engine in store._database.engines:
        sa.event.listen(engine, "before_cursor_execute", note)

    claimed = [await store.claim_due(NOW, limit=5, next_due=hourly) for _ in range(5)]
    assert len(ranked) == 1
    claimed += [await through.claim_due(NOW, limit=5, next_due=hourly) for through in (other, store) * 10]

    # No claim is short before nothing is left, so that a scheduler does not think it has caught up.
    assert [len(batch) for batch in claimed] == [5] * 20 + [0] * 5
    assert len({one.rule_id for batch in claimed for one in batch}) == 100


async def test_in_a_crowd_workspaces_and_their_hosts_have_their_turn_one_after_the_other(
    store: Store,
) -> None:
    for space in ("a", "b"):
        for host, count in (("x", 20), ("y", 4)):
            rules = [a_rule(f"{space}{host}{n}", url=f"https://{host}.example/") for n in range(count)]
            await load(store, *rules, due=NOW - 10, workspace=space)

    batch = await store.claim_due(NOW, limit=12, next_due=hourly)

    assert Counter(one.rule_id[:2] for one in batch) == {"ax": 3, "ay": 3, "bx": 3, "by": 3}
