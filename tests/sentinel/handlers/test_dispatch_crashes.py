"""A worker that is killed at every step of a dispatch: everybody is told, by the same id, and the rows agree.

python -m pytest tests/sentinel/handlers/test_dispatch_crashes.py -s -q -p no:randomly   # the counts
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.http import Reply, Site

PROGRAM = Path(__file__).with_name("dispatch_kill_points.py")


async def killed_again_and_again(kind: str, *urls: str, chosen: str, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(PROGRAM), kind, *urls, chosen]
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    )
    assert done.returncode == 0, done.stderr[-5000:]
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "database_url"),
    [
        pytest.param("own", "sqlite", id="own-sqlite"),
        pytest.param("foreign", "postgres", id="foreign-postgres", marks=pytest.mark.needs_postgres),
        # The other halves in the long form.
        pytest.param("foreign", "sqlite", id="foreign-sqlite", marks=pytest.mark.soak),
        pytest.param(
            "own", "postgres", id="own-postgres", marks=[pytest.mark.needs_postgres, pytest.mark.soak]
        ),
    ],
    indirect=["database_url"],
)
async def test_a_dispatch_killed_at_every_step_reaches_everybody_and_each_by_one_id(
    request: pytest.FixtureRequest, kind: str, database_url: str, valkey_url: str, thread_site: Site
) -> None:
    thread_site.route("/ops", Reply())
    thread_site.route("/bad", Reply(status=404))
    thread_site.route("/spare", Reply(status=202))
    soaking = bool(request.config.getoption("--soak"))
    first = ("own", "foreign").index(kind) + database_url.startswith("postgres")
    chosen = json.dumps([0, 1, True] if soaking else [first, 3, False])

    seen = await killed_again_and_again(
        kind, database_url, valkey_url, thread_site.url, chosen=chosen, seconds=1700 if soaking else 170
    )

    arrived = Counter((one.path.removeprefix("/"), one.headers["webhook-id"]) for one in thread_site.requests)
    again = sum(arrived.values()) - len(arrived)
    database = database_url.partition(":")[0]
    print(
        f"\n{kind}, {database}: {seen['kills']} kills, {seen['alerts']} alerts, {sum(arrived.values())} messages"
        f" ({again} more than once), {len(arrived)} by their id; killed at {seen['killed']}"
    )
    alerts = seen["alerts"]
    assert seen["states"] == [
        ["bad", "dead", None, alerts],
        ["ops", "sent", None, alerts],
        ["spare", "sent", "bad", alerts],
    ]
    assert seen["alert_states"] == {"partial": alerts}
    assert seen["left"] == 0
    assert seen["dead_letters"] == {"delivery_refused": alerts}
    told = [tuple(one) for one in seen["sent_as"] + seen["refused_as"]]
    assert sorted(told) == sorted(arrived), "each delivery by one id, and what the rows say was received"
    assert seen["kills"] > (150 if soaking else 12), "too few steps to be the whole dispatch"
