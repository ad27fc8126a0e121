"""Traces travel with jobs: `traceparent` in a job's headers, a span around its handler.

Nothing here imports OpenTelemetry. A program that traces has imported it and has set a tracer provider; one
that has not pays a look into `sys.modules` for an enqueue and for a run, and no more. Names and attributes
are those of OpenTelemetry's conventions for messaging.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import msgspec

from streamq.broker import Again, Bury, Finish
from streamq.errors import ControlSignal
from streamq.job import Envelope, NewJob, Receipt
from streamq.keys import GROUP

#: The instrumentation's name, and the messaging system's.
NAME: Final = "streamq"
#: Characters of an error that a span's status tells.
_STATUS: Final = 300

_nothing: AbstractContextManager[Any] = nullcontext()


def is_on() -> bool:
    """Whether this program traces: it has set a tracer provider of its own."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return False
    # Asking for the provider costs 2 us, for it reads the environment each time; this costs a twentieth.
    if getattr(trace, "_TRACER_PROVIDER", trace) is None:
        return False
    return type(trace.get_tracer_provider()) is not trace.ProxyTracerProvider


def _attributes(stream: str, kind: str, name: str) -> dict[str, Any]:
    return {
        "messaging.system": NAME,
        "messaging.destination.name": stream,
        "messaging.operation.type": kind,
        "messaging.operation.name": name,
    }


# --- producing -------------------------------------------------------------------------------


@contextmanager
def sending(
    stream: str, jobs: Sequence[NewJob]
) -> Iterator[tuple[list[NewJob], Callable[[Sequence[Receipt]], None]]]:
    """A producer span around an enqueue. Only where `is_on()`.

    Brings the jobs with the span's context in their headers (one that has a `traceparent` keeps it), and what
    to tell the receipts to.
    """
    from opentelemetry import propagate, trace  # noqa: PLC0415 - is_on() says that it is there

    attributes = _attributes(stream, "send", "enqueue")
    if len(jobs) == 1:
        attributes["messaging.message.id"] = jobs[0].id
    else:
        attributes["messaging.batch.message_count"] = len(jobs)
    with trace.get_tracer(NAME).start_as_current_span(
        f"enqueue {stream}", kind=trace.SpanKind.PRODUCER, attributes=attributes
    ) as span:
        carried: dict[str, str] = {}
        propagate.inject(carried)

        def answered(receipts: Sequence[Receipt]) -> None:
            duplicates = sum(not receipt.created for receipt in receipts)
            if duplicates:
                span.set_attribute("streamq.duplicates", duplicates)

        yield [_carrying(job, carried) for job in jobs], answered


def carried() -> dict[str, str]:
    """The headers that put a job into the current trace; none where nobody traces."""
    found: dict[str, str] = {}
    if is_on():
        from opentelemetry import propagate  # noqa: PLC0415 - is_on() says that it is there

        propagate.inject(found)
    return found


def _carrying(job: NewJob, carried: dict[str, str]) -> NewJob:
    if not carried or "traceparent" in job.headers:
        return job
    return msgspec.structs.replace(job, headers={**job.headers, **carried})


# --- running ---------------------------------------------------------------------------------


@contextmanager
def processing(stream: str, envelope: Envelope) -> Iterator[Callable[[Finish, str | None], None]]:
    """A consumer span around a handler, below the span that enqueued the job. Only where `is_on()`.

    Brings what to tell the outcome to: how the job goes on, and the error's words. One that is not told was
    cancelled: its lease was lost, a person did not want it, or the worker stops.
    """
    from opentelemetry import propagate, trace  # noqa: PLC0415 - is_on() says that it is there

    attributes = _attributes(stream, "process", "process") | {
        "messaging.message.id": envelope.id,
        "messaging.consumer.group.name": GROUP,
        "streamq.attempt": envelope.attempt,
        "streamq.crashes": envelope.crashes,
        "streamq.lane": envelope.lane,
    }
    with trace.get_tracer(NAME).start_as_current_span(
        f"process {stream}",
        context=propagate.extract(envelope.headers),
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        told = False

        def ended(finish: Finish, error: str | None) -> None:
            nonlocal told
            told = True
            outcome, event, facts = _outcome(finish)
            span.set_attribute("streamq.outcome", outcome)
            if event is not None:
                span.add_event(event, facts)
            if outcome in ("retried", "dead"):
                words = error or facts.get("reason", "")
                span.set_attribute("error.type", words.partition(":")[0][:100])
                span.set_status(trace.StatusCode.ERROR, words[:_STATUS])

        try:
            yield ended
        finally:
            if not told:
                span.set_attribute("streamq.outcome", "cancelled")


def failed(error: BaseException) -> None:
    """A handler raised: its span tells what and where, unless it only steers its job."""
    if is_on() and not isinstance(error, ControlSignal):
        sys.modules["opentelemetry.trace"].get_current_span().record_exception(error)


def _outcome(finish: Finish) -> tuple[str, str | None, dict[str, Any]]:
    """Its name, and the event that tells how the job goes on."""
    match finish:
        case Again(counts=True):
            return "retried", "retry", {"delay": finish.delay}
        case Again():
            return "snoozed", "snooze", {"delay": finish.delay, "why": finish.note}
        case Bury():
            return "dead", "dead_letter", {"reason": finish.reason}
        case _:
            return "done", None, {}


# --- within a handler ------------------------------------------------------------------------


def stage(name: str, **attributes: str | float | bool) -> AbstractContextManager[Any]:
    """A span below the current one, for a step of a handler; nothing where the program does not trace."""
    if not is_on():
        return _nothing
    trace = sys.modules["opentelemetry.trace"]
    found: AbstractContextManager[Any] = trace.get_tracer(NAME).start_as_current_span(
        name, attributes=attributes
    )
    return found
