"""What only a real server does: lose its groups, its data or its scripts, drop connections, run full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter

import anyio
import anyio.to_thread
import pytest
import redis.asyncio as aioredis

from streamq import nodes, redis_broker
from streamq.broker import Again, Done, Retention
from streamq.errors import BrokerFull, BrokerRefused, BrokerUnavailable
from streamq.keys import GROUP, StreamKeys
from streamq.redis_broker import RedisBroker
from streamq.wire import FORMAT_VERSION
from tests.streamq.rig import BUDGET, PATIENCE, Rig, eventually, ids, job
from tests.support.servers import OwnServers


async def _lose_groups(rig: Rig) -> None:
    for key in (*StreamKeys.of(rig.stream).lanes, StreamKeys.of(rig.stream).wake):
        await rig.client.xgroup_destroy(key, GROUP)


async def test_all_keys_of_a_stream_share_its_hash_tag(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.put(
        job(1, unique="k"),
        job(2, delay=9),
        job(3, lane="high", id="x", id_is_callers=True),
        job(4, lane="low"),
    )
    worker = rig.hand()
    one, two, *_ = await worker.take(4)
    await worker.finish(Done(one), Again(two, delay=1, counts=True))
    worker.renew()
    await rig.broker.limit(rig.stream, "shop", rate=0.1, burst=1)
    keys = [str(key, "utf-8") for key in await rig.client.keys("*") if isinstance(key, bytes)]
    assert {key for key in keys if key != "jobs" and not key.startswith("{jobs}:")} == set()
    assert {"jobs", "{jobs}:high", "{jobs}:low", "{jobs}:delayed", "{jobs}:meta", "{jobs}:done"} <= set(keys)
    assert {"{jobs}:unique:k", "{jobs}:limit:shop"} <= set(keys)


async def test_a_delayed_job_is_scored_with_its_due_time_in_ms(redis_rig: Rig) -> None:
    rig = redis_rig
    before = await rig.now_ms()
    await rig.put(job(delay=60))
    after = await rig.now_ms()
    count = await rig.client.zcount("{jobs}:delayed", before + 60_000, after + 60_000)
    assert count == 1


async def test_an_acknowledged_entry_is_deleted(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.put(*(job(n) for n in range(10)))
    worker = rig.hand()
    await worker.finish(*(Done(lease) for lease in await worker.take(10)))
    assert await rig.client.xlen("jobs") == 0


async def test_a_group_that_was_destroyed_is_made_again_and_nothing_is_skipped(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.put(job(1), job(2, lane="high"), job(3, lane="low"))
    worker = rig.hand()
    held = await worker.take_one()
    await _lose_groups(rig)
    turn = await worker.turn(Done(held), free=5)
    assert turn.refused == {held.key}
    assert {lease.envelope.payload for lease in turn.leases} == {b"1", b"2", b"3"}
    assert await worker.finish(*(Done(lease) for lease in turn.leases)) == frozenset()
    assert await rig.places() == {"done": 3}


async def test_every_verb_works_on_a_server_that_was_emptied(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.put(job(1), job(2, delay=9))
    worker = rig.hand()
    held = await worker.take_one()
    await rig.client.flushdb()
    assert worker.renew(held).lost == {held.key}
    assert await rig.broker.adopt(rig.stream, worker.name, [held]) == ()
    assert (await rig.broker.reclaim(rig.stream, worker.name, beat=None, crash_budget=BUDGET)).ready == 0
    assert (await rig.broker.sweep(rig.stream, idle=0, crash_budget=BUDGET)).ready == 0
    await rig.broker.trim(rig.stream, Retention())
    await rig.broker.retire(rig.stream, worker.name)
    assert await rig.broker.pending(rig.stream) == []
    assert await worker.finish(Done(held)) == {held.key}
    assert await rig.places() == {}
    job_id = await rig.put_one()
    assert (await worker.take_one()).envelope.id == job_id


async def test_a_sleeper_finds_the_jobs_that_come_after_a_flush(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.broker.wait(rig.stream, "alice", timeout=0)
    found: list[str] = []

    async def work() -> None:
        while not found:
            try:
                wakeup = await rig.broker.wait(rig.stream, "alice", timeout=5)
            except BrokerUnavailable:
                continue
            found.extend(lease.envelope.id for lease in wakeup.leases)

    async def asleep() -> bool:
        return await rig.sleepers() > 0

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await eventually(asleep)
            await rig.client.flushdb()
            job_id = await rig.put_one()
    assert found == [job_id]


async def test_a_worker_registers_again_after_a_flush(redis_rig: Rig) -> None:
    rig = redis_rig
    worker = rig.hand()
    await worker.take()
    await rig.client.flushdb()
    await worker.take()
    worker.renew()
    assert (await rig.stats()).workers == 1


async def test_scripts_the_server_forgot_are_sent_again(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.put(job(1))
    await rig.client.script_flush()
    worker = rig.hand()
    lease = await worker.take_one()
    await rig.client.script_flush()
    assert worker.renew(lease).lost == frozenset()
    assert await worker.finish(Done(lease)) == frozenset()


async def test_a_cut_connection_is_an_error_that_may_be_repeated(redis_rig: Rig) -> None:
    rig = redis_rig
    one = job(1)
    await rig.put(one, call_id="c")
    await rig.client.client_kill_filter(_type="normal", skipme=True)
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                receipts = await rig.put(one, call_id="c")
                break
            except BrokerUnavailable:
                continue
    assert [receipt.job_id for receipt in receipts] == [one.id]
    assert await rig.places() == {"ready": 1}


async def test_a_blocked_wait_whose_connection_is_cut_says_so(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.broker.wait(rig.stream, "alice", timeout=0)

    async def asleep() -> bool:
        return await rig.sleepers() > 0

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(BrokerUnavailable):
                    await rig.broker.wait(rig.stream, "alice", timeout=30)

            tasks.start_soon(wait)
            await eventually(asleep)
            await rig.client.client_kill_filter(_type="normal", skipme=True)


async def test_an_entry_somebody_deleted_by_hand_is_let_go(redis_rig: Rig) -> None:
    rig = redis_rig
    await rig.put(job(1), job(2))
    worker = rig.hand()
    gone, left = await worker.take(2)
    await rig.client.xdel("jobs", gone.entry_id)
    assert await rig.broker.adopt(rig.stream, worker.name, [left]) == ()
    made = await rig.broker.reclaim(rig.stream, worker.name, beat=None, crash_budget=BUDGET)
    assert made.ready == 1
    assert await rig.places() == {"ready": 1}


async def test_a_server_without_memory_takes_no_jobs_and_lets_workers_drain(own_server: OwnServers) -> None:
    server = own_server(appendonly=False)
    async with RedisBroker.from_url(server.url) as broker, aioredis.Redis.from_url(server.url) as client:
        rig = Rig(broker, client)
        await rig.put(*(job("x" * 1000, lane=lane) for lane in ("normal", "low") for _ in range(5)))
        worker = rig.hand()
        first, second = await worker.take(2)
        await client.config_set("maxmemory", "1mb")
        with pytest.raises(BrokerFull):
            await rig.put(job())
        with pytest.raises(BrokerFull):
            await worker.finish(Again(first, delay=5, counts=True))
        assert await worker.finish(Done(second)) == frozenset()
        places = await rig.places()
        assert places == {"ready": 8, "leased": 1, "done": 1}, "what was refused changed nothing"
        newcomer = rig.hand("bob")
        rest = await newcomer.take(10)
        assert newcomer.renew(*rest).lost == frozenset(), (
            "its heart beats, so nobody takes them for abandoned"
        )
        value = b'"%s"' % (b"x" * 60_000)  # larger than what its job takes
        assert await newcomer.finish(*(Done(lease, result=value) for lease in rest)) == frozenset()
        assert await worker.finish(Done(first)) == frozenset()
        await client.config_set("maxmemory", "0")
        assert await rig.places() == {"done": 10}


async def test_the_first_worker_of_a_stream_can_drain_a_server_that_is_full_already(
    own_server: OwnServers,
) -> None:
    server = own_server(appendonly=False)
    async with RedisBroker.from_url(server.url) as broker, aioredis.Redis.from_url(server.url) as client:
        rig = Rig(broker, client)
        await rig.put(*(job(n) for n in range(3)))
        await client.config_set("maxmemory", "1mb")
        assert (await broker.wait(rig.stream, "bob", timeout=0)).leases == ()
        worker = rig.hand()
        leases = await worker.take(3)
        assert await worker.finish(*map(Done, leases)) == frozenset()
        assert await rig.places() == {"done": 3}


async def test_a_stream_says_its_format_and_one_of_the_future_is_refused_in_words(redis_rig: Rig) -> None:
    rig = redis_rig
    assert await rig.hand("bob").take() == []
    await rig.put(job())
    assert await rig.client.hget("{jobs}:meta", "format") == b"%d" % FORMAT_VERSION
    for said in ("2", "new"):
        await rig.client.hset("{jobs}:meta", "format", said)
        with pytest.raises(BrokerRefused, match="bring this program to a version"):
            await rig.hand().take(1)
        with pytest.raises(BrokerRefused, match="bring this program to a version"):
            await rig.stats()
    await rig.client.hset("{jobs}:meta", "format", "1")
    assert await rig.places() == {"ready": 1}
    await rig.hand().take_one()


@pytest.mark.parametrize("said", ["x", "-1", "0", "nan", "inf", "1e99", ""])
async def test_numbers_in_the_meta_hash_that_cannot_be_meant_are_ignored(redis_rig: Rig, said: str) -> None:
    rig = redis_rig
    worker = rig.hand()
    worker.renew()
    await rig.client.hset("{jobs}:meta", mapping={"concurrency": said, "partitions": said})
    turn, renewal = await worker.turn(free=1), worker.renew()
    assert (turn.concurrency, renewal.concurrency, renewal.partitions) == (None, None, 1)
    assert ((await rig.stats()).concurrency, await rig.broker.partitions(rig.stream)) == (None, 1)


def test_a_broker_goes_on_when_its_program_runs_another_event_loop(valkey_url: str) -> None:
    """In a process of its own: what the first loop leaves behind is found by the collector, whenever."""
    program = """
