"""Everything changes at once: what becomes of ten thousand changes, counted from outside.

    python bench/storm.py [--changes 10000] [--processes 2] [--rate PER_MINUTE]

One rule set, a page per rule, all of which change at the same moment. A quarter of the rules is
critical (told one by one), a quarter goes to a digest by host, a quarter to a channel that takes
`--rate` messages a minute, a quarter has titles that look alike (flood: "N more like this"). Real
`sentinel-worker run --processes N`, embedded Valkey, SQLite, loopback HTTP.

What is printed: alerts decided, sent and held by reason, members that digests told, webhooks the
receiver counted, the busiest minute of the limited channel, and the most memory each worker used.
Exit code 1 when something does not add up.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import json
import os
import sqlite3
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sentinel.embedded import EmbeddedRedis
from sentinel.jobs import ALERTS_DISPATCH, RULES_RUN, RunRule
from streamq import Queue, RedisBroker

ROOT = Path(__file__).resolve().parent.parent
#: Seconds without any progress after which the run is given up.
PATIENCE = 300.0
KINDS = ("critical", "digest", "limited", "alike")
#: Seconds of a digest's window.
WINDOW = 60


class Street:
    """All pages and the receiver, on one event loop in a thread."""

    def __init__(self) -> None:
        self.value = 100
        #: (channel, monotonic seconds, webhook-id, members told) of each message.
        self.told: list[tuple[str, float, str, int]] = []

    @contextmanager
    def open(self) -> Iterator[int]:
        """Serve on every loopback address; yields the port."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._serve, "0.0.0.0", 0))  # noqa: S104 - all of 127/8
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split(" ", 2)
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if method == "POST":
                    self._take(path, headers, json.loads(body))
                    page = b"thanks"
                else:
                    page = f"<html><body><p class=n>{self.value}</p></body></html>".encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(page), page)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _take(self, path: str, headers: dict[str, str], message: dict[str, Any]) -> None:
        data = message["data"]
        members = len(data.get("members") or ()) + int(data.get("more") or 0)
        self.told.append((path.removeprefix("/"), time.monotonic(), headers["webhook-id"], members))


def words() -> Iterator[str]:
    """Names that differ in letters, so that their titles do not look alike."""
    for letters in itertools.product(string.ascii_lowercase, repeat=4):
        yield "".join(letters)


def rules_file(port: int, changes: int, rate: float) -> dict[str, Any]:
    """The rule set."""
    hook = f"http://127.0.0.1:{port}"
    names = words()
    rules = []
    for number in range(changes):
        kind = KINDS[number % len(KINDS)]
        name = f"alike {number}" if kind == "alike" else f"{kind} {next(names)}"
        severity = "critical" if kind == "critical" else "warning"
        rules.append(
            {
                "id": f"r{number}",
                "name": name,
                "url": f"http://127.0.0.{number % 5 + 1}:{port}/{number}",
                "type": "number",
                "tags": [kind],
                "extraction": {"method": "css", "selector": ".n"},
                "schedule": {"intervalSeconds": 86400},
                "alertPolicy": {
                    "requireConsecutive": 1,
                    "conditions": [{"id": "moved", "type": "number_changed", "severity": severity}],
                },
            }
        )
    return {
        "workspace": {
            "id": "storm",
            "flood": {"alerts": 20, "within": 30},
            "routes": [
                {"id": "oncall", "severity": "critical", "channels": ["critical"]},
                {
                    "id": "digests",
                    "tags": ["digest"],
                    "channels": ["digest"],
                    "digest": {"by": "host", "every": WINDOW},
                },
                {"id": "slow", "tags": ["limited"], "channels": ["limited"]},
                {"id": "rest", "channels": ["alike"]},
            ],
        },
        "channels": [
            {"id": kind, "type": "webhook", "url": f"{hook}/{kind}"}
            | ({"ratePerMinute": rate} if kind == "limited" else {})
            for kind in KINDS
        ],
        "rules": rules,
    }


