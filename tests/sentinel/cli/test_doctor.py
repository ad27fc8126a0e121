"""What commonly goes wrong, on a real server, a real database and this machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.doctor import file_system, redis_findings
from sentinel.cli.exits import Exit
from sentinel.embedded import EmbeddedRedis
from tests.sentinel.cli.conftest import Run
from tests.support.s3 import ENVIRON, serve_s3
from tests.support.servers import find_valkey

RULES = """
channels:
  - {id: ops, type: webhook, url: https://hooks.example.com/in, secret_env: OPS_SECRET}
rules:
  - {id: a, url: https://example.com/, type: text, extraction: {method: text}, alertPolicy: {channels: [ops]}}
"""
#: A server with nothing to be said about it.
WELL: dict[str, Any] = {
    "server": "redis", "version": "7.4.0", "policy": "noeviction", "appendonly": True, "clock": 1000.0,
    "memory": 10, "max_memory": 0, "saves": True, "replica": False,
}  # fmt: skip


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[dict[str, str]]:
    program = find_valkey()
    if program is None:
        pytest.skip("Valkey (bundled) was not found")
    with EmbeddedRedis(tmp_path / "redis", binary=program) as server:
        yield {"REDIS_URL": server.url}


def findings(run: Run, env: dict[str, str], code: int) -> dict[str, dict[str, Any]]:
    result = run("doctor", "--json", env=env)
    (document,) = result.lines
    assert result.code == code, document
    assert document["ok"] is (code == Exit.DONE)
    return {part["name"]: part for part in document["parts"]}


def test_what_is_well_is_told_so_and_what_could_be_better_with_its_cure(
    run: Run, redis: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    run("rules", "import", str(tmp_path / "rules.yaml"))

    found = findings(run, redis | {"HTTPS_PROXY": "http://proxy.example.com"}, Exit.DONE)

    assert [
        found[part]["state"] for part in ("redis", "redis memory", "clock", "database", "schema", "rules")
    ] == (["ok"] * 6)
    assert found["sqlite"]["detail"] == "write-ahead log"
    assert found["rules:run"]["cure"] == "sentinel-worker run"
    assert "OPS_SECRET" in found["credentials"]["detail"]
    assert "HTTPS_PROXY" in found["proxies"]["detail"]
    shown = run("doctor", env=redis)
    assert len(shown.out.splitlines()) >= 10
    assert "sentinel-worker run" in shown.out


def test_jobs_that_nobody_takes_are_bad_and_a_paused_stream_says_how_to_go_on(
    run: Run, redis: dict[str, str]
) -> None:
    run("migrate", env=redis)
    payload = '{"ruleId": "a", "trigger": "schedule", "requestedAt": "2026-01-01T00:00:00Z"}'
    assert run("enqueue", "rules:run", payload, env=redis).code == Exit.DONE
    run("pause", "--stream", "alerts:dispatch", env=redis)

    found = findings(run, redis, Exit.NO)

    assert found["rules:run"]["state"] == "bad"
    assert found["rules:run"]["cure"] == "sentinel-worker run --stream rules:run"
    assert found["alerts:dispatch"]["cure"] == "sentinel-worker resume --stream alerts:dispatch"


def test_a_server_that_is_not_there_does_not_hide_the_rest(run: Run) -> None:
    found = findings(run, {"REDIS_URL": "redis://127.0.0.1:1/0"}, Exit.NO)

    assert found["redis"]["state"] == "bad"
    assert found["schema"]["cure"] == "sentinel-worker migrate"
    assert found["state folder"]["state"] == "ok"


def test_a_schema_that_is_not_current_names_migrate(run: Run, redis: dict[str, str], tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").execute("create table x (y)").connection.close()

    found = findings(run, redis | {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.db"}, Exit.NO)

    assert found["schema"]["cure"] == "sentinel-worker migrate"


def test_a_state_folder_that_others_may_write_to_is_told(
    run: Run, redis: dict[str, str], environ: dict[str, str]
) -> None:
    folder = Path(environ["SENTINEL_STATE_DIR"])
    folder.mkdir()
    folder.chmod(0o777)

    assert findings(run, redis, Exit.NO)["state folder"]["cure"] == f"chmod go-w {folder}"


@pytest.mark.parametrize(
    ("facts", "part", "state", "word"),
    [
        ({}, "redis memory", "ok", "noeviction"),
        ({"policy": "allkeys-lru"}, "redis memory", "bad", "allkeys-lru"),
        ({"version": "6.2.14"}, "redis", "bad", "6.2.14"),
        ({"server": "valkey", "version": "7.2.5"}, "redis", "bad", "valkey 7.2.5"),
        ({"server": "valkey", "version": "8.1.0"}, "redis", "ok", "8.1.0"),
        ({"appendonly": False}, "redis disk", "warn", "aof off"),
        ({"saves": False}, "redis disk", "bad", "failed"),
        ({"replica": True}, "redis", "bad", "replica"),
        ({"clock": 940.0}, "clock", "warn", "60s ahead of"),
        ({"clock": 1060.0}, "clock", "warn", "60s behind"),
        ({"memory": 95, "max_memory": 100}, "redis memory", "warn", "95%"),
    ],
)
def test_a_server_s_own_words(facts: dict[str, Any], part: str, state: str, word: str) -> None:
    told = list(redis_findings(WELL | facts, "here", now=1000.0, allow_eviction=False))

    assert [one for one in told if (one.part, one.state) == (part, state) and word in one.detail]
    assert all(one.cure for one in told if one.state != "ok")


def test_the_file_system_of_a_path_is_that_of_the_nearest_mount() -> None:
    mounts = "/dev/sda / ext4 rw 0 0\nserver:/x /srv nfs4 rw 0 0\n/dev/sdb /srv/my\\040disk xfs rw 0 0\nodd\n"

    assert file_system(Path("/srv/sentinel.db"), mounts) == "nfs4"
    assert file_system(Path("/srv/my disk/sentinel.db"), mounts) == "xfs"
    assert file_system(Path("/srvother/sentinel.db"), mounts) == "ext4"
    assert file_system(Path("/x"), "") == ""


def test_a_bucket_is_put_to_read_and_left_as_it_was_and_one_that_refuses_says_why(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_s3() as server:
        for name, value in ENVIRON.items():
            monkeypatch.setenv(name, value)
        bucket = server.new_bucket()
        env = {"SENTINEL_BLOBS_ENDPOINT": server.url, "SENTINEL_BLOBS_URL": f"s3://{bucket}/kept"}

        found = findings(run, env, Exit.NO)["bucket"]  # 7 for Redis, which is not there
        assert (found["state"], found["detail"]) == ("ok", f"s3://{bucket}/kept: put, read, deleted")
        assert server.sizes(bucket) == {}

        missing = findings(run, env | {"SENTINEL_BLOBS_URL": "s3://nowhere/kept"}, Exit.NO)["bucket"]
        assert missing["state"] == "bad"
        assert "no such bucket" in missing["detail"]
        assert "SENTINEL_BLOBS_ENDPOINT" in missing["cure"]
