"""Programs that are not ours make jobs: what docs/wire-format.md shows, run as it is written there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.end_to_end.programs import PATIENCE, Program
from tests.support.documents import at, named
from tests.support.http import Reply, Site

RULES = """
rules:
  - {{id: widget-price, url: {url}, type: price, extraction: {{method: css, selector: ".price"}}}}
"""


@pytest.fixture
def program(tmp_path: Path, redis_port: int, thread_site: Site) -> Program:
    """The rule of the documents, on a page that says 19.99."""
    environ = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true", "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0"}
    program = Program(tmp_path, environ)
    url = thread_site.route("/widget", Reply(body='<p class="price">19.99 &euro;</p>'))
    (tmp_path / "rules.yaml").write_text(RULES.format(url=url))
    program.here("rules", "import", str(tmp_path / "rules.yaml"))
    return program


@pytest.fixture
def client(redis_port: int) -> redis.Redis:
    return redis.Redis(port=redis_port, decode_responses=True)


def needed(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} here")


def run_script(name: str, folder: Path, port: int, *interpreter: str) -> str:
    """Write the document's block as the file it names, run it, and return what it printed."""
    path = folder / name
    path.write_text(at(named(name).text, port=port))
    done = subprocess.run(
        [*interpreter, path], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def a_check_was_run(program: Program, client: redis.Redis, entry_id: str) -> None:
    """The job in the stream is all it takes: a worker runs it, and it ends as done under its entry's id."""
    assert re.fullmatch(r"\d+-\d+", entry_id)
    program("run", "--burst", "--stream", "rules:run", "--no-scheduler")
    (line,) = program.here("history", "widget-price", "--json").lines
    assert (line["value"], line["error_code"]) == ({"amount": "19.99", "currency": "EUR"}, None)
    assert [fields["id"] for _, fields in entries(client, "{rules:run}:done")] == [entry_id]


def entries(client: redis.Redis, key: str) -> list[tuple[str, dict[str, str]]]:
    found: Any = client.xrange(key)
    return list(found)


def test_redis_cli_alone_makes_a_job(
    program: Program, client: redis.Redis, redis_port: int, tmp_path: Path
) -> None:
    needed("redis-cli")
    entry_id = run_script("producer.sh", tmp_path, redis_port, "sh")
    a_check_was_run(program, client, entry_id)


def test_node_without_a_package_makes_a_job(
    program: Program, client: redis.Redis, redis_port: int, tmp_path: Path
) -> None:
    needed("node")
    entry_id = run_script("producer.mjs", tmp_path, redis_port, "node")
    a_check_was_run(program, client, entry_id)


def test_a_shell_script_makes_a_job_for_each_line(
    client: redis.Redis, redis_port: int, tmp_path: Path
) -> None:
    needed("redis-cli", "date")
    (tmp_path / "rules.txt").write_text("widget-price\ngadget-price\n")
    run_script("producer-many.sh", tmp_path, redis_port, "sh")
    payloads = [json.loads(fields["payload"]) for _, fields in entries(client, "rules:run")]
    assert [payload["ruleId"] for payload in payloads] == ["widget-price", "gadget-price"]
    assert {tuple(payload) for payload in payloads} == {("ruleId", "trigger", "requestedAt")}


def test_the_words_alone_make_a_job_whoever_sends_them_and_bad_ones_before_it_stop_nothing(
    program: Program, client: redis.Redis
) -> None:
    client.xadd("rules:run", {"payload": "not json"})
    client.xadd("rules:run", {"load": "{}"})
    client.xadd("rules:run", {"payload": '{"ruleId":"nobody","trigger":"schedule","requestedAt":"now"}'})
    tool, *words = shlex.split(named("producer.sh").text)
    assert tool == "redis-cli"

    a_check_was_run(program, client, client.execute_command(*words))

    reasons = [letter["reason"] for letter in program.here("dead", "list", "--json").lines]
    assert sorted(reasons) == ["invalid_payload", "invalid_payload", "rule_not_found"]
