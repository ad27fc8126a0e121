"""What becomes of the value that a handler returns, from the handler to whoever asks for it."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from streamq import (
    Admin,
    Handlers,
    InvalidJob,
    Job,
    NoResult,
    Queue,
    RedisBroker,
    Retention,
    Retry,
    Worker,
    WorkerOptions,
)
from streamq.broker import Done, Lease
from streamq.executor import Executor
from streamq.handlers import MAX_RESULT
from streamq.job import Envelope
from streamq.scripts import turn
from streamq.testing import MemoryBroker, drain


class Ask(msgspec.Struct, frozen=True):
    n: int


class Answer(msgspec.Struct, frozen=True):
    text: str


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


async def ended(value: object, max_result: int | None) -> Done:
    """What is told of a job whose handler returned that."""
    handlers = Handlers()

    @handlers.on("asks", Ask, retry=Retry(delays=(1,)), timeout=5, max_result=max_result)
    async def answer(_: Job[Ask]) -> object:
        return value

    envelope = Envelope(id="j", payload=b'{"n":1}', enqueued_ms=0, eligible_ms=0)
    finish = (await Executor(handlers.of("asks")).execute(Lease("asks", "1-0", envelope))).finish
    assert isinstance(finish, Done)
    return finish


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Answer("yes"), b'{"text":"yes"}'),
        (None, b"null"),
        ("x" * 98, b'"' + b"x" * 98 + b'"'),
        ({1: (2, 3.5)}, b'{"1":[2,3.5]}'),
    ],
)
async def test_a_value_is_kept_as_json_up_to_the_size_that_was_allowed(value: object, kept: bytes) -> None:
    finish = await ended(value, 100)
    assert (finish.result, finish.no_result) == (kept, "")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x" * 99, "it has 101 bytes of JSON; 100 are kept"),
        (object(), "TypeError: Encoding objects of type object is unsupported"),
        (ENDLESS, "RecursionError: "),
        ("\ud800", "UnicodeEncodeError: "),
    ],
)
async def test_a_job_is_done_also_where_its_value_cannot_be_kept(value: object, why: str) -> None:
    finish = await ended(value, 100)
    assert finish.result is None
    assert finish.no_result
    assert finish.no_result.startswith(why)


async def test_a_stream_that_keeps_none_looks_at_no_value_and_says_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(msgspec.json, "encode", None)
    finish = await ended(object(), None)
    assert finish == Done(finish.lease, finish.duration)
    call = turn(
        "asks", "w", sequence=1, finished=[finish], free=0, taken=0, retention=Retention(), register=False
    )
    assert len(call.args) == 9  # as lua/turn.lua names them: no fields behind


@pytest.mark.parametrize("size", [0, -1, MAX_RESULT + 1])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(InvalidJob, match=r"^max_result=.* between 1 and 65,536, in the handler of 'asks'$"):
        Handlers().on("asks", Ask, max_result=size)(print)


async def test_who_has_the_id_of_a_job_reads_what_its_handler_returned(
    valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = Handlers()

    @handlers.on("asks", Ask, max_result=30)
    def answer(job: Job[Ask]) -> Answer:  # in a thread
        return Answer("x" * job.payload.n)

    async with RedisBroker.from_url(valkey_url) as real:
        for broker in (MemoryBroker(), real):
            queue, admin = Queue("asks", broker), Admin(broker, ["asks"])
            short = await queue.enqueue(Ask(3))
            long = await queue.enqueue(Ask(50))
            caplog.clear()
            with caplog.at_level(logging.WARNING, "streamq.worker"):
                await _work(broker, handlers)
            assert (await admin.find(short.job_id)).result(Answer) == Answer("xxx")
            with pytest.raises(NoResult, match="it has 61 bytes of JSON; 30 are kept"):
                (await admin.find(long.job_id)).result(Answer)
            told = [one.__dict__["job_id"] for one in caplog.records if one.message == "result_not_kept"]
            assert told == ([long.job_id] if broker is real else [])  # a drain logs nothing


async def _work(broker: Any, handlers: Handlers) -> None:
    if isinstance(broker, MemoryBroker):
        await drain(broker, handlers)
    else:
        await Worker(broker, handlers, options=WorkerOptions(burst_wait=0)).run(handle_signals=False)
