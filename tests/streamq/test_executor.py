"""Whatever a handler does, raises or asks for, only its own job ends by it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest

from streamq import (
    DeadLetter,
    Handlers,
    InvalidJob,
    Job,
    Queue,
    RedisBroker,
    Retry,
    RetryIn,
    Snooze,
    Worker,
    WorkerOptions,
)
from streamq.broker import Again, Bury, Lease
from streamq.executor import Ended, Executor
from streamq.job import Envelope
from streamq.retry import MAX_DELAY

LONE = "\ud800"  # half of a pair: no UTF-8


class _UnfinishedError(Snooze):
    """One that does not call what makes its fields."""

    def __init__(self) -> None:
        Exception.__init__(self)


def lease(payload: bytes = b"{}", **options: Any) -> Lease:
    return Lease("jobs", "1-1", Envelope(id="a", payload=payload, **options))


async def ended(function: Callable[[Job[Any]], Any], payload_type: Any = Any, **options: Any) -> Ended:
    """What comes of a job of that handler."""
    handlers = Handlers()
    handlers.on("jobs", payload_type, **options)(function)
    return await Executor(handlers.of("jobs")).execute(lease())


def raising(make: Callable[[], BaseException]) -> Callable[[Job[Any]], Any]:
    async def handle(job: Job[Any]) -> None:
        raise make()

    return handle


@pytest.mark.parametrize(
    ("make", "delay", "counts"),
    [
        (lambda: Snooze(float("inf")), MAX_DELAY, False),
        (lambda: Snooze(1e300), MAX_DELAY, False),
        (lambda: Snooze(-5), 0.0, False),
        (lambda: RetryIn(float("inf")), MAX_DELAY, True),
        (lambda: RetryIn(10**400), 30.0, True),  # no float, and no text of it: it fails as any other
        (lambda: RetryIn(float("nan")), 30.0, True),
        (lambda: Snooze(float("nan")), 30.0, True),
        (lambda: Snooze("soon"), 30.0, True),  # type: ignore[arg-type]
    ],
)  # fmt: skip
async def test_a_delay_that_a_handler_asks_for_is_bounded_and_none_at_all_is_a_failure(
    make: Callable[[], BaseException], delay: float, counts: bool
) -> None:
    finish = (await ended(raising(make), retry=Retry(delays=(30,)))).finish
    assert isinstance(finish, Again)
    assert (finish.delay, finish.counts) == (delay, counts)


async def test_whatever_handlers_raise_the_worker_and_the_jobs_beside_live(server_url: str) -> None:
    makes: dict[str, Callable[[], BaseException]] = {
        "snooze": lambda: Snooze(1e300, LONE),
        "retry": lambda: RetryIn(1e20, LONE),
        "letter": lambda: DeadLetter(None),  # type: ignore[arg-type]
        "lone": lambda: DeadLetter(LONE, LONE),
        "long": lambda: DeadLetter("x" * 100_000, "y" * 100_000),
        "words": lambda: ValueError(LONE),
        "unfinished": _UnfinishedError,
    }
    handlers, done = Handlers(), []

    @handlers.on("jobs", str)
    async def handle(job: Job[str]) -> None:
        if job.payload == "fine":
            done.append(job.payload)
        else:
            error = makes[job.payload]()
            raise error

    async with RedisBroker.from_url(server_url) as broker:
        await Queue("jobs", broker).enqueue_many([*makes, "fine"])
        with anyio.fail_after(100):
            options = WorkerOptions(burst_wait=0.0)
            group = anyio.create_task_group()
            async with group:
                group.start_soon(Worker(broker, handlers, options=options).run)
                while (await broker.stats("jobs")).dead < 6:  # noqa: ASYNC110 - the worker knows
                    await anyio.sleep(0.02)
                group.cancel_scope.cancel()
        reasons = {letter.envelope.payload: letter.reason for letter in await broker.dead("jobs")}
        delayed = [(one.payload, due) for one, due in await broker.delayed("jobs")]
    assert done == ["fine"]
    assert reasons == {
        b'"retry"': "exhausted",
        b'"letter"': "None",
        b'"lone"': "?",
        b'"long"': "x" * 100,
        b'"words"': "exhausted",
        b'"unfinished"': "exhausted",
    }
    assert [payload for payload, _ in delayed] == [b'"snooze"']


class Priced(msgspec.Struct, frozen=True):
    price: str

    def __post_init__(self) -> None:
        Decimal(self.price)  # raises what is no ValueError


async def test_a_payload_type_may_raise_anything_and_the_payload_is_invalid() -> None:
    handlers = Handlers()
    handlers.on("jobs", Priced)(raising(AssertionError))
    finish = (await Executor(handlers.of("jobs")).execute(lease(b'{"price":"abc"}'))).finish
    assert isinstance(finish, Bury)
    assert finish.reason == "invalid_payload"
    assert "InvalidOperation" in finish.error


async def test_as_many_plain_handlers_run_at_once_as_the_stream_asks_for() -> None:
    handlers, meeting = Handlers(), threading.Barrier(60)

    @handlers.on("jobs", Any, concurrency=60)
    def meet(job: Job[Any]) -> None:
        meeting.wait(60)  # for all the others; anyio itself has threads for 40

    running = Executor(handlers.of("jobs"))
    results: list[Ended] = []

    async def run() -> None:
        results.append(await running.execute(lease()))

    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(run)
    assert [one.error for one in results] == [None] * 60


class NotSoldError(ValueError):
    """As a shop may say."""


@pytest.mark.parametrize(
    "name", ["NotSoldError", "ValueError", f"{__name__}.NotSoldError", "builtins.ValueError"]
)
async def test_an_error_that_another_try_does_not_mend_gets_none(name: str) -> None:
    finish = (await ended(raising(NotSoldError), retry=Retry(delays=(30,), stop_on=(name,)))).finish
    assert isinstance(finish, Bury)
    assert (finish.reason, finish.error) == ("exhausted", "NotSoldError")
    other = (await ended(raising(KeyError), retry=Retry(delays=(30,), stop_on=(name,)))).finish
    assert isinstance(other, Again)


@pytest.mark.parametrize(
    "options",
    [
        {"retry": (30, 120)},
        {"retention": 5},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": "1"},
        {"concurrency": 2.5},
        {"concurrency": 0},
        {"crash_budget": 0},
        {"hard_limit": float("inf")},
        {"hard_limit": 1, "timeout": 2},
        {"max_result": 0},
    ],
)
def test_an_option_of_a_handler_that_cannot_be_is_refused_by_name(options: dict[str, Any]) -> None:
    handlers = Handlers()
    with pytest.raises(InvalidJob, match=rf"^{next(iter(options))}.*in the handler of 'jobs'$"):
        handlers.on("jobs", Any, **options)(raising(KeyError))


@pytest.mark.parametrize(
    "options",
    [
        {"base": -5},
        {"max_attempts": 0},
        {"max_attempts": 5000},
        {"max_attempts": 1.5},
        {"jitter": 5},
        {"cap": float("nan")},
        {"delays": 30},
        {"delays": [30]},
        {"delays": ("30",)},
        {"delays": (-1,)},
        {"stop_on": "ValueError"},
        {"stop_on": (ValueError,)},
    ],
)
def test_a_retry_that_cannot_be_is_refused_by_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InvalidJob, match=name.replace("delays", "delay")):
        Retry(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"drain_timeout": float("nan")},
        {"lease": float("inf")},
        {"lease": 3, "renew": 3},
        {"renew": "1"},
        {"burst_wait": -1},
        {"give_up_after": -1},
        {"max_jobs": 0},
        {"max_memory": 0.5},
    ],
)
def test_an_option_of_a_worker_that_cannot_be_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match=list(options)[-1]):
        WorkerOptions(**options)
