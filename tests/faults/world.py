"""A Sentinel of real processes to be killed, frozen and flushed, and the count of what came of it.

`World` has a Redis of its own, a database, a site whose pages take their time and change at every
look, a webhook receiver that remembers every message, and `sentinel-worker run` processes on them.
What happened is read afterwards from the database, from Redis and from the receiver, never from a
worker's own word.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
import sqlalchemy as sa
import yaml

from sentinel.embedded import EmbeddedRedis
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN, RunRule, delivery_job_id
from sentinel.store import Store
from sentinel.store.tables import alert, delivery, observation, outbox, rule, run
from streamq import Queue, RedisBroker
from tests.support.http import Request, Site

ROOT = Path(__file__).resolve().parents[2]
STREAMS = (RULES_RUN, ALERTS_DISPATCH)
#: Seconds after which a test gives up on something that should long have happened.
DEADLINE = 60.0
#: Seconds between two looks at what another process does.
LOOK_EVERY = 0.1
#: Rules of a test tick once: the next time is a year off.
ONCE = 366 * 86400

LEASE, RENEW = 1.5, 0.4


class Slow:
    """Answers `delay` seconds after it was asked, and not before the gate of that moment is open."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        #: Path -> what its answers wait for. Who has come before a gate is taken away still waits for it.
        self.gates: dict[str, threading.Event] = {}
        self.asked: Counter[str] = Counter()

    async def pause(self, path: str) -> None:
        gate = self.gates.get(path)
        self.asked[path] += 1
        await asyncio.sleep(self.delay)
        while gate is not None and not gate.is_set():  # noqa: ASYNC110 - a thread's event cannot be awaited
            await asyncio.sleep(LOOK_EVERY)


class Pages(Slow):
    """Pages that show another number at every look."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        self._numbers: Iterator[int] = itertools.count(100)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await self.pause(request.path)
        await _answer(writer, f"<p class=n>{next(self._numbers)}</p>")


class Receiver(Slow):
    """Takes webhooks, and remembers which."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        #: (webhook-id, alert id), in order of arrival.
        self.messages: list[tuple[str, str]] = []

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.messages.append((request.headers["webhook-id"], json.loads(request.body)["data"]["alertId"]))
        await self.pause(request.path)
        await _answer(writer, "thanks")


async def _answer(writer: asyncio.StreamWriter, body: str) -> None:
    data = body.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(data)}\r\nConnection: close"
    writer.write(f"{head}\r\n\r\n".encode() + data)
    await writer.drain()


