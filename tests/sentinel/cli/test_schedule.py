"""When rules are due, as people and programs read it, and checks that are asked for now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.cli.exits import Exit
from sentinel.cli.schedule import words
from sentinel.embedded import EmbeddedRedis
from sentinel.model import Schedule
from tests.sentinel.cli.conftest import Run
from tests.support.servers import find_valkey

RULES = """
workspace: {id: acme, timezone: Europe/Bratislava}
rules:
  - &rule
    id: widget
    url: https://shop.example.com/widget
    type: text
    extraction: {method: text}
    schedule: {intervalSeconds: 300}
  - {<<: *rule, id: nightly, schedule: {cron: "0 3 * * *", timezone: Europe/Bratislava}, tags: [night]}
  - {<<: *rule, id: resting, enabled: false}
"""


@pytest.fixture(autouse=True)
def imported(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    assert run("rules", "import", str(file)).code == Exit.DONE


@pytest.fixture
def here(environ: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """A server of the test's own."""
    program = find_valkey()
    if program is None:
        pytest.skip("Valkey (bundled) was not found")
    with EmbeddedRedis(tmp_path / "redis", binary=program, appendonly=False) as server:
        environ["REDIS_URL"] = server.url
        yield


def test_the_list_says_when_each_is_due_by_its_own_clock_and_in_utc_and_why_not(run: Run) -> None:
    nightly, resting, widget = run("schedule", "list", "--json").lines
    assert (nightly["next_due_local"][11:19], nightly["missed"], nightly["why"]) == ("03:00:00", 0, None)
    assert nightly["next_due_at"][11:16] in ("01:00", "02:00")
    assert (resting["next_due_at"], resting["why"]) == (None, "off")
    # Due since it was imported, and nobody looks.
    assert widget["missed"] == 1
    assert widget["why"].startswith("overdue")
    assert "every 5m" in run("schedule", "list").out


def test_the_next_ticks_of_a_rule_are_told_and_of_one_that_is_off_that_it_is(run: Run) -> None:
    ticks = [line["local"] for line in run("schedule", "next", "nightly", "--count", "3", "--json").lines]
    assert [tick[11:19] for tick in ticks] == ["03:00:00"] * 3
    assert len(set(ticks)) == 3
    assert "is off" in run("schedule", "next", "resting").err
    assert run("schedule", "next", "nobody").code == Exit.NOT_FOUND


@pytest.mark.usefixtures("here")
def test_a_triggered_check_goes_first_and_is_one_job_until_it_has_run(run: Run) -> None:
    (first,) = run("schedule", "trigger", "widget", "--json").lines
    (second,) = run("schedule", "trigger", "widget", "--json").lines
    assert (first["created"], second["created"]) == (True, False)
    assert first["job_id"] == second["job_id"]
    (job,) = run("jobs", "list", "--stream", "rules:run", "--state", "ready", "--json").lines
    assert (job["lane"], job["payload"]["trigger"]) == ("high", "manual_test")


@pytest.mark.usefixtures("here")
def test_all_rules_that_are_on_are_triggered_or_those_of_a_tag(run: Run) -> None:
    assert len(run("schedule", "trigger", "--tag", "night", "--json").lines) == 1
    result = run("schedule", "trigger", "--all", "--json")
    assert len(result.lines) == 2
    assert "1 enqueued, 1 wait or run already" in result.err


def test_a_trigger_needs_rules_that_are_there(run: Run) -> None:
    assert run("schedule", "trigger").code == Exit.USAGE
    assert run("schedule", "trigger", "widget", "--all").code == Exit.USAGE
    assert run("schedule", "trigger", "widget", "nobody").code == Exit.NOT_FOUND


def test_schedules_are_told_in_words() -> None:
    assert words(Schedule(interval_seconds=90, jitter_seconds=30)) == "every 90s, up to 30s later"
    assert words(Schedule(interval_seconds=7200)) == "every 2h"
    assert words(Schedule(cron="0 3 * * *")) == "cron 0 3 * * * (UTC)"
