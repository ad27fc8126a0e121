"""The lists of hostile inputs, each row as expected and the worker alive at the end (python -m tests.hostile)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.hostile.__main__ import Result, main, play
from tests.hostile.rows import OWN, SHARED
from tests.support.servers import find_redis, find_valkey

pytestmark = pytest.mark.skipif(not (find_valkey() or find_redis()), reason="no Redis was found")

#: Kinds whose rows of our own list cost little: the others are bombs that burn their limits.
QUICK = frozenset(
    ("url", "dns", "redirect", "regex", "jsonpath", "template", "log", "metric_label", "job", "http_api")
)


def all_right(result: Result) -> None:
    """Says every row that is not as expected."""
    print(result.table(), result.reasons(), sep="\n")
    assert not result.wrong, "\n".join(result.wrong)


def test_every_row_is_as_expected_every_control_is_allowed_and_the_worker_lives(tmp_path: Path) -> None:
    with OWN.open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["kind"] in QUICK or row["kind"].startswith(("alert_", "webhook_"))
        ]
    quick = tmp_path / "quick.csv"
    with quick.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("kind", "input", "expected", "why"))
        writer.writeheader()
        writer.writerows(rows)

    all_right(play([SHARED, quick]))


@pytest.mark.soak
def test_the_same_with_all_bombs() -> None:
    all_right(play([SHARED, OWN]))


def test_what_cannot_be_run_is_counted_and_said_and_what_is_wrong_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(
        "kind,input,expected,why\n"
        "weather,rain,refuse,nobody knows how\n"
        "http_api,PATCH of a row in words,refuse,the same\n"
        "url,http://10.0.0.1/,allow,which is a lie\n",
        encoding="utf-8",
    )

    assert main(["--csv", str(rows)]) == 1

    said = capsys.readouterr().out
    assert "not run: 1 weather ('rain'): no runner for the kind 'weather'" in said
    assert "there is no dashboard" in said
    assert "WRONG url 'http://10.0.0.1/' (allow): rules[0].url: 10.0.0.1 is a private address" in said
    assert "worker alive: yes" in said