class WorkerProcess:
    """One `sentinel-worker run`."""

    def __init__(self, environ: Mapping[str, str], log: Path, *arguments: str) -> None:
        #: Nobody has ended it: if it is gone, that is a failure.
        self.wanted = True
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sentinel.cli.main", "run", *arguments],
                env=dict(environ),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def __repr__(self) -> str:
        code = self._process.poll()
        return f"<WorkerProcess {self.pid} {'lives' if code is None else f'ended with {code}'}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_named(self, worker: str) -> bool:
        """Whether that is the name it works under (`host:pid:random`)."""
        return worker.split(":")[-2] == str(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """A signal to the worker alone, not to its children."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and gone."""
        self.wanted = False
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """SIGTERM; the exit code of its end."""
        self.wanted = False
        self._process.terminate()
        return self._process.wait(DEADLINE)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What it logged, as far as it is of these names."""
        found = []
        for line in self._log.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                event = json.loads(line)
                if event["event"].split("\n")[0] in names:
                    found.append(event)
        return found

    def log_tail(self) -> str:
        return self._log.read_text()[-3000:]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of everything, by the database, Redis and the receiver."""

    #: Jobs of `rules:run` that were acknowledged to somebody: the test's own, and claimed ticks.
    checks: int
    #: Of them in neither done nor dead, or without a run that ended.
    lost: int
    #: Of them, and of the dispatches, in done or dead more than once.
    ended_twice: int
    dead: int
    observations: int
    #: Runs or job ids with more than one observation.
    observations_doubled: int
    #: Rows of alert and channel.
    deliveries: int
    #: Of them not sent, or never seen by the receiver, or seen by it but not there.
    deliveries_amiss: int
    #: Alerts the receiver saw under more than one webhook-id.
    deliveries_doubled: int
    #: Pages fetched, and messages sent, beyond one per job.
    fetched_again: int
    sent_again: int
    #: Ready, leased or delayed in either stream, or in the outbox.
    left: int

    def __str__(self) -> str:
        return (
            f"lost {self.lost}, ended twice {self.ended_twice}, dead {self.dead}, "
            f"{self.observations} observations (doubled {self.observations_doubled}), "
            f"{self.deliveries} deliveries (doubled {self.deliveries_doubled}, amiss {self.deliveries_amiss}), "
            f"left {self.left}, fetched again {self.fetched_again}, sent again {self.sent_again}"
        )

    def assert_sound(self) -> None:
        """Nothing lost, nothing doubled, nothing left."""
        wrong = (
            self.lost,
            self.ended_twice,
            self.observations_doubled,
            self.deliveries_amiss,
            self.deliveries_doubled,
            self.left,
        )
        assert not any(wrong), str(self)
        assert self.observations + self.dead == self.checks, str(self)


class World:
    """See the module. `broker` and `store` are the test's own connections."""

    def __init__(
        self,
        *,
        folder: Path,
        site: Site,
        server: EmbeddedRedis,
        database_url: str,
        broker: RedisBroker,
        store: Store,
    ) -> None:
        self.server = server
        self.broker = broker
        self.store = store
        self.pages = Pages(delay=0.5)
        self.receiver = Receiver(delay=0.2)
        self.workers: list[WorkerProcess] = []
        #: Ids of the jobs that the test was told are in.
        self.acknowledged: set[str] = set()
        self._site = site
        self._folder = folder
        self._numbers = itertools.count()
        self.environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": server.url,
            "DATABASE_URL": database_url,
            "SENTINEL_STATE_DIR": str(folder / "state"),
            "SENTINEL_LOG_FORMAT": "json",
            "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
            "RATE_LIMITING_ENABLED": "false",
            "STREAMQ_LEASE_SECONDS": str(LEASE),
            "STREAMQ_RENEW_SECONDS": str(RENEW),
            "WORKER_CONCURRENCY_RULES": "2",
            "WORKER_CONCURRENCY_ALERTS": "2",
        }

    # --- setting up -------------------------------------------------------------------------------

    def cli(self, *arguments: str) -> str:
        """One call of the command line, as an operator makes it; its stdout."""
        called = subprocess.run(
            [sys.executable, "-m", "sentinel.cli.main", *arguments],
            env=self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert called.returncode == 0, called.stderr
        return called.stdout

    def import_rules(self, count: int) -> list[str]:
        """Rules on pages of the site, imported from YAML; each is due at once, and then in a year."""
        ids = [f"rule-{number:03}" for number in range(count)]
        for rule_id in ids:
            self._site.route(f"/{rule_id}", self.pages)
        hook = self._site.route("/hook", self.receiver)
        file = self._folder / "rules.yaml"
        file.write_text(yaml.safe_dump(_rules_file(self._site.url, hook, ids)))
        self.cli("rules", "import", str(file))
        return ids

    def start(self, *arguments: str, **environ: str) -> WorkerProcess:
        """One more worker; ended with the test."""
        log = self._folder / f"worker-{next(self._numbers)}.log"
        worker = WorkerProcess(self.environ | environ, log, *arguments)
        self.workers.append(worker)
        return worker

    def end(self) -> None:
        """SIGKILL whatever still runs."""
        for worker in self.workers:
            worker.kill()

    async def enqueue(self, rule_ids: Sequence[str], *, note: str, delay: float = 0.0) -> None:
        """One check of each rule, as another program asks for it; returns when they are acknowledged."""
        queue = Queue(RULES_RUN, self.broker)
        for rule_id in rule_ids:
            payload = RunRule(rule_id=rule_id, trigger="manual_test", requested_at="2026-01-01T00:00:00Z")
            receipt = await queue.enqueue(payload, job_id=f"{note}-{rule_id}", delay=delay)
            assert receipt.created
            self.acknowledged.add(receipt.job_id)

    async def tick(self) -> None:
        """Every rule is due once more."""
        self.acknowledged |= await self._ticks()
        async with self.store._database.writing() as connection:
            await connection.execute(sa.update(rule).values(next_due_at=time.time()))

    async def _ticks(self) -> set[str]:
        """The job of each rule's last claimed tick."""
        return {row.claimed_job_id for row in await self.rows(sa.select(rule.c.claimed_job_id))} - {None}

    # --- looking on -------------------------------------------------------------------------------

    async def until(
        self, condition: Callable[[], Awaitable[bool]], what: str, *, patience: float = DEADLINE
    ) -> None:
        """Return when it is so.

        Fail, saying what was waited for, when it is not so for long, or a worker ended by itself.
        """
        give_up = anyio.current_time() + patience
        while not await condition():
            await anyio.sleep(LOOK_EVERY)
            late = anyio.current_time() > give_up
            if late or any(worker.wanted and not worker.lives for worker in self.workers):
                words = f"not within {patience:g} s" if late else "a worker ended by itself, waiting for this"
                logs = "\n".join(f"--- {worker!r}\n{worker.log_tail()}" for worker in self.workers)
                raise AssertionError(f"{words}: {what}\n{logs}")

    async def holder(self, stream: str) -> WorkerProcess | None:
        """A living worker that has a job of the stream in hand."""
        for entry in await self.broker.pending(stream):
            for worker in self.workers:
                if worker.lives and worker.is_named(entry.worker):
                    return worker
        return None

    async def in_hand(self, worker: WorkerProcess) -> list[str]:
        """Ids of the jobs that Redis says it has in hand."""
        entries = [entry for stream in STREAMS for entry in await self.broker.pending(stream)]
        return [entry.envelope.id for entry in entries if worker.is_named(entry.worker)]

    async def ended(self, stream: str = RULES_RUN) -> int:
        counters = (await self.broker.stats(stream)).counters
        return counters.get("done", 0) + counters.get("dead", 0)

    async def left(self) -> int:
        """Jobs that are still on their way, wherever."""
        on_the_way = 0
        for stream in STREAMS:
            stats = await self.broker.stats(stream)
            on_the_way += sum(stats.ready.values()) + stats.leased + stats.delayed
        (waiting,) = await self.rows(sa.select(sa.func.count()).select_from(outbox))
        return on_the_way + int(waiting[0])

    async def settled(self, *, patience: float = DEADLINE) -> None:
        """Return when every rule and every tick was checked, every alert has ended and nothing is left to do."""

        async def is_so() -> bool:
            if await self.left() or await self._unfinished():
                return False
            # Once more: what a check that ended meanwhile put into the outbox is seen there.
            return not await self.left()

        await self.until(is_so, "everything is done", patience=patience)

    async def _unfinished(self) -> bool:
        """Work that the database knows of, whatever Redis says; dead letters are a person's."""
        ticked = rule.c.claimed_job_id.is_not(None)
        open_tick = ticked & ~_has_ended(run.c.job_id == rule.c.claimed_job_id)
        due_again = ticked & (rule.c.next_due_at <= time.time())
        never = ~_has_ended(run.c.rule_id == rule.c.id)
        claimed = await self.rows(sa.select(rule.c.claimed_job_id).where(open_tick | due_again | never))
        pending = await self.rows(sa.select(alert.c.id).where(alert.c.state == "pending"))
        jobs = {row.claimed_job_id for row in claimed} | {
            delivery_job_id(f"alert-{row.id}", "hook") for row in pending
        }
        return bool(jobs) and bool(jobs - (await self._ends())[1])

    async def rows(self, query: sa.Select[Any]) -> list[Any]:
        async with self.store._database.reading() as connection:
            return list((await connection.execute(query)).all())

    # --- the count --------------------------------------------------------------------------------

    async def count(self, *, flushed: bool = False) -> Counts:
        """What became of everything; `flushed`: Redis cannot be asked what it did."""
        checks = self.acknowledged | await self._ticks()
        ends, dead = await self._ends()
        runs = await self.rows(sa.select(run.c.id, run.c.job_id, run.c.status))
        finished = {row.job_id for row in runs if row.status == "ok"}
        observed = await self.rows(sa.select(observation.c.run_id))
        per_run = Counter(row.run_id for row in observed)
        sent, ids_of = await self._deliveries()
        return Counts(
            checks=len(checks),
            lost=len(checks - finished - dead) + (0 if flushed else len(checks - set(ends))),
            ended_twice=sum(times > 1 for times in ends.values()),
            dead=len(dead),
            observations=len(observed),
            observations_doubled=sum(times > 1 for times in per_run.values())
            + len(runs)
            - len({r.job_id for r in runs}),
            deliveries=len(sent),
            deliveries_amiss=len(set(sent.items()) ^ {(a, "sent") for a in ids_of}),
            deliveries_doubled=sum(len(ids) > 1 for ids in ids_of.values()),
            fetched_again=self.pages.asked.total() - len(runs),
            sent_again=len(self.receiver.messages) - len(sent),
            left=await self.left(),
        )

    async def _ends(self) -> tuple[Counter[str], set[str]]:
        """How often each job ended, by Redis, and which are dead letters."""
        ends: Counter[str] = Counter()
        dead: set[str] = set()
        for stream in STREAMS:
            ends.update(record.job_id for record in await self.broker.done(stream, limit=1000))
            letters = [letter.envelope.id for letter in await self.broker.dead(stream, limit=1000)]
            ends.update(letters)
            dead.update(letters)
        return ends, dead

    async def _deliveries(self) -> tuple[dict[str, str], dict[str, set[str]]]:
        """Alert -> its delivery's state; alert -> the ids under which the receiver saw it."""
        rows = await self.rows(sa.select(delivery.c.alert_id, delivery.c.state))
        ids_of: dict[str, set[str]] = {}
        for message_id, alert_id in self.receiver.messages:
            ids_of.setdefault(alert_id, set()).add(message_id)
        return {row.alert_id: row.state for row in rows}, ids_of


def _has_ended(which: sa.ColumnElement[bool]) -> sa.Exists:
    return sa.exists().where(which, run.c.status != "running")


def _rules_file(base: str, hook: str, ids: Sequence[str]) -> dict[str, Any]:
    return {
        "workspace": {"id": "faults"},
        "channels": [{"id": "hook", "type": "webhook", "url": hook}],
        "rules": [
            {
                "id": rule_id,
                "url": f"{base}/{rule_id}",
                "type": "number",
                "fetch": {"mode": "http", "timeout": 300},  # also where a frozen worker is slow to thaw
                "extraction": {"method": "css", "selector": ".n"},
                "schedule": {"intervalSeconds": ONCE},
                "alertPolicy": {
                    "channels": ["hook"],
                    "conditions": [{"id": "moved", "type": "value_changed"}],
                },
            }
            for rule_id in ids
        ],
    }
