"""Hooks and observers: each is called for what it is for, and what one raises harms neither job nor others."""

from __future__ import annotations

import anyio
import msgspec
import pytest
import redis

from streamq import (
    DeadLetter,
    Handlers,
    Hooks,
    Job,
    Queue,
    RedisBroker,
    Retry,
    Snooze,
    SyncQueue,
    Worker,
    WorkerOptions,
)
from streamq.events import Event, JobEnded, JobsEnqueued, JobsReclaimed, JobStarted, ReadCompleted
from streamq.job import NewJob
from streamq.testing import MemoryBroker


class Note(msgspec.Struct, frozen=True):
    what: str


async def work_off(url: str, hooks: list[object]) -> None:
    """A job that is done, one that is retried and then dead, one that is dead at once, one that is snoozed."""
    handlers = Handlers()
    snoozed = []

    @handlers.on("notes", Note, retry=Retry(delays=(0.01,)))
    async def note(job: Job[Note]) -> None:
        match job.payload.what:
            case "fails":
                raise ValueError("no")
            case "gives up":
                raise DeadLetter("unwanted")
            case "snoozes" if not snoozed:
                snoozed.append(job.id)
                raise Snooze(0.01)
            case _:
                pass

    async with RedisBroker.from_url(url) as broker:
        for what in ("works", "fails", "gives up", "snoozes"):
            await Queue("notes", broker).enqueue(Note(what), job_id=what)
        options = WorkerOptions(burst_wait=1.0)
        with anyio.fail_after(30):
            await Worker(broker, handlers, options=options, observers=hooks).run(handle_signals=False)  # type: ignore[arg-type]
        assert (await broker.stats("notes")).counters["done"] == 2
        assert len(await broker.dead("notes")) == 2


async def test_each_hook_is_called_for_what_it_is_for(server_url: str) -> None:
    called: list[tuple[str, str, int]] = []

    def hook(name: str) -> object:
        return lambda event: called.append((name, event.job_id, event.attempt))

    names = ("on_completed", "on_failed", "on_retry", "on_dead")
    await work_off(server_url, [Hooks(**{name: hook(name) for name in names})])  # type: ignore[arg-type]
    assert sorted(called) == [
        ("on_completed", "snoozes", 1),
        ("on_completed", "works", 1),
        ("on_dead", "fails", 2),
        ("on_dead", "gives up", 1),
        ("on_failed", "fails", 1),
        ("on_failed", "fails", 2),
        ("on_failed", "gives up", 1),
        ("on_retry", "fails", 1),
    ]


async def test_hooks_that_raise_harm_neither_a_job_nor_each_other(
    server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []

    def bad(event: Event) -> None:
        raise RuntimeError("hook")

    hooks = Hooks(on_completed=bad, on_failed=bad, on_retry=bad, on_dead=seen.append)
    await work_off(server_url, [bad, hooks, seen.append])
    assert {type(event) for event in seen} >= {JobStarted, JobEnded, ReadCompleted}
    assert sum(isinstance(event, JobEnded) and event.outcome == "dead" for event in seen) == 4, "twice each"
    assert any(record.message == "observer_failed" for record in caplog.records)


async def test_jobs_of_a_dead_worker_are_told_by_whoever_takes_them(server_url: str) -> None:
    reclaimed: list[JobsReclaimed] = []
    handlers = Handlers()

    @handlers.on("notes", Note)
    async def note(_: Job[Note]) -> None:
        pass

    async with RedisBroker.from_url(server_url) as broker:
        job = NewJob(payload=b'{"what":"works"}', id="one")
        await broker.enqueue("notes", [job], call_id="c")
        await broker.turn("notes", "dead one", sequence=1, free=1)
        options = WorkerOptions(lease=0.5, renew=0.1, burst_wait=0.0)
        hooks = Hooks(on_reclaimed=reclaimed.append)
        with anyio.fail_after(30):
            await Worker(broker, handlers, options=options, observers=[hooks]).run(handle_signals=False)
    assert reclaimed == [JobsReclaimed("notes", "dead one", ready=1, dead=0)]


async def test_a_producer_s_observer_that_raises_does_not_hide_the_receipt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def bad(event: Event) -> None:
        raise RuntimeError("hook")

    receipt = await Queue("notes", MemoryBroker(), observer=bad).enqueue(Note("works"))
    assert receipt.created
    assert "observer_failed" in caplog.text


def test_a_producer_without_an_event_loop_tells_its_observer_and_may_name_a_partition(
    valkey_url: str,
) -> None:
    told: list[Event] = []
    queue = SyncQueue("notes", RedisBroker.from_url(valkey_url), observer=told.append)
    queue.enqueue(Note("a"), unique="k")
    queue.enqueue(Note("b"), unique="k")
    queue.enqueue_jobs([NewJob(payload=b"{}", id=f"job-{n}") for n in range(3)], partition=1)
    assert told == [JobsEnqueued("notes", 1, 0), JobsEnqueued("notes", 0, 1), JobsEnqueued("notes", 3, 0)]
    with redis.Redis.from_url(valkey_url) as client:
        assert (client.xlen("notes"), client.xlen("notes.1")) == (1, 3)
