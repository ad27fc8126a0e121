"""The heart of a worker: renews all leases it holds, from a thread with a connection of its own.

A handler that blocks the event loop must not lose its lease.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from streamq.broker import Broker, Renewal
from streamq.consumer import StreamConsumer
from streamq.errors import StreamqError
from streamq.events import BrokerTrouble, Event

log = logging.getLogger("streamq.worker")


class Heart(threading.Thread):
    """Beats every `interval` seconds until stopped."""

    def __init__(
        self,
        broker: Broker,
        consumers: Sequence[StreamConsumer],
        worker: str,
        interval: float,
        *,
        learned: Callable[[StreamConsumer, Renewal], None],
        tell: Callable[[Event], None],
    ) -> None:
        """To be made on the event loop that the consumers run on; `learned` is called there after each."""
        super().__init__(name="streamq-heart", daemon=True)
        self._broker = broker
        self._consumers = consumers
        self._worker = worker
        self._interval = interval
        self._learned = learned
        self._tell = tell
        self._stop_asked = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Heart of {self._worker}, every {self._interval:g} s>"

    def run(self) -> None:
        """The thread's life."""
        while not self._stop_asked.wait(self._interval):
            for consumer in self._consumers:
                self._beat(consumer)

    def _beat(self, consumer: StreamConsumer) -> None:
        try:
            renewal = self._broker.renew(consumer.stream, self._worker, consumer.held(), consumer.facts())
        except StreamqError as error:
            self._tell(BrokerTrouble(type(error).__name__, str(error)))
        except Exception:
            log.exception("heartbeat_failed", extra={"stream": consumer.stream})
        else:
            try:
                self._loop.call_soon_threadsafe(self._learned, consumer, renewal)
            except RuntimeError:
                return  # the loop has closed: we are on the way out

    def stop(self) -> None:
        """Beat no more."""
        self._stop_asked.set()
