"""A job: what a producer hands over, and what a handler is given."""

from __future__ import annotations

import os
from binascii import b2a_base64
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from streamq.checks import check_name, check_number
from streamq.errors import InvalidJob
from streamq.keys import LANES, MAX_NAME, Lane
from streamq.limits import Limit
from streamq.retry import MAX_DELAY, Retry

T = TypeVar("T")

#: The last moment a job may be due: the end of the year 9999, seconds since the epoch.
LATEST = 253_402_300_799.0

#: A timeout from here on is a mistake: about thirty years, seconds.
MAX_TIMEOUT = 1e9

#: Longest that a uniqueness key, or a job that is put off, may be held: a year, seconds.
_YEAR = 366 * 86400

#: Bits of an entry id's sequence that fit below its milliseconds in a 63-bit fence.
FENCE_SEQUENCE_BITS = 20

_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def new_job_id() -> str:
    """A fresh job id: 16 URL-safe characters, 96 random bits.

    None begins with `-`: on a command line it would be taken for an option.
    """
    # As `secrets.token_urlsafe(12)`, in half the time: each job pays for it.
    while (made := b2a_base64(os.urandom(12), newline=False).translate(_URL_SAFE)).startswith(b"-"):
        pass
    return made.decode()


def fence_of(entry_id: str) -> int:
    """The fencing token of a delivery: its entry id as one rising integer.

    Redelivery always gets a new, higher entry id (streamq reclaims under a new id), so a later
    delivery of the same job has a higher fence, whoever made it.
    """
    milliseconds, _, sequence = entry_id.partition("-")
    return (int(milliseconds) << FENCE_SEQUENCE_BITS) + int(sequence)


class NewJob(msgspec.Struct, frozen=True):
    """A job on its way in; `Queue.enqueue` builds it."""

    #: JSON text, UTF-8.
    payload: bytes
    id: str
    #: The caller chose `id`: a second job of that id is a duplicate for `id_window`.
    id_is_callers: bool = False
    lane: Lane = "normal"
    #: Seconds from now by the server's clock; 0 = at once.
    delay: float = 0.0
    #: Seconds since the epoch; wins over `delay`.
    at: float | None = None
    unique: str | None = None
    #: Seconds the uniqueness key is held; None = until the job has ended.
    unique_for: float | None = None
    #: Put this job into the place of the one that holds `unique` and waits.
    replace: bool = False
    #: With `replace`: a job that waits is put off until so many seconds after it was first enqueued at most.
    max_wait: float | None = None
    headers: dict[str, str] = {}
    retry: Retry | None = None
    #: Seconds one attempt may take; None = the handler's.
    timeout: float | None = None
    #: The terms under which it may start.
    limit: Limit | None = None

    def __post_init__(self) -> None:
        check_name("job id", self.id, MAX_NAME)
        if self.lane not in LANES:
            raise InvalidJob(f"lane={self.lane!r} is none of {', '.join(LANES)}")
        if self.headers:
            _check_headers(self.headers)
        if self.unique is not None:
            check_name("unique key", self.unique, MAX_NAME)
        if self.unique_for is not None:
            check_number("unique_for", self.unique_for, 0.001, _YEAR, what="seconds")
        if self.replace or self.max_wait is not None:
            self._check_replace()
        self._check_times()
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise InvalidJob(f"retry={self.retry!r} is no Retry(...)")
        if self.limit is not None and not isinstance(self.limit, Limit):
            raise InvalidJob(f"limit={self.limit!r} is no Limit(...)")

    def _check_times(self) -> None:
        if self.delay != 0:
            check_number("delay", self.delay, 0, 12 * MAX_DELAY, what="seconds")
        if self.at is not None:
            check_number("at", self.at, 0, LATEST, what="seconds since 1970")
        if self.timeout is not None:
            check_timeout(self.timeout)

    def _check_replace(self) -> None:
        if self.max_wait is not None:
            check_number("max_wait", self.max_wait, 0.001, _YEAR, what="seconds")
        if not self.replace:
            raise InvalidJob(f"max_wait={self.max_wait!r} is for a job that replaces, and this one does not")
        if self.unique is None or self.unique_for is not None:
            raise InvalidJob(
                "what is replaced is the job that holds `unique` until it has ended: no unique_for"
            )
        if any(ord(c) < 32 for c in self.unique):
            raise InvalidJob("the uniqueness key of a job that may be replaced has no control characters")


