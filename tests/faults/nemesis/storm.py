"""The storm: workers are killed and frozen, connections cut, Redis itself killed, while jobs go through.

Faults come by progress, not by time: the i-th when so many jobs have ended. Who and for how long is drawn from
the seed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import msgspec
import redis.asyncio as aioredis

from sentinel.embedded import EmbeddedRedis
from streamq import Queue, RedisBroker
from streamq.errors import TemporaryError
from streamq.keys import StreamKeys
from tests.faults.nemesis import crew, history
from tests.faults.nemesis.checker import End, Verdict, check
from tests.faults.nemesis.crew import STREAM, Work
from tests.faults.nemesis.history import History
from tests.faults.nemesis.ledger import Ledger
from tests.faults.nemesis.nursery import Nursery
from tests.faults.nemesis.proxy import Proxy
from tests.support.servers import find_valkey

#: Jobs that are put in at once, at most.
_CHUNK = 50
#: Seconds between looks at how far it has come.
_LOOK = 0.02
#: One job in so many is delayed, by at most so many seconds.
_DELAYED = 20
_DELAY = 2.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How bad it gets."""

    jobs: int
    seed: int = 1
    workers: int = 3
    concurrency: int = 10
    kills: int = 0
    freezes: int = 0
    #: Every connection of the worker behind the proxy is reset.
    cuts: int = 0
    #: CLIENT KILL of everybody.
    resets: int = 0
    #: SIGKILL of Redis, and a start with its append-only file.
    restarts: int = 0
    #: Of a thousand replies to the worker behind the proxy, so many are lost with their connection.
    lost_replies: float = 0.0
    lease: float = 1.0
    renew: float = 0.25
    #: Seconds a handler takes on average.
    seconds: float = 0.01
    #: Jobs that have not ended, at most. What is taken from a dead worker goes to the end of its lane: behind a
    #: backlog the time until it starts is the backlog's, not the recovery's.
    ahead: int = 300
    mutant: str = ""
    #: Seconds without a job ending after which what is left is stuck.
    patience: float = 20.0


