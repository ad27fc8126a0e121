"""An alert as an e-mail: a plain part and an HTML part that say the same.

Nothing is fetched by who reads it, and nothing tells us that they did. What changed is told by words
and marks as well as by colour. The text of a page is escaped wherever it stands, and a header is made
of one cleaned line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

import msgspec

from sentinel.model import Channel, Document
from sentinel.render import clean
from sentinel.render.email_address import Mailbox, mailbox
from sentinel.render.email_html import to_html
from sentinel.render.email_plain import to_plain_part

#: Characters of a subject: phones show 40, RFC 5322 allows 998 bytes a line.
MAX_SUBJECT: Final = 180

_UNSAFE: Final = re.compile(r"[^a-z0-9-]+")


class Mail(msgspec.Struct, frozen=True):
    """An e-mail, ready to be handed over: the envelope and the bytes."""

    sender: str
    recipients: tuple[str, ...]
    message: bytes
    #: Only a server with SMTPUTF8 may have it.
    utf8: bool


def to_email(channel: Channel, document: Document, *, message_id: str, now: float) -> Mail:
    """The mail, the same for the same delivery but for its Date, `now` (seconds since the epoch).

    Raises ValueError where the channel's addresses cannot be used.
    """
    sender, recipients = mailbox(channel.sender or ""), [mailbox(one) for one in channel.to]
    if not recipients:
        raise ValueError("there is nobody to send to")
    utf8 = any(one.needs_utf8 for one in (sender, *recipients))
    message = EmailMessage(policy.SMTPUTF8 if utf8 else policy.SMTP)
    _address(message, sender, recipients)
    _identify(message, document, sender.domain, message_id)
    message["Subject"] = subject(document)
    message["Date"] = format_datetime(datetime.fromtimestamp(int(now), UTC))
    # RFC 3834: out-of-office answers stay away.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    # Quoted-printable: every server takes it, and a person can read the source.
    message.set_content(to_plain_part(document), cte="quoted-printable")
    message.add_alternative(to_html(document), subtype="html", cte="quoted-printable")
    message.set_boundary(f"=_{_hash(message_id)}")
    return Mail(sender.address, tuple(one.address for one in recipients), message.as_bytes(), utf8)


def subject(document: Document) -> str:
    """`[warning] Widget: 149.99 EUR -> 129.99 EUR`, on one line."""
    # `=?` begins an encoded word: one that a page wrote would be decoded, and could hold a line end.
    return clean.line(f"[{document.severity}] {document.title}", MAX_SUBJECT).replace("=?", "= ?")


def _address(message: EmailMessage, sender: Mailbox, recipients: Sequence[Mailbox]) -> None:
    message["From"] = sender.header
    message["To"] = [one.header for one in recipients]


def _identify(message: EmailMessage, document: Document, domain: str, message_id: str) -> None:
    """Which message it is, the same on every try, and which thread it belongs to: one for each rule."""
    thread = f"<rule-{_hash(f'{document.workspace_id}/{document.rule_id}')}@{domain}>"
    message["Message-ID"] = f"<alert-{_hash(message_id)}@{domain}>"
    message["References"] = thread
    message["In-Reply-To"] = thread
    names = (_label(document.rule_id), _label(document.workspace_id), "sentinel", domain)
    message["List-Id"] = f"<{'.'.join(names)}>"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _label(text: str) -> str:
    return _UNSAFE.sub("-", text.lower())[:60].strip("-") or "none"
