"""Every JSON document of the command line, for every kind of value, from a real run, against its shape."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from sentinel.cli.exits import Exit
from sentinel.embedded import EmbeddedRedis
from streamq import Cron, Recurring, RedisBroker
from tests.end_to_end.programs import Program, wait_until
from tests.end_to_end.shapes import SCHEMAS, checked
from tests.support.http import Reply, Site
from tests.support.servers import find_valkey

KINDS = ("price", "availability", "number", "text", "json_field", "date", "list", "record")

RULES = """
channels:
  - {{id: hook, type: webhook, url: "{site}/hook"}}
  - {{id: gone, type: webhook, url: "{site}/gone"}}
rules:
  - &rule
    id: price
    url: {site}/page
    type: price
    tags: [all]
    extraction: {{method: css, selector: .price}}
    schedule: {{intervalSeconds: 1}}
    alertPolicy: {{channels: [hook, gone], conditions: [{{id: changed, type: value_changed}}]}}
  - {{<<: *rule, id: availability, type: availability, extraction: {{method: css, selector: .stock}}}}
  - {{<<: *rule, id: number, type: number, extraction: {{method: css, selector: .weight}}}}
  - {{<<: *rule, id: text, type: text, extraction: {{method: css, selector: .note}}}}
  - {{<<: *rule, id: json_field, type: json_field, url: "{site}/api", extraction: {{method: jsonpath, selector: "$.product"}}}}
  - {{<<: *rule, id: date, type: date, extraction: {{method: css, selector: .since}}}}
  - {{<<: *rule, id: list, type: list, extraction: {{method: css, selector: ul}}}}
  - id: record
    url: {site}/page
    type: record
    tags: [all]
    fields:
      price: {{type: price, extraction: {{method: css, selector: .price}}}}
      sizes: {{type: list, extraction: {{method: css, selector: ul}}}}
      stock: {{type: availability, extraction: {{method: css, selector: .stock}}}}
      nowhere: {{type: text, extraction: {{method: css, selector: .nowhere}}, optional: true}}
    schedule: {{intervalSeconds: 1}}
    alertPolicy: {{channels: [hook, gone], conditions: [{{id: changed, type: value_changed}}]}}
  - {{<<: *rule, id: nothing, extraction: {{method: css, selector: .nowhere}}}}
