"""The broker on a real server: Redis 7.0 or newer, or Valkey 8 or newer.

Two clients a server: an asynchronous one for everything that answers at once and for blocking reads
(each blocking read has a connection to itself), and a blocking one for heartbeats, which run in a thread
so that a handler that blocks the event loop keeps its leases. Neither retries: redis-py's
own retries turn one lost reply into several entries (shared/faults.md, finding 2). Calls that may
be repeated are repeated by their caller, who knows why that is safe.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Final, Self, TypeVar

import msgspec
import redis

from streamq import scripts
from streamq.broker import (
    Finish,
    Lease,
    Reclaimed,
    Renewal,
    Retention,
    Turn,
    Wakeup,
    WorkerFacts,
)
from streamq.durability import Durability
from streamq.errors import BrokerFull, BrokerRefused, BrokerUnavailable, NotConfirmed, StreamqError
from streamq.job import NewJob, Receipt
from streamq.keys import CALL_WINDOW, GROUP, LANES, StreamKeys
from streamq.nodes import CALL_TIMEOUT, Node, Nodes
from streamq.redis_inspection import RedisInspection, answer_words
from streamq.redis_schedules import RedisSchedules
from streamq.scripts import Call
from streamq.wire import envelope_of, newer_format, pairs

A = TypeVar("A")

#: Seconds a blocking read may overrun its own timeout before the connection is given up.
BLOCK_MARGIN: Final = 5.0
#: Heartbeats between two counts of what the server thinks is in hand.
AUDIT_EVERY: Final = 10
#: Seconds replicas, or a disk, may take to confirm. Less than a call may take.
CONFIRM_TIMEOUT: Final = 3.0
#: Jobs in one enqueue call at most: larger batches are split, so that no script runs long.
ENQUEUE_BATCH: Final = 500

#: Scripts that change nothing: asked so that a user who may only read can ask them.
READING: Final = frozenset({"stats", "workers", "schedules"})
#: Scripts of a producer.
PRODUCING: Final = ("enqueue",)

#: Answers that pass, by class; LOADING is a ConnectionError, MASTERDOWN a ClusterDownError.
_PASSING = (
    redis.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
#: The others that pass, by word: a script tells a refusal that it caught with its own line before it.
_UNAVAILABLE = ("BUSY", "NOREPLICAS", "UNBLOCKED", "READONLY")
_FULL = ("OOM", "MISCONF")
#: What turn.lua says of a stream that is kept in a format of the future.
_FORMAT: Final = re.compile(r"FORMAT (\d+)")


class _NoGroup(Exception):  # noqa: N818 - never leaves this module
    """A stream or its group is not there (first use, FLUSHALL, DEL)."""


def translate(error: redis.RedisError | OSError) -> StreamqError | _NoGroup:
    """A client's error as one of ours."""
    text = str(error)
    # redis-py wraps what went wrong while it connected (a wrong password) in a ConnectionError.
    denied = redis.AuthenticationError | redis.exceptions.NoPermissionError
    stranger = "CERTIFICATE_VERIFY_FAILED" in text
    if stranger or isinstance(error, denied) or isinstance(error.__cause__, redis.AuthenticationError):
        who = (
            "the server's certificate is not trusted"
            if stranger
            else ("the server refused the credentials or the command")
        )
        return BrokerRefused(f"{who}: {text}")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return BrokerUnavailable(f"no answer from the server: {text or type(error).__name__}")
    if "NOGROUP" in text or "no such key" in text.lower() or "consumer group" in text.lower():
        return _NoGroup(text)
    if isinstance(error, redis.exceptions.OutOfMemoryError) or any(word in text for word in _FULL):
        return BrokerFull(f"the server refuses writes: {text}")
    if isinstance(error, _PASSING) or any(word in text for word in _UNAVAILABLE):
        return BrokerUnavailable(f"the server cannot serve now: {text}")
    newer = _FORMAT.match(text)
    return BrokerRefused(newer_format(newer[1]) if newer else f"the server refused the call: {text}")


def _raise(error: redis.RedisError | OSError) -> StreamqError:
    """The error to raise where a missing group is not expected."""
    found = translate(error)
    return found if isinstance(found, StreamqError) else BrokerRefused(str(found))


