"""The server's own misfortunes: its clock jumps, its power is cut, memory and disk run out, somebody empties it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import msgspec
import redis
import redis.asyncio as aioredis

from streamq import Handlers, Job, Queue, RedisBroker, Worker, WorkerOptions
from streamq.errors import StreamqError
from streamq.keys import GROUP, StreamKeys
from tests.faults.nemesis import crew, history, shims
from tests.faults.nemesis.crew import STREAM, Work
from tests.faults.nemesis.nursery import Nursery
from tests.support.servers import find_valkey


class BareServer:
    """A server whose process is ours: with an environment, limits and a power switch."""

    def __init__(self, folder: Path, environ: Mapping[str, str] = os.environ, **config: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._environ = environ
        self._config = {
            "port": "0",
            "save": "",
            "dir": str(folder),
            "unixsocket": str(folder / "s"),
            **config,
        }
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 's'}"

    def start(self) -> None:
        program = find_valkey()
        if program is None:
            raise FileNotFoundError("no Valkey")
        words = [word for name, value in self._config.items() for word in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, *words],
                env=dict(self._environ),
                stdout=log,
                stderr=log,
                # A limit of the file size shall be an error to it and not its end.
                preexec_fn=_ignore_file_size,  # noqa: PLW1509 - no threads of ours hold a lock here
            )
        with redis.Redis.from_url(self.url) as client:
            late = time.monotonic() + 15
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > late:
                        raise
                    time.sleep(0.02)
                else:
                    return

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _ignore_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@contextmanager
def bare(environ: Mapping[str, str] = os.environ, **config: str) -> Iterator[BareServer]:
    """In a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="sq-bare-") as folder:
        running = BareServer(Path(folder) / "r", environ, **config)
        try:
            yield running
        finally:
            running.kill()


# --- R10: the clock -----------------------------------------------------------------------------------


class Jump(msgspec.Struct, frozen=True):
    """What a jump of the server's clock did."""

    hours: float
    #: Jobs in living hands that were taken away, and jobs run again.
    stolen: int
    #: Seconds until the jobs of the worker that was killed after the jump started again; the lease.
    recovered: float
    lease: float
    lost: int


def jump(hours: float, *, lease: float = 1.0) -> Jump:
    """Two workers with jobs that last three leases; the clock jumps; then one is killed, after another lease."""
    jobs = 8
    with tempfile.TemporaryDirectory(prefix="sq-clock-") as name:
        folder = Path(name)
        moved = shims.clock(folder / "shim")
        with bare(moved.environ, appendonly="no") as running, Nursery(folder) as nursery:
            anyio.run(_put, running.url, [Work(number, seconds=3 * lease) for number in range(jobs)])
            crew_of = [
                nursery.start(
                    "tests.faults.nemesis.crew:work",
                    url=running.url,
                    folder=name,
                    concurrency=jobs // 2,
                    lease=lease,
                    renew=lease / 4,
                    jobs=100,
                )
                for _ in range(2)
            ]
            _until(lambda: len(_starts(folder)) == jobs)
            moved.numbers[0] = int(hours * 3600)
            time.sleep(1.5 * lease)
            stolen = len(_starts(folder)) - jobs
            os.kill(crew_of[0], signal.SIGKILL)
            killed = time.monotonic()
            _until(lambda: anyio.run(_done, running.url) == jobs)
            again = [event.at - killed for event in _starts(folder)[jobs:] if event.at > killed]
            os.kill(crew_of[1], signal.SIGTERM)
            nursery.wait(crew_of[1])
            done = anyio.run(_done, running.url)
    return Jump(hours, stolen, max(again, default=0.0), lease, jobs - done)


def _starts(folder: Path) -> list[history.Event]:
    return [event for event in history.read(folder) if event.kind == "start"]


def _until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    late = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > late:
            return  # whoever counts sees what is missing
        time.sleep(0.02)


async def _put(url: str, works: list[Work]) -> None:
    async with RedisBroker.from_url(url) as broker:
        await Queue(STREAM, broker).enqueue_jobs([crew.new_job(one) for one in works])


async def _done(url: str) -> int:
    async with RedisBroker.from_url(url) as broker:
        return (await broker.stats(STREAM)).counters.get("done", 0)


# --- R7: the power ------------------------------------------------------------------------------------


class PowerCut(msgspec.Struct, frozen=True):
    """What a power cut took."""

    mode: str
    acknowledged: int
    lost: int
    #: Seconds of acknowledged jobs before the cut, of which the oldest lost one was.
    window: float
    #: Left over was started from and worked through, and what was lost was not there.
    whole: bool


