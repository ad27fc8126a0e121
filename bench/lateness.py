"""How late checks are: rules on one interval, real workers, real pages over loopback; see `bench.schedule`.

    python -m bench.lateness PORT HOSTS      the shop alone: pages of 60 KB at 127.0.0.1 to 127.0.0.HOSTS

The due time of a check is in its job's id, so that lateness (the run began, less it was due) is on the run's
own row, and the ticks that there should have been are known from the rules alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from bench.checks import ROOT, TICKS, Watch, spent
from bench.pages import Shop
from bench.server import Server, find, free_port
from sentinel.decide.schedule import next_due
from sentinel.jobs import RULES_RUN
from sentinel.model import Extraction, Rule, RulesFile, Schedule, Workspace
from sentinel.store import Store
from sentinel.store.tables import metadata, run
from streamq import RedisBroker

#: Pages are at so many addresses, for the politeness to hosts is part of a check.
HOSTS: Final = 50
#: Rules of one file.
IMPORTED: Final = 2_000
#: Seconds that workers may take to start, and from then to the first rule that is due.
PATIENCE: Final = 120.0
START: Final = 2.0
#: Rules that a database moves in a second, at least.
MOVED: Final = 2_000
#: Seconds after the last tick that counts, in which it may still run.
GRACE: Final = 5.0
#: Late checks of whom 99 % are within this, and none missing, are on time; seconds.
ON_TIME: Final = 5.0
#: Share of what ticks there should be that may be missing: a machine that is not ours alone stalls.
MISSED: Final = 0.001
#: Share of one processor above which a program counts as held up by it, and of all above which the machine.
BUSY: Final = 0.85
#: Tries to find how many rules are on time, and how much of what was done is tried next.
TRIES: Final = 6
MODESTY: Final = 0.85


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one round."""

    rules: int
    interval: int
    workers: int
    seconds: float
    #: Ticks that the rules' own grids have in that time, and those that a check was made for.
    expected: int
    ran: int
    #: Seconds, each.
    late: list[float]
    #: Checks a second; worker CPU per check, milliseconds; peak MiB of the workers together.
    rate: float
    cpu_ms: float
    memory: float
    #: Share of one processor that a worker had, and of the machine that was in use.
    worker_busy: float
    machine_busy: float
    processors: int

    @property
    def missed(self) -> int:
        """Ticks without a check of their own: they became one with a later one, or wait."""
        return self.expected - self.ran

    @property
    def is_on_time(self) -> bool:
        """Nothing is missing and hardly any was late."""
        return self.missed <= MISSED * self.expected and self.percentile(99) <= ON_TIME

    @property
    def limit(self) -> str:
        """What held it up."""
        if self.is_on_time:
            return "on time"
        if self.worker_busy >= BUSY:
            return f"late: CPU, a worker had {self.worker_busy:.0%} of a processor"
        if self.machine_busy >= BUSY:
            return (
                f"late: CPU, {self.machine_busy:.0%} of {self.processors} processors in use,"
                f" by a worker {self.worker_busy:.0%} of one"
            )
        return f"late, and not for CPU: worker {self.worker_busy:.0%}, machine {self.machine_busy:.0%}"

    def percentile(self, percent: int) -> float:
        """Of the lateness; seconds."""
        if len(self.late) < 2:
            return max(self.late, default=0.0)
        return statistics.quantiles(self.late, n=100, method="inclusive")[percent - 1]


HEAD: Final = (
    f"{'rules':>7}{'ticks':>8}{'checks':>8}{'missed':>8}"
    f"{'p50 s':>8}{'p90 s':>8}{'p99 s':>8}{'max s':>8}{'checks/s':>10}{'CPU ms':>8}{'MiB':>6}  "
)


def line(result: Result) -> str:
    """Under HEAD."""
    times = "".join(f"{result.percentile(percent):8.2f}" for percent in (50, 90, 99))
    return (
        f"{result.rules:7,}{result.expected:8,}{result.ran:8,}{result.missed:8,}{times}"
        f"{max(result.late, default=0.0):8.2f}{result.rate:10.1f}{result.cpu_ms:8.1f}{result.memory:6.0f}"
        f"  {result.limit}"
    )


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for."""

    rules: int
    interval: int
    seconds: float
    workers: int = 1
    concurrency: int = 10
    #: A database; None: SQLite.
    url: str | None = None
    #: Worker's output goes there; None: nowhere.
    log: Path | None = None


def measure(asked: Round) -> Result:
    """One round on an empty database, which is empty again afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        Server(find("valkey")) as server,
        _shop() as port,
    ):
        url = asked.url or f"sqlite:///{name}/sentinel.db"
        asyncio.run(_fill(url, asked, port))
        environ = os.environ | {
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": server.url,
            "DATABASE_URL": url,
            "SENTINEL_STATE_DIR": f"{name}/state",
            "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
            "RATE_LIMITING_ENABLED": "false",
            "WORKER_CONCURRENCY_RULES": str(asked.concurrency),
        }
        with contextlib.ExitStack() as stack:
            pids = [stack.enter_context(_worker(environ, asked.log)) for _ in range(asked.workers)]
            watches = [stack.enter_context(Watch(pid, lambda: 0.0)) for pid in pids]
            asyncio.run(_started(server.url, asked.workers))
            began = asyncio.run(_make_due(url, asked, port))
            time.sleep(max(0.0, began - time.time()))
            cpu, machine = sum(map(spent, pids)), _machine()
            time.sleep(asked.seconds)
            ended = time.time()
            cpu = sum(map(spent, pids)) - cpu
            used, total = (after - before for after, before in zip(_machine(), machine, strict=True))
            time.sleep(GRACE)
            memory = sum(max(size for _, size in watch.samples) for watch in watches)
        runs = asyncio.run(_runs(url))
    expected = dict(_ticks(asked, began, ended))
    late = [at - expected[job] for job, at in runs.items() if job in expected]
    done = sum(began <= at < ended for at in runs.values())
    processors = os.cpu_count() or 1
    return Result(
        rules=asked.rules,
        interval=asked.interval,
        workers=asked.workers,
        seconds=ended - began,
        expected=len(expected),
        ran=len(late),
        late=late,
        rate=done / (ended - began),
        cpu_ms=1000 * cpu / max(1, done),
        memory=memory,
        worker_busy=cpu / (ended - began) / asked.workers,
        machine_busy=used / max(1.0, total),
        processors=processors,
    )


