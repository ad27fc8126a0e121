"""Limits by key where workers are real processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import msgspec
import pytest
import redis.asyncio as aioredis

from streamq import Limit, Queue, RedisBroker
from streamq.keys import StreamKeys
from tests.streamq.test_worker import DEADLINE, ENVIRONMENT

WORKER = """
import asyncio, sys
import msgspec
import redis.asyncio as aioredis
from streamq import Handlers, RedisBroker, Worker, WorkerOptions

class Load(msgspec.Struct, frozen=True):
    tenant: str

handlers = Handlers()
client = aioredis.Redis.from_url(sys.argv[1])

# A job that is run again is the same member: a killed worker's leaves nothing behind but its own place.
@handlers.on("loads", Load, concurrency=8, crash_budget=100)
async def load(job):
    running = f"running:{job.payload.tenant}"
    pipe = client.pipeline(transaction=True)
    pipe.sadd(running, job.id)
    pipe.scard(running)
    _, now = await pipe.execute()
    await client.zadd("most", {job.payload.tenant: now}, gt=True)
    await client.incr("starts")
    await asyncio.sleep(0.02)
    await client.srem(running, job.id)

async def main():
    async with RedisBroker.from_url(sys.argv[1]) as broker:
        await Worker(broker, handlers, options=WorkerOptions(lease=0.8, renew=0.2)).run()

asyncio.run(main())
"""


class Load(msgspec.Struct, frozen=True):
    tenant: str


@pytest.mark.parametrize(("jobs", "kills"), [(40, 4), pytest.param(400, 40, marks=pytest.mark.soak)])
async def test_workers_that_are_killed_leak_no_slot_and_the_limit_is_never_exceeded(
    valkey_url: str, tmp_path: Path, jobs: int, kills: int
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    limits = {"big": Limit("big", running=3), "small": Limit("small", running=1)}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(script), valkey_url], env=ENVIRONMENT)

    async with RedisBroker.from_url(valkey_url) as broker, aioredis.Redis.from_url(valkey_url) as client:
        queue = Queue("loads", broker)
        for tenant, limit in limits.items():
            await queue.enqueue_many([Load(tenant)] * jobs, limit=limit)
        workers = [start(), start()]
        try:
            with anyio.fail_after(DEADLINE):
                for kill in range(kills):
                    while int(await client.get("starts") or 0) < (kill + 1) * 2 * jobs // (kills + 2):  # noqa: ASYNC110 - another process works
                        await anyio.sleep(0.005)
                    victim = workers.pop(0)
                    os.kill(victim.pid, signal.SIGKILL)
                    victim.wait()
                    workers.append(start())
                while (await broker.stats("loads")).counters.get("done", 0) < 2 * jobs:  # noqa: ASYNC110 - as above
                    await anyio.sleep(0.02)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        stats = await broker.stats("loads")
        most = {
            tenant.decode(): int(count)
            for tenant, count in await client.zrange("most", 0, -1, withscores=True)
        }
        held = await client.zrange(StreamKeys.of("loads").limits_held, 0, -1)
    print(
        f"{2 * jobs} jobs, {kills} SIGKILLs, {stats.counters.get('reclaimed', 0)} reclaimed; most at once: {most}"
    )
    assert most == {"big": 3, "small": 1}
    assert (stats.parked, stats.leased, stats.dead, sum(stats.ready.values()), held) == (0, 0, 0, 0, [])
    assert stats.counters["reclaimed"] >= 1