class Counts(msgspec.Struct, kw_only=True):
    """What became of everything."""

    changes: int
    seconds: float
    alerts: int
    #: By what holds or held them; None: sent by itself.
    decided: dict[str | None, int]
    digests: int
    members_told: int
    webhooks: dict[str, int]
    repeated: int
    undelivered: int
    busiest_minute: int
    rate: float
    #: MiB, of each worker process.
    memory: list[float]

    def trouble(self) -> list[str]:
        """What does not add up."""
        held = sum(many for why, many in self.decided.items() if why is not None)
        alone = self.decided.get(None, 0)
        checks = [
            (self.alerts == self.changes, f"{self.changes} changes made {self.alerts} alerts"),
            (
                sum(self.webhooks.values()) == alone + self.digests,
                f"{alone} alerts and {self.digests} digests made {sum(self.webhooks.values())} webhooks",
            ),
            (self.members_told == held, f"{held} were held, digests told {self.members_told}"),
            (self.undelivered == 0, f"{self.undelivered} deliveries have not ended as sent"),
            (self.repeated == 0, f"{self.repeated} webhooks came twice"),
            (
                self.busiest_minute <= self.rate + 1,
                f"the limited channel took {self.busiest_minute} in a minute",
            ),
        ]
        return [text for fine, text in checks if not fine]

    def __str__(self) -> str:
        decided = ", ".join(f"{why or 'sent by itself'} {many}" for why, many in self.decided.items())
        short = "" if self.busiest_minute >= 0.9 * self.rate else " (not reached)"
        told = ", ".join(f"{channel} {many}" for channel, many in self.webhooks.items())
        return "\n".join(
            (
                f"{self.changes} changes at once, done after {self.seconds:.0f} s",
                f"alerts {self.alerts}: {decided}",
                f"digests {self.digests}, which told {self.members_told} members",
                f"webhooks accepted: {told}; twice {self.repeated}; not delivered {self.undelivered}",
                f"limited channel: at most {self.busiest_minute} in a minute, {self.rate:.0f} allowed{short}",
                f"memory of each worker at most: {', '.join(f'{mib:.0f} MiB' for mib in self.memory)}",
                *self.trouble(),
            )
        )


