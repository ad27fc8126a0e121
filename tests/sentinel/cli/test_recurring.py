"""`recurring ...`, on a real server: what is there is shown, steered and ended, and a wrong name is told."""

from __future__ import annotations

import anyio
import pytest

from sentinel.cli.exits import Exit
from streamq import Cron, Every, Limit, Recurring, RedisBroker
from tests.end_to_end.shapes import checked
from tests.sentinel.cli.conftest import Run

S = "reports"


@pytest.fixture
def environ(environ: dict[str, str], valkey_url: str) -> dict[str, str]:
    return environ | {"REDIS_URL": valkey_url}


@pytest.fixture(autouse=True)
def _two_of_them(valkey_url: str) -> None:
    async def add() -> None:
        async with RedisBroker.from_url(valkey_url) as broker:
            recurring = Recurring(S, broker)
            await recurring.add(
                "nightly", Cron("0 3 * * *", timezone="Europe/Bratislava"), {"customers": "all"}
            )
            await recurring.add("hourly", Every(3600), None, overlap="skip")

    anyio.run(add)


def test_they_are_listed_by_their_next_tick(run: Run) -> None:
    table = run("recurring", "list", "--stream", S)
    assert table.code == Exit.DONE
    assert "0 3 * * * (Europe/Bratislava)" in table.out
    hourly, nightly = run("recurring", "list", "--stream", S, "--json").lines
    assert (hourly["schedule_id"], hourly["when"], nightly["payload"]) == (
        "hourly",
        "every 3600 s",
        {"customers": "all"},
    )
    assert {checked(line) for line in (hourly, nightly)} == {"streamq.recurring/1"}


def test_the_limit_of_its_jobs_is_shown(run: Run, valkey_url: str) -> None:
    async def add() -> None:
        async with RedisBroker.from_url(valkey_url) as broker:
            limit = Limit("tenant-7", running=2, rate=0.5, burst=3)
            await Recurring(S, broker).add("bounded", Every(60), None, limit=limit)

    anyio.run(add)
    assert "tenant-7: 2 running, 0.5/s, burst 3" in run("recurring", "list", "--stream", S).out
    lines = run("recurring", "list", "--stream", S, "--json").lines
    assert {checked(line) for line in lines} == {"streamq.recurring/1"}
    assert {line["schedule_id"]: line["limit"] for line in lines} == {
        "bounded": {"key": "tenant-7", "running": 2, "rate": 0.5, "burst": 3},
        "hourly": None,
        "nightly": None,
    }


def test_one_is_paused_resumed_triggered_and_removed(run: Run) -> None:
    (paused,) = run("recurring", "pause", "hourly", "--stream", S, "--json").lines
    assert (paused["paused"], paused["next_due_at"]) == (True, None)
    assert "paused" in run("recurring", "list", "--stream", S).out
    assert "hourly of reports goes on; next 20" in run("recurring", "resume", "hourly", "--stream", S).err

    (receipt,) = run("recurring", "trigger", "hourly", "--stream", S, "--json").lines
    assert receipt["created"]
    again = run("recurring", "trigger", "hourly", "--stream", S)
    assert f"nothing was added: job {receipt['job_id']}" in again.err

    assert run("recurring", "remove", "hourly", "--stream", S).code == Exit.UNCONFIRMED
    (gone,) = run("recurring", "remove", "hourly", "--stream", S, "--yes", "--json").lines
    assert checked(gone) == "streamq.recurring_removed/1"
    assert [line["schedule_id"] for line in run("recurring", "list", "--stream", S, "--json").lines] == [
        "nightly"
    ]


@pytest.mark.parametrize("verb", ["pause", "resume", "trigger", "remove"])
def test_one_that_is_not_there_is_told(run: Run, verb: str) -> None:
    ended = run("recurring", verb, "weekly", "--stream", S)
    assert ended.code == Exit.NOT_FOUND
    assert "no recurring job 'weekly' in reports" in ended.err


def test_a_stream_that_is_not_there_is_told_and_sentinels_own_have_none(run: Run) -> None:
    assert run("recurring", "list", "--stream", "repotrs").code == Exit.NOT_FOUND
    none = run("recurring", "list")
    assert (none.code, none.out) == (Exit.DONE, "")
    assert "no recurring jobs in rules:run, alerts:dispatch" in none.err
