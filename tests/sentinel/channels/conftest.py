"""What sends: every sender as the app builds it, with real credentials, through the guard."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from sentinel.channels import (
    DiscordSender,
    DiscreetSender,
    HttpExchange,
    NtfySender,
    PagerDutySender,
    Sender,
    SlackSender,
    TeamsSender,
    TelegramSender,
    WebhookSender,
)
from sentinel.channels.sender import DEADLINE
from sentinel.credentials import ChannelCredentials, Concealer
from sentinel.fetch.guard import NetworkPolicy, open_client
from sentinel.model import Channel, CredentialRef
from sentinel.render import (
    to_discord,
    to_json,
    to_ntfy,
    to_pagerduty,
    to_slack,
    to_teams,
    to_telegram,
)
from tests.support.receivers import Receiver

#: Seconds since the epoch, for whoever asks.
NOW = 1_764_000_000.0

Senders = Callable[..., Sender]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(NetworkPolicy(allow_private=True)) as client:
        yield client


@pytest.fixture
def environ() -> dict[str, str]:
    """Where the credentials of `leading_to` are."""
    return {}


@pytest.fixture
def leading_to(environ: dict[str, str]) -> Callable[..., Channel]:
    """A channel to a receiver whose credentials are named and set, as an operator does it."""

    def channel(receiver: Receiver, **changed: str) -> Channel:
        references = {}
        for name, value in (receiver.credentials | changed).items():
            variable = f"TEST_{receiver.kind}_{name}".upper()
            environ[variable] = value
            references[name] = CredentialRef(env=variable)
        return receiver.channel(credentials=references)

    return channel


@pytest.fixture
def sender_of(client: httpx.AsyncClient, environ: dict[str, str]) -> Senders:
    """The sender for a type of channel."""

    def sender(kind: str, *, deadline: float = DEADLINE) -> Sender:
        concealer = Concealer()
        credentials = ChannelCredentials(environ, concealer=concealer)
        http = HttpExchange(client, lambda: NOW, deadline=deadline)
        made: dict[str, Sender] = {
            "webhook": WebhookSender(client, credentials, to_json, time.time, deadline=deadline),
            "slack": SlackSender(http, credentials, to_slack),
            "discord": DiscordSender(http, credentials, to_discord),
            "teams": TeamsSender(http, credentials, to_teams),
            "telegram": TelegramSender(http, credentials, to_telegram),
            "ntfy": NtfySender(http, credentials, to_ntfy),
            "pagerduty": PagerDutySender(http, credentials, to_pagerduty),
        }
        return DiscreetSender(made[kind], concealer)

    return sender
