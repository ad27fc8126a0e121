"""Alerts by e-mail, over SMTP: encrypted, to a server whose certificate is checked.

Where: the credential `smtp_url`, or the deployment's SENTINEL_SMTP_URL.

    smtp://user:password@host:587    STARTTLS, or nothing is sent
    smtps://user:password@host:465   TLS from the first byte
    smtp://host:25?tls=none          in the clear: to this machine or a private network only
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib
import anyio
import msgspec

from sentinel.channels import answers
from sentinel.channels.sender import DEADLINE, Credentials, Sent
from sentinel.errors import CheckFailure, SendFailed, SendLater, SendRefused
from sentinel.model import Channel, Document
from sentinel.settings import MASK

#: The credential.
SMTP_URL: Final = "smtp_url"
#: Seconds that saying goodbye may take once the message was accepted.
QUIT_WAIT: Final = 1.0

_NEVER: Final = frozenset(("FETCH_REFUSED_ADDRESS", "FETCH_BAD_URL"))
_PORTS: Final = {"smtp": 587, "smtps": 465}
#: What a server calls the message it took, in the words of the common ones.
_QUEUED: Final = re.compile(r"\b(?:queued as |id=)<?([A-Za-z0-9._@+/=-]{4,120})", re.IGNORECASE)

#: Host and port -> a connected socket, through the guard. Raises CheckFailure, OSError.
Dial = Callable[[str, int], Awaitable[socket.socket]]


class Mail(Protocol):
    """An e-mail, ready to be handed over."""

    @property
    def sender(self) -> str:
        """The envelope's."""

    @property
    def recipients(self) -> Sequence[str]:
        """The envelope's."""

    @property
    def message(self) -> bytes:
        """Headers and body."""

    @property
    def utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 may have it."""


class ToEmail(Protocol):
    """Makes the mail of an alert."""

    def __call__(self, channel: Channel, document: Document, *, message_id: str, now: float) -> Mail:
        """Raises ValueError where the channel's addresses cannot be used."""


