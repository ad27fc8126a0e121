"""What one run of one engine in one scenario gave; frozen, as it is written to the results file."""

from __future__ import annotations

from typing import Any

import msgspec


class Measure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Per-job figures are None where the scenario does not have them, or where it went wrong."""

    scenario: str
    engine: str
    #: Counted from 1; engines take turns within a round.
    round: int
    jobs: int
    #: Jobs a second.
    rate: float | None = None
    #: Microseconds of CPU of the engine's process, per job.
    process_us: float | None = None
    #: Microseconds of CPU of the server, per job.
    server_us: float | None = None
    #: Commands the server ran per job, those inside its scripts included.
    commands: float | None = None
    #: Times the server read from a socket, per job: about the number of round trips.
    reads: float | None = None
    #: Bytes the server's memory grew, per job.
    bytes: float | None = None
    #: Milliseconds from when a job could start to its start, half and 99 % of the jobs; how many were early.
    p50_ms: float | None = None
    p99_ms: float | None = None
    early: int | None = None
    #: Seconds until all had run.
    seconds: float | None = None
    #: Commands the server ran a second while nobody had anything to do.
    idle: float | None = None
    #: Requests a worker sent a second meanwhile: times the server read from a socket.
    idle_reads: float | None = None
    #: Jobs that never ran before the deadline.
    missing: int | None = None
    #: Jobs that ran more than once.
    twice: int | None = None
    #: Why there are no figures, in the words of what went wrong.
    trouble: str | None = None


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One session of measuring: a file in bench/results/."""

    #: `YYYY-MM-DD HH:MM` UTC.
    made: str
    #: quick, short or long.
    form: str
    #: Where: cores, server, load, commit.
    machine: dict[str, Any]
    #: Versions and settings of each engine, as it tells them itself.
    engines: dict[str, Any]
    measures: list[Measure]
