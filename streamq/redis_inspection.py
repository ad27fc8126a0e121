"""Looking into streams on a server, and controlling them by hand: the part of the Redis broker that no
turn of a worker goes through.

Nothing here costs the server more the more jobs there are: what is looked for is looked for page by
page, so many pages at most, and one that can only be found that way is ended by a mark.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from streamq import partitions as spread
from streamq import scripts
from streamq.broker import (
    LOOK,
    Cancellation,
    DeadJob,
    DoneJob,
    Order,
    PendingEntry,
    Requeued,
    Sighting,
    StreamStats,
    Waiting,
    WorkerSeen,
)
from streamq.job import Envelope
from streamq.keys import ANSWER_KEPT, GROUP, LANES, Lane, StreamKeys
from streamq.partitions import MAX_PARTITIONS, one_of, over_all
from streamq.scripts import Call
from streamq.steering import MOST_AT_ONCE, check_concurrency, check_entry_ids, check_order
from streamq.wire import entry_ms, envelope_of, pairs, whole

A = TypeVar("A")

#: Pending entries of a lane that are looked at for the longest idle, and how many in one call.
PENDING_LOOK: Final = 100_000
PENDING_PAGE: Final = 1000
#: Entries read in one call in search of a job.
SEARCH_PAGE: Final = 500
#: The same of completed records, which may have values with them: 13 MB of the largest.
RECORDS_PAGE: Final = 200

_ENTRY_ID: Final = re.compile(r"\d{1,15}-\d{1,10}")


class Place(msgspec.Struct, frozen=True):
    """Where in a lane an entry was found."""

    lane: Lane
    key: str
    entry_id: str
    envelope: Envelope
    #: Waiting entries before it.
    before: int


def answer_words(stream: str, order_id: str, text: str) -> tuple[Any, ...]:
    """A worker's answer as SET takes it."""
    key = StreamKeys.of(stream).answer(order_id)
    return key, text.encode("utf-8", "replace"), "PX", int(ANSWER_KEPT * 1000)


