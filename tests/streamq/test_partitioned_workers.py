"""Workers of a stream in several partitions: shared slots, growth under load, kills, and a real cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamq import Handlers, Job, Queue, RedisBroker, SyncQueue, Worker, WorkerOptions
from streamq.clock import SystemClock
from streamq.partitions import partition_names
from streamq.share import Share
from streamq.testing import MemoryBroker, drain
from tests.support import fleets, servers

DEADLINE = 60.0
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
QUICK = WorkerOptions(lease=2.0, renew=0.2)


# --- slots that are shared ---------------------------------------------------------------------------


class Reader:
    def __init__(self, in_hand: int, asked: int, *, hungry: bool) -> None:
        self.in_hand, self.asked, self.hungry, self.told = in_hand, asked, hungry, False
        self.served = 0

    def look_again(self) -> None:
        self.told = True


readers = st.lists(
    st.builds(Reader, st.integers(0, 5), st.integers(0, 3), hungry=st.booleans()), min_size=1, max_size=6
)


@given(readers, st.integers(1, 30))
def test_what_all_take_is_never_more_than_there_is_and_nothing_stays_unused(
    members: list[Reader], concurrency: int
) -> None:
    share = Share(concurrency)
    share.members += members
    used = share.used
    hungry = [one for one in members if one.hungry]
    if hungry and share.left:
        assert any(share.free_for(one) for one in hungry)  # or all would wait for each other
    for _ in members:  # each that is told takes what the others left
        for one in hungry:
            one.in_hand += share.ask(one)
            one.asked = 0
    assert share.used <= max(concurrency, used)
    assert share.left == 0 or not hungry


@given(readers, st.integers(1, 30))
def test_a_free_slot_is_for_the_hungry_one_with_the_fewest(members: list[Reader], concurrency: int) -> None:
    share = Share(concurrency)
    share.members += members
    me = members[0]
    hungry = [one for one in members[1:] if one.hungry]
    fewest = min((one.in_hand + one.asked for one in hungry), default=None)
    had = me.in_hand + me.asked
    mine, left = share.free_for(me), share.left
    if fewest is None:
        assert mine == left
    elif had > fewest:
        assert mine <= left - min(left, had - fewest)  # first it is made up for
    me.asked += mine
    share.tell(me)
    assert all(one.told == bool(share.left) for one in hungry)


class Count:
    """Handlers that count how many run at once and how often each job ran."""

    def __init__(self, concurrency: int, seconds: float = 0.001) -> None:
        self.handlers = Handlers()
        self.ran: Counter[int] = Counter()
        self.order: list[int] = []
        self.now = self.most = 0
        self.streams: set[str] = set()

        @self.handlers.on("jobs", int, concurrency=concurrency)
        async def work(job: Job[int]) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            self.streams.add(job.stream)
            self.order.append(job.payload)
            await anyio.sleep(seconds)
            self.ran[job.payload] += 1
            self.now -= 1


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_all_partitions_are_worked_off_by_no_more_at_once_than_one_would_be(concurrency: int) -> None:
    broker, count = MemoryBroker(SystemClock()), Count(concurrency)
    await broker.set_partitions("jobs", 4)
    await Queue("jobs", broker).enqueue_many(range(120))
    with anyio.fail_after(DEADLINE):
        options = WorkerOptions(burst_wait=0)
        await Worker(broker, count.handlers, options=options).run(handle_signals=False)
    assert count.ran == Counter(range(120))
    assert count.most == concurrency
    assert count.streams == {"jobs"}


async def test_a_backlog_in_one_partition_keeps_no_other_waiting(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        count = Count(4)
        await broker.set_partitions("jobs", 3)
        jobs = Queue("jobs", broker)
        first = [jobs.new_job(n) for n in range(200)]
        await jobs.enqueue_jobs(first, partition=0)
        await jobs.enqueue_jobs([jobs.new_job(n) for n in range(200, 210)], partition=2)
        with anyio.fail_after(DEADLINE):
            options = WorkerOptions(burst_wait=0)
            await Worker(broker, count.handlers, options=options).run(handle_signals=False)
    assert count.ran == Counter(range(210))
    assert count.most == 4
    # The ten share the slots with the two hundred from the start: half of them each.
    assert max(place for place, n in enumerate(count.order) if n >= 200) < 60


async def test_a_unit_test_drains_every_partition() -> None:
    broker, count = MemoryBroker(), Count(1, seconds=0)
    await broker.set_partitions("jobs", 3)
    await Queue("jobs", broker).enqueue_many(range(20))
    drained = await drain(broker, count.handlers)
    assert len(drained.done) == 20
    assert count.streams == {"jobs"}


async def test_a_delayed_job_of_any_partition_starts_on_time_in_a_worker_that_sleeps(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        count = Count(2)
        await broker.set_partitions("jobs", 3)
        async with anyio.create_task_group() as beside:
            worker = Worker(broker, count.handlers, options=QUICK)
            beside.start_soon(lambda: worker.run(handle_signals=False))
            jobs = Queue("jobs", broker)
            for partition in range(3):
                job = jobs.new_job(partition, delay=0.2)
                await jobs.enqueue_jobs([job], partition=partition)
            with anyio.fail_after(DEADLINE):
                while len(count.ran) < 3:  # noqa: ASYNC110 - the worker works
                    await anyio.sleep(0.01)
            worker.stop()


async def test_a_partition_0_that_forgot_how_many_there_are_is_told_by_its_workers(server_url: str) -> None:
    async with RedisBroker.from_url(server_url) as broker:
        count = Count(2)
        await broker.set_partitions("jobs", 3)
        async with anyio.create_task_group() as beside:
            worker = Worker(broker, count.handlers, options=QUICK)
            beside.start_soon(lambda: worker.run(handle_signals=False))
            with anyio.fail_after(DEADLINE):
                while sum(one.idle for one in worker.consumers) < 3:  # noqa: ASYNC110 - the worker works
                    await anyio.sleep(0.01)
                await broker._ask("FLUSHALL", of="jobs")
                while await broker.partitions("jobs") < 3:  # noqa: ASYNC110 - as above
                    await anyio.sleep(0.01)
            worker.stop()


async def test_an_idle_worker_says_less_than_a_command_a_second_for_each_partition(valkey_url: str) -> None:
    async with RedisBroker.from_url(valkey_url) as broker:
        count = Count(2)
        await broker.set_partitions("jobs", 4)

        async def calls() -> int:
            stats = await broker._ask("INFO", "commandstats", of="jobs")
            lines = [line for line in stats.decode().splitlines() if line.startswith("cmdstat_")]
            top = ("evalsha:", "eval:", "xreadgroup:")
            return sum(
                int(line.split("calls=")[1].split(",")[0]) for line in lines if line[8:].startswith(top)
            )

        async with anyio.create_task_group() as beside:
            worker = Worker(broker, count.handlers)
            beside.start_soon(lambda: worker.run(handle_signals=False))
            with anyio.fail_after(DEADLINE):
                while sum(one.idle for one in worker.consumers) < 4:  # noqa: ASYNC110 - the worker works
                    await anyio.sleep(0.05)
            before, seconds = await calls(), 4.0
            await anyio.sleep(seconds)
            said = (await calls() - before) / seconds / 4
            worker.stop()
    print(f"idle, 4 partitions: {said:.2f} calls a second for each")
    assert said < 1


# --- a real cluster ------------------------------------------------------------------------------------

WORKER = """
import asyncio, os, sys
from streamq import Handlers, RedisBroker, Worker, WorkerOptions

