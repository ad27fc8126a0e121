"""Effects in SQLite, as an application would write them: fenced by `job.fence`, once per job.

Beside what the application needs, every write leaves a row in one log, numbered under the database's own lock:
from it the checker judges whether a stale write was let through, without believing the application.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS newest (job TEXT PRIMARY KEY, fence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
    number INTEGER PRIMARY KEY, what TEXT NOT NULL, job TEXT NOT NULL, fence INTEGER NOT NULL, worker INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS snoozed (job TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS effects ON log (job) WHERE what = 'effect';
"""


class Entry(msgspec.Struct, frozen=True):
    """A row of the log, in the order of the commits."""

    #: begin or effect.
    what: str
    job: str
    fence: int
    worker: int


class Ledger:
    """One process's connection."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, isolation_level=None, timeout=60)
        # No fsync: the machine itself is not what fails here.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.executescript(_SCHEMA)
        self._worker = 0

    def of(self, worker: int) -> Ledger:
        """For this worker's writes."""
        self._worker = worker
        return self

    def begin(self, job: str, fence: int) -> None:
        """A delivery begins to work; an older one's writes are refused from here on."""
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute(
            "INSERT INTO newest VALUES (?, ?)"
            " ON CONFLICT (job) DO UPDATE SET fence = excluded.fence WHERE fence < excluded.fence",
            (job, fence),
        )
        self._log("begin", job, fence)
        self._database.execute("COMMIT")

    def write(self, job: str, fence: int) -> str:
        """The effect itself: `written`, `again` (an earlier delivery has written it) or `stale`."""
        self._database.execute("BEGIN IMMEDIATE")
        (newest,) = self._database.execute("SELECT fence FROM newest WHERE job = ?", (job,)).fetchone()
        there = self._database.execute(
            "SELECT 1 FROM log WHERE what = 'effect' AND job = ?", (job,)
        ).fetchone()
        verdict = "stale" if newest > fence else "again" if there else "written"
        if verdict == "written":
            self._log("effect", job, fence)
        self._database.execute("COMMIT")
        return verdict

    def may_snooze(self, job: str) -> bool:
        """True the first time it is asked."""
        asked = self._database.execute("INSERT INTO snoozed VALUES (?) ON CONFLICT DO NOTHING", (job,))
        return asked.rowcount == 1

    def _log(self, what: str, job: str, fence: int) -> None:
        self._database.execute(
            "INSERT INTO log (what, job, fence, worker) VALUES (?, ?, ?, ?)", (what, job, fence, self._worker)
        )

    def entries(self) -> list[Entry]:
        rows = self._database.execute("SELECT what, job, fence, worker FROM log ORDER BY number")
        return [Entry(*row) for row in rows]

    def close(self) -> None:
        self._database.close()
