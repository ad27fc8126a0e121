"""Thousands of changes at once through the real judgement and store: every alert is told, held or refused.

Nothing is fetched and nothing is sent: a check is begun, judged and finished as the handler does it. What
was decided is counted three times: as the judgement made it, as rows, and as jobs that wait to be sent.
"""

from __future__ import annotations

import resource
from collections import Counter
from decimal import Decimal
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from sentinel.decide import judge
from sentinel.jobs import ALERTS_DISPATCH
from sentinel.model import (
    AlertPolicy,
    Condition,
    Digest,
    Flood,
    PriceValue,
    QuietHours,
    Route,
    Rule,
)
from sentinel.store import Store
from sentinel.store.tables import alert, delivery, digest, digest_member
from tests.sentinel.store.test_alerting import GOOD, NIGHT, NOON, ZONE, at, load
from tests.sentinel.store.things import a_rule

#: Workers' checks at the same time.
AT_ONCE = 8
#: Bytes that the second half of the changes may add to what the process holds at most.
GROWTH = 48 << 20

ROUTES = [
    Route(channels=["boss"], severity="critical", go_on=True),
    Route(channels=["mail"], tags=["slow"], digest=Digest(by="host", every=3600)),
    Route(channels=["ops"], kinds=["change"], tags=["loud"]),
]


def rules(count: int) -> list[Rule]:
    """Of five hosts; by thirds told at once, collected, and for nobody; some with a cooldown."""
    return [
        a_rule(
            f"r{number}",
            url=f"https://h{number % 5}.example/{number}",
            name=f"{('book', 'pen')[number % 2]} {number}",
            tags=[("loud", "slow", "nobody")[number % 3]],
            alert_policy=AlertPolicy(
                cooldown_seconds=600 if number % 7 == 0 else 0,
                conditions=[
                    Condition(id="moved", type="value_changed"),
                    Condition(id="cheap", type="price_below", value=Decimal(20), severity="critical"),
                ],
            ),
        )
        for number in range(count)
    ]


async def check(store: Store, rule_id: str, job_id: str, amount: int, now: float) -> list[str]:
    """One check as the handler makes it; the kinds of the alerts that the judgement made."""
    ticket = await store.begin_run(rule_id, job_id, 1, "schedule", now)
    stored = ticket.stored
    value = PriceValue(Decimal(amount), "EUR")
    verdict = judge(stored.rule, stored.state, str(amount), value, now=now, timezone=ZONE)
    finished = await store.finish_run(
        ticket, GOOD, verdict, str(amount), expected_state_version=stored.state.version, now=now
    )
    assert len(finished.severities) == len(verdict.alerts)
    return [draft.kind for draft in verdict.alerts]


async def wave(store: Store, count: int, number: int, amount: int, now: float) -> int:
    """Every rule's price changes at the same time; how many alerts that made."""
    made = 0
    turns = iter(range(count))

    async def work() -> None:
        nonlocal made
        for turn in turns:
            alerts = await check(store, f"r{turn}", f"j{number}-{turn}", amount, now + turn / 1000)
            made += len(alerts)

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(work)
    return made


def resident() -> int:
    """The most that this process ever held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def run_through(store: Store, count: int) -> dict[str, Any]:
    """Waves over a day: at noon, again, within a cooldown, cheap, at night, and in the night again."""
    await load(
        store, *rules(count), routes=ROUTES, quiet_hours=QuietHours(start="22:00", end="07:00"),
        flood=Flood(alerts=15, within=60),
    )  # fmt: skip
    waves = [
        (100, NOON),
        (90, NOON + 600),
        (90, NOON + 700),
        (80, NOON + 900),
        (100, NOON + 4000),
        (90, NOON + 5000),
    ]
    waves += [
        (15, NOON + 6000),
        (70, NIGHT),
        (60, NIGHT + 600),
        (10, NIGHT + 3600),
        (50, at("2026-01-11 06:59")),
    ]
    decided, held = 0, []
    for number, (amount, now) in enumerate(waves):
        decided += await wave(store, count, number, amount, now)
        await store.close_digests(now)
        held.append(resident())
    while await store.close_digests(at("2026-01-12 00:00")):
        pass
    return {"decided": decided, "checks": len(waves) * count, "growth": held[-1] - held[len(held) // 2]}


async def count_up(store: Store) -> dict[str, Any]:
    """What the rows say."""
    own, told = alert.c.kind != "digest", sa.func.count()
    async with store._database.reading() as connection:

        async def number(query: sa.Select[Any]) -> int:
            return int((await connection.execute(query)).scalar_one() or 0)

        reasons = await connection.execute(
            sa.select(alert.c.suppressed, told).where(own).group_by(alert.c.suppressed)
        )
        by_reason = Counter({row[0] or "told": row[1] for row in reasons})
        bodies = list(await connection.scalars(sa.select(alert.c.body).where(~own)))
        held = alert.c.suppressed.in_(("flood", "quiet_hours", "digest"))
        in_one = sa.select(digest_member.c.alert_id)
        return {
            "by_reason": by_reason,
            "digests": len(bodies),
            "in_digests": sum(len(body["members"]) + body["more"] for body in bodies),
            "members": await number(sa.select(told).select_from(digest_member)),
            "held_and_in_none": await number(sa.select(told).where(own, held, alert.c.id.not_in(in_one))),
            "open": await number(sa.select(told).select_from(digest).where(digest.c.closed_at.is_(None))),
            "deliveries": await number(sa.select(told).select_from(delivery)),
        }


async def adds_up(store: Store, count: int) -> None:
    ran = await run_through(store, count)
    seen = await count_up(store)
    rows = await store.unsent(10**6, at("2026-01-12 00:00"))
    jobs = sum(row.stream == ALERTS_DISPATCH for row in rows)
    reasons = dict(sorted(seen["by_reason"].items()))
    print(f"\n{ran['checks']} checks, {ran['decided']} alerts decided: {reasons}")
    print(
        f"{seen['digests']} digests tell {seen['in_digests']}; {jobs} messages; {ran['growth'] >> 20} MiB more"
    )

    assert ran["decided"] == sum(reasons.values()), "every alert that was made is a row"
    assert set(reasons) == {"told", "no_channels", "duplicate", "cooldown", "flood", "quiet_hours", "digest"}
    assert seen["held_and_in_none"] == 0, "what is held is a member of what tells it"
    assert seen["open"] == 0
    assert seen["in_digests"] == seen["members"], "each member is told or counted"
    assert seen["deliveries"] == jobs
    assert ran["growth"] < GROWTH


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL in the long form
async def test_changes_by_the_hundred_add_up(store: Store) -> None:
    await adds_up(store, 105)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_thousand_rules_that_change_at_once_ten_times_a_day_add_up(store: Store) -> None:
    await adds_up(store, 1_000)
