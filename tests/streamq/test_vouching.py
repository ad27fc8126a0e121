"""Processes whose handlers hold the interpreter's lock, are stuck, are frozen, or have done their share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from streamq import Queue, RedisBroker, Supervisor, SupervisorOptions
from streamq.parent import FD_VARIABLE, Parent, Report
from streamq.vouching import Step, next_step

ROOT = Path(__file__).resolve().parents[2]
#: Seconds anything here may take.
DEADLINE = 30.0
LEASE, RENEW = 1.2, 0.3

#: A worker whose handler holds the lock for `seconds`, with the whole process standing still meanwhile.
WORKER = """
import ctypes, os, sys
import anyio, msgspec
from streamq import Handlers, Job, RedisBroker, Worker, WorkerOptions

class Hold(msgspec.Struct):
    seconds: float
    name: str

handlers = Handlers()

@handlers.on("work", Hold, concurrency=1, hard_limit=float(os.environ.get("LIMIT", "0")) or None)
async def hold(job: Job[Hold]) -> None:
    with open(os.environ["LOG"], "a") as log:
        log.write(f"{job.payload.name} {os.getpid()}\\n")
    if job.payload.seconds:
        # A function of a PyDLL is called with the lock held.
        ctypes.PyDLL(None).usleep(int(job.payload.seconds * 1e6))

async def main() -> None:
    options = WorkerOptions(
        lease=LEASE, renew=RENEW, max_jobs=int(os.environ.get("MAX_JOBS", "0")) or None,
        burst_wait=0.0 if "BURST" in os.environ else None,
    )
    async with RedisBroker.from_url(os.environ["REDIS"]) as broker:
        await Worker(broker, handlers, name=sys.argv[1], options=options).run()

