"""Every scripted history through the real worker: no false alert, no missed change, every break told once.

The counts: python -m pytest -s tests/scenarios
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.scenarios import breaks, browsers, changes, noise
from tests.scenarios.history import History
from tests.scenarios.stage import Stage, addresses
from tests.sentinel.fetch.browsing import the_program
from tests.support.http import serve_in_thread

HISTORIES = [*changes.HISTORIES, *noise.HISTORIES, *breaks.HISTORIES]


def test_nothing_false_nothing_missed_and_every_break_told_once(valkey_url: str, tmp_path: Path) -> None:
    assert len(HISTORIES) >= 60
    assert wrong(HISTORIES, valkey_url, tmp_path) == []


def test_the_same_of_pages_that_need_a_browser(
    valkey_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    the_program(request)
    assert wrong(browsers.HISTORIES, valkey_url, tmp_path) == []


def wrong(histories: Sequence[History], redis_url: str, folder: Path) -> list[str]:
    """What was told and should not have been, was not and should have been, ended with another code."""
    with serve_in_thread(also=addresses(histories)) as site:
        played = Stage(histories, site, redis_url, folder).play()

    false = [line for one in played for line in one.unmatched()[0]]
    missed = [line for one in played for line in one.unmatched()[1]]
    codes = [line for one in played for line in one.wrong_codes()]
    due = {kind: sum(one.truth(kind) for one in histories) for kind in ("change", "health", "recovery")}
    print(
        f"\n{len(histories)} histories ({dict(Counter(one.cause for one in histories))}), "
        f"{sum(len(one.steps) for one in histories)} checks: {len(false)} false alerts; "
        f"of {due['change']} changes, {due['health']} breaks, {due['recovery']} recoveries "
        f"{len(missed)} not told; {len(codes)} checks with another code than scripted"
    )
    return [*false, *missed, *codes]
