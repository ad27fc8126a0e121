"""What tests of checks stand on: real SQLite, a real site, the real fetcher; the clock is theirs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sentinel.events import Event
from sentinel.extract.contained import Extractor
from sentinel.fetch.fetcher import Fetcher
from sentinel.handlers.check_rule import CheckRuleHandler
from sentinel.jobs import RULES_RUN, RUN_RULE_RETRY, RunRule
from sentinel.model import AlertPolicy, Channel, Extraction, Rule, RulesFile, RuleState, Schedule, Workspace
from sentinel.relay import Relay
from sentinel.store import Observation, RunRecord, Store
from streamq import Handlers, Job, Queue, Retry
from streamq.broker import Broker, Finish, Lease
from streamq.clock import ManualClock
from streamq.executor import Executor
from streamq.testing.memory import MemoryBroker
from tests.support.http import Reply, Route, Site

#: Rule ids of most tests: there is one rule.
WIDGET = "widget"


def page(price: str = "100,00 €", **reply: Any) -> Reply:
    """A shop's page, as it comes."""
    body = f"<html><body><h1>Widget</h1><p>Price: <span class='price'>{price}</span></p></body></html>"
    return Reply(**{"body": body, **reply})


def tagged(price: str, etag: str, **reply: Any) -> Reply:
    """The same, with a validator."""
    return page(price, headers={"ETag": f'"{etag}"'}, **reply)


NOT_MODIFIED = Reply(status=304)


@dataclass
class World:
    """A handler and all that it uses."""

    store: Store
    site: Site
    clock: ManualClock
    broker: MemoryBroker
    fetcher: Fetcher
    extractor: Extractor
    events: list[Event] = field(default_factory=list)
    _numbers: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

    def __post_init__(self) -> None:
        self.relay = Relay(self.store, self.broker, self.clock)
        self.handler = self.new_handler()

    def new_handler(self, **options: Any) -> CheckRuleHandler:
        """Another process's handler, say, or one with a rate."""
        parts = {
            "fetcher": self.fetcher,
            "extractor": self.extractor,
            "relay": self.relay,
            "clock": self.clock,
            "rate_per_domain": None,
            "observer": self.events.append,
        }
        return CheckRuleHandler(self.store, self.broker, **parts | options)

    # --- rules ----------------------------------------------------------------------------------

    def rule(self, rule_id: str = WIDGET, *, path: str = "/widget", **fields: Any) -> Rule:
        given = {
            "id": rule_id,
            "url": self.site.url + path,
            "type": "price",
            "extraction": Extraction(method="css", selector=".price"),
            "schedule": Schedule(interval_seconds=3600),
            "alert_policy": AlertPolicy(channels=["ops"]),
        }
        return Rule(**given | fields)

    async def load(self, *rules: Rule, **workspace: Any) -> None:
        """As `rules import` does; due at once."""
        file = RulesFile(
            workspace=Workspace(id="acme", timezone="Europe/Bratislava", **workspace),
            channels=[Channel(id="ops", type="console")],
            rules=list(rules),
        )
        now = self.clock.time()
        await self.store.import_rules(file, now=now, first_due=lambda _: now)

    async def watch(self, route: Route, **fields: Any) -> None:
        """One rule on one page."""
        self.site.route("/widget", route)
        await self.load(self.rule(**fields))

    # --- checks ---------------------------------------------------------------------------------

    def job(
        self,
        rule_id: str = WIDGET,
        *,
        job_id: str | None = None,
        attempt: int = 1,
        fence: int | None = None,
        last: bool = False,
        **payload: Any,
    ) -> Job[RunRule]:
        """A delivery; the fence rises with each unless it is said."""
        number = self._numbers()
        given = {"rule_id": rule_id, "trigger": "schedule", "requested_at": "2026-01-31T12:00:00Z"}
        return Job(
            id=job_id or f"job-{number}",
            stream=RULES_RUN,
            payload=RunRule(**given | payload),
            attempt=attempt,
            crashes=0,
            fence=number if fence is None else fence,
            enqueued_at=self.clock.time(),
            headers={},
            lane="normal",
            last_attempt=last,
        )

    async def check(self, *jobs: Job[RunRule]) -> None:
        """One check after the other, a minute between; of the one rule where no job is given."""
        for job in jobs or (self.job(),):
            self.clock.advance(60)
            await self.handler(job)

    async def check_each(self, *routes: Route) -> None:
        """The page changes, and is checked, as often as there are routes."""
        for route in routes:
            self.site.route("/widget", route)
            await self.check()

    # --- what came of it ------------------------------------------------------------------------

    async def state(self, rule_id: str = WIDGET) -> RuleState:
        return (await self.store.rule(rule_id)).state

    async def stable(self) -> str | None:
        """The raw text of the value that is believed."""
        return (await self.state()).stable_raw

    async def last_run(self, rule_id: str = WIDGET) -> RunRecord:
        return (await self.store.runs(rule_id))[0]

    async def seen(self) -> list[Observation]:
        """Oldest first."""
        return (await self.store.history(WIDGET))[::-1]

    async def waiting(self) -> list[str]:
        """Job ids in the outbox, without taking them."""
        rows = await self.store.unsent(100, self.clock.time(), lease=0.0)
        return [row.job_id for row in rows]

    def validators(self) -> list[str | None]:
        """What each request asked for as `If-None-Match`."""
        return [request.headers.get("if-none-match") for request in self.site.requests]


class Hand:
    """A worker by hand on a broker and a manual clock: takes jobs, runs them, gives them back."""

    def __init__(self, world: World, *, retry: Retry = RUN_RULE_RETRY, **options: Any) -> None:
        handlers = Handlers()
        handlers.on(RULES_RUN, RunRule, retry=retry)(world.new_handler(**options))
        self._executor = Executor(handlers.of(RULES_RUN))
        self._world = world
        self.broker: Broker = world.broker
        self._sequence = 0

    async def enqueue(self, *rule_ids: str, **options: Any) -> None:
        payloads = [
            RunRule(rule_id=one, trigger="schedule", requested_at="2026-01-31T12:00:00Z")
            for one in rule_ids or (WIDGET,)
        ]
        for payload in payloads:
            await Queue(RULES_RUN, self.broker).enqueue(payload, **options)

    async def take(self) -> Sequence[Lease]:
        """Leases, to be run or to die with."""
        return (await self._turn((), free=1))[0]

    async def run(self) -> list[float]:
        """Until nothing is left; the seconds waited before each delivery."""
        waits: list[float] = []
        waited = 0.0
        finished: tuple[Finish, ...] = ()
        while True:
            await self._world.relay.flush()
            leases, due = await self._turn(finished, free=1)
            finished = ()
            if leases:
                waits.append(waited)
                waited = 0.0
                finished = ((await self._executor.execute(leases[0])).finish,)
            elif due is None:
                return waits
            else:
                self._world.clock.advance(due)
                waited += due

    async def _turn(self, finished: tuple[Finish, ...], *, free: int) -> tuple[Sequence[Lease], float | None]:
        self._sequence += 1
        turn = await self.broker.turn(
            RULES_RUN, "hand", sequence=self._sequence, finished=finished, free=free
        )
        return turn.leases, turn.next_due
