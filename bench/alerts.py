"""From change to accepted webhook: how long a change takes to arrive, p50 and p99, as a table.

    python bench/alerts.py [--changes 200] [--out FILE.json]

A page changes; a check of its rule is enqueued at once; the receiver takes the webhook. Measured on
one clock, in this process: from the moment the page was served with its new value ("seen"), and from
the enqueue ("asked"), to the webhook's arrival at the receiver. One `sentinel-worker run` of its own
process, embedded Valkey (append-only file, as in production), SQLite, one change at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import yaml

from sentinel.embedded import EmbeddedRedis
from sentinel.jobs import RULES_RUN, RunRule
from streamq import Queue, RedisBroker

ROOT = Path(__file__).resolve().parent.parent
#: Seconds one change may take before the run is given up.
PATIENCE = 30.0
#: Changes before the first that counts, at most as many as count: imports, connections, caches.
WARM_UP = 10


class Times(msgspec.Struct, frozen=True):
    """Milliseconds of every change."""

    seen: list[float]
    asked: list[float]


class Street:
    """The page and the receiver, and when each was last asked."""

    def __init__(self) -> None:
        self.value = 100
        self.served_at = self.told_at = 0.0
        self.told = threading.Event()

    @contextmanager
    def open(self) -> Iterator[str]:
        """Serve on loopback; yields the base URL."""
        street = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                street.served_at = time.perf_counter()
                self._answer(f"<html><body><p class=n>{street.value}</p></body></html>".encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                street.told_at = time.perf_counter()
                self._answer(b"thanks")
                street.told.set()

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: it would cost more than the answer."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()


def rules(base: str) -> str:
    """The rules file: every change counts at once, and the scheduler stays out of it."""
    return yaml.safe_dump(
        {
            "workspace": {"id": "bench"},
            "channels": [{"id": "hook", "type": "webhook", "url": f"{base}/hook"}],
            "rules": [
                {
                    "id": "number",
                    "url": f"{base}/page",
                    "type": "number",
                    "extraction": {"method": "css", "selector": ".n"},
                    "schedule": {"intervalSeconds": 86400},
                    "alertPolicy": {
                        "requireConsecutive": 1,
                        "channels": ["hook"],
                        "conditions": [{"id": "moved", "type": "number_changed"}],
                    },
                }
            ],
        }
    )


def measure(changes: int) -> Times:
    """Raises RuntimeError when a change does not arrive."""
    street = Street()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, street.open() as base:
        folder = Path(name)
        server = EmbeddedRedis(folder / "redis")
        server.start()
        environ = os.environ | {
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": server.url,
            "SENTINEL_STATE_DIR": str(folder / "state"),
            "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
            "RATE_LIMITING_ENABLED": "false",
        }
        file = folder / "rules.yaml"
        file.write_text(rules(base))
        program = [sys.executable, "-m", "sentinel.cli.main"]
        try:
            subprocess.run(
                [*program, "rules", "import", str(file)], env=environ, check=True, stdout=subprocess.DEVNULL
            )
            worker = subprocess.Popen(
                [*program, "run"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                return asyncio.run(_changes(server.url, street, changes))
            finally:
                worker.terminate()
                worker.wait()
        finally:
            server.stop()


async def _changes(url: str, street: Street, changes: int) -> Times:
    times = Times([], [])
    async with RedisBroker.from_url(url) as broker:
        queue = Queue(RULES_RUN, broker)
        while street.served_at == 0.0:  # noqa: ASYNC110 - the scheduler's first check; a thread serves it
            await asyncio.sleep(0.05)
        warm_up = min(WARM_UP, changes)
        for number in range(changes + warm_up):
            # The check before has ended: what it holds (its rule's turn) is given back a moment after.
            while (stats := await broker.stats(RULES_RUN)).leased or any(stats.ready.values()):  # noqa: ASYNC110 - the worker is another process
                await asyncio.sleep(0.01)
            street.told.clear()
            street.value += 1
            asked = time.perf_counter()
            payload = RunRule(rule_id="number", trigger="manual_test", requested_at="2026-01-01T00:00:00Z")
            await queue.enqueue(payload, job_id=f"change-{number}")
            if not await asyncio.to_thread(street.told.wait, PATIENCE):
                raise RuntimeError(f"change {number} did not arrive within {PATIENCE:g} s")
            if number >= warm_up:
                times.seen.append((street.told_at - street.served_at) * 1000)
                times.asked.append((street.told_at - asked) * 1000)
    return times


def table(times: Times) -> str:
    """A row per beginning, with percentiles."""
    lines = [
        f"{len(times.seen)} changes, each to one webhook",
        f"{'ms':28}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}",
    ]
    for name, values in (("page served to accepted", times.seen), ("check asked to accepted", times.asked)):
        cuts = statistics.quantiles(values, n=100)
        lines.append(f"{name:28}{cuts[49]:8.1f}{cuts[89]:8.1f}{cuts[98]:8.1f}{max(values):8.1f}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or an exception."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--out", type=Path, help="keep every time, as JSON")
    options = parser.parse_args(argv)
    times = measure(options.changes)
    if options.out:
        options.out.write_bytes(msgspec.json.encode(times))
    print(table(times))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