anyio.run(main)
""".replace("LEASE", str(LEASE)).replace("RENEW", str(RENEW))


class Family:
    """Supervised workers on a stream of their own, and what they wrote down."""

    def __init__(self, url: str, broker: RedisBroker, log: Path) -> None:
        self.broker = broker
        self.queue = Queue("work", broker)
        self._log = log
        self._url = url

    async def put(self, *holds: tuple[str, float]) -> None:
        await self.queue.enqueue_many([{"name": name, "seconds": seconds} for name, seconds in holds])

    def runs(self) -> list[tuple[str, int]]:
        """Name of the job and process, of every start."""
        if not self._log.exists():
            return []
        return [
            (name, int(pid)) for name, pid in (line.split() for line in self._log.read_text().splitlines())
        ]

    async def stats(self) -> dict[str, int]:
        found = await self.broker.stats("work")
        return {"done": found.done, "dead": found.dead, "leased": found.leased}

    @asynccontextmanager
    async def working(self, processes: int, *, vouches: bool = True, **env: str) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(
            lambda number: [sys.executable, "-c", WORKER, f"w{number}"],
            processes=processes,
            env={**os.environ, "PYTHONPATH": str(ROOT), "REDIS": self._url, "LOG": str(self._log), **env},
            options=SupervisorOptions(stop_timeout=20.0, young=0.2),
            broker=self.broker if vouches else None,
        )
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: supervisor.run(handle_signals=False))
                yield supervisor
                group.cancel_scope.cancel()


@pytest.fixture
async def family(valkey_url: str, tmp_path: Path) -> AsyncIterator[Family]:
    async with RedisBroker.from_url(valkey_url) as broker:
        yield Family(valkey_url, broker, tmp_path / "log")


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - another process knows, it tells nobody
            await anyio.sleep(0.02)


async def settled(family: Family, **wanted: int) -> None:
    with anyio.fail_after(DEADLINE):
        while {name: (await family.stats())[name] for name in wanted} != wanted:  # noqa: ASYNC110 - as above
            await anyio.sleep(0.05)


async def test_a_handler_that_holds_the_lock_for_three_leases_is_not_run_twice(family: Family) -> None:
    await family.put(("held", 3 * LEASE))
    async with family.working(2):
        await settled(family, done=1, leased=0)
    assert [name for name, _ in family.runs()] == ["held"]


async def test_without_a_broker_to_vouch_by_it_is_run_twice(family: Family) -> None:
    await family.put(("held", 3 * LEASE))
    async with family.working(2, vouches=False):
        await eventually(lambda: len(family.runs()) > 1)
    assert {name for name, _ in family.runs()} == {"held"}


async def test_a_frozen_process_is_not_vouched_for(family: Family) -> None:
    await family.put(("first", 0.0))
    async with family.working(2) as supervisor:
        await settled(family, done=1)
        await family.put(("held", 600.0))
        await eventually(lambda: len(family.runs()) == 2)
        holder = family.runs()[-1][1]
        os.kill(holder, signal.SIGSTOP)
        try:
            await eventually(lambda: len(family.runs()) == 3)
        finally:
            os.kill(holder, signal.SIGKILL)
        heir = family.runs()[-1]
        assert heir[0] == "held"
        assert heir[1] != holder
        for process in supervisor.processes:
            process.send(signal.SIGKILL)


async def test_a_job_past_its_hard_limit_ends_its_process_and_is_buried_when_the_crash_budget_is_spent(
    family: Family,
) -> None:
    await family.put(("stuck", 600.0), ("good", 0.0))
    async with family.working(1, LIMIT="1.0"):
        await settled(family, done=1, dead=1)
    (dead,) = await family.broker.dead("work", limit=10)
    assert dead.reason == "crashed"
    assert sorted(name for name, _ in family.runs()) == ["good", "stuck", "stuck", "stuck"]


async def test_a_process_is_replaced_when_it_has_done_its_share(family: Family) -> None:
    await family.put(*((f"j{number}", 0.01) for number in range(200)))
    async with family.working(1, MAX_JOBS="20"):
        await settled(family, done=200, leased=0)
    names = [name for name, _ in family.runs()]
    assert sorted(names) == sorted(f"j{number}" for number in range(200))
    assert len({pid for _, pid in family.runs()}) > 1


# --- decisions ------------------------------------------------------------------------------------


def _report(*, left: float | None = None, **limits: float | None) -> Report:
    return Report(worker="w", streams=limits or {"a": None}, lease=10.0, renew=3.0, left=left)


@pytest.mark.parametrize(
    ("report", "silent", "runs", "step"),
    [
        (_report(), 3.1, True, "fine"),
        (_report(), 6.0, True, "vouch"),
        (_report(), 6000.0, True, "vouch"),
        (_report(), 6000.0, False, "fine"),
        (_report(left=2.0), 2.1, True, "kill"),
        (_report(left=2.0), 2.1, False, "fine"),
        (_report(left=20.0), 6.0, True, "vouch"),
        (_report(a=5.0, b=60.0), 30.0, True, "vouch"),
        (_report(a=5.0, b=60.0), 61.0, True, "kill"),
        (_report(a=5.0, b=None), 61.0, True, "vouch"),
    ],
)
def test_what_is_done_about_a_silent_worker(report: Report, silent: float, runs: bool, step: Step) -> None:
    assert next_step(report, silent, runs=runs) == step


def test_a_parent_that_does_not_read_is_not_waited_for() -> None:
    ear, mouth = os.pipe()
    try:
        parent = Parent(mouth)
        for _ in range(5_000):
            parent.tell(_report(left=1.0))
        told = os.read(ear, 1 << 20).splitlines()
        assert len(told) > 100
        assert all(line == told[0] for line in told)
    finally:
        os.close(ear)
        os.close(mouth)


def test_a_worker_that_nobody_supervises_has_nobody_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    assert Parent.found({}) is None
    assert Parent.found({FD_VARIABLE: "no number"}) is None
    environ = {FD_VARIABLE: "987654"}
    assert Parent.found(environ) is None
    assert environ == {}
    assert "parent_not_there" in caplog.text


def test_a_process_outside_of_a_family_ends_itself_at_its_hard_limit(valkey_url: str, tmp_path: Path) -> None:
    script = WORKER.replace("ctypes.PyDLL(None).usleep", "ctypes.CDLL(None).usleep")  # without the lock
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "REDIS": valkey_url,
        "LOG": str(tmp_path / "log"),
        "LIMIT": "0.8",
    }
    with subprocess.Popen([sys.executable, "-c", script, "alone"], env=env) as worker:
        anyio.run(_put_one, valkey_url)
        assert worker.wait(timeout=DEADLINE) == -signal.SIGKILL


async def _put_one(url: str) -> None:
    async with RedisBroker.from_url(url) as broker:
        await Queue("work", broker).enqueue({"name": "stuck", "seconds": 600.0})
