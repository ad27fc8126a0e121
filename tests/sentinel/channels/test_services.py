"""One alert to each chat service, as loopback servers behave like it: what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sentinel.channels import Sender, Sent
from sentinel.errors import EndpointGone, SendFailed, SendLater, SendRefused
from sentinel.model import Channel, CredentialRef, Document
from tests.support import receivers
from tests.support.http import Reply
from tests.support.receivers import RECEIVERS, Discord, Ntfy, PagerDuty, Receiver, Slack, Teams, Telegram

SERVICES = [kind for kind in RECEIVERS if kind != "webhook"]
ALERT = Document(
    alert_id="7",
    workspace_id="acme",
    rule_id="widget",
    kind="change",
    severity="warning",
    title="Widget: price fell",
    rule="Widget",
    link="https://shop.example.com/widget",
    occurred_at=1_764_000_000.0,
)
Senders = Callable[..., Sender]
LeadingTo = Callable[..., Channel]


async def failure(sender: Sender, channel: Channel) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        await sender.send(channel, ALERT, message_id="job-1:ops")
    return caught.value


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_alert_is_accepted_and_known_by_the_same_id_on_each_try(
    kind: str, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(RECEIVERS[kind]) as service:
        channel = leading_to(service)
        for _ in range(2):
            sent = await sender_of(kind).send(channel, ALERT, message_id="job-1:ops")

        assert sent.http_status in (200, 202)
        assert service.refused == []
        assert list(service.ids.values()) == [2]
        assert [request.headers["webhook-id"] for request in service.requests] == ["job-1:ops"] * 2
        assert "cookie" not in service.requests[0].headers


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Slack, None),
        (Discord, "900000000001"),
        (Teams, "run000001"),
        (Telegram, "1"),
        (Ntfy, "ntfy00000001"),
        (PagerDuty, "sentinel/acme/widget/alert/7"),
    ],
)
async def test_the_other_sides_name_for_the_message_is_kept(
    kind: type[Receiver], name: str | None, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(kind) as service:
        sent = await sender_of(kind.kind).send(leading_to(service), ALERT, message_id="m")

    assert sent.provider_id == name


@pytest.mark.parametrize(
    ("kind", "error", "meant"),
    [
        (Slack, "invalid_payload", SendRefused),
        (Slack, "action_prohibited", SendRefused),
        (Slack, "invalid_token", SendRefused),
        (Slack, "channel_not_found", SendRefused),
        (Slack, "no_service", EndpointGone),
        (Slack, "channel_is_archived", EndpointGone),
        (Slack, "rollup_error", SendLater),
        (Discord, "unknown_webhook", EndpointGone),
        (Discord, "invalid_webhook_token", SendRefused),
        (Discord, "invalid_form_body", SendRefused),
        (Teams, "unauthorized", SendRefused),
        (Teams, "not_found", SendRefused),
        (Teams, "bad_request", SendRefused),
        (Telegram, "unauthorized", SendRefused),
        (Telegram, "chat_not_found", SendRefused),
        (Telegram, "blocked", EndpointGone),
        (Telegram, "kicked", EndpointGone),
        (Telegram, "deactivated", EndpointGone),
        (Telegram, "no_rights", SendRefused),
        (Telegram, "upgraded", SendRefused),
        (Ntfy, "unauthorized", SendRefused),
        (Ntfy, "forbidden", SendRefused),
        (Ntfy, "invalid_json", SendRefused),
        (Ntfy, "quota", SendLater),
        (PagerDuty, "invalid_event", SendRefused),
        (PagerDuty, "invalid_key", SendRefused),
        (PagerDuty, "server_error", SendLater),
    ],
)
async def test_a_documented_error_is_never_later_or_never_again(
    kind: type[Receiver], error: str, meant: type[SendFailed], sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(kind) as service:
        service.trouble(service.documented[error])
        failed = await failure(sender_of(kind.kind), leading_to(service))

    assert type(failed) is meant
    assert failed.http_status == service.documented[error].status
    assert failed.detail.startswith(f"HTTP {failed.http_status}: ")


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(Slack, 7), (Discord, 7), (Discord, 0.35), (Teams, 7), (Telegram, 7), (Ntfy, 7), (PagerDuty, 7)],
)
async def test_too_many_requests_come_again_when_the_service_says(
    kind: type[Receiver], seconds: float, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(kind) as service:
        service.trouble(service.rate_limited(seconds))
        failed = await failure(sender_of(kind.kind), leading_to(service))

    assert isinstance(failed, SendLater)
    assert (failed.http_status, failed.retry_after) == (429, seconds)


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("trouble", [receivers.dropped, receivers.silent, receivers.slow(30)])
async def test_no_answer_is_tried_again(
    kind: str, trouble: Any, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(RECEIVERS[kind]) as service:
        service.trouble(trouble)
        failed = await failure(sender_of(kind, deadline=0.3), leading_to(service))

    assert isinstance(failed, SendLater)
    assert failed.http_status is None


@pytest.mark.parametrize("kind", SERVICES)
async def test_no_secret_goes_to_a_server_that_cannot_show_who_it_is(
    kind: str, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(RECEIVERS[kind], broken_tls=True) as service:
        failed = await failure(sender_of(kind), leading_to(service))

        assert isinstance(failed, SendLater)
        assert failed.detail.startswith("no secure connection could be made: ")
        assert service.requests == []


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_redirect_is_not_followed_with_the_secret(
    kind: str, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(RECEIVERS[kind]) as service:
        service.trouble(receivers.redirected("/elsewhere"))
        failed = await failure(sender_of(kind), leading_to(service))

        assert isinstance(failed, SendRefused)
        assert len(service.requests) == 1


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_answer_that_repeats_the_request_gives_no_secret_away(
    kind: str, sender_of: Senders, leading_to: LeadingTo, caplog: pytest.LogCaptureFixture
) -> None:
    async with receivers.opened(RECEIVERS[kind]) as service:
        channel = leading_to(service)
        said = " ".join(service.credentials.values())
        service.trouble(Reply(400, f"cannot POST {said.removeprefix(service.site.url)}"))
        failed = await failure(sender_of(kind), channel)

    assert "cannot POST ***" in failed.detail
    for value in service.credentials.values():
        secret = value.rpartition("/")[2].rpartition("=")[2]
        assert secret not in f"{failed!r} {failed} {failed.detail} {caplog.text}"


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_answer_of_nonsense_is_no_surprise(
    kind: str, sender_of: Senders, leading_to: LeadingTo
) -> None:
    nonsense = [
        b"[" * 100_000,
        b'{"retry_after": "soon", "parameters": 5}',
        b"\xff\xfe",
        b'{"id": ' + b"9" * 5000 + b"}",
    ]
    for body in nonsense:
        async with receivers.opened(RECEIVERS[kind]) as service:
            service.trouble(Reply(429, body), Reply(200, body))
            channel = leading_to(service)

            failed = await failure(sender_of(kind), channel)
            sent = await sender_of(kind).send(channel, ALERT, message_id="m")

        assert (type(failed), failed.retry_after) == (SendLater, None)
        assert sent == Sent(http_status=200)


@pytest.mark.parametrize("kind", [kind for kind in SERVICES if kind != "pagerduty"])
async def test_while_a_secret_is_rotated_the_older_one_is_tried_too(
    kind: str, environ: dict[str, str], sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(RECEIVERS[kind]) as service:
        (name,) = service.credentials
        known = service.credentials[name]
        unknown = known.replace("0123456789", "9876543210")
        channel = leading_to(service)
        environ["NEXT"] = unknown
        (reference,) = channel.credentials.values()
        assert isinstance(reference, CredentialRef)
        both = Channel(
            id="ops",
            type=channel.type,
            url=channel.url,
            chat_id=channel.chat_id,
            topic=channel.topic,
            credentials={name: CredentialRef(env=f"NEXT,{reference.env}")},
        )

        sent = await sender_of(kind).send(both, ALERT, message_id="m")

        assert sent.http_status in (200, 202)
        assert (len(service.requests), len(service.accepted)) == (2, 1)


@pytest.mark.parametrize("kind", [kind for kind in SERVICES if kind != "ntfy"])
async def test_without_its_credential_nothing_is_sent(kind: str, sender_of: Senders) -> None:
    async with receivers.opened(RECEIVERS[kind]) as service:
        failed = await failure(sender_of(kind), service.channel())

        assert isinstance(failed, SendRefused)
        assert "nothing was sent" in failed.detail
        assert service.requests == []


@pytest.mark.parametrize("token", ["../../etc", "1:a/../../x", "123:abc?x=y", "hunter2", "1:ä"])
async def test_what_is_no_bots_token_never_becomes_a_part_of_a_path(
    token: str, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(Telegram) as service:
        failed = await failure(sender_of("telegram"), leading_to(service, bot_token=token))

        assert isinstance(failed, SendRefused)
        assert token not in failed.detail
        assert service.requests == []


@pytest.mark.parametrize("kind", ["slack", "discord", "teams"])
@pytest.mark.parametrize(
    "url",
    [
        "not a url",
        "ftp://hooks.example.com/x",
        "http://user:hunter2hunter2@a.example/",
        "http://a:hunter2hunter2/",
    ],
)
async def test_a_hook_that_is_no_address_is_refused_and_not_quoted(
    kind: str, url: str, sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(RECEIVERS[kind]) as service:
        failed = await failure(sender_of(kind), leading_to(service, url=url))

    assert isinstance(failed, SendRefused)
    assert "hunter2" not in failed.detail


async def test_trouble_and_its_recovery_open_and_close_one_incident(
    sender_of: Senders, leading_to: LeadingTo
) -> None:
    def told(kind: Any, alert_id: str) -> Document:
        return Document(
            alert_id=alert_id,
            workspace_id="acme",
            rule_id="widget",
            kind=kind,
            severity="critical",
            title="Widget",
            rule="Widget",
            link="",
            occurred_at=0.0,
        )

    async with receivers.opened(PagerDuty) as service:
        channel, sender = leading_to(service), sender_of("pagerduty")
        for kind, number in (("health", "1"), ("health", "2"), ("change", "3"), ("recovery", "4")):
            await sender.send(channel, told(kind, number), message_id=f"m{number}")

        assert service.open == {"sentinel/acme/widget/alert/3"}


async def test_discord_is_asked_for_the_message_also_where_the_hook_has_a_query(
    sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(Discord) as service:
        url = service.credentials["url"] + "?thread_id=5"
        await sender_of("discord").send(leading_to(service, url=url), ALERT, message_id="m")

        assert service.requests[0].query == {"thread_id": "5", "wait": "true"}


async def test_telegram_is_told_the_chat_and_shows_no_preview(
    sender_of: Senders, leading_to: LeadingTo
) -> None:
    async with receivers.opened(Telegram) as service:
        await sender_of("telegram").send(leading_to(service), ALERT, message_id="m")

        payload = json.loads(service.requests[0].body)
        assert payload["chat_id"] == "-1001234567890"
        assert payload["link_preview_options"] == {"is_disabled": True}
