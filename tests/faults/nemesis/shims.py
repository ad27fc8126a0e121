"""Two small libraries preloaded into the server: one moves its clock, one knows what power would have saved.

    clock   gettimeofday, time and clock_gettime(CLOCK_REALTIME) answer with an offset that the test writes; the
            monotonic clock stays. libfaketime keeps this server from starting.
    power   counts the bytes written to the append-only file, and those of them that a completed fsync covers. A
            SIGKILL and a file cut to the second number is what a power cut leaves (the page cache survives a SIGKILL
            alone, so that proves nothing about fsync).

Both are compiled by the C compiler of the machine; without one, whoever needs them says so.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile int64_t *offset;
__attribute__((constructor)) static void attach(void) {
  int file = open(getenv("SHIM_FILE"), O_RDWR);
  offset = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
}
int clock_gettime(clockid_t which, struct timespec *t) {
  int got = syscall(SYS_clock_gettime, which, t);
  if ((which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) && offset) t->tv_sec += *offset;
  return got;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *where) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (where) *where = now.tv_sec;
  return now.tv_sec;
}
"""

_POWER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static volatile int64_t *seen; /* written, durable */
__attribute__((constructor)) static void attach(void) {
  int file = open(getenv("SHIM_FILE"), O_RDWR);
  seen = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
}
static int is_log(int file) {
  char link[64], path[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, ".incr.aof") != 0;
}
ssize_t write(int file, const void *bytes, size_t count) {
  ssize_t done = syscall(SYS_write, file, bytes, count);
  if (done > 0 && seen && is_log(file)) __sync_fetch_and_add(&seen[0], done);
  return done;
}
static int synced(int number, int file) {
  int64_t before = seen && is_log(file) ? seen[0] : -1;
  int done = syscall(number, file);
  if (!done && before >= 0 && before > seen[1]) seen[1] = before;
  return done;
}
int fsync(int file) { return synced(SYS_fsync, file); }
int fdatasync(int file) { return synced(SYS_fdatasync, file); }
"""


class Shim:
    """One library and the page it shares with the test."""

    def __init__(self, folder: Path, name: str, source: str) -> None:
        """Raises FileNotFoundError where there is no C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise FileNotFoundError("no C compiler (cc, gcc)")
        folder.mkdir(parents=True, exist_ok=True)
        code, self.library, self._page = (folder / f"{name}.{end}" for end in ("c", "so", "page"))
        code.write_text(source)
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", self.library, code, "-ldl"], check=True)
        self._page.write_bytes(bytes(4096))
        with self._page.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)
        self.numbers = (ctypes.c_int64 * 2).from_buffer(self._map)

    @property
    def environ(self) -> Mapping[str, str]:
        """For the server it is preloaded into."""
        return {**os.environ, "LD_PRELOAD": str(self.library), "SHIM_FILE": str(self._page)}


def clock(folder: Path) -> Shim:
    """`numbers[0]`: seconds by which the server's wall clock is moved."""
    return Shim(folder, "clock", _CLOCK)


def power(folder: Path) -> Shim:
    """`numbers`: bytes written to the append-only file, and those that are safe."""
    return Shim(folder, "power", _POWER)