class SmtpServer(msgspec.Struct, frozen=True):
    """Which server, and as whom."""

    host: str
    port: int
    #: starttls: on a plain connection, before anything is said. implicit: from the first byte.
    tls: str
    user: str | None
    password: str

    def __repr__(self) -> str:
        return f"<SmtpServer {self.host}:{self.port} {self.tls}>"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What a server may repeat and nobody may tell: the password, as it is and as AUTH sends it."""
        if not self.password:
            return ()
        forms = (self.password, f"\0{self.user}\0{self.password}")
        return (self.password, *(base64.b64encode(form.encode()).decode() for form in forms))

    @classmethod
    def parse(cls, text: str) -> SmtpServer:
        """The server that a URL names. Raises ValueError, which does not quote it."""
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("it is not a URL") from None
        if parts.scheme not in _PORTS:
            raise ValueError("it begins with smtp:// or smtps://")
        if not host:
            raise ValueError("it names no host")
        if parts.path not in ("", "/") or parts.fragment:
            raise ValueError("nothing but ?tls=none may follow the host")
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password or "")
        if not (user or "").isprintable() or not password.isprintable():
            raise ValueError("control characters in user or password")
        return cls(host, port or _PORTS[parts.scheme], _tls(parts), user, password)


def _tls(parts: SplitResult) -> str:
    if parts.scheme == "smtps":
        if parts.query:
            raise ValueError("smtps:// takes no options")
        return "implicit"
    if parts.query not in ("", "tls=starttls", "tls=none"):
        raise ValueError("the only option is ?tls=none")
    return "none" if parts.query == "tls=none" else "starttls"


class EmailSender:
    """Hands mails to an SMTP server, one connection a mail."""

    def __init__(
        self,
        dial: Dial,
        credentials: Credentials,
        to_email: ToEmail,
        now: Callable[[], float],
        *,
        default_url: str | None = None,
        tls: ssl.SSLContext | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        """`now` gives seconds since the epoch; `default_url` is for channels without the credential.

        `tls` says whom to trust: the system's authorities where it is None.
        """
        self._dial = dial
        self._credentials = credentials
        self._to_email = to_email
        self._now = now
        self._default_url = default_url
        self._tls = tls or ssl.create_default_context()
        self._deadline = deadline

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:
        """See Sender."""
        servers = self._servers(channel)
        try:
            mail = self._to_email(channel, document, message_id=message_id, now=self._now())
        except ValueError as exc:
            raise SendRefused(f"the channel's addresses: {exc}") from exc
        try:
            with anyio.fail_after(self._deadline):
                return await self._to_first(servers, mail)
        except TimeoutError as exc:
            raise SendLater(f"the mail server took longer than {self._deadline:g} s") from exc

    def _servers(self, channel: Channel) -> list[SmtpServer]:
        """Several while a password is rotated: the newest first."""
        urls = self._credentials.get(channel, SMTP_URL) or filter(None, (self._default_url,))
        try:
            servers = [SmtpServer.parse(url) for url in urls]
        except ValueError as exc:
            raise SendRefused(f"the credential {SMTP_URL}: {exc}; nothing was sent") from exc
        if not servers:
            raise SendRefused(
                f"no mail server: neither the credential {SMTP_URL} nor SENTINEL_SMTP_URL is set"
            )
        return servers

    async def _to_first(self, servers: Sequence[SmtpServer], mail: Mail) -> Sent:
        """To the first server that knows us."""
        for server in servers[:-1]:
            try:
                return await self._to(server, mail)
            except _NotKnown:
                continue
        return await self._to(servers[-1], mail)

    async def _to(self, server: SmtpServer, mail: Mail) -> Sent:
        """Raises SendLater, SendRefused, TimeoutError."""
        connected = await self._connected(server)
        # The name we give is the sender's domain: this machine's own is nobody's business.
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=None,
            sock=connected,
            use_tls=server.tls == "implicit",
            start_tls=False,
            tls_context=self._tls,
            local_hostname=mail.sender.rpartition("@")[2],
            timeout=self._deadline,
        )
        try:
            return await self._hand_over(client, server, mail)
        except aiosmtplib.SMTPException as exc:
            raise _meaning(exc, server.secrets) from exc
        except ssl.SSLError as exc:
            raise SendLater(_tls_words(exc)) from exc
        except OSError as exc:  # after SMTPException and SSLError, some of which are both
            raise SendLater("the connection to the mail server broke") from exc
        finally:
            client.close()  # and with it the socket, which is its transport's now

    async def _connected(self, server: SmtpServer) -> socket.socket:
        try:
            connected = await self._dial(server.host, server.port)
        except CheckFailure as exc:
            words = f"{exc.code}: {exc.detail}"
            raise (SendRefused(words) if exc.code in _NEVER else SendLater(words)) from exc
        except TimeoutError:
            raise
        except OSError as exc:
            raise SendLater("no connection to the mail server could be made") from exc
        if server.tls == "none" and not ip_address(connected.getpeername()[0]).is_private:
            connected.close()
            raise SendRefused("?tls=none is for this machine and private networks; nothing was sent")
        return connected

    async def _hand_over(self, client: aiosmtplib.SMTP, server: SmtpServer, mail: Mail) -> Sent:
        await client.connect()
        if server.tls == "starttls":
            await client.ehlo()
            if not client.supports_extension("starttls"):
                raise SendLater("the mail server offers no STARTTLS; nothing was said in the clear")
            await client.starttls()
        if server.user is not None:
            await client.login(server.user, server.password)
        refused, said = await client.sendmail(
            mail.sender,
            list(mail.recipients),
            mail.message,
            mail_options=["SMTPUTF8", "BODY=8BITMIME"] if mail.utf8 else [],
        )
        # Accepted is accepted: a slow goodbye must not make it a failure, nor send it again.
        with (
            anyio.move_on_after(QUIT_WAIT, shield=True),
            contextlib.suppress(aiosmtplib.SMTPException, OSError),
        ):
            await client.quit()
        queued = _QUEUED.search(said)
        notes = [_answered(answer.code, answer.message, server.secrets, to) for to, answer in refused.items()]
        return Sent(provider_id=queued[1] if queued else None, note="; ".join(notes)[:1000] or None)


class _NotKnown(SendRefused):
    """The server does not take this user and password."""


def _meaning(error: aiosmtplib.SMTPException, hidden: Sequence[str]) -> SendFailed:
    """4xx passes, 5xx does not; what is no answer passes."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            words = [_answered(one.code, one.message, hidden, one.recipient) for one in error.recipients]
            later = any(one.code < 500 for one in error.recipients)
            return (SendLater if later else SendRefused)("; ".join(words)[:1000])
        case aiosmtplib.SMTPAuthenticationError() if error.code >= 500:
            said = _answered(error.code, error.message, hidden)
            return _NotKnown(f"the mail server refuses the user: {said}")
        case aiosmtplib.SMTPResponseException():
            said = _answered(error.code, error.message, hidden)
            return SendRefused(said) if 500 <= error.code < 600 else SendLater(said)
        case aiosmtplib.SMTPNotSupported():
            return SendRefused("the mail server takes no addresses beyond ASCII (SMTPUTF8)")
    return _no_answer(error)


def _no_answer(error: aiosmtplib.SMTPException) -> SendFailed:
    if isinstance(error.__cause__, ssl.SSLError):
        return SendLater(_tls_words(error.__cause__))
    match error:
        case aiosmtplib.SMTPTimeoutError():
            return SendLater("the mail server did not answer in time")
        case aiosmtplib.SMTPServerDisconnected():
            return SendLater("the mail server hung up")
        case aiosmtplib.SMTPConnectError():
            return SendLater("no conversation with the mail server came about")
    # aiosmtplib's own words: of an extension that is missing.
    return SendRefused(answers.excerpt(str(error).encode()))


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the mail server's certificate is not valid: {error.verify_message}"
    return f"no encrypted connection: {error.reason or 'TLS failed'}"


def _answered(code: int, message: str, hidden: Sequence[str], recipient: str = "") -> str:
    """`SMTP 550 for ann@example.com: no such user`, harmless and without secrets."""
    for secret in hidden:
        message = message.replace(secret, MASK)
    said = answers.excerpt(message.encode())
    return f"SMTP {code}{f' for {recipient}' if recipient else ''}{f': {said}' if said else ''}"