class Storm:
    """One run of a plan."""

    def __init__(self, plan: Plan, folder: Path, nursery: Nursery, server: EmbeddedRedis) -> None:
        self.plan = plan
        self._folder = folder
        self._nursery = nursery
        self._server = server
        self._rng = random.Random(plan.seed)
        self._history = History(folder)
        self._works: dict[int, Work] = {}
        #: Workers that live, and whether they are behind the proxy.
        self._crew: dict[int, bool] = {}
        self._frozen: set[int] = set()
        self._ended = 0
        replies = random.Random(plan.seed + 1)
        self._proxy = Proxy(
            str(server.socket),
            lambda _, __: "cut after" if replies.random() * 1000 < plan.lost_replies else "pass",
        )

    async def run(self) -> Verdict:
        """Until every job has ended or nothing moves any more."""
        async with RedisBroker.from_url(self._server.url) as broker:
            for number in range(self.plan.workers):
                self._hire(behind_proxy=self._needs_proxy and number == 0)
            async with anyio.create_task_group() as group:
                group.start_soon(self._produce, broker)
                group.start_soon(self._watch, broker)
                await self._nemesis(group)
            self._dismiss()
            end = await self._look(broker)
        self._proxy.close()
        self._history.close()
        ledger = Ledger(self._folder / "effects.db")
        verdict = check(history.read(self._folder), ledger.entries(), end, self._works)
        ledger.close()
        return verdict

    @property
    def _needs_proxy(self) -> bool:
        return bool(self.plan.cuts or self.plan.lost_replies)

    # --- the jobs -----------------------------------------------------------------------------

    async def _produce(self, broker: RedisBroker) -> None:
        queue = Queue(STREAM, broker)
        plan = self.plan
        chunk = min(_CHUNK, max(1, plan.ahead // 2))
        for first in range(0, plan.jobs, chunk):
            while first - self._ended > plan.ahead - chunk:  # noqa: ASYNC110 - workers in other processes tell nobody
                await anyio.sleep(_LOOK)
            numbers = range(first, min(plan.jobs, first + chunk))
            works = [self._work(number) for number in numbers]
            self._works |= {one.number: one for one in works}
            while True:
                try:
                    await queue.enqueue_jobs([crew.new_job(one) for one in works])
                    break
                except TemporaryError:
                    await anyio.sleep(0.1)  # Redis is down; the same ids are sent again
            self._history.write("enqueued", job=numbers[0], last=numbers[-1])

    def _work(self, number: int) -> Work:
        made = crew.plain(number, self.plan.seed, self.plan.seconds)
        if number % _DELAYED == 0:
            due = time.time() + self._rng.random() * _DELAY
            return msgspec.structs.replace(made, due_ms=int(due * 1000))
        return made

    async def _watch(self, broker: RedisBroker) -> None:
        """Return when all have ended, or none has for long."""
        moved = time.monotonic()
        while self._ended < self.plan.jobs and time.monotonic() - moved < self.plan.patience:
            await anyio.sleep(_LOOK)
            try:
                counters = (await broker.stats(STREAM)).counters
            except TemporaryError:
                continue
            ended = counters.get("done", 0) + counters.get("dead", 0)
            if ended != self._ended:
                self._ended, moved = ended, time.monotonic()
        self._ended = max(self._ended, self.plan.jobs)

    # --- the faults ---------------------------------------------------------------------------

    async def _nemesis(self, group: anyio.abc.TaskGroup) -> None:
        plan = self.plan
        faults = ["kill"] * plan.kills + ["freeze"] * plan.freezes + ["cut"] * plan.cuts
        faults += ["reset"] * plan.resets + ["restart"] * plan.restarts
        self._rng.shuffle(faults)
        for place, fault in enumerate(faults, 1):
            while self._ended < plan.jobs * place / (len(faults) + 1):  # noqa: ASYNC110 - the same
                await anyio.sleep(_LOOK / 4)
            self._replace_the_gone()
            match fault:
                case "kill":
                    self._kill(self._rng.choice(sorted(self._crew.keys() - self._frozen)))
                case "freeze":
                    while self._frozen:  # noqa: ASYNC110 - one at a time
                        await anyio.sleep(_LOOK)
                    child = self._rng.choice(sorted(self._crew))
                    self._stop(child)
                    group.start_soon(self._thaw, child)
                case "cut":
                    self._proxy.cut_all()
                    self._tell("cut", [one for one, behind in self._crew.items() if behind])
                case "reset":
                    async with aioredis.Redis.from_url(self._server.url) as client:
                        await client.execute_command("CLIENT", "KILL", "TYPE", "normal")
                    self._tell("cut", [0])
                case _:
                    await anyio.to_thread.run_sync(self._server.kill)
                    self._tell("restart", [0])
                    await anyio.to_thread.run_sync(self._server.wait_until_answering)

    def _hire(self, *, behind_proxy: bool) -> None:
        plan = self.plan
        child = self._nursery.start(
            "tests.faults.nemesis.crew:work",
            url=self._proxy.url if behind_proxy else self._server.url,
            folder=str(self._folder),
            concurrency=plan.concurrency,
            lease=plan.lease,
            renew=plan.renew,
            jobs=plan.jobs,
            mutant=plan.mutant,
        )
        self._crew[child] = behind_proxy
        if behind_proxy and plan.lost_replies:
            self._history.write("cut", worker=child)

    def _replace_the_gone(self) -> None:
        """As a supervisor does: a worker that was started while Redis was down has given up."""
        self._nursery.poll()
        for child in self._crew.keys() & self._nursery.ended.keys():
            self._history.write("gone", worker=child)
            self._hire(behind_proxy=self._crew.pop(child))

    def _kill(self, child: int) -> None:
        behind = self._crew.pop(child)
        self._frozen.discard(child)
        os.kill(child, signal.SIGKILL)
        self._history.write("kill", worker=child)
        self._nursery.wait(child)
        self._hire(behind_proxy=behind)

    def _stop(self, child: int) -> None:
        self._frozen.add(child)
        os.kill(child, signal.SIGSTOP)
        self._history.write("freeze", worker=child)

    async def _thaw(self, child: int) -> None:
        await anyio.sleep(self.plan.lease * self._rng.uniform(1.6, 2.4))
        if child in self._crew:  # nobody has killed it meanwhile
            os.kill(child, signal.SIGCONT)
            self._history.write("thaw", worker=child)
        self._frozen.discard(child)

    def _tell(self, what: str, workers: Iterable[int]) -> None:
        for worker in workers:
            self._history.write(what, worker=worker)

    def _dismiss(self) -> None:
        """Everybody finishes and goes."""
        self._replace_the_gone()
        for child in self._crew:
            os.kill(child, signal.SIGTERM)
        self._nursery.wait(*self._crew)

    # --- the end ------------------------------------------------------------------------------

    async def _look(self, broker: RedisBroker) -> End:
        return await look(broker, self._server.url, STREAM, self.plan.jobs)


async def look(broker: RedisBroker, url: str, stream: str, jobs: int) -> End:
    """What Redis holds of that stream."""
    done: dict[str, int] = {}
    for record in await broker.done(stream, limit=2 * jobs + 1000):
        done[record.job_id] = done.get(record.job_id, 0) + 1
    dead: dict[str, list[str]] = {}
    for letter in await broker.dead(stream, limit=2 * jobs + 1000):
        dead.setdefault(letter.envelope.id, []).append(letter.reason)
    stats = await broker.stats(stream)
    async with aioredis.Redis.from_url(url) as client:
        prefix = StreamKeys.of(stream).unique("")
        held = [key async for key in client.scan_iter(match=f"{_quoted(prefix)}*", count=1000)]
    left = sum(stats.ready.values()) + stats.leased + stats.delayed + stats.parked
    return End(done=done, dead=dead, left=left, unique_held=len(held))


def _quoted(prefix: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[]" else letter for letter in prefix)


def run_storm(plan: Plan, *, told: Callable[[str], None] = lambda _: None) -> Verdict:
    """The whole of it in a folder of its own, with a server of its own."""
    program = find_valkey()
    if program is None:
        raise FileNotFoundError("no Valkey to storm")
    folder = Path(tempfile.mkdtemp(prefix="sq-storm-"))
    try:
        server = EmbeddedRedis(folder / "redis", binary=program, appendonly=bool(plan.restarts))
        with server, Nursery(folder) as nursery:
            try:
                return anyio.run(Storm(plan, folder, nursery, server).run)
            finally:
                if logs := nursery.logs():
                    told(logs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
