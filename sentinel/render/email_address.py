"""Addresses of people, as the RFCs and mail servers of today take them."""

from __future__ import annotations

import re
from email.headerregistry import Address
from typing import Final

import idna
import msgspec

#: RFC 5321 4.5.3.1: bytes of what stands before the @, and of the domain.
MAX_LOCAL: Final = 64
MAX_DOMAIN: Final = 253

_NAMED: Final = re.compile(r"(?:(?P<name>[^<>]*?)\s*<(?P<inner>[^<>]+)>|(?P<bare>[^<>]+))")
#: A dot-atom, or letters of the world (RFC 6531); no quoted strings, which most servers refuse.
_LOCAL: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


class Mailbox(msgspec.Struct, frozen=True):
    """A person or a list: `Alerts <alerts@example.com>`."""

    name: str
    local: str
    #: In ASCII.
    domain: str

    @property
    def address(self) -> str:
        """`alerts@example.com`."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return not self.local.isascii()

    @property
    def header(self) -> Address:
        """For a header of EmailMessage, which quotes and encodes the name."""
        # An encoded word in a name would be decoded, and could hold anything.
        return Address(self.name.replace("=?", "= ?"), self.local, self.domain)


def mailbox(text: str) -> Mailbox:
    """The mailbox that `text` spells. Raises ValueError, whose words say what is wrong."""
    if _UNPRINTABLE.search(text):
        raise ValueError("control or invisible characters")
    found = _NAMED.fullmatch(text.strip())
    if found is None:
        raise ValueError("write name@example.com or Name <name@example.com>")
    local, at, domain = (found["inner"] or found["bare"]).strip().rpartition("@")
    if not at:
        raise ValueError("there is no @")
    if not _LOCAL.fullmatch(local) or len(local.encode()) > MAX_LOCAL:
        raise ValueError("what stands before the @ is not usable")
    return Mailbox((found["name"] or "").strip(' "'), local, _domain(domain))


def _domain(written: str) -> str:
    try:
        domain = written if written.isascii() else idna.encode(written, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        domain = ""
    labels = domain.lower().split(".")
    if len(domain) > MAX_DOMAIN or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("what stands after the @ is not a domain")
    return ".".join(labels)
