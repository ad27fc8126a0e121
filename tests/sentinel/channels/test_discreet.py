"""What comes back from a channel never holds what was sent to open it."""

from __future__ import annotations

import time
import traceback

import pytest

from sentinel.channels import DiscreetSender, Sent, WebhookSender
from sentinel.credentials import ChannelCredentials, Concealer
from sentinel.errors import EndpointGone, SendFailed, SendLater, SendRefused
from sentinel.fetch.guard import NetworkPolicy, open_client
from sentinel.model import Channel, CredentialRef, Document
from sentinel.render import to_json
from tests.support.http import Reply, Site

TOKEN = "xoxb-17-very-secret"
ALERT = Document(
    alert_id="al_1", workspace_id="acme", rule_id="widget", kind="change", severity="warning",
    title="Widget: price fell", rule="Widget", link="", occurred_at=1_764_000_000.0,
)  # fmt: skip
CHANNEL = Channel(id="ops", type="webhook", credentials={"token": CredentialRef(env="TOKEN")})


class Careless:
    """A sender that repeats what it knows, as a service's own library may."""

    def __init__(self, concealer: Concealer, outcome: SendFailed | Sent) -> None:
        self.credentials = ChannelCredentials({"TOKEN": TOKEN}, concealer=concealer)
        self.outcome = outcome

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        (token,) = self.credentials.get(channel, "token")
        if isinstance(self.outcome, Sent):
            return self.outcome
        raise self.outcome from ValueError(f"cannot reach https://service.example/{token}")


@pytest.mark.parametrize("kind", [SendLater, SendRefused, EndpointGone])
async def test_a_failure_keeps_what_it_means_and_loses_the_secret(kind: type[SendFailed]) -> None:
    concealer = Concealer()
    failed = kind(f"HTTP 429: no {TOKEN} today", http_status=429, retry_after=7.0)

    with pytest.raises(SendFailed) as caught:
        await DiscreetSender(Careless(concealer, failed), concealer).send(CHANNEL, ALERT, message_id="m")

    told = caught.value
    assert (type(told), told.http_status, told.retry_after) == (kind, 429, 7.0)
    assert told.detail == str(told) == "HTTP 429: no *** today"
    assert TOKEN not in "".join(traceback.format_exception(told))


async def test_so_does_the_other_side_s_name_for_what_was_accepted() -> None:
    concealer = Concealer()
    sender = DiscreetSender(Careless(concealer, Sent(200, f"{TOKEN}/7")), concealer)

    assert await sender.send(CHANNEL, ALERT, message_id="m") == Sent(200, "***/7")


async def test_an_endpoint_that_echoes_the_request_s_address_is_not_repeated(site: Site) -> None:
    url = site.route("/in", Reply(status=400, body=f'bad: {{"url": "/in?key={TOKEN}"}}')) + f"?key={TOKEN}"
    concealer = Concealer()
    async with open_client(NetworkPolicy(allow_private=True)) as client:
        sender = DiscreetSender(WebhookSender(client, ChannelCredentials({}), to_json, time.time), concealer)

        with pytest.raises(SendRefused) as caught:
            await sender.send(Channel(id="ops", type="webhook", url=url), ALERT, message_id="m")

    assert caught.value.detail == 'HTTP 400: bad: {"url": "/in?key=***"}'
