"""Traces: from a producer to its handler and on, by the conventions, and nothing of it where nobody traces."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import anyio
import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import error_attributes

from streamq import (
    DeadLetter,
    Handlers,
    Job,
    Queue,
    RedisBroker,
    Retry,
    Snooze,
    SyncQueue,
    Worker,
    WorkerOptions,
    tracing,
)
from streamq.testing import MemoryBroker, drain
from tests.support.spans import kept_spans

CONVENTIONS = {
    value for module in (messaging_attributes, error_attributes) for value in vars(module).values() if isinstance(value, str)
}  # fmt: skip


class Note(msgspec.Struct, frozen=True):
    n: int = 0


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    return kept_spans(monkeypatch)


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def events(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def test_one_trace_leads_from_a_producer_through_its_handler_to_the_job_that_this_one_enqueues(
    spans: InMemorySpanExporter, handlers: Handlers
) -> None:
    broker = MemoryBroker()

    @handlers.on("first", Note)
    async def first(_: Job[Note]) -> None:
        with tracing.stage("think", hard=True):
            await Queue("second", broker).enqueue(Note())

    @handlers.on("second", Note)
    def second(_: Job[Note]) -> None:  # a plain one: it runs in a thread
        with tracing.stage("write"):
            pass

    with trace.get_tracer("test").start_as_current_span("request"):
        receipt = await Queue("first", broker).enqueue(Note())
    await drain(broker, handlers)

    path = ("request", "enqueue first", "process first", "think", "enqueue second", "process second", "write")
    found = [named(spans, name)[0] for name in path]
    assert len(spans.get_finished_spans()) == len(path)
    assert [span.parent.span_id for span in found[1:] if span.parent] == [id_of(span) for span in found[:-1]]
    assert [span.kind.name for span in found[1:3]] == ["PRODUCER", "CONSUMER"]
    common = {"messaging.system": "streamq", "messaging.destination.name": "first"}
    assert facts(found[1]) == common | {
        "messaging.operation.type": "send",
        "messaging.operation.name": "enqueue",
        "messaging.message.id": receipt.job_id,
    }
    assert facts(found[2]) == common | {
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.message.id": receipt.job_id,
        "messaging.consumer.group.name": "workers",
        "streamq.attempt": 1,
        "streamq.crashes": 0,
        "streamq.lane": "normal",
        "streamq.outcome": "done",
    }
    assert facts(found[3]) == {"hard": True}


async def test_every_attribute_is_one_of_the_conventions_or_our_own(
    spans: InMemorySpanExporter, handlers: Handlers
) -> None:
    broker = MemoryBroker()

    @handlers.on("notes", Note)
    async def note(_: Job[Note]) -> None:
        raise ValueError("no")

    await Queue("notes", broker).enqueue_many([Note(), Note()])
    await drain(broker, handlers)
    names = {name for span in spans.get_finished_spans() for name in facts(span)}
    assert {"messaging.batch.message_count", "error.type"} < names
    assert {name for name in names if not name.startswith("streamq.")} <= CONVENTIONS


@pytest.mark.parametrize(
    ("raised", "outcome", "status", "expected"),
    [
        (None, "done", "UNSET", []),
        (Snooze(5, "busy"), "snoozed", "UNSET", ["snooze"]),
        (OSError("no page"), "retried", "ERROR", ["exception", "retry"]),
        (DeadLetter("unwanted", "nobody asked"), "dead", "ERROR", ["dead_letter"]),
    ],
)
async def test_a_span_tells_what_became_of_its_job(  # noqa: PLR0917 - a row of the table
    spans: InMemorySpanExporter,
    handlers: Handlers,
    raised: Exception | None,
    outcome: str,
    status: str,
    expected: list[str],
) -> None:
    broker = MemoryBroker()
    left = [raised]

    @handlers.on("notes", Note, retry=Retry(delays=(30,)))
    async def note(_: Job[Note]) -> None:
        if left and (error := left.pop()) is not None:
            raise error

    await Queue("notes", broker).enqueue(Note())
    await drain(broker, handlers)
    span = named(spans, "process notes")[0]
    assert (facts(span)["streamq.outcome"], span.status.status_code.name, events(span)) == (
        outcome,
        status,
        expected,
    )


async def test_each_attempt_has_a_span_of_its_own_below_the_same_producer_and_the_dead_letter_keeps_the_trace(
    spans: InMemorySpanExporter, handlers: Handlers, server_url: str
) -> None:
    @handlers.on("notes", Note, retry=Retry(delays=(0.01,)))
    async def note(_: Job[Note]) -> None:
        raise ValueError("no")

    async with RedisBroker.from_url(server_url) as broker:
        await Queue("notes", broker).enqueue(Note())
        with anyio.fail_after(30):
            await Worker(broker, handlers, options=WorkerOptions(burst_wait=1.0)).run(handle_signals=False)
        (letter,) = await broker.dead("notes")
    (sent,) = named(spans, "enqueue notes")
    first, second = named(spans, "process notes")
    assert {span.parent.span_id for span in (first, second) if span.parent} == {id_of(sent)}
    assert [facts(span)["streamq.attempt"] for span in (first, second)] == [1, 2]
    assert [events(span) for span in (first, second)] == [
        ["exception", "retry"],
        ["exception", "dead_letter"],
    ]
    assert facts(second)["error.type"] == "ValueError"
    assert second.status.description == "ValueError: no"
    assert letter.envelope.headers["traceparent"].split("-")[2] == f"{id_of(sent):016x}"


async def test_a_job_that_is_cancelled_says_so_and_the_next_one_in_its_slot_has_a_trace_of_its_own(
    spans: InMemorySpanExporter, handlers: Handlers, server_url: str
) -> None:
    running = anyio.Event()

    @handlers.on("notes", Note, concurrency=1)
    async def note(job: Job[Note]) -> None:
        running.set()
        if job.payload.n == 0:
            await asyncio.sleep(3600)

    async with RedisBroker.from_url(server_url) as broker:
        await broker.enqueue("notes", [_foreign(0), _foreign(1)], call_id="c")
        worker = Worker(broker, handlers, options=WorkerOptions(lease=1.0, renew=0.05, burst_wait=0.0))

        async def work() -> None:
            await worker.run(handle_signals=False)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await running.wait()
                await broker.cancel("notes", "0")
    found = named(spans, "process notes")
    assert [facts(span)["streamq.outcome"] for span in found] == ["cancelled", "done"]
    assert [span.parent for span in found] == [None, None]


def _foreign(n: int) -> Any:
    from streamq.job import NewJob

    return NewJob(payload=b'{"n":%d}' % n, id=str(n))


@pytest.mark.parametrize(
    "header", ["", "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "f" * 5000, "\x00\udcff"]
)
async def test_a_trace_that_is_none_costs_no_job(
    spans: InMemorySpanExporter, handlers: Handlers, header: str
) -> None:
    broker = MemoryBroker()

    @handlers.on("notes", Note)
    async def note(_: Job[Note]) -> None:
        pass

    headers = {"traceparent": header, "tracestate": header, "baggage": header}
    broker.inject("notes", {"payload": "{}", "headers": msgspec.json.encode({k: v.replace("\udcff", "ÿ") for k, v in headers.items()})})  # fmt: skip
    drained = await drain(broker, handlers)
    assert len(drained.done) == 1
    assert named(spans, "process notes")[0].parent is None


async def test_a_context_that_the_caller_gave_is_kept_and_a_duplicate_is_told(
    spans: InMemorySpanExporter, server_url: str
) -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with RedisBroker.from_url(server_url) as broker:
        queue = SyncQueue("notes", broker)
        for _ in range(2):
            await anyio.to_thread.run_sync(
                lambda: queue.enqueue(Note(), headers={"traceparent": given}, unique="k")
            )
        (waiting,) = await broker.waiting("notes")
    assert waiting.envelope.headers == {"traceparent": given}
    assert [facts(span).get("streamq.duplicates") for span in named(spans, "enqueue notes")] == [None, 1]


PROGRAM = """
import asyncio, sys
import redis.asyncio  # which brings in what there is of it, for metrics of its own

def known():
    return {{name for name in sys.modules if name.startswith("opentelemetry")}}

{before}
before = known()
from streamq import Handlers, Queue, tracing
from streamq.testing import MemoryBroker, drain

handlers, broker = Handlers(), MemoryBroker()
handlers.on("notes", dict)(lambda job: print(job.headers, tracing.stage("x").__class__.__name__))

async def main():
    await Queue("notes", broker).enqueue({{}})
    await drain(broker, handlers)

asyncio.run(main())
print(sorted(known() - before))
"""


@pytest.mark.parametrize("before", ["", "import opentelemetry.trace"])
def test_a_program_that_does_not_trace_imports_nothing_and_its_jobs_carry_nothing(before: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == ["{} nullcontext", "[]"]
