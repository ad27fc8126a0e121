"""One alert to a real mail server on loopback, through the guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sentinel.channels import EmailSender, Sent, SmtpServer
from sentinel.credentials import ChannelCredentials
from sentinel.errors import SendFailed, SendLater, SendRefused
from sentinel.fetch.guard import NetworkPolicy, mail_dialer
from sentinel.model import Channel, CredentialRef
from sentinel.render import to_email
from sentinel.render.samples import sample
from tests.support.certificates import Authority
from tests.support.receivers.smtp import LOGIN, PASSWORD, USER, Mailroom, mail_server

ALERT = sample("price")
OPS = "ops@example.com"
ANN = "ann@example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def room() -> AsyncIterator[Mailroom]:
    async with mail_server() as room:
        yield room


def sender(environ: Mapping[str, str] | str, **options: Any) -> EmailSender:
    """Sends by the credential's variable SMTP; a text is its value."""
    allowed = options.pop("allowed", True)
    environ = {"SMTP": environ} if isinstance(environ, str) else environ
    dial = mail_dialer(NetworkPolicy(allow_private=allowed))
    return EmailSender(dial, ChannelCredentials(environ), to_email, time.time, **options)


def plain(room: Mailroom, **options: Any) -> EmailSender:
    return sender(room.url(query="?tls=none"), **options)


def channel(*to: str, named: str | None = "SMTP", **fields: Any) -> Channel:
    credentials = {"smtp_url": CredentialRef(env=named)} if named else {}
    return Channel(
        **{
            "id": "mail",
            "type": "email",
            "to": list(to or (OPS,)),
            "sender": "Sentinel <alerts@sentinel.example.com>",
            "credentials": credentials,
            **fields,
        }
    )


async def failure(sender: EmailSender, channel: Channel) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        await sender.send(channel, ALERT, message_id="job-1:mail")
    assert PASSWORD not in str(caught.value)
    return caught.value


# --- accepted ---------------------------------------------------------------------------------------


