"""A mail server on loopback, with the troubles of real ones."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER = "sentinel@example.com"
PASSWORD = "hunter2:/@?"
#: As a URL writes them.
LOGIN = "sentinel%40example.com:hunter2%3A%2F%40%3F@"


@dataclass
class Post:
    """A mail that was taken."""

    sender: str
    recipients: list[str]
    raw: bytes
    options: list[str]
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class Mailroom:
    """What the server does, and what came of it; all of it may be changed while it runs."""

    posts: list[Post] = field(default_factory=list)
    #: Recipient -> answer, as `550 5.1.1 no such user`.
    refuses: dict[str, str] = field(default_factory=dict)
    #: Answers to DATA, used up one by one; then mails are taken.
    answers: list[str] = field(default_factory=list)
    #: Refuse each recipient the first time it is named.
    greylists: bool = False
    #: Hang up in place of an answer to DATA, the mail being taken.
    drops: bool = False
    #: Answer DATA when this is set.
    holds: asyncio.Event | None = None
    logins: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _met: set[str] = field(default_factory=set)

    def url(self, scheme: str = "smtp", *, login: str = "", query: str = "") -> str:
        return f"{scheme}://{login}localhost:{self.port}{query}"

    # --- aiosmtpd asks for these by name ---

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuses:
            return self.refuses[address]
        if self.greylists and address not in self._met:
            self._met.add(address)
            return "450 4.2.0 greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        if self.holds is not None:
            await self.holds.wait()
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        assert envelope.mail_from is not None
        self.posts.append(
            Post(
                envelope.mail_from,
                list(envelope.rcpt_tos),
                envelope.content,
                list(envelope.mail_options),
                _is_encrypted(server),
            )
        )
        if self.drops:
            assert server.transport is not None
            server.transport.abort()
        return "250 2.0.0 Ok: queued as 4Xy9Qb1"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        login = (data.login.decode(), data.password.decode())
        self.logins.append(login)
        if login == (USER, PASSWORD):
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=f"535 5.7.8 no {login[1]} for {login[0]}")


@contextlib.asynccontextmanager
async def mail_server(
    tls: ssl.SSLContext | None = None, *, implicit: bool = False, login: bool = False, utf8: bool = True
) -> AsyncIterator[Mailroom]:
    """A server on this loop. `tls`: STARTTLS, or encrypted from the first byte (`implicit`)."""
    room = Mailroom()

    transports: list[asyncio.BaseTransport] = []

    class Remembered(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)
            super().connection_made(transport)

    def serve() -> SMTP:
        room.connections += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of passwords in the clear: it does not see the TLS below it
            return Remembered(
                room,
                hostname="mail.test",
                enable_SMTPUTF8=utf8,
                tls_context=None if implicit else tls,
                require_starttls=tls is not None and not implicit,
                authenticator=room.authenticate if login else None,
                auth_required=login,
                auth_require_tls=not implicit,
                loop=asyncio.get_running_loop(),
            )

    server = await asyncio.get_running_loop().create_server(
        serve, "127.0.0.1", 0, ssl=tls if implicit else None
    )
    room.port = server.sockets[0].getsockname()[1]
    try:
        yield room
    finally:
        if room.holds is not None:
            room.holds.set()
        server.close()
        for transport in transports:
            assert isinstance(transport, asyncio.WriteTransport)
            with contextlib.suppress(AttributeError):  # one that is closed has lost its protocol (3.11.2)
                transport.abort()
        for _ in range(3):  # turns of the loop in which transports close
            await asyncio.sleep(0)


def _is_encrypted(server: SMTP) -> bool:
    assert server.transport is not None
    return server.transport.get_extra_info("sslcontext") is not None
