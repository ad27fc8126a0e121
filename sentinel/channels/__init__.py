"""Ways to tell somebody, one file each. None of them retries: the queue does, by what they raise."""

from __future__ import annotations

from sentinel.channels.console import ConsoleSender
from sentinel.channels.discreet import DiscreetSender
from sentinel.channels.sender import Credentials, Sender, Senders, Sent
from sentinel.channels.signature import SigningKey, sign
from sentinel.channels.webhook import WebhookSender

__all__ = [
    "ConsoleSender",
    "Credentials",
    "DiscreetSender",
    "Sender",
    "Senders",
    "Sent",
    "SigningKey",
    "WebhookSender",
    "sign",
]
