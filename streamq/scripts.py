"""The Lua scripts as typed calls: how each is asked, and what its answer means.

A `Call` carries keys, arguments and the reader of the answer, so that the asynchronous and the
blocking client run the very same thing. Every key a script touches is declared in `keys`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from streamq.broker import (
    Again,
    Bury,
    Cancel,
    Done,
    Finish,
    Lease,
    Order,
    Reclaimed,
    Release,
    Renewal,
    Requeued,
    Retention,
    StreamStats,
    Turn,
    WorkerFacts,
    WorkerSeen,
)
from streamq.broker import DeadJob as _DeadJob
from streamq.errors import BrokerRefused, MorePartitions
from streamq.job import Envelope, NewJob, Receipt
from streamq.keys import (
    CALL_WINDOW,
    CANCEL_KEPT,
    JOB_ID_WINDOW,
    LANES,
    PROMISE_HORIZON,
    PROMISE_KEPT,
    UNTIL_DONE_LIMIT,
    Lane,
    StreamKeys,
)
from streamq.steering import MOST_AT_ONCE, VERBS
from streamq.wire import (
    FORMAT_VERSION,
    envelope_of,
    fields_again,
    fields_of,
    newer_format,
    pairs,
    result_fields,
    tried,
    whole,
)

A = TypeVar("A")

#: Jobs promoted in one turn at most: a million due at once must not block the server.
PROMOTE_LIMIT: Final = 100
#: Entries reclaimed, swept or trimmed by one call at most, for the same reason.
BATCH_LIMIT: Final = 100
#: Bounds on what a dead letter keeps of an error, characters.
ERROR_LIMIT: Final = 2000
TRACEBACK_LIMIT: Final = 8000

#: Orders that may wait for a worker's next heartbeat.
ORDERS_LIMIT: Final = 10

_facts = msgspec.json.Decoder(WorkerFacts)
_INCLUDE = re.compile(r"^--@include ([a-z/]+)$", re.MULTILINE)
_LANE_INDEX = {lane: index + 1 for index, lane in enumerate(LANES)}


class Script(msgspec.Struct, frozen=True):
    """The text of a script and the name the server knows it by."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script in `lua/<name>.lua`, its includes put in place."""
    folder = files("streamq") / "lua"

    def read(part: str) -> str:
        return (folder / f"{part}.lua").read_text(encoding="utf-8")

    text = _INCLUDE.sub(lambda found: read(found[1]), read(name))
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Call(Generic[A]):
    """One use of a script."""

    __slots__ = ("args", "keys", "read", "script")

    def __init__(self, name: str, keys: Sequence[str], args: Sequence[Any], read: Callable[[Any], A]) -> None:
        self.script = script(name)
        self.keys = keys
        #: bytes, str, int: what the client can send.
        self.args = args
        self.read = read

    def __repr__(self) -> str:
        return f"<Call {self.script.name} on {self.keys[0]}>"


