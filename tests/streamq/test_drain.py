"""`drain`: what a user's unit test sees of its handlers, without a server and without waiting."""

from __future__ import annotations

import msgspec
import pytest

from streamq import DeadLetter, Every, Handlers, Job, Queue, Recurring, RedisBroker, Retry, Snooze
from streamq.clock import SystemClock
from streamq.testing import EndlessDrainError, ManualClock, MemoryBroker, drain


class Note(msgspec.Struct, frozen=True):
    n: int


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


async def test_retries_come_after_0_30_and_150_seconds_without_any_waiting(handlers: Handlers) -> None:
    # Given a handler that fails twice
    broker = MemoryBroker(ManualClock())

    @handlers.on("notes", Note, retry=Retry(delays=(30, 120)))
    async def note(job: Job[Note]) -> None:
        if not job.last_attempt:
            raise OSError("not yet")

    await Queue("notes", broker).enqueue(Note(1), job_id="one")

    # When it is drained
    drained = await drain(broker, handlers)

    # Then it ran three times, at its times, and succeeded
    assert [(ran.attempt, ran.at, ran.outcome) for ran in drained.runs] == [
        (1, pytest.approx(0), "retried"),
        (2, pytest.approx(30, abs=0.002), "retried"),
        (3, pytest.approx(150, abs=0.002), "done"),
    ]
    assert [ran.delay for ran in drained.runs] == [30, 120, None]
    assert drained.runs[0].error == "OSError: not yet"
    assert (drained.done, drained.dead, drained.delayed) == (("one",), (), 0)


async def test_what_ends_dead_is_told_with_its_reason(handlers: Handlers) -> None:
    broker = MemoryBroker()

    @handlers.on("notes", Note, retry=Retry(delays=(30, 120)))
    async def note(job: Job[Note]) -> None:
        if job.payload.n:
            raise DeadLetter("unwanted")
        raise ValueError("never")

    queue = Queue("notes", broker)
    await queue.enqueue(Note(0), job_id="fails")
    await queue.enqueue(Note(1), job_id="refused")
    await queue.enqueue(b'{"n":"x"}', job_id="garbled")

    drained = await drain(broker, handlers)

    assert drained.done == ()
    assert {ran.job_id: ran.reason for ran in drained.runs if ran.outcome == "dead"} == {
        "refused": "unwanted",
        "garbled": "invalid_payload",
        "fails": "exhausted",
    }
    assert len(await broker.dead("notes")) == 3


async def test_it_follows_what_handlers_put_into_other_streams_now_and_later(handlers: Handlers) -> None:
    broker = MemoryBroker()

    @handlers.on("second", Note)
    def second(job: Job[Note]) -> None:  # a plain one: it runs in a thread
        pass

    @handlers.on("first", Note)
    async def first(job: Job[Note]) -> None:
        queue = Queue("second", broker)
        await queue.enqueue(job.payload, job_id="now")
        await queue.enqueue(job.payload, job_id="later", delay=3600)

    await Queue("first", broker).enqueue(Note(1), job_id="one")

    drained = await drain(broker, handlers)

    assert [(ran.stream, ran.job_id, round(ran.at)) for ran in drained.runs] == [
        ("first", "one", 0),
        ("second", "now", 0),
        ("second", "later", 3600),
    ]
    assert (await broker.stats("second")).workers == 0


async def test_only_the_named_streams_are_drained_and_a_paused_one_is_left(handlers: Handlers) -> None:
    broker = MemoryBroker()
    for stream in ("named", "other", "paused"):

        @handlers.on(stream, Note)
        async def note(job: Job[Note]) -> None:
            pass

        await Queue(stream, broker).enqueue(Note(1), job_id=stream)
        await Queue(stream, broker).enqueue(Note(1), job_id=f"{stream} later", delay=60)
    await broker.set_paused("paused", paused=True)

    drained = await drain(broker, handlers, streams=["named", "paused"])

    assert drained.done == ("named", "named later")
    assert sum((await broker.stats("paused")).ready.values()) >= 1
    assert (await broker.stats("other")).delayed == 1


