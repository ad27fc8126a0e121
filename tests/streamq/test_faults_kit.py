"""The testing kit's faults: what a user's unit test sees of its handlers when replies are lost and workers die."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from streamq import BrokerFull, BrokerUnavailable, Every, Handlers, Job, Queue, Retry, Worker, WorkerOptions
from streamq.clock import SystemClock
from streamq.testing import FaultyBroker, ManualClock, WorkerKilled, drain
from streamq.testing.faults import Point


class Note(msgspec.Struct, frozen=True):
    n: int = 0


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


class Books:
    """A user's table, which believes the highest fence only."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, str]] = {}
        self.refused: list[str] = []

    def write(self, job: Job[Note], what: str) -> None:
        if self.rows.get(job.id, (0, ""))[0] > job.fence:
            self.refused.append(what)
        else:
            self.rows[job.id] = (job.fence, what)


# --- replies -------------------------------------------------------------------------------------------------


async def test_an_enqueue_whose_reply_is_lost_adds_one_job(handlers: Handlers) -> None:
    broker = FaultyBroker()
    broker.lose_reply("enqueue", times=2)
    receipt = await Queue("notes", broker).enqueue(Note())
    assert receipt.created
    assert (await broker.stats("notes")).ready["normal"] == 1


async def test_a_broker_that_refuses_is_told_as_it_is_and_nothing_is_there() -> None:
    broker = FaultyBroker()
    queue = Queue("notes", broker)
    broker.refuse("enqueue", BrokerFull("no memory"))
    with pytest.raises(BrokerFull, match="no memory"):
        await queue.enqueue(Note())
    broker.refuse("enqueue", times=5)
    with pytest.raises(BrokerUnavailable):
        await queue.enqueue(Note())
    assert (await broker.stats("notes")).ready["normal"] == 0
    assert (await queue.enqueue(Note())).created


async def test_turns_whose_replies_are_lost_lose_no_job_and_end_none_twice(handlers: Handlers) -> None:
    broker = FaultyBroker()
    ran: list[int] = []

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        ran.append(job.payload.n)
        broker.lose_reply("turn")

    await Queue("notes", broker).enqueue_many([Note(n) for n in range(5)])
    broker.lose_reply("turn", times=3)
    drained = await drain(broker, handlers)
    assert sorted(ran) == list(range(5))
    assert len(drained.done) == 5
    assert (await broker.stats("notes")).counters["done"] == 5


async def test_a_real_worker_goes_on_over_lost_and_refused_turns(handlers: Handlers) -> None:
    broker = FaultyBroker(SystemClock())
    ran: list[int] = []

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        ran.append(job.payload.n)

    await Queue("notes", broker).enqueue_many([Note(n) for n in range(5)])
    broker.lose_reply("turn", times=2)
    broker.refuse("turn")
    with anyio.fail_after(30):
        await Worker(broker, handlers, options=WorkerOptions(burst_wait=0.0)).run(handle_signals=False)
    assert sorted(ran) == list(range(5))


async def test_a_broker_that_never_answers_ends_a_drain(handlers: Handlers) -> None:
    broker = FaultyBroker()
    handlers.on("notes", Note)(print)
    broker.refuse("turn", times=1000)
    with pytest.raises(BrokerUnavailable):
        await drain(broker, handlers)


async def test_a_tick_whose_reply_is_lost_has_one_job(handlers: Handlers) -> None:
    broker = FaultyBroker(ManualClock(1_767_225_600.0))
    handlers.on("notes", Note)(print)
    handlers.recur("notes", "minutely", Every(60), Note())
    await drain(broker, handlers, seconds=1)
    broker.lose_reply("change_schedule")
    with pytest.raises(BrokerUnavailable):
        await drain(broker, handlers, seconds=59)
    assert (await drain(broker, handlers, seconds=1)).done == ("minutely@2026-01-01T00:01:00Z",)


