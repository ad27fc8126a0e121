"""A stream in several partitions: which job goes to which, and what the stream is over all of them.

Partition 0 of `rules:run` is `rules:run` itself, partition n is `rules:run.n`: each is a whole stream, in a
Cluster slot of its own. Their number is kept in the meta hash of every one of them, and only grows. Who
enqueues says how many it knows of; where there are more, nothing is done and it is told, so that nobody goes
by an old number and nobody asks for it.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec

from streamq.broker import (
    Cancellation,
    DeadJob,
    DoneJob,
    PendingEntry,
    Requeued,
    Sighting,
    StreamStats,
    Waiting,
    WorkerFacts,
    WorkerSeen,
)
from streamq.errors import InvalidJob
from streamq.job import Envelope, NewJob, Receipt
from streamq.keys import LANES

A = TypeVar("A")
P = ParamSpec("P")

#: Partitions at most: every worker looks after each of them.
MAX_PARTITIONS: Final = 64

_NUMBERED: Final = re.compile(r"(.+)\.([1-9]\d?)", re.DOTALL)


def partition_name(stream: str, partition: int) -> str:
    """The name of a partition: its stream's key in Redis."""
    return stream if partition == 0 else f"{stream}.{partition}"


def partition_names(stream: str, count: int) -> list[str]:
    """All of them, in order."""
    return [partition_name(stream, partition) for partition in range(count)]


