"""A rule over the checks that were made before, on real SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest

from sentinel.cli.exits import Exit
from sentinel.decide import judge, judge_failure, judge_not_modified, normalise
from sentinel.model import Extracted
from sentinel.store import RunResult, Store
from sentinel.store.blobs import FileBlobs
from tests.sentinel.cli.conftest import Run

HOUR = 3600.0
RULES = """
channels: [{{id: ops, type: console}}]
rules:
  - id: widget
    url: https://shop.example.com/widget
    type: price
    extraction: {{method: css, selector: .price}}
    alertPolicy: {{channels: [ops], conditions: [{condition}]}}
"""
ANY = "{id: moved, type: value_changed}"

#: What each check read: a text, None (304) or an error code.
Story = Sequence[str | None]
Tell = Callable[..., None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES.format(condition=ANY))
    return path


@pytest.fixture
def tell(run: Run, file: Path, environ: dict[str, str]) -> Tell:
    """Import the rule, then have it checked every hour until now; `pages`: keep what it read them from."""

    def checked(*story: str | None, pages: bool = False) -> None:
        assert run("rules", "import", str(file)).code == Exit.DONE
        anyio.run(_check, Path(environ["SENTINEL_STATE_DIR"]), story, pages)

    return checked


async def _check(folder: Path, story: Story, pages: bool) -> None:
    began = time.time() - len(story) * HOUR
    blobs = FileBlobs(folder / "blobs", limit=1 << 20)
    async with Store.open(f"sqlite:///{folder}/sentinel.db") as store:
        for number, read in enumerate(story):
            now = began + number * HOUR
            stored = await store.rule("widget")
            rule, state = stored.rule, stored.state
            result, raw = RunResult(http_status=200), None
            if read is None:
                verdict = judge_not_modified(rule, state, now=now)
                result = RunResult(http_status=304, not_modified=True)
            elif read.isupper() and "_" in read:
                verdict = judge_failure(rule, state, read, "as told", now=now)
                result = RunResult(error_code=read, error_detail="as told")
            else:
                raw = read
                page = f"<p class=price>{read}</p><p class=total>{int(read.split()[0]) + 5} EUR</p>"
                kept = await blobs.put(page.encode(), "body") if pages else None
                result = RunResult(http_status=200, body_blob=kept)
                value = normalise(Extracted(raw=read), rule.normal).value
                verdict = judge(rule, state, raw, value, now=now)
            ticket = await store.begin_run("widget", f"j{number}", number + 1, "schedule", now)
            await store.finish_run(
                ticket, result, verdict, raw, expected_state_version=state.version, now=now
            )


def test_a_rule_as_it_is_would_have_told_what_it_told(run: Run, tell: Tell) -> None:
    tell("20 EUR", "FETCH_TIMEOUT", None, "18 EUR", "18 EUR", "15 EUR")

    (document,) = run("rules", "replay", "widget", "--json").lines

    assert document["checks"] == 6
    assert [one["run_id"] for one in document["would_alert"]] == [
        one["run_id"] for one in document["alerted"]
    ]
    assert [one["after"]["amount"] for one in document["would_alert"]] == ["18", "15"]
    assert (document["by_text"], document["failed"], document["unknown"]) == (4, 1, {})


def test_an_edited_rule_is_put_beside_what_was_told(run: Run, tell: Tell, file: Path) -> None:
    tell("20 EUR", "19 EUR", "12 EUR")
    file.write_text(RULES.format(condition="{id: drop, type: price_drop_percent, value: 30}"))

    result = run("rules", "replay", "widget", "--file", str(file))

    assert "would have alerted once in 60 days" in result.out
    assert "in truth it alerted twice" in result.out
    assert [line.split()[1:3] for line in result.out.splitlines()[3:5]] == [["-", "moved"], ["drop", "moved"]]
    assert "1 changes met no condition" in result.out
    assert run("rules", "show", "widget", "--json").lines[0]["rule"]["alertPolicy"]["conditions"][0][
        "id"
    ] == ("moved")


def test_where_the_rule_reads_another_place_checks_without_a_page_count_for_nothing(
    run: Run, tell: Tell, file: Path
) -> None:
    tell("20 EUR", "18 EUR", "FETCH_TIMEOUT")
    file.write_text(file.read_text().replace(".price", ".sum"))

    (document,) = run("rules", "replay", "widget", "--file", str(file), "--json").lines

    assert document["would_alert"] == []
    assert document["unknown"] == {"its page was not kept": 2}
    assert document["failed"] == 1


def test_where_the_rule_reads_another_place_the_stored_pages_are_read_anew(
    run: Run, tell: Tell, file: Path, environ: dict[str, str]
) -> None:
    tell("20 EUR", "18 EUR", None, "18 EUR", "15 EUR", pages=True)
    file.write_text(file.read_text().replace(".price", ".total"))

    (document,) = run("rules", "replay", "widget", "--file", str(file), "--json").lines

    assert (document["by_page"], document["by_text"], document["unknown"]) == (4, 0, {})
    assert [one["after"]["amount"] for one in document["would_alert"]] == ["23", "20"]
    assert [one["run_id"] for one in document["would_alert"]] == [
        one["run_id"] for one in document["alerted"]
    ]
    for damaged in (Path(environ["SENTINEL_STATE_DIR"]) / "blobs").rglob("*.zst"):
        damaged.write_bytes(b"")
    (document,) = run("rules", "replay", "widget", "--file", str(file), "--json").lines
    assert (document["by_page"], sum(document["unknown"].values())) == (0, 4)


def test_the_lowest_price_in_days_is_that_of_the_replay_and_of_what_was_before(
    run: Run, tell: Tell, file: Path
) -> None:
    tell("10 EUR", "20 EUR", "15 EUR", "18 EUR", "14 EUR", "9 EUR")
    file.write_text(RULES.format(condition="{id: lowest, type: lowest_in_days, value: 30}"))

    (whole,) = run("rules", "replay", "widget", "--file", str(file), "--json").lines
    (late,) = run("rules", "replay", "widget", "--file", str(file), "--days", str(2.5 / 24), "--json").lines

    assert [one["after"]["amount"] for one in whole["would_alert"]] == ["9"]
    assert [one["after"]["amount"] for one in late["would_alert"]] == ["9"]


def test_only_the_days_that_were_asked_for_are_replayed(run: Run, tell: Tell) -> None:
    tell("20 EUR", "18 EUR", "15 EUR", "14 EUR")

    (document,) = run("rules", "replay", "widget", "--days", str(2.5 / 24), "--json").lines

    assert document["checks"] == 2
    assert [one["before"]["amount"] for one in document["would_alert"]] == ["18", "15"]


def test_checks_of_one_moment_are_all_replayed_though_a_page_ends_among_them(
    run: Run, tell: Tell, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentinel.cli.replay.PAGE", 2)
    monkeypatch.setattr("sentinel.cli.entries.PAGE", 2)
    tell("20 EUR", "18 EUR", "18 EUR", "15 EUR", "FETCH_TIMEOUT", "15 EUR", "12 EUR")
    database = sqlite3.connect(Path(environ["SENTINEL_STATE_DIR"]) / "sentinel.db")
    with database:
        (moment,) = database.execute("SELECT max(started_at) FROM run").fetchone()
        for table, column in (
            ("run", "started_at"),
            ("run", "finished_at"),
            ("observation", "at"),
            ("alert", "created_at"),
        ):
            database.execute(f"UPDATE {table} SET {column} = ?", (moment,))  # noqa: S608 - ours
    database.close()

    (document,) = run("rules", "replay", "widget", "--json").lines
    assert (document["checks"], document["failed"]) == (7, 1)
    assert len(document["alerted"]) == 3
    exported = run("history", "widget", "--export", "jsonl").out
    assert len(exported.splitlines()) == 7


def test_what_cannot_be_replayed_is_refused(run: Run, tell: Tell, file: Path) -> None:
    tell("20 EUR")

    assert run("rules", "replay", "nope").code == Exit.NOT_FOUND
    other = file.read_text()
    file.write_text(other.replace("/widget", "/gadget"))
    assert run("rules", "replay", "widget", "--file", str(file)).code == Exit.FAILED
    file.write_text(other.replace("id: widget", "id: gadget"))
    assert run("rules", "replay", "widget", "--file", str(file)).code == Exit.NOT_FOUND