def _ms(seconds: float) -> int:
    """Whole milliseconds, rounded up: later rather than early."""
    return -int(-seconds * 1000 // 1)


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw


def _flat_pairs(reply: Sequence[bytes]) -> dict[str, bytes]:
    """`{ name, value, ... }` as a mapping."""
    items = iter(reply)
    return {_text(name): value for name, value in zip(items, items, strict=True)}


def _leases(stream: str, reply: Iterable[Any], cancelled: frozenset[str] = frozenset()) -> tuple[Lease, ...]:
    """Leases from `{ {lane, entries}... }`; `cancelled` are keys of some of them."""
    found = []
    for lane_index, entries in reply:
        lane = LANES[int(lane_index) - 1]
        for raw_id, flat in entries:
            entry_id = _text(raw_id)
            found.append(Lease(stream, entry_id, envelope_of(entry_id, lane, pairs(flat))))
    if cancelled:
        found = [msgspec.structs.replace(one, cancelled=one.key in cancelled) for one in found]
    return tuple(found)


# --- producing -------------------------------------------------------------------------------


def enqueue(
    stream: str, jobs: Sequence[NewJob], call_id: str, partitions: int | None = None
) -> Call[list[Receipt]]:
    """All jobs or none; repeated with the same call id it answers the same and changes nothing.

    Reading the answer raises MorePartitions.
    """
    k = StreamKeys.of(stream)
    if _are_plain(jobs):
        return _enqueue_plain(k, jobs, call_id, partitions)
    keys = [k.call(call_id), *k.lanes, k.delayed, k.delayed_jobs, k.meta, k.wake, k.cancels, *k.limits]
    kept = (_ms(CALL_WINDOW), _ms(JOB_ID_WINDOW), _ms(UNTIL_DONE_LIMIT))
    args: list[Any] = [*kept, partitions or 0, len(jobs)]

    def key_index(key: str) -> int:
        keys.append(key)
        return len(keys)

    for job in jobs:
        holds = job.unique if job.unique is not None and job.unique_for is None else None
        fields = fields_of(
            job_id=job.id,
            payload=job.payload,
            headers=job.headers,
            retry=job.retry,
            timeout=job.timeout,
            unique=holds,
            replace=job.replace,
            limit=job.limit,
        )
        args += (
            _LANE_INDEX[job.lane],
            _ms(job.delay),
            0 if job.at is None else _ms(job.at),
            key_index(k.job_id(job.id)) if job.id_is_callers else 0,
            key_index(k.unique(job.unique)) if job.unique is not None else 0,
            _unique_ms(job),
            job.id,
            len(fields),
            *fields,
        )

    def read(reply: Any) -> list[Receipt]:
        if isinstance(reply, int):
            raise MorePartitions(reply)
        return [
            _receipt(_text(first)) if first else Receipt(job.id, created=True)
            for job, first in zip(jobs, reply, strict=True)
        ]

    return Call("enqueue", keys, args, read)


def _are_plain(jobs: Sequence[NewJob]) -> bool:
    """Whether the shorter form of lua/enqueue.lua serves: one lane, at once, nothing else to be looked at."""
    lane = jobs[0].lane
    return all(
        not job.id_is_callers
        and job.unique is None
        and job.limit is None
        and job.delay == 0
        and job.at is None
        and job.lane == lane
        for job in jobs
    )


def _enqueue_plain(
    k: StreamKeys, jobs: Sequence[NewJob], call_id: str, partitions: int | None
) -> Call[list[Receipt]]:
    args: list[Any] = ["+", _ms(CALL_WINDOW), partitions or 0, len(jobs)]
    for job in jobs:
        fields = fields_of(
            job_id=job.id, payload=job.payload, headers=job.headers, retry=job.retry, timeout=job.timeout
        )
        args.append(len(fields))
        args += fields

    def read(reply: Any) -> list[Receipt]:
        if reply is not None:
            raise MorePartitions(reply)
        return [Receipt(job.id, created=True) for job in jobs]

    lane = k.lanes[_LANE_INDEX[jobs[0].lane] - 1]
    return Call("enqueue", [k.call(call_id), lane, k.meta], args, read)


def _unique_ms(job: NewJob) -> int:
    """How the uniqueness key is held, as lua/enqueue.lua reads it."""
    if job.replace:
        return -1 - (0 if job.max_wait is None else _ms(job.max_wait))
    return 0 if job.unique_for is None else _ms(job.unique_for)


def _receipt(first: str) -> Receipt:
    """Of a job that was not added: `=` and the id of the first, or `~` and the id of the replaced."""
    return Receipt(first[1:], created=False, replaced=first[0] == "~")


# --- working ---------------------------------------------------------------------------------


def _bury_fields(finish: Bury) -> list[bytes]:
    envelope = finish.lease.envelope
    return [
        b"reason",
        finish.reason[:200].encode("utf-8", "replace"),
        b"error",
        finish.error[:ERROR_LIMIT].encode("utf-8", "replace"),
        b"traceback",
        finish.traceback[-TRACEBACK_LIMIT:].encode("utf-8", "replace"),
        b"attempts",
        b"%d" % envelope.attempt,
        b"lane",
        envelope.lane.encode(),
        *fields_again(envelope, attempt=envelope.attempt, crashes=envelope.crashes),
    ]


def _finish_words(
    finish: Finish, unique_index: Callable[[str | None], int], place: Callable[[list[bytes]], tuple[int, int]]
) -> tuple[Any, ...]:
    """One finish as the turn script reads it (see lua/turn.lua).

    `place` puts fields among the arguments and answers where they are: the server's MessagePack knows
    no bytes, and a payload is not always text.
    """
    lease = finish.lease
    envelope = lease.envelope
    head = (_LANE_INDEX[envelope.lane], lease.entry_id, envelope.id, unique_index(envelope.unique))
    match finish:
        case Done():
            words = ("d", *head, envelope.attempt, int(finish.duration * 1000))
            value = result_fields(finish.result, finish.no_result)
            return (*words, *place(value)) if value else words
        case Again():
            attempt = envelope.attempt + 1 if finish.counts else envelope.attempt
            fields = fields_again(
                envelope,
                attempt=attempt,
                crashes=envelope.crashes,
                note=finish.note,
                tries=tried(envelope, lease.entry_id, finish.note) if finish.counts else envelope.tries,
            )
            keep = _ms(UNTIL_DONE_LIMIT + finish.delay)
            return ("a", *head, _ms(finish.delay), int(finish.counts), keep, *place(fields))
        case Bury():
            return ("b", *head, *place(_bury_fields(finish)))
        case Release():
            fields = fields_again(
                envelope, attempt=envelope.attempt, crashes=envelope.crashes, note=envelope.note
            )
            return ("r", *head, *place(fields))
        case Cancel():
            return ("c", *head, envelope.attempt, int(finish.duration * 1000))


def _is_limited(envelope: Envelope) -> bool:
    return envelope.limit is not None or envelope.replace


def _limited_words(lease: Lease) -> tuple[Any, ...]:
    envelope = lease.envelope
    key = "" if envelope.limit is None else envelope.limit.key
    return (_LANE_INDEX[envelope.lane], lease.entry_id, envelope.id, key, int(envelope.replace))


_pack = msgspec.msgpack.Encoder().encode


def turn(
    stream: str,
    worker: str,
    *,
    sequence: int,
    finished: Sequence[Finish],
    free: int,
    taken: int,
    retention: Retention,
    register: bool,
) -> Call[Turn]:
    """Apply what finished, promote what is due, take what is free.

    `taken`: how many jobs this worker has taken so far; the lanes' shares follow it.
    """
    k = StreamKeys.of(stream)
    keys = [
        *k.lanes,
        k.delayed,
        k.delayed_jobs,
        k.meta,
        k.done,
        k.dead,
        k.workers,
        k.turns,
        k.wake,
        k.cancels,
        *k.limits,
    ]

    def unique_index(key: str | None) -> int:
        if key is None:
            return 0
        keys.append(k.unique(key))
        return len(keys)

    args: list[Any] = [
        worker,
        sequence,
        free,
        PROMOTE_LIMIT,
        retention.done_count,
        FORMAT_VERSION if register else 0,
        taken,
        b"",
        b"",
    ]

    def place(fields: list[bytes]) -> tuple[int, int]:
        args.extend(fields)
        return len(args) - len(fields) + 1, len(fields)

    if finished:
        # One packed argument: encoding each word of each finish for the wire costs more than all the rest.
        args[7] = _pack([_finish_words(finish, unique_index, place) for finish in finished])
        limited = [finish.lease for finish in finished if _is_limited(finish.lease.envelope)]
        if limited:
            args[8] = _pack([_limited_words(lease) for lease in limited])

    def read(reply: Any) -> Turn:
        got, refused, paused, next_due, now, concurrency, cancelled = reply
        keys = [_text(key) for key in refused] if refused else ()
        marked = frozenset(map(_text, cancelled)) if cancelled else frozenset[str]()
        return Turn(
            leases=_leases(stream, got, marked) if got else (),
            refused=frozenset(key.removeprefix("!") for key in keys),
            paused=bool(paused),
            next_due=None if next_due < 0 else next_due / 1000,
            server_ms=int(now),
            cancelled=frozenset(key[1:] for key in keys if key[0] == "!"),
            concurrency=concurrency or None,
        )

    return Call("turn", keys, args, read)


def _lease_args(held: Iterable[Lease]) -> list[Any]:
    args: list[Any] = []
    for lease in held:
        args += (_LANE_INDEX[lease.lane], lease.entry_id)
    return args


def renew(
    stream: str, worker: str, held: Sequence[Lease], facts: WorkerFacts, *, audit: bool
) -> Call[tuple[Renewal, bool]]:
    """Heartbeat and renewal; with `audit` also what the server thinks is in hand.

    The second value is whether anything is cancelled: then what is held has to be asked for.
    """
    k = StreamKeys.of(stream)

    def read(reply: Any) -> tuple[Renewal, bool]:
        lost, paused, beats, pending, cancels, concurrency, orders, *rest = reply
        schedules, next_tick, partitions = rest
        return Renewal(
            lost=frozenset(_text(entry) for entry in lost),
            paused=bool(paused),
            beats={name: int(beat) for name, beat in _flat_pairs(beats).items()},
            pending=len(held) - len(lost) if pending < 0 else int(pending),
            concurrency=concurrency or None,
            orders=_orders(_text(orders)),
            schedules=int(schedules),
            next_tick=None if next_tick < 0 else next_tick / 1000,
            partitions=int(partitions),
        ), bool(cancels)

    args = [worker, int(audit), msgspec.json.encode(facts), len(held), *_lease_args(held)]
    return Call("renew", [*k.lanes, k.workers, k.meta, k.facts, k.orders, k.schedules], args, read)


def _orders(text: str) -> tuple[Order, ...]:
    """`<verb> <id>` a line; a verb that a newer version knows and this one does not is left out."""
    lines = [line.partition(" ") for line in text.splitlines()]
    found = [{"order_id": order_id, "verb": verb} for verb, _, order_id in lines if verb in VERBS]
    return msgspec.convert(tuple(found), tuple[Order, ...])


def groups(stream: str) -> Call[int]:
    """Make what is missing of the groups."""
    k = StreamKeys.of(stream)
    return Call("groups", [*k.lanes, k.wake, k.meta], [FORMAT_VERSION], int)


def adopt(stream: str, worker: str, held: Iterable[Lease]) -> Call[tuple[Lease, ...]]:
    """Deliveries to this worker that it does not know of."""
    k = StreamKeys.of(stream)
    args = [worker, *(lease.key for lease in held)]

    def read(reply: Any) -> tuple[Lease, ...]:
        got, cancelled = reply
        return _leases(stream, got, frozenset(map(_text, cancelled)))

    keys = [*k.lanes, k.cancels, k.meta, k.wake, k.delayed, *k.limits]
    return Call("adopt", keys, args, read)


def admit(stream: str, leases: Sequence[Lease]) -> Call[list[bool]]:
    """Whether what a blocking read has handed over may start; what may not is parked."""
    return Call("admit", _limit_keys(stream), _lease_args(leases), lambda reply: [bool(one) for one in reply])


def _limit_keys(stream: str) -> list[str]:
    k = StreamKeys.of(stream)
    return [*k.lanes, k.meta, k.wake, k.delayed, *k.limits]


class TakenBack(msgspec.Struct, frozen=True):
    """What one call of reclaim or sweep did."""

    made: Reclaimed
    #: There is more to take: call again.
    more: bool
    #: Uniqueness keys of jobs that are dead now, with their job ids: to be given back.
    freed: tuple[tuple[str, str], ...]


def _freed(reply: Sequence[bytes]) -> tuple[tuple[str, str], ...]:
    names = iter(reply)
    return tuple((_text(key), _text(job_id)) for key, job_id in zip(names, names, strict=True))


def give_back(stream: str, freed: Sequence[tuple[str, str]]) -> Call[int]:
    """Give uniqueness keys of ended jobs back, where the job still owns its key."""
    k = StreamKeys.of(stream)
    keys = [*_limit_keys(stream), *(k.unique(key) for key, _ in freed)]
    return Call("give_back", keys, [job_id for _, job_id in freed], int)


def reclaim(stream: str, worker: str, *, beat: int | None, crash_budget: int) -> Call[TakenBack]:
    """Take back from one worker."""
    k = StreamKeys.of(stream)
    keys = [
        *(*k.lanes, k.dead, k.meta, k.workers, k.turns, k.wake),
        *(k.done, k.cancels, k.facts, k.orders, k.delayed),
        *k.limits,
    ]
    args = [worker, "" if beat is None else beat, crash_budget, BATCH_LIMIT]

    def read(reply: Any) -> TakenBack:
        ready, dead, more, freed, cancelled = reply
        return TakenBack(Reclaimed(ready, dead, cancelled), bool(more), _freed(freed))

    return Call("reclaim", keys, args, read)


def sweep(stream: str, *, idle: float, crash_budget: int) -> Call[TakenBack]:
    """Take back from workers nobody knows."""
    k = StreamKeys.of(stream)
    keys = [*k.lanes, k.dead, k.meta, k.workers, k.done, k.cancels, k.wake, k.delayed, *k.limits]
    args = [_ms(idle), crash_budget, BATCH_LIMIT]

    def read(reply: Any) -> TakenBack:
        ready, dead, freed, cancelled = reply
        return TakenBack(Reclaimed(ready, dead, cancelled), more=False, freed=_freed(freed))

    return Call("sweep", keys, args, read)


def vouch(stream: str, worker: str) -> Call[int]:
    """All that a worker holds is renewed in its stead; how much that was, -1 where it is not known."""
    k = StreamKeys.of(stream)
    return Call("vouch", [*k.lanes, k.workers], [worker], int)


def retire(stream: str, worker: str) -> Call[bool]:
    """A worker says goodbye; False: it still holds something and stays on the list."""
    k = StreamKeys.of(stream)
    keys = [*k.lanes, k.wake, k.workers, k.turns, k.facts, k.orders]
    return Call("retire", keys, [worker], bool)


def trim(stream: str, retention: Retention) -> Call[tuple[int, int]]:
    """Drop old completed records and dead letters."""
    k = StreamKeys.of(stream)
    args = [
        _ms(retention.done_seconds),
        retention.done_count,
        _ms(retention.dead_seconds),
        BATCH_LIMIT,
        _ms(CANCEL_KEPT),
    ]
    return Call("trim", [k.done, k.dead, k.cancels, k.meta], args, lambda r: (int(r[0]), int(r[1])))


# --- controlling and looking -----------------------------------------------------------------


def pause(stream: str, *, paused: bool) -> Call[bool]:
    """Set or clear the paused flag."""
    k = StreamKeys.of(stream)
    return Call("pause", [k.meta, k.wake], [int(paused)], bool)


def cancel(stream: str, job_id: str) -> Call[tuple[Literal["delayed", "waiting"], str] | None]:
    """End a delayed or parked job, answering its uniqueness key ('' = none), or mark the job (None)."""
    k = StreamKeys.of(stream)
    keys = [k.delayed, k.delayed_jobs, k.meta, k.done, k.cancels, k.limits_parked, k.limits_jobs]

    def read(reply: Any) -> tuple[Literal["delayed", "waiting"], str] | None:
        if not reply[0]:
            return None
        return "delayed" if reply[0] == 1 else "waiting", _text(reply[1])

    return Call("cancel", keys, [job_id], read)


def cancel_entry(stream: str, lane: Lane, entry_id: str, job_id: str) -> Call[tuple[str, str]]:
    """End a cancelled job: ("waiting", its uniqueness key), ("running", its worker) or ("gone", "")."""
    k = StreamKeys.of(stream)
    keys = [*k.lanes, k.meta, k.done, k.cancels, k.wake, k.delayed, *k.limits]
    args = [entry_id, job_id, _LANE_INDEX[lane]]
    return Call("cancel_entry", keys, args, lambda reply: (_text(reply[0]), _text(reply[1])))


def uncancel(stream: str, job_id: str) -> Call[bool]:
    """Take a mark away; False: there was none any more."""
    k = StreamKeys.of(stream)
    return Call("uncancel", [k.cancels, k.meta], [job_id], bool)


def concurrency(stream: str, jobs: int | None) -> Call[bool]:
    """Set or clear the jobs at once that every worker is asked to run."""
    return Call("concurrency", [StreamKeys.of(stream).meta], [jobs or 0], bool)


def partitions(stream: str, count: int, *, paused: bool, concurrency: int | None) -> Call[int]:
    """Say in one partition how many there are; the rest is for one that is new."""
    args = [count, int(paused), concurrency or 0]
    return Call("partitions", [StreamKeys.of(stream).meta], args, int)


def order(stream: str, worker: str, order: Order) -> Call[bool]:
    """Put an order into a worker's box."""
    k = StreamKeys.of(stream)
    args = [worker, f"{order.verb} {order.order_id}", ORDERS_LIMIT]
    return Call("order", [k.workers, k.orders], args, bool)


def workers(stream: str) -> Call[list[WorkerSeen]]:
    """Who works on the stream, by name."""
    k = StreamKeys.of(stream)

    def read(reply: Any) -> list[WorkerSeen]:
        beats, facts, in_hand = (_flat_pairs(part) for part in reply[:3])
        found = []
        for name in sorted({*beats, *in_hand}):
            heard_ms, told = heard_of(facts.get(name))
            heard = None if heard_ms is None else max(0.0, (reply[3] - heard_ms) / 1000)
            beat = int(beats[name]) if name in beats else None
            found.append(WorkerSeen(name, int(in_hand.get(name, 0)), beat, heard, told))
        return found

    return Call("workers", [*k.lanes, k.workers, k.facts], [], read)


def heard_of(raw: bytes | None) -> tuple[int | None, WorkerFacts]:
    """When a worker was last heard (ms) and what it told, from its field; what cannot be read is left out."""
    ms, _, told = (raw or b"").partition(b" ")
    try:
        return int(ms), _facts.decode(told)
    except (ValueError, msgspec.DecodeError):
        return None, WorkerFacts()


def purge(stream: str, entry_ids: Sequence[str]) -> Call[int]:
    """Delete dead letters."""
    k = StreamKeys.of(stream)
    return Call("purge", [k.dead, k.meta], entry_ids, int)


def requeue(stream: str, letters: Sequence[_DeadJob]) -> Call[Requeued]:
    """Make dead letters ready again."""
    k = StreamKeys.of(stream)
    keys = [*k.lanes, k.dead, k.meta, k.cancels, k.wake, k.delayed, *k.limits]
    args: list[Any] = [_ms(UNTIL_DONE_LIMIT)]
    for letter in letters:
        envelope = letter.envelope
        index = 0
        if envelope.unique is not None:
            keys.append(k.unique(envelope.unique))
            index = len(keys)
        fields = fields_again(envelope, attempt=1, crashes=0, tries=())
        args += (letter.entry_id, _LANE_INDEX[envelope.lane], envelope.id, index, len(fields), *fields)

    def read(reply: Any) -> Requeued:
        ids = [letter.envelope.id for letter in letters]
        return Requeued(
            ready=tuple(job for job, answer in zip(ids, reply, strict=True) if answer == 1),
            duplicate=tuple(job for job, answer in zip(ids, reply, strict=True) if answer == 0),
        )

    return Call("requeue", keys, args, read)


def stats(stream: str) -> Call[StreamStats]:
    """One stream in numbers."""
    k = StreamKeys.of(stream)

    def read(reply: Any) -> StreamStats:
        *ready, leased, delayed, dead, done, oldest, workers, meta, now, parked = reply
        named = {name: _text(value) for name, value in _flat_pairs(meta).items()}
        asked = named.pop("concurrency", "")
        kept_in = named.pop("format", "1")
        if whole(kept_in.encode(), FORMAT_VERSION) is None:
            raise BrokerRefused(newer_format(kept_in))
        named.pop("cancels", None)
        named.pop("partitions", None)
        return StreamStats(
            stream=stream,
            ready=dict(zip(LANES, (int(n) for n in ready), strict=True)),
            leased=int(leased),
            delayed=int(delayed),
            dead=int(dead),
            done=int(done),
            oldest_seconds=None if oldest < 0 else max(0.0, (now - oldest) / 1000),
            workers=int(workers),
            paused=named.pop("paused", "0") == "1",
            counters={name: int(value) for name, value in named.items() if value.isdigit()},
            concurrency=whole(asked.encode(), MOST_AT_ONCE),
            parked=int(parked),
        )

    keys = [*k.lanes, k.delayed, k.dead, k.done, k.workers, k.meta, k.limits_parked]
    return Call("stats", keys, [], read)


def limit(stream: str, key: str, *, rate: float, burst: int, who: str, urgent: bool = False) -> Call[float]:
    """Seconds until one more may start; 0.0 = now, and it is counted."""
    k = StreamKeys.of(stream)
    args = [
        max(1, round(1_000_000 / rate)),
        burst,
        who,
        round(PROMISE_HORIZON * 1_000_000),
        round(PROMISE_KEPT * 1_000_000),
        int(urgent),
    ]
    return Call("limit", [k.limit(key), k.promises(key)], args, lambda reply: int(reply) / 1_000_000)


def delayed_envelope(body: bytes, due_ms: int) -> Envelope:
    """The envelope of a delayed job from its hash value: a JSON array of lane and flat fields."""
    lane, *flat = _words(body)
    return _stored_envelope(lane, flat, due_ms)


def parked_envelope(body: bytes) -> tuple[str, Envelope]:
    """Place among the parked, and envelope, from a hash value: a JSON array of lane, place, flat fields."""
    lane, place, *flat = _words(body)
    return place, _stored_envelope(lane, flat, 0)


def _words(body: bytes) -> list[str]:
    # Not msgspec: the script writes a payload's bytes as they are, also where they are not UTF-8.
    found: list[str] = json.loads(body.decode("utf-8", "surrogateescape"))
    return found


def _stored_envelope(lane: str, flat: Sequence[str], ms: int) -> Envelope:
    fields = [field.encode("utf-8", "surrogateescape") for field in flat]
    index = int(lane) - 1 if lane in ("1", "2", "3") else 1
    return envelope_of(f"{ms}-0", LANES[index], pairs(fields))
