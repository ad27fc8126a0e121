"""One alert to a real endpoint on loopback, through the guard."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from itertools import repeat

import httpx
import pytest
from standardwebhooks import Webhook

from sentinel.channels import Sent, WebhookSender
from sentinel.channels.http import MAX_ANSWER
from sentinel.credentials import ChannelCredentials
from sentinel.errors import EndpointGone, SendFailed, SendLater, SendRefused
from sentinel.fetch.guard import NetworkPolicy, open_client
from sentinel.model import Channel, CredentialRef, Document
from sentinel.render import to_json
from tests.support.http import Reply, Request, Site

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SECRETS = {"OPS_SECRET": SECRET, "OPS_NEXT": NEXT, "WEAK": "whsec_aHVudGVyMg==", "EMPTY": ""}
ALERT = Document(
    alert_id="al_1",
    workspace_id="acme",
    rule_id="widget",
    kind="change",
    severity="warning",
    title="Widget: price fell",
    rule="Widget",
    link="https://shop.example.com/widget",
    occurred_at=1_764_000_000.0,
)
Make = Callable[..., WebhookSender]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(NetworkPolicy(allow_private=True)) as client:
        yield client


@pytest.fixture
def sender(client: httpx.AsyncClient) -> WebhookSender:
    return WebhookSender(client, ChannelCredentials(SECRETS), to_json, time.time)


def hook(url: str, names: str | None = "OPS_SECRET") -> Channel:
    return Channel(id="ops", type="webhook", url=url, secret_env=names)


async def failure(sender: WebhookSender, channel: Channel) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        await sender.send(channel, ALERT, message_id="job-1:ops")
    return caught.value


async def test_an_accepted_alert_came_whole_and_signed(site: Site, sender: WebhookSender) -> None:
    url = site.route("/in", Reply(status=202))

    sent = await sender.send(hook(url), ALERT, message_id="job-1:ops")

    assert sent == Sent(http_status=202)
    (request,) = site.requests
    assert (request.method, request.body) == ("POST", to_json(ALERT))
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "job-1:ops"
    assert Webhook(SECRET).verify(request.body, dict(request.headers))["type"] == "alert.change"


async def test_while_rotating_every_named_secret_signs(site: Site, sender: WebhookSender) -> None:
    url = site.route("/in", Reply())

    await sender.send(hook(url, "OPS_NEXT,OPS_SECRET"), ALERT, message_id="m")

    for secret in (SECRET, NEXT):
        Webhook(secret).verify(site.requests[0].body, dict(site.requests[0].headers))


async def test_an_address_may_be_a_secret(site: Site, client: httpx.AsyncClient) -> None:
    url = site.route("/in", Reply())
    sender = WebhookSender(client, ChannelCredentials({"HOOK": f"{url}?key=hunter2"}), to_json, time.time)

    await sender.send(
        Channel(id="ops", type="webhook", credentials={"url": CredentialRef(env="HOOK")}),
        ALERT,
        message_id="m",
    )

    assert site.requests[0].target == "/in?key=hunter2"


async def test_a_channel_that_names_no_secret_is_sent_unsigned(site: Site, sender: WebhookSender) -> None:
    url = site.route("/in", Reply())

    await sender.send(hook(url, None), ALERT, message_id="m")

    assert "webhook-signature" not in site.requests[0].headers


@pytest.mark.parametrize("names", ["NOT_SET", "EMPTY", "WEAK", "OPS_SECRET,NOT_SET"])
async def test_a_secret_that_cannot_be_used_means_nothing_is_sent(
    site: Site, sender: WebhookSender, names: str
) -> None:
    failed = await failure(sender, hook(site.route("/in", Reply()), names))

    assert isinstance(failed, SendRefused)
    assert "the credential signing_secret" in failed.detail
    assert names == "WEAK" or f"(environment variable {names.rpartition(',')[2]})" in failed.detail
    assert "nothing was sent" in failed.detail
    assert "aHVudGVyMg" not in str(failed)
    assert site.connections == 0


async def test_a_redirect_is_a_failure_and_is_not_followed(site: Site, sender: WebhookSender) -> None:
    site.route("/target", Reply())
    url = site.route("/in", Reply(status=302, headers={"Location": "/target"}))

    failed = await failure(sender, hook(url))

    assert isinstance(failed, SendRefused)
    assert failed.http_status == 302
    assert site.requests_to("/target") == []


async def test_an_endpoint_may_say_when_to_come_again(site: Site, sender: WebhookSender) -> None:
    url = site.route("/in", Reply(status=429, headers={"Retry-After": "7"}, body="slow down"))

    failed = await failure(sender, hook(url))

    assert isinstance(failed, SendLater)
    assert (failed.http_status, failed.retry_after, failed.detail) == (429, 7.0, "HTTP 429: slow down")


async def test_gone_is_gone(site: Site, sender: WebhookSender) -> None:
    assert isinstance(await failure(sender, hook(site.route("/in", Reply(status=410)))), EndpointGone)


async def test_an_endpoint_that_says_nothing_is_left_at_the_deadline(
    site: Site, client: httpx.AsyncClient
) -> None:
    never = asyncio.Event()
    url = site.route("/in", Reply(hold=never))
    sender = WebhookSender(client, ChannelCredentials(SECRETS), to_json, time.time, deadline=0.2)

    failed = await failure(sender, hook(url))

    assert isinstance(failed, SendLater)
    assert failed.detail == "no answer within 0.2 s"


async def test_a_2xx_counts_however_its_body_ends(site: Site, client: httpx.AsyncClient) -> None:
    url = site.route("/in", Reply(chunks=repeat(b"x" * 4096), chunk_delay=0.01))
    sender = WebhookSender(client, ChannelCredentials(SECRETS), to_json, time.time, deadline=5)

    assert await sender.send(hook(url), ALERT, message_id="m") == Sent(http_status=200)


async def test_of_an_endless_answer_the_beginning_is_read(site: Site, sender: WebhookSender) -> None:
    sent = 0

    def flood() -> object:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1024

    url = site.route("/in", Reply(status=500, chunks=flood()))  # type: ignore[arg-type] # a generator is an iterator

    failed = await failure(sender, hook(url))

    assert failed.http_status == 500
    assert len(failed.detail) < 300
    # The rest is what the sockets between had taken in already.
    assert sent * 1024 < MAX_ANSWER + 16 * 1024 * 1024


async def reset(request: Request, writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def nonsense(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("trouble", [reset, nonsense])
async def test_a_broken_connection_is_tried_again(
    site: Site, sender: WebhookSender, trouble: Callable[[Request, asyncio.StreamWriter], None]
) -> None:
    failed = await failure(sender, hook(site.route("/in", trouble)))  # type: ignore[arg-type] # both are async

    assert isinstance(failed, SendLater)
    assert failed.http_status is None


async def test_a_closed_port_and_an_unknown_name_are_tried_again(sender: WebhookSender) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert isinstance(await failure(sender, hook(f"http://127.0.0.1:{port}/in")), SendLater)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/in",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://user:hunter2@hooks.example.com/",
        "ftp://hooks.example.com/",
        "http://",
        "not a url",
        "http://a.example:99999/",
        None,
    ],
)
async def test_what_the_guard_refuses_is_never_tried_again(url: str | None) -> None:
    async with open_client(NetworkPolicy()) as client:
        sender = WebhookSender(client, ChannelCredentials(SECRETS), to_json, time.time)

        failed = await failure(sender, Channel(id="ops", type="webhook", url=url))

    assert isinstance(failed, SendRefused)
    assert "hunter2" not in str(failed)


async def test_neither_query_nor_secret_nor_page_cookies_get_where_they_do_not_belong(
    site: Site, sender: WebhookSender, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="sentinel")
    url = site.route("/in", Reply(status=404, headers={"Set-Cookie": "a=b"}, body="who?"))

    failed = await failure(sender, hook(url + "?token=hunter2"))
    await failure(sender, hook(url + "?token=hunter2"))

    assert failed.detail == "HTTP 404: who?"
    assert "hunter2" not in caplog.text
    assert "cookie" not in site.requests[1].headers
    assert json.loads(site.requests[0].body) == json.loads(site.requests[1].body)