class RedisInspection:
    """Needs two ways to ask the server; `RedisBroker` has them."""

    #: See `Broker.counts`.
    counts: dict[str, int]

    async def _ask(self, *command: Any, of: str | None = None) -> Any:
        raise NotImplementedError

    async def _evaluate(self, call: Call[A]) -> A:
        raise NotImplementedError

    async def partitions(self, stream: str) -> int:
        """See `Broker.partitions`."""
        count = await self._said(stream)
        self.counts[stream] = count
        return count

    async def set_partitions(self, stream: str, count: int, *, again: bool = False) -> int:
        """See `Broker.set_partitions`. Partition 0 is told last: until then nobody looks at the new ones."""
        before = await self.partitions(stream)
        spread.check_growth(stream, count, before)
        names = spread.partition_names(stream, count)
        for number, name in enumerate(names[before:], before):
            if (
                not again and await self._said(name) <= number
            ):  # else it was made by one who did not come to the end
                spread.check_unused(await self.stats(name))
        paused, said = await self._ask("HMGET", StreamKeys.of(stream).meta, "paused", "concurrency")
        jobs = whole(said, MOST_AT_ONCE)
        for number, name in reversed(list(enumerate(names))):
            new = number >= before
            await self._evaluate(
                scripts.partitions(
                    name,
                    count,
                    paused=new and paused == b"1",
                    concurrency=jobs if new else None,
                )
            )
        return await self.partitions(stream)

    async def _said(self, name: str) -> int:
        """How many partitions there are, as one of them knows."""
        return whole(await self._ask("HGET", StreamKeys.of(name).meta, "partitions"), MAX_PARTITIONS) or 1

    @over_all(spread.set_in_all)
    async def set_paused(self, stream: str, *, paused: bool) -> None:
        """See `Broker.set_paused`."""
        await self._evaluate(scripts.pause(stream, paused=paused))

    @over_all(spread.all_stats)
    async def stats(self, stream: str) -> StreamStats:
        """See `Broker.stats`."""
        return await self._evaluate(scripts.stats(stream))

    async def limit(
        self, stream: str, key: str, *, rate: float, burst: int, who: str = "", urgent: bool = False
    ) -> float:
        """See `Broker.limit`."""
        return await self._evaluate(
            scripts.limit(stream, key, rate=rate, burst=burst, who=who, urgent=urgent)
        )

    @over_all(spread.all_pending)
    async def pending(
        self, stream: str, *, worker: str | None = None, idle_over: float = 0.0, limit: int = 100
    ) -> list[PendingEntry]:
        """See `Broker.pending`."""
        lanes = zip(LANES, StreamKeys.of(stream).lanes, strict=True)
        held = [(lane, key, row) for lane, key in lanes for row in await self._held(key, worker, idle_over)]
        held.sort(key=lambda one: -int(one[2][2]))
        found: list[PendingEntry] = []
        for lane, key, (entry_id, owner, idle_ms, deliveries) in held[:limit]:
            entry = await self._ask("XRANGE", key, entry_id, entry_id)
            flat = entry[0][1] if entry else ()
            name = entry_id.decode()
            found.append(
                PendingEntry(
                    entry_id=name,
                    worker=owner.decode(),
                    idle_seconds=int(idle_ms) / 1000,
                    deliveries=int(deliveries),
                    envelope=envelope_of(name, lane, pairs(flat)),
                )
            )
        return found

    async def _held(self, key: str, worker: str | None, idle_over: float) -> list[Any]:
        """What is pending in a lane, page by page: Redis lists by id, nothing lists by idleness."""
        rows: list[Any] = []
        after = "-"
        while len(rows) < PENDING_LOOK:
            args = ["XPENDING", key, GROUP, "IDLE", int(idle_over * 1000), after, "+", PENDING_PAGE]
            page = await self._ask(*args, *([worker] if worker else [])) or []
            rows += page
            if len(page) < PENDING_PAGE:
                break
            after = f"({page[-1][0].decode()}"
        return rows

    @over_all(spread.all_dead)
    async def dead(self, stream: str, *, limit: int = 100, before: str | None = None) -> list[DeadJob]:
        """See `Broker.dead`."""
        check_entry_ids(() if before is None else (before,))
        end = "+" if before is None else f"({before}"
        rows = await self._ask("XREVRANGE", StreamKeys.of(stream).dead, end, "-", "COUNT", limit)
        return [_dead_job(raw_id.decode(), pairs(flat)) for raw_id, flat in rows or ()]

    @over_all(spread.all_done)
    async def done(self, stream: str, *, limit: int = 100) -> list[DoneJob]:
        """See `Broker.done`."""
        rows = await self._ask("XREVRANGE", StreamKeys.of(stream).done, "+", "-", "COUNT", limit)
        return [_done_job(raw_id.decode(), pairs(flat)) for raw_id, flat in rows or ()]

    @over_all(spread.all_delayed)
    async def delayed(self, stream: str, *, limit: int = 100) -> list[tuple[Envelope, float]]:
        """See `Broker.delayed`."""
        k = StreamKeys.of(stream)
        rows = await self._ask("ZRANGE", k.delayed, 0, limit - 1, "WITHSCORES")
        found = []
        for member, score in zip(rows[::2], rows[1::2], strict=True):
            body = await self._ask("HGET", k.delayed_jobs, member)
            if body is not None:
                found.append((scripts.delayed_envelope(body, int(float(score))), float(score) / 1000))
        return found

    @over_all(spread.requeue_all)
    async def requeue(
        self, stream: str, entry_ids: Sequence[str], *, payloads: Mapping[str, bytes] | None = None
    ) -> Requeued:
        """See `Broker.requeue`."""
        check_entry_ids(entry_ids)
        letters = []
        for entry_id in entry_ids:
            rows = await self._ask("XRANGE", StreamKeys.of(stream).dead, entry_id, entry_id)
            letters += [_dead_job(raw_id.decode(), pairs(flat)) for raw_id, flat in rows or ()]
        letters = [with_payload(letter, payloads or {}) for letter in letters]
        return await self._evaluate(scripts.requeue(stream, letters))

    @over_all(spread.all_waiting)
    async def waiting(self, stream: str, *, limit: int = 100) -> list[Waiting]:
        """See `Broker.waiting`."""
        found: list[Waiting] = []
        for lane, key in zip(LANES, StreamKeys.of(stream).lanes, strict=True):
            if len(found) < limit:
                delivered = await self._delivered(key)
                rows = await self._ask("XRANGE", key, f"({delivered}", "+", "COUNT", limit - len(found))
                found += [_waiting(raw_id, lane, flat) for raw_id, flat in rows or ()]
        return found

    @over_all(spread.all_parked)
    async def parked(self, stream: str, *, limit: int = 100) -> list[Envelope]:
        """See `Broker.parked`."""
        k = StreamKeys.of(stream)
        places = await self._ask("ZRANGE", k.limits_parked, 0, limit - 1)
        if not places:
            return []
        members = [place.split(b"\n", 2)[2] for place in places]
        bodies = await self._ask("HMGET", k.limits_jobs, *members)
        return [scripts.parked_envelope(body)[1] for body in bodies if body is not None]

    @over_all(spread.purge_all)
    async def purge(self, stream: str, entry_ids: Sequence[str]) -> int:
        """See `Broker.purge`."""
        check_entry_ids(entry_ids)
        return await self._evaluate(scripts.purge(stream, entry_ids)) if entry_ids else 0

    @over_all(spread.set_in_all)
    async def set_concurrency(self, stream: str, jobs: int | None) -> None:
        """See `Broker.set_concurrency`."""
        check_concurrency(jobs)
        await self._evaluate(scripts.concurrency(stream, jobs))

    @over_all(spread.all_workers)
    async def workers(self, stream: str) -> list[WorkerSeen]:
        """See `Broker.workers`."""
        return await self._evaluate(scripts.workers(stream))

    @over_all(spread.order_in_any)
    async def order(self, stream: str, worker: str, order: Order) -> bool:
        """See `Broker.order`."""
        check_order(order)
        return await self._evaluate(scripts.order(stream, worker, order))

    async def answer(self, stream: str, order_id: str, text: str) -> None:
        """See `Broker.answer`."""
        await self._ask("SET", *answer_words(stream, order_id, text))

    @over_all(spread.answered_in_any)
    async def answered(self, stream: str, order_id: str) -> str | None:
        """See `Broker.answered`."""
        raw = await self._ask("GET", StreamKeys.of(stream).answer(order_id))
        return None if raw is None else raw.decode("utf-8", "replace")

    # --- one job ---------------------------------------------------------------------------------

    @over_all(spread.find_in_all)
    async def find(self, stream: str, job_id: str, *, look: int = LOOK) -> Sighting:
        """See `Broker.find`.

        In the order in which a job may move while it is looked for: what a worker gives back goes to the
        end of its lane or among the delayed, and what has ended stays so.
        """
        k = StreamKeys.of(stream)
        asked = await self._ask("ZSCORE", k.cancels, job_id) is not None
        now = await self._now_ms(stream)
        search = Search(self, k, job_id, look)
        seen = await self._find_held_back(k, job_id, now, asked=asked)
        if seen is None:
            async for place in search.places():
                return await self._sighting(stream, job_id, place, now, asked=asked)
            seen = await self._find_held_back(k, job_id, now, asked=asked)
        seen = seen or await self._find_ended(stream, job_id, now, look)
        return seen or Sighting(
            stream=stream,
            job_id=job_id,
            state="unknown",
            server_ms=now,
            cancel_asked=asked,
            looked=search.looked,
            looked_at_all=search.looked_at_all,
        )

    @over_all(spread.cancel_in_all)
    async def cancel(self, stream: str, job_id: str, *, look: int = LOOK) -> Cancellation:
        """See `Broker.cancel`.

        The mark comes first: from then on nothing starts the job, wherever it is, and what a worker makes
        of it is refused. Then it is looked for, to end it now, and to say what became of it.
        """
        k = StreamKeys.of(stream)
        ended = await self._evaluate(scripts.cancel(stream, job_id))
        if ended is not None:
            where, unique = ended
            await self._give_back(stream, job_id, unique)
            return Cancellation(job_id, where)
        search = Search(self, k, job_id, look)
        async for place in search.places():
            call = scripts.cancel_entry(stream, place.lane, place.entry_id, job_id)
            found, about = await self._evaluate(call)
            if found == "running":
                return Cancellation(job_id, "running", worker=about)
            if found == "waiting":
                await self._give_back(stream, job_id, about)
                return Cancellation(job_id, "waiting")
        return await self._cancelled_elsewhere(stream, job_id, search, look)

    async def _cancelled_elsewhere(self, stream: str, job_id: str, search: Search, look: int) -> Cancellation:
        """It is in no lane, as far as was looked."""
        ended = await self._find_ended(stream, job_id, 0, look)
        if ended is None and not search.looked_at_all:
            return Cancellation(job_id, "sought", looked=search.looked)
        if await self._evaluate(scripts.uncancel(stream, job_id)):
            if ended is None:
                return Cancellation(job_id, "unknown", looked=search.looked)
            return Cancellation(job_id, "ended", state=ended.state)
        # The mark is gone: a worker has met the job meanwhile, and ended it.
        return Cancellation(job_id, "ended", state="cancelled")

    async def _give_back(self, stream: str, job_id: str, unique: str) -> None:
        if unique:
            await self._evaluate(scripts.give_back(stream, [(unique, job_id)]))

    async def _now_ms(self, stream: str) -> int:
        seconds, micros = await self._ask("TIME", of=stream)
        return int(seconds) * 1000 + int(micros) // 1000

    async def _delivered(self, key: str) -> str:
        """The last entry of a lane that was ever handed over: what waits comes after it."""
        for flat in await self._ask("XINFO", "GROUPS", key):
            named = dict(zip(flat[::2], flat[1::2], strict=True))
            if named[b"name"] == GROUP.encode():
                delivered: str = named[b"last-delivered-id"].decode()
                return delivered
        return "0-0"

    async def _find_held_back(self, k: StreamKeys, job_id: str, now: int, *, asked: bool) -> Sighting | None:
        delayed = await self._find_delayed(k, job_id, now, asked=asked)
        return delayed or await self._find_parked(k, job_id, now, asked=asked)

    async def _find_parked(self, k: StreamKeys, job_id: str, now: int, *, asked: bool) -> Sighting | None:
        body = await self._ask("HGET", k.limits_jobs, job_id)
        if body is None:
            return None
        place, envelope = scripts.parked_envelope(body)
        group = place.partition("\n")[0].encode("utf-8", "surrogateescape")
        mine = place.encode("utf-8", "surrogateescape")
        holders = b"[%b\n" % group, b"(%b\n\xff" % group
        behind = None
        if group[:1] == b"u":
            held = await self._ask("ZRANGEBYLEX", k.limits_held, *holders, "LIMIT", 0, 1)
            behind = held[0].partition(b"\nxid/")[2].decode("utf-8", "replace") if held else ""
        due = await self._ask("ZSCORE", k.limits_due, group)
        return Sighting(
            stream=k.stream,
            job_id=job_id,
            state="parked",
            server_ms=now,
            cancel_asked=asked,
            envelope=envelope,
            before=int(await self._ask("ZLEXCOUNT", k.limits_parked, holders[0], b"(%b" % mine)),
            running=int(await self._ask("ZLEXCOUNT", k.limits_held, *holders)),
            behind=behind,
            free_in=None if due is None or behind is not None else (int(float(due)) - now) / 1000,
        )

    async def _find_delayed(self, k: StreamKeys, job_id: str, now: int, *, asked: bool) -> Sighting | None:
        body = await self._ask("HGET", k.delayed_jobs, job_id)
        score = await self._ask("ZSCORE", k.delayed, job_id)
        if body is None or score is None:
            return None
        due = int(float(score))
        return Sighting(
            stream=k.stream,
            job_id=job_id,
            state="delayed",
            server_ms=now,
            cancel_asked=asked,
            envelope=scripts.delayed_envelope(body, due),
            due_in=(due - now) / 1000,
        )

    async def _sighting(self, stream: str, job_id: str, place: Place, now: int, *, asked: bool) -> Sighting:
        """Who has it, and since when; or how many are before it."""
        seen = Sighting(
            stream=stream,
            job_id=job_id,
            state="ready",
            server_ms=now,
            cancel_asked=asked,
            envelope=place.envelope,
            entry_id=place.entry_id,
            before=place.before,
        )
        rows = await self._ask("XPENDING", place.key, GROUP, place.entry_id, place.entry_id, 1)
        if not rows:
            return seen
        _, owner, idle_ms, _ = rows[0]
        silent = held = int(idle_ms) / 1000
        _, facts = scripts.heard_of(await self._ask("HGET", StreamKeys.of(stream).facts, owner))
        for taken in facts.taken:
            if taken.key == f"{place.lane}/{place.entry_id}":
                held = max(silent, (now - taken.since_ms) / 1000)
        return msgspec.structs.replace(
            seen, state="leased", worker=owner.decode(), held_seconds=held, silent_seconds=silent, before=0
        )

    async def _find_ended(self, stream: str, job_id: str, now: int, look: int) -> Sighting | None:
        """Its record or its dead letter, whichever is newer."""
        record = await self._record(stream, job_id, look)
        letter = await self._letter(stream, job_id, look)
        if letter is not None and (record is None or letter.died_ms >= record.finished_ms):
            return Sighting(
                stream=stream,
                job_id=job_id,
                state="dead",
                server_ms=now,
                envelope=letter.envelope,
                entry_id=letter.entry_id,
                dead=letter,
            )
        if record is None:
            return None
        return Sighting(
            stream=stream,
            job_id=job_id,
            state=record.outcome,
            server_ms=now,
            entry_id=record.entry_id,
            done=record,
        )

    async def _record(self, stream: str, job_id: str, look: int) -> DoneJob | None:
        """The newest completed record of a job, among the newest `look`."""
        end = "+"
        for _ in range(0, look, RECORDS_PAGE):
            key, most = StreamKeys.of(stream).done, min(look, RECORDS_PAGE)
            page = await self._ask("XREVRANGE", key, end, "-", "COUNT", most) or []
            for raw_id, flat in page:
                fields = pairs(flat)
                if fields.get(b"id") == job_id.encode():
                    return _done_job(raw_id.decode(), fields)
            if len(page) < RECORDS_PAGE:
                return None
            end = f"({page[-1][0].decode()}"
        return None

    async def _letter(self, stream: str, job_id: str, look: int) -> DeadJob | None:
        """The newest dead letter of a job, among the newest `look`."""
        before: str | None = None
        for _ in range(0, look, SEARCH_PAGE):
            page: list[DeadJob] = await one_of(RedisInspection.dead)(
                self, stream, limit=min(look, SEARCH_PAGE), before=before
            )
            for letter in page:
                if letter.envelope.id == job_id:
                    return letter
            if len(page) < SEARCH_PAGE:
                return None
            before = page[-1].entry_id
        return None


