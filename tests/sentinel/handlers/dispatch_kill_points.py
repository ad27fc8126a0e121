"""Run as a program: dispatches alerts in a real worker, killed (SIGKILL) one step later each time.

    dispatch_kill_points.py own|foreign DATABASE_URL REDIS_URL RECEIVER_URL CHOSEN  ->  one JSON line

CHOSEN is [first step, every how many, each statement too].

Each alert goes to `ops`, which accepts, and to `bad`, which refuses, so that its fallback `spare` is told.
`own`: by the jobs that our store puts into the outbox. `foreign`: by one job that names both channels,
as another program enqueues it, which the worker splits.

A step is what the worker does to the world: a commit (or each statement too), a call of the broker, a
send; before it goes out and after it came back. After each kill a worker that nobody kills takes over, under the same
name. Each works in a forked child, so that a kill costs milliseconds, not an interpreter's start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[3]))

from sentinel.channels import Sent, WebhookSender
from sentinel.credentials import ChannelCredentials
from sentinel.fetch.guard import NetworkPolicy, open_client
from sentinel.handlers.dispatch_alert import DispatchAlertHandler
from sentinel.jobs import ALERTS_DISPATCH, DISPATCH_ALERT_RETRY, DispatchAlert
from sentinel.model import Channel, Document, RulesFile, RuleState, Verdict, Workspace
from sentinel.relay import Relay
from sentinel.render import to_json
from sentinel.store import RunResult, Store
from sentinel.store.outbox import RELAY_LEASE
from sentinel.store.tables import delivery, outbox
from streamq import Handlers, Queue, RedisBroker, Worker, WorkerOptions
from streamq.clock import SystemClock
from tests.sentinel.store.things import NOW, a_rule, an_alert

#: More steps than a dispatch has.
MANY = 400
NEVER = 10**9
CHANNELS = ("ops", "bad")
CLOCK = SystemClock()


class Later(SystemClock):
    """For the relay after a kill: what the dead one had leased is free by then."""

    def time(self) -> float:
        return super().time() + RELAY_LEASE


class Steps:
    """Counts, and dies at the one that was chosen."""

    def __init__(self, last: int, *, every_statement: bool) -> None:
        self._left = last
        self._every_statement = every_statement

    def step(self, where: str) -> None:
        if self._left == 0:
            os.write(DIED, where.encode() + b"\n")
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def around(self, where: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {where}")
            result = await call(*args, **kwargs)
            self.step(f"after {where}")
            return result

        return counted

    def watch(self, store: Store, broker: RedisBroker) -> None:
        # A connection is checked in right after its commit.
        points = {"commit": "before commit", "checkin": "after commit"}
        if self._every_statement:
            points |= {"before_cursor_execute": "before statement", "after_cursor_execute": "after statement"}
        for engine in store._database.engines:
            for event, where in points.items():
                sa.event.listen(engine, event, lambda *_, where=where: self.step(where))
        for verb in ("turn", "enqueue"):
            setattr(broker, verb, self.around(verb, getattr(broker, verb)))


class Sender:
    """A webhook's, with its steps counted."""

    def __init__(self, steps: Steps, inner: WebhookSender) -> None:
        self._steps = steps
        self._inner = inner

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        self._steps.step("before send")
        try:
            return await self._inner.send(channel, document, message_id=message_id)
        finally:
            self._steps.step("after send")


async def work(database_url: str, redis_url: str, last: int, every_statement: bool) -> None:
    """A worker, until nothing is left to do or it is dead."""
    steps = Steps(last, every_statement=every_statement)
    async with (
        Store.open(database_url) as store,
        RedisBroker.from_url(redis_url) as broker,
        open_client(NetworkPolicy(allow_private=True)) as client,
    ):
        relay = Relay(store, broker, Later() if last == NEVER else CLOCK)
        webhook = WebhookSender(client, ChannelCredentials({}), to_json, CLOCK.time)
        handlers = Handlers()
        handlers.on(ALERTS_DISPATCH, DispatchAlert, retry=DISPATCH_ALERT_RETRY)(
            DispatchAlertHandler(store, broker, {"webhook": Sender(steps, webhook)}, CLOCK, poke=relay.poke)
        )

        async def also_busy() -> bool:
            async with store._database.reading() as connection:
                waiting = await connection.execute(sa.select(sa.func.count()).select_from(outbox))
                return int(waiting.scalar_one()) > 0

        worker = Worker(
            broker, handlers, name="w", options=WorkerOptions(burst_wait=0.0), also_busy=also_busy
        )
        steps.watch(store, broker)
        async with anyio.create_task_group() as beside:
            beside.start_soon(relay.run)
            await worker.run(handle_signals=False)
            beside.cancel_scope.cancel()


