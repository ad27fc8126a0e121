"""Alerts on the terminal."""

from __future__ import annotations

import io
import threading

import pytest

from sentinel.channels import ConsoleSender, Sent
from sentinel.errors import SendLater
from sentinel.model import Channel, Document
from sentinel.render import to_text

CONSOLE = Channel(id="tty", type="console")
ALERT = Document(
    alert_id="al_1",
    workspace_id="acme",
    rule_id="widget",
    kind="change",
    severity="warning",
    title="Widget: price fell",
    rule="Widget",
    link="",
    occurred_at=0.0,
)


async def test_an_alert_is_written_in_one_piece() -> None:
    written: list[str] = []

    sent = await ConsoleSender(written.append, to_text).send(CONSOLE, ALERT, message_id="m")

    assert sent == Sent()
    assert written == [to_text(ALERT)]


async def test_a_closed_console_is_tried_again() -> None:
    closed = io.StringIO()
    closed.close()

    with pytest.raises(SendLater, match="cannot be written to: ValueError"):
        await ConsoleSender(closed.write, to_text).send(CONSOLE, ALERT, message_id="m")


async def test_a_console_that_nobody_reads_is_left_at_the_deadline() -> None:
    read = threading.Event()

    with pytest.raises(SendLater, match=r"took nothing for 0\.05 s"):
        await ConsoleSender(lambda _: read.wait(10), to_text, deadline=0.05).send(
            CONSOLE, ALERT, message_id="m"
        )

    read.set()
