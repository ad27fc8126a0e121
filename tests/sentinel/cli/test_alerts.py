"""`alerts ...` for people: why told, why not, where one would go, and taking one on; then a real worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from sentinel.cli.exits import Exit
from sentinel.embedded import EmbeddedRedis
from sentinel.store import Store
from tests.end_to_end.programs import Program
from tests.sentinel.cli.conftest import Run
from tests.sentinel.store.things import a_verdict, an_alert, begin, finish
from tests.support.servers import find_valkey

RULES = """
workspace:
  id: acme
  routes:
    - {id: oncall, severity: critical, channels: [ops], escalate: {after: 900, channels: [boss]}, continue: true}
    - {id: rest, channels: [mail], digest: {by: host, every: 3600}}
channels:
  - {id: ops, type: console}
  - {id: boss, type: console, enabled: false}
  - {id: mail, type: console}
rules:
  - id: widget
    url: https://shop.example.com/widget
    type: price
    extraction: {method: css, selector: .price}
    enabled: false
"""


@pytest.fixture
def raised(run: Run, tmp_path: Path) -> Any:
    """Makes an alert of a check two hours ago and tells its id."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    assert run("rules", "import", str(path)).code == Exit.DONE
    return lambda **fields: raise_one(tmp_path / "state", **fields)


def raise_one(state: Path, **fields: Any) -> str:
    async def make() -> str:
        async with Store.open(f"sqlite:///{state}/sentinel.db") as store:
            then = time.time() - 7200
            ticket = await begin(store, f"job-{fields}", rule_id="widget")
            finished = await finish(
                store, ticket, a_verdict(an_alert(str(fields), channels=(), **fields)), now=then
            )
            return next(iter(finished.severities))

    return anyio.run(make)


def test_the_next_page_of_a_list_is_of_those_older_than_its_last_line(run: Run, raised: Any) -> None:
    ids = [raised(severity="critical", dedupe_key=f"key-{number}") for number in range(3)]
    first = run("alerts", "list", "--json", "--limit", "2").lines
    assert [line["alert_id"] for line in first] == ids[:0:-1]
    rest = run("alerts", "list", "--json", "--before", ids[1]).lines
    assert [line["alert_id"] for line in rest] == ids[:1]
    assert f"older ones: --before {ids[1]}\n" in run("alerts", "list", "--limit", "2").err
    unknown = run("alerts", "list", "--before", "nothing")
    assert unknown.code == Exit.NOT_FOUND
    assert "no alert nothing" in unknown.err


def test_show_says_why_it_was_told(run: Run, raised: Any) -> None:
    shown = run("alerts", "show", raised(severity="critical")).out
    assert "conditions met: drop" in shown
    assert "by the observation of run" in shown
    assert "route: route 1 (oncall): yes, to ops" in shown
    assert "told: at once: ops" in shown
    assert "boss: pending after 0 attempt(s), escalation at" in shown
    assert "why not" not in shown


def test_show_says_why_it_was_not_told_until_when_and_what_would_have_let_it_through(
    run: Run, raised: Any
) -> None:
    alert_id = raised()
    shown = run("alerts", "show", alert_id).out
    assert "why not by itself: digest, until " in shown
    assert "what would have let it through: severity critical, or no digest for its route" in shown
    assert "mail is told with others at" in shown
    listed = run("alerts", "list", "--suppressed").out.splitlines()
    assert listed[0].split() == ["AT", "ALERT", "SEVERITY", "REASON", "UNTIL", "TITLE"]
    assert [alert_id, "warning", "digest"] == listed[1].split()[1:4]


def test_route_explains_line_by_line_and_names_channels_that_are_off(run: Run, raised: Any) -> None:
    said = run("alerts", "route", "widget").out.splitlines()
    assert said[0] == "change of widget, warning, now"
    assert "    route: route 1 (oncall): no, warning is less than critical" in said
    assert any(
        line.startswith("  > digest: mail by host shop.example.com: told with others at") for line in said
    )
    loud = run("alerts", "route", "widget", "--severity", "critical").out
    assert "> told: boss after 900 s, unless acknowledged" in loud
    assert "! boss: switched off" in loud
    assert run("alerts", "route", "nobody").code == Exit.NOT_FOUND


def test_who_takes_it_on_first_is_remembered(run: Run, raised: Any) -> None:
    alert_id = raised(severity="critical")
    assert "acknowledged" in run("alerts", "ack", alert_id, "--by", "eva", "--note", "on it").err
    assert "before" in run("alerts", "ack", alert_id, "--by", "adam").err
    shown = run("alerts", "show", alert_id).out
    assert "by eva: on it" in shown
    assert "boss: skipped after 0 attempt(s), acknowledged by eva" in shown
    assert run("alerts", "ack", "nobody").code == Exit.NOT_FOUND


def test_resend_takes_channels_that_are_there(run: Run, raised: Any) -> None:
    alert_id = raised()
    assert run("alerts", "resend", alert_id, "--channel", "opps").code == Exit.NOT_FOUND
    assert "1 to send" in run("alerts", "resend", alert_id).err
    assert run("alerts", "resend", "nobody").code == Exit.NOT_FOUND


# --- a worker -----------------------------------------------------------------------------------


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    program = find_valkey()
    if program is None:
        pytest.skip("Valkey (bundled) was not found")
    with EmbeddedRedis(tmp_path / "redis", binary=program, appendonly=False) as server:
        yield server.url


def test_a_worker_tells_a_digest_that_is_due_and_no_escalation_that_was_acknowledged(
    run: Run, raised: Any, tmp_path: Path, redis_url: str
) -> None:
    loud, quiet = raised(severity="critical"), [raised(title=f"widget {n}") for n in range(3)]
    run("channels", "enable", "boss")
    run("alerts", "ack", loud, "--by", "eva")
    program = Program(tmp_path / "state", {"REDIS_URL": redis_url})
    told = program("run", "--burst").out
    assert told.count("ALERT critical: widget is cheaper") == 2, "on two channels, and not by escalation"
    assert told.count("DIGEST") == 1
    assert all(f"widget {n}" in told for n in range(3))
    shown = run("alerts", "show", quiet[0]).out
    assert "mail was told with others at" in shown
    assert program("run", "--burst").out == ""
