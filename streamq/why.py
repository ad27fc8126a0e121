"""Why a job is not running, in one sentence: what was seen, put into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from streamq.broker import JobState, Sighting, StreamStats, WorkerSeen
from streamq.keys import LANES
from streamq.retry import Retry

#: Seconds without a heartbeat after which a worker is said to be silent.
SILENT: Final = 15.0
#: Characters of an error that a sentence carries.
ERROR_SHOWN: Final = 200


class Surroundings(msgspec.Struct, frozen=True):
    """What is known of a job's stream."""

    stats: StreamStats
    workers: Sequence[WorkerSeen] = ()
    #: The stream's retry policy, where it is known; a job's own wins.
    retry: Retry | None = None


def explain(seen: Sighting, around: Surroundings) -> str:
    """One sentence, without a full stop."""
    return _EXPLANATIONS[seen.state](seen, around)


def _ready(seen: Sighting, around: Surroundings) -> str:
    if seen.cancel_asked:
        return "cancelled: the next worker that meets it ends it"
    line = _line_before(seen, around.stats)
    if around.stats.paused:
        return f"the stream is paused; once it is resumed, {line}"
    up = [one for one in around.workers if one.beat is not None]
    if not up:
        return f"no worker is up for {seen.stream}; {line}"
    told = [one for one in up if one.heard_seconds is not None]
    if up == told and all(one.facts.quiet for one in up):
        return f"{_count(len(up), 'worker')} of {seen.stream} {_are(len(up))} quiet; {line}"
    silent = [one for one in told if (one.heard_seconds or 0.0) > SILENT]
    if up == silent:
        ago = duration(min(one.heard_seconds or 0.0 for one in silent))
        return f"no worker of {seen.stream} was heard for {ago}; {line}"
    slots = sum(one.facts.slots for one in told)
    busy = f"{_have(len(up))} {around.stats.leased:,} in hand"
    return f"{line}; {_count(len(up), 'worker')} with {_count(slots, 'slot')} {busy}"


def _line_before(seen: Sighting, stats: StreamStats) -> str:
    lane = seen.envelope.lane if seen.envelope is not None else "normal"
    above = sum(stats.ready[higher] for higher in LANES[: LANES.index(lane)])
    line = f"{_count(seen.before, 'job')} {_are(seen.before)} before it in the {lane} lane"
    if above:
        line = f"{line} and {above:,} in the lanes above"
    if seen.envelope is not None and seen.envelope.crashes:
        crashes = _count(seen.envelope.crashes, "crash", "crashes")
        line = f"{line}; {crashes} so far: when the next may bury it, it runs alone"
    return line


def _delayed(seen: Sighting, around: Surroundings) -> str:
    words = f"due in {duration(seen.due_in)}" if seen.due_in > 0 else _overdue(seen, around)
    if seen.envelope is None:
        return words
    words += f", {_attempt(seen, around.retry)}"
    note = seen.envelope.note
    return f"{words}, after {_cut(note)}" if note else words


def _parked(seen: Sighting, _: Surroundings) -> str:
    limit = seen.envelope.limit if seen.envelope is not None else None
    before = f"; {_count(seen.before, 'job')} {_are(seen.before)} before it" if seen.before else ""
    if seen.behind is not None or limit is None:
        return f"waits until job {seen.behind or '(unknown)'} of the same uniqueness key has ended{before}"
    if seen.free_in is not None:
        per = f"{limit.rate:g} a second" + (f", {limit.burst} at once" if limit.burst > 1 else "")
        free = f"the next may start in {duration(seen.free_in)}"
        return f"rate limit of key {_cut(limit.key)} ({per}): {free}{before}"
    if limit.running is not None and seen.running >= limit.running:
        return f"waits for a slot of key {_cut(limit.key)}: {seen.running} of {limit.running} running{before}"
    return f"rate limit of key {_cut(limit.key)}: waits until one that is ready has started{before}"


def _overdue(seen: Sighting, around: Surroundings) -> str:
    late = f"due for {duration(-seen.due_in)}"
    if around.workers:
        return f"{late}: the next turn of a worker makes it ready"
    return f"{late}, and no worker is up for {seen.stream} to make it ready"


def _attempt(seen: Sighting, policy: Retry | None) -> str:
    """`attempt 2 of 3`, and the crashes where there were any."""
    if seen.envelope is None:
        return ""
    retry = seen.envelope.retry or policy
    words = f"attempt {seen.envelope.attempt}" + (f" of {retry.attempts}" if retry else "")
    crashes = seen.envelope.crashes
    return f"{words}, {_count(crashes, 'crash', 'crashes')}" if crashes else words


def _leased(seen: Sighting, around: Surroundings) -> str:
    words = (
        f"it runs: held by {seen.worker} for {duration(seen.held_seconds)}, {_attempt(seen, around.retry)}"
    )
    known = {one.name for one in around.workers if one.beat is not None}
    if seen.worker not in known:
        words += "; nobody knows that worker: it is taken back when a sweep finds it"
    elif seen.silent_seconds > SILENT:
        words += f"; that worker was not heard for {duration(seen.silent_seconds)}"
    return f"{words}; it was asked to stop" if seen.cancel_asked else words


def _dead(seen: Sighting, _: Surroundings) -> str:
    letter = seen.dead
    if letter is None:
        return "dead"
    ago = duration((seen.server_ms - letter.died_ms) / 1000)
    tries = _count(letter.attempts, "attempt")
    because = f": {_cut(letter.error)}" if letter.error else ""
    return f"dead for {ago}, {letter.reason} after {tries}{because}; it runs again when it is requeued"


def _done(seen: Sighting, _: Surroundings) -> str:
    return f"it is done: {_ended(seen)}"


def _cancelled(seen: Sighting, _: Surroundings) -> str:
    return f"a person cancelled it: {_ended(seen)}"


def _ended(seen: Sighting) -> str:
    record = seen.done
    if record is None:
        return "just now"
    ago = duration((seen.server_ms - record.finished_ms) / 1000)
    return f"ended {ago} ago, attempt {record.attempt}"


def _unknown(seen: Sighting, around: Surroundings) -> str:
    if not seen.looked_at_all:
        return f"not found among the first {seen.looked:,} entries of {seen.stream}, and not looked further"
    kept = f"the last {around.stats.done:,} are known" if around.stats.done else "none is known"
    return f"no job of that id waits, runs or is dead in {seen.stream}; of those that ended well {kept}"


_EXPLANATIONS: Final[Mapping[JobState, Callable[[Sighting, Surroundings], str]]] = {
    "ready": _ready,
    "delayed": _delayed,
    "parked": _parked,
    "leased": _leased,
    "dead": _dead,
    "done": _done,
    "cancelled": _cancelled,
    "unknown": _unknown,
}


# --- words ---------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """`850 ms`, `12 s`, `4 m 10 s`, `5 h 3 m`, `2 d 4 h`."""
    if seconds < 1:
        return f"{max(0, int(seconds * 1000))} ms"
    whole = int(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= ERROR_SHOWN else line[: ERROR_SHOWN - 1] + "…"