handlers = Handlers()

@handlers.on(sys.argv[2], int, concurrency=4)
async def work(job):
    await asyncio.sleep(0.004)
    os.write(effects, f"{job.payload}\\n".encode())

async def main():
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers, options=WorkerOptions(lease=2, renew=0.3)).run()

effects = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
asyncio.run(main())
"""


@pytest.fixture
def cluster() -> Iterator[fleets.Cluster]:
    program = servers.find_valkey()
    if program is None:
        pytest.skip("no valkey")
    made = fleets.Cluster(program)
    yield made
    made.stop()


def spread_out(cluster: fleets.Cluster, count: int) -> str:
    """A stream's name of which so many partitions are on all three masters."""
    for n in range(1000):
        name = f"work{n}"
        if len({cluster.holder(one).port for one in partition_names(name, count)}) == 3:
            return name
    raise AssertionError("no such name")


async def test_growth_under_load_and_kills_on_a_cluster_lose_and_double_nothing(
    cluster: fleets.Cluster, tmp_path: Path
) -> None:
    stream = spread_out(cluster, 4)
    script, effects = tmp_path / "worker.py", tmp_path / "effects"
    script.write_text(WORKER)
    jobs = 600

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, script, cluster.url, stream, effects], env=ENVIRONMENT)

    async with RedisBroker.from_url(cluster.url) as one, RedisBroker.from_url(cluster.url) as other:
        workers = [start(), start()]
        queues = [Queue(stream, one), Queue(stream, other)]
        blocking = SyncQueue(stream, other)
        try:
            with anyio.fail_after(DEADLINE):
                for n in range(0, jobs, 3):
                    if n == jobs // 3 + 1:
                        assert await one.set_partitions(stream, 4) == 4
                    if n == jobs // 2:
                        os.kill(workers[0].pid, signal.SIGKILL)
                        workers[0].wait()
                    receipt = await queues[n % 2].enqueue(
                        n, job_id=f"job-{n}", unique=f"key-{n}", unique_for=60
                    )
                    # A producer that knows the old number only: it is put right, and the job is a duplicate,
                    # unless the key belongs elsewhere since the growth came in between.
                    assert receipt.created
                    again = await queues[1 - n % 2].enqueue(
                        n, job_id=f"job-{n}", unique=f"key-{n}", unique_for=60
                    )
                    assert not again.created
                    assert len(await queues[n % 2].enqueue_many([n + 1])) == 1
                    assert blocking.enqueue(n + 2).created
                while (await one.stats(stream)).counters.get("done", 0) < jobs:  # noqa: ASYNC110 - processes work
                    await anyio.sleep(0.05)
            stats = await one.stats(stream)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    ran = Counter(int(line) for line in effects.read_text().split())
    twice = sum(count - 1 for count in ran.values())
    by_master = Counter(cluster.holder(part.stream).port for part in stats.partitions)
    done = [part.counters["done"] for part in stats.partitions]
    print(
        f"{jobs} jobs, grown from 1 to 4, one SIGKILL: lost {jobs - len(ran)}, ran again {twice}, done {done}"
    )
    print(f"partitions on each master: {sorted(by_master.values())}")
    assert set(ran) == set(range(jobs))
    assert (stats.counters["done"], stats.leased, stats.delayed, stats.dead) == (jobs, 0, 0, 0)
    assert sum(stats.ready.values()) == 0
    assert len(by_master) == 3
    assert all(done)
    assert twice <= 8  # what the killed one had in hand
