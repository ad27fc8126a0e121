"""Alerts on the terminal, or wherever standard output goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
import anyio.to_thread

from sentinel.channels.sender import DEADLINE, Sent
from sentinel.errors import SendLater
from sentinel.model import Channel, Document

#: A pipe that nobody reads blocks a write for ever; this many threads may hang in one, no more.
_MAX_WRITERS: Final = 2


class ConsoleSender:
    """Writes each alert in one piece, so that two never mix."""

    def __init__(
        self,
        write: Callable[[str], object],
        to_text: Callable[[Document], str],
        *,
        deadline: float = DEADLINE,
    ) -> None:
        """`write` writes and flushes; it may block, raise OSError, or ValueError once closed."""
        self._write = write
        self._to_text = to_text
        self._deadline = deadline
        self._writers = anyio.CapacityLimiter(_MAX_WRITERS)

    async def send(self, channel: Channel, document: Document, *, message_id: str) -> Sent:  # noqa: ARG002 - Sender's signature
        """See Sender."""
        text = self._to_text(document)
        try:
            with anyio.fail_after(self._deadline):
                await anyio.to_thread.run_sync(
                    self._write, text, abandon_on_cancel=True, limiter=self._writers
                )
        except TimeoutError as exc:
            raise SendLater(f"the console took nothing for {self._deadline:g} s") from exc
        except (OSError, ValueError) as exc:
            raise SendLater(f"the console cannot be written to: {type(exc).__name__}") from exc
        return Sent()
