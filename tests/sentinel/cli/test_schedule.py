"""When rules are due, as people and programs read it, and checks that are asked for now."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from sentinel.cli.exits import Exit
from sentinel.cli.schedule import words
from sentinel.embedded import EmbeddedRedis
from sentinel.model import ActiveHours, Schedule
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
  - <<: *rule
    id: office
    schedule:
      intervalSeconds: 600
      activeHours:
        - {days: [weekdays], start: "08:00", end: "18:00"}
        - {days: [saturday, sunday], start: "22:00", end: "02:00"}
    tags: [office]
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
    nightly, _office, resting, widget = run("schedule", "list", "--json").lines
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


def test_the_ticks_of_a_rule_with_active_hours_are_by_the_workspaces_clock(run: Run) -> None:
    ticks = [line["local"] for line in run("schedule", "next", "office", "--count", "300", "--json").lines]
    for tick in ticks[1:]:
        moment = datetime.fromisoformat(tick)
        office = moment.weekday() < 5 and 8 <= moment.hour < 18
        night = (moment.weekday() >= 5 and moment.hour >= 22) or (
            moment.weekday() in {6, 0} and moment.hour < 2
        )
        assert office or night, tick
    (office,) = run("schedule", "list", "--tag", "office", "--json").lines
    assert office["schedule"] == (
        "every 10m, weekdays 08:00-18:00 and sat sun 22:00-02:00 (Europe/Bratislava)"
    )


def test_a_rule_that_cannot_be_read_is_listed_with_its_trouble_and_the_others_as_ever(
    run: Run, environ: dict[str, str]
) -> None:
    database = sqlite3.connect(Path(environ["SENTINEL_STATE_DIR"]) / "sentinel.db")
    with database:
        database.execute("""UPDATE rule SET definition = '{"colour": "red"}' WHERE id = 'nightly'""")
    database.close()

    result = run("schedule", "list", "--json")

    assert result.code == Exit.DONE
    nightly, *others = result.lines
    assert nightly["schedule"] == "unreadable"
    assert "import it again, or delete it" in nightly["why"]
    assert [line["rule_id"] for line in others] == ["office", "resting", "widget"]
    assert "unreadable" in run("schedule", "list").out


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
    assert len(result.lines) == 3
    assert "2 enqueued, 1 wait or run already" in result.err


def test_a_trigger_needs_rules_that_are_there(run: Run) -> None:
    assert run("schedule", "trigger").code == Exit.USAGE
    assert run("schedule", "trigger", "widget", "--all").code == Exit.USAGE
    assert run("schedule", "trigger", "widget", "nobody").code == Exit.NOT_FOUND


def test_schedules_are_told_in_words() -> None:
    assert words(Schedule(interval_seconds=90, jitter_seconds=30)) == "every 90s, up to 30s later"
    assert words(Schedule(interval_seconds=7200)) == "every 2h"
    assert words(Schedule(cron="0 3 * * *")) == "cron 0 3 * * * (UTC)"
    sundays = [ActiveHours(days=["sunday"])]
    assert words(Schedule(interval_seconds=60, active_hours=sundays)) == "every 1m, sun (UTC)"
    daily = [ActiveHours(start="09:00", end="17:00")]
    said = "cron 0 * * * * (UTC), daily 09:00-17:00"
    assert words(Schedule(cron="0 * * * *", active_hours=daily)) == said
