"""A worker that is frozen past its lease in the middle of its work, and comes back."""

from __future__ import annotations

import itertools
import os
import signal
import threading

from sentinel.jobs import ALERTS_DISPATCH, delivery_job_id
from tests.faults.world import WorkerProcess, World

#: Where the receiver listens.
HOOK = "/hook"


async def freeze_at_work(world: World, rule_ids: list[str]) -> WorkerProcess:
    """A worker frozen with two checks and a dispatch in hand, whose answers wait for gates."""
    worker = world.start("--no-scheduler")
    changing, *held = rule_ids
    world.receiver.gates[HOOK] = threading.Event()
    for look in ("first", "second"):
        await world.enqueue([changing], note=look)
    world.pages.gates = {f"/{rule_id}": threading.Event() for rule_id in held}
    await world.enqueue(held, note="held")

    async def has_all() -> bool:
        return world.receiver.asked[HOOK] == 1 and all(world.pages.asked[f"/{one}"] == 1 for one in held)

    await world.until(has_all, "two checks and a dispatch are in the worker's hands")
    worker.signal(signal.SIGSTOP)
    return worker


async def take_over(world: World) -> WorkerProcess:
    """Another worker does what the frozen one had in hand; for it every gate is open."""
    world.pages.gates = {}
    world.receiver.gates = {}
    worker = world.start("--no-scheduler")

    async def all_done() -> bool:
        return await world.ended() == 4 and await world.ended(ALERTS_DISPATCH) == 1

    await world.until(all_done, "another worker has done what the frozen one held")
    return worker


def has_ended_inside(worker: WorkerProcess, *job_ids: str) -> bool:
    """Whether it holds these jobs though their handlers have ended, by the stacks it shows on USR1."""
    worker.signal(signal.SIGUSR1)
    shown = worker.events("worker_stacks")
    if not shown:
        return False
    lines = shown[-1]["event"].splitlines()
    return all(
        any(job_id in line and "not started" in after for line, after in itertools.pairwise(lines))
        for job_id in job_ids
    )


async def test_a_worker_frozen_past_its_lease_can_write_nothing_and_goes_on_working(
    world: World, database: str
) -> None:
    world.pages.delay = world.receiver.delay = 0.0
    ids = world.import_rules(3)
    frozen = await freeze_at_work(world, ids)
    cancelled, refused = world.pages.gates[f"/{ids[1]}"], world.pages.gates[f"/{ids[2]}"]
    sent = world.receiver.gates[HOOK]
    other = await take_over(world)
    (alert,) = await world.store.alerts()
    dispatch = delivery_job_id(f"alert-{alert.id}", "hook")

    # What it waited for comes in before it can hear of anything: only the fences are in its way.
    assert world.server.pid is not None
    os.kill(world.server.pid, signal.SIGSTOP)
    refused.set()
    sent.set()
    frozen.signal(signal.SIGCONT)

    async def tried_to_write() -> bool:
        return has_ended_inside(frozen, f"held-{ids[2]}", dispatch)

    await world.until(tried_to_write, "the frozen worker has tried to write")
    os.kill(world.server.pid, signal.SIGCONT)

    async def was_told() -> bool:
        return len(frozen.events("lease_lost")) == 1 and len(refusals(frozen)) == 2

    await world.until(was_told, "the frozen worker has been told")
    assert not cancelled.is_set()
    assert [event["job_id"] for event in frozen.events("lease_lost")] == [f"held-{ids[1]}"]
    told = {event["job_id"]: event["error"] for event in refusals(frozen)}
    assert told.keys() == {f"held-{ids[2]}", dispatch}
    assert all(error.startswith("StaleWorker") for error in told.values())

    assert other.terminate() == 0
    await world.enqueue(ids, note="after")
    await world.settled()
    assert {event["job_id"] for event in frozen.events("rule_checked")} >= {f"after-{one}" for one in ids}
    counts = await world.count()
    print(
        f"\n{counts.checks} checks, 1 worker frozen past its lease with 2 checks and 1 dispatch in hand ({database},"
        f" Valkey): handlers cancelled 1, writes refused by the store {len(told)} and by the broker {len(told)}: {counts}"
    )
    counts.assert_sound()
    assert (counts.fetched_again, counts.sent_again) == (2, 1)


def refusals(worker: WorkerProcess) -> list[dict[str, str]]:
    """Ends of jobs, told by their handlers, that the broker did not take."""
    ended = worker.events("job_ended")
    return [event for event in ended if event["outcome"] == "lease_lost" and event["error"] is not None]