async def test_a_snooze_without_end_is_found_out_and_nothing_stays_in_hand(handlers: Handlers) -> None:
    broker = MemoryBroker()

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        raise Snooze(1)

    await Queue("notes", broker).enqueue(Note(1))

    with pytest.raises(EndlessDrainError, match="still work after 7 runs"):
        await drain(broker, handlers, max_runs=7)

    stats = await broker.stats("notes")
    assert (stats.counters["snoozed"], stats.leased, sum(stats.ready.values())) == (7, 0, 1)


async def test_as_many_runs_as_allowed_are_allowed(handlers: Handlers) -> None:
    broker = MemoryBroker()

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        pass

    await Queue("notes", broker).enqueue_many([Note(n) for n in range(7)])

    assert len((await drain(broker, handlers, max_runs=7)).done) == 7


async def test_a_job_taken_away_meanwhile_is_told_as_lost(handlers: Handlers) -> None:
    broker = MemoryBroker()
    runs = 0

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            (held,) = await broker.pending("notes")
            await broker.reclaim("notes", held.worker, beat=None, crash_budget=3)

    await Queue("notes", broker).enqueue(Note(1))

    assert [ran.outcome for ran in (await drain(broker, handlers)).runs] == ["lease_lost", "done"]


async def test_where_time_runs_by_itself_what_is_not_due_is_left_and_counted(
    handlers: Handlers, server_url: str
) -> None:
    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        pass

    async with RedisBroker.from_url(server_url) as on_redis:
        for broker in (MemoryBroker(SystemClock()), on_redis):
            queue = Queue("notes", broker)
            await queue.enqueue(Note(1), job_id="now")
            await queue.enqueue(Note(1), job_id="later", delay=3600)

            drained = await drain(broker, handlers)

            assert (drained.done, drained.delayed) == (("now",), 1)


async def test_a_day_of_ticks_runs_in_no_time_with_the_retries_in_between(handlers: Handlers) -> None:
    # Given an hourly job that fails once a day, and one that ends after three
    broker = MemoryBroker(ManualClock(1_767_225_600.0))

    @handlers.on("notes", Note, retry=Retry(delays=(30,)))
    async def note(job: Job[Note]) -> None:
        if job.headers["streamq-tick"] == "2026-01-01T05:00:00Z" and not job.last_attempt:
            raise OSError("not yet")

    handlers.recur("notes", "hourly", Every(3600), Note(1))
    await Recurring("notes", broker).add("minutely", Every(60), Note(2), max_runs=3)

    # When a day passes
    drained = await drain(broker, handlers, seconds=86400)

    # Then each tick had its job, at its time
    hourly = [ran for ran in drained.runs if ran.job_id.startswith("hourly@")]
    assert [ran.at for ran in hourly if ran.attempt == 1] == pytest.approx(
        [3600 * n for n in range(1, 25)], abs=0.01
    )
    assert [(ran.job_id, round(ran.at)) for ran in hourly if ran.attempt == 2] == [
        ("hourly@2026-01-01T05:00:00Z", 18030)
    ]
    assert len([one for one in drained.done if one.startswith("minutely@")]) == 3
    assert broker.clock.time() == pytest.approx(1_767_225_600.0 + 86400)


async def test_so_many_seconds_pass_only_where_a_clock_can_be_moved(handlers: Handlers) -> None:
    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        pass

    with pytest.raises(ValueError, match="ManualClock"):
        await drain(MemoryBroker(SystemClock()), handlers, seconds=1)
    broker = MemoryBroker()
    await Queue("notes", broker).enqueue(Note(1), delay=100)
    assert (await drain(broker, handlers, seconds=99)).delayed == 1
    assert len((await drain(broker, handlers, seconds=1)).done) == 1
