"""What happened, told by everybody it happened to: one append-only file per process, one line per event.

A line is one `write` on an O_APPEND descriptor, so a SIGKILL cuts none in half; the page cache keeps it, so no
fsync is needed. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec


class Event(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "e", "at": "t"}):
    """One of: enqueued (job to `last`), start, raised, snoozed, effect (verdict), ended (verdict: what the broker
    answered), and of the nemesis: kill, freeze, thaw, cut, restart, gone (worker:
    whom; 0: everybody).
    """

    kind: str
    #: Monotonic seconds.
    at: float
    #: Process id of the worker.
    worker: int = 0
    job: int = -1
    last: int = -1
    attempt: int = 0
    crashes: int = 0
    fence: int = 0
    verdict: str = ""
    #: Milliseconds of the wall clock, where a due time is at stake.
    wall_ms: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


class History:
    """This process's file."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(
            folder / f"history-{os.getpid()}-{time.monotonic_ns()}.jsonl",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND,
            0o600,
        )
        self._pid = os.getpid()

    def write(self, kind: str, *, worker: int | None = None, **facts: int | str) -> None:
        event = Event(kind, time.monotonic(), self._pid if worker is None else worker, **facts)  # type: ignore[arg-type]
        os.write(self._file, _encoder.encode(event) + b"\n")

    def close(self) -> None:
        os.close(self._file)


def read(folder: Path) -> list[Event]:
    """All that was written there, in the order in which it happened."""
    events: list[Event] = []
    for file in folder.glob("history-*.jsonl"):
        events += map(_decoder.decode, file.read_bytes().splitlines())
    events.sort(key=lambda event: event.at)
    return events
