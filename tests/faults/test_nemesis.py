"""Storms, kill points and planted bugs, each in its short form; `python -m tests.faults` runs them in full."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamq import RedisBroker
from tests.faults.nemesis.caught import catch
from tests.faults.nemesis.checker import End, Verdict, check
from tests.faults.nemesis.crew import Work, name_of
from tests.faults.nemesis.drills import blocked, lateness, retries, server, zombies
from tests.faults.nemesis.history import Event
from tests.faults.nemesis.ledger import Entry, Ledger
from tests.faults.nemesis.mutants import MUTANTS
from tests.faults.nemesis.outages import cut_power, jump, survive
from tests.faults.nemesis.points import KINDS, run_points
from tests.faults.nemesis.refusals import CODES, SITES, matrix, refuse
from tests.faults.nemesis.storm import Plan, run_storm
from tests.support.servers import find_valkey

needs_valkey = pytest.mark.skipif(find_valkey() is None, reason="no Valkey was found")


@needs_valkey
@pytest.mark.timeout(170)
def test_a_storm_of_kills_freezes_cuts_and_restarts_loses_nothing_and_doubles_nothing() -> None:
    plan = Plan(jobs=500, kills=4, freezes=1, cuts=1, resets=1, restarts=1, lost_replies=5)

    verdict = run_storm(plan, told=print)

    print(f"\n{verdict.jobs} jobs, {dict(verdict.faults)}, {verdict.hit} hit, {verdict.broken}")
    assert verdict.broken == {}
    assert verdict.hit > 0


@needs_valkey
@pytest.mark.timeout(170)
def test_a_life_ended_at_a_line_or_at_a_command_leaves_nothing_lost_doubled_or_stuck() -> None:
    summary = run_points(share=0.0, least=4, kinds=KINDS)

    print(
        f"\n{dict(summary.points)}: {summary.killed} killed, {summary.jobs} jobs, {summary.deliveries} deliveries"
    )
    assert [(point, broken) for point, broken in summary.broken] == []
    assert summary.killed > 0


#: Of each kind that is quick to catch.
QUICK = ("crash-eats-retry", "enqueue-twice", "unique-kept")


@needs_valkey
@pytest.mark.timeout(170)
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in MUTANTS]
)
def test_a_planted_bug_is_caught(name: str) -> None:
    found = catch(name)

    print(f"\n{name}: {found.evidence} ({found.seconds:.1f} s)")
    assert found.evidence


@needs_valkey
async def test_stale_holders_are_refused_whatever_they_try_and_attempts_are_exact(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "effects.db")
    with server() as running:
        async with RedisBroker.from_url(running.url) as broker:
            stale = await zombies(broker, ledger, 150)
            failing = await retries(broker, 50)
    ledger.close()

    assert (stale.tried, stale.accepted, stale.renewed) == (600, 0, 0)
    assert (stale.written, stale.ended_once) == (0, 150)
    assert (failing.attempts, failing.letters, failing.early) == ({3: 50}, {3: 50}, 0)


@needs_valkey
async def test_delayed_jobs_are_not_early_where_hundreds_are_due_each_second() -> None:
    with server() as running:
        async with RedisBroker.from_url(running.url) as broker:
            delayed = await lateness(broker, rate=300, seconds=1)

    assert (len(delayed.late), delayed.early) == (300, 0)


@needs_valkey
def test_a_handler_that_blocks_its_loop_for_three_leases_keeps_its_jobs() -> None:
    with server() as running:
        found = blocked(running, jobs=30)

    assert (found.lost, found.again) == (0, 0)


@needs_valkey
@pytest.mark.parametrize(
    "codes",
    [
        ["LOADING", "NOGROUP", "NOPERM"],
        pytest.param([text.partition(" ")[0] for text in CODES], marks=pytest.mark.soak, id="all"),
    ],
)
async def test_whatever_a_server_answers_the_worker_goes_on_or_ends_with_a_clear_refusal(
    codes: list[str],
) -> None:
    with server() as running:
        cells = await refuse(running, codes, SITES)

    print(f"\n{matrix(cells)}")
    assert [cell for cell in cells if not cell.good] == []


@needs_valkey
@pytest.mark.parametrize("what", ["memory", "disk", "flushall", "groups"])
async def test_a_worker_goes_on_without_a_restart_when_the_server_is_well_again(what: str) -> None:
    found = await survive(what)

    print(f"\n{found}")
    assert found.good


#: The shims are compiled on the spot.
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler was found")


@needs_valkey
@needs_compiler
@pytest.mark.parametrize("hours", [1, pytest.param(-1, marks=pytest.mark.soak)])
def test_a_jump_of_the_servers_clock_steals_no_job_and_strands_none(hours: int) -> None:
    found = jump(hours)

    print(f"\n{found}")
    assert (found.stolen, found.lost) == (0, 0)
    assert found.recovered > 0


@needs_valkey
@needs_compiler
@pytest.mark.parametrize("mode", ["always", pytest.param("everysec", marks=pytest.mark.soak)])
def test_a_power_cut_takes_nothing_that_was_synced(mode: str) -> None:
    found = cut_power(mode, seconds=0.5 if mode == "always" else 3.0)

    print(f"\n{found}")
    assert found.whole
    assert found.acknowledged > 0
    assert found.window <= {"always": 0.0, "everysec": 2.0}[mode]


# --- the checker on histories made by hand ------------------------------------------------------------

ONE = {1: Work(1)}


def start(
    at: float,
    *,
    worker: int = 7,
    job: int = 1,
    fence: int = 1,
    attempt: int = 1,
    crashes: int = 0,
    wall_ms: int = 0,
) -> Event:
    return Event("start", at, worker, job=job, attempt=attempt, crashes=crashes, fence=fence, wall_ms=wall_ms)


def effect(fence: int = 1) -> Entry:
    return Entry("effect", f"storm/{name_of(1)}", fence, 7)


def begin(fence: int) -> Entry:
    return Entry("begin", f"storm/{name_of(1)}", fence, 7)


def judged(
    events: list[Event],
    effects: list[Entry],
    *,
    done: int = 1,
    dead: tuple[str, ...] = (),
    left: int = 0,
    unique_held: int = 0,
    works: dict[int, Work] | None = None,
) -> Verdict:
    enqueued = Event("enqueued", 0.0, 1, job=1, last=1)
    end = End(
        done={name_of(1): done} if done else {},
        dead={name_of(1): dead} if dead else {},
        left=left,
        unique_held=unique_held,
    )
    return check([enqueued, *events], effects, end, works or ONE)


def test_a_job_that_ran_once_is_well() -> None:
    assert judged([start(1)], [begin(1), effect()]).broken == {}


def test_a_second_run_after_a_kill_is_well_and_its_recovery_is_measured() -> None:
    killed = Event("kill", 2.0, 7)
    verdict = judged(
        [start(1), killed, start(3.5, worker=8, fence=2, crashes=1)], [begin(1), begin(2), effect(2)]
    )

    assert verdict.broken == {}
    assert (verdict.hit, verdict.recovery) == (1, [1.5])


def test_of_a_limits_key_whoever_has_done_its_part_makes_room_and_a_stale_run_takes_none() -> None:
    did = Event("effect", 3, 7, job=1, fence=2)
    again = start(2.5, worker=8, fence=2, crashes=1)
    stale = start(3.5, fence=1)
    runs = [start(1), *(start(2, job=job) for job in (2, 3)), again, did, stale, start(4, job=4)]

    assert judged(runs, [], works=RED).crowded == []


FAILED = Event("raised", 1.5, 7, job=1, attempt=1, fence=1)
FROZEN = Event("freeze", 1.2, 7)
DYING = {1: Work(1, fails=3)}
RED = {job: Work(job, limit="red") for job in range(1, 5)}
WRONG = [
    pytest.param("lost", judged([start(1)], [], done=0), id="neither done nor dead"),
    pytest.param("lost", judged([start(1)], []), id="done without an effect"),
    pytest.param("stuck", judged([start(1)], [effect()], left=1), id="left"),
    pytest.param("doubled", judged([start(1)], [effect(), effect()]), id="two effects"),
    pytest.param("ended twice", judged([start(1)], [effect()], done=2), id="two ends"),
    pytest.param(
        "ended twice",
        judged(
            [start(1), Event("ended", 1.1, 7, job=1, verdict="done"), start(2, fence=2, crashes=1)],
            [effect()],
        ),
        id="run after its end",
    ),
    pytest.param("stale effects", judged([start(1)], [begin(1), begin(2), effect(1)]), id="a stale effect"),
    pytest.param(
        "order", judged([start(1), FROZEN, start(2, crashes=1)], [effect()]), id="the fence stands still"
    ),
    pytest.param("order", judged([start(1), FROZEN, start(2, fence=2)], [effect(2)]), id="a crash uncounted"),
    pytest.param(
        "order",
        judged([start(1), FROZEN, start(2, fence=2, attempt=2)], [effect(2)]),
        id="a crash eats a retry",
    ),
    pytest.param(
        "order", judged([start(1), FAILED, start(2, fence=2)], [effect(2)]), id="a failure uncounted"
    ),
    pytest.param("order", judged([start(1, attempt=2)], [effect()]), id="an attempt before the first"),
    pytest.param(
        "unexplained", judged([start(1), start(9, fence=2, crashes=1)], [effect(2)]), id="again for no reason"
    ),
    pytest.param(
        "early",
        judged([start(1, wall_ms=500)], [effect()], works={1: Work(1, due_ms=600)}),
        id="before its time",
    ),
    pytest.param(
        "retries", judged([start(1)], [], done=0, dead=("exhausted",), works=DYING), id="too few attempts"
    ),
    pytest.param("retries", judged([start(1)], [effect()], done=0, dead=("crashed",)), id="dead for nothing"),
    pytest.param("unique keys held", judged([start(1)], [effect()], unique_held=1), id="a key held"),
    pytest.param(
        "crowded",
        judged([start(1), *(start(2, job=job) for job in (2, 3, 4))], [], works=RED),
        id="one more of a key than may run",
    ),
    pytest.param("stuck", judged([], [], done=0, left=2), id="never started"),
]


@pytest.mark.parametrize(("complaint", "verdict"), WRONG)
def test_the_checker_complains_of(complaint: str, verdict: Verdict) -> None:
    assert complaint in verdict.broken
