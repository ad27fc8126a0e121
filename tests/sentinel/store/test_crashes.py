"""Processes killed in the middle of a write: the old state or the new one, never a piece of it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kill_points.py")

#: Of those whose steps are many: PostgreSQL in the long form.
POSTGRES_WHEN_SOAKING = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgres", id="postgres", marks=[pytest.mark.needs_postgres, pytest.mark.soak]),
]


def killed_again_and_again(work: str, database_url: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(PROGRAM), work, database_url],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, int] = json.loads(done.stdout)
    print(work, seen)
    return seen


def is_sound(database_url: str) -> bool:
    """SQLite's own judgement; PostgreSQL has none to ask."""
    if not database_url.startswith("sqlite"):
        return True
    connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def test_a_check_killed_at_every_step_leaves_all_of_it_or_nothing(database_url: str) -> None:
    seen = killed_again_and_again("finish", database_url)
    assert seen["torn"] == 0
    assert seen["wrong_in_the_end"] == 0
    assert seen["kills"] > 10, "too few steps to be the whole check"
    assert seen["old"] > 0
    assert seen["new"] > 1, "not killed after the commit"
    assert is_sound(database_url)


@pytest.mark.parametrize("empty_url", POSTGRES_WHEN_SOAKING, indirect=True)
def test_a_migration_killed_at_every_step_leaves_all_of_it_or_nothing(empty_url: str) -> None:
    seen = killed_again_and_again("migrate", empty_url)
    assert seen["torn"] == 0
    assert seen["kills"] > 20, "too few steps to be the whole migration"
    assert seen["complete"] > 0
    assert is_sound(empty_url)


def test_checks_killed_at_any_moment_are_each_written_once(database_url: str) -> None:
    seen = killed_again_and_again("storm", database_url)
    assert seen["torn"] == 0
    assert seen["wrong_in_the_end"] == 0
    assert is_sound(database_url)


@pytest.mark.parametrize("database_url", POSTGRES_WHEN_SOAKING, indirect=True)
def test_a_digest_whose_closing_is_killed_at_every_step_is_told_once(database_url: str) -> None:
    seen = killed_again_and_again("digest", database_url)
    assert seen["torn"] == 0
    assert seen["wrong_in_the_end"] == 0
    assert seen["kills"] > 10, "too few steps to be the whole of it"
    assert seen["open"] > 0
    assert seen["told"] > 1, "not killed after the commit"
    assert is_sound(database_url)