class Search:
    """Goes through the lanes of a stream for the entries of one job."""

    def __init__(self, broker: RedisInspection, keys: StreamKeys, job_id: str, look: int) -> None:
        self._broker = broker
        self._keys = keys
        self._job_id = job_id
        self._id = job_id.encode()
        self._look = look
        #: Entries that were looked at; whether that was all there are.
        self.looked = 0
        self.looked_at_all = True

    async def places(self) -> AsyncIterator[Place]:
        """Wherever it is, lane by lane; at most `look` entries of each."""
        for lane, key in zip(LANES, self._keys.lanes, strict=True):
            async for place in self._in_lane(lane, key):
                yield place

    async def _in_lane(self, lane: Lane, key: str) -> AsyncIterator[Place]:
        """The oldest first: what is put back while we look comes to the end."""
        ask = self._broker._ask  # noqa: SLF001 - a part of the same broker
        if _ENTRY_ID.fullmatch(self._job_id):  # of a producer that gives no id: found without a search
            for raw_id, flat in await ask("XRANGE", key, self._job_id, self._job_id) or ():
                if self._is_its(raw_id, flat):
                    yield self._place(lane, key, raw_id, flat, 0)
                    return
        delivered = _order((await self._broker._delivered(key)).encode())  # noqa: SLF001 - as above
        after, looked, waiting = "-", 0, 0
        while looked < self._look:
            page = await ask("XRANGE", key, after, "+", "COUNT", min(SEARCH_PAGE, self._look - looked)) or []
            looked, self.looked = looked + len(page), self.looked + len(page)
            for raw_id, flat in page:
                if self._is_its(raw_id, flat):
                    yield self._place(lane, key, raw_id, flat, waiting)
                waiting += bool(waiting) or _order(raw_id) > delivered
            if len(page) < SEARCH_PAGE and looked < self._look:
                return
            if page:
                after = f"({page[-1][0].decode()}"
        self.looked_at_all = self.looked_at_all and not await ask("XRANGE", key, after, "+", "COUNT", 1)

    def _is_its(self, raw_id: bytes, flat: Sequence[bytes]) -> bool:
        if self._id not in flat and raw_id != self._id:
            return False
        return (pairs(flat).get(b"id") or raw_id) == self._id

    def _place(self, lane: Lane, key: str, raw_id: bytes, flat: Sequence[bytes], before: int) -> Place:
        entry_id = raw_id.decode()
        return Place(lane, key, entry_id, envelope_of(entry_id, lane, pairs(flat)), before)