import asyncio, sys
from streamq import Queue, RedisBroker

broker = RedisBroker.from_url(sys.argv[1])

async def use(n):
    await Queue("jobs", broker).enqueue(n)
    await broker.ping()
    return sum((await broker.stats("jobs")).ready.values())

print([asyncio.run(use(n)) for n in range(3)])
asyncio.run(broker.close())
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, valkey_url], capture_output=True, text=True, check=False, timeout=30
    )
    assert (ran.stdout, ran.stderr) == ("[1, 2, 3]\n", "")


async def test_nobody_there_is_unavailable_for_every_kind_of_call() -> None:
    async with RedisBroker.from_url("redis://127.0.0.1:1") as broker:
        with pytest.raises(BrokerUnavailable):
            await broker.enqueue("jobs", [job()], call_id="c")
        with pytest.raises(BrokerUnavailable):
            await broker.turn("jobs", "alice", sequence=1, free=1)
        with pytest.raises(BrokerUnavailable):
            await broker.wait("jobs", "alice", timeout=1)
        with pytest.raises(BrokerUnavailable):
            await anyio.to_thread.run_sync(broker.renew, "jobs", "alice", [])
        with pytest.raises(BrokerUnavailable):
            await broker.dead("jobs")
        with pytest.raises(BrokerUnavailable):
            await broker.ping()


