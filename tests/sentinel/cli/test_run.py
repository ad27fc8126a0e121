"""`run` as real processes: how it starts, what signals do, and with which code it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest
import redis

from sentinel.cli.exits import Exit
from sentinel.model import AlertPolicy, Channel, Extraction, Rule, RulesFile, Schedule, Workspace
from sentinel.store import RunRecord, Store
from tests.sentinel.cli.conftest import Run
from tests.support.http import Reply, Site

TREE = Path(__file__).resolve().parents[3]
#: Seconds anything here may take on a machine that has much else to do.
DEADLINE = 90.0
RULES = "rules:run"


class Process:
    """`sentinel-worker` with these arguments; what it says is kept."""

    def __init__(self, environ: dict[str, str], folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._said = folder / f"said-{time.monotonic_ns()}"
        with self._said.open("wb") as said:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "sentinel.cli.main", *arguments],
                env=environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def says(self, words: str) -> str:
        """Wait until it has said so; returns all it said."""
        self.until(lambda: words in self.said, f"it did not say {words!r}")
        return self.said

    def until(self, condition: Callable[[], bool], complaint: str) -> None:
        """Wait while it runs."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert self._popen.poll() is None, f"it ended: {self._popen.returncode}\n{self.said}"
            assert time.monotonic() < deadline, f"{complaint}\n{self.said}"
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def ends(self, seconds: float = DEADLINE) -> int:
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {seconds:g} s\n{self.said}") from None

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()


Start = Callable[..., Process]


