"""What one check costs: pages of 60 KB over loopback, a price by CSS, beside other programs that watch pages.

    python -m bench.checks                                      every program, every kind of page
    python -m bench.checks --programs sentinel,bare --kinds noise --checks 2000
    python -m bench.checks --programs sentinel --checks 50000   memory at 10, 50 and 100 %
    python -m bench.checks --programs sentinel --profile /tmp/worker.prof       where a worker's time goes

"checks/s" is told by the shop: pages served, from the first to the last. "CPU ms" is the program's user and
system time with all its children, less that of a run with nothing to do, per check. "MiB" is resident
memory of its processes together, at its peak and at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import yaml

from bench.fleet import PEERS
from bench.server import Server, find, free_port
from sentinel.jobs import RULES_RUN, RunRule
from streamq import NewJob, Queue, RedisBroker

ROOT = Path(__file__).resolve().parent.parent
KINDS: Final = ("same", "noise", "change")
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: Seconds a program may take for all of its checks.
PATIENCE: Final = 1800.0


class Load(msgspec.Struct, frozen=True):
    """What there is to check."""

    #: Of the shop's pages of one kind.
    base: str
    rules: int
    checks: int
    concurrency: int
    folder: Path
    profile: Path | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What it came to."""

    pages: int
    rate: float
    cpu_ms: float
    peak: float
    final: float
    #: Resident MiB when 10, 50 and 100 % of the pages had been served.
    on_the_way: tuple[float, ...] = ()


# --- looking at processes -------------------------------------------------------------------------


def tree(pid: int) -> list[int]:
    """A process and all that came of it."""
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
    return found


