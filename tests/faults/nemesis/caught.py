"""Whether the harness catches a mutant, and by what: the test of the tests."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import time
from pathlib import Path

import msgspec

from sentinel.embedded import EmbeddedRedis
from tests.faults.nemesis import mutants
from tests.faults.nemesis.mutants import MUTANTS
from tests.faults.nemesis.nursery import Nursery
from tests.faults.nemesis.points import Point, runs
from tests.faults.nemesis.storm import Plan, run_storm
from tests.support.servers import find_valkey

#: Examples the machine may take to find a planted bug.
_EXAMPLES = 300
#: Where the points catch theirs: replies that are lost at these commands.
_LOST = {
    "enqueue-twice": [Point("cut after", 1, "enqueue")],
    "no-adopt": [Point("cut after", number, "turn") for number in (1, 2)],
    "no-sequence": [Point("cut after", number, "turn") for number in range(1, 13)],
}
#: What it takes to see most of them, and what some need instead.
_PLAN = Plan(jobs=250, kills=2, freezes=1, seconds=0.05, patience=3)
_PLANS = {
    # A frozen worker's jobs must end between its thaw and its next heartbeat, which tells it that they are lost.
    "no-fence": Plan(jobs=150, freezes=3, seconds=0.3, lease=0.5, renew=0.125, patience=3),
    # Jobs must take longer than it takes until a worker is given up.
    "silent-heart": Plan(jobs=24, workers=2, seconds=1.5, patience=3),
}


class Catch(msgspec.Struct, frozen=True):
    """One mutant's fate."""

    name: str
    words: str
    #: What gave it away, in the checker's words; empty: it got away.
    evidence: str
    by: str
    seconds: float


def catch(name: str) -> Catch:
    """Plant it, and look whether it is seen."""
    mutant = MUTANTS[name]
    began = time.monotonic()
    match mutant.caught_by:
        case "machine":
            evidence = _by_machine(name)
        case "storm":
            evidence = _by_storm(name)
        case _:
            evidence = _by_points(name)
    return Catch(name, mutant.words, evidence, mutant.caught_by, time.monotonic() - began)


def _by_storm(name: str) -> str:
    plan = msgspec.structs.replace(_PLANS.get(name, _PLAN), mutant=name)
    return _told(run_storm(plan).broken)


def _by_points(name: str) -> str:
    with runs(mutant=name) as made:
        broken: dict[str, object] = {}
        for found in made.run(_LOST[name]):
            broken |= found.broken
    return _told(broken)


def _told(broken: dict[str, object]) -> str:
    return ", ".join(broken)


def _by_machine(name: str) -> str:
    """In a child: what is planted there is gone with it."""
    program = find_valkey()
    if program is None:
        raise FileNotFoundError("no Valkey")
    folder = Path(tempfile.mkdtemp(prefix="sq-mutant-"))
    try:
        server = EmbeddedRedis(folder / "redis", binary=program, appendonly=False)
        with server, Nursery(folder) as nursery:
            child = nursery.start(
                "tests.faults.nemesis.caught:try_the_machine",
                url=server.url,
                mutant=name,
                said=str(folder / "said"),
            )
            nursery.wait(child, seconds=400)
            if nursery.ended[child]:
                raise RuntimeError(nursery.log_of(child))
        return (folder / "said").read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_the_machine(*, url: str, mutant: str, said: str) -> None:
    """Run the state machine on a broker with the bug; its first complaint goes into the file `said`."""
    import redis.asyncio as aioredis
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    from streamq import RedisBroker
    from tests.streamq.machine import machine
    from tests.streamq.rig import Rig

    mutants.plant(mutant)
    with asyncio.Runner() as runner:
        broker, client = RedisBroker.from_url(url), aioredis.Redis.from_url(url)
        numbers = itertools.count()

        def make_rig() -> Rig:
            rig = Rig(broker, client)
            rig.stream = f"jobs-{next(numbers)}"
            return rig

        quick = settings(
            max_examples=_EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(machine(make_rig, runner, time_moves=False), settings=quick)  # type: ignore[no-untyped-call]
            evidence = ""
        except AssertionError as error:
            evidence = " ".join((str(error) or "the model does not agree").split())[:200]
        finally:
            runner.run(client.aclose())
            runner.run(broker.close())
    Path(said).write_text(evidence or "")
