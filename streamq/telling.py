"""What one stream's jobs come to, told to observers and to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from streamq.broker import Again, Bury, Cancel, Done, Finish, Lease, Release
from streamq.clock import Clock
from streamq.errors import TemporaryError
from streamq.events import BrokerTrouble, Event, JobEnded, JobStarted, Outcome, ReadCompleted
from streamq.slots import Running

log = logging.getLogger("streamq.worker")

_LEVELS: Final[dict[Outcome, int]] = {
    "done": logging.DEBUG,
    "snoozed": logging.DEBUG,
    "released": logging.INFO,
    "retried": logging.INFO,
    "cancelled": logging.INFO,
    "lease_lost": logging.WARNING,
    "dead": logging.WARNING,
}


class Telling:
    """Makes the events of one stream; none where nobody listens."""

    def __init__(self, stream: str, tell: Callable[[Event], None] | None, clock: Clock) -> None:
        self._stream = stream
        self._tell = tell
        self._clock = clock
        #: The server's clock (ms) as of a moment of ours (monotonic seconds).
        self.server_time = (0, clock.monotonic())

    def __repr__(self) -> str:
        return f"<Telling of {self._stream}>"

    def read_completed(self, partition: int) -> None:
        """The broker has answered a read of that partition."""
        if self._tell is not None:
            self._tell(ReadCompleted(self._stream, partition))

    def trouble(self, error: TemporaryError) -> None:
        """The broker did not do what it was asked for."""
        if self._tell is not None:
            self._tell(BrokerTrouble(type(error).__name__, str(error)))

    def started(self, running: Running) -> None:
        """A slot has taken the job."""
        if self._tell is None:
            return
        envelope = running.lease.envelope
        server_ms, heard = self.server_time
        since = self._clock.monotonic() - heard
        waited = max(0.0, (server_ms - envelope.eligible_ms) / 1000 + since)
        late = waited if envelope.eligible_ms > envelope.enqueued_ms else None
        self._tell(JobStarted(self._stream, envelope.id, envelope.attempt, waited, late))

    def ended(self, running: Running, *, refused: bool) -> None:
        """The job is out of our hands; `refused`: the broker did not take our word for what came of it."""
        ended = running.ended
        if ended is None:
            return
        outcome, delay, reason = _outcome(ended.finish)
        if refused:
            outcome = "cancelled" if running.cancelled else "lease_lost"
        if self._tell is not None:
            envelope = running.lease.envelope
            self._tell(
                JobEnded(
                    self._stream,
                    envelope.id,
                    envelope.attempt,
                    outcome,
                    ended.duration,
                    delay,
                    reason,
                    ended.error,
                )
            )
        if outcome == "done" and isinstance(ended.finish, Done) and ended.finish.no_result:
            log.warning("result_not_kept", extra=fields_of(running.lease) | {"error": ended.finish.no_result})
        level = _LEVELS[outcome]
        if log.isEnabledFor(level):
            extra = fields_of(running.lease) | {"outcome": outcome, "delay": delay, "reason": reason}
            log.log(level, "job_ended", extra=extra | {"error": ended.error})


def fields_of(lease: Lease) -> dict[str, Any]:
    """What a log line says of a job; never its payload."""
    return {"stream": lease.stream, "job_id": lease.envelope.id, "attempt": lease.envelope.attempt}


def _outcome(finish: Finish) -> tuple[Outcome, float | None, str | None]:
    """Its name, its delay, its reason."""
    match finish:
        case Again():
            return ("retried" if finish.counts else "snoozed"), finish.delay, None
        case Bury():
            return "dead", None, finish.reason
        case Release():
            return "released", None, None
        case Cancel():
            return "cancelled", None, None
        case _:
            return "done", None, None
