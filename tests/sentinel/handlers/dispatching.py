"""Alerts of many rules on a clock that moves when told, to real endpoints on loopback, and what came of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import msgspec

from sentinel.channels import ConsoleSender, WebhookSender
from sentinel.credentials import ChannelCredentials
from sentinel.decide.endpoint import Breaker
from sentinel.events import DeliveryEnded, Event
from sentinel.handlers.dispatch_alert import DispatchAlertHandler
from sentinel.jobs import ALERTS_DISPATCH, DISPATCH_ALERT_RETRY, DispatchAlert
from sentinel.model import Channel, RulesFile, RuleState, Verdict, Workspace
from sentinel.relay import as_new_job
from sentinel.render import to_json, to_text
from sentinel.store import RunResult, Store
from streamq import Handlers, Queue
from streamq.clock import ManualClock
from streamq.executor import Executor
from streamq.testing import Drained, drain
from streamq.testing.memory import MemoryBroker
from tests.sentinel.store.things import a_rule, an_alert
from tests.support.http import Site

#: Seconds of real time after which an endpoint is given up: more than a busy machine needs to answer, for the
#: clock of the tests stands still meanwhile and a send that is given up tells of an outage that is none.
DEADLINE = 30.0


@dataclass
class World:
    """A store, an endpoint's site and the handler between; the clock and the stream are in memory."""

    store: Store
    site: Site
    client: httpx.AsyncClient
    clock: ManualClock = field(default_factory=ManualClock)
    written: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    #: Of the alerts, in the order in which they were raised.
    alerts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.clock)
        self.began = self.clock.time()
        self.give_up_after(DEADLINE)

    def give_up_after(self, deadline: float) -> None:
        """From here on an endpoint that hangs is given up after so many seconds of real time."""
        self.handler = self.new_handler(deadline)
        self.handlers = Handlers()
        self.handlers.on(ALERTS_DISPATCH, DispatchAlert, retry=DISPATCH_ALERT_RETRY)(self.handler)

    def new_handler(self, deadline: float = DEADLINE) -> DispatchAlertHandler:
        """As another worker has it."""
        webhook = WebhookSender(
            self.client, ChannelCredentials({}), to_json, self.clock.time, deadline=deadline
        )
        return DispatchAlertHandler(
            self.store,
            self.broker,
            {"webhook": webhook, "console": ConsoleSender(self.written.append, to_text)},
            self.clock,
            observer=self.events.append,
            breaker=Breaker(after=3),
            rng=random.Random(1),
        )

    async def watch(self, *channels: Channel, rules: int = 1) -> None:
        """So many rules, each of which tells all channels."""
        names = [f"rule{number}" for number in range(rules)]
        file = RulesFile(
            workspace=Workspace(id="acme"), channels=list(channels), rules=[a_rule(name) for name in names]
        )
        await self.store.import_rules(
            file, now=self.clock.time(), first_due=lambda _: self.clock.time() + 1e9
        )

    async def raise_alert(self, *channels: str, rule: int = 0, after: float = 0.0) -> None:
        """An alert, so many seconds from now; its jobs are in the stream."""
        now = self.clock.time() + after
        name, number = f"rule{rule}", len(self.alerts)
        ticket = await self.store.begin_run(name, f"check-{number}", 1, "schedule", now)
        finished = await self.store.finish_run(
            ticket,
            RunResult(),
            Verdict(
                state=RuleState(version=ticket.stored.state.version),
                alerts=(an_alert(f"{name}:{number}", channels=channels),),
            ),
            None,
            expected_state_version=ticket.stored.state.version,
            now=now,
        )
        self.alerts += finished.alerts
        await self.relay(after)

    async def relay(self, delay: float = 0.0) -> None:
        """What is in the outbox goes into the stream."""
        rows = await self.store.unsent(1000, self.clock.time() + 1e6)
        jobs = [msgspec.structs.replace(as_new_job(row), delay=delay) for row in rows]
        await Queue(ALERTS_DISPATCH, self.broker).enqueue_jobs(jobs)
        await self.store.mark_sent([row.id for row in rows])

    def executor(self, deadline: float = DEADLINE) -> Executor:
        """Runs jobs by hand, as another worker."""
        handlers = Handlers()
        handlers.on(ALERTS_DISPATCH, DispatchAlert, retry=DISPATCH_ALERT_RETRY)(self.new_handler(deadline))
        return Executor(handlers.of(ALERTS_DISPATCH))

    async def run(self) -> Drained:
        """Until nothing is left, whatever time that takes."""
        return await drain(self.broker, self.handlers)

    async def attempts(self, channel: str) -> list[list[tuple[float, str]]]:
        """Of each alert: when it was tried, and what came of it."""
        stories = []
        for alert_id in self.alerts:
            deliveries = (await self.store.alert(alert_id)).deliveries
            history = [one for it in deliveries if it.channel_id == channel for one in it.history]
            stories.append(
                [
                    (
                        round(one.at - self.began, 3),
                        one.outcome if one.http_status is None else f"{one.outcome} {one.http_status}",
                    )
                    for one in history
                ]
            )
        return stories

    async def states(self, channel: str) -> list[str]:
        found = [(await self.store.alert(alert_id)).deliveries for alert_id in self.alerts]
        return [one.state for deliveries in found for one in deliveries if one.channel_id == channel]

    async def error(self, channel: str) -> str:
        """Of the last alert."""
        deliveries = (await self.store.alert(self.alerts[-1])).deliveries
        return next(one.error or "" for one in deliveries if one.channel_id == channel)

    def told(self, outcome: str) -> int:
        return sum(isinstance(one, DeliveryEnded) and one.outcome == outcome for one in self.events)


def shown(scenario: str, stories: Sequence[Sequence[tuple[float, str]]]) -> None:
    """Printed, as it is asked for."""
    for number, story in enumerate(stories):
        print(f"{scenario} [{number}]: " + ", ".join(f"{at:g} s {what}" for at, what in story))