def seek(asked: Round) -> Iterator[Result]:
    """Rounds with fewer rules each, until one is on time."""
    for _ in range(TRIES):
        result = measure(asked)
        yield result
        if result.is_on_time:
            return
        able = int(min(result.rate, result.rules / asked.interval) * asked.interval * MODESTY)
        asked = msgspec.structs.replace(asked, rules=max(1, min(able, int(asked.rules * MODESTY))))


# --- the parts ------------------------------------------------------------------------------------


def _rules(asked: Round, port: int) -> list[Rule]:
    return [
        Rule(
            id=f"r{number}",
            url=f"http://127.0.0.{number % HOSTS + 1}:{port}/same/{number}",
            type="price",
            extraction=Extraction(method="css", selector=".price"),
            schedule=Schedule(interval_seconds=asked.interval),
        )
        for number in range(asked.rules)
    ]


async def _fill(url: str, asked: Round, port: int) -> None:
    """Rules that are not due for long."""
    async with Store.open(url) as store:
        await store.migrate()
        async with store._database.writing() as connection:  # noqa: SLF001 - no user empties it
            for table in reversed(metadata.sorted_tables):
                await connection.execute(sa.delete(table))
        rules = _rules(asked, port)
        files = [rules[first : first + IMPORTED] for first in range(0, len(rules), IMPORTED)]
        for number, many in enumerate(files):
            file = RulesFile(workspace=Workspace(id=f"w{number}"), rules=many)
            await store.import_rules(file, now=time.time(), first_due=lambda _: 4e9)


async def _started(url: str, workers: int) -> None:
    """All of them are there. Raises TimeoutError."""
    async with RedisBroker.from_url(url) as broker, asyncio.timeout(PATIENCE):
        while len(await broker.workers(RULES_RUN)) < workers:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)


async def _make_due(url: str, asked: Round, port: int) -> float:
    """As if they had run for long: at their own places in the interval. From when on."""
    rules = _rules(asked, port)
    async with Store.open(url) as store:
        began = time.time() + START + len(rules) / MOVED
        due = [{"its": one.id, "due": next_due(one.schedule, began, seed=one.id)} for one in rules]
        async with store._database.writing() as connection:  # noqa: SLF001 - no user moves them all
            table = metadata.tables["rule"]
            moved = sa.update(table).where(table.c.id == sa.bindparam("its"))
            await connection.execute(moved.values(next_due_at=sa.bindparam("due")), due)
        if not store._database.is_sqlite:  # noqa: SLF001 - as its own upkeep would, in time
            async with store._database.writing() as connection:  # noqa: SLF001
                await connection.execute(sa.text("ANALYZE"))
    return began


def _ticks(asked: Round, began: float, ended: float) -> Iterator[tuple[str, float]]:
    """The job's id and the time of each tick in between."""
    schedule = Schedule(interval_seconds=asked.interval)
    for number in range(asked.rules):
        due = next_due(schedule, began, seed=f"r{number}")
        while due < ended:
            kept = round(due * 1e6) / 1e6  # as the database has it
            yield f"r{number}@{round(due * 1e6) // 1000}", kept
            due = next_due(schedule, due, seed=f"r{number}")


async def _runs(url: str) -> dict[str, float]:
    """When each check began, by its job."""
    async with Store.open(url) as store, store._database.reading() as connection:  # noqa: SLF001 - a bench counts
        rows = await connection.execute(sa.select(run.c.job_id, run.c.started_at))
        return {row.job_id: row.started_at for row in rows}


@contextlib.contextmanager
def _shop() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.lateness", str(port), str(HOSTS)], cwd=ROOT)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _worker(environ: dict[str, str], log: Path | None) -> Iterator[int]:
    command = [sys.executable, "-m", "sentinel.cli.main", "run", "--drain-timeout", "5"]
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
        try:
            yield process.pid
            if process.poll() is not None:
                raise RuntimeError(f"a worker ended by itself, exit code {process.returncode}: see --log")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _machine() -> tuple[float, float]:
    """Seconds of processor time in use, and all there were."""
    fields = [int(one) / TICKS for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


async def serve(port: int, hosts: int) -> None:
    """The shop, until killed."""
    addresses = [f"127.0.0.{number + 1}" for number in range(hosts)]
    server = await asyncio.get_running_loop().create_server(Shop, addresses, port, backlog=1024)
    await server.serve_forever()


def main(argv: Sequence[str] | None = None) -> int:
    """The shop's program."""
    port, hosts = (argv or sys.argv[1:])[:2]
    asyncio.run(serve(int(port), int(hosts)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
