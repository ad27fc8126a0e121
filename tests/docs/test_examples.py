"""The programs in the documents run as they are written there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from sentinel.app import new_webhook_secret
from sentinel.channels import SigningKey, sign
from streamq.testing import MemoryBroker, drain
from tests.end_to_end.programs import PATIENCE
from tests.support.documents import REPOSITORY, at, blocks, named

ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


def test_every_program_in_the_documents_is_run_here_or_beside_the_producers() -> None:
    written = {block.name for block in blocks("python", "sh", "js")}
    here = {
        "jobs.py",
        "producer.py",
        "worker.py",
        "verify.py",
        "reports.py",
        "tenants.py",
        "steer.py",
        "traced.py",
        "shop.py",
        "test_shop.py",
        "hello.py",
        "views.py",
        "surgery.py",
        "thumbnails.py",
    }
    moved = {name for pair in MOVED for name in pair}
    assert written == here | moved | {"producer.sh", "producer-many.sh", "producer.mjs"}


#: The same job in another queue and in ours.
MOVED = [
    ("celery_images.py", "streamq_for_celery.py"),
    ("rq_images.py", "streamq_for_rq.py"),
    ("arq_images.py", "streamq_for_arq.py"),
    ("bullmq_images.mjs", "streamq_for_bullmq.py"),
]


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, path], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def test_the_readme_s_producer_and_worker_work_together(redis_port: int, tmp_path: Path) -> None:
    for name in ("jobs.py", "producer.py", "worker.py"):
        (tmp_path / name).write_text(at(named(name).text, port=redis_port))

    first = start(tmp_path / "producer.py").communicate(timeout=PATIENCE)[0].split()
    second = start(tmp_path / "producer.py").communicate(timeout=PATIENCE)[0].split()
    worker = start(tmp_path / "worker.py")
    try:
        assert worker.stdout is not None
        ran = worker.stdout.readline().split()
        until(lambda: redis.Redis(port=redis_port).xlen("{images}:done") == 1)
        worker.send_signal(signal.SIGTERM)
        rest, _ = worker.communicate(timeout=PATIENCE)
    finally:
        worker.kill()
        worker.wait()

    assert (first[1], second) == ("True", [first[0], "False"]), "the second one is a duplicate"
    assert ran == [first[0], "1", "a.png"]
    assert (rest, worker.returncode) == ("", 0)


def test_the_page_s_first_job_is_greeted(redis_port: int, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(at(named("hello.py").text, port=redis_port))
    ran = start(tmp_path / "hello.py")
    assert (ran.communicate(timeout=PATIENCE)[0], ran.returncode) == ("hello Eva\n", 0)


def test_a_view_without_an_event_loop_enqueues(redis_port: int) -> None:
    space: dict[str, Any] = {}
    exec(compile(at(named("views.py").text, port=redis_port), "views.py", "exec"), space)  # noqa: S102 - our own page
    first, second = (space["sign_up"]("Eva").split() for _ in range(2))
    assert (first[1], second) == ("created", [first[0], "duplicate"])
    assert redis.Redis(port=redis_port).xlen("greetings") == 1


def test_the_page_s_surgery_succeeds(redis_port: int, tmp_path: Path) -> None:
    (tmp_path / "surgery.py").write_text(at(named("surgery.py").text, port=redis_port))
    dead, delayed, after = start(tmp_path / "surgery.py").communicate(timeout=PATIENCE)[0].splitlines()
    assert dead.startswith("dead - dead for ")
    assert "nothing_to_charge after 1 attempt" in dead
    assert delayed.startswith("delayed - due in 59 m")
    assert after == "done delayed 0 0"


def test_the_page_s_value_is_read(redis_port: int, tmp_path: Path) -> None:
    (tmp_path / "thumbnails.py").write_text(at(named("thumbnails.py").text, port=redis_port))
    printed = start(tmp_path / "thumbnails.py").communicate(timeout=PATIENCE)[0].splitlines()
    assert printed == ["NoResult", "small/a.png"]


@pytest.mark.parametrize(("theirs", "ours"), MOVED)
async def test_the_same_job_of_another_queue_runs_in_ours(theirs: str, ours: str) -> None:
    space: dict[str, Any] = {"__name__": "ours"}
    exec(compile(named(ours).text, ours, "exec"), space)  # noqa: S102 - our own page
    broker = MemoryBroker()
    await space["send"](broker)
    drained = await drain(broker, space["handlers"])
    assert (len(drained.done), drained.dead) == (1, ())


@pytest.mark.parametrize(("theirs", "ours"), MOVED)
def test_the_other_queue_takes_its_job_where_the_bench_has_set_it_up(
    theirs: str, ours: str, tmp_path: Path
) -> None:
    (tmp_path / theirs).write_text(named(theirs).text)
    if theirs.endswith(".py"):
        compile(named(theirs).text, theirs, "exec")
    interpreter = _interpreter_of(theirs)
    if interpreter is None:
        pytest.skip(f"nothing here runs {theirs}")
    checked = subprocess.run(
        [*interpreter, tmp_path / theirs], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert checked.returncode == 0, checked.stderr


def _interpreter_of(theirs: str) -> list[str] | None:
    if theirs.endswith(".mjs"):
        node = shutil.which("node")
        return None if node is None else [node, "--check"]
    python = REPOSITORY / ".venv/bench" / theirs.partition("_")[0] / "bin/python"
    return [str(python)] if python.exists() else None


def test_the_page_s_limits_hold(redis_port: int, tmp_path: Path) -> None:
    (tmp_path / "tenants.py").write_text(at(named("tenants.py").text, port=redis_port))
    lines = start(tmp_path / "tenants.py").communicate(timeout=PATIENCE)[0].split("\n")[:-1]
    assert len(lines) == 16
    assert {line.split()[1] for line in lines} == {"1", "2"}, "never three of one tenant"
    assert {line.split()[0] for line in lines[:4]} == {"big", "small"}


def test_the_page_s_recurring_jobs_run_and_are_steered(redis_port: int, tmp_path: Path) -> None:
    for name in ("reports.py", "steer.py"):
        (tmp_path / name).write_text(at(named(name).text, port=redis_port))

    worker = start(tmp_path / "reports.py")
    try:
        assert worker.stdout is not None
        first = worker.stdout.readline().split()
        listed = start(tmp_path / "steer.py").communicate(timeout=PATIENCE)[0].splitlines()
        until(lambda: "one" in worker.stdout.readline() if worker.stdout else True)
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=PATIENCE)
    finally:
        worker.kill()
        worker.wait()

    assert (first[0].partition("@")[0], first[1]) == ("pulse", "new")
    assert {line.split()[0] for line in listed[:-1]} == {"nightly", "pulse", "hourly"}
    assert listed[-1].startswith("hourly@")
    assert worker.returncode == 0


def test_the_page_s_spans_and_hooks_are_told(redis_port: int, tmp_path: Path) -> None:
    (tmp_path / "traced.py").write_text(at(named("traced.py").text, port=redis_port))
    told, _ = start(tmp_path / "traced.py").communicate(timeout=PATIENCE)
    attempt = ["download", "process thumbnails"]
    assert told.splitlines() == [
        "enqueue thumbnails",
        *attempt,
        "retry a OSError: not yet 0.1",
        *attempt,
    ]


def test_the_page_s_tests_of_handlers_pass(tmp_path: Path) -> None:
    for name in ("shop.py", "test_shop.py"):
        (tmp_path / name).write_text(named(name).text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "test_shop.py",
    ]
    ran = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "4 passed" in ran.stdout, ran.stdout


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def is_genuine() -> Callable[..., bool]:
    space: dict[str, Any] = {}
    exec(compile(named("verify.py").text, "verify.py", "exec"), space)  # noqa: S102 - our own page
    found: Callable[..., bool] = space["is_genuine"]
    return found


def test_the_page_s_verification_believes_us_and_nobody_else(is_genuine: Callable[..., bool]) -> None:
    new, old, other = (new_webhook_secret() for _ in range(3))
    body, now = b'{"type":"alert.change"}', int(time.time())
    signature = sign([SigningKey.parse(new), SigningKey.parse(old)], "msg_1", now, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}

    assert is_genuine(new, headers, body)
    assert is_genuine(old, headers, body)
    assert not is_genuine(other, headers, body)
    assert not is_genuine(new, headers, body + b" ")
    assert not is_genuine(new, headers | {"webhook-id": "msg_2"}, body)
    assert not is_genuine(new, headers | {"webhook-timestamp": str(now - 3600)}, body)


def test_the_commands_of_dev_that_the_documents_name_are_there() -> None:
    text = "".join(block.text for block in blocks("", "sh"))
    script = (REPOSITORY / "dev").read_text()
    named_commands = set(re.findall(r"^\./dev (\w+)", text, re.MULTILINE))
    assert {"demo", "test"} <= named_commands
    assert {
        command for command in named_commands if not re.search(rf"^  {command}\b.*\)", script, re.MULTILINE)
    } == set()
