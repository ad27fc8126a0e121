"""The roles of deploy/acl on real servers: each can do its work, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis

from sentinel.embedded import server_version
from streamq import (
    Admin,
    BrokerRefused,
    BrokerUnavailable,
    DeadLetter,
    Every,
    Handlers,
    Job,
    Limit,
    Queue,
    Recurring,
    RedisBroker,
    Retry,
    Worker,
    WorkerOptions,
    queue,
)
from streamq.scripts import script
from streamq.ticker import fire_due
from tests.support import fleets, servers

ROOT = Path(__file__).resolve().parents[2]
ACL = ROOT / "deploy" / "acl"
STREAM = "rules:run"
#: Seconds anything here may take.
DEADLINE = 60.0
PASSWORDS = {
    f"{role.upper()}_PASSWORD": f"{role}-pw" for role in ("producer", "worker", "inspector", "admin")
}
FINDERS = {
    "valkey": servers.find_valkey,
    "redis": servers.find_redis,
    "newest": servers.find_newest_redis,
}


def made(*words: str, **environ: str) -> str:
    """What deploy/acl/make prints."""
    environment = {"PATH": os.environ["PATH"]} | environ
    done = subprocess.run([ACL / "make", *words], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


class Guarded:
    """A server that lets in the four roles, and a superuser for the test itself."""

    def __init__(self, program: Path, folder: Path) -> None:
        folder.mkdir()
        version = ".".join(map(str, server_version(program)))
        if "valkey" in program.name:
            version = "7.2"  # what all of them can do that Valkey came from
        users = folder / "users.acl"
        users.write_text(
            made(version, **PASSWORDS).replace("user default off", "user default on nopass ~* &* +@all")
        )
        self._server = fleets.Server(program, folder / "server", config={"aclfile": str(users)})
        self.ask = self._server.ask

    def url(self, role: str) -> str:
        return self._server.url.replace("redis://", f"redis://streamq-{role}:{role}-pw@")

    def client(self, role: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(role), protocol=2)

    def refused(self, role: str, *command: Any) -> bool:
        with self.client(role) as client:
            try:
                client.execute_command(*command)
            except redis.exceptions.NoPermissionError:
                return True
            except redis.ResponseError as error:  # inside a script, by other words in each version
                return any(words in str(error) for words in ("ACL", "can't run", "can't access"))
            return False

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module", params=FINDERS)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    program = FINDERS[request.param]()
    if program is None:
        pytest.skip(f"no {request.param}")
    server = Guarded(program, tmp_path_factory.mktemp("roles") / "one")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _empty(guarded: Guarded) -> None:
    guarded.ask("FLUSHALL")
    guarded.ask("ACL", "LOG", "RESET")


def handlers_of(seen: list[int]) -> Handlers:
    handlers = Handlers()

    @handlers.on(STREAM, int, retry=Retry(delays=(0.01,)))
    async def note(job: Job[int]) -> None:
        if job.payload == 2 and job.attempt == 1:
            raise ValueError("once")
        if job.payload == 3:
            raise DeadLetter("because")
        seen.append(job.payload)

    return handlers


async def work_off(guarded: Guarded, seen: list[int]) -> None:
    async with RedisBroker.from_url(guarded.url("worker")) as broker:
        await broker.check()
        options = WorkerOptions(burst_wait=1.0, lease=0.4, renew=0.1)
        with anyio.fail_after(DEADLINE):
            await Worker(broker, handlers_of(seen), options=options).run(handle_signals=False)


def denials(guarded: Guarded) -> set[str]:
    """What the server wrote down as refused; what the client library itself asks for at a greeting aside."""
    entries = guarded.ask("ACL", "LOG")
    found = set()
    for entry in entries:
        told = entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))
        told = {_text(name): _text(value) for name, value in told.items()}
        found.add(f"{told['username']}: {told['object']}")
    return {one for one in found if not one.endswith(("client|setinfo", "maint_notifications"))}


def _text(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def test_a_worker_may_use_every_command_of_every_script() -> None:
    granted = set((ACL / "worker.acl").read_text().split())
    missing = {
        f"{file.stem}.lua: {command}"
        for file in (ROOT / "streamq" / "lua").glob("*.lua")
        for command in _commands_of(script(file.stem).text)
        if f"+{command}" not in granted
    }
    assert missing == set(), "to be added to deploy/acl/worker.acl"


def _commands_of(text: str) -> set[str]:
    """As an ACL names them: `xgroup|create`."""
    found = re.findall(r"redis\.p?call\('(\w+)'(?:, '([A-Z]+)')?", text)
    return {
        f"{first}|{second}".lower() if first in ("XGROUP", "XINFO") else first.lower()
        for first, second in found
    }


async def test_producer_worker_and_inspector_do_their_work(guarded: Guarded) -> None:
    seen: list[int] = []
    await work_off(guarded, seen)  # it knows the server, and the server its scripts
    async with RedisBroker.from_url(guarded.url("producer")) as broker:
        queue = Queue(STREAM, broker)
        await queue.enqueue_many([1, 2, 3])
        await queue.enqueue(4, delay=0.5, unique="k", job_id="four")
        assert not (await queue.enqueue(4, unique="k")).created
        await queue.enqueue(5, lane="high")
        assert (await broker.ping())["policy"] == "noeviction"
    async with RedisBroker.from_url(guarded.url("inspector")) as broker:
        assert (await broker.stats(STREAM)).ready["normal"] == 3
        assert len(await broker.waiting(STREAM)) == 4
        four = await broker.find(STREAM, "four")
        assert four.state == "delayed"
        assert len(await broker.delayed(STREAM)) == 1
        assert await broker.pending(STREAM) == []
        assert "due in" in (await Admin(broker, [STREAM]).why(four))
    await work_off(guarded, seen)
    async with RedisBroker.from_url(guarded.url("inspector")) as broker:
        assert [letter.reason for letter in await broker.dead(STREAM)] == ["because"]
        assert len(await broker.done(STREAM)) == 4
        await broker.workers(STREAM)
        assert (await broker.schedules(STREAM)).found == ()
    assert sorted(seen) == [1, 2, 4, 5]
    assert denials(guarded) == set()


async def test_a_producer_limits_and_replaces_only_where_it_may_read(guarded: Guarded) -> None:
    await work_off(guarded, [])
    one = Limit("one", running=1, rate=100, burst=9)
    async with RedisBroker.from_url(guarded.url("producer")) as broker:
        jobs = Queue(STREAM, broker)
        await jobs.enqueue(1, unique="k", replace=True)
        with pytest.raises(BrokerRefused):
            await jobs.enqueue(2, unique="k", replace=True)
        with pytest.raises(BrokerRefused):
            await jobs.enqueue(2, limit=one)
    rights = made("7.0", PRODUCER_PASSWORD="producer-pw", PRODUCER_LIMITS="yes").splitlines()[1].split()
    guarded.ask("ACL", "SETUSER", "streamq-limiter", *rights[2:])
    guarded.ask("ACL", "LOG", "RESET")
    limiter = guarded.url("producer").replace("streamq-producer", "streamq-limiter")
    async with RedisBroker.from_url(limiter) as broker:
        jobs = Queue(STREAM, broker)
        assert not (await jobs.enqueue(2, unique="k", replace=True)).created
        await jobs.enqueue_many([6, 7, 8], limit=one)
    seen: list[int] = []
    await work_off(guarded, seen)
    assert sorted(seen) == [2, 6, 7, 8]
    assert denials(guarded) == set()


async def test_a_worker_takes_over_from_the_dead_and_fires_ticks(guarded: Guarded) -> None:
    seen: list[int] = []
    async with RedisBroker.from_url(guarded.url("worker")) as broker:
        start = time.time() + 0.3
        await Recurring(STREAM, broker).add("beat", Every(60), 9, max_runs=1, start=start)
        while (left := await fire_due(broker, STREAM, lambda _: None)) is not None:  # noqa: ASYNC110 - the server keeps this time
            await anyio.sleep(left)
        await Queue(STREAM, broker, durability="none").enqueue(1)
        (lease,) = (await broker.turn(STREAM, "dead", sequence=1, free=1)).leases
        broker.renew(STREAM, "dead", [lease])
        assert (await broker.reclaim(STREAM, "dead", beat=None, crash_budget=3)).ready == 1
        assert await broker.limit(STREAM, "shop", rate=1, burst=1, who="x") == 0
        await broker.sweep(STREAM, idle=60, crash_budget=3)
    await work_off(guarded, seen)
    assert sorted(seen) == [1, 9]
    assert denials(guarded) == set()


async def test_an_admin_pauses_cancels_requeues_and_purges(guarded: Guarded) -> None:
    await work_off(guarded, [])
    async with RedisBroker.from_url(guarded.url("admin")) as broker:
        job = await Queue(STREAM, broker).enqueue(3)
        await broker.set_paused(STREAM, paused=True)
        assert (await broker.stats(STREAM)).paused
        await broker.set_paused(STREAM, paused=False)
        await work_off(guarded, [])
        (letter,) = await broker.dead(STREAM)
        assert (await broker.requeue(STREAM, [letter.entry_id])).ready == (job.job_id,)
        assert (await broker.cancel(STREAM, job.job_id)).found == "waiting"
        assert await broker.purge(STREAM, [letter.entry_id]) == 0
        await broker.set_concurrency(STREAM, 2)
    assert denials(guarded) == set()


async def test_every_role_works_with_partitions(guarded: Guarded) -> None:
    await work_off(guarded, [])
    async with RedisBroker.from_url(guarded.url("admin")) as broker:
        await broker.set_partitions(STREAM, 3)
    async with RedisBroker.from_url(guarded.url("producer")) as broker:
        await Queue(STREAM, broker).enqueue_many(range(10, 19))
    async with RedisBroker.from_url(guarded.url("inspector")) as broker:
        assert len((await broker.stats(STREAM)).partitions) == 3
        assert len(await broker.waiting(STREAM)) == 9
    assert denials(guarded) == set()


async def test_a_producer_waits_for_the_worker_that_loads_the_scripts(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_PAUSES", (0.01,))
    guarded.ask("SCRIPT", "FLUSH")
    async with RedisBroker.from_url(guarded.url("producer")) as broker:
        with pytest.raises(BrokerUnavailable, match="the first worker loads them"):
            await Queue(STREAM, broker).enqueue(1)
        await work_off(guarded, [])
        assert (await Queue(STREAM, broker).enqueue(1)).created


EVERYBODY: list[tuple[str | int, ...]] = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("KEYS", "*"),
    ("SCAN", 0),
    ("RANDOMKEY",),
    ("CONFIG", "SET", "appendonly", "no"),
    ("SHUTDOWN",),
    ("MONITOR",),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "me", "on"),
    ("REPLICAOF", "NO", "ONE"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("MODULE", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", 1),
    ("SUBSCRIBE", "x"),
    ("PUBLISH", "x", "y"),
    ("GET", "other"),
    ("XADD", "other:stream", "*", "payload", "1"),
    ("XADD", "rules:running", "*", "payload", "1"),
    ("SET", "{rules:run}", "1"),
    ("EVALSHA_RO", "0" * 40, 1, "other"),
]
BEYOND: dict[str, list[tuple[str | int, ...]]] = {
    "producer": [
        ("EVAL", "return 1", 0),
        ("EVAL_RO", "return 1", 0),
        ("SCRIPT", "LOAD", "return 1"),
        ("MULTI",),
        ("CONFIG", "GET", "*"),
        ("CLIENT", "LIST"),
        ("XRANGE", STREAM, "-", "+"),
        ("XREVRANGE", "{rules:run}:dead", "+", "-"),
        ("XREADGROUP", "GROUP", "workers", "x", "STREAMS", STREAM, ">"),
        ("XACK", STREAM, "workers", "1-1"),
        ("XDEL", STREAM, "1-1"),
        ("XTRIM", STREAM, "MAXLEN", 0),
        ("XGROUP", "DESTROY", STREAM, "workers"),
        ("HGETALL", "{rules:run}:meta"),
    ],
    "worker": [
        ("MULTI",),
        ("CONFIG", "GET", "*"),
        ("CLIENT", "LIST"),
        ("XGROUP", "DESTROY", STREAM, "workers"),
        ("XGROUP", "SETID", STREAM, "workers", "$"),
        ("RENAME", STREAM, "{rules:run}:x"),
        ("EVAL", "return redis.call('FLUSHALL')", 0),
        ("EVAL", "return redis.call('GET', 'other')", 0),
        ("EVAL", "return redis.call('XGROUP', 'DESTROY', KEYS[1], 'workers')", 1, STREAM),
    ],
    "inspector": [
        ("EVAL", "return 1", 0),
        ("EVALSHA", "0" * 40, 0),
        ("EVAL_RO", "return redis.call('KEYS', '*')", 0),
        ("EVAL_RO", "return redis.call('GET', 'other')", 0),
        ("SCRIPT", "LOAD", "return 1"),
        ("CONFIG", "GET", "*"),
        ("CLIENT", "LIST"),
        ("XADD", STREAM, "*", "payload", "1"),
        ("XREADGROUP", "GROUP", "workers", "x", "STREAMS", STREAM, ">"),
        ("XACK", STREAM, "workers", "1-1"),
        ("XDEL", STREAM, "1-1"),
        ("SET", "{rules:run}:unique:x", "1"),
        ("DEL", STREAM),
        ("HSET", "{rules:run}:meta", "paused", "1"),
    ],
    "admin": [("EVAL", "return redis.call('FLUSHALL')", 0), ("EVAL", "return redis.call('GET', 'other')", 0)],
}


@pytest.mark.parametrize("role", BEYOND)
def test_a_role_is_refused_all_else(guarded: Guarded, role: str) -> None:
    guarded.ask("SET", "other", "secret")
    guarded.ask("XGROUP", "CREATE", STREAM, "workers", "0", "MKSTREAM")
    allowed = [command for command in EVERYBODY + BEYOND[role] if not guarded.refused(role, *command)]
    assert allowed == []
    assert guarded.ask("GET", "other") == b"secret"


async def test_an_inspector_changes_nothing_by_the_library_either(guarded: Guarded) -> None:
    async with RedisBroker.from_url(guarded.url("inspector")) as broker:
        with pytest.raises(BrokerRefused):
            await Queue(STREAM, broker).enqueue(1)
        with pytest.raises(BrokerRefused):
            await broker.set_paused(STREAM, paused=True)
        with pytest.raises(BrokerRefused):
            await broker.purge(STREAM, ["1-1"])
        with pytest.raises(BrokerRefused):
            await broker.turn(STREAM, "me", sequence=1, free=1)
    assert guarded.ask("DBSIZE") == 0


def test_a_role_without_a_password_cannot_be_made() -> None:
    assert made("7.0") == "user default off\n"
    assert "setinfo" not in made("7.0", **PASSWORDS)
    assert "setinfo" in made("7.2", **PASSWORDS)
    lines = made("8.0", "images", "thumbs", PRODUCER_PASSWORD="x").splitlines()
    assert len(lines) == 2
    assert (
        " ~images ~{images}:* ~images.[0-9]* ~{images.[0-9]*}:* ~thumbs ~{thumbs}:* ~thumbs.[0-9]* "
        in lines[1]
    )
    assert "rules" not in lines[1]
    with pytest.raises(subprocess.CalledProcessError):
        made("7.0", "a b", **PASSWORDS)
    with contextlib.suppress(StopIteration):
        for file in ACL.glob("*.acl"):
            assert " resetpass resetkeys resetchannels " in file.read_text(), (
                "nobody comes in by the file alone"
            )
