"""Producers that go on only when a job is as safe as they asked: on a replica, on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import pytest

from streamq import NotConfirmed, Queue, RedisBroker, SyncQueue, redis_broker
from streamq.durability import durability_of
from streamq.errors import BrokerRefused, InvalidJob
from tests.support import fleets, servers

LOGGED = {"appendonly": "yes", "appendfsync": "everysec"}


def _program(name: str) -> Path:
    found = {"valkey": servers.find_valkey, "redis": servers.find_redis}[name]()
    if found is None:
        pytest.skip(f"no {name}")
    return found


@pytest.fixture(scope="module")
def pair() -> Iterator[fleets.Sentinels]:
    fleet = fleets.Sentinels(_program("valkey"))
    yield fleet
    fleet.stop()


@pytest.fixture
def replica(pair: fleets.Sentinels) -> Iterator[fleets.Server]:
    """The replica, awake again afterwards. Asleep for less than a Sentinel minds."""
    found = pair.replica()
    yield found
    found.resume()


@pytest.fixture
def newest_redis() -> Path:
    found = servers.find_newest_redis()
    if found is None:
        pytest.skip("Redis (newest) was not found: ./dev test-servers gets it")
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_broker, "CONFIRM_TIMEOUT", 0.2)


async def test_a_job_that_a_replica_has_is_confirmed(pair: fleets.Sentinels, replica: fleets.Server) -> None:
    pair.empty()
    async with RedisBroker.from_url(pair.url) as broker:
        receipt = await Queue("jobs", broker).enqueue({"a": 1}, durability="replicas:1")
    assert receipt.created
    assert replica.ask("XLEN", "jobs") == 1, "at once, without waiting for it"


async def test_a_job_that_no_replica_has_yet_is_told_and_confirmed_by_the_same_call(
    pair: fleets.Sentinels, replica: fleets.Server, impatient: None
) -> None:
    pair.empty()
    async with RedisBroker.from_url(pair.url) as broker:
        queue = Queue("jobs", broker, durability="replicas:1")
        replica.pause()
        with pytest.raises(NotConfirmed, match="0 of 1 replicas") as caught:
            await queue.enqueue({"a": 1})
        assert (await broker.stats("jobs")).ready["normal"] == 1, "it was written"
        with pytest.raises(NotConfirmed):  # a repetition writes nothing, and is not taken for confirmed
            await queue.enqueue_jobs(caught.value.jobs, call_id=caught.value.call_id)
        replica.resume()
        fleets.until("the replica follows again", lambda: replica.ask("XLEN", "jobs") == 1)
        receipts = await queue.enqueue_jobs(caught.value.jobs, call_id=caught.value.call_id)
        assert [receipt.job_id for receipt in receipts] == [job.id for job in caught.value.jobs]
        assert (await broker.stats("jobs")).ready["normal"] == 1, "and only once"


async def test_more_replicas_than_there_are_never_confirm(pair: fleets.Sentinels, impatient: None) -> None:
    async with RedisBroker.from_url(pair.url) as broker:
        with pytest.raises(NotConfirmed, match="of 7 replicas"):
            await Queue("jobs", broker).enqueue_many([1, 2], durability="replicas:7")


async def test_a_duplicate_is_confirmed_as_the_first_one_is(
    pair: fleets.Sentinels, replica: fleets.Server
) -> None:
    pair.empty()
    async with RedisBroker.from_url(pair.url) as broker:
        queue = Queue("jobs", broker)
        first = await queue.enqueue(1, unique="k")
        second = await queue.enqueue(2, unique="k", durability="replicas:1")
        assert (second.created, second.job_id) == (False, first.job_id)
    assert replica.ask("XLEN", "jobs") == 1


async def test_a_program_without_an_event_loop_has_the_same(pair: fleets.Sentinels, impatient: None) -> None:
    pair.empty()
    async with RedisBroker.from_url(pair.url) as broker:
        queue = SyncQueue("jobs", broker)

        def produce() -> None:
            assert queue.enqueue(1, durability="replicas:1").created
            pair.holder("").ask("CONFIG", "SET", "appendfsync", "always")
            assert queue.enqueue(2, durability="fsync").created
            with pytest.raises(NotConfirmed):
                queue.enqueue_many([3, 4], durability="replicas:5")

        await anyio.to_thread.run_sync(produce)
        assert (await broker.stats("jobs")).ready["normal"] == 4


async def test_a_job_on_the_disk_is_there_after_the_server_was_killed(tmp_path: Path) -> None:
    server = fleets.Server(_program("valkey"), tmp_path / "server", config=LOGGED | {"appendfsync": "always"})
    try:
        async with RedisBroker.from_url(server.url) as broker:
            await Queue("jobs", broker, durability="fsync").enqueue({"a": 1})
        server.kill()
        server.start()
        assert server.ask("XLEN", "jobs") == 1
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("name", "config", "why"),
    [
        ("redis", LOGGED, "WAITAOF"),  # 7.0 has none
        ("valkey", {}, "appendonly yes"),
        ("valkey", LOGGED, "appendfsync always"),  # its WAITAOF answers before the disk has it
    ],
    ids=["too-old", "no-file", "too-early"],
)
async def test_a_server_that_cannot_confirm_is_told_before_anything_is_written(
    name: str, config: dict[str, str], why: str, tmp_path: Path
) -> None:
    server = fleets.Server(_program(name), tmp_path / "server", config=config)
    try:
        async with RedisBroker.from_url(server.url) as broker:
            with pytest.raises(BrokerRefused, match=why):
                await Queue("jobs", broker).enqueue({"a": 1}, durability="fsync")
            assert server.ask("DBSIZE") == 0
    finally:
        server.stop()


async def test_a_server_that_waits_for_its_disk_confirms_with_everysec(
    tmp_path: Path, newest_redis: Path
) -> None:
    server = fleets.Server(newest_redis, tmp_path / "server", config=LOGGED)
    try:
        async with RedisBroker.from_url(server.url) as broker:
            assert (await Queue("jobs", broker).enqueue({"a": 1}, durability="fsync")).created
    finally:
        server.stop()


@pytest.mark.parametrize(
    "text", ["replicas", "replicas:0", "replicas:-1", "replicas:x", "disk", "replicas:1000"]
)
def test_a_durability_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidJob, match="durability is none, replicas:N or fsync"):
        durability_of(text)
    assert str(durability_of("replicas:2")) == "replicas:2"