def cut_power(mode: str, *, seconds: float = 3.0) -> PowerCut:
    """Enqueue for so long, cut, start again. `mode`: always, everysec or no."""
    with tempfile.TemporaryDirectory(prefix="sq-power-") as name:
        shim = shims.power(Path(name))
        with bare(shim.environ, appendonly="yes", appendfsync=mode) as running:
            told: dict[str, float] = anyio.run(_enqueue_for, running.url, seconds)
            running.kill()
            at = max(told.values(), default=0.0)
            (log,) = (running.folder / "appendonlydir").glob("*.incr.aof")
            os.truncate(log, min(shim.numbers[1], log.stat().st_size))
            shim.numbers[0] = shim.numbers[1] = 0
            running.start()
            there = anyio.run(_there, running.url)
    lost = told.keys() - there
    window = at - min((told[job] for job in lost), default=at)
    return PowerCut(mode, len(told), len(lost), window, there <= told.keys())


async def _enqueue_for(url: str, seconds: float) -> dict[str, float]:
    told = {}
    async with RedisBroker.from_url(url) as broker:
        queue = Queue(STREAM, broker)
        until = time.monotonic() + seconds
        number = 0
        while time.monotonic() < until:
            receipt = await queue.enqueue(number, job_id=f"p-{number}")
            told[receipt.job_id] = time.monotonic()
            number += 1
    return told


async def _there(url: str) -> set[str]:
    async with aioredis.Redis.from_url(url) as client:
        rows = await client.xrange(StreamKeys.of(STREAM).lanes[1])
    return {fields[b"id"].decode() for _, fields in rows}


# --- R18: memory, disk, FLUSHALL, groups --------------------------------------------------------------


class Survived(msgspec.Struct, frozen=True):
    """One worker, never restarted, through one misfortune."""

    what: str
    #: The misfortune was felt: a producer was refused, or something was gone.
    felt: str
    #: Jobs acknowledged before or after it, and not done; those that FLUSHALL took are not counted.
    lost: int
    again: int
    jobs: int

    @property
    def good(self) -> bool:
        return not self.lost and bool(self.felt)


async def survive(what: str) -> Survived:
    """`memory`, `disk`, `flushall` or `groups`."""
    disk = what == "disk"
    with bare(appendonly="yes" if disk else "no", appendfsync="everysec") as running:
        ran: dict[int, int] = {}
        handlers = Handlers()

        @handlers.on("s", int, concurrency=4)
        async def run(job: Job[int]) -> None:
            ran[job.payload] = ran.get(job.payload, 0) + 1
            await anyio.sleep(0.02)

        async with (
            RedisBroker.from_url(running.url) as broker,
            aioredis.Redis.from_url(running.url) as client,
        ):
            queue = Queue("s", broker)
            worker = Worker(broker, handlers, options=WorkerOptions(lease=1.0, renew=0.2))
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: worker.run(handle_signals=False))
                told = set(range(20))
                await queue.enqueue_many(told)
                await _all_ran(ran, set(range(5)))
                felt, gone = await _strike(what, running, client, queue, told, ran)
                told |= {1000 + number for number in range(20)}
                for number in range(1000, 1020):
                    await _insist(queue, number)
                await _all_ran(ran, told - gone)
                worker.stop()
        missing = told - gone - ran.keys()
        return Survived(what, felt, len(missing), sum(times > 1 for times in ran.values()), len(told))


async def _strike(  # noqa: PLR0917 - a drill's whole scene
    what: str, running: BareServer, client: aioredis.Redis, queue: Queue, told: set[int], ran: dict[int, int]
) -> tuple[str, set[int]]:
    """Do it, see that it is felt, and undo it where that is somebody else's work; what it took away."""
    match what:
        case "memory":
            await client.config_set("maxmemory", "1mb")
            felt = await _refusal(queue)
            await anyio.sleep(0.5)
            await client.config_set("maxmemory", "0")
            return felt, set()
        case "disk":
            size = next((running.folder / "appendonlydir").glob("*.incr.aof")).stat().st_size
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (size + 200, resource.RLIM_INFINITY))
            felt = await _refusal(queue)
            await anyio.sleep(1.0)
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
            return felt, set()
        case "flushall":
            await client.flushall()
            return "the streams are gone", told - ran.keys()
        case _:
            keys = StreamKeys.of("s")
            for key in (*keys.lanes, keys.wake):
                with suppress(aioredis.ResponseError):
                    await client.xgroup_destroy(key, GROUP)
            return "the groups are gone", set()


async def _refusal(queue: Queue) -> str:
    """Enqueue until a producer is refused; the error's name."""
    for number in range(400):
        try:
            await queue.enqueue(5000 + number, headers={"filler": "x" * 2000})
        except StreamqError as error:
            return type(error).__name__
        await anyio.sleep(0.01)
    return ""


async def _insist(queue: Queue, number: int) -> None:
    with anyio.fail_after(20):
        while True:
            try:
                await queue.enqueue(number, job_id=f"again-{number}")
            except StreamqError:
                await anyio.sleep(0.1)
            else:
                return


async def _all_ran(ran: dict[int, int], wanted: set[int]) -> None:
    with anyio.move_on_after(20):
        while not wanted <= ran.keys():  # noqa: ASYNC110 - handlers only count
            await anyio.sleep(0.01)
