"""One lease in, one outcome out: runs a handler and decides what becomes of the job.

No loop and no broker: the worker acts on what is decided here.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
import traceback
from typing import Any, Final

import anyio
import msgspec

from streamq import stacks, tracing
from streamq.broker import Again, Bury, Done, Finish, Lease
from streamq.errors import DeadLetter, InvalidPayload, RetryIn, Snooze, StreamqError
from streamq.handlers import Registration
from streamq.job import Job
from streamq.retry import MAX_DELAY

#: Stack frames of a failure that are kept.
_FRAMES: Final = 12
#: Characters of an error that are kept, and of the reason that a handler gives for a dead letter.
_ERROR: Final = 1000
_REASON: Final = 100


class Ended(msgspec.Struct, frozen=True):
    """What came of running a job."""

    finish: Finish
    #: Seconds the handler ran.
    duration: float
    #: `Type: message`, where it failed.
    error: str | None = None


class JobTimeoutError(StreamqError):
    """The handler ran longer than it may."""


class Executor:
    """Runs the jobs of one stream."""

    def __init__(self, registration: Registration, *, rng: random.Random | None = None) -> None:
        self._registration = registration
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(registration.payload_type)
        self._rng = rng
        # The slots are the limit. anyio's own is 40 threads for all in the process: jobs beyond it would
        # wait, and be past their time before they had begun.
        self._threads = anyio.CapacityLimiter(math.inf)

    async def execute(self, lease: Lease) -> Ended:
        """Run the handler and decide. Raises nothing but the cancellation of its own scope."""
        if not tracing.is_on():
            return await self._execute(lease)
        with tracing.processing(self._registration.stream, lease.envelope) as told:
            ended = await self._execute(lease)
            told(ended.finish, ended.error)
            return ended

    async def _execute(self, lease: Lease) -> Ended:
        started = time.perf_counter()
        try:
            job = self._job(lease)
        except InvalidPayload as error:
            return Ended(_bury(lease, "invalid_payload", error), 0.0, _words(error))
        try:
            value = await self._call(job, lease)
        except BaseException as error:
            # A handler may raise anything, SystemExit and a CancelledError of its own included; only a
            # cancellation that was asked for from outside is not the job's.
            if isinstance(error, asyncio.CancelledError) and _cancelled_from_outside():
                raise
            tracing.failed(error)
            return self._failed(lease, error, time.perf_counter() - started)
        duration = time.perf_counter() - started
        most = self._registration.max_result
        done = Done(lease, duration) if most is None else _done_with(lease, duration, value, most)
        return Ended(done, duration)

    def _job(self, lease: Lease) -> Job[Any]:
        """The typed job. Raises InvalidPayload with the decoder's words."""
        envelope = lease.envelope
        if envelope.defect is not None:
            raise InvalidPayload(envelope.defect)
        try:
            payload = self._decoder.decode(envelope.payload)
        except Exception as error:  # a payload type's own __post_init__ may raise anything
            raise InvalidPayload(_words(error)) from error
        retry = envelope.retry or self._registration.retry
        return Job(
            id=envelope.id,
            stream=self._registration.stream,
            payload=payload,
            attempt=envelope.attempt,
            crashes=envelope.crashes,
            fence=lease.fence,
            enqueued_at=envelope.enqueued_ms / 1000,
            headers=envelope.headers,
            lane=envelope.lane,
            last_attempt=envelope.attempt >= retry.attempts,
        )

    async def _call(self, job: Job[Any], lease: Lease) -> object:
        """What the handler returns, within its time. Raises what it raises, or JobTimeoutError."""
        seconds = lease.envelope.timeout or self._registration.timeout
        if seconds is None:
            return await self._invoke(job)
        with anyio.move_on_after(seconds) as scope:
            value = await self._invoke(job)
        if scope.cancelled_caught:
            raise JobTimeoutError(f"the handler did not finish within {seconds:g} s")
        return value

    async def _invoke(self, job: Job[Any]) -> object:
        if self._registration.is_async:
            value: object = await self._registration.run(job)
            return value
        return await anyio.to_thread.run_sync(
            stacks.run_named,
            stacks.named(job.stream, job.id),
            self._registration.run,
            job,
            abandon_on_cancel=True,
            limiter=self._threads,
        )

    def _failed(self, lease: Lease, error: BaseException, duration: float) -> Ended:
        """What a raised thing means for the job: one clause per outcome."""
        match error:
            case Snooze(seconds=seconds) if (asked := _delay(seconds)) is not None:
                again = Again(lease, asked, counts=False, note=_text(error.why))
                return Ended(again, duration)
            case DeadLetter(reason=_, detail=_):
                reason = _text(error.reason)[:_REASON] or "unknown"
                return Ended(_bury(lease, reason, error), duration, _text(error.detail) or reason)
            case RetryIn(seconds=seconds):
                asked = _delay(seconds)
            case _:
                asked = None
        envelope = lease.envelope
        policy = envelope.retry or self._registration.retry
        delay = None if policy.stops_on(error) else policy.delay_after(envelope.attempt, self._rng)
        if delay is None:
            return Ended(_bury(lease, "exhausted", error), duration, _words(error))
        words = _words(error)
        again = Again(lease, delay if asked is None else asked, counts=True, note=words)
        return Ended(again, duration, words)


def _delay(seconds: object) -> float | None:
    """What a handler asks for, within what a job may wait; None: it is no number.

    It may come from anywhere, a server's Retry-After say: 1e300 and infinity are a month as well.
    """
    try:
        asked = float(seconds)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(asked) else min(max(0.0, asked), MAX_DELAY)


def _cancelled_from_outside() -> bool:
    """Whether a scope around us is cancelled (a handler may raise CancelledError, or cancel its own task)."""
    if anyio.current_effective_deadline() == -math.inf:
        return True
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()  # the handler's own wish, which must not be the next job's
    return False


def _words(error: BaseException) -> str:
    """`Type: message`, bounded; survives an error whose own text cannot be made."""
    text, name = _text(error), _text(type(error).__name__)
    return (f"{name}: {text}" if text else name)[:_ERROR]


def _text(value: object) -> str:
    """As text that can be written as UTF-8, bounded."""
    try:
        return str(value)[:_ERROR].encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - hostile __str__; the job must still end
        return "(its text cannot be shown)"


def _done_with(lease: Lease, duration: float, value: object, most: int) -> Done:
    """Done, with the value where it can be kept, else with why not: no handler runs again for its value."""
    try:
        data = msgspec.json.encode(value)
    except Exception as error:  # noqa: BLE001 - whatever a value of the handler's own type may do
        return Done(lease, duration, no_result=_words(error))
    if len(data) > most:
        return Done(lease, duration, no_result=f"it has {len(data):,} bytes of JSON; {most:,} are kept")
    return Done(lease, duration, data)


def _bury(lease: Lease, reason: str, error: BaseException) -> Bury:
    """A dead letter with the tail of the traceback; locals are never kept, they may hold secrets."""
    try:
        tail = "".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES))
        tail = tail.encode("utf-8", "replace").decode()
    except Exception:  # noqa: BLE001 - as above
        tail = ""
    return Bury(lease, reason, _words(error), tail)
