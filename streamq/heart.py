"""The heart of a worker: renews all leases it holds, from a thread with a connection of its own.

A handler that blocks the event loop must not lose its lease. One that is past its hard limit is not
ended by anything but the end of its process, and the heart is what still beats then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from streamq.broker import Broker, Renewal
from streamq.clock import Clock
from streamq.consumer import StreamConsumer
from streamq.errors import StreamqError
from streamq.events import BrokerTrouble, Event
from streamq.options import WorkerOptions
from streamq.parent import Parent, Report
from streamq.slots import Running

log = logging.getLogger("streamq.worker")

#: Seconds that telling the broker which job a process ends for may take.
LAST_WORDS: Final = 1.0


class Heart(threading.Thread):
    """Beats every `interval` seconds until stopped."""

    def __init__(
        self,
        broker: Broker,
        consumers: Sequence[StreamConsumer],
        worker: str,
        options: WorkerOptions,
        *,
        clock: Clock,
        learned: Callable[[StreamConsumer, Renewal], None],
        tell: Callable[[Event], None],
        parent: Parent | None = None,
        stacks: Callable[[], str] | None = None,
    ) -> None:
        """To be made on the event loop that the consumers run on; `learned` is called there after each.

        `parent`: who is told with each beat how we are. `stacks`: what to answer whoever asks where the jobs
        stand; None: that is asked on the loop too.
        """
        super().__init__(name="streamq-heart", daemon=True)
        self._broker = broker
        self._consumers = consumers
        self._worker = worker
        self._options = options
        self._clock = clock
        self._parent = parent
        self._stacks = stacks
        self._learned = learned
        self._tell = tell
        #: We end to be replaced.
        self.recycling = False
        self._stop_asked = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Heart of {self._worker}, every {self._options.renew:g} s>"

    def run(self) -> None:
        """The thread's life."""
        self.report()
        while not self._stop_asked.wait(self._options.renew):
            self.report()
            if any(consumer.partition for consumer in self._consumers):
                self._beat_at_once()
            else:
                for consumer in self._consumers:
                    self.beat(consumer)

    def _beat_at_once(self) -> None:
        """Partitions are on several servers: one that does not answer must not cost others their leases."""
        for consumer in list(self._consumers):
            if not consumer.beating.locked():  # else its last beat has not come back
                threading.Thread(target=self.beat, args=(consumer,), daemon=True).start()

    def beat(self, consumer: StreamConsumer) -> None:
        """One beat for one consumer now, from any thread: after the one that is on its way."""
        with consumer.beating:
            if consumer.gone:
                return
            renewal = self._renewed(consumer)
        if renewal is not None:
            if renewal.orders and self._stacks is not None:
                renewal = self._traced(consumer, renewal, self._stacks)
            # The loop may have closed: then we are on the way out.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._learned, consumer, renewal)

    def _traced(self, consumer: StreamConsumer, renewal: Renewal, stacks: Callable[[], str]) -> Renewal:
        """Answer here where the jobs stand: a loop that one of them blocks could not. The rest is left."""
        for order in renewal.orders:
            if order.verb == "trace":
                log.info("worker_ordered", extra={"worker": self._worker, "verb": order.verb})
                try:
                    self._broker.answer_blocking(consumer.stream, order.order_id, stacks())
                except StreamqError as error:  # whoever asked sees that no answer comes
                    self._tell(BrokerTrouble(type(error).__name__, str(error)))
                except Exception:
                    log.exception("trace_failed", extra={"stream": consumer.stream})
        left = tuple(order for order in renewal.orders if order.verb != "trace")
        return msgspec.structs.replace(renewal, orders=left)

    def _renewed(self, consumer: StreamConsumer) -> Renewal | None:
        try:
            return self._broker.renew(consumer.stream, self._worker, consumer.held(), consumer.facts())
        except StreamqError as error:
            self._tell(BrokerTrouble(type(error).__name__, str(error)))
        except Exception:
            log.exception("heartbeat_failed", extra={"stream": consumer.stream})
        return None

    def report(self) -> None:
        """Tell the parent how we are; end the process where a job is past its hard limit."""
        nearest = self._nearest_limit()
        left, job = None, ""
        if nearest is not None:
            left, consumer, running = nearest
            job = f"{running.lease.stream} {running.lease.envelope.id}"
            if left < 2 * self._options.renew:  # before the last beat: the parent may end us right after that
                consumer.blame(running)
        if self._parent is not None:
            self._parent.tell(
                Report(
                    worker=self._worker,
                    streams={one.stream: one.registration.hard_limit for one in self._consumers},
                    lease=self._options.lease,
                    renew=self._options.renew,
                    left=left,
                    job=job,
                    recycling=self.recycling,
                )
            )
        if nearest is not None and nearest[0] < 0:
            log.critical("job_past_its_limit", extra={"worker": self._worker, "job": job})
            last = threading.Thread(target=self.beat, args=(consumer,), daemon=True)
            last.start()
            last.join(LAST_WORDS)
            os.kill(os.getpid(), signal.SIGKILL)

    def _nearest_limit(self) -> tuple[float, StreamConsumer, Running] | None:
        """Seconds until the first of the jobs that run is past its hard limit, and which that is."""
        now = self._clock.monotonic()
        ends = [
            (running.started + consumer.registration.hard_limit - now, consumer, running)
            for consumer in self._consumers
            if consumer.registration.hard_limit is not None
            for running in consumer.running()
            if running.started is not None and running.ended is None
        ]
        return min(ends, key=lambda end: end[0], default=None)

    def stop(self) -> None:
        """Beat no more."""
        self._stop_asked.set()
