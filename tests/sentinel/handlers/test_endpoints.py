"""Endpoints in every kind of trouble: the exact sequence of attempts, and that nobody else minds.

Each alert goes to `ops`, which is in trouble, and to `well`, which is not. `-s` shows the sequences.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from sentinel.fetch.guard import NetworkPolicy, open_client
from sentinel.handlers.shares import Shares
from sentinel.jobs import ALERTS_DISPATCH
from sentinel.model import Channel
from sentinel.store import Store
from streamq.broker import Again, Lease
from tests.sentinel.handlers.dispatching import World, shown
from tests.support.http import Reply, Request, Site, serve

#: A certificate that nobody trusts.
UNTRUSTED = Path(__file__).parents[1] / "fetch" / "data" / "shop.pem"
#: Seconds at which a delivery is tried, by the contract.
SCHEDULE = [0.0, 10.0, 40.0, 100.0, 220.0, 520.0]


@pytest.fixture
async def world(store: Store, site: Site) -> AsyncIterator[World]:
    async with open_client(NetworkPolicy(allow_private=True)) as client:
        yield World(store, site, client)


async def in_trouble(world: World, route: Any, *, rules: int = 1, **fields: Any) -> None:
    """Rules that tell `ops`, whose endpoint answers by `route` (a URL: it is that one), and `well`."""
    url = route if isinstance(route, str) else world.site.route("/ops", route)
    well = Channel(id="well", type="webhook", url=world.site.route("/well", Reply(status=204)))
    await world.watch(Channel(id="ops", type="webhook", url=url, **fields), well, rules=rules)


async def cut(request: Request, writer: asyncio.StreamWriter) -> None:
    """Half an answer, and no more."""
    writer.write(b"HTTP/1.1 200 O")
    await writer.drain()
    writer.transport.abort()


async def all_well(world: World) -> None:
    """Who is not in trouble was told at once, once."""
    assert await world.states("well") == ["sent"] * len(world.alerts)
    assert len(world.site.requests_to("/well")) == len(world.alerts)
    for (at, _), *again in await world.attempts("well"):
        assert again == []
        assert at == 0.0


@pytest.mark.parametrize(
    ("name", "route", "outcome", "words"),
    [
        ("down", Reply(status=503, body="away"), "failed 503", "HTTP 503: away"),
        ("slow", Reply(hold=asyncio.Event()), "failed", "no answer within 0.4 s"),
        ("half an answer", cut, "failed", "the connection ended early"),
        ("refused", "nobody there", "failed", "no connection could be made"),
        ("TLS", "broken tls", "failed", "no secure connection could be made: self-signed certificate"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
async def test_an_endpoint_that_does_not_answer_is_tried_by_the_schedule_and_then_given_up(
    world: World, name: str, route: Any, outcome: str, words: str
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(UNTRUSTED)
    async with serve() as closed:
        leads = {"nobody there": closed.url}
    async with serve(tls=tls) as broken:
        leads["broken tls"] = broken.url
        if name == "slow":
            world.give_up_after(0.4)
        await in_trouble(world, leads.get(route, route) if isinstance(route, str) else route, rules=2)
        for rule in range(2):
            await world.raise_alert("ops", "well", rule=rule)

        drained = await world.run()

        assert broken.requests == []
    stories = await world.attempts("ops")
    shown(name, stories)
    assert stories == [[(at, outcome) for at in SCHEDULE]] * 2, "two are too few for the breaker"
    assert await world.states("ops") == ["failed"] * 2
    assert words in await world.error("ops")
    assert len(drained.dead) == 2
    assert {ran.reason for ran in drained.runs if ran.outcome == "dead"} == {"exhausted"}
    await all_well(world)


async def test_an_answer_whose_status_came_is_taken_by_its_status(world: World) -> None:
    async def accepted_then_cut(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()

    await in_trouble(world, accepted_then_cut)
    await world.raise_alert("ops", "well")
    await world.run()

    assert await world.attempts("ops") == [[(0.0, "sent 202")]]
    await all_well(world)


async def test_an_endpoint_that_flaps_is_asked_by_each_deliverys_own_schedule(world: World) -> None:
    await in_trouble(
        world, [Reply(status=500), Reply(), Reply(status=500), Reply(status=500), Reply()], rules=3
    )
    for rule in range(3):
        await world.raise_alert("ops", "well", rule=rule)

    await world.run()

    stories = await world.attempts("ops")
    shown("flapping", stories)
    assert stories == [
        [(0.0, "failed 500"), (10.0, "failed 500"), (40.0, "sent 200")],
        [(0.0, "sent 200")],
        [(0.0, "failed 500"), (10.0, "sent 200")],
    ]
    assert world.told("held") == 0
    await all_well(world)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_who_says_when_to_come_again_is_left_alone_until_then_by_everybody(
    world: World, form: str
) -> None:
    until = 25.0
    asked: list[float] = []

    async def busy(request: Request, writer: asyncio.StreamWriter) -> None:
        at = world.clock.monotonic()
        asked.append(at)
        said = "25" if form == "seconds" else formatdate(world.began + until, usegmt=True)
        busy = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {said}\r\n"
        head = busy if at < until else "HTTP/1.1 200 OK\r\n"
        writer.write(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    await in_trouble(world, busy, rules=4)
    await world.raise_alert("ops", "well", rule=0)
    for rule in (1, 2, 3):
        await world.raise_alert("ops", rule=rule, after=5.0 * rule)

    await world.run()

    stories = await world.attempts("ops")
    shown(f"429 with {form}", stories)
    assert stories[0] == [(0.0, "failed 429"), (25.0, "sent 200")]
    assert [[what for _, what in story] for story in stories[1:]] == [["sent 200"]] * 3
    assert [at for at in asked if 0 < at < until] == [], "early sends"
    assert len(set(asked)) == 5, "those who waited come one after another"
    assert max(asked) < until + 2
    assert world.told("held") == 3
    assert await world.states("well") == ["sent"]


async def test_a_429_that_names_no_time_keeps_the_others_away_for_a_while(world: World) -> None:
    await in_trouble(world, [Reply(status=429), Reply()], rules=2)
    await world.raise_alert("ops", "well", rule=0)
    await world.raise_alert("ops", rule=1, after=1.0)

    await world.run()

    stories = await world.attempts("ops")
    shown("429 without a time", stories)
    assert stories[0] == [(0.0, "failed 429"), (10.0, "sent 200")]
    ((at, what),) = stories[1]
    assert (what, 10.0 <= at < 11.0) == ("sent 200", True)


async def test_an_endpoint_that_is_gone_gets_nothing_more_not_even_what_others_have_in_hand(
    world: World,
) -> None:
    hold = asyncio.Event()
    await in_trouble(world, Reply(status=410, hold=hold), rules=8)
    for rule in range(8):
        await world.raise_alert("ops", "well", rule=rule)
    # Four workers have taken a delivery each, and have come as far as one can without sending.
    turn = await world.broker.turn(ALERTS_DISPATCH, "others", sequence=1, free=16)
    in_hand = [lease for lease in turn.leases if b'"ops"' in lease.envelope.payload]
    execute = world.executor().execute

    async with anyio.create_task_group() as group:
        group.start_soon(execute, in_hand[0])
        await world.site.requests_arrived(1, path="/ops")
        hold.set()
    disabled = time.monotonic()
    async with anyio.create_task_group() as group:
        for lease in in_hand[1:]:
            group.start_soon(world.executor().execute, lease)
    for lease in turn.leases:
        if lease not in in_hand:
            await execute(lease)

    stories = await world.attempts("ops")
    shown("410", stories)
    assert stories[0] == [(0.0, "dead 410")]
    assert stories[1:] == [[(0.0, "dead")]] * 7
    assert [one for one in world.site.requests_to("/ops") if one.at > disabled] == []
    assert len(world.site.requests_to("/ops")) == 1
    (stored,) = [one for one in await world.store.channels("acme") if one.channel.id == "ops"]
    assert (stored.channel.enabled, stored.disabled_reason) == (False, "HTTP 410")
    await all_well(world)


async def test_a_redirect_is_not_followed_and_kills_the_delivery(world: World) -> None:
    elsewhere = world.site.route("/elsewhere", Reply())
    await in_trouble(world, Reply(status=302, headers={"Location": elsewhere}))
    await world.raise_alert("ops", "well")

    await world.run()

    stories = await world.attempts("ops")
    shown("redirect", stories)
    assert stories == [[(0.0, "dead 302")]]
    assert world.site.requests_to("/elsewhere") == []
    await all_well(world)


async def test_after_an_outage_everything_arrives_and_meanwhile_one_at_a_time_has_asked(
    world: World,
) -> None:
    back_at = 300.0
    asked: list[float] = []

    async def away(request: Request, writer: asyncio.StreamWriter) -> None:
        at = world.clock.monotonic()
        asked.append(at)
        head = "HTTP/1.1 503 Away\r\n" if at < back_at else "HTTP/1.1 200 OK\r\n"
        writer.write(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    await in_trouble(world, away, rules=30)
    for rule in range(30):
        await world.raise_alert("ops", "well", rule=rule)

    await world.run()

    stories = await world.attempts("ops")
    shown("outage", stories)
    during = [at for at in asked if at < back_at]
    print(f"asked {len(during)} times in {back_at:g} s of outage (each by itself: {30 * 5}); {asked=}")
    assert await world.states("ops") == ["sent"] * 30
    assert asked[:3] == [0.0] * 3, "three failed in a row, and the fourth was not tried"
    assert 0.0 not in asked[3:]
    assert len(during) < 25
    assert max(asked) < back_at + 300 + 5, "the longest pause, and a spread of 30"
    for story in stories:
        assert len(story) <= 6
    await all_well(world)


async def test_a_channels_rate_is_kept_and_costs_no_attempt(world: World) -> None:
    await in_trouble(world, Reply(), rules=5, rate_per_minute=6.0)
    for rule in range(5):
        await world.raise_alert("ops", "well", rule=rule)

    await world.run()

    stories = await world.attempts("ops")
    shown("rate", stories)
    assert [[what for _, what in story] for story in stories] == [["sent 200"]] * 5
    times = sorted(at for ((at, _),) in stories)
    assert min(later - sooner for sooner, later in itertools.pairwise(times)) >= 10.0
    assert max(times) < 45
    assert world.told("held") == 4
    await all_well(world)


async def test_an_endpoint_that_hangs_leaves_slots_to_the_other_channels(world: World) -> None:
    hold = asyncio.Event()
    await in_trouble(world, Reply(hold=hold), rules=12)
    for rule in range(12):
        await world.raise_alert("ops", "well", rule=rule)
    execute = world.executor(deadline=60).execute
    turn = await world.broker.turn(ALERTS_DISPATCH, "worker", sequence=1, free=24)
    hanging = [lease for lease in turn.leases if b'"ops"' in lease.envelope.payload]
    others = [lease for lease in turn.leases if lease not in hanging]
    assert (len(hanging), len(others)) == (12, 12)
    sent_away: list[str] = []

    async def run(lease: Lease) -> None:
        ended = await execute(lease)
        if isinstance(ended.finish, Again):
            sent_away.append(ended.finish.note)

    async with anyio.create_task_group() as group:
        for lease in hanging:
            group.start_soon(run, lease)
        with anyio.fail_after(30):
            await world.site.requests_arrived(5, path="/ops")
            while len(sent_away) < 7:  # noqa: ASYNC110 - they say so by ending
                await anyio.sleep(0.01)
        for lease in others:
            await execute(lease)
        await all_well(world)
        assert len(world.site.requests_to("/ops")) == 5, "its share"
        hold.set()
    assert set(sent_away) == {"its endpoint is slow and holds its share of the worker's slots"}
    assert sorted(await world.states("ops")) == ["pending"] * 7 + ["sent"] * 5


async def test_a_burst_for_an_endpoint_that_answers_waits_for_its_share_and_nobody_is_sent_away() -> None:
    shares = Shares(2, patience=60)
    inside: list[int] = []

    async def deliver(number: int) -> None:
        async with shares.share("ops"):
            inside.append(number)
            most.append(len(inside))
            await anyio.lowlevel.checkpoint()
            inside.remove(number)

    most: list[int] = []
    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(deliver, number)
    assert (len(most), max(most)) == (12, 2)


async def test_alerts_of_one_rule_arrive_in_their_order_even_when_the_first_is_tried_for_long(
    world: World,
) -> None:
    await in_trouble(world, [Reply(status=503), Reply(status=503), Reply()])
    await world.raise_alert("ops", "well")
    await world.raise_alert("ops", after=1.0)
    await world.raise_alert("ops", after=2.0)

    await world.run()

    stories = await world.attempts("ops")
    shown("order", stories)
    assert stories[0] == [(0.0, "failed 503"), (10.0, "failed 503"), (40.0, "sent 200")]
    sent = [story[-1][0] for story in stories]
    assert sent == sorted(sent)
    assert sent[-1] < 60
    assert [len(story) for story in stories] == [3, 1, 1]


async def test_what_could_not_be_sent_is_told_by_the_fallback_channel(world: World) -> None:
    await world.watch(
        Channel(id="ops", type="webhook", url=world.site.route("/ops", Reply(status=503)), fallback="spare"),
        Channel(id="spare", type="console"),
    )
    await world.raise_alert("ops")

    await world.run()
    assert world.written == []
    await world.relay()
    await world.run()

    assert len(world.written) == 1
    assert await world.attempts("spare") == [[(520.0, "sent")]]
    assert (await world.store.alert(world.alerts[0])).state == "partial"
