"""The policy of `alerts:dispatch` on a clock that moves when told: waits, attempts, dead letter, requeue."""

from __future__ import annotations

import time
from pathlib import Path

from sentinel.channels import WebhookSender
from sentinel.credentials import ChannelCredentials
from sentinel.fetch.guard import NetworkPolicy, open_client
from sentinel.handlers.dispatch_alert import DispatchAlertHandler
from sentinel.jobs import ALERTS_DISPATCH, DISPATCH_ALERT_RETRY, RUN_RULE_RETRY, DispatchAlert
from sentinel.model import (
    AlertDraft,
    AlertPolicy,
    Channel,
    Extraction,
    Rule,
    RulesFile,
    RuleState,
    Verdict,
    Workspace,
)
from sentinel.render import to_json
from sentinel.store import RunResult, Store
from streamq import Handlers, Queue
from streamq.broker import Finish
from streamq.clock import ManualClock
from streamq.executor import Executor
from streamq.testing.memory import MemoryBroker
from tests.support.http import Reply, Site


async def raised(store: Store, url: str) -> str:
    """The id of an alert to one webhook."""
    await store.migrate()
    rule = Rule(
        id="widget",
        url="https://shop.example.com/widget",
        type="price",
        extraction=Extraction(method="css", selector=".price"),
        alert_policy=AlertPolicy(channels=["ops"]),
    )
    ops = Channel(id="ops", type="webhook", url=url)
    file = RulesFile(workspace=Workspace(id="acme"), channels=[ops], rules=[rule])
    await store.import_rules(file, now=0.0, first_due=lambda _: 0.0)
    ticket = await store.begin_run("widget", "check-1", 1, "schedule", 0.0)
    draft = AlertDraft(
        kind="change", severity="warning", title="changed", body={}, dedupe_key="widget:1", channels=("ops",)
    )
    finished = await store.finish_run(
        ticket,
        RunResult(),
        Verdict(state=RuleState(), alerts=(draft,)),
        None,
        expected_state_version=ticket.stored.state.version,
        now=0.0,
    )
    return finished.alerts[0]


class Hand:
    """A worker by hand: takes one job, runs it, gives it back."""

    def __init__(self, broker: MemoryBroker, executor: Executor) -> None:
        self.broker = broker
        self.executor = executor
        self.sequence = 0

    async def turn(self, *finished: Finish, free: int = 0) -> tuple[int, float | None]:
        """Run what is ready; how many jobs ran, and seconds until the next is due."""
        self.sequence += 1
        turn = await self.broker.turn(
            ALERTS_DISPATCH, "hand", sequence=self.sequence, finished=finished, free=free
        )
        if not turn.leases:
            return 0, turn.next_due
        ended = [(await self.executor.execute(lease)).finish for lease in turn.leases]
        return len(ended), (await self.turn(*ended))[1]

    async def run(self, clock: ManualClock) -> list[float]:
        """Until nothing is left; the seconds waited before each attempt."""
        waits: list[float] = []
        waited = 0.0
        while True:
            ran, due = await self.turn(free=1)
            if ran:
                waits.append(waited)
                waited = 0.0
            if due is None:
                return waits
            if due:
                clock.advance(due)
                waited += due


async def test_a_dead_endpoint_is_tried_six_times_by_the_policy_then_a_dead_letter_that_can_be_requeued(
    site: Site, tmp_path: Path
) -> None:
    clock = ManualClock()
    broker = MemoryBroker(clock)
    url = site.route("/ops", [Reply(status=500, body="on fire")] * 6 + [Reply()])
    async with (
        Store.open(f"sqlite:///{tmp_path}/s.db") as store,
        open_client(NetworkPolicy(allow_private=True)) as client,
    ):
        alert_id = await raised(store, url)
        webhook = WebhookSender(client, ChannelCredentials({}), to_json, time.time)
        handlers = Handlers()
        handlers.on(ALERTS_DISPATCH, DispatchAlert, retry=DISPATCH_ALERT_RETRY)(
            DispatchAlertHandler(store, broker, {"webhook": webhook}, clock)
        )
        hand = Hand(broker, Executor(handlers.of(ALERTS_DISPATCH)))
        payload = DispatchAlert(
            alert_id=alert_id, workspace_id="acme", rule_id="widget", channels=("ops",), dedupe_key="k"
        )
        await Queue(ALERTS_DISPATCH, broker).enqueue(payload, job_id=f"alert-{alert_id}:ops")

        waits = await hand.run(clock)

        assert waits == [0.0, 10.0, 30.0, 60.0, 120.0, 300.0]
        assert len(site.requests) == 6
        (dead,) = await broker.dead(ALERTS_DISPATCH)
        assert (dead.reason, dead.attempts) == ("exhausted", 6)
        assert dead.error == "DeliveryFailed: ops: HTTP 500: on fire"
        (delivery,) = (await store.alert(alert_id)).deliveries
        assert (delivery.state, delivery.attempts) == ("failed", 6)

        await broker.requeue(ALERTS_DISPATCH, [dead.entry_id])
        await hand.run(clock)

        (delivery,) = (await store.alert(alert_id)).deliveries
        assert (delivery.state, delivery.attempts) == ("sent", 7)
        assert len({request.headers["webhook-id"] for request in site.requests}) == 1
        assert await broker.dead(ALERTS_DISPATCH) == []


def test_the_policies_are_those_of_the_contract() -> None:
    assert RUN_RULE_RETRY.delays == (30.0, 120.0)
    assert DISPATCH_ALERT_RETRY.delays == (10.0, 30.0, 60.0, 120.0, 300.0)
