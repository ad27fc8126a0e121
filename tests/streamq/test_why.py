"""Why a job is not running, in words: one case per reason."""

from __future__ import annotations

from typing import Any

import pytest

from streamq.broker import DeadJob, DoneJob, Sighting, StreamStats, WorkerFacts, WorkerSeen
from streamq.job import Envelope
from streamq.limits import Limit
from streamq.retry import Retry
from streamq.why import Surroundings, duration, explain

NOW = 1_767_225_600_000
ENVELOPE = Envelope(id="j", payload=b"{}")
SECOND = Envelope(id="j", payload=b"{}", attempt=2, note="TimeoutError:\nno answer")
SLOTS = Envelope(id="j", payload=b"{}", limit=Limit("k", running=3))
RATE = Envelope(id="j", payload=b"{}", limit=Limit("shop.test", rate=0.5, burst=2))
UP = WorkerSeen("w1", 5, 7, 1.0, WorkerFacts(slots=5))
QUIET = WorkerSeen("w2", 0, 7, 1.0, WorkerFacts(slots=5, quiet=True))
SILENT = WorkerSeen("w3", 2, 7, 75.0, WorkerFacts(slots=5))
STRANGER = WorkerSeen("w4", 1)


def seen(state: Any, **options: Any) -> Sighting:
    return Sighting(
        stream="jobs", job_id="j", state=state, server_ms=NOW, **({"envelope": ENVELOPE} | options)
    )


def stats(**options: Any) -> StreamStats:
    numbers: dict[str, Any] = {
        "ready": {"high": 4, "normal": 9, "low": 0}, "leased": 5, "delayed": 0, "dead": 0, "done": 0,
        "oldest_seconds": None, "workers": 1, "paused": False, "counters": {},
    }  # fmt: skip
    return StreamStats("jobs", **(numbers | options))


def letter(**options: Any) -> DeadJob:
    fields = {"reason": "exhausted", "error": "ValueError: no", "traceback": "", "attempts": 3}
    return DeadJob("1-0", ENVELOPE, died_ms=NOW - 3_725_000, **(fields | options))


LINE = "3 jobs are before it in the normal lane and 4 in the lanes above"
ALONE = "2 crashes so far: when the next may bury it, it runs alone"


@pytest.mark.parametrize(
    ("sighting", "around", "sentence"),
    [
        (
            seen("ready", before=3),
            {"workers": [UP]},
            f"{LINE}; 1 worker with 5 slots has 5 in hand",
        ),
        (
            seen("ready", before=3, envelope=Envelope(id="j", payload=b"{}", crashes=2)),
            {"workers": [UP]},
            f"{LINE}; {ALONE}; 1 worker with 5 slots has 5 in hand",
        ),
        (seen("ready", before=3), {"stats": stats(paused=True)}, f"the stream is paused; once it is resumed, {LINE}"),
        (seen("ready", before=3), {}, f"no worker is up for jobs; {LINE}"),
        (seen("ready", before=3), {"workers": [STRANGER]}, f"no worker is up for jobs; {LINE}"),
        (seen("ready", before=3), {"workers": [QUIET]}, f"1 worker of jobs is quiet; {LINE}"),
        (seen("ready", before=3), {"workers": [SILENT]}, f"no worker of jobs was heard for 1 m 15 s; {LINE}"),
        (
            seen("ready", before=1, envelope=Envelope(id="j", payload=b"", lane="high")),
            {"workers": [UP, QUIET]},
            "1 job is before it in the high lane; 2 workers with 10 slots have 5 in hand",
        ),
        (seen("ready", cancel_asked=True), {}, "cancelled: the next worker that meets it ends it"),
        (
            seen("delayed", due_in=250.4, envelope=SECOND),
            {"retry": Retry(delays=(30, 120))},
            "due in 4 m 10 s, attempt 2 of 3, after TimeoutError: no answer",
        ),
        (seen("delayed", due_in=0.5), {}, "due in 500 ms, attempt 1"),
        (
            seen("parked", running=3, before=4, envelope=SLOTS),
            {},
            "waits for a slot of key k: 3 of 3 running; 4 jobs are before it",
        ),
        (
            seen("parked", free_in=1.5, envelope=RATE),
            {},
            "rate limit of key shop.test (0.5 a second, 2 at once): the next may start in 1 s",
        ),
        (
            seen("parked", running=1, envelope=RATE),
            {},
            "rate limit of key shop.test: waits until one that is ready has started",
        ),
        (
            seen("parked", running=1, behind="j0"),
            {},
            "waits until job j0 of the same uniqueness key has ended",
        ),
        (seen("delayed", due_in=-3.0), {"workers": [UP]}, "due for 3 s: the next turn of a worker makes it ready, attempt 1"),
        (seen("delayed", due_in=-3.0), {}, "due for 3 s, and no worker is up for jobs to make it ready, attempt 1"),
        (
            seen("leased", worker="w1", held_seconds=12.0, envelope=Envelope(id="j", payload=b"", crashes=2)),
            {"workers": [UP]},
            "it runs: held by w1 for 12 s, attempt 1, 2 crashes",
        ),
        (
            seen("leased", worker="w3", held_seconds=90.0, silent_seconds=75.0, cancel_asked=True),
            {"workers": [SILENT]},
            "it runs: held by w3 for 1 m 30 s, attempt 1; that worker was not heard for 1 m 15 s; it was asked to stop",
        ),
        (
            seen("leased", worker="w4", held_seconds=1.0),
            {"workers": [STRANGER]},
            "it runs: held by w4 for 1 s, attempt 1; nobody knows that worker: it is taken back when a sweep finds it",
        ),
        (
            seen("dead", dead=letter()),
            {},
            "dead for 1 h 2 m, exhausted after 3 attempts: ValueError: no; it runs again when it is requeued",
        ),
        (
            seen("dead", dead=letter(reason="crashed", error="", attempts=1)),
            {},
            "dead for 1 h 2 m, crashed after 1 attempt; it runs again when it is requeued",
        ),
        (seen("done", done=DoneJob("1-0", "j", 2, 1.0, NOW - 5000)), {}, "it is done: ended 5 s ago, attempt 2"),
        (
            seen("cancelled", done=DoneJob("1-0", "j", 1, 0.0, NOW - 5000, "cancelled")),
            {},
            "a person cancelled it: ended 5 s ago, attempt 1",
        ),
        (
            seen("unknown", looked=100_000, looked_at_all=False),
            {},
            "not found among the first 100,000 entries of jobs, and not looked further",
        ),
        (
            seen("unknown"),
            {"stats": stats(done=1000)},
            "no job of that id waits, runs or is dead in jobs; of those that ended well the last 1,000 are known",
        ),
        (seen("unknown"), {}, "no job of that id waits, runs or is dead in jobs; of those that ended well none is known"),
    ],
)  # fmt: skip
def test_each_reason_has_its_sentence(sighting: Sighting, around: dict[str, Any], sentence: str) -> None:
    assert explain(sighting, Surroundings(**({"stats": stats()} | around))) == sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 ms"), (0.85, "850 ms"), (12.9, "12 s"), (60, "1 m"), (250, "4 m 10 s"), (7380, "2 h 3 m"), (187_200, "2 d 4 h")],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words