async def test_a_server_that_hangs_is_unavailable_and_not_one_that_has_nothing(
    own_server: OwnServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server(appendonly=False)
    monkeypatch.setattr(redis_broker, "BLOCK_MARGIN", 0.1)
    monkeypatch.setattr(redis_broker, "CALL_TIMEOUT", 0.1)
    monkeypatch.setattr(nodes, "CALL_TIMEOUT", 0.1)
    async with RedisBroker.from_url(server.url) as broker:
        await broker.turn("jobs", "alice", sequence=1, free=0)
        assert not (await broker.wait("jobs", "alice", timeout=0.01)).leases
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(BrokerUnavailable):
            await broker.wait("jobs", "alice", timeout=0.1)
        with pytest.raises(BrokerUnavailable):
            await broker.dead("jobs")
        with pytest.raises(BrokerUnavailable, match=r"no reply within 0\.1 seconds"):
            await broker.turn("jobs", "alice", sequence=2, free=0)
        os.kill(server.pid, signal.SIGCONT)


async def test_a_wrong_password_is_refused_and_not_repeated_in_the_error(own_server: OwnServers) -> None:
    server = own_server(appendonly=False, config={"requirepass": "right"})
    url = server.url.replace("unix://", "unix://:s3cret-guess@").replace("redis://", "redis://:s3cret-guess@")
    async with RedisBroker.from_url(url) as broker:
        with pytest.raises(BrokerRefused) as caught:
            await broker.enqueue("jobs", [job()], call_id="c")
    assert "s3cret-guess" not in f"{caught.value!r} {caught.value} {broker!r}"


async def test_a_key_of_another_kind_is_refused_with_the_servers_words(redis_rig: Rig) -> None:
    await redis_rig.client.set("jobs", "a string")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        await redis_rig.put(job())


@pytest.mark.parametrize(
    "url", ["http://x", "localhost:6379", "", "redis://:not-a-port@h:x", "redis://h/db?x=1"]
)
async def test_a_url_that_is_none_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(BrokerRefused):
        RedisBroker.from_url(url)


async def test_a_worker_may_sleep_on_more_streams_than_a_client_has_connections_by_default(
    valkey_url: str,
) -> None:
    async with RedisBroker.from_url(valkey_url) as broker, aioredis.Redis.from_url(valkey_url) as client:
        await _sleep_on_many(Rig(broker, client))


async def _sleep_on_many(rig: Rig) -> None:

    async def sleep(stream: str) -> None:
        while True:  # the first time there is no such stream yet
            await rig.broker.wait(stream, "alice", timeout=PATIENCE)

    async with anyio.create_task_group() as sleepers:
        for number in range(120):
            sleepers.start_soon(sleep, f"jobs-{number}")

        async def all_asleep() -> bool:
            return await rig.sleepers() == 120

        await eventually(all_asleep)
        await rig.put_one(id="a")
        assert ids(await rig.hand().take()) == ["a"]
        sleepers.cancel_scope.cancel()


async def test_what_was_taken_before_a_lane_without_a_group_was_met_is_told(redis_rig: Rig) -> None:
    """Groups are made one by one: whoever makes them may die in between."""
    rig = redis_rig
    await rig.put_one(id="a", lane="high")
    await rig.client.xgroup_create(StreamKeys.of(rig.stream).lanes[0], GROUP, id="0", mkstream=True)

    (lease,) = await rig.hand().take(4)

    assert lease.envelope.id == "a"


async def test_every_stream_of_a_worker_is_counted_in_its_turn(redis_rig: Rig) -> None:
    rig = redis_rig
    for stream in ("one", "two"):
        await rig.broker.enqueue(stream, [job(1)], call_id=stream)
        assert len((await rig.broker.turn(stream, "alice", sequence=1, free=1)).leases) == 1
    seen: Counter[str] = Counter()
    for _ in range(redis_broker.AUDIT_EVERY):
        for stream in ("one", "two"):
            seen[stream] += rig.broker.renew(stream, "alice", []).pending > 0

    assert seen == {"one": 1, "two": 1}