def _evaluation(call: Call[Any]) -> tuple[tuple[str, str], tuple[str, str], tuple[Any, ...]]:
    """The command by the script's name, the one by its text, and what follows in both."""
    only_reads = "_RO" if call.script.name in READING else ""
    what = (len(call.keys), *call.keys, *call.args)
    return ("EVALSHA" + only_reads, call.script.sha), ("EVAL" + only_reads, call.script.text), what


def _lessons(call: Call[Any]) -> list[tuple[str, str, str]]:
    """What a worker teaches a server that has forgotten its scripts: producers may not be allowed to."""
    if call.script.name not in ("turn", "renew"):
        return []
    return [("SCRIPT", "LOAD", scripts.script(name).text) for name in PRODUCING]


def _of_script(error: redis.RedisError | OSError) -> StreamqError | _NoGroup:
    """`translate`, and what became of a script that the server does not know and we may not send it."""
    forgotten = isinstance(error.__context__, redis.exceptions.NoScriptError)
    if forgotten and isinstance(error, redis.exceptions.NoPermissionError):
        return BrokerUnavailable("the server does not know our scripts yet: the first worker loads them")
    return translate(error)


class RedisBroker(RedisInspection, RedisSchedules):
    """`streamq.broker.Broker` on Redis Streams."""

    def __init__(self, nodes: Nodes) -> None:
        """Use `from_url`."""
        self._nodes = nodes
        #: Where it is, without credentials.
        self.name = nodes.name
        #: (stream, worker) already on the list of workers.
        self._registered: set[tuple[str, str]] = set()
        #: How many jobs each (stream, worker) has taken: the lanes' shares follow it.
        self._taken: Counter[tuple[str, str]] = Counter()
        #: How often each (stream, worker) has renewed: every so often it is counted what it has in hand.
        self._renewals: Counter[tuple[str, str]] = Counter()
        #: What the server was seen to be able to confirm.
        self._confirmable: set[Durability] = set()
        #: See `Broker.counts`.
        self.counts: dict[str, int] = {}

    @classmethod
    def from_url(cls, url: str, *, client_name: str = "streamq") -> Self:
        """A broker at one of the URLs of `streamq.address`; nothing is dialled yet.

        Raises BrokerRefused for a URL that is not one.
        """
        return cls(Nodes.at(url, client_name=client_name))

    def __repr__(self) -> str:
        return f"<RedisBroker {self.name}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._nodes.close()

    # --- running scripts ---------------------------------------------------------------------

    async def _evaluate(self, call: Call[A], ask: Callable[..., Awaitable[Any]] | None = None) -> A:
        """For calls that need no group: where one is missed all the same, trying again may help."""
        try:
            return await self._run(call, ask or self._nodes.call)
        except _NoGroup as error:
            raise BrokerUnavailable(str(error)) from error

    async def _run(self, call: Call[A], ask: Callable[..., Awaitable[Any]]) -> A:
        by_sha, by_text, what = _evaluation(call)
        try:
            try:
                reply = await ask(call.keys[0], *by_sha, *what)
            except redis.exceptions.NoScriptError:
                reply = await ask(call.keys[0], *by_text, *what)
                for command in _lessons(call):
                    with contextlib.suppress(redis.ResponseError):
                        await ask(call.keys[0], *command)
        except (redis.RedisError, OSError) as error:
            raise _of_script(error) from error
        return call.read(reply)

    def _evaluate_blocking(self, call: Call[A]) -> A:
        by_sha, by_text, what = _evaluation(call)
        try:
            try:
                (reply,) = self._nodes.call_blocking(call.keys[0], (*by_sha, *what))
            except redis.exceptions.NoScriptError:
                (reply,) = self._nodes.call_blocking(call.keys[0], (*by_text, *what))
                for command in _lessons(call):
                    with contextlib.suppress(redis.ResponseError):
                        self._nodes.call_blocking(call.keys[0], command)
        except (redis.RedisError, OSError) as error:
            raise _of_script(error) from error
        return call.read(reply)

    async def _with_groups(
        self, stream: str, call: Call[A], ask: Callable[..., Awaitable[Any]] | None = None
    ) -> A:
        """Run a call that needs the groups; make them when they are missing, and run it again."""
        ask = ask or self._nodes.call
        try:
            return await self._run(call, ask)
        except _NoGroup:
            self._registered = {known for known in self._registered if known[0] != stream}
            await self._make_groups(stream)
        return await self._evaluate(call, ask)

    async def _make_groups(self, stream: str) -> None:
        await self._evaluate(scripts.groups(stream))

    # --- producing ---------------------------------------------------------------------------

    async def enqueue(
        self, stream: str, jobs: Sequence[NewJob], *, call_id: str, partitions: int | None = None
    ) -> list[Receipt]:
        """See `Broker.enqueue`. More than 500 jobs are several calls, each all or none."""
        receipts: list[Receipt] = []
        for first in range(0, len(jobs), ENQUEUE_BATCH):
            batch = jobs[first : first + ENQUEUE_BATCH]
            call = scripts.enqueue(stream, batch, f"{call_id}.{first}", None if first else partitions)
            # On a kept connection: should it fail, a call that remembers itself may be repeated.
            answered = await self._evaluate(call, self._nodes.ask)
            receipts += answered
        return receipts

    def enqueue_blocking(
        self, stream: str, jobs: Sequence[NewJob], *, call_id: str, partitions: int | None = None
    ) -> list[Receipt]:
        """`enqueue` for programs without an event loop (a Flask or Django view)."""
        receipts: list[Receipt] = []
        for first in range(0, len(jobs), ENQUEUE_BATCH):
            batch = jobs[first : first + ENQUEUE_BATCH]
            call = scripts.enqueue(stream, batch, f"{call_id}.{first}", None if first else partitions)
            answered = self._evaluate_blocking(call)
            receipts += answered
        return receipts

    async def can_confirm(self, stream: str, durability: Durability) -> None:
        """See `Broker.can_confirm`."""
        if durability in self._confirmable:
            return
        questions, reply = _questions(durability), None
        with contextlib.suppress(StopIteration):
            while True:
                command = questions.send(reply)
                try:
                    reply = await self._nodes.call(stream, *command)
                except redis.exceptions.NoPermissionError:
                    reply = {}
                except (redis.RedisError, OSError) as error:
                    raise _why_not_confirmed(error) from error
        self._confirmable.add(durability)

    def can_confirm_blocking(self, stream: str, durability: Durability) -> None:
        """`can_confirm` for programs without an event loop."""
        if durability in self._confirmable:
            return
        questions, reply = _questions(durability), None
        with contextlib.suppress(StopIteration):
            while True:
                command = questions.send(reply)
                try:
                    (reply,) = self._nodes.call_blocking(stream, command)
                except redis.exceptions.NoPermissionError:
                    reply = {}
                except (redis.RedisError, OSError) as error:
                    raise _why_not_confirmed(error) from error
        self._confirmable.add(durability)

    async def confirm(self, stream: str, jobs: int, *, call_id: str, durability: Durability) -> None:
        """See `Broker.confirm`."""
        commands = _confirmation(stream, jobs, call_id, durability)
        try:
            # The first command is answered at once, the last one takes its time.
            replies = await self._nodes.converse(
                stream, commands, timeout=CALL_TIMEOUT, then=CONFIRM_TIMEOUT + BLOCK_MARGIN
            )
        except (redis.RedisError, OSError) as error:
            raise _why_not_confirmed(error) from error
        _judge_confirmation(replies, durability)

    def confirm_blocking(self, stream: str, jobs: int, *, call_id: str, durability: Durability) -> None:
        """`confirm` for programs without an event loop."""
        try:
            replies = self._nodes.call_blocking(stream, *_confirmation(stream, jobs, call_id, durability))
        except (redis.RedisError, OSError) as error:
            raise _why_not_confirmed(error) from error
        _judge_confirmation(replies, durability)

    # --- working -----------------------------------------------------------------------------

    async def turn(
        self,
        stream: str,
        worker: str,
        *,
        sequence: int,
        finished: Sequence[Finish] = (),
        free: int = 0,
        retention: Retention = Retention(),  # noqa: B008 - frozen
    ) -> Turn:
        """See `Broker.turn`."""
        known = (stream, worker) in self._registered
        call = scripts.turn(
            stream,
            worker,
            sequence=sequence,
            finished=finished,
            free=free,
            taken=self._taken[stream, worker],
            retention=retention,
            register=not known,
        )
        turn = await self._with_groups(stream, call, self._nodes.ask)
        self._taken[stream, worker] += len(turn.leases)
        if not known:
            self._registered.add((stream, worker))
        return turn

    async def wait(self, stream: str, worker: str, *, timeout: float) -> Wakeup:  # noqa: ASYNC109 - the server keeps this time
        """See `Broker.wait`.

        The read and the questions behind it are one pipeline: the server answers those when the read
        has ended, so the paused flag is as of then and costs no round trip.
        """
        try:
            return await self._wait(stream, worker, timeout)
        except _NoGroup:
            await self._make_groups(stream)
            return Wakeup((), paused=False, server_ms=0, knocked=True, rescheduled=True)

    async def _wait(self, stream: str, worker: str, seconds: float) -> Wakeup:
        k = StreamKeys.of(stream)
        keys = [*k.lanes, k.wake]
        read: list[Any] = [
            "XREADGROUP",
            "GROUP",
            GROUP,
            worker,
            "COUNT",
            1,
            "BLOCK",
            max(1, int(seconds * 1000)),
        ]
        read += ["STREAMS", *keys, *([">"] * len(keys))]
        commands = [read, ["HMGET", k.meta, "paused", "cancels"], ["TIME"]]
        reply, (paused, cancels), clock = await self._converse(
            stream, commands, timeout=seconds + BLOCK_MARGIN
        )
        found: list[Lease] = []
        knocked = rescheduled = False
        for raw_key, entries in reply or ():
            index = keys.index(raw_key.decode())
            if index == len(LANES):
                knocked = True
                # All of them but a new earliest delayed job: that is no business of the schedules.
                rescheduled = any(b"due" not in (fields or ()) for _, fields in entries)
                await self._answer_knock(keys[index], [entry_id for entry_id, _ in entries])
                continue
            for raw_id, flat in entries:
                entry_id = raw_id.decode()
                found.append(Lease(stream, entry_id, envelope_of(entry_id, LANES[index], pairs(flat))))
        server_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        if any(lease.envelope.limit is not None for lease in found):
            found = await self._admitted(stream, found)
        if cancels is not None and found:
            found = await self._with_cancelled(k, found)
        return Wakeup(
            tuple(found),
            paused=paused == b"1",
            server_ms=server_ms,
            knocked=knocked,
            rescheduled=rescheduled,
        )

    async def _admitted(self, stream: str, leases: Sequence[Lease]) -> list[Lease]:
        """Those that may start: a blocking read hands over whatever comes."""
        limited = [lease for lease in leases if lease.envelope.limit is not None]
        answers = await self._evaluate(scripts.admit(stream, limited))
        refused = {lease.key for lease, may in zip(limited, answers, strict=True) if not may}
        return [lease for lease in leases if lease.key not in refused]

    async def _with_cancelled(self, k: StreamKeys, leases: Sequence[Lease]) -> list[Lease]:
        scores = await self._ask("ZMSCORE", k.cancels, *(lease.envelope.id for lease in leases))
        return [
            lease if score is None else msgspec.structs.replace(lease, cancelled=True)
            for lease, score in zip(leases, scores, strict=True)
        ]

    async def _converse(self, key: str, commands: Sequence[Sequence[Any]], *, timeout: float) -> list[Any]:  # noqa: ASYNC109 - of the first reply
        """Several commands in one write on a connection of their own; their replies as the wire has them."""
        try:
            return await self._nodes.converse(key, commands, timeout=timeout, then=CALL_TIMEOUT)
        except (redis.RedisError, OSError) as error:
            raise translate(error) from error

    async def _answer_knock(self, key: str, ids: Sequence[bytes]) -> None:
        commands = [("XACK", key, GROUP, *ids), ("XDEL", key, *ids)]
        await self._converse(key, commands, timeout=CALL_TIMEOUT)

    def renew(
        self,
        stream: str,
        worker: str,
        held: Sequence[Lease],
        facts: WorkerFacts = WorkerFacts(),  # noqa: B008 - frozen
    ) -> Renewal:
        """See `Broker.renew`."""
        self._renewals[stream, worker] += 1
        audit = self._renewals[stream, worker] % AUDIT_EVERY == 0
        try:
            renewal, cancels = self._evaluate_blocking(
                scripts.renew(stream, worker, held, facts, audit=audit)
            )
        except _NoGroup as error:
            raise BrokerUnavailable(str(error)) from error
        if not cancels or not held:
            return renewal
        cancelled = frozenset(
            lease.key
            for lease, asked in zip(held, self._asked_to_cancel(stream, held), strict=True)
            if asked is not None and lease.key not in renewal.lost
        )
        return msgspec.structs.replace(renewal, cancelled=cancelled)

    def _asked_to_cancel(self, stream: str, held: Sequence[Lease]) -> list[Any]:
        """For each, when it was cancelled; None: it was not."""
        try:
            ids = [lease.envelope.id for lease in held]
            key = StreamKeys.of(stream).cancels
            (found,) = self._nodes.call_blocking(key, ("ZMSCORE", key, *ids))
        except (redis.RedisError, OSError) as error:
            raise _raise(error) from error
        return list(found)

    def answer_blocking(self, stream: str, order_id: str, text: str) -> None:
        """See `Broker.answer_blocking`."""
        key, *rest = answer_words(stream, order_id, text)
        try:
            self._nodes.call_blocking(key, ("SET", key, *rest))
        except (redis.RedisError, OSError) as error:
            raise _raise(error) from error

    async def vouch(self, stream: str, worker: str) -> bool:
        """See `Broker.vouch`."""
        return await self._evaluate(scripts.vouch(stream, worker)) >= 0

    async def adopt(self, stream: str, worker: str, held: Sequence[Lease]) -> tuple[Lease, ...]:
        """See `Broker.adopt`."""
        return await self._with_groups(stream, scripts.adopt(stream, worker, held))

    async def reclaim(self, stream: str, worker: str, *, beat: int | None, crash_budget: int) -> Reclaimed:
        """See `Broker.reclaim`."""
        ready = dead = cancelled = 0
        more = True
        while more:
            call = scripts.reclaim(stream, worker, beat=beat, crash_budget=crash_budget)
            taken = await self._take_back(stream, call)
            ready, dead = ready + taken.made.ready, dead + taken.made.dead
            cancelled += taken.made.cancelled
            more = taken.more
        self._registered.discard((stream, worker))
        return Reclaimed(ready, dead, cancelled)

    async def sweep(self, stream: str, *, idle: float, crash_budget: int) -> Reclaimed:
        """See `Broker.sweep`."""
        call = scripts.sweep(stream, idle=idle, crash_budget=crash_budget)
        return (await self._take_back(stream, call)).made

    async def _take_back(self, stream: str, call: Call[scripts.TakenBack]) -> scripts.TakenBack:
        """Run it, and give back the uniqueness keys of jobs that are dead now.

        Should this process die between the two, such a key is held until its own limit (a day).
        """
        taken = await self._with_groups(stream, call)
        if taken.freed:
            await self._evaluate(scripts.give_back(stream, taken.freed))
        return taken

    async def retire(self, stream: str, worker: str) -> None:
        """See `Broker.retire`."""
        await self._with_groups(stream, scripts.retire(stream, worker))
        self._registered.discard((stream, worker))
        self._taken.pop((stream, worker), None)
        self._renewals.pop((stream, worker), None)

    async def trim(self, stream: str, retention: Retention) -> None:
        """See `Broker.trim`."""
        dropped = (scripts.BATCH_LIMIT, 0)
        while max(dropped) >= scripts.BATCH_LIMIT:
            dropped = await self._evaluate(scripts.trim(stream, retention))

    # --- asking ----------------------------------------------------------------------------------

    async def _ask(self, *command: Any, of: str | None = None) -> Any:
        """One plain command, its reply as the wire has it; a missing group is an empty answer.

        `of`: a key of the stream it is about, where the command names none.
        """
        key = of or command[2 if command[0] == "XINFO" else 1]
        try:
            (reply,) = await self._converse(key, [command], timeout=CALL_TIMEOUT)
        except _NoGroup:
            return []
        return reply

    async def ping(self) -> dict[str, Any]:
        """See `Broker.ping`. Keys: server, version, policy, appendonly, where, clock (seconds since the
        epoch), memory and max_memory (bytes; 0: no limit), saves (to disk, the last time), replica.

        Of several servers the one that is worst off: a policy that evicts, one that does not append, the
        oldest version.
        """
        nodes: list[Node] = []
        try:
            nodes = await self._nodes.every()
            found = [self._facts(await node.client.info()) for node in nodes]
        except (redis.RedisError, OSError) as error:
            self._nodes.doubt_all(nodes)
            raise _raise(error) from error
        return _worst(found)

    def _facts(self, info: dict[str, Any]) -> dict[str, Any]:
        server = info.get("server_name") or "redis"
        return {
            "server": server,
            "version": str(info.get(f"{server}_version") or info.get("redis_version")),
            "policy": info.get("maxmemory_policy", "unknown"),
            "appendonly": bool(info.get("aof_enabled")),
            "where": self.name,
            "clock": info["server_time_usec"] / 1e6 if "server_time_usec" in info else None,
            "memory": info.get("used_memory", 0),
            "max_memory": info.get("maxmemory", 0),
            "saves": {info.get("aof_last_write_status", "ok"), info.get("rdb_last_bgsave_status", "ok")}
            == {"ok"},
            "replica": info.get("role") == "slave",
        }

    async def check(self, *, allow_eviction: bool = False) -> dict[str, Any]:
        """`ping`, and refuse a server that may throw jobs away. Raises BrokerRefused."""
        facts = await self.ping()
        if facts["policy"] not in ("noeviction", "unknown") and not allow_eviction:
            msg = (
                f"the server's maxmemory-policy is {facts['policy']}: it may delete jobs when memory is "
                "short. Set it to noeviction, or allow eviction explicitly"
            )
            raise BrokerRefused(msg)
        return facts