# --- workers that die ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "effects", "outcomes"),
    [
        ("taken", 1, ["killed", "done"]),
        ("ran", 2, ["killed", "done"]),
        ("told", 1, ["done"]),
    ],
)
async def test_a_worker_that_dies_at_a_point_leaves_its_job_to_another(
    handlers: Handlers, point: Point, effects: int, outcomes: list[str]
) -> None:
    broker = FaultyBroker()
    crashes: list[int] = []

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        crashes.append(job.crashes)

    await Queue("notes", broker).enqueue(Note(), job_id="a")
    broker.kill_worker(point, job_id="a")
    drained = await drain(broker, handlers)
    assert len(crashes) == effects
    assert [ran.outcome for ran in drained.runs] == outcomes
    assert [ran.attempt for ran in drained.runs] == [1] * len(outcomes), "a crash is no attempt"
    assert drained.done == ("a",)


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_a_handler_may_end_its_worker_anywhere_and_a_job_that_always_does_is_dead(
    handlers: Handlers, in_a_thread: bool
) -> None:
    broker = FaultyBroker()

    def work(job: Job[Note]) -> None:
        if job.payload.n == 0 or job.crashes == 0:
            raise WorkerKilled

    async def work_async(job: Job[Note]) -> None:
        work(job)

    handlers.on("notes", Note, retry=Retry(delays=(30,)))(work if in_a_thread else work_async)
    for n in range(2):
        await Queue("notes", broker).enqueue(Note(n), job_id=str(n))
    drained = await drain(broker, handlers)
    assert sorted((ran.job_id, ran.outcome) for ran in drained.runs) == [
        *[("0", "killed")] * 3,
        ("1", "done"),
        ("1", "killed"),
    ]
    (letter,) = await broker.dead("notes")
    assert (letter.envelope.id, letter.reason) == ("0", "crashed")


async def test_one_that_is_not_named_falls_upon_the_next_job(handlers: Handlers) -> None:
    broker = FaultyBroker()
    handlers.on("notes", Note)(print)
    for n in range(3):
        await Queue("notes", broker).enqueue(Note(n), job_id=str(n))
    broker.kill_worker("taken", times=2)
    drained = await drain(broker, handlers)
    assert [ran.outcome for ran in drained.runs].count("killed") == 2
    assert sorted(drained.done) == ["0", "1", "2"]


# --- workers that stand still --------------------------------------------------------------------------------


async def test_what_a_frozen_worker_says_is_refused_and_the_job_runs_again(handlers: Handlers) -> None:
    broker = FaultyBroker()
    handlers.on("notes", Note)(print)
    await Queue("notes", broker).enqueue(Note(), job_id="a")
    broker.freeze_worker(job_id="a")
    drained = await drain(broker, handlers)
    assert [ran.outcome for ran in drained.runs] == ["lease_lost", "done"]
    assert (await broker.stats("notes")).counters["done"] == 1


async def test_a_worker_frozen_in_its_handler_wakes_after_another_has_done_the_job_and_its_fence_is_lower(
    handlers: Handlers,
) -> None:
    broker, books = FaultyBroker(), Books()

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        if job.crashes == 0:
            await broker.freeze(job.id)
        books.write(job, "first" if job.crashes == 0 else "second")

    await Queue("notes", broker).enqueue(Note(), job_id="a")
    began = broker.clock.time()
    drained = await drain(broker, handlers)
    assert [ran.outcome for ran in drained.runs] == ["done", "lease_lost"]
    assert books.rows["a"][1] == "second"
    assert books.refused == ["first"]
    assert broker.clock.time() - began == pytest.approx(13.0)


async def test_on_a_real_worker_a_frozen_handlers_job_goes_to_whoever_takes_it(handlers: Handlers) -> None:
    broker = FaultyBroker(SystemClock())
    crashes: list[int] = []

    @handlers.on("notes", Note)
    async def note(job: Job[Note]) -> None:
        crashes.append(job.crashes)
        if job.crashes == 0:
            await broker.freeze(job.id)

    await Queue("notes", broker).enqueue(Note())
    with anyio.fail_after(30):
        await Worker(broker, handlers, options=WorkerOptions(burst_wait=0.0)).run(handle_signals=False)
    assert crashes == [0, 1]


async def test_only_a_job_in_hand_can_be_frozen(handlers: Handlers) -> None:
    broker = FaultyBroker()
    handlers.on("notes", Note)(print)
    await Queue("notes", broker).enqueue(Note(), job_id="a")
    await drain(broker, handlers)
    with pytest.raises(ValueError, match="nobody has job a"):
        await broker.freeze("a")
