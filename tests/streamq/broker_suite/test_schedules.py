"""Recurring jobs: a tick has one job, whoever fires it, and never before its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest

from streamq.broker import Broker, Done, ScheduleChange
from streamq.errors import ScheduleNotFound
from streamq.events import Event, TickFired
from streamq.limits import Limit
from streamq.recurring import Recurring
from streamq.schedules import Cron, Every, tick_words
from streamq.ticker import fire_due
from tests.streamq.rig import PATIENCE, Rig, job

A_YEAR = 366 * 86400.0


def quiet(event: Event) -> None:
    pass


async def soon(rig: Rig, *, within: float = 1.0, every: float = 1, **options: Any) -> Recurring:
    """A schedule `beat` whose next tick is `within` seconds ahead, and its ticks `every` seconds apart."""
    recurring = Recurring(rig.stream, rig.broker)
    start = (await rig.now_ms()) / 1000 + within
    await recurring.add("beat", Every(every), {"n": 1}, start=start, **options)
    return recurring


async def its_tick(rig: Rig) -> None:
    """Return when the next tick of `beat` is due: the first one may have passed before it was there."""
    due = (await Recurring(rig.stream, rig.broker).get("beat")).next_due
    assert due is not None
    await rig.let_pass(max(0.0, due - await rig.now_ms() / 1000))


async def ready(rig: Rig) -> list[str]:
    return [one.envelope.id for one in await rig.broker.waiting(rig.stream)]


# --- firing --------------------------------------------------------------------------------------------------


async def test_a_tick_is_not_fired_before_its_time_and_has_one_job_after_it(rig: Rig) -> None:
    # A machine that is busy for longer than a second makes up for this tick, not for the latest one.
    recurring = await soon(rig, max_runs=1, catch_up="every")
    due = (await recurring.get("beat")).next_due
    assert due is not None

    left = await fire_due(rig.broker, rig.stream, quiet)
    assert await ready(rig) == []
    assert left is not None
    await rig.let_pass(left)
    told: list[Event] = []
    assert await fire_due(rig.broker, rig.stream, told.append) is None, "no tick is left"

    (lease,) = await rig.hand().take(9)
    assert lease.envelope.id == f"beat@{tick_words(round(due * 1000))}"
    assert lease.envelope.payload == b'{"n":1}'
    assert lease.envelope.eligible_ms == round(due * 1000)
    assert lease.envelope.headers == {
        "streamq-schedule": "beat",
        "streamq-tick": tick_words(round(due * 1000)),
    }
    (event,) = told
    assert isinstance(event, TickFired)
    assert (event.schedule_id, event.job_id, event.created) == ("beat", lease.envelope.id, True)
    assert event.lateness >= 0
    assert (await rig.stats()).counters["enqueued"] == 1


async def test_many_who_fire_at_once_add_one_job(rig: Rig) -> None:
    await soon(rig, within=0.1, max_runs=1)
    await its_tick(rig)
    async with anyio.create_task_group() as workers:
        for _ in range(8):
            workers.start_soon(fire_due, rig.broker, rig.stream, quiet)
    assert len(await ready(rig)) == 1


async def test_a_change_that_was_made_from_an_older_record_is_refused(rig: Rig) -> None:
    recurring = await soon(rig, within=A_YEAR)
    (old,) = (await rig.broker.schedules(rig.stream)).found
    await recurring.add("beat", Every(1), {"n": 2}, start=1.0)
    for expected in (old.revision, None):
        change = ScheduleChange(schedule_id="beat", expected=expected, body=None)
        assert await rig.broker.change_schedule(rig.stream, change) is None
    early = ScheduleChange(
        schedule_id="new", expected=None, body=b"{}", not_before_ms=await rig.now_ms() + 60_000
    )
    assert await rig.broker.change_schedule(rig.stream, early) is None
    (now,) = (await rig.broker.schedules(rig.stream)).found
    assert b'{"n":2}' in now.body


async def test_a_paused_stream_fires_nothing_and_makes_up_for_it_by_the_schedules_policy(rig: Rig) -> None:
    await soon(rig, within=0.1, max_runs=1)
    await rig.broker.set_paused(rig.stream, paused=True)
    await its_tick(rig)
    assert await fire_due(rig.broker, rig.stream, quiet) is None
    assert await ready(rig) == []
    await rig.broker.set_paused(rig.stream, paused=False)
    await fire_due(rig.broker, rig.stream, quiet)
    assert len(await ready(rig)) == 1


async def test_where_jobs_may_not_overlap_a_tick_is_left_out_while_one_is_there(rig: Rig) -> None:
    recurring = await soon(rig, within=0.05, overlap="skip")
    await its_tick(rig)
    await fire_due(rig.broker, rig.stream, quiet)
    (lease,) = await rig.hand().take(9)

    await its_tick(rig)
    told: list[Event] = []
    await fire_due(rig.broker, rig.stream, told.append)
    assert await ready(rig) == []
    assert [event.created for event in told if isinstance(event, TickFired)] == [False]
    seen = await recurring.get("beat")
    assert (seen.runs, seen.overlapped) == (1, 1)
    assert not (await recurring.trigger("beat")).created

    await rig.hand().finish(Done(lease))
    await its_tick(rig)
    await fire_due(rig.broker, rig.stream, quiet)
    assert len(await ready(rig)) == 1


async def test_a_tick_of_any_size_policy_and_lane_arrives_as_it_was_asked_for(rig: Rig) -> None:
    await soon(rig, within=0.05, max_runs=1, lane="high", headers={"a": "ü"}, timeout=5.0)
    await its_tick(rig)
    await fire_due(rig.broker, rig.stream, quiet)
    (lease,) = await rig.hand().take(9)
    assert (lease.lane, lease.envelope.timeout, lease.envelope.headers["a"]) == ("high", 5.0, "ü")


# --- waiting for it ------------------------------------------------------------------------------------------


async def test_a_new_earliest_tick_wakes_a_sleeper_and_a_later_one_does_not(rig: Rig) -> None:
    recurring = Recurring(rig.stream, rig.broker)
    await rig.hand().take()
    woken = []

    async def sleep() -> None:
        woken.append(await rig.broker.wait(rig.stream, "alice", timeout=PATIENCE))

    with anyio.fail_after(PATIENCE):
        await recurring.add("first", Every(3600), None)
        await sleep()
        await recurring.add("later", Every(3600), None, start=4_000_000_000.0)
        await rig.put_one()
        await sleep()
    assert [(one.knocked, one.rescheduled, len(one.leases)) for one in woken] == [
        (True, True, 0),
        (False, False, 1),
    ]


async def test_a_heartbeat_tells_how_many_there_are_and_when_the_next_tick_is(rig: Rig) -> None:
    alice = rig.hand()
    await alice.turn()
    assert (alice.renew().schedules, alice.renew().next_tick) == (0, None)
    await soon(rig, within=100.0)
    recurring = Recurring(rig.stream, rig.broker)
    await recurring.add("other", Every(3600), None)
    await recurring.pause("other")
    renewal = alice.renew()
    assert renewal.schedules == 2
    assert renewal.next_tick is not None
    assert 90 < renewal.next_tick <= 100


# --- by hand -------------------------------------------------------------------------------------------------


async def test_a_schedule_is_added_listed_paused_resumed_triggered_and_removed(rig: Rig) -> None:
    recurring = Recurring(rig.stream, rig.broker)
    nightly = await recurring.add("nightly", Cron("0 3 * * *", timezone="Europe/Bratislava"), {"n": 1})
    hourly = await recurring.add("hourly", Every(3600), [1, 2], lane="low")
    assert nightly.next_due is not None
    assert {one.schedule.id for one in await recurring.list()} == {"nightly", "hourly"}
    assert await recurring.get("hourly") == hourly

    paused = await recurring.pause("nightly")
    assert (paused.paused, paused.next_due) == (True, None)
    assert [one.schedule.id for one in await recurring.list()] == ["hourly", "nightly"]
    assert await recurring.resume("nightly") == nightly

    receipt = await recurring.trigger("hourly")
    assert receipt.job_id.startswith("hourly@")
    (lease,) = await rig.hand().take(9)
    assert (lease.envelope.id, lease.envelope.payload, lease.lane) == (receipt.job_id, b"[1,2]", "low")
    assert await recurring.get("hourly") == hourly, "a trigger is beside the ticks"

    assert await recurring.remove("hourly")
    assert not await recurring.remove("hourly")
    assert [one.schedule.id for one in await recurring.list()] == ["nightly"]
    for verb in (recurring.get, recurring.pause, recurring.resume, recurring.trigger):
        with pytest.raises(ScheduleNotFound, match="hourly"):
            await verb("hourly")


async def test_a_payload_that_changes_keeps_the_tick_and_another_interval_does_not(rig: Rig) -> None:
    recurring = await soon(rig, within=50.0)
    before = await recurring.get("beat")
    start = before.schedule.start
    changed = await recurring.add("beat", Every(1), {"n": 2}, start=start, headers={"a": "b"})
    assert changed.next_due == before.next_due
    assert bytes(changed.schedule.payload) == b'{"n":2}'
    assert (await recurring.add("beat", Every(7), {"n": 2})).next_due != before.next_due
    await recurring.pause("beat")
    assert (await recurring.add("beat", Every(9), {"n": 2})).paused


@pytest.mark.parametrize("change", [lambda r: r.pause("beat"), lambda r: r.remove("beat")])
async def test_what_is_paused_or_removed_fires_no_more(rig: Rig, change: Callable[[Recurring], Any]) -> None:
    recurring = await soon(rig, within=0.05)
    await change(recurring)
    await rig.let_pass(0.1)
    assert await fire_due(rig.broker, rig.stream, quiet) is None
    assert await ready(rig) == []


async def test_many_processes_that_declare_the_same_make_one_schedule_and_remove_what_is_gone(
    rig: Rig,
) -> None:
    recurring = await soon(rig, within=A_YEAR)
    declared = (await recurring.get("beat")).schedule
    await recurring.add("old", Every(60), None)
    async with anyio.create_task_group() as workers:
        for _ in range(5):
            workers.start_soon(Recurring(rig.stream, rig.broker).declare, [declared], ["old"])
    (only,) = await recurring.list()
    assert (only.schedule.id, only.declared) == ("beat", True)


async def test_a_schedule_that_is_declared_no_more_is_told_and_left_alone(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    recurring = await soon(rig, within=A_YEAR)
    await recurring.declare([(await recurring.get("beat")).schedule])
    await recurring.add("by-hand", Every(60), None)
    await recurring.declare([])
    assert {one.schedule.id for one in await recurring.list()} == {"beat", "by-hand"}
    told = [record for record in caplog.records if record.message == "schedule_not_declared"]
    assert [record.__dict__["schedule"] for record in told] == ["beat"]


async def test_a_record_that_cannot_be_read_stops_no_other_and_can_be_put_right(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    recurring = await soon(rig, within=0.05, max_runs=1)
    broken = ScheduleChange(schedule_id="broken", expected=None, body=b"\xff{", due_ms=1)
    assert await rig.broker.change_schedule(rig.stream, broken) == []
    await its_tick(rig)
    await fire_due(rig.broker, rig.stream, quiet)
    assert len(await ready(rig)) == 1
    assert "schedule_unreadable" in caplog.text
    await recurring.add("broken", Every(60), None)
    assert (await recurring.get("broken")).schedule.when == Every(60)


# --- with a limit ---------------------------------------------------------------------------------------------


async def test_the_job_of_a_tick_waits_for_others_of_its_limit(rig: Rig) -> None:
    only = Limit("shop", running=1)
    await rig.put(job(id="by-hand", limit=only))
    lease = await rig.hand().take_one()
    recurring = await soon(rig, within=0.05, max_runs=1, limit=only, lane="high")
    await its_tick(rig)
    await fire_due(rig.broker, rig.stream, quiet)

    (parked,) = await rig.broker.parked(rig.stream)
    assert (parked.id[:5], parked.lane, parked.limit) == ("beat@", "high", only)
    assert (await recurring.get("beat")).runs == 1
    triggered = await recurring.trigger("beat")
    bob = rig.hand("bob")
    assert await bob.take(5) == []
    await rig.broker.turn(rig.stream, "alice", sequence=9, finished=[Done(lease)])
    assert (await bob.take_one()).envelope.id == parked.id
    assert [one.id for one in await rig.broker.parked(rig.stream)] == [triggered.job_id]


async def test_the_first_tick_of_a_limit_starts_at_once_and_its_rate_counts(rig: Rig) -> None:
    await soon(rig, within=0.05, max_runs=1, limit=Limit("slow", rate=0.01))
    await its_tick(rig)
    await fire_due(rig.broker, rig.stream, quiet)
    await rig.put(job(id="next", limit=Limit("slow", rate=0.01)))
    (lease,) = (await rig.hand().turn(free=5)).leases
    assert lease.envelope.id.startswith("beat@")
    seen = await rig.broker.find(rig.stream, "next")
    assert seen.state == "parked"
    assert seen.free_in is not None
    assert seen.free_in > 90


async def test_in_a_stream_of_several_partitions_a_tick_s_job_is_where_its_limit_is(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 2)
    only = Limit("a", running=1)  # of partition 1: docs/wire-format.md
    recurring = await soon(rig, within=0.05, max_runs=1, limit=only)
    await its_tick(rig)
    async with anyio.create_task_group() as workers:
        for _ in range(8):
            workers.start_soon(fire_due, rig.broker, rig.stream, quiet)

    (waits,) = await rig.broker.waiting(rig.stream)
    assert waits.envelope.limit == only
    assert [one.envelope.id for one in await rig.broker.waiting(f"{rig.stream}.1")] == [waits.envelope.id]
    seen = await recurring.get("beat")
    assert (seen.runs, seen.overlapped, seen.next_due) == (1, 0, None)
    triggered = await recurring.trigger("beat")
    assert (await rig.broker.find(f"{rig.stream}.1", triggered.job_id)).state == "parked"


async def test_a_tick_whose_worker_died_between_its_two_steps_has_one_job(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 2)
    # Apart by more than a busy machine is late: what is fired again is the same tick.
    recurring = await soon(rig, every=5, max_runs=1, limit=Limit("a", running=1), overlap="skip")
    await its_tick(rig)

    class Dies(BaseException):
        pass

    class Dying:
        def __init__(self) -> None:
            self.counts = rig.broker.counts

        def __getattr__(self, name: str) -> Any:
            if name == "change_schedule":
                raise Dies
            return getattr(rig.broker, name)

    with pytest.raises(Dies):
        await fire_due(cast("Broker", Dying()), rig.stream, quiet)
    assert (await recurring.get("beat")).runs == 0
    await fire_due(rig.broker, rig.stream, quiet)

    assert len(await rig.broker.waiting(rig.stream)) == 1
    seen = await recurring.get("beat")
    assert (seen.runs, seen.overlapped) == (1, 0)


async def test_in_a_stream_of_several_partitions_limited_ticks_do_not_overlap(rig: Rig) -> None:
    await rig.broker.set_partitions(rig.stream, 2)
    recurring = await soon(rig, within=0.05, limit=Limit("a", running=1), overlap="skip")
    for _ in range(2):
        await its_tick(rig)
        await fire_due(rig.broker, rig.stream, quiet)
    assert len(await rig.broker.waiting(rig.stream)) == 1
    seen = await recurring.get("beat")
    assert (seen.runs, seen.overlapped) == (1, 1)
