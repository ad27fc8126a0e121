"""The producer's face: put jobs into a stream.

    receipt = await Queue("images", broker).enqueue(ResizeImage(...), unique="a.png@640", unique_for=300)

`SyncQueue` is the same for programs without an event loop. Importing this brings in redis, msgspec
and anyio only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypedDict, Unpack

import anyio
import msgspec

from streamq import tracing
from streamq.broker import Broker
from streamq.durability import Durability, durability_of
from streamq.errors import (
    BrokerUnavailable,
    InvalidJob,
    MorePartitions,
    NotConfirmed,
    PayloadTooLarge,
    StreamqError,
)
from streamq.events import JobsEnqueued, Observer, tell
from streamq.job import NewJob, Receipt, new_job_id
from streamq.keys import Lane, StreamKeys
from streamq.limits import Limit
from streamq.partitions import Part, Plan, new_call_id
from streamq.redis_broker import RedisBroker
from streamq.retry import Retry

#: Largest payload, bytes: a queue moves words about work, not the work itself.
MAX_PAYLOAD: Final = 1024 * 1024
#: Seconds before the 2nd, 3rd ... try of an enqueue whose reply was lost.
_PAUSES: Final = (0.05, 0.2, 0.5, 1.0)


class JobOptions(TypedDict, total=False):
    """The options of one job, for whoever hands them on; each is told at `new_job`."""

    job_id: str | None
    delay: float
    at: float | None
    lane: Lane
    unique: str | None
    unique_for: float | None
    replace: bool
    max_wait: float | None
    limit: Limit | None
    headers: Mapping[str, str] | None
    retry: Retry | None
    timeout: float | None


def new_job(
    payload: Any,
    *,
    max_payload: int = MAX_PAYLOAD,
    job_id: str | None = None,
    delay: float = 0.0,
    at: float | None = None,
    lane: Lane = "normal",
    unique: str | None = None,
    unique_for: float | None = None,
    replace: bool = False,
    max_wait: float | None = None,
    limit: Limit | None = None,
    headers: Mapping[str, str] | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
) -> NewJob:
    """A job ready to be enqueued.

    `payload`: anything msgspec encodes as JSON; bytes are taken as JSON text already.
    `delay`: seconds from now by the server's clock. `at`: seconds since the epoch instead.
    `unique`: while another job holds this key, enqueueing is a duplicate; held for `unique_for`
    seconds, or until the job has ended. `replace`: where that other job waits, this one takes its
    place, under its id; a delay counts from now on, but not further than `max_wait` seconds from when
    it was first enqueued. Where it runs, this one starts when it has ended. `limit`: the terms under
    which it may start. `job_id`: a second job of that id is a duplicate for a day.
    Raises PayloadTooLarge or InvalidJob.
    """
    try:
        data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJob(f"the payload cannot be written as JSON: {error}") from error
    if isinstance(payload, bytes):
        _check_text(payload)
    kept, size = ({}, 0) if headers is None else _with_size(headers)
    size += len(data)
    if size > max_payload:
        raise PayloadTooLarge(f"payload and headers have {size:,} bytes; this queue takes {max_payload:,}")
    if unique_for is not None and unique is None:
        raise InvalidJob("unique_for says how long the key `unique` is held, but no key was given")
    return NewJob(
        payload=data,
        id=new_job_id() if job_id is None else job_id,
        id_is_callers=job_id is not None,
        lane=lane,
        delay=delay,
        at=at,
        unique=unique,
        unique_for=unique_for,
        replace=replace,
        max_wait=max_wait,
        limit=limit,
        headers=kept,
        retry=retry,
        timeout=timeout,
    )


def _check_text(data: bytes) -> None:
    """Raises InvalidJob for what no handler could be given."""
    try:
        data.decode()
        msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        raise InvalidJob(f"the payload's bytes are no JSON text: {error}") from error


def _with_size(headers: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """A copy, and its bytes as it travels. Whether all are texts is looked at by `NewJob`."""
    try:
        kept = dict(headers)
        return kept, len(msgspec.json.encode(kept)) if kept else 0
    except (TypeError, ValueError) as error:
        raise InvalidJob(f"the headers are not texts by name: {error}") from error


class Queue:
    """One stream, to put jobs into."""

    def __init__(
        self,
        stream: str,
        broker: Broker,
        *,
        max_payload: int = MAX_PAYLOAD,
        observer: Observer | None = None,
        durability: str = "none",
    ) -> None:
        """`durability`: of jobs whose call says nothing else, see `streamq.durability`."""
        StreamKeys.of(stream)  # a name that cannot be one is refused here, not at the first job
        self._durability = durability_of(durability)
        self.stream = stream
        self._broker = broker
        self._max_payload = max_payload
        self._observer = observer

    def __repr__(self) -> str:
        return f"<Queue {self.stream} on {self._broker!r}>"

    async def enqueue(
        self, payload: Any, *, durability: str | None = None, **options: Unpack[JobOptions]
    ) -> Receipt:
        """Add one job; options as `new_job`'s.

        When it returns, the job is in the broker, as safe as `durability` asks (None: as the queue does),
        and will end as done, dead or cancelled. A lost reply is asked for again under the same call id, so
        it never adds a second job. Raises BrokerUnavailable (it may or may not be there), NotConfirmed (it
        is there), BrokerFull, BrokerRefused (a durability this server cannot give; nothing was written),
        InvalidJob, PayloadTooLarge.
        """
        (receipt,) = await self.enqueue_jobs([self.new_job(payload, **options)], durability=durability)
        return receipt

    async def enqueue_many(
        self, payloads: Iterable[Any], *, durability: str | None = None, **options: Unpack[JobOptions]
    ) -> list[Receipt]:
        """Add many jobs in one round trip (500 a call); options hold for each."""
        jobs = [self.new_job(payload, **options) for payload in payloads]
        return await self.enqueue_jobs(jobs, durability=durability)

    def new_job(self, payload: Any, **options: Unpack[JobOptions]) -> NewJob:
        """See the function `new_job`."""
        return new_job(payload, max_payload=self._max_payload, **options)

    async def enqueue_jobs(
        self,
        jobs: Sequence[NewJob],
        *,
        durability: str | None = None,
        call_id: str | None = None,
        partition: int | None = None,
    ) -> list[Receipt]:
        """Add jobs that were built one by one.

        `call_id`: of a call that was not confirmed (`NotConfirmed.call_id`, with its `jobs`), to ask again.
        `partition`: where all of them go; None: each where its key belongs. In a stream of several partitions
        all or none holds for the jobs of each.
        """
        wanted = self._durability if durability is None else durability_of(durability)
        call_id = call_id or new_call_id(new_job_id(), self._broker.counts.get(self.stream, 1))
        if not tracing.is_on():
            return self._told(await self._enqueue(jobs, wanted, call_id, partition))
        with tracing.sending(self.stream, jobs) as (carrying, answered):
            receipts = self._told(await self._enqueue(carrying, wanted, call_id, partition))
            answered(receipts)
            return receipts

    async def _enqueue(
        self, jobs: Sequence[NewJob], wanted: Durability, call_id: str, partition: int | None
    ) -> list[Receipt]:
        plan = Plan(self.stream, jobs, call_id, partition=partition)
        trouble: list[StreamqError] = []

        async def part_by_part() -> None:
            while plan.parts and not trouble:
                part = plan.parts.popleft()
                try:
                    plan.answered(part, await self._add(part, wanted))
                except MorePartitions as more:
                    self._broker.counts[self.stream] = more.count
                    plan.divide_anew(part, more.count)
                except StreamqError as error:
                    trouble.append(error)

        while plan.parts and not trouble:
            if len(plan.parts) == 1:
                await part_by_part()
                continue
            async with anyio.create_task_group() as group:
                for _ in range(len(plan.parts)):
                    group.start_soon(part_by_part)
        for error in trouble:
            if isinstance(error, NotConfirmed):  # what can be repeated is the whole call
                raise NotConfirmed(str(error), jobs=jobs, call_id=call_id) from error
            raise error
        return plan.receipts

    async def _add(self, part: Part, wanted: Durability) -> list[Receipt]:
        for pause in _PAUSES:
            try:
                return await self._add_once(part, wanted)
            except BrokerUnavailable:
                await anyio.sleep(pause * (1 + random.random()))  # noqa: S311 - spreads retries
        return await self._add_once(part, wanted)

    async def _add_once(self, part: Part, wanted: Durability) -> list[Receipt]:
        stream, call_id = part.stream, part.call_id
        if wanted:
            await self._broker.can_confirm(stream, wanted)
        receipts = await self._broker.enqueue(stream, part.jobs, call_id=call_id, partitions=part.count)
        if wanted:
            await self._broker.confirm(stream, len(part.jobs), call_id=call_id, durability=wanted)
        return receipts

    def _told(self, receipts: list[Receipt]) -> list[Receipt]:
        return _told(self._observer, self.stream, receipts)


class SyncQueue:
    """`Queue` for programs without an event loop. Safe to share between threads."""

    def __init__(
        self,
        stream: str,
        broker: RedisBroker,
        *,
        max_payload: int = MAX_PAYLOAD,
        observer: Observer | None = None,
        durability: str = "none",
    ) -> None:
        """See `Queue`. `observer` is called in the thread that enqueues."""
        StreamKeys.of(stream)
        self._durability = durability_of(durability)
        self.stream = stream
        self._broker = broker
        self._max_payload = max_payload
        self._observer = observer

    def __repr__(self) -> str:
        return f"<SyncQueue {self.stream} on {self._broker!r}>"

    def enqueue(
        self, payload: Any, *, durability: str | None = None, **options: Unpack[JobOptions]
    ) -> Receipt:
        """See `Queue.enqueue`."""
        jobs = [new_job(payload, max_payload=self._max_payload, **options)]
        (receipt,) = self.enqueue_jobs(jobs, durability=durability)
        return receipt

    def enqueue_many(
        self, payloads: Iterable[Any], *, durability: str | None = None, **options: Unpack[JobOptions]
    ) -> list[Receipt]:
        """See `Queue.enqueue_many`."""
        jobs = [new_job(payload, max_payload=self._max_payload, **options) for payload in payloads]
        return self.enqueue_jobs(jobs, durability=durability)

    def enqueue_jobs(
        self,
        jobs: Sequence[NewJob],
        *,
        durability: str | None = None,
        call_id: str | None = None,
        partition: int | None = None,
    ) -> list[Receipt]:
        """See `Queue.enqueue_jobs`."""
        wanted = self._durability if durability is None else durability_of(durability)
        call_id = call_id or new_call_id(new_job_id(), self._broker.counts.get(self.stream, 1))
        if not tracing.is_on():
            return self._told(self._enqueue(jobs, wanted, call_id, partition))
        with tracing.sending(self.stream, jobs) as (carrying, answered):
            receipts = self._told(self._enqueue(carrying, wanted, call_id, partition))
            answered(receipts)
            return receipts

    def _enqueue(
        self, jobs: Sequence[NewJob], wanted: Durability, call_id: str, partition: int | None
    ) -> list[Receipt]:
        plan = Plan(self.stream, jobs, call_id, partition=partition)
        while plan.parts:
            part = plan.parts.popleft()
            try:
                plan.answered(part, self._add(part, wanted))
            except MorePartitions as more:
                self._broker.counts[self.stream] = more.count
                plan.divide_anew(part, more.count)
            except NotConfirmed as error:
                raise NotConfirmed(str(error), jobs=jobs, call_id=call_id) from error
        return plan.receipts

    def _add(self, part: Part, wanted: Durability) -> list[Receipt]:
        for pause in _PAUSES:
            try:
                return self._add_once(part, wanted)
            except BrokerUnavailable:
                time.sleep(pause * (1 + random.random()))  # noqa: S311 - spreads retries
        return self._add_once(part, wanted)

    def _add_once(self, part: Part, wanted: Durability) -> list[Receipt]:
        stream, call_id = part.stream, part.call_id
        if wanted:
            self._broker.can_confirm_blocking(stream, wanted)
        receipts = self._broker.enqueue_blocking(stream, part.jobs, call_id=call_id, partitions=part.count)
        if wanted:
            self._broker.confirm_blocking(stream, len(part.jobs), call_id=call_id, durability=wanted)
        return receipts

    def _told(self, receipts: list[Receipt]) -> list[Receipt]:
        return _told(self._observer, self.stream, receipts)


def _told(observer: Observer | None, stream: str, receipts: list[Receipt]) -> list[Receipt]:
    if observer is not None:
        created = sum(receipt.created for receipt in receipts)
        replaced = sum(receipt.replaced for receipt in receipts)
        tell((observer,), JobsEnqueued(stream, created, len(receipts) - created - replaced, replaced))
    return receipts