def in_child(database_url: str, redis_url: str, last: int, *, every_statement: bool = False) -> bool:
    """Work in a child that dies at step `last`; True: it was done before."""
    child = os.fork()
    if not child:
        try:
            anyio.run(work, database_url, redis_url, last, every_statement)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFEXITED(status)


async def import_all(database_url: str, receiver: str) -> None:
    """Channels, and a rule for each step, so that no alert waits for another."""
    channels = [
        Channel(id="ops", type="webhook", url=f"{receiver}/ops"),
        Channel(id="bad", type="webhook", url=f"{receiver}/bad", fallback="spare"),
        Channel(id="spare", type="webhook", url=f"{receiver}/spare"),
    ]
    rules = [a_rule(f"rule{number}") for number in range(MANY)]
    async with Store.open(database_url) as store:
        await store.migrate()
        file = RulesFile(workspace=Workspace(id="acme"), channels=channels, rules=rules)
        await store.import_rules(file, now=NOW, first_due=lambda _: NOW)


async def raise_alert(database_url: str, redis_url: str, number: int, *, foreign: bool) -> str:
    """Its id; what brings it to its channels is in the outbox, or in the stream."""
    async with Store.open(database_url) as store, RedisBroker.from_url(redis_url) as broker:
        now, rule_id = CLOCK.time(), f"rule{number}"
        ticket = await store.begin_run(rule_id, f"check-{number}", 1, "schedule", now)
        state = RuleState(version=ticket.stored.state.version)
        draft = an_alert(rule_id, channels=CHANNELS)
        finished = await store.finish_run(
            ticket,
            RunResult(),
            Verdict(state=state, alerts=(draft,)),
            None,
            expected_state_version=state.version,
            now=now,
        )
        (alert_id,) = finished.alerts
        if foreign:
            await store.mark_sent([row.id for row in await store.unsent(10, now)])
            payload = DispatchAlert(
                alert_id=alert_id,
                workspace_id="acme",
                rule_id=rule_id,
                channels=CHANNELS,
                dedupe_key=draft.dedupe_key,
            )
            await Queue(ALERTS_DISPATCH, broker).enqueue(
                payload, job_id=f"theirs-{number}", unique=draft.dedupe_key, unique_for=300.0
            )
        return alert_id


async def found(database_url: str, redis_url: str, alerts: list[str]) -> dict[str, Any]:
    """What became of everything, by the rows and by Redis."""
    async with Store.open(database_url) as store, RedisBroker.from_url(redis_url) as broker:
        async with store._database.reading() as connection:
            rows = (await connection.execute(sa.select(delivery))).all()
            waiting = (await connection.execute(sa.select(sa.func.count()).select_from(outbox))).scalar_one()
        stats = await broker.stats(ALERTS_DISPATCH)
        dead = Counter(letter.reason for letter in await broker.dead(ALERTS_DISPATCH, limit=1000))
        states = Counter((row.channel_id, row.state, row.fallback_of) for row in rows)
        return {
            "alerts": len(alerts),
            "states": sorted([*state, count] for state, count in states.items()),
            "alert_states": dict(Counter([(await store.alert(one)).state for one in alerts])),
            "sent_as": sorted([row.channel_id, row.message_id] for row in rows if row.state == "sent"),
            "refused_as": sorted([row.channel_id, row.message_id] for row in rows if row.state == "dead"),
            "left": sum(stats.ready.values()) + stats.leased + stats.delayed + waiting,
            "dead_letters": dict(dead),
        }


def main(kind: str, database_url: str, redis_url: str, receiver: str, chosen: str) -> None:
    first, stride, every_statement = json.loads(chosen)
    anyio.run(import_all, database_url, receiver)
    alerts, kills = [], 0
    for number in range(MANY):

        async def begin(number: int = number) -> str:
            return await raise_alert(database_url, redis_url, number, foreign=kind == "foreign")

        alerts.append(anyio.run(begin))
        if in_child(database_url, redis_url, first + number * stride, every_statement=every_statement):
            break
        kills += 1
        assert in_child(database_url, redis_url, NEVER)
    else:
        raise AssertionError("never done")
    places = Counter(os.read(SEEN, 1 << 20).decode().split("\n")[:-1])
    seen = anyio.run(found, database_url, redis_url, alerts)
    print(json.dumps(seen | {"kills": kills, "killed": dict(sorted(places.items()))}))


if __name__ == "__main__":
    SEEN, DIED = os.pipe()
    main(*sys.argv[1:])
