"""Units of work that come together are written together, and each fails alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sentinel.errors import StaleWorker, StateConflict, StoreUnavailable
from sentinel.store import RunTicket, Store
from tests.sentinel.store.things import HOUR, NOW, a_rule, a_verdict, an_alert, begin, finish, load

IDS = [f"rule-{number:02}" for number in range(20)]


async def begun(store: Store) -> list[RunTicket]:
    await load(store, *(a_rule(rule_id) for rule_id in IDS))
    return [await begin(store, f"job-{rule_id}", rule_id=rule_id) for rule_id in IDS]


async def finish_together(
    store: Store, tickets: list[RunTicket], wrong: dict[int, Any]
) -> dict[int, BaseException]:
    """All at the same moment, some with a wrong argument; what each of those raised."""
    raised: dict[int, BaseException] = {}

    async def one(number: int, ticket: RunTicket) -> None:
        try:
            await finish(store, ticket, a_verdict(an_alert(ticket.rule_id)), **wrong.get(number, {}))
        except (StateConflict, StaleWorker, StoreUnavailable) as error:
            raised[number] = error

    async with anyio.create_task_group() as group:
        for number, ticket in enumerate(tickets):
            group.start_soon(one, number, ticket)
    return raised


@contextmanager
def commits(store: Store) -> Iterator[list[None]]:
    seen: list[None] = []

    def committed(_: sa.Connection) -> None:
        seen.append(None)

    for engine in store._database.engines:
        sa.event.listen(engine, "commit", committed)
    yield seen
    for engine in store._database.engines:
        sa.event.remove(engine, "commit", committed)


async def test_of_checks_that_end_together_the_one_that_fails_fails_alone(store: Store) -> None:
    tickets = await begun(store)
    wrong = {3: {"expected_state_version": 99}, 7: {"expected_state_version": 99}}
    raised = await finish_together(store, tickets, wrong)
    assert {number: type(error) for number, error in raised.items()} == {3: StateConflict, 7: StateConflict}
    for number, rule_id in enumerate(IDS):
        seen = await store.history(rule_id)
        alerts = await store.alerts(rule_id=rule_id)
        assert (len(seen), len(alerts)) == ((0, 0) if number in wrong else (1, 1))
        assert (await store.run_of(f"job-{rule_id}")).status == ("running" if number in wrong else "ok")


async def test_a_stale_worker_among_others_is_refused_alone(store: Store, other: Store) -> None:
    tickets = await begun(store)
    await begin(other, f"job-{IDS[5]}", fence=2, rule_id=IDS[5])
    raised = await finish_together(store, tickets, {})
    assert {number: type(error) for number, error in raised.items()} == {5: StaleWorker}


@pytest.fixture
async def on_file(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(f"sqlite:///{tmp_path}/sentinel.db") as opened:
        await opened.migrate()
        yield opened


async def test_checks_that_end_together_share_transactions_on_sqlite(on_file: Store) -> None:
    tickets = await begun(on_file)
    with commits(on_file) as seen:
        assert await finish_together(on_file, tickets, {}) == {}
    assert 1 <= len(seen) < len(tickets) / 2


async def test_a_transaction_that_is_lost_is_lost_for_all_in_it_and_they_may_come_again(
    on_file: Store,
) -> None:
    tickets = (await begun(on_file))[:3]
    told: dict[int, BaseException] = {}
    let_go = anyio.Event()

    async def lose(connection: AsyncConnection) -> None:
        assert connection.sync_connection is not None
        connection.sync_connection.exec_driver_sql("ROLLBACK")  # as SQLite does by itself on a full disk
        raise ValueError("lost")

    async def hold_the_turn() -> None:
        async with on_file._database.writing():
            await let_go.wait()

    async def others() -> None:
        told.update(await finish_together(on_file, tickets, {}))

    async def loser() -> None:
        with pytest.raises(StoreUnavailable):
            await on_file._database.write(lose)

    async with anyio.create_task_group() as group:
        for task in (hold_the_turn, others, loser):
            group.start_soon(task)
            await anyio.wait_all_tasks_blocked()
        let_go.set()

    assert {number: type(error) for number, error in told.items()} == dict.fromkeys(
        range(3), StoreUnavailable
    )
    assert [await on_file.history(ticket.rule_id) for ticket in tickets] == [[], [], []]
    assert await finish_together(on_file, tickets, {}) == {}


async def test_a_unit_that_waits_for_anything_else_is_a_fault_of_ours(on_file: Store) -> None:
    class Later:
        def __await__(self) -> Iterator[None]:
            yield

    async def waits(connection: AsyncConnection) -> None:
        await Later()

    with pytest.raises(RuntimeError, match="waited"):
        await on_file._database.write(waits)
    await load(on_file)


async def test_who_is_cancelled_has_written_all_or_nothing_and_holds_up_nobody(on_file: Store) -> None:
    tickets = await begun(on_file)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await finish_together(on_file, tickets[:10], {})
    assert await finish_together(on_file, tickets[10:], {}) == {}
    for rule_id in IDS[:10]:
        (run,) = await on_file.runs(rule_id)
        alerts = await on_file.alerts(rule_id=rule_id)
        assert (run.status, len(alerts)) in (("running", 0), ("ok", 1))


async def test_what_readers_read_together_is_each_ones_own(on_file: Store) -> None:
    await begun(on_file)
    found: dict[str, str] = {}

    async def read(rule_id: str) -> None:
        found[rule_id] = (await on_file.rule(rule_id)).rule.id

    async with anyio.create_task_group() as group:
        for rule_id in IDS:
            group.start_soon(read, rule_id)
    assert found == {rule_id: rule_id for rule_id in IDS}


async def test_what_every_alert_and_every_job_takes_is_units_of_work(tmp_path: Path) -> None:
    """On SQLite: none of it by the driver that goes to its thread and back for each statement."""
    async with Store.open(f"sqlite:///{tmp_path}/sentinel.db") as store:
        await store.migrate()
        await load(store, a_rule(IDS[0]))
        by_statements: list[str] = []
        sa.event.listen(
            store._database._engine.sync_engine,
            "before_cursor_execute",
            lambda *event: by_statements.append(event[2]),
        )
        await store.claim_due(NOW, limit=1, next_due=lambda _, now: now + HOUR)
        ticket = await begin(store, rule_id=IDS[0])
        finished = await finish(store, ticket, a_verdict(an_alert(IDS[0])))
        rows = await store.unsent(10, NOW + 1)
        await store.release([row.id for row in rows])
        rows = await store.unsent(10, NOW + 1)
        await store.mark_sent([row.id for row in rows])
        alert = await store.alert(finished.alerts[0])
        assert await store.open_deliveries(alert.id, ["ops", "boss"], NOW) == ["ops", "boss"]
        for channel, outcome in (("ops", "sent"), ("boss", "failed")):
            assert (await store.prospect(alert, channel, NOW)).hold is None
            delivery = await store.claim_delivery(alert.id, channel, f"job-{channel}", 1, NOW)
            await store.record_attempt(delivery, outcome, now=NOW)
        await store.resend(alert.id, NOW + 2)
        assert await store.abandon_deliveries(before=NOW + HOUR, now=NOW + HOUR) == 1
        await store.close_digests(NOW + HOUR)
        await store.settle_incidents(NOW + HOUR)
    assert [row.stream for row in rows] == ["rules:run", "alerts:dispatch", "alerts:dispatch"]
    assert by_statements == []