def split_name(name: str) -> tuple[str, int]:
    """The stream and the partition that a name may mean: `rules:run.2` is partition 2 of `rules:run`."""
    found = _NUMBERED.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def partition_of(key: str, count: int) -> int:
    """Where a key belongs: CRC-32 (IEEE, as in zlib) of its UTF-8 bytes, modulo the number of partitions."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % count


def key_of(job: NewJob) -> str:
    """What decides a job's partition: its limit's key, else its uniqueness key, else its id.

    All jobs of a limit are in one place, so that the limit is exact.
    """
    if job.limit is not None:
        return job.limit.key
    return job.id if job.unique is None else job.unique


def check_growth(stream: str, count: int, before: int) -> None:
    """Raises InvalidJob where the stream cannot have so many partitions."""
    if not 1 <= count <= MAX_PARTITIONS:
        raise InvalidJob(f"{stream} can have 1 to {MAX_PARTITIONS} partitions, not {count}")
    if count < before:
        raise InvalidJob(f"{stream} has {before} partitions; there can be more of them, not fewer")
    if count > 1 and split_name(stream)[1]:
        raise InvalidJob(f"a stream whose name ends as that of a partition has none itself: {stream}")


def check_unused(stats: StreamStats) -> None:
    """Raises InvalidJob where another stream has the name of a partition that is to be."""
    if any((*stats.ready.values(), stats.leased, stats.delayed, stats.parked, stats.dead, stats.workers)):
        raise InvalidJob(f"there is a stream {stats.stream!r} already: its name would be a partition's")


# --- enqueueing ----------------------------------------------------------------------------------


class Part(msgspec.Struct, frozen=True):
    """The jobs of one call that go to one partition."""

    stream: str
    jobs: tuple[NewJob, ...]
    #: Their places in the call.
    places: tuple[int, ...]
    call_id: str
    #: How many partitions that was decided by; None: it goes there whatever there are.
    count: int | None


class Plan:
    """Which jobs of a call go where, and what was answered.

    A repeated call must find what it did the first time: so the call's id says how many partitions it was
    planned for (`@n` at its end, 1 where it says nothing), and what is planned anew, because by then there
    were more, has an id made of the first one.
    """

    def __init__(
        self, stream: str, jobs: Sequence[NewJob], call_id: str, *, partition: int | None = None
    ) -> None:
        """`partition`: where all of them go; None: each where its key belongs."""
        self._stream = stream
        self._jobs = jobs
        self._receipts: list[Receipt | None] = [None] * len(jobs)
        self.parts: deque[Part] = deque()
        places = range(len(jobs))
        if partition is None:
            self._divide(places, planned_for(call_id), call_id)
        else:
            self._add(partition, places, call_id, None)

    def __repr__(self) -> str:
        return f"<Plan {self._stream} {len(self.parts)} parts to do>"

    @property
    def receipts(self) -> list[Receipt]:
        """One for each job, in order, when all parts were answered."""
        return [receipt for receipt in self._receipts if receipt is not None]

    def answered(self, part: Part, receipts: Sequence[Receipt]) -> None:
        """That part is done."""
        for place, receipt in zip(part.places, receipts, strict=True):
            self._receipts[place] = receipt

    def divide_anew(self, part: Part, count: int) -> None:
        """There are so many partitions: nothing of that part was done."""
        self._divide(part.places, count, f"{part.call_id}~{split_name(part.stream)[1]}")

    def _divide(self, places: Iterable[int], count: int, call_id: str) -> None:
        if count == 1:
            self._add(0, places, call_id, count)
            return
        by_partition: dict[int, list[int]] = {}
        for place in places:
            by_partition.setdefault(partition_of(key_of(self._jobs[place]), count), []).append(place)
        for partition, found in sorted(by_partition.items()):
            self._add(partition, found, call_id, count)

    def _add(self, partition: int, places: Iterable[int], call_id: str, count: int | None) -> None:
        chosen = tuple(places)
        jobs = tuple(self._jobs[place] for place in chosen)
        self.parts.append(Part(partition_name(self._stream, partition), jobs, chosen, call_id, count))


def new_call_id(random: str, count: int) -> str:
    """The id of a call that is planned for so many partitions."""
    return random if count == 1 else f"{random}@{count}"


def planned_for(call_id: str) -> int:
    """How many partitions a call was planned for."""
    _, at, count = call_id.rpartition("@")
    return max(1, min(MAX_PARTITIONS, int(count))) if at and count.isdecimal() else 1


# --- a stream over all its partitions ---------------------------------------------------------------


def over_all(
    spread: Callable[..., Awaitable[A]],
) -> Callable[
    [Callable[Concatenate[Any, str, P], Awaitable[A]]],
    Callable[Concatenate[Any, str, P], Coroutine[Any, Any, A]],
]:
    """Have a broker's verb, which knows one partition, answer for a whole stream where it is asked for one.

    `spread(names, ask, ...)` asks the partitions and makes one answer of theirs. By the name of a partition
    with a number, that one is meant alone.
    """

    def decorate(
        verb: Callable[Concatenate[Any, str, P], Awaitable[A]],
    ) -> Callable[Concatenate[Any, str, P], Coroutine[Any, Any, A]]:
        @functools.wraps(verb)
        async def by_name(self: Any, stream: str, /, *args: P.args, **options: P.kwargs) -> A:
            count = 1 if split_name(stream)[1] else await self.partitions(stream)
            if count == 1:
                return await verb(self, stream, *args, **options)
            names = partition_names(stream, count)
            return await spread(names, functools.partial(verb, self), *args, **options)

        return by_name

    return decorate


def one_of(verb: Callable[..., Awaitable[A]]) -> Callable[..., Awaitable[A]]:
    """A verb that was decorated by `over_all`, for one partition alone, partition 0 too; given the broker."""
    found: Callable[..., Awaitable[A]] = vars(verb)["__wrapped__"]
    return found


Ask = Callable[..., Awaitable[Any]]


async def all_stats(names: Sequence[str], ask: Ask) -> StreamStats:
    """The sums. A worker looks after all partitions, and is counted once."""
    parts: list[StreamStats] = [await ask(name) for name in names]
    oldest = [one.oldest_seconds for one in parts if one.oldest_seconds is not None]
    counters: dict[str, int] = {}
    for one in parts:
        for name, count in one.counters.items():
            counters[name] = counters.get(name, 0) + count
    return StreamStats(
        stream=names[0],
        ready={lane: sum(one.ready[lane] for one in parts) for lane in LANES},
        leased=sum(one.leased for one in parts),
        delayed=sum(one.delayed for one in parts),
        dead=sum(one.dead for one in parts),
        done=sum(one.done for one in parts),
        oldest_seconds=max(oldest, default=None),
        workers=max(one.workers for one in parts),
        paused=any(one.paused for one in parts),
        counters=counters,
        concurrency=parts[0].concurrency,
        parked=sum(one.parked for one in parts),
        partitions=tuple(parts),
    )


async def all_pending(
    names: Sequence[str], ask: Ask, *, limit: int = 100, **options: Any
) -> list[PendingEntry]:
    """The longest idle of all."""
    found: list[PendingEntry] = []
    for name in names:
        found += [_named(name, one) for one in await ask(name, limit=limit, **options)]
    return sorted(found, key=lambda one: -one.idle_seconds)[:limit]


async def all_done(names: Sequence[str], ask: Ask, *, limit: int = 100) -> list[DoneJob]:
    """The newest of all."""
    found: list[DoneJob] = []
    for name in names:
        found += [_named(name, one) for one in await ask(name, limit=limit)]
    return sorted(found, key=lambda one: -one.finished_ms)[:limit]


async def all_delayed(names: Sequence[str], ask: Ask, *, limit: int = 100) -> list[tuple[Envelope, float]]:
    """The earliest of all."""
    found: list[tuple[Envelope, float]] = []
    for name in names:
        found += await ask(name, limit=limit)
    return sorted(found, key=lambda one: one[1])[:limit]


async def all_waiting(names: Sequence[str], ask: Ask, *, limit: int = 100) -> list[Waiting]:
    """Lane by lane, the oldest of all first."""
    found: list[Waiting] = []
    for name in names:
        found += [_named(name, one) for one in await ask(name, limit=limit)]
    return sorted(found, key=lambda one: (LANES.index(one.envelope.lane), _order(one.entry_id)))[:limit]


async def all_parked(names: Sequence[str], ask: Ask, *, limit: int = 100) -> list[Envelope]:
    """Partition by partition."""
    found: list[Envelope] = []
    for name in names:
        if len(found) < limit:
            found += await ask(name, limit=limit - len(found))
    return found


async def all_dead(
    names: Sequence[str], ask: Ask, *, limit: int = 100, before: str | None = None
) -> list[DeadJob]:
    """The newest of all; entry ids of partition n end in `.n`."""
    found: list[DeadJob] = []
    for partition, name in enumerate(names):
        found += [
            _named(name, one) for one in await ask(name, limit=limit, before=_before(before, partition))
        ]
    return sorted(found, key=lambda one: _order(one.entry_id), reverse=True)[:limit]


async def requeue_all(
    names: Sequence[str], ask: Ask, entry_ids: Sequence[str], *, payloads: Mapping[str, bytes] | None = None
) -> Requeued:
    """Each where it lies."""
    ready: tuple[str, ...] = ()
    duplicate: tuple[str, ...] = ()
    for name, found in _by_partition(names, entry_ids):
        chosen = {split_name(one)[0]: (payloads or {})[one] for one in found if one in (payloads or {})}
        made = await ask(name, [split_name(one)[0] for one in found], payloads=chosen)
        ready, duplicate = ready + made.ready, duplicate + made.duplicate
    return Requeued(ready, duplicate)


async def purge_all(names: Sequence[str], ask: Ask, entry_ids: Sequence[str]) -> int:
    """Each where it lies."""
    gone = 0
    for name, found in _by_partition(names, entry_ids):
        gone += await ask(name, [split_name(one)[0] for one in found])
    return gone


async def find_in_all(names: Sequence[str], ask: Ask, job_id: str, **options: Any) -> Sighting:
    """Where it is; first where its id belongs, which is right for one without a key."""
    unknown: list[Sighting] = []
    for name in _likely_first(names, job_id):
        seen: Sighting = await ask(name, job_id, **options)
        if seen.state != "unknown":
            return seen
        unknown.append(seen)
    return msgspec.structs.replace(
        unknown[0],
        stream=names[0],
        cancel_asked=any(one.cancel_asked for one in unknown),
        looked=sum(one.looked for one in unknown),
        looked_at_all=all(one.looked_at_all for one in unknown),
    )


async def cancel_in_all(names: Sequence[str], ask: Ask, job_id: str, **options: Any) -> Cancellation:
    """Where it is. Where it was looked for and not found in many, each partition remembers that it is not
    to be started.
    """
    sought: Cancellation | None = None
    unknown: Cancellation | None = None
    looked = 0
    for name in _likely_first(names, job_id):
        made: Cancellation = await ask(name, job_id, **options)
        looked += made.looked
        match made.found:
            case "unknown":
                unknown = made
            case "sought":
                sought = made
            case _:
                return made
    return msgspec.structs.replace(sought or unknown or Cancellation(job_id, "unknown"), looked=looked)


async def set_in_all(names: Sequence[str], ask: Ask, *args: Any, **options: Any) -> None:
    """The same everywhere; partition 0 last, for what it says is what the others are made like."""
    for name in reversed(names):
        await ask(name, *args, **options)


async def all_workers(names: Sequence[str], ask: Ask) -> list[WorkerSeen]:
    """By name; each has one number of slots for all partitions together."""
    by_name: dict[str, list[WorkerSeen]] = {}
    for name in names:
        for seen in await ask(name):
            by_name.setdefault(seen.name, []).append(seen)
    return [_one_worker(name, seen) for name, seen in sorted(by_name.items())]


async def order_in_any(names: Sequence[str], ask: Ask, *args: Any) -> bool:
    """The first partition that knows the worker tells it."""
    for name in names:
        if await ask(name, *args):
            return True
    return False


async def answered_in_any(names: Sequence[str], ask: Ask, *args: Any) -> str | None:
    """Wherever the answer lies."""
    for name in names:
        answer: str | None = await ask(name, *args)
        if answer is not None:
            return answer
    return None


def _one_worker(name: str, seen: Sequence[WorkerSeen]) -> WorkerSeen:
    heard = [one.heard_seconds for one in seen if one.heard_seconds is not None]
    return WorkerSeen(
        name,
        sum(one.in_hand for one in seen),
        next((one.beat for one in seen if one.beat is not None), None),
        min(heard, default=None),
        WorkerFacts(
            slots=max(one.facts.slots for one in seen),
            quiet=any(one.facts.quiet for one in seen),
            taken=tuple(taken for one in seen for taken in one.facts.taken),
            to_blame=next((one.facts.to_blame for one in seen if one.facts.to_blame), ""),
        ),
    )


Entry = TypeVar("Entry", PendingEntry, DoneJob, Waiting, DeadJob)


def _named(name: str, entry: Entry) -> Entry:
    """With an entry id that says which partition it is of."""
    partition = split_name(name)[1]
    if partition == 0:
        return entry
    return msgspec.structs.replace(entry, entry_id=f"{entry.entry_id}.{partition}")


def _order(entry_id: str) -> tuple[int, int, int]:
    """Entry ids of all partitions in the order they were made."""
    bare, partition = split_name(entry_id)
    ms, _, sequence = bare.partition("-")
    return int(ms), int(sequence or 0), partition


def _before(entry_id: str | None, partition: int) -> str | None:
    """What comes before that entry id of any partition, as an entry id of this one."""
    if entry_id is None:
        return None
    ms, sequence, other = _order(entry_id)
    return f"{ms}-{sequence + (partition < other)}"


def _by_partition(names: Sequence[str], entry_ids: Sequence[str]) -> list[tuple[str, list[str]]]:
    by_partition: dict[int, list[str]] = {}
    for entry_id in entry_ids:
        by_partition.setdefault(split_name(entry_id)[1], []).append(entry_id)
    return [(names[number], found) for number, found in by_partition.items() if number < len(names)]


def _likely_first(names: Sequence[str], job_id: str) -> list[str]:
    likely = names[partition_of(job_id, len(names))]
    return [likely, *(name for name in names if name != likely)]
