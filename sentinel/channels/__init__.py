"""Ways to tell somebody, one file each. None of them retries: the queue does, by what they raise."""

from __future__ import annotations

from sentinel.channels.apprise import AppriseSender
from sentinel.channels.console import ConsoleSender
from sentinel.channels.discord import DiscordSender
from sentinel.channels.discreet import DiscreetSender
from sentinel.channels.email import SMTP_URL, EmailSender, SmtpServer
from sentinel.channels.http import HttpExchange
from sentinel.channels.ntfy import NtfySender
from sentinel.channels.pagerduty import PagerDutySender
from sentinel.channels.sender import Credentials, Sender, Senders, Sent
from sentinel.channels.signature import SigningKey, sign
from sentinel.channels.slack import SlackSender
from sentinel.channels.teams import TeamsSender
from sentinel.channels.telegram import TelegramSender
from sentinel.channels.templated import TemplatedSender
from sentinel.channels.webhook import WebhookSender

__all__ = [
    "SMTP_URL",
    "AppriseSender",
    "ConsoleSender",
    "Credentials",
    "DiscordSender",
    "DiscreetSender",
    "EmailSender",
    "HttpExchange",
    "NtfySender",
    "PagerDutySender",
    "Sender",
    "Senders",
    "Sent",
    "SigningKey",
    "SlackSender",
    "SmtpServer",
    "TeamsSender",
    "TelegramSender",
    "TemplatedSender",
    "WebhookSender",
    "sign",
]