"""
PAGE = """<p class=price>{price} &euro;</p><p class=stock>{stock}</p><p class=weight>{weight} kg</p>
<p class=note>{note}</p><p class=since>{since}</p><ul><li>{size}</li><li>Large</li></ul>"""


#: What each page says before and after.
BEFORE = {
    "price": "19.99",
    "stock": "In stock",
    "weight": "12.5",
    "note": "First edition",
    "since": "24 November 2026",
    "size": "S",
}
AFTER = {
    "price": "17.50",
    "stock": "Sold out",
    "weight": "11",
    "note": "Second edition",
    "since": "1 December 2026",
    "size": "M",
}


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    program = find_valkey()
    if program is None:
        pytest.skip("Valkey (bundled) was not found")
    with EmbeddedRedis(tmp_path / "redis", binary=program, appendonly=False) as server:
        yield server.url


@pytest.fixture
def program(tmp_path: Path, thread_site: Site, redis_url: str) -> Program:
    thread_site.route("/hook", Reply(status=204))
    thread_site.route("/gone", Reply(status=404, body="nobody here"))
    (tmp_path / "rules.yaml").write_text(RULES.format(site=thread_site.url))
    environ = {"SENTINEL_ALLOW_PRIVATE_NETWORKS": "true", "RATE_LIMITING_ENABLED": "false"}
    environ["SENTINEL_SECRET_KEY"] = base64.b64encode(bytes(32)).decode()
    return Program(tmp_path, environ | {"REDIS_URL": redis_url})


def show(site: Site, **words: str) -> None:
    site.route("/page", Reply(body=PAGE.format(**words)))
    product = {"name": "Widget", "price": float(words["price"]), "tags": ["a", None]}
    site.route("/api", Reply(body=json.dumps({"product": product}), content_type="application/json"))


def burst(program: Program) -> None:
    wait_until([line["next_due_at"] for line in program.here("rules", "list", "--json").lines])
    program("run", "--burst")


def take_one(url: str) -> None:
    """A worker has a job in its hands, and its stream has a recurring one."""

    async def take() -> None:
        async with RedisBroker.from_url(url) as broker:
            await Recurring("rules:run", broker).add("nightly", Cron("0 3 * * *"), {})
            assert len((await broker.turn("rules:run", "w1", sequence=1, free=1)).leases) == 1

    anyio.run(take)


class Asking:
    """The command line with --json, each document of it held to its shape."""

    def __init__(self, program: Program) -> None:
        self._program = program
        #: Schema -> documents seen.
        self.seen: Counter[str] = Counter()

    def __call__(self, *command: str, code: int = 0, kind: str | None = None) -> list[dict[str, Any]]:
        lines = self._program.here(*command, "--json", code=code).lines
        self.seen.update(checked(line, kind=kind) for line in lines)
        return lines


def test_every_document_has_its_shape_for_every_kind_of_value(
    program: Program, thread_site: Site, redis_url: str
) -> None:
    ask = Asking(program)
    ask("rules", "import", str(program.folder / "rules.yaml"))
    for words in (BEFORE, AFTER):
        show(thread_site, **words)
        burst(program)

    values_of_every_kind(ask)
    alerts_that_arrived_and_that_did_not(ask)
    pages(ask, thread_site.url)
    jobs_in_every_place(ask, redis_url)
    rules_and_the_rest(ask)
    channels(ask)

    print("\n" + ", ".join(f"{name} {count}" for name, count in sorted(ask.seen.items())))
    # Those: test_queues.py, test_workers.py, test_healing.py, test_rules.py, test_history.py
    elsewhere = {"streamq.claimed/1", "streamq.worker_answer/1", "sentinel.healed/1"}
    elsewhere |= {"sentinel.rule_unreadable/1", "sentinel.channel_unreadable/1", "sentinel.kept/1"}
    assert set(ask.seen) == set(SCHEMAS) - elsewhere


def values_of_every_kind(ask: Asking) -> None:
    for kind in KINDS:
        newest, oldest = ask("history", kind, kind=kind)
        assert (newest["changed"], oldest["changed"]) == (True, False)
        assert None not in (newest["value"], oldest["value"])
        (tried,) = ask("rules", "test", kind, kind=kind)
        assert tried["value"] == newest["value"]
        ask("history", kind, "--diff", oldest["run_id"], newest["run_id"])
        (replayed,) = ask("rules", "replay", kind)
        assert len(replayed["would_alert"]) == len(replayed["alerted"]) == 1
    codes = [line["error_code"] for line in ask("history", "nothing", kind="price")]
    assert codes == ["EXTRACT_SELECTOR_NOT_FOUND"] * 2
    ask("rules", "test", "nothing", code=Exit.NO, kind="price")


def alerts_that_arrived_and_that_did_not(ask: Asking) -> None:
    alerts = ask("alerts", "list")
    assert sorted(alert["rule_id"] for alert in alerts) == sorted(KINDS)
    ended = {(d["channel"], d["status"], d["http_status"]) for alert in alerts for d in alert["deliveries"]}
    assert ended == {("hook", "sent", 204), ("gone", "dead", 404)}
    (shown,) = ask_more(ask, "alerts", "show", alerts[0]["alert_id"])
    assert set(shown) == {
        *("kind", "created_at", "conditions", "run_id", "channels", "why", "until", "undo", "told_in"),
        *("escalations", "incident", "body", "attempts"),
    }
    (way,) = ask("alerts", "route", "price", "--severity", "critical")
    assert (way["now"], way["suppressed"], way["troubles"]) == (["hook", "gone"], None, [])
    (taken,) = ask("alerts", "ack", alerts[0]["alert_id"], "--by", "eva", "--note", "on it")
    assert (taken["acknowledged"]["by"], taken["acknowledged"]["note"]) == ("eva", "on it")
    ask("alerts", "resend", alerts[0]["alert_id"], "--channel", "gone")
    ask("alerts", "list", "--suppressed")


def pages(ask: Asking, site: str) -> None:
    ask("fetch", f"{site}/page")
    (missing,) = ask("fetch", f"{site}/missing", code=Exit.FAILED)
    (refused,) = ask("fetch", "file:///etc/passwd", code=Exit.FAILED)
    assert (missing["allowed"], refused["allowed"]) == (True, False)


def jobs_in_every_place(ask: Asking, redis_url: str) -> None:
    for rule in KINDS[:2]:
        payload = {"ruleId": rule, "trigger": "schedule", "requestedAt": "2026-01-01T00:00:00Z"}
        ask("enqueue", "rules:run", json.dumps(payload))
    take_one(redis_url)
    assert len(ask("pending", "--stream", "rules:run")) == 1
    working, _ = ask("stats")
    assert (working["ready"], working["leased"], working["workers"]) == (1, 1, 1)

    letters = ask("dead", "list")
    assert {letter["reason"] for letter in letters} == {"delivery_refused"}
    (shown,) = ask_more(ask, "dead", "show", letters[0]["job_id"])
    assert set(shown) == {"lane", "headers", "traceback"}
    ask("dead", "requeue", "--stream", "alerts:dispatch", letters[0]["job_id"])
    ask("dead", "purge", "--stream", "alerts:dispatch", letters[1]["job_id"], "--yes")
    assert ask_more(ask, "dead", "export", "--stream", "alerts:dispatch")
    jobs_one_by_one(ask)
    ask("pause", "--stream", "rules:run")


def jobs_one_by_one(ask: Asking) -> None:
    payload = {"ruleId": "later", "trigger": "schedule", "requestedAt": "2026-01-01T00:00:00Z"}
    ask("enqueue", "rules:run", json.dumps(payload), "--delay", "1h")
    found = {
        state: ask("jobs", "list", "--stream", "rules:run", "--state", state)
        for state in ("ready", "leased", "delayed", "done")
    }
    assert [len(found[state]) for state in ("ready", "leased", "delayed")] == [1, 1, 1]
    ask("jobs", "list", "--stream", "alerts:dispatch", "--state", "dead")
    (shown,) = ask_more(ask, "jobs", "show", found["leased"][0]["job_id"])
    assert set(shown) == {"why"}
    cancelled = [ask("jobs", "cancel", found[state][0]["job_id"], "--yes") for state in found]
    assert [one["found"] for (one,) in cancelled] == ["waiting", "running", "delayed", "ended"]
    (worker,) = ask("workers", "list", "--stream", "rules:run")
    assert (worker["in_hand"], worker["state"]) == (1, "up")
    ask("drain", "--stream", "rules:run", "--timeout", "0.01", code=Exit.NO)
    ask("recurring", "list", "--stream", "rules:run")
    ask("recurring", "remove", "nightly", "--yes")
    ask("partitions", "--stream", "rules:run")
    ask("workers", "concurrency", "--stream", "rules:run", "7")
    ask("workers", "concurrency", "--stream", "rules:run", "--reset")


def rules_and_the_rest(ask: Asking) -> None:
    assert len(ask("rules", "list", "--tag", "all")) == len(KINDS) + 1
    ask("rules", "disable", "price")
    assert {line["rule_id"]: line["why"] for line in ask("schedule", "list")}["price"] == "off"
    assert len(ask("schedule", "next", "number")) == 5
    jobs = Path(__file__).parents[1] / "foreign/urlwatch.yaml"
    assert len(ask("rules", "import", "--from", "urlwatch", str(jobs), "--dry-run")) == 2
    ask("rules", "delete", "price", "--yes")
    for command in (["migrate", "status"], ["health"], ["config", "show"]):
        ask(*command)
    ask("explain", "FETCH_TIMEOUT")
    ask("doctor", code=Exit.NO)  # a redis without workers has jobs


def channels(ask: Asking) -> None:
    assert [line["channel_id"] for line in ask("channels", "list")] == ["gone", "hook"]
    (shown,) = ask_more(ask, "channels", "show", "hook")
    assert set(shown) == {"named_by"}
    ask("channels", "preview", "hook", "--sample", "rows")
    ask("channels", "test", "hook")
    ask("channels", "test", "gone", code=Exit.NO)
    ask("channels", "rotate-key")
    ask("channels", "delete", "gone", "--yes")


def ask_more(ask: Asking, *command: str) -> list[dict[str, Any]]:
    """What a command says beyond the line of the list, which must be as in the list."""
    found = []
    for line in ask._program.here(*command, "--json").lines:
        own = {field.name for field in msgspec.structs.fields(SCHEMAS[line["schema"]])}
        checked({name: value for name, value in line.items() if name in own})
        found.append({name: value for name, value in line.items() if name not in own})
    return found