async def test_an_accepted_mail_came_whole_with_both_parts(room: Mailroom) -> None:
    sent = await plain(room).send(channel(OPS, ANN), ALERT, message_id="job-1:mail")

    assert sent == Sent(provider_id="4Xy9Qb1")
    (post,) = room.posts
    assert (post.sender, post.recipients) == ("alerts@sentinel.example.com", [OPS, ANN])
    message = post.message
    assert message["Subject"] == f"[warning] {ALERT.title}"
    assert message["From"] == "Sentinel <alerts@sentinel.example.com>"
    assert message["To"] == f"{OPS}, {ANN}"
    assert message["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    for part in message.iter_parts():
        assert "149.99 EUR" in part.get_content()
        assert "129.99 EUR" in part.get_content()


async def test_each_try_of_a_delivery_is_the_same_message_and_each_delivery_another(room: Mailroom) -> None:
    mails = plain(room)
    for message_id in ("job-1:mail", "job-1:mail", "job-2:mail"):
        await mails.send(channel(), ALERT, message_id=message_id)

    first, again, other = (post.message for post in room.posts)
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
    assert first["References"] == other["References"], "one thread a rule"
    bodies = [post.raw.partition(b"\r\n\r\n")[2] for post in room.posts]
    assert bodies[0] == bodies[1]


async def test_starttls_comes_before_anything_is_said(authority: Authority) -> None:
    async with mail_server(authority.server_context("localhost"), login=True) as room:
        mails = sender(room.url(login=LOGIN), tls=authority.client_context())

        await mails.send(channel(), ALERT, message_id="m")

        assert room.logins == [(USER, PASSWORD)]
        assert [post.encrypted for post in room.posts] == [True]


async def test_smtps_is_encrypted_from_the_first_byte(authority: Authority) -> None:
    async with mail_server(authority.server_context("localhost"), implicit=True, login=True) as room:
        mails = sender(room.url("smtps", login=LOGIN), tls=authority.client_context())

        await mails.send(channel(), ALERT, message_id="m")

        assert [post.encrypted for post in room.posts] == [True]


async def test_the_deployments_server_serves_channels_that_name_none(room: Mailroom) -> None:
    mails = sender({}, default_url=room.url(query="?tls=none"))

    await mails.send(channel(named=None), ALERT, message_id="m")

    assert len(room.posts) == 1


async def test_of_several_recipients_those_that_are_refused_are_told_and_the_rest_have_it(
    room: Mailroom,
) -> None:
    room.refuses[ANN] = "550 5.1.1 no such user"

    sent = await plain(room).send(channel(OPS, ANN), ALERT, message_id="m")

    assert sent.note == "SMTP 550 for ann@example.com: 5.1.1 no such user"
    assert [post.recipients for post in room.posts] == [[OPS]]


async def test_names_and_domains_of_the_world_are_written_in_ascii(room: Mailroom) -> None:
    everywhere = channel("Jürgen Groß <jg@müller.example>", sender="Wächter <a@bücher.example>")

    await plain(room).send(everywhere, ALERT, message_id="m")

    (post,) = room.posts
    assert post.recipients == ["jg@xn--mller-kva.example"]
    assert post.message["To"].addresses[0].display_name == "Jürgen Groß"
    assert post.raw.isascii()


async def test_addresses_beyond_ascii_go_to_servers_that_take_them() -> None:
    async with mail_server() as room:
        await plain(room).send(channel("пошта@example.com"), ALERT, message_id="m")
        assert room.posts[0].recipients == ["пошта@example.com"]
    async with mail_server(utf8=False) as room:
        failed = await failure(plain(room), channel("пошта@example.com"))
        assert isinstance(failed, SendRefused)
        assert "SMTPUTF8" in failed.detail


async def test_while_a_password_is_rotated_the_old_one_serves_until_the_new_one_does(
    authority: Authority,
) -> None:
    async with mail_server(authority.server_context("localhost"), login=True) as room:
        environ = {"NEW": room.url(login="sentinel%40example.com:next@"), "OLD": room.url(login=LOGIN)}
        mails = sender(environ, tls=authority.client_context())

        await mails.send(channel(named="NEW,OLD"), ALERT, message_id="m")

        assert [password for _, password in room.logins][-1] == PASSWORD
        assert len(room.posts) == 1


# --- not accepted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("451 4.3.0 try later", SendLater),
        ("452 4.2.2 mailbox full", SendLater),
        ("421 4.3.2 shutting down", SendLater),
        ("550 5.7.1 spam", SendRefused),
        ("552 5.3.4 too big", SendRefused),
        ("554 5.6.0 no", SendRefused),
    ],
)
async def test_4xx_is_tried_again_and_5xx_is_dead_with_its_reason(
    room: Mailroom, answer: str, kind: type[SendFailed]
) -> None:
    room.answers = [answer]

    failed = await failure(plain(room), channel())

    assert type(failed) is kind
    assert failed.detail == f"SMTP {answer[:3]}: {answer[4:]}"


async def test_a_greylisting_server_has_it_on_the_second_try(room: Mailroom) -> None:
    room.greylists = True
    mails = plain(room)

    failed = await failure(mails, channel())
    assert isinstance(failed, SendLater)
    assert failed.detail == "SMTP 450 for ops@example.com: 4.2.0 greylisted, come again"

    await mails.send(channel(), ALERT, message_id="job-1:mail")
    assert len(room.posts) == 1


async def test_where_every_recipient_is_refused_one_that_may_pass_keeps_it_alive(room: Mailroom) -> None:
    room.refuses = {OPS: "550 no such user", ANN: "450 busy"}
    assert isinstance(await failure(plain(room), channel(OPS, ANN)), SendLater)

    room.refuses[ANN] = "551 moved away"
    failed = await failure(plain(room), channel(OPS, ANN))
    assert type(failed) is SendRefused
    assert "no such user" in failed.detail
    assert "moved away" in failed.detail


async def test_a_connection_that_ends_in_place_of_an_answer_is_tried_again(room: Mailroom) -> None:
    room.drops = True

    failed = await failure(plain(room), channel())

    assert isinstance(failed, SendLater)
    assert failed.detail == "the mail server hung up"


async def test_a_server_that_takes_its_time_is_left_at_the_deadline(room: Mailroom) -> None:
    room.holds = asyncio.Event()

    failed = await failure(plain(room, deadline=0.5), channel())

    assert isinstance(failed, SendLater)
    assert failed.detail == "the mail server took longer than 0.5 s"


