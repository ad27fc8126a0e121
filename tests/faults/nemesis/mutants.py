"""The engine with one bug planted: each must be caught, or the harness would not see the bug if it were ours.

A mutant is planted in the process that calls `plant`, by changing a script's text before it is first used, or by
replacing a method. A text that is not there any more is an error: a mutant that changes nothing proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from streamq import consumer, executor, job, queue, redis_broker, scripts, slots
from streamq.broker import Lease


class Mutant(msgspec.Struct, frozen=True):
    """A planted bug."""

    #: What it does wrong.
    words: str
    #: Which part of the harness is held to catch it: machine, storm or points.
    caught_by: str
    plant: Callable[[], None]


def plant(name: str) -> None:
    """Plant it in this process; the empty name is no bug."""
    if name:
        MUTANTS[name].plant()


def _in_lua(text: str, instead: str, *names: str) -> Callable[[], None]:
    """In each script of those names that is asked for from now on."""

    def change() -> None:
        for name in names:
            script = scripts.script(name)
            if text not in script.text:
                raise LookupError(f"the mutant's text is not in {name}.lua: {text!r}")
            changed = script.text.replace(text, instead)
            sha = hashlib.sha1(changed.encode(), usedforsecurity=False).hexdigest()
            planted = scripts.Script(name, changed, sha)
            _replace_script(name, planted)

    return change


def _replace_script(name: str, planted: scripts.Script) -> None:
    ask = scripts.script
    scripts.script = lambda wanted: planted if wanted == name else ask(wanted)  # type: ignore[assignment]


def _acks_before_it_runs() -> None:
    run = slots.Slots._work

    async def acknowledged(self: slots.Slots, scope: Any) -> None:
        for running in list(self.waiting):
            broker = _BROKERS[-1]
            keys = scripts.StreamKeys.of(running.lease.stream)
            lane = keys.lanes[("high", "normal", "low").index(running.lease.lane)]
            await broker._ask("XACK", lane, "workers", running.lease.entry_id)
            await broker._ask("XDEL", lane, running.lease.entry_id)
            await broker._ask("XADD", keys.done, "*", "id", running.lease.envelope.id, "attempt", 1, "ms", 0)
        await run(self, scope)

    _remember_brokers()
    slots.Slots._work = acknowledged  # type: ignore[method-assign]


_BROKERS: list[redis_broker.RedisBroker] = []


def _remember_brokers() -> None:
    made = redis_broker.RedisBroker.__init__

    def remembered(self: redis_broker.RedisBroker, *args: Any, **options: Any) -> None:
        made(self, *args, **options)
        _BROKERS.append(self)

    redis_broker.RedisBroker.__init__ = remembered  # type: ignore[method-assign]


def _enqueues_anew_after_a_lost_reply() -> None:
    async def enqueue_jobs(self: queue.Queue, jobs: Any) -> Any:
        for _ in range(5):
            try:
                return await self._broker.enqueue(self.stream, jobs, call_id=job.new_job_id())
            except queue.BrokerUnavailable:
                jobs = [msgspec.structs.replace(one, id=job.new_job_id()) for one in jobs]
        return None

    queue.Queue.enqueue_jobs = enqueue_jobs  # type: ignore[method-assign]


def _never_adopts() -> None:
    async def adopt(self: consumer.StreamConsumer) -> None:
        self._suspicious = False

    consumer.StreamConsumer._adopt = adopt  # type: ignore[method-assign]


def _fences_stand_still() -> None:
    Lease.fence = property(lambda _: job.fence_of("1-1"))  # type: ignore[assignment, method-assign]


def _counts_no_failure() -> None:
    failed = executor.Executor._failed

    def uncounted(self: executor.Executor, *args: Any) -> Any:
        ended = failed(self, *args)
        if hasattr(ended.finish, "counts"):
            finish = msgspec.structs.replace(ended.finish, counts=False)
            return msgspec.structs.replace(ended, finish=finish)
        return ended

    executor.Executor._failed = uncounted  # type: ignore[method-assign]


MUTANTS: Final[Mapping[str, Mutant]] = {
    "no-fence": Mutant(
        "whoever says a job is over, it is over: nobody asks in whose hands it is",
        "storm",
        _in_lua("if mine[lane][entry] then", "if true then", "turn"),
    ),
    "ack-first": Mutant("jobs are acknowledged before they run", "storm", _acks_before_it_runs),
    "old-id": Mutant(
        "what is taken from the dead keeps its entry id, as XAUTOCLAIM does it: the fence does not rise",
        "storm",
        _fences_stand_still,
    ),
    "crash-uncounted": Mutant(
        "a worker that died holding a job is not counted",
        "storm",
        _in_lua("crashes = crashes + 1", "crashes = crashes + 0", "reclaim", "sweep"),
    ),
    "crash-eats-retry": Mutant(
        "a crash counts as an attempt",
        "storm",
        _in_lua(
            "if name == 'attempt' then attempt = value end",
            "if name == 'attempt' then value = tostring(tonumber(value) + 1) end",
            "reclaim",
        ),
    ),
    "failure-uncounted": Mutant("a failed attempt is not counted", "storm", _counts_no_failure),
    "enqueue-twice": Mutant(
        "an enqueue whose reply was lost is sent again as a new call",
        "points",
        _enqueues_anew_after_a_lost_reply,
    ),
    "no-sequence": Mutant(
        "a turn whose reply was lost and that is told again counts as a new one",
        "points",
        _in_lua("if seen == ARGV[2] then", "if false then", "turn"),
    ),
    "no-adopt": Mutant("deliveries whose reply was lost are not looked for", "points", _never_adopts),
    "early": Mutant(
        "delayed jobs are ready 50 ms too soon",
        "storm",
        _in_lua("local now = server_ms()\nlocal flags", "local now = server_ms() + 50\nlocal flags", "turn"),
    ),
    "zrem-first": Mutant(
        "a due job is dropped from the delayed and not made ready",
        "storm",
        _in_lua("if not pcall(make_ready, L, lane, fields) then return 0 end", "", "turn"),
    ),
    "unique-kept": Mutant(
        "the uniqueness key of a job that is over is not given back",
        "storm",
        _in_lua("    redis.call('DEL', key)\n    return 1", "    return 1", "turn"),
    ),
    "retry-kept": Mutant(
        "a job that is to run again is not let go",
        "storm",
        _in_lua(
            "      drop(lanes[lane], { entry })\n    end\n  end\n  for _, one in ipairs(limited)",
            "    end\n  end\n  for _, one in ipairs(limited)",
            "turn",
        ),
    ),
    "retry-dropped": Mutant(
        "a job that is to run again is let go and not added",
        "machine",
        _in_lua(
            "delay(KEYS[4], KEYS[5], KEYS[11], now + f[6], job_id, lane, slice(f[9], f[10]))", "", "turn"
        ),
    ),
    "limit-over": Mutant(
        "of a limit's key one more may run than was said",
        "storm",
        _in_lua(
            "count(L.held, t.group .. '\\n') >= t.running then return nil end",
            "count(L.held, t.group .. '\\n') > t.running then return nil end",
            "enqueue",
            "turn",
        ),
    ),
    "neighbours-blamed": Mutant(
        "a job is buried though its worker named another as to blame, or none",
        "machine",
        _in_lua("not of.blamed or", "true or", "reclaim"),
    ),
    "slot-kept": Mutant(
        "a job that is over keeps its key's slot: who waits for it waits for ever",
        "machine",
        _in_lua("limits().left_lane(L, t, lane, entry)", "", "turn"),
    ),
    "silent-heart": Mutant(
        "hearts beat and nobody hears it: peers take from the living",
        "storm",
        _in_lua(
            "redis.call('HINCRBY', KEYS[4], worker, 1)", "redis.call('HINCRBY', KEYS[4], worker, 0)", "renew"
        ),
    ),
}
