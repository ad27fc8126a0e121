"""Which function handles which stream, and by what policy.

handlers = Handlers()

@handlers.on("images", ResizeImage, concurrency=5, retry=Retry(delays=(30, 120)), timeout=60)
async def resize(job: Job[ResizeImage]) -> None: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from streamq.broker import Retention
from streamq.checks import check_number, check_whole
from streamq.errors import InvalidJob, UnknownStream
from streamq.job import MAX_TIMEOUT, Job, check_timeout
from streamq.keys import StreamKeys
from streamq.retry import Retry
from streamq.schedules import Cron, Every, Schedule, new_schedule

T = TypeVar("T")

#: What a handler may be: asynchronous, or plain (then it runs in a thread).
Handler = Callable[[Job[T]], Awaitable[object] | object]

#: Workers that may die holding a job before it is taken for the cause.
CRASH_BUDGET: Final = 3
#: Jobs at once, in one process.
MAX_CONCURRENCY: Final = 10_000
#: Most that `max_result` may be, bytes: a thousand records have such a value, and are read in search of one.
MAX_RESULT: Final = 64 * 1024


class Registration(msgspec.Struct, frozen=True):
    """One stream's handler and policy."""

    stream: str
    payload_type: Any
    run: Callable[[Job[Any]], Any]
    #: Runs on the event loop; else in a thread.
    is_async: bool
    #: Jobs at once, per process.
    concurrency: int = 10
    retry: Retry = Retry()
    #: Seconds one attempt may take; None = for ever.
    timeout: float | None = None
    #: Seconds after which the process that runs it is killed, however the job is stuck; None = never.
    hard_limit: float | None = None
    retention: Retention = Retention()
    crash_budget: int = CRASH_BUDGET
    #: Largest returned value that is kept with a job's record, bytes of JSON; None: no value is kept.
    max_result: int | None = None


class Handlers:
    """The handlers of one program."""

    def __init__(self) -> None:
        self._by_stream: dict[str, Registration] = {}
        #: Stream -> recurring jobs by id, and ids of those that are no more.
        self._recurring: dict[str, dict[str, Schedule]] = {}
        self._gone: dict[str, set[str]] = {}

    def __repr__(self) -> str:
        return f"<Handlers {', '.join(self._by_stream) or 'none'}>"

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_stream.values())

    def on(
        self,
        stream: str,
        payload_type: type[T],
        *,
        concurrency: int = 10,
        retry: Retry = Retry(),  # noqa: B008 - frozen
        timeout: float | None = None,
        hard_limit: float | None = None,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        crash_budget: int = CRASH_BUDGET,
        max_result: int | None = None,
    ) -> Callable[[Handler[T]], Handler[T]]:
        """Register the decorated function for `stream`; it gets jobs with a `payload_type`.

        `timeout` cancels the handler at its next await and counts as a failed attempt. A plain function
        runs in a thread, which nothing can end: past its timeout it goes on beside the next job. `hard_limit`
        is for what does not await: the whole process is killed, which counts as a crash of every job in it.
        Run processes under a `Supervisor`, which starts a successor.

        `max_result`: keep what the handler returns, as JSON of at most so many bytes (65,536 at most), for as
        long as the record of the completed job (`retention`): `(await admin.find(job_id)).result(Thumbnail)`.
        A value that is larger, or that msgspec cannot write as JSON, is not kept, and the record and a log
        line say why; the job is done all the same: its work was, and doing it again would do it twice and
        come to the same value.

        Raises InvalidJob for a stream that has a handler already or a number out of range.
        """

        def register(function: Handler[T]) -> Handler[T]:
            self.add(
                Registration(
                    stream=stream,
                    payload_type=payload_type,
                    run=function,
                    is_async=_is_async(function),
                    concurrency=concurrency,
                    retry=retry,
                    timeout=timeout,
                    hard_limit=hard_limit,
                    retention=retention,
                    crash_budget=crash_budget,
                    max_result=max_result,
                )
            )
            return function

        return register

    def add(self, registration: Registration) -> None:
        """Register; see `on`."""
        StreamKeys.of(registration.stream)
        if registration.stream in self._by_stream:
            raise InvalidJob(f"stream {registration.stream!r} has a handler already")
        try:
            _check(registration)
        except InvalidJob as error:
            raise InvalidJob(f"{error}, in the handler of {registration.stream!r}") from None
        self._by_stream[registration.stream] = registration

    def recur(
        self, stream: str, schedule_id: str, when: Every | Cron, payload: Any, **options: Any
    ) -> Schedule:
        """Declare a recurring job of a stream that has its handler here; options as `schedules.Schedule`.

        Every worker of the stream puts it into the broker when it starts; the same declaration by many is
        one schedule. One that is taken out of the code stays in the broker: see `no_longer`. Raises
        UnknownStream, InvalidJob, InvalidPayload.
        """
        payload_type = self.of(stream).payload_type
        schedule = new_schedule(schedule_id, when, payload, payload_type=payload_type, **options)
        known = self._recurring.setdefault(stream, {})
        if schedule_id in known or schedule_id in self._gone.get(stream, ()):
            raise InvalidJob(f"recurring job {schedule_id!r} of {stream!r} is declared already")
        known[schedule_id] = schedule
        return schedule

    def no_longer(self, stream: str, *schedule_ids: str) -> None:
        """Declare that recurring jobs which an earlier version declared are no more: removed at a start.

        Raises UnknownStream, InvalidJob for one that is declared here.
        """
        self.of(stream)
        for schedule_id in schedule_ids:
            if schedule_id in self._recurring.get(stream, {}):
                raise InvalidJob(f"recurring job {schedule_id!r} of {stream!r} is declared here")
            self._gone.setdefault(stream, set()).add(schedule_id)

    def recurring(self, stream: str) -> tuple[Schedule, ...]:
        """The recurring jobs that are declared for the stream."""
        return tuple(self._recurring.get(stream, {}).values())

    def gone(self, stream: str) -> tuple[str, ...]:
        """Ids of those that are no more."""
        return tuple(sorted(self._gone.get(stream, ())))

    def of(self, stream: str) -> Registration:
        """The registration of `stream`; raises UnknownStream."""
        try:
            return self._by_stream[stream]
        except KeyError:
            known = ", ".join(self._by_stream) or "none"
            raise UnknownStream(f"no handler for stream {stream!r} (known: {known})") from None


def _check(asked: Registration) -> None:
    """Raises InvalidJob for an option that cannot be."""
    check_whole("concurrency", asked.concurrency, 1, MAX_CONCURRENCY)
    check_whole("crash_budget", asked.crash_budget, 1, 1_000_000)
    for name, value, kind in (("retry", asked.retry, Retry), ("retention", asked.retention, Retention)):
        if not isinstance(value, kind):
            raise InvalidJob(f"{name}={value!r} is no {kind.__name__}(...)")
    if asked.timeout is not None:
        check_timeout(asked.timeout)
    if asked.hard_limit is not None:
        check_number("hard_limit", asked.hard_limit, 0, MAX_TIMEOUT, what="seconds")
        if asked.hard_limit <= (asked.timeout or 0):
            raise InvalidJob(f"hard_limit={asked.hard_limit!r} is not longer than the timeout")
    if asked.max_result is not None:
        check_whole("max_result", asked.max_result, 1, MAX_RESULT)


def _is_async(function: Callable[..., Any]) -> bool:
    """Also for objects with an asynchronous `__call__` and for partials of such."""
    while hasattr(function, "func"):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