def storm(changes: int, processes: int, rate: float) -> Counts:
    """Raises RuntimeError when nothing moves for long."""
    street = Street()
    with tempfile.TemporaryDirectory(prefix="storm-") as name, street.open() as port:
        folder = Path(name)
        server = EmbeddedRedis(folder / "redis")
        server.start()
        environ = os.environ | {
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": server.url,
            "DATABASE_URL": f"sqlite:///{folder}/storm.db",
            "SENTINEL_STATE_DIR": str(folder / "state"),
            "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
            "RATE_LIMITING_ENABLED": "false",
            "WORKER_CONCURRENCY_RULES": "10",
        }
        file = folder / "rules.yaml"
        file.write_text(yaml.dump(rules_file(port, changes, rate), Dumper=yaml.CSafeDumper))
        program = [sys.executable, "-m", "sentinel.cli.main"]
        try:
            subprocess.run(
                [*program, "rules", "import", str(file)], env=environ, check=True, stdout=subprocess.DEVNULL
            )
            worker = subprocess.Popen(
                [*program, "run", "--processes", str(processes)],
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                rows = Rows(folder / "storm.db")
                follow = _follow(server.url, rows, street, changes=changes, rate=rate, worker=worker)
                return asyncio.run(follow)
            finally:
                worker.terminate()
                worker.wait()
        finally:
            server.stop()


class Rows:
    """What the database says, read from outside."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)

    def count(self, table: str, where: str = "1") -> int:
        """Rows of a table."""
        ((many,),) = self._database.execute(f"SELECT count(*) FROM {table} WHERE {where}")  # noqa: S608 - ours
        return int(many)

    def decided(self) -> dict[str | None, int]:
        """Alerts by what holds or held them; digests, which tell others, left out."""
        return dict(
            self._database.execute(
                "SELECT suppressed, count(*) FROM alert WHERE kind != 'digest' GROUP BY 1 ORDER BY 1"
            )
        )


async def _until(
    worker: subprocess.Popen[bytes], progress: Callable[[], Awaitable[int]], goal: Callable[[], int]
) -> None:
    """Return at the goal; raise when nothing has moved for long, or nobody works."""
    last, since = -1, time.monotonic()
    while (now := await progress()) < goal():
        if now != last:
            last, since = now, time.monotonic()
        if worker.poll() is not None:
            raise RuntimeError(f"the worker ended with {worker.returncode}")
        if time.monotonic() - since > PATIENCE:
            raise RuntimeError(f"stopped at {now} of {goal()}")
        await asyncio.sleep(0.5)


async def _follow(
    url: str, rows: Rows, street: Street, *, changes: int, rate: float, worker: subprocess.Popen[bytes]
) -> Counts:
    """Wait for the first values, change everything, wait until everybody has been told."""

    async def observations() -> int:
        return rows.count("observation")

    def pending() -> int:
        return rows.count("delivery", "state NOT IN ('sent', 'skipped')")

    def members() -> int:
        return sum(many for *_, many in street.told)

    def held() -> int:
        return rows.count("alert", "kind != 'digest' AND suppressed IS NOT NULL")

    async with RedisBroker.from_url(url) as broker:

        async def told() -> int:
            """Members that digests told, short of what is still on its way."""
            stats = await broker.stats(ALERTS_DISPATCH)
            return members() - pending() - stats.leased - stats.delayed - sum(stats.ready.values())

        await _until(worker, observations, lambda: changes)  # the scheduler's first check of each rule
        street.value += 1
        began = time.monotonic()
        await _check_all(Queue(RULES_RUN, broker), changes)
        await _until(worker, observations, lambda: 2 * changes)
        await _until(worker, told, held)
    ids = [message for _, _, message, _ in street.told]
    decided = rows.decided()
    return Counts(
        changes=changes,
        seconds=time.monotonic() - began,
        alerts=sum(decided.values()),
        decided=decided,
        digests=rows.count("alert", "kind = 'digest'"),
        members_told=members(),
        webhooks=dict(collections.Counter(channel for channel, *_ in street.told)),
        repeated=len(ids) - len(set(ids)),
        undelivered=pending(),
        busiest_minute=_busiest(sorted(at for channel, at, *_ in street.told if channel == "limited")),
        rate=rate,
        memory=_memory(worker.pid),
    )


async def _check_all(queue: Queue, changes: int) -> None:
    for start in range(0, changes, 500):
        numbers = range(start, min(start + 500, changes))
        await queue.enqueue_many(
            [
                RunRule(rule_id=f"r{n}", trigger="manual_test", requested_at="2026-01-01T00:00:00Z")
                for n in numbers
            ]
        )


def _busiest(times: Sequence[float]) -> int:
    """Most messages within any 60 seconds."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 60:
            first += 1
        most = max(most, last - first + 1)
    return most


def _memory(parent: int) -> list[float]:
    """The most resident memory of each child so far, MiB."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if status["PPid"].strip() == str(parent) and b"sentinel.cli.main" in command:
            found.append(int(status["VmHWM"].split()[0]) / 1024)
    return sorted(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1: something does not add up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--rate",
        type=float,
        help="messages a minute of the limited channel (default: a third of what it gets)",
    )
    options = parser.parse_args(argv)
    rate = options.rate or max(1.0, options.changes / len(KINDS) / 3)
    counts = storm(options.changes, options.processes, rate)
    print(counts)
    return 1 if counts.trouble() else 0


if __name__ == "__main__":
    raise SystemExit(main())
