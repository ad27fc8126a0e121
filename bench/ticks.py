"""Recurring jobs: how late their handlers start, and what a worker says that only waits for a tick.

    python -m bench.ticks [--server valkey] [--workers 4] [--schedules 100] [--seconds 20]

Each schedule ticks once a second, spread over it by jitter; lateness is from the tick's moment to the first
line of its handler, in real worker processes on loopback, by the same machine's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.fleet import ROOT
from bench.server import Server, find
from streamq import Every, Handlers, Job, Recurring, RedisBroker, Worker
from streamq.loop import run
from streamq.schedules import due_of, new_schedule

STREAM: Final = "beats"
#: Seconds that a worker which only waits is watched, after as many for its start to be over.
IDLE: Final = 10.0
#: Share of its interval that a schedule's ticks are spread over.
JITTER: Final = 0.9


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1: a tick had not exactly one job."""
    parser = argparse.ArgumentParser(prog="python -m bench.ticks", description=__doc__)
    parser.add_argument("--server", default="valkey")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--work", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.work:
        run(lambda: _work(*options.work))
        return 0
    with Server(find(options.server)) as server, tempfile.TemporaryDirectory(prefix="ticks-") as folder:
        idle = _idle(server, Path(folder), options.schedules)
        words = f"one worker, {options.schedules} schedules none of which is due"
        print(f"{server.name}: {words}: {idle:.2f} requests/s")
        return _late(server, Path(folder), options)


def _idle(server: Server, folder: Path, schedules: int) -> float:
    """Requests a second of a worker that has nothing to do."""
    server.empty()
    asyncio.run(_declare(server.url, schedules, interval=366 * 86400.0))
    worker = _start(server.url, folder / "idle")
    try:
        asyncio.run(_until_up(server.url, 1))
        time.sleep(IDLE)
        before = server.counters().reads
        time.sleep(IDLE)
        return (server.counters().reads - before - 1) / IDLE  # one of them asked how many
    finally:
        worker.terminate()
        worker.wait()


def _late(server: Server, folder: Path, options: argparse.Namespace) -> int:
    server.empty()
    files = [folder / str(number) for number in range(options.workers)]
    workers = [_start(server.url, file) for file in files]
    try:
        asyncio.run(_until_up(server.url, options.workers))
        asyncio.run(_declare(server.url, options.schedules, interval=1.0))
        before, began = server.counters(), time.monotonic()
        time.sleep(options.seconds)
        after, seconds = server.counters(), time.monotonic() - began
        asyncio.run(_pause(server.url))
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    late = sorted(float(words[1]) * 1000 for words in lines)
    doubled = len(lines) - len({words[0] for words in lines})
    fired = asyncio.run(_fired(server.url))
    p50, p99 = late[len(late) // 2], late[int(len(late) * 0.99)]
    requests = (after.reads - before.reads) / seconds
    busy = 100 * (after.cpu - before.cpu) / seconds
    print(
        f"{server.name}: {options.workers} workers, {options.schedules} schedules a second, {fired} ticks:"
        f" lost {fired - len(lines) + doubled}, twice {doubled};"
        f" handler late by p50 {p50:.1f}, p99 {p99:.1f}, at most {late[-1]:.1f} ms;"
        f" {requests:.0f} requests/s, Redis at {busy:.0f} % of a processor"
    )
    return int(doubled > 0 or fired != len(lines))


async def _declare(url: str, schedules: int, *, interval: float) -> None:
    async with RedisBroker.from_url(url) as broker:
        recurring = Recurring(STREAM, broker)
        for number in range(schedules):
            await recurring.add(f"s{number}", Every(interval), None, jitter=JITTER, catch_up="every")


async def _until_up(url: str, workers: int) -> None:
    async with RedisBroker.from_url(url) as broker:
        while (await broker.stats(STREAM)).workers < workers:  # noqa: ASYNC110 - another process knows
            await asyncio.sleep(0.05)


async def _pause(url: str) -> None:
    async with RedisBroker.from_url(url) as broker:
        recurring = Recurring(STREAM, broker)
        for job in await recurring.list():
            await recurring.pause(job.schedule.id)
        while (stats := await broker.stats(STREAM)).leased or sum(stats.ready.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _fired(url: str) -> int:
    async with RedisBroker.from_url(url) as broker:
        return sum(job.runs for job in await Recurring(STREAM, broker).list())


def _start(url: str, file: Path) -> subprocess.Popen[bytes]:
    file.touch()
    command = [sys.executable, "-m", "bench.ticks", "--work", url, str(file)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


async def _work(url: str, file: str) -> None:
    handlers = Handlers()

    with Path(file).open("a", buffering=1) as out:  # noqa: ASYNC230 - once, before anything runs

        @handlers.on(STREAM, object)
        async def beat(job: Job[Any]) -> None:
            now = time.time()
            out.write(f"{job.id} {now - due_of_job(job)}\n")

        async with RedisBroker.from_url(url) as broker:
            await Worker(broker, handlers).run()


def due_of_job(job: Job[Any]) -> float:
    """When the tick's job was to start, jitter included; seconds since the epoch."""
    schedule = new_schedule(job.headers["streamq-schedule"], Every(1), None, jitter=JITTER)
    tick = datetime.fromisoformat(job.headers["streamq-tick"]).timestamp()
    return due_of(schedule, round(tick * 1000)) / 1000


if __name__ == "__main__":
    sys.exit(main())
