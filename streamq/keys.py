"""The name of every Redis key, in one place (docs/wire-format.md is its public face).

A stream `rules:run` is the key `rules:run`; all else of it is `{rules:run}:<part>`. The hash tag
equals the plain key, so everything of one stream shares one Cluster slot.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

import msgspec

from streamq.errors import InvalidJob

Lane = Literal["high", "normal", "low"]

#: Lanes in the order a worker prefers them; the index is what travels to the scripts.
LANES: Final[tuple[Lane, Lane, Lane]] = ("high", "normal", "low")

#: The one consumer group of every stream.
GROUP: Final = "workers"

#: How long a caller-made job id is remembered, so that a second enqueue of it is a duplicate (seconds).
JOB_ID_WINDOW: Final = 86400.0

#: How long the mark of a cancelled job is kept whose place was not found, so that whoever takes it ends it
#: (seconds).
CANCEL_KEPT: Final = 7 * 86400.0
#: How long the answer to a worker's order lies there to be read (seconds).
ANSWER_KEPT: Final = 60.0

#: Seconds ahead of now that a rate limiter promises anybody a moment.
PROMISE_HORIZON: Final = 3600.0
#: Seconds that such a promise is kept for one who does not come.
PROMISE_KEPT: Final = 60.0
#: How long the answer of an enqueue call is remembered for a repeat of the call (seconds).
CALL_WINDOW: Final = 60.0

#: A uniqueness key held "until the job has ended" is given up after this all the same, so that a job
#: deleted by hand cannot block its key for ever (seconds, beyond the job's delay).
UNTIL_DONE_LIMIT: Final = 86400.0

#: Longest stream name and unique key, characters: keys are paid for in memory by every job.
MAX_NAME = 512

#: Braces are the slot's; the rest cannot be seen, typed or written as UTF-8.
_NOT_IN_NAMES: Final = re.compile(r"[{}\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class StreamKeys(msgspec.Struct, frozen=True):
    """The keys of one stream."""

    stream: str
    high: str
    low: str
    #: Sorted set of delayed, retrying and snoozed jobs; score = due, ms of the server's time.
    delayed: str
    #: Hash beside it: member -> the envelope.
    delayed_jobs: str
    dead: str
    done: str
    meta: str
    #: Hash: worker -> heartbeat counter.
    workers: str
    #: Hash: worker -> sequence number and refusals of its last turn.
    turns: str
    #: Sorted set: ids of cancelled jobs that have not ended yet; score = asked, ms.
    cancels: str
    #: Hash: worker -> when it was last heard (ms) and what it said of itself, JSON.
    facts: str
    #: Hash: worker -> what it is asked to do, told with its next heartbeat.
    orders: str
    #: Limits by key. Sorted set, by name: who holds a slot of which key, in a lane (r) or running (x).
    limits_held: str
    #: Sorted set, by name: jobs that wait for a slot or the rate of their key, in the order they get it.
    limits_parked: str
    #: Hash beside it: job id -> the envelope.
    limits_jobs: str
    #: Sorted set: keys that somebody has to look at again; score = when, ms.
    limits_due: str
    #: Sorted set: rate limited keys; score = theoretical arrival time, us.
    limits_rates: str
    #: Hash: job that may be replaced while it waits -> its entry.
    limits_places: str
    #: Stream that wakes one sleeping worker when a new earliest delayed job arrives.
    wake: str
    #: Sorted set: ids of recurring jobs; score = start of the next tick's job, ms (inf: there is none).
    schedules: str
    #: Hash beside it: id -> revision, a space, the record (JSON).
    schedule_records: str

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, stream: str) -> StreamKeys:
        """The keys of `stream`; raises InvalidJob for a name that cannot be one."""
        if type(stream) is not str or not 0 < len(stream) <= MAX_NAME or _NOT_IN_NAMES.search(stream):
            shown = repr(stream)[:80]
            raise InvalidJob(
                f"stream name {shown} is empty, too long, or holds a brace, white space, or what is not to be"
                " seen"
            )

        def part(name: str) -> str:
            return f"{{{stream}}}:{name}"

        return cls(
            stream=stream,
            high=part("high"),
            low=part("low"),
            delayed=part("delayed"),
            delayed_jobs=part("delayed:jobs"),
            dead=part("dead"),
            done=part("done"),
            meta=part("meta"),
            workers=part("workers"),
            turns=part("turns"),
            cancels=part("cancels"),
            facts=part("workers:facts"),
            orders=part("workers:orders"),
            limits_held=part("limits:held"),
            limits_parked=part("limits:parked"),
            limits_jobs=part("limits:jobs"),
            limits_due=part("limits:due"),
            limits_rates=part("limits:rates"),
            limits_places=part("limits:places"),
            wake=part("wake"),
            schedules=part("schedules"),
            schedule_records=part("schedules:records"),
        )

    @property
    def lanes(self) -> tuple[str, str, str]:
        """Keys of the lanes, in the order of `LANES`."""
        return (self.high, self.stream, self.low)

    @property
    def limits(self) -> tuple[str, ...]:
        """Keys of the limits, in the order of `limits_of` in lua/lib/limits.lua."""
        return (
            *(self.limits_held, self.limits_parked, self.limits_jobs),
            *(self.limits_due, self.limits_rates, self.limits_places),
        )

    def unique(self, key: str) -> str:
        """Holds the id of the job that owns the uniqueness key `key`."""
        return f"{{{self.stream}}}:unique:{key}"

    def job_id(self, job_id: str) -> str:
        """Remembers that a caller-made job id was enqueued."""
        return f"{{{self.stream}}}:id:{job_id}"

    def call(self, call_id: str) -> str:
        """Remembers the answer of one enqueue call, so that repeating it is harmless."""
        return f"{{{self.stream}}}:call:{call_id}"

    def answer(self, order_id: str) -> str:
        """What a worker answered to the order of that id."""
        return f"{{{self.stream}}}:answer:{order_id}"

    def limit(self, key: str) -> str:
        """State of the rate limiter `key`."""
        return f"{{{self.stream}}}:limit:{key}"

    def promises(self, key: str) -> str:
        """Who was refused by the rate limiter `key`, and the moment that each was promised."""
        return f"{{{self.stream}}}:promises:{key}"