def check_timeout(seconds: object) -> None:
    """Raises InvalidJob for what cannot be the longest time of an attempt."""
    check_number("timeout", seconds, 0, MAX_TIMEOUT, what="seconds")
    if seconds in {0, MAX_TIMEOUT}:
        raise InvalidJob(f"timeout={seconds!r} must be above 0 and below {MAX_TIMEOUT:g} seconds")


def _check_headers(headers: object) -> None:
    if not isinstance(headers, dict) or not all(
        isinstance(text, str) for pair in headers.items() for text in pair
    ):
        raise InvalidJob(f"headers={headers!r:.200} are not texts by name")


class Receipt(msgspec.Struct, frozen=True):
    """What `enqueue` answers."""

    #: The job's id; of a duplicate or a replacement: the id of the job that was there first.
    job_id: str
    #: False: a job of that id or uniqueness key was already there, and none was added.
    created: bool
    #: The job of that id was waiting for its start; it is now as this one, under its old id.
    replaced: bool = False

    @property
    def outcome(self) -> Literal["created", "duplicate", "replaced"]:
        """In one word."""
        return "created" if self.created else "replaced" if self.replaced else "duplicate"


class Try(msgspec.Struct, frozen=True):
    """An attempt that failed."""

    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    #: It was ready to be taken then, ms of the server's time.
    ready_ms: Annotated[int, msgspec.Meta(ge=0, le=int(LATEST) * 1000)]
    #: `Type: message`, cut.
    error: Annotated[str, msgspec.Meta(max_length=200)]


class Envelope(msgspec.Struct, frozen=True):
    """A job as it lies in the broker: bytes and bookkeeping, nothing decoded."""

    id: str
    #: As the producer wrote it: not necessarily JSON.
    payload: bytes
    #: The attempt this delivery is, from 1.
    attempt: int = 1
    #: Workers that died holding the job.
    crashes: int = 0
    #: First enqueued, ms of the server's time.
    enqueued_ms: int = 0
    #: Became eligible to run, ms of the server's time (enqueued, or due when it was delayed).
    eligible_ms: int = 0
    lane: Lane = "normal"
    headers: dict[str, str] = {}
    retry: Retry | None = None
    timeout: float | None = None
    #: Uniqueness key to give back when the job ends.
    unique: str | None = None
    #: While it waits, a job of the same uniqueness key may take its place.
    replace: bool = False
    #: The terms under which it may start.
    limit: Limit | None = None
    #: What its last delivery came to, in few words: an error, or why it was snoozed. For people.
    note: str = ""
    #: The attempts that failed before this one, oldest first; the last ten. For people.
    tries: tuple[Try, ...] = ()
    #: Why the envelope itself does not decode, or None. Such a job is dead-lettered unrun.
    defect: str | None = None


class Job(msgspec.Struct, Generic[T], frozen=True):
    """What a handler is given."""

    #: Stable over redeliveries: an idempotency key for the outside world.
    id: str
    stream: str
    payload: T
    #: From 1; counts what the handler did, not what became of its worker.
    attempt: int
    #: Workers that died holding this job.
    crashes: int
    #: Rises with every delivery of the job: a fencing token (`... WHERE fence < :fence`).
    fence: int
    #: First enqueued, seconds since the epoch by the server's clock.
    enqueued_at: float
    headers: dict[str, str]
    lane: Lane
    #: No attempt is left after this one.
    last_attempt: bool


AnyJob = Job[Any]