def resident(pid: int) -> float:
    """MiB of a process and all that came of it; what they share is counted for each."""
    pages = 0
    for one in tree(pid):
        with contextlib.suppress(OSError, IndexError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * PAGE / (1 << 20)


def spent(pid: int) -> float:
    """Seconds of processor time of a process and all that came of it, ended children included."""
    ticks = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


class Watch:
    """Looks at a program's memory while it runs."""

    def __init__(self, pid: int, progress: Callable[[], float]) -> None:
        self.samples: list[tuple[float, float]] = []
        self._pid, self._progress = pid, progress
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            if (memory := resident(self._pid)) > 0:
                self.samples.append((self._progress(), memory))

    def at(self, share: float) -> float:
        """MiB once so much of the work was done."""
        return next((memory for done, memory in self.samples if done >= share), self.samples[-1][1])


# --- the shop -------------------------------------------------------------------------------------


class Shop:
    """`bench.pages` in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", "bench.pages", str(self.port)], cwd=ROOT)
        for _ in range(200):
            with contextlib.suppress(OSError):
                self.told()
                return self
            time.sleep(0.05)
        raise RuntimeError("the shop does not open")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def told(self, *, reset: bool = False) -> Mapping[str, float]:
        """Pages served, and when the first and the last."""
        with urllib.request.urlopen(f"{self.url}/-/{'reset' if reset else 'stats'}") as answer:  # noqa: S310 - ours
            said: dict[str, float] = json.load(answer)
            return said


# --- the programs ---------------------------------------------------------------------------------


def run(
    command: Sequence[str | Path], environ: Mapping[str, str], load: Load, shop: Shop, *, pages: int
) -> tuple[float, list[tuple[float, float]]]:
    """A program that ends by itself: seconds of CPU, and its memory on the way."""
    log = (load.folder / "log").open("ab")
    process = subprocess.Popen(
        list(map(str, command)), env={**os.environ, **environ}, cwd=load.folder, stdout=log, stderr=log
    )
    with Watch(process.pid, lambda: shop.told()["pages"] / max(1, pages)) as watch:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.wait(PATIENCE) not in (0, 1):
            raise RuntimeError((load.folder / "log").read_text(errors="replace")[-2000:])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, watch.samples


class Sentinel:
    """Jobs wait in Redis; one worker process runs until they are done. SQLite."""

    name = "sentinel"

    def measure(self, load: Load, shop: Shop) -> Cost:
        with Server(find("valkey")) as server:
            environ = {
                "PYTHONPATH": str(ROOT),
                "REDIS_URL": server.url,
                "SENTINEL_STATE_DIR": str(load.folder / "state"),
                "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
                "RATE_LIMITING_ENABLED": "false",
                "WORKER_CONCURRENCY_RULES": str(load.concurrency),
                "SENTINEL_SCHEDULER": "false",
            }
            program = [sys.executable, "-m", "sentinel.cli.main"]
            profiled = [sys.executable, "-m", "cProfile", "-o", str(load.profile), "-m", "sentinel.cli.main"]
            rules = load.folder / "rules.yaml"
            rules.write_text(yaml.safe_dump(self._rules(load)))
            run([*program, "rules", "import", rules], environ, load, shop, pages=0)
            burst = ["run", "--burst", "--stream", RULES_RUN]
            idle, _ = run([*program, *burst], environ, load, shop, pages=0)
            asyncio.run(self._enqueue(server.url, load))
            shop.told(reset=True)
            worker = program if load.profile is None else profiled
            cpu, samples = run([*worker, *burst], environ, load, shop, pages=load.checks)
            return cost(shop, cpu - idle, samples)

    def _rules(self, load: Load) -> dict[str, Any]:
        rule = {
            "type": "price",
            "extraction": {"method": "css", "selector": ".price"},
            "schedule": {"intervalSeconds": 86400},
        }
        return {
            "workspace": {"id": "bench"},
            "channels": [{"id": "console", "type": "console"}],
            "rules": [{"id": f"r{n}", "url": f"{load.base}/{n}", **rule} for n in range(load.rules)],
        }

    async def _enqueue(self, url: str, load: Load) -> None:
        async with RedisBroker.from_url(url) as broker:
            queue = Queue(RULES_RUN, broker)
            for start in range(0, load.checks, 500):
                jobs = []
                for number in range(start, min(start + 500, load.checks)):
                    payload = RunRule(
                        rule_id=f"r{number % load.rules}",
                        trigger="schedule",
                        requested_at="2026-01-01T00:00:00Z",
                    )
                    jobs.append(NewJob(payload=msgspec.json.encode(payload), id=f"check-{number}"))
                await queue.enqueue_jobs(jobs)


class Bare:
    """The limit; see `bench.bare_checks`."""

    name = "bare"

    def measure(self, load: Load, shop: Shop) -> Cost:
        python = PEERS / "bare/bin/python"
        command: list[str | Path] = [python, "-m", "bench.bare_checks", load.base, str(load.rules)]
        idle, _ = run([*command, "0", "1", load.folder / "idle.db"], _HERE, load, shop, pages=0)
        shop.told(reset=True)
        words: list[str | Path] = [str(load.checks), str(load.concurrency), load.folder / "bare.db"]
        cpu, samples = run([*command, *words], _HERE, load, shop, pages=load.checks)
        return cost(shop, cpu - idle, samples)


class Webchanges:
    """Runs over all jobs, as from cron, often as it takes; the first, which only stores, is not counted."""

    name = "webchanges"

    def _command(self, load: Load, jobs: Path) -> list[str | Path]:
        places: list[str | Path] = ["--jobs", jobs, "--config", load.folder / "config.yaml"]
        places += ["--hooks", load.folder / "hooks.py", "--database", load.folder / "seen.db"]
        return [PEERS / "webchanges/bin/webchanges", *places, "--max-workers", str(load.concurrency)]

    def measure(self, load: Load, shop: Shop) -> Cost:
        home = {"HOME": str(load.folder)}
        jobs, one = load.folder / "jobs.yaml", load.folder / "one.yaml"
        jobs.write_text(yaml.safe_dump_all(self._job(load, n) for n in range(load.rules)))
        one.write_text(yaml.safe_dump_all([self._job(load, 0)]))
        run(self._command(load, jobs), home, load, shop, pages=0)
        idle, _ = run(self._command(load, one), home, load, shop, pages=0)
        shop.told(reset=True)
        cpu, samples, busy = 0.0, [], 0.0
        for _ in range(rounds := max(1, load.checks // load.rules)):
            shop.told(reset=True)
            used, seen = run(self._command(load, jobs), home, load, shop, pages=load.rules)
            told = shop.told()
            busy += told["last"] - told["first"]
            cpu += used - idle
            samples += seen
        pages = rounds * load.rules
        return cost(shop, cpu, samples, pages=pages, seconds=busy)

    def _job(self, load: Load, number: int) -> dict[str, Any]:
        return {"url": f"{load.base}/{number}", "filter": [{"css": ".price"}, "html2text"]}


class Urlwatch(Webchanges):
    """The same; it chooses how many jobs run at once by itself."""

    name = "urlwatch"

    def _command(self, load: Load, jobs: Path) -> list[str | Path]:
        places: list[str | Path] = ["--urls", jobs, "--config", load.folder / "config.yaml"]
        places += ["--hooks", load.folder / "hooks.py", "--cache", load.folder / "seen.db"]
        return [PEERS / "urlwatch/bin/urlwatch", *places]


class Changedetection:
    """Its own server; watches are made and rechecked by its API. CPU is counted while it checks."""

    name = "changedetection"

    def measure(self, load: Load, shop: Shop) -> Cost:
        port = free_port()
        environ = {
            **os.environ,
            "FETCH_WORKERS": str(load.concurrency),
            "ALLOW_IANA_RESTRICTED_ADDRESSES": "true",
            "MINIMUM_SECONDS_RECHECK_TIME": "0",
            "DISABLE_VERSION_CHECK": "true",
            "LOGGER_LEVEL": "WARNING",
        }
        store = load.folder / "store"
        store.mkdir()
        log = (load.folder / "log").open("ab")
        process = subprocess.Popen(
            [
                PEERS / "changedetection/bin/changedetection.io",
                "-d",
                store,
                "-p",
                str(port),
                "-h",
                "127.0.0.1",
            ],
            env=environ,
            cwd=load.folder,
            stdout=log,
            stderr=log,
        )
        try:
            return self._measure(load, shop, f"http://127.0.0.1:{port}/api/v1", store, process.pid)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()

    def _measure(self, load: Load, shop: Shop, api: str, store: Path, pid: int) -> Cost:
        until(lambda: self._key(store) is not None, 60)
        until(lambda: self._ask(api, store, "/watch") is not None, 60)
        for uuid in dict(self._ask(api, store, "/watch")):
            self._ask(api, store, f"/watch/{uuid}", method="DELETE")
        shop.told(reset=True)
        for number in range(load.rules):
            self._ask(
                api,
                store,
                "/watch",
                {
                    "url": f"{load.base}/{number}",
                    "include_filters": [".price"],
                    "time_between_check": {"days": 1},
                    "fetch_backend": "html_requests",
                },
            )
        until(lambda: shop.told()["pages"] >= load.rules, PATIENCE)
        time.sleep(3.0)  # the last of the first ones is written down
        busy = cpu = 0.0
        samples: list[tuple[float, float]] = []
        rounds = max(1, load.checks // load.rules)
        with Watch(pid, lambda: 0.0) as watch:
            for _ in range(rounds):
                shop.told(reset=True)
                before = spent(pid)
                self._ask(api, store, "/watch?recheck_all=1")
                until(lambda: shop.told()["pages"] >= load.rules, PATIENCE)
                told = shop.told()
                busy += told["last"] - told["first"]
                time.sleep(1.0)
                cpu += spent(pid) - before
            samples = watch.samples
        return cost(shop, cpu, samples, pages=rounds * load.rules, seconds=busy)

    def _key(self, store: Path) -> str | None:
        for file in store.glob("*.json"):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                key: str = json.loads(file.read_text())["settings"]["application"]["api_access_token"]
                return key
        return None

    def _ask(self, api: str, store: Path, path: str, body: Any = None, *, method: str | None = None) -> Any:
        asked = urllib.request.Request(  # noqa: S310 - ours
            api + path,
            None if body is None else json.dumps(body).encode(),
            {"x-api-key": self._key(store) or "", "content-type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(asked) as answer:  # noqa: S310 - ours
                said = answer.read()
        except OSError as error:
            if not hasattr(error, "code"):
                return None
            raise
        return json.loads(said) if said.startswith((b"{", b"[", b'"')) else said


PROGRAMS: Final = {
    program.name: program for program in (Sentinel(), Bare(), Changedetection(), Webchanges(), Urlwatch())
}
_HERE: Final = {"PYTHONPATH": str(ROOT)}


def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Wait for something to be so. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


def cost(
    shop: Shop,
    cpu: float,
    samples: list[tuple[float, float]],
    *,
    pages: int | None = None,
    seconds: float | None = None,
) -> Cost:
    """From what was seen."""
    told = shop.told()
    count = int(told["pages"]) if pages is None else pages
    took = told["last"] - told["first"] if seconds is None else seconds
    memory = [one for _, one in samples] or [0.0]

    def at(share: float) -> float:
        return next((one for done, one in samples if done >= share), memory[-1])

    return Cost(
        pages=count,
        rate=count / took if took > 0 else 0.0,
        cpu_ms=cpu * 1000 / max(1, count),
        peak=max(memory),
        final=memory[-1],
        on_the_way=tuple(at(share) for share in (0.1, 0.5, 0.999)),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or an exception."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.checks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--programs", default=",".join(PROGRAMS))
    parser.add_argument("--kinds", default=",".join(KINDS), help="same, noise, change")
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--checks", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--profile", type=Path, help="of sentinel's worker, by cProfile, which slows it")
    options = parser.parse_args(argv)
    print(f"{options.rules} rules, {options.checks} checks, {options.concurrency} at once")
    heads = f"{'':17}{'page':8}{'checks':>8}{'checks/s':>10}{'CPU ms':>8}{'MiB peak':>10}{'end':>7}"
    print(f"{heads}   at 10, 50, 100 %")
    with Shop() as shop:
        for kind in options.kinds.split(","):
            for name in options.programs.split(","):
                print(_line(name, kind, shop, options), flush=True)
    return 0


def _line(name: str, kind: str, shop: Shop, options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        load = Load(
            f"{shop.url}/{kind}",
            options.rules,
            options.checks,
            options.concurrency,
            Path(folder),
            options.profile if name == "sentinel" else None,
        )
        try:
            cost = PROGRAMS[name].measure(load, shop)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
            return f"{name:17}{kind:8} did not run: {str(error)[-1500:] or type(error).__name__}"
    way = " ".join(f"{one:.0f}" for one in cost.on_the_way)
    return (
        f"{name:17}{kind:8}{cost.pages:8}{cost.rate:10.1f}{cost.cpu_ms:8.2f}"
        f"{cost.peak:10.0f}{cost.final:7.0f}   {way}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
