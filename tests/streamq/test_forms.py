"""Redis in the forms people run it: addresses, TLS, and workers that go on while primaries go away."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
import redis
from redis.crc import key_slot

from streamq import (
    BrokerRefused,
    BrokerUnavailable,
    Handlers,
    Job,
    NewJob,
    Queue,
    RedisBroker,
    Worker,
    WorkerOptions,
)
from streamq.address import read
from streamq.errors import StreamqError
from streamq.redis_broker import translate
from tests.streamq.rig import Hand
from tests.support import fleets, servers

#: Seconds anything here may take.
DEADLINE = 60.0


def _program(name: str) -> Path:
    found = {"valkey": servers.find_valkey, "redis": servers.find_redis}[name]()
    if found is None:
        pytest.skip(f"no {name}")
    return found


# --- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "form", "first", "second"),
    [
        ("redis://h", "one", "redis://h", None),
        ("redis://u:p%40@[::1]:6380/15/", "one", "redis://u:p%40@[::1]:6380/15/", None),
        ("unix://:p%40@/run/redis.sock", "one", "unix://:p%40@/run/redis.sock", None),
        ("unix:///run/redis.sock?db=2", "one", "unix:///run/redis.sock?db=2", None),
        (
            "redis+sentinel://u:p%40@a:1,b/main/3?sentinel_password=q",
            "sentinel",
            "redis://u:p%40@x:9/3",
            "redis://a:1?password=q",
        ),
        (
            "rediss+sentinel://[::1]:1,[::2]/main?ssl_ca_certs=%2Fca.pem",
            "sentinel",
            "rediss://x:9/0?ssl_ca_certs=%2Fca.pem",
            "rediss://[::1]:1?ssl_ca_certs=%2Fca.pem",
        ),
        ("redis+cluster://:p@a,b:7001", "cluster", "redis://:p@x:9/0", "redis://a:6379"),
        ("rediss+cluster://a:7000/0", "cluster", "rediss://x:9/0", "rediss://a:7000"),
    ],
)
def test_an_address_knows_the_url_of_each_server(url: str, form: str, first: str, second: str | None) -> None:
    address = read(url)
    assert address.form == form
    assert address.url_of(("x", 9) if form != "one" else None) == first
    if second is not None:
        assert address.url_of_sentinel(address.places[0]) == second
    assert "p%40" not in repr(address)


def test_a_port_left_out_is_the_usual_one() -> None:
    assert read("redis+sentinel://a,b:5/main").places == (("a", 26379), ("b", 5))
    assert read("redis+cluster://a,[::1]").places == (("a", 6379), ("::1", 6379))


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://u:s3cret@a:1",
        "redis+sentinel://u:s3cret@/main",
        "redis+sentinel://u:s3cret@a:1/main/x",
        "redis+sentinel://u:s3cret@a:x/main",
        "redis+sentinel://u:s3cret@a:70000/main",
        "redis+cluster://u:s3cret@a:1/4",
        "redis+cluster://u:s3cret@:1",
        "redis+cluster://u:s3cret@a:1?no_such_option=1",
        "redis+magic://u:s3cret@a:1",
        "redis://u:s3cret@localhost/abc",
        "redis://u:s3cret@localhost/0/1",
        "redis://u:s3cret@/0",
        "redis://",
        "rediss://:s3cret/x@a:1/0",
        "unix://",
        "unix://:s3cret@?db=1",
        "unix://run/s3cret.sock",
    ],
)
async def test_an_address_that_is_none_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(BrokerRefused) as caught:
        RedisBroker.from_url(url)
    assert "s3cret" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("form", ["sentinel", "cluster"])
async def test_nobody_who_says_where_the_primary_is_is_unavailable(form: str) -> None:
    url = f"redis+{form}://127.0.0.1:1,127.0.0.1:2" + ("/main" if form == "sentinel" else "")
    async with RedisBroker.from_url(url) as broker:
        with pytest.raises(BrokerUnavailable, match="says where"):
            await broker.stats("jobs")
        with pytest.raises(BrokerUnavailable, match="says where"):
            await broker.ping()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("LOADING Redis is loading the dataset in memory", "BrokerUnavailable"),
        ("READONLY You can't write against a read only replica.", "BrokerUnavailable"),
        ("MASTERDOWN Link with MASTER is down", "BrokerUnavailable"),
        ("CLUSTERDOWN The cluster is down", "BrokerUnavailable"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "BrokerUnavailable"),
        ("NOREPLICAS Not enough good replicas to write.", "BrokerUnavailable"),
        ("UNBLOCKED force unblock from blocking operation, instance state changed", "BrokerUnavailable"),
        ("BUSY Redis is busy running a script.", "BrokerUnavailable"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "BrokerFull"),
        ("MISCONF Errors writing to the AOF file", "BrokerFull"),
        ("NOPERM this user has no permissions to run the 'xadd' command", "BrokerRefused"),
        ("NOAUTH Authentication required.", "BrokerRefused"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "BrokerRefused"),
    ],
)
def test_what_a_server_answers_is_told_as_what_to_do_about_it(answer: str, word: str) -> None:
    from redis._parsers.base import BaseParser

    assert type(translate(BaseParser.parse_error(answer))).__name__ == word  # type: ignore[no-untyped-call]


# --- TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls() -> Iterator[fleets.Tls]:
    try:
        fleet = fleets.Tls(_program("redis"))
    except fleets.NoTlsError:
        pytest.skip("built without TLS")
    yield fleet
    fleet.stop()


async def test_a_server_with_a_certificate_of_a_trusted_authority_is_spoken_to(tls: fleets.Tls) -> None:
    async with RedisBroker.from_url(tls.url) as broker:
        assert (await Queue("jobs", broker).enqueue(1)).created


@pytest.mark.parametrize(
    ("host", "parts", "error"),
    [
        ("localhost", ("identity",), BrokerRefused),  # an authority nobody trusts here
        ("127.0.0.1", ("trust", "identity"), BrokerRefused),  # made out to another name
        ("localhost", ("trust",), BrokerUnavailable),  # the server hangs up on who shows no certificate
    ],
    ids=["authority", "name", "client"],
)
async def test_tls_that_does_not_hold_is_no_connection(
    tls: fleets.Tls, host: str, parts: tuple[str, ...], error: type[StreamqError]
) -> None:
    url = tls.url_for(host, *(getattr(tls, part) for part in parts))
    async with RedisBroker.from_url(url) as broker:
        with pytest.raises(error):
            await broker.stats("jobs")
        with pytest.raises(error):
            broker.renew("jobs", "alice", [])


# --- primaries that go away -------------------------------------------------------------------------


class Bench:
    """A worker at work, and a producer that gives up on nothing."""

    def __init__(self, fleet: fleets.Fleet, broker: RedisBroker) -> None:
        self.fleet = fleet
        self.broker = broker
        self.runs: Counter[int] = Counter()
        self._changed = anyio.Event()

    async def put(self, *numbers: int, durability: str = "none") -> None:
        queue = Queue("jobs", self.broker, durability=durability)
        for number in numbers:
            while True:
                with contextlib.suppress(StreamqError):
                    await queue.enqueue(number, job_id=f"job-{number}")
                    break
                await anyio.sleep(0.1)

    async def ran(self, *numbers: int) -> None:
        while not all(self.runs[number] for number in numbers):
            await self._changed.wait()

    def note(self, number: int) -> None:
        self.runs[number] += 1
        self._changed.set()
        self._changed = anyio.Event()


@contextlib.asynccontextmanager
async def at_work(fleet: fleets.Fleet) -> AsyncIterator[Bench]:
    """A worker on the fleet, asleep in a blocking read when this is entered."""
    handlers = Handlers()
    async with RedisBroker.from_url(fleet.url) as broker:
        bench = Bench(fleet, broker)

        @handlers.on("jobs", int)
        async def note(job: Job[int]) -> None:
            bench.note(job.payload)

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                worker = Worker(broker, handlers, options=WorkerOptions(lease=4, renew=1))

                async def work() -> None:
                    await worker.run(handle_signals=False)

                tasks.start_soon(work)
                await bench.put(0)
                await bench.ran(0)
                yield bench
                tasks.cancel_scope.cancel()


@pytest.fixture
def sentinels() -> Iterator[fleets.Sentinels]:
    fleet = fleets.Sentinels(_program("valkey"))
    yield fleet
    fleet.stop()


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_workers_follow_sentinels_to_the_new_primary_and_nothing_confirmed_is_lost(
    sentinels: fleets.Sentinels, how: str
) -> None:
    async with at_work(sentinels) as bench:
        old = sentinels.holder("")
        await bench.put(*range(1, 50), durability="replicas:1")
        old.kill() if how == "killed" else old.pause()
        gone = anyio.current_time()
        await bench.put(*range(50, 60))
        await bench.ran(*range(60))
        print(f"primary {how}: workers went on after {anyio.current_time() - gone:.1f} s")
        assert sentinels.holder("") is not old
        if how == "paused":  # it comes back, and believes that it is the primary
            old.resume()
            await bench.put(*range(60, 70))
            await bench.ran(*range(60, 70))
    # What ran while its acknowledgement was lost with the old primary runs again; never more than that.
    assert max(bench.runs.values()) <= 2


async def test_a_worker_sleeps_through_a_server_that_is_a_replica_for_a_while(tmp_path: Path) -> None:
    fleet = fleets.Single(_program("valkey"))
    try:
        async with at_work(fleet) as bench:
            server = fleet.holder("")
            server.ask("REPLICAOF", "127.0.0.1", 1)
            with pytest.raises(BrokerUnavailable, match="cannot serve now"):
                await bench.broker.enqueue("jobs", [NewJob(payload=b"9", id="job-9")], call_id="c")
            server.ask("REPLICAOF", "NO", "ONE")
            await bench.put(1)
            await bench.ran(1)
    finally:
        fleet.stop()


@pytest.mark.parametrize("name", ["valkey", "redis"])
async def test_a_turn_whose_first_write_a_replica_refuses_is_to_be_tried_again(name: str) -> None:
    fleet = fleets.Single(_program(name))
    try:
        async with RedisBroker.from_url(fleet.url) as broker:
            hand = Hand(broker, "jobs", "alice")
            await hand.take()
            fleet.holder("").ask("REPLICAOF", "127.0.0.1", 1)
            with pytest.raises(BrokerUnavailable, match=r"cannot serve now: .*READONLY"):
                await hand.take()  # reads only: the script itself tells of the refusal
    finally:
        fleet.stop()


async def test_a_slot_that_moves_takes_its_jobs_along_and_workers_follow() -> None:
    fleet = fleets.Cluster(_program("valkey"))
    try:
        async with at_work(fleet) as bench, anyio.create_task_group() as tasks:
            old = fleet.holder("jobs")
            new = next(one for one in fleet.servers if one is not old)
            slot = key_slot(b"jobs")

            async def produce() -> None:
                await bench.put(*range(1, 300))

            tasks.start_soon(produce)
            await bench.ran(20)
            for _ in range(2):  # there and back
                await anyio.to_thread.run_sync(_move, fleet, slot, old, new)
                assert fleet.holder("jobs") is new
                old, new = new, old
            await bench.ran(*range(300))
        assert bench.runs == Counter(range(300)), "each of them once"
    finally:
        fleet.stop()


def _move(fleet: fleets.Cluster, slot: int, old: fleets.Server, new: fleets.Server) -> None:
    """As `redis-cli --cluster reshard` does it, key by key."""
    old_id, new_id = (server.ask("CLUSTER", "MYID").decode() for server in (old, new))
    new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
    old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
    while keys := old.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
        with contextlib.suppress(redis.ResponseError):  # it has expired, or ended, just now
            old.ask("MIGRATE", "127.0.0.1", new.port, keys[0], 0, 2000)
    for server in (new, old, *fleet.servers):
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", new_id)


async def test_a_master_of_a_cluster_is_followed_by_its_replica() -> None:
    fleet = fleets.Cluster(_program("valkey"), replicas=1)
    try:
        async with at_work(fleet) as bench:
            old = fleet.holder("jobs")
            await bench.put(*range(1, 30), durability="replicas:1")
            old.kill()
            gone = anyio.current_time()
            await bench.put(*range(30, 40))
            await bench.ran(*range(40))
            print(f"master killed: workers went on after {anyio.current_time() - gone:.1f} s")
            assert fleet.holder("jobs") is not old
        assert max(bench.runs.values()) <= 2
    finally:
        fleet.stop()
