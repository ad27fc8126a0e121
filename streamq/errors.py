"""Everything streamq raises, in one tree.

    StreamqError
    +-- TemporaryError           trying again later may work
    |   +-- BrokerUnavailable    the server cannot be reached, is loading, or is not the master
    |   +-- BrokerFull           the server refuses writes: out of memory, or its disk is full
    |   +-- NotConfirmed         the job is there, but not known to be as safe as was asked
    +-- PermanentError           trying again changes nothing
    |   +-- BrokerRefused        wrong password, missing right, unsafe configuration
    |   +-- InvalidPayload       the bytes do not decode into the declared type
    |   +-- PayloadTooLarge      over the producer's size limit
    |   +-- InvalidJob           an envelope field is wrong
    |   +-- UnknownStream        no handler is registered for the stream
    |   +-- JobNotFound          no job of that id in any state
    |   +-- ScheduleNotFound     no recurring job of that id
    |   +-- NoResult             no value of that job is kept, or it is not of the type that was asked for
    +-- LeaseLost                another worker has the job now; this one's effects are refused
    +-- MorePartitions           the stream has more partitions than was said; divide the jobs anew

    ControlSignal                raised by a handler to steer its job; never an error
    +-- Snooze                   run again later, no attempt counted
    +-- DeadLetter               give up now, whatever retries are left
    +-- RetryIn                  this attempt failed; the next one starts after that many seconds

The docstring of a class is its default message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class StreamqError(Exception):
    """streamq failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class TemporaryError(StreamqError):
    """The operation failed for now. It may work when tried again."""


class PermanentError(StreamqError):
    """The operation failed and will fail again until something is changed."""


class BrokerUnavailable(TemporaryError):
    """The broker cannot be reached. Nothing is known of the last call; it may be repeated safely."""


class BrokerFull(TemporaryError):
    """The broker refuses new data (out of memory or disk). Nothing was written; workers drain on."""


class NotConfirmed(TemporaryError):
    """The jobs were written, but not confirmed in time; the same call may be repeated safely for a minute.

    `jobs` and `call_id` are what to repeat it with (`Queue.enqueue_jobs`). Without that they will most
    likely run all the same.
    """

    def __init__(self, message: str | None = None, *, jobs: Sequence[Any] = (), call_id: str = "") -> None:
        super().__init__(message)
        self.jobs = jobs
        self.call_id = call_id


class BrokerRefused(PermanentError):
    """The broker refused the call: wrong credentials, missing right or unsafe configuration."""


class InvalidPayload(PermanentError):
    """The payload does not decode into the type of its stream. The job goes to the dead letters."""


class PayloadTooLarge(PermanentError):
    """The payload is over the size limit of its queue. Nothing was enqueued."""


class InvalidJob(PermanentError):
    """A field of the job is out of range. Nothing was enqueued."""


class UnknownStream(PermanentError):
    """No handler is registered for that stream."""


class JobNotFound(PermanentError):
    """No job of that id in any state."""


class ScheduleNotFound(PermanentError):
    """No recurring job of that id in the stream."""


class NoResult(PermanentError):
    """No value that the job's handler returned is kept, or it is not of the type that was asked for."""


class LeaseLost(StreamqError):
    """Another worker holds the job now. What this worker does for it is refused."""


class MorePartitions(StreamqError):
    """The stream has more partitions than the call was made for. Nothing was done; divide the jobs anew."""

    def __init__(self, count: int) -> None:
        super().__init__(f"the stream has {count} partitions; nothing was done")
        self.count = count


class ControlSignal(Exception):
    """A handler's decision about its own job."""


class Snooze(ControlSignal):
    """Run the job again after `seconds`; no attempt is counted. `why`: for whoever asks why it waits."""

    def __init__(self, seconds: float, why: str = "") -> None:
        super().__init__(why or f"snoozed for {seconds:g} s")
        self.seconds = seconds
        self.why = why


class DeadLetter(ControlSignal):
    """Move the job to the dead letters now, with `reason` (a short machine-readable word)."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


class RetryIn(ControlSignal):
    """This attempt failed; start the next one after `seconds` (a server's Retry-After, say).

    The attempt counts. Where no attempt is left the job goes to the dead letters.
    """

    def __init__(self, seconds: float, detail: str = "") -> None:
        super().__init__(detail or f"retry in {seconds:g} s")
        self.seconds = seconds
        self.detail = detail
