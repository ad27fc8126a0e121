"""One partition against three, on a Redis Cluster of three masters: jobs a second, and who does them.

    python -m bench.partitions [--jobs 20000]

The producer, two worker processes and three masters share this machine's cores: where those are the limit,
more masters add nothing to the jobs a second. What it shows is the masters' own time: with one partition one
master does all, with three each a part; where each has a machine of its own, that is what it has to spare.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import anyio

from streamq import Queue, RedisBroker
from streamq.partitions import partition_names
from tests.support import fleets, servers

WORKER = """
import asyncio, sys
from streamq import Handlers, RedisBroker, Worker, WorkerOptions
handlers = Handlers()
@handlers.on(sys.argv[2], int, concurrency=100)
async def work(job): pass
async def main():
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers).run()
asyncio.run(main())
"""


def cpu_seconds(cluster: fleets.Cluster) -> list[float]:
    """Processor time of each master so far."""
    return [one.info()["used_cpu_user"] + one.info()["used_cpu_sys"] for one in cluster.servers]


def stream_on_all(cluster: fleets.Cluster) -> str:
    """A stream's name of which three partitions are on three masters."""
    for n in range(1000):
        if len({cluster.holder(one).port for one in partition_names(f"bench{n}", 3)}) == 3:
            return f"bench{n}"
    raise RuntimeError("no such name")


def start_worker(url: str, stream: str) -> subprocess.Popen[bytes]:
    """A process that takes a hundred jobs at once."""
    return subprocess.Popen([sys.executable, "-c", WORKER, url, stream], env=os.environ)


async def run(cluster: fleets.Cluster, partitions: int, jobs: int) -> None:
    """Enqueue and work off so many jobs, and print what it took."""
    cluster.empty()
    stream = stream_on_all(cluster)
    async with RedisBroker.from_url(cluster.url) as broker:
        await broker.set_partitions(stream, partitions)
        before, began = cpu_seconds(cluster), time.perf_counter()
        for first in range(0, jobs, 3000):
            await Queue(stream, broker).enqueue_many(range(first, min(jobs, first + 3000)))
        enqueued = time.perf_counter() - began
        began = time.perf_counter()
        workers = [start_worker(cluster.url, stream) for _ in range(2)]
        try:
            while (await broker.stats(stream)).counters.get("done", 0) < jobs:  # noqa: ASYNC110 - processes work
                await anyio.sleep(0.02)
            drained = time.perf_counter() - began
            used = [now - then for now, then in zip(cpu_seconds(cluster), before, strict=True)]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
    shares = " ".join(f"{seconds * 1e6 / jobs:6.1f}" for seconds in sorted(used, reverse=True))
    print(
        f"{partitions} partitions: enqueue {jobs / enqueued:8,.0f}/s,"
        f" drain {jobs / drained:8,.0f}/s (start of"
        f" the workers included); us of each master's processor per job: {shares}"
    )


async def main() -> None:
    """One against three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    jobs: int = parser.parse_args().jobs
    program = servers.find_valkey()
    if program is None:
        raise SystemExit("no valkey-server was found")
    cluster = fleets.Cluster(program)
    try:
        print(f"{jobs:,} jobs, two workers of 100 at once, {os.cpu_count()} cores for all of it")
        for partitions in (1, 3):
            await run(cluster, partitions, jobs)
    finally:
        cluster.stop()


if __name__ == "__main__":
    anyio.run(main)