@pytest.fixture
def environ(environ: dict[str, str], valkey_url: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ours = {
        "PYTHONPATH": str(TREE),
        "REDIS_URL": valkey_url,
        "SENTINEL_ALLOW_PRIVATE_NETWORKS": "true",
        "RATE_LIMITING_ENABLED": "false",
        "STREAMQ_RENEW_SECONDS": "0.2",
    }
    return kept | environ | ours


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start a process; those that still run at the end are killed."""
    started: list[Process] = []

    def begin(*arguments: str, **variables: str) -> Process:
        started.append(Process(environ | variables, tmp_path / "processes", *arguments))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


class Inside:
    """What the test itself sees and does, without a process."""

    def __init__(self, environ: dict[str, str], run: Run, site: Site) -> None:
        self._url = f"sqlite:///{environ['SENTINEL_STATE_DIR']}/sentinel.db"
        self._run = run
        self.site = site
        self.redis = redis.Redis.from_url(environ["REDIS_URL"], decode_responses=True)
        Path(environ["SENTINEL_STATE_DIR"]).mkdir(parents=True)

    def _with_store(self, what: Callable[[Store], Any]) -> Any:
        async def go() -> Any:
            async with Store.open(self._url) as store:
                return await what(store)

        return anyio.run(go)

    def watch(self, *rule_ids: str, due: float = 0.0) -> None:
        """Rules on /widget that tick once."""
        rules = [
            Rule(
                id=rule_id,
                url=f"{self.site.url}/widget",
                type="price",
                extraction=Extraction(method="css", selector=".price"),
                schedule=Schedule(interval_seconds=366 * 86400),
                alert_policy=AlertPolicy(channels=["tty"]),
            )
            for rule_id in rule_ids
        ]
        channels = [Channel(id="tty", type="console")]
        file = RulesFile(workspace=Workspace(id="acme"), channels=channels, rules=rules)

        async def load(store: Store) -> None:
            await store.migrate()
            await store.import_rules(file, now=time.time(), first_due=lambda _: due)

        self._with_store(load)

    def runs(self, rule_id: str) -> list[RunRecord]:
        found: list[RunRecord] = self._with_store(lambda store: store.runs(rule_id))
        return found

    def stats(self) -> dict[str, Any]:
        return self._run("stats", "--json", "--stream", RULES).lines[0]

    def enqueue(self, rule_id: str = "widget") -> None:
        payload = {"ruleId": rule_id, "trigger": "manual_test", "requestedAt": "2026-01-31T12:00:00Z"}
        assert self._run("enqueue", RULES, msgspec.json.encode(payload).decode()).code == Exit.DONE

    def heartbeats(self) -> int:
        """Of all workers of the stream together."""
        return sum(map(int, self.redis.hvals("{rules:run}:workers")))


PAGE = Reply(body="<p class='price'>99,00 EUR</p>")


@pytest.fixture
def inside(environ: dict[str, str], run: Run, thread_site: Site) -> Iterator[Inside]:
    """Two rules, `widget` and `other`, that are never due by themselves; their page is there."""
    inside = Inside(environ, run, thread_site)
    thread_site.route("/widget", PAGE)
    inside.watch("widget", "other", due=time.time() + 86400)
    yield inside
    inside.redis.close()


@pytest.fixture
def held(inside: Inside) -> threading.Event:
    """The page is not there before this is set."""
    let_go = threading.Event()
    inside.site.route("/widget", Reply(body=PAGE.body, hold=let_go))
    return let_go


def checking(start: Start, inside: Inside, *arguments: str) -> Process:
    """A worker in the middle of a check."""
    inside.enqueue()
    process = start("run", *arguments)
    inside.site.wait_for_requests(1, seconds=DEADLINE)
    return process


# --- beginning ----------------------------------------------------------------------------------


def test_a_burst_with_nothing_to_do_ends_well(start: Start) -> None:
    process = start("run", "--burst")
    assert process.ends() == Exit.DONE, process.said
    assert "working on rules:run, alerts:dispatch as " in process.said


def test_a_stream_nobody_knows_is_a_usage_error_with_a_guess(run: Run) -> None:
    result = run("run", "--stream", "rules:rum")
    assert result.code == Exit.USAGE
    assert "did you mean rules:run?" in result.err


def test_patience_without_a_burst_is_a_usage_error(run: Run) -> None:
    result = run("run", "--burst-wait", "3")
    assert result.code == Exit.USAGE
    assert "add --burst" in result.err


def test_a_redis_that_is_not_there_is_code_3(start: Start, free_tcp_port: int) -> None:
    process = start("run", REDIS_URL=f"redis://127.0.0.1:{free_tcp_port}/0")
    assert process.ends(30.0) == Exit.REDIS
    assert "hint: is Redis running there?" in process.said
    assert "Traceback" not in process.said


def test_a_redis_that_takes_calls_and_never_answers_is_code_3(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        process = start("run", REDIS_URL=f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        assert process.ends(60.0) == Exit.REDIS
    assert "Traceback" not in process.said


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("sqlite:///{folder}/named.db", "sentinel-worker migrate"),
        ("sqlite:///{folder}", "--database-url"),
        ("postgresql://nobody:hunter2@127.0.0.1:{port}/none", "--database-url"),
    ],
    ids=["not migrated", "a folder", "no server"],
)
def test_a_database_that_cannot_be_used_is_code_4(
    run: Run, url: str, hint: str, tmp_path: Path, free_tcp_port: int
) -> None:
    result = run("run", "--database-url", url.format(folder=tmp_path, port=free_tcp_port))
    assert result.code == Exit.DATABASE
    assert hint in result.err
    assert "hunter2" not in result.err


def test_several_bursts_at_once_make_every_check_that_is_due_once(start: Start, inside: Inside) -> None:
    names = [f"r{number}" for number in range(25)]
    inside.watch(*names)

    processes = [start("run", "--burst") for _ in range(2)]

    assert [process.ends() for process in processes] == [Exit.DONE] * 2, [p.said for p in processes]
    made = {name: [run.status for run in inside.runs(name)] for name in names}
    assert made == {name: ["ok"] for name in names}
    assert len(inside.site.requests) == 25
    assert inside.stats()["done"] == 25


def test_without_the_scheduler_only_what_is_queued_is_checked(start: Start, inside: Inside) -> None:
    inside.watch("due")
    inside.enqueue("widget")

    process = start("run", "--burst", "--no-scheduler")

    assert process.ends() == Exit.DONE, process.said
    assert len(inside.runs("widget")) == 1
    assert inside.runs("due") == []


def test_a_worker_of_one_stream_leaves_the_other_alone(start: Start, inside: Inside) -> None:
    inside.watch("due")
    inside.enqueue()
    process = start("run", "--burst", "--stream", "alerts:dispatch")
    assert process.ends() == Exit.DONE, process.said
    assert inside.runs("due") == []
    assert inside.stats()["ready"] == 1


# --- ending -------------------------------------------------------------------------------------


def test_told_to_stop_it_finishes_the_check_in_hand_and_takes_no_other(
    start: Start, inside: Inside, held: threading.Event
) -> None:
    process = checking(start, inside)

    process.signal(signal.SIGTERM)
    process.says("worker_stopping")
    inside.enqueue("other")
    held.set()

    assert process.ends() == Exit.DONE, process.said
    (made,) = inside.runs("widget")
    assert made.status == "ok"
    stats = inside.stats()
    assert (stats["done"], stats["leased"], stats["workers"]) == (1, 0, 0)
    assert stats["ready"] == 1, "the one that came after the stop"


def test_past_the_drain_timeout_jobs_are_handed_back_uncounted_and_the_code_is_8(
    start: Start, inside: Inside, held: threading.Event
) -> None:
    process = checking(start, inside, "--drain-timeout", "0.3")

    process.signal(signal.SIGTERM)

    assert process.ends() == Exit.UNDRAINED, process.said
    assert "1 jobs did not finish in time and were handed back" in process.said
    stats = inside.stats()
    assert (stats["ready"], stats["leased"], stats["done"], stats["workers"]) == (1, 0, 0, 0)
    held.set()
    again = start("run", "--burst")
    assert again.ends() == Exit.DONE, again.said
    (made,) = inside.runs("widget")
    assert (made.status, made.attempt) == ("ok", 1)


def test_a_second_signal_hands_back_at_once(start: Start, inside: Inside, held: threading.Event) -> None:
    process = checking(start, inside, "--drain-timeout", "3600")

    process.signal(signal.SIGINT)
    process.says("worker_stopping")
    process.signal(signal.SIGINT)

    assert process.ends() == Exit.UNDRAINED, process.said
    assert inside.stats()["ready"] == 1
    held.set()


# --- while it runs ------------------------------------------------------------------------------


def test_quiet_goes_on_with_what_is_in_hand_takes_no_more_and_stays_up(
    start: Start, inside: Inside, held: threading.Event
) -> None:
    process = checking(start, inside)
    process.signal(signal.SIGTSTP)
    process.says("worker_quiet")

    inside.enqueue("other")
    held.set()
    process.until(lambda: inside.stats()["done"] == 1, "the check in hand did not finish")
    beats = inside.heartbeats()
    process.until(lambda: inside.heartbeats() > beats + 4, "it does not stay up")

    assert inside.stats()["ready"] == 1
    process.signal(signal.SIGTERM)
    assert process.ends() == Exit.DONE, process.said
    assert inside.runs("other") == []


def test_usr1_tells_every_running_job_and_where_it_stands(
    start: Start, inside: Inside, held: threading.Event
) -> None:
    process = checking(start, inside)

    process.signal(signal.SIGUSR1)

    said = process.says("worker_stacks")
    assert "<Running rules:run" in said
    assert "check_rule.py" in said
    assert "http.py" in said, "down to the line that waits"
    held.set()
    process.signal(signal.SIGTERM)
    assert process.ends() == Exit.DONE


def test_metrics_and_health_are_served_on_a_free_port(start: Start, inside: Inside) -> None:
    inside.enqueue()
    process = start("run", "--metrics-port", "0")
    process.until(lambda: inside.stats()["done"] == 1, "the check was not made")
    said = process.says("/metrics")
    found = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert found is not None
    with httpx.Client(base_url=found[0], timeout=DEADLINE, trust_env=False) as client:
        metrics = client.get("/metrics").text
        answers = [client.get(path) for path in ("/healthz", "/readyz")]

    assert 'streamq_jobs_total{outcome="done",stream="rules:run"} 1.0' in metrics
    assert 'sentinel_runs_total{mode="http",outcome="ok"} 1.0' in metrics
    assert 'streamq_worker_slots{stream="rules:run"} 5.0' in metrics
    assert [answer.status_code for answer in answers] == [200, 200]
    process.signal(signal.SIGTERM)
    assert process.ends() == Exit.DONE, process.said


def test_a_port_that_is_taken_is_told_and_nothing_is_taken_in_hand(start: Start, inside: Inside) -> None:
    inside.enqueue()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("run", "--metrics-port", str(taken.getsockname()[1]))
        code = process.ends()
    assert code in (Exit.FAILED, Exit.USAGE), process.said
    assert "error: " in process.said
    assert "Traceback" not in process.said
    assert inside.stats()["ready"] == 1


def test_a_pause_is_obeyed_before_the_start_and_after_and_so_is_its_end(
    start: Start, inside: Inside, run: Run
) -> None:
    run("pause", "--stream", RULES)
    inside.enqueue()
    process = start("run", "--stream", RULES)
    process.until(lambda: inside.heartbeats() > 3, "it does not beat")
    assert inside.stats()["ready"] == 1

    run("resume", "--stream", RULES)
    process.until(lambda: inside.stats()["done"] == 1, "the check was not made after the pause")

    run("pause", "--stream", RULES)
    beats = inside.heartbeats()
    process.until(lambda: inside.heartbeats() > beats + 5, "it does not beat")
    inside.enqueue()
    beats = inside.heartbeats()
    process.until(lambda: inside.heartbeats() > beats + 4, "it does not beat")
    stats = inside.stats()
    assert (stats["ready"], stats["done"], stats["paused"]) == (1, 1, True)
    process.signal(signal.SIGTERM)
    assert process.ends() == Exit.DONE, process.said