def _questions(durability: Durability) -> Generator[tuple[Any, ...], Any, None]:
    """Commands that find out whether the server can confirm that; each is sent what was answered, and an
    empty answer where the user may not ask.

    WAITAOF answers too early where appendfsync is everysec, in Redis 7.2 to 7.4 and in Valkey, 9.1 included
    (redis#13793; `python -m bench.losses` shows it). With `always` the answer to the write is enough.
    """
    if not durability.fsync:
        return
    if (yield "WAITAOF", 1, 0, 1) == {}:
        raise BrokerRefused("durability fsync needs a user who may call WAITAOF")
    info = yield "INFO", "server"
    if info.get("server_name") != "valkey" and _version(str(info.get("redis_version"))) >= (8,):
        return
    found = yield "CONFIG", "GET", "appendfsync"
    if b"always" not in found:
        raise BrokerRefused(
            "durability fsync needs appendfsync always on this server, and a user who may read that by CONFIG"
            " GET: with everysec its WAITAOF confirms before the job is on the disk, which Redis 8 does not"
        )


def _confirmation(stream: str, jobs: int, call_id: str, durability: Durability) -> list[tuple[Any, ...]]:
    """A write after the enqueue, and the wait for it.

    The server counts from what *this connection* wrote last. So the enqueue itself may have gone over
    another one, or have been a repetition that wrote nothing: whoever has this write has that one too. And
    it says whether the enqueue is on this server at all, which it is not where the primary has changed.
    """
    k = StreamKeys.of(stream)
    kept = round(CALL_WINDOW * 1000)
    calls = [f"{call_id}.{first}" for first in range(0, jobs, ENQUEUE_BATCH)]
    wait = round(CONFIRM_TIMEOUT * 1000)
    last = ("WAITAOF", 1, 0, wait) if durability.fsync else ("WAIT", durability.replicas, wait)
    return [*(("PEXPIRE", k.call(call), kept) for call in calls), last]


