"""What is asked beside the way of a check: which workspace, who names a channel, what waits, what goes together."""

from __future__ import annotations

import msgspec
import pytest

from sentinel.decide.routing import host_of
from sentinel.errors import NotFound
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN
from sentinel.model import Channel, Incident, Route
from sentinel.store import NewOutboxJob, Store
from sentinel.upkeep import Upkeep
from streamq.clock import ManualClock
from streamq.testing import MemoryBroker
from tests.sentinel.store.test_months import months
from tests.sentinel.store.things import NOW, a_file, a_rule, a_verdict, an_alert, begin, finish, load


async def test_the_only_workspace_need_not_be_named(store: Store) -> None:
    assert await store.workspace() is None
    await load(store)
    assert await store.workspace() == await store.workspace("acme")
    assert await store.workspace("nobody") is None
    await store.import_rules(a_file(a_rule("other"), workspace="zoo"), now=NOW, first_due=lambda _: NOW)
    with pytest.raises(NotFound, match=r"acme, zoo"):
        await store.workspace()


async def test_who_names_a_channel_is_told_before_it_goes(store: Store) -> None:
    routes = [Route(id="night", channels=["boss"])]
    file = a_file(a_rule(), routes=routes)
    spare = Channel(id="spare", type="console", fallback="boss")
    await store.import_rules(
        msgspec.structs.replace(file, channels=[*file.channels, spare]), now=NOW, first_due=lambda _: NOW
    )
    assert await store.named_by("acme", "ops") == ["rule widget"]
    assert sorted(await store.named_by("acme", "boss")) == ["channel spare", "route night"]
    assert await store.named_by("acme", "spare") == []


async def test_jobs_of_a_stream_that_may_be_sent_are_counted(store: Store) -> None:
    await load(store)
    ticket = await begin(store)
    later = NewOutboxJob(
        stream=RULES_RUN, job_id="later", payload=Route(id="x", channels=[]), available_at=NOW + 9
    )
    now = NewOutboxJob(stream=RULES_RUN, job_id="now", payload=Route(id="x", channels=[]))
    await finish(store, ticket, a_verdict(an_alert()), outbox=[later, now])
    assert [await store.unsent_of(stream) for stream in (RULES_RUN, ALERTS_DISPATCH, "other")] == [1, 2, 0]


async def test_a_rule_is_told_with_its_host_where_that_is_in_trouble(store: Store) -> None:
    await load(store)
    rule, host = await store.rule_and_host("widget", lambda rule: host_of(rule.url))
    assert (rule, host) == (await store.rule("widget"), None)
    with pytest.raises(NotFound):
        await store.rule_and_host("nobody", lambda rule: host_of(rule.url))


async def test_an_alert_knows_the_incident_that_it_is_part_of(store: Store) -> None:
    ids = [f"rule-{number}" for number in range(3)]
    await load(store, *(a_rule(rule_id) for rule_id in ids), incident=Incident(rules=2))
    told = []
    for rule_id in ids:
        draft = an_alert(f"broken {rule_id}", kind="health")
        finished = await finish(
            store,
            await begin(store, f"job-{rule_id}", rule_id=rule_id),
            a_verdict(draft, health_state="broken", broken_told_at=NOW),
        )
        told.append(next(iter(finished.severities)))
    # Nothing was known of one when the first broke: it was told by itself.
    alone, *joined = [await store.joined(alert_id) for alert_id in told]
    assert alone is None
    assert joined[0] == joined[1]
    assert joined[0] is not None
    assert (joined[0].host, joined[0].state) == ("shop.example", "open")
    assert joined[0].alert_id in {alert.id for alert in await store.alerts()} - set(told)
    assert await store.joined("none") is None


async def test_a_round_of_upkeep_makes_the_months_to_come(store: Store) -> None:
    await load(store)
    clock = ManualClock(NOW)
    await Upkeep(store, MemoryBroker(clock), clock).prune()
    made = await months(store)
    assert len(made) == (0 if store._database.is_sqlite else 3)
