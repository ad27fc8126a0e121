"""Alerts in words: from a stored alert to a neutral document, and from that to text and JSON.

Everything that came from a page is hostile: it is cleaned once, when the document is made.
"""

from __future__ import annotations

from sentinel.model import Document, DocumentField, DocumentHealth
from sentinel.render.difference import Piece, difference
from sentinel.render.discord import to_discord
from sentinel.render.document import document
from sentinel.render.email import Mail, to_email
from sentinel.render.email_address import mailbox
from sentinel.render.ntfy import to_ntfy
from sentinel.render.pagerduty import to_pagerduty
from sentinel.render.payload import to_json
from sentinel.render.plain import to_plain
from sentinel.render.slack import to_slack
from sentinel.render.teams import to_teams
from sentinel.render.telegram import to_telegram
from sentinel.render.text import to_text
from sentinel.render.values import describe

__all__ = [
    "Document",
    "DocumentField",
    "DocumentHealth",
    "Mail",
    "Piece",
    "describe",
    "difference",
    "document",
    "mailbox",
    "to_discord",
    "to_email",
    "to_json",
    "to_ntfy",
    "to_pagerduty",
    "to_plain",
    "to_slack",
    "to_teams",
    "to_telegram",
    "to_text",
]