def _judge_confirmation(replies: Sequence[Any], durability: Durability) -> None:
    *found, waited = replies
    if not all(found):
        raise BrokerUnavailable("the primary does not know of the call: another one took over meanwhile")
    if durability.fsync and not int(waited[0]):
        raise NotConfirmed(f"written, but not known to be on the server's disk after {CONFIRM_TIMEOUT:g} s")
    if durability.replicas and int(waited) < durability.replicas:
        has = f"{int(waited)} of {durability.replicas} replicas"
        raise NotConfirmed(f"written, but known to {has} after {CONFIRM_TIMEOUT:g} s")


def _why_not_confirmed(error: redis.RedisError | OSError) -> StreamqError:
    text = str(error)
    if "unknown command" in text:
        return BrokerRefused(
            "durability fsync needs a server that has WAITAOF (Redis 7.2, Valkey); this one is older"
        )
    if "appendonly" in text:
        return BrokerRefused(
            "durability fsync needs a server with appendonly yes; this one writes no such file"
        )
    return _raise(error)


def _worst(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What servers told of themselves as if they were one."""
    first = found[0]
    evicts = [facts["policy"] for facts in found if facts["policy"] not in ("noeviction", "unknown")]
    return first | {
        "version": min((facts["version"] for facts in found), key=_version),
        "policy": evicts[0] if evicts else first["policy"],
        "appendonly": all(facts["appendonly"] for facts in found),
        "memory": sum(facts["memory"] for facts in found),
        "max_memory": sum(facts["max_memory"] for facts in found),
        "saves": all(facts["saves"] for facts in found),
        "replica": any(facts["replica"] for facts in found),
    }


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