async def test_a_wrong_password_is_dead_and_told_without_it(authority: Authority) -> None:
    async with mail_server(authority.server_context("localhost"), login=True) as room:
        url = room.url(login="sentinel%40example.com:oh-so-secret@")
        failed = await failure(sender(url, tls=authority.client_context()), channel())

    assert isinstance(failed, SendRefused)
    assert "the mail server refuses the user: SMTP 535: 5.7.8 no *** for" in failed.detail
    assert "oh-so-secret" not in failed.detail


async def test_a_server_without_starttls_hears_no_password(room: Mailroom) -> None:
    failed = await failure(sender(room.url(login=LOGIN)), channel())

    assert isinstance(failed, SendLater)
    assert "offers no STARTTLS" in failed.detail
    assert room.logins == []
    assert room.posts == []


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("trusted", [True, False], ids=["another name", "another authority"])
async def test_a_certificate_that_is_not_the_servers_ends_it_before_anything_is_said(
    authority: Authority, tmp_path: Path, *, implicit: bool, trusted: bool
) -> None:
    context = authority.server_context("elsewhere.test" if trusted else "localhost")
    async with mail_server(context, implicit=implicit, login=True) as room:
        url = room.url("smtps" if implicit else "smtp", login=LOGIN)
        trust = (authority if trusted else Authority(tmp_path)).client_context()
        failed = await failure(sender(url, tls=trust), channel())

        assert isinstance(failed, SendLater)
        assert "certificate is not valid" in failed.detail
        assert (room.logins, room.posts) == ([], [])


async def test_nobody_there_is_tried_again(room: Mailroom) -> None:
    url = room.url(query="?tls=none").replace(str(room.port), "1")  # tcpmux: a service
    assert isinstance(await failure(sender(url), channel()), SendRefused)

    async with mail_server() as gone:
        pass
    failed = await failure(plain(gone), channel())
    assert isinstance(failed, SendLater)
    assert failed.detail == "no connection to the mail server could be made"


# --- the guard --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254"])
async def test_private_hosts_are_refused_as_those_of_webhooks_are(host: str) -> None:
    failed = await failure(sender(f"smtp://{host}:587", allowed=False), channel())

    assert isinstance(failed, SendRefused)
    assert failed.detail.startswith("FETCH_REFUSED_ADDRESS: ")


@pytest.mark.parametrize("port", [22, 6379, 5432, 80])
async def test_only_ports_of_mail_servers_are_dialled(port: int) -> None:
    assert isinstance(
        await failure(sender(f"smtp://mail.example.com:{port}", allowed=False), channel()), SendRefused
    )


# --- what is wrong with the channel -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://mail.example.com", "it begins with smtp:// or smtps://"),
        ("smtp://", "it names no host"),
        ("smtp://mail.example.com:x", "it is not a URL"),
        ("smtp://mail.example.com/path", "nothing but ?tls=none may follow the host"),
        ("smtp://mail.example.com?tls=off", "the only option is ?tls=none"),
        ("smtps://mail.example.com?tls=none", "smtps:// takes no options"),
        ("smtp://u:a%0d%0ab@mail.example.com", "control characters in user or password"),
    ],
)
async def test_a_url_that_is_none_is_told_and_not_quoted(url: str, why: str) -> None:
    failed = await failure(sender(url), channel())

    assert isinstance(failed, SendRefused)
    assert failed.detail == f"the credential smtp_url: {why}; nothing was sent"


async def test_without_a_server_nothing_is_sent() -> None:
    failed = await failure(sender({}), channel(named=None))

    assert isinstance(failed, SendRefused)
    assert "SENTINEL_SMTP_URL" in failed.detail


@pytest.mark.parametrize(
    "fields",
    [
        {"to": []},
        {"sender": None},
        {"to": ["ops@example.com\r\nBcc: x@example.com"]},
        {"to": ["ops@example.com> x:y"]},
        {"sender": '"a" <b@c.example>\nX: y'},
    ],
)
async def test_addresses_that_are_none_send_nothing(room: Mailroom, fields: dict[str, Any]) -> None:
    failed = await failure(plain(room), msgspec.structs.replace(channel(), **fields))

    assert isinstance(failed, SendRefused)
    assert room.connections == 0


def test_a_server_does_not_show_its_password() -> None:
    server = SmtpServer.parse(f"smtps://{LOGIN}mail.example.com")

    assert (server.port, server.user, server.password) == (465, USER, PASSWORD)
    assert "hunter2" not in repr(server)
