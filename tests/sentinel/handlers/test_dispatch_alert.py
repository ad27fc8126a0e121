"""One alert to its channels: real SQLite, real endpoints on loopback, the guard between."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from standardwebhooks import Webhook

from sentinel.channels import ConsoleSender, Sent, WebhookSender
from sentinel.credentials import ChannelCredentials
from sentinel.errors import StaleWorker
from sentinel.events import DeliveryEnded, Event
from sentinel.fetch.guard import NetworkPolicy, open_client
from sentinel.handlers.dispatch_alert import MAX_CHANNELS, DeliveryFailed, DispatchAlertHandler, message_id
from sentinel.jobs import ALERTS_DISPATCH, DispatchAlert, delivery_job_id
from sentinel.model import (
    AlertDraft,
    AlertPolicy,
    Channel,
    ChannelType,
    Document,
    Extraction,
    Rule,
    RulesFile,
    RuleState,
    Verdict,
    Workspace,
)
from sentinel.render import to_json, to_text
from sentinel.store import Delivery, RunResult, Store, StoredAlert, tables
from streamq import DeadLetter, Job, RetryIn
from streamq.broker import Lease
from streamq.clock import SystemClock
from streamq.testing.memory import MemoryBroker
from tests.support.http import Reply, Request, Site

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TITLE = "Widget: 149.99 EUR -> 129.99 EUR"


@dataclass
class World:
    """A handler and all that it uses."""

    store: Store
    broker: MemoryBroker
    site: Site
    handler: DispatchAlertHandler
    written: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    alert_id: str = ""

    async def raise_alert(self, *channels: Channel) -> None:
        """An alert to these channels, as a check commits it."""
        policy = AlertPolicy(channels=[channel.id for channel in channels])
        rule = Rule(
            id="widget",
            url="https://shop.example.com/widget",
            type="price",
            extraction=Extraction(method="css", selector=".price"),
            alert_policy=policy,
        )
        now = time.time()
        file = RulesFile(workspace=Workspace(id="acme"), channels=list(channels), rules=[rule])
        await self.store.import_rules(file, now=now, first_due=lambda _: now)
        ticket = await self.store.begin_run("widget", "check-1", 1, "schedule", now)
        draft = AlertDraft(
            kind="change",
            severity="warning",
            title=TITLE,
            body={
                "rule": "Widget",
                "url": rule.url,
                "fields": [
                    {"name": "price", "before": None, "after": {"amount": "129.99", "currency": "EUR"}}
                ],
            },
            dedupe_key="widget:1",
            channels=tuple(policy.channels),
        )
        finished = await self.store.finish_run(
            ticket,
            RunResult(),
            Verdict(state=RuleState(), alerts=(draft,)),
            None,
            expected_state_version=ticket.stored.state.version,
            now=now,
        )
        (self.alert_id,) = finished.alerts

    def job(
        self,
        *channels: str,
        attempt: int = 1,
        fence: int | None = None,
        last: bool = False,
        job_id: str | None = None,
        **payload: Any,
    ) -> Job[DispatchAlert]:
        """The delivery of the job that is this attempt; `fence` rises with it unless it is said.

        Of one channel: that delivery's own job. Of several: one that is to be split.
        """
        given = {
            "alert_id": self.alert_id,
            "workspace_id": "acme",
            "rule_id": "widget",
            "channels": channels,
            "dedupe_key": "widget:1",
        }
        whole = f"alert-{self.alert_id}"
        return Job(
            id=job_id or (delivery_job_id(whole, channels[0]) if len(channels) == 1 else whole),
            stream=ALERTS_DISPATCH,
            payload=DispatchAlert(**given | payload),
            attempt=attempt,
            crashes=0,
            fence=attempt if fence is None else fence,
            enqueued_at=0.0,
            headers={"traceparent": "00-1-2-01"},
            lane="high",
            last_attempt=last,
        )

    async def parts(self) -> list[Lease]:
        """The jobs that a split has added."""
        turn = await self.broker.turn(ALERTS_DISPATCH, "w", sequence=1, free=1000)
        return sorted(turn.leases, key=lambda lease: lease.envelope.id)

    def hook(self, name: str, route: Any, **other: Any) -> Channel:
        """A webhook channel to a path of its own."""
        return Channel(id=name, type="webhook", url=self.site.route(f"/{name}", route), **other)

    async def alert(self) -> StoredAlert:
        return await self.store.alert(self.alert_id)

    async def delivery(self, channel: str) -> Delivery:
        return next(one for one in (await self.alert()).deliveries if one.channel_id == channel)

    def told(self) -> list[tuple[str, str]]:
        return sorted(
            (event.channel_kind, event.outcome) for event in self.events if isinstance(event, DeliveryEnded)
        )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("dispatch") / "empty.db"

    async def migrate() -> None:
        async with Store.open(f"sqlite:///{path}") as store:
            await store.migrate()

    asyncio.run(migrate())
    return path


@pytest.fixture
async def world(site: Site, tmp_path: Path, empty_database: Path) -> AsyncIterator[World]:
    shutil.copy(empty_database, tmp_path / "sentinel.db")
    async with (
        Store.open(f"sqlite:///{tmp_path}/sentinel.db") as store,
        open_client(NetworkPolicy(allow_private=True)) as client,
    ):
        written: list[str] = []
        events: list[Event] = []
        webhook = WebhookSender(
            client, ChannelCredentials({"OPS_SECRET": SECRET}), to_json, time.time, deadline=1.0
        )
        broker = MemoryBroker()
        handler = DispatchAlertHandler(
            store,
            broker,
            {"webhook": webhook, "console": ConsoleSender(written.append, to_text)},
            SystemClock(),
            observer=events.append,
        )
        yield World(store, broker, site, handler, written, events)


TTY = Channel(id="tty", type="console")


async def test_an_alert_reaches_its_channels_and_the_rows_say_so(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply(status=202), secret_env="OPS_SECRET"), TTY)

    await world.handler(world.job("ops"))
    await world.handler(world.job("tty"))

    (request,) = world.site.requests
    assert Webhook(SECRET).verify(request.body, dict(request.headers))["data"]["title"] == TITLE
    assert request.headers["webhook-id"] == f"alert-{world.alert_id}:ops"
    assert [text.splitlines()[0] for text in world.written] == [f"ALERT warning: {TITLE}"]
    alert = await world.alert()
    assert alert.state == "sent"
    assert {one.channel_id: (one.state, one.attempts, one.http_status) for one in alert.deliveries} == {
        "ops": ("sent", 1, 202),
        "tty": ("sent", 1, None),
    }
    assert world.told() == [("console", "sent"), ("webhook", "sent")]
    assert all(event.seconds is not None for event in world.events if isinstance(event, DeliveryEnded))


async def test_a_job_with_several_channels_is_split_into_one_for_each_and_sends_nothing_itself(
    world: World,
) -> None:
    await world.raise_alert(world.hook("ops", Reply()), TTY)

    await world.handler(world.job("ops", "tty", "ops", job_id="theirs"))

    assert world.site.requests == []
    assert world.written == []
    parts = await world.parts()
    assert [part.envelope.id for part in parts] == ["theirs:ops", "theirs:tty"]
    assert {part.envelope.lane for part in parts} == {"high"}
    assert {part.envelope.headers["traceparent"] for part in parts} == {"00-1-2-01"}
    assert [msgspec.json.decode(part.envelope.payload, type=DispatchAlert) for part in parts] == [
        world.job(channel).payload for channel in ("ops", "tty")
    ]


async def test_splitting_again_adds_nothing(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply()), TTY)

    for fence in range(3):
        await world.handler(world.job("ops", "tty", fence=fence))

    assert len(await world.parts()) == 2


async def test_a_foreign_job_with_one_channel_and_the_same_alert_from_our_own_store_are_one_delivery(
    world: World,
) -> None:
    await world.raise_alert(world.hook("ops", [Reply(status=500), Reply()]))

    await world.handler(world.job("ops", job_id="theirs"))
    (part,) = await world.parts()
    assert part.envelope.id == "theirs:ops"
    with pytest.raises(DeliveryFailed):
        await world.handler(world.job("ops", job_id="theirs:ops", fence=7))
    await world.handler(world.job("ops", fence=8))

    assert [request.headers["webhook-id"] for request in world.site.requests] == ["theirs:ops"] * 2


async def test_what_was_accepted_before_gets_no_job_when_its_alert_is_split(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply()), TTY)
    await world.handler(world.job("tty"))

    await world.handler(world.job("ops", "tty"))

    assert [part.envelope.id for part in await world.parts()] == [f"alert-{world.alert_id}:ops"]


async def test_what_failed_is_tried_again_under_the_same_id(world: World) -> None:
    await world.raise_alert(world.hook("ops", [Reply(status=500, body="oops"), Reply()]), TTY)

    with pytest.raises(DeliveryFailed, match="ops: HTTP 500: oops"):
        await world.handler(world.job("ops"))
    between = await world.delivery("ops")
    await world.handler(world.job("ops", attempt=2))

    assert (between.state, between.error) == ("retrying", "HTTP 500: oops")
    assert len({request.headers["webhook-id"] for request in world.site.requests}) == 1
    assert len({request.body for request in world.site.requests}) == 1
    assert len(world.site.requests) == 2
    history = (await world.delivery("ops")).history
    assert [(one.number, one.outcome, one.http_status) for one in history] == [
        (1, "failed", 500),
        (2, "sent", 200),
    ]
    assert all(one.latency is not None for one in history)
    assert (await world.delivery("tty")).state == "pending"
    assert world.told() == [("webhook", "retry"), ("webhook", "sent")]


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7.0), ("0", 1.0), ("99999999", 3600.0)])
async def test_nobody_is_asked_again_before_the_time_they_named(
    world: World, asked: str, seconds: float
) -> None:
    await world.raise_alert(world.hook("ops", Reply(status=429, headers={"Retry-After": asked})))

    with pytest.raises(RetryIn) as caught:
        await world.handler(world.job("ops"))

    assert caught.value.seconds == seconds


async def test_a_retry_after_in_form_of_a_date_is_obeyed(world: World) -> None:
    async def later(request: Request, writer: asyncio.StreamWriter) -> None:
        when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 120))
        writer.write(f"HTTP/1.1 429 Too Many\r\nRetry-After: {when}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    await world.raise_alert(world.hook("ops", later))

    with pytest.raises(RetryIn) as caught:
        await world.handler(world.job("ops"))

    assert 60 < caught.value.seconds <= 120


async def test_the_last_attempt_leaves_the_delivery_failed_with_its_reason(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply(status=503)), TTY)
    await world.handler(world.job("tty"))

    for attempt in range(1, 6):
        with pytest.raises(DeliveryFailed):
            await world.handler(world.job("ops", attempt=attempt))
    with pytest.raises(DeliveryFailed, match="ops: HTTP 503"):
        await world.handler(world.job("ops", attempt=6, last=True))

    assert len(world.site.requests) == 6
    delivery = await world.delivery("ops")
    assert (delivery.state, delivery.attempts, delivery.error) == ("failed", 6, "HTTP 503")
    assert (await world.alert()).state == "partial"
    assert world.told() == [("console", "sent"), ("webhook", "dead"), *[("webhook", "retry")] * 5]


async def test_a_dead_letter_that_is_requeued_is_tried_again(world: World) -> None:
    await world.raise_alert(world.hook("ops", [Reply(status=503), Reply()]))
    with pytest.raises(DeliveryFailed):
        await world.handler(world.job("ops", last=True))

    await world.handler(world.job("ops", attempt=1, fence=9))

    assert (await world.alert()).state == "sent"


@pytest.mark.parametrize("status", [302, 400, 404])
async def test_what_is_refused_for_good_is_dead_at_once_with_its_reason(world: World, status: int) -> None:
    world.site.route("/elsewhere", Reply())
    await world.raise_alert(
        world.hook("ops", Reply(status=status, headers={"Location": "/elsewhere"}, body="no")), TTY
    )

    with pytest.raises(DeadLetter) as caught:
        await world.handler(world.job("ops"))

    assert caught.value.reason == "delivery_refused"
    assert caught.value.detail.startswith(f"ops: HTTP {status}")
    delivery = await world.delivery("ops")
    assert (delivery.state, delivery.http_status) == ("dead", status)
    assert (delivery.error or "").startswith(f"HTTP {status}")
    assert (await world.delivery("tty")).state == "pending"
    assert world.site.requests_to("/elsewhere") == []


async def test_what_is_dead_stays_dead_when_its_job_comes_again(world: World) -> None:
    await world.raise_alert(world.hook("bad", Reply(status=404)))

    with pytest.raises(DeadLetter, match="bad: HTTP 404"):
        await world.handler(world.job("bad"))
    with pytest.raises(DeadLetter, match="bad: refused before"):
        await world.handler(world.job("bad", attempt=2))

    assert len(world.site.requests) == 1


async def test_an_endpoint_that_is_gone_is_disabled_and_never_called_again(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply(status=410, body="moved out")))

    with pytest.raises(DeadLetter):
        await world.handler(world.job("ops"))
    await world.store.resend(world.alert_id, time.time())
    await world.handler(world.job("ops", fence=9))

    (stored,) = await world.store.channels("acme")
    assert (stored.channel.enabled, stored.disabled_reason) == (False, "HTTP 410: moved out")
    assert len(world.site.requests) == 1
    delivery = await world.delivery("ops")
    assert (delivery.state, delivery.error) == ("dead", "the channel is disabled")
    assert world.told() == [("webhook", "dead"), ("webhook", "skipped")]


async def test_a_database_that_fails_while_a_channel_is_disabled_forgets_nothing(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply(status=410)))
    async with world.store._database.writing() as connection:
        away = "CREATE TRIGGER away BEFORE UPDATE ON channel BEGIN SELECT RAISE(ABORT, 'away'); END"
        await connection.execute(sa.text(away))
    with pytest.raises(IntegrityError):
        await world.handler(world.job("ops"))
    async with world.store._database.writing() as connection:
        await connection.execute(sa.text("DROP TRIGGER away"))

    with pytest.raises(DeadLetter):
        await world.handler(world.job("ops", attempt=2))

    (stored,) = await world.store.channels("acme")
    assert (stored.channel.enabled, stored.disabled_reason) == (False, "HTTP 410")
    assert (await world.delivery("ops")).attempts == 1


async def test_a_disabled_channel_is_passed_over_and_the_job_is_done(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply(), enabled=False))

    await world.handler(world.job("ops"))

    assert world.site.requests == []
    assert (await world.delivery("ops")).error == "the channel is disabled"


async def test_a_channel_nobody_knows_is_dead_with_that_reason(world: World) -> None:
    await world.raise_alert(TTY)

    with pytest.raises(DeadLetter, match="who: there is no such channel"):
        await world.handler(world.job("who"))

    assert (await world.delivery("who")).state == "dead"


async def test_what_is_not_the_id_of_a_channel_keeps_nobody_else_from_being_told(world: World) -> None:
    await world.raise_alert(TTY)

    with pytest.raises(DeadLetter, match="not the id of a channel: \x00<b>") as caught:
        await world.handler(world.job("\x00<b>", "tty"))
    with pytest.raises(DeadLetter, match="not the id of a channel"):
        await world.handler(world.job("\x00<b>"))

    assert caught.value.reason == "invalid_payload"
    assert [part.envelope.id for part in await world.parts()] == [f"alert-{world.alert_id}:tty"]


async def test_a_signing_secret_that_is_not_set_kills_the_delivery_and_sends_nothing(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply(), secret_env="NOT_SET"))

    with pytest.raises(DeadLetter, match=r"signing_secret \(environment variable NOT_SET\) is not set here"):
        await world.handler(world.job("ops"))

    assert world.site.requests == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"alert_id": "nothere"}, "alert_not_found"),
        ({"alert_id": "\x00\ud800"}, "alert_not_found"),
        ({"alert_id": ""}, "alert_not_found"),
        ({"workspace_id": "other"}, "alert_not_found"),
        ({"channels": tuple(map(str, range(MAX_CHANNELS + 1)))}, "invalid_payload"),
    ],
)
async def test_a_payload_that_names_nothing_of_ours_is_a_dead_letter(
    world: World, payload: dict[str, Any], reason: str
) -> None:
    await world.raise_alert(TTY)

    with pytest.raises(DeadLetter) as caught:
        await world.handler(world.job("tty", **payload))

    assert caught.value.reason == reason
    assert world.written == []


async def test_a_redelivery_sends_nothing_that_was_accepted_before(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply()))
    await world.handler(world.job("ops"))

    await world.handler(world.job("ops", fence=2))

    assert len(world.site.requests) == 1


async def test_a_stale_worker_that_comes_late_sends_nothing(world: World) -> None:
    await world.raise_alert(world.hook("ops", [Reply(status=500), Reply()]))
    with pytest.raises(DeliveryFailed):
        await world.handler(world.job("ops", fence=7))

    with pytest.raises(StaleWorker):
        await world.handler(world.job("ops", fence=6))

    assert len(world.site.requests) == 1


async def test_a_worker_overtaken_in_the_middle_of_a_send_cannot_write_what_came_of_it(world: World) -> None:
    hold = asyncio.Event()
    await world.raise_alert(world.hook("ops", [Reply(status=404, hold=hold), Reply()]))
    overtaken = asyncio.create_task(world.handler(world.job("ops", fence=1)))
    await world.site.requests_arrived(1)

    await world.handler(world.job("ops", fence=2))
    hold.set()

    with pytest.raises(StaleWorker):
        await overtaken
    delivery = await world.delivery("ops")
    assert (delivery.state, delivery.http_status) == ("sent", 200)
    assert [one.outcome for one in delivery.history] == ["sent"]


async def test_an_endpoint_that_hangs_is_waited_for_until_the_deadline(world: World) -> None:
    never = asyncio.Event()
    await world.raise_alert(world.hook("stuck", Reply(hold=never)))

    with pytest.raises(DeliveryFailed, match="stuck: no answer within 1 s"):
        await world.handler(world.job("stuck"))


async def test_a_broken_connection_and_a_flood_end_as_attempts_like_any_other(world: World) -> None:
    async def cut(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    flood = Reply(status=500, chunks=[b"x" * 65536] * 64)
    await world.raise_alert(world.hook("cut", cut), world.hook("flood", flood))

    for name in ("cut", "flood"):
        with pytest.raises(DeliveryFailed):
            await world.handler(world.job(name))
        delivery = await world.delivery(name)
        assert delivery.state == "retrying"
        assert len(delivery.error or "") < 300


async def test_an_attempt_that_was_accepted_is_written_down_even_when_the_job_is_cancelled(
    world: World,
) -> None:
    class Slow:
        """The job is cancelled, as streamq does it, in the moment before this returns."""

        async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
            scope.cancel()
            return Sent()

    await world.raise_alert(TTY)
    handler = DispatchAlertHandler(world.store, world.broker, {"console": Slow()}, SystemClock())
    with anyio.CancelScope() as scope:
        await handler(world.job("tty"))

    assert (await world.delivery("tty")).state == "sent"


async def test_a_fault_in_a_sender_is_tried_again_and_says_nothing_of_what_it_held(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
            raise ZeroDivisionError("hunter2")

    await world.raise_alert(TTY)
    world.handler._senders = {"console": Broken()}

    with pytest.raises(DeliveryFailed, match="tty: a fault of ours: ZeroDivisionError"):
        await world.handler(world.job("tty"))

    assert "hunter2" not in ((await world.delivery("tty")).error or "")
    assert "sender_broke" in caplog.text


async def test_a_kind_of_channel_that_has_no_sender_here_is_dead(world: World) -> None:
    none: dict[ChannelType, Any] = {}
    await world.raise_alert(TTY)

    with pytest.raises(DeadLetter, match="nothing here sends to console channels"):
        await DispatchAlertHandler(world.store, world.broker, none, SystemClock())(world.job("tty"))


def test_message_ids_are_stable_dotless_fit_a_header_and_differ_wherever_the_ids_do() -> None:
    pairs = [
        ("a.b", "c"),
        ("a-b", "c"),
        ("a", "b:c"),
        ("a:b", "c"),
        ("a~2e~b", "c"),
        ("é", "\x00\n"),
        ("x" * 512, "c"),
        ("x" * 511, "c"),
        ("\ud800" * 512, "c"),
    ]

    names = [message_id(*pair) for pair in pairs]

    assert names == [message_id(*pair) for pair in pairs]
    assert len(set(names)) == len(pairs)
    for name in names:
        assert name.isascii()
        assert name.isprintable()
        assert "." not in name
        assert len(name) <= 401


async def test_a_channel_that_cannot_be_read_fails_for_its_reason_and_holds_up_no_other(world: World) -> None:
    await world.raise_alert(world.hook("ops", Reply(status=204)), TTY)
    async with world.store._database.writing() as connection:
        spoilt = sa.type_coerce('{"id": "ops", "type": "webhook", "colour": "red"}', sa.JSON)
        await connection.execute(
            sa.update(tables.channel).where(tables.channel.c.id == "ops").values(definition=spoilt)
        )

    await world.handler(world.job("tty"))
    with pytest.raises(DeliveryFailed, match="channel ops is stored in a form"):
        await world.handler(world.job("ops"))

    assert (await world.delivery("tty")).state == "sent"
    waiting = await world.delivery("ops")
    assert (waiting.state, waiting.attempts) == ("retrying", 1)
    assert "import it again" in (waiting.error or "")
    async with world.store._database.reading() as connection:
        seen = list(await connection.scalars(sa.select(tables.channel_state.c.channel_id)))
    assert "ops" not in seen  # nobody was asked

    await world.store.import_rules(
        RulesFile(workspace=Workspace(id="acme"), channels=[world.hook("ops", Reply(status=204))]),
        now=time.time(),
        first_due=lambda _: 0.0,
    )
    await world.handler(world.job("ops", attempt=2))
    assert (await world.delivery("ops")).state == "sent"