def _order(raw_id: bytes) -> tuple[int, int]:
    """Entry ids in the order they were made."""
    ms, _, sequence = raw_id.partition(b"-")
    return int(ms), int(sequence)


def _waiting(raw_id: bytes, lane: Lane, flat: Sequence[bytes]) -> Waiting:
    entry_id = raw_id.decode()
    return Waiting(entry_id, envelope_of(entry_id, lane, pairs(flat)))


def with_payload(letter: DeadJob, payloads: Mapping[str, bytes]) -> DeadJob:
    """The letter with the payload that was given for it, if one was."""
    payload = payloads.get(letter.entry_id)
    if payload is None:
        return letter
    envelope = msgspec.structs.replace(letter.envelope, payload=payload)
    return msgspec.structs.replace(letter, envelope=envelope)


def _done_job(entry_id: str, fields: dict[bytes, bytes]) -> DoneJob:
    return DoneJob(
        entry_id=entry_id,
        job_id=fields.get(b"id", b"").decode("utf-8", "replace"),
        attempt=int(fields.get(b"attempt", b"1")),
        duration=int(fields.get(b"ms", b"0")) / 1000,
        finished_ms=entry_ms(entry_id),
        outcome="cancelled" if fields.get(b"outcome") == b"cancelled" else "done",
        result=fields.get(b"result"),
        no_result=fields.get(b"no_result", b"").decode("utf-8", "replace"),
    )


def _dead_job(entry_id: str, fields: dict[bytes, bytes]) -> DeadJob:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode("utf-8", "replace")

    lane = text(b"lane")
    died = text(b"died")
    attempts = text(b"attempts")
    return DeadJob(
        entry_id=entry_id,
        envelope=envelope_of(entry_id, lane if lane in LANES else "normal", fields),
        reason=text(b"reason"),
        error=text(b"error"),
        traceback=text(b"traceback"),
        attempts=int(attempts) if attempts.isdigit() else 1,
        died_ms=int(died) if died.isdigit() else entry_ms(entry_id),
    )
