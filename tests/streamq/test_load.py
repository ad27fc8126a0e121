"""How many workers a stream needs, by what comes in, how long it takes, and what waits."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from streamq.broker import Done, DoneJob, StreamStats
from streamq.clock import ManualClock
from streamq.job import NewJob
from streamq.load import RECENT, Load, Look, look, measure
from streamq.metrics import QueueGauges
from streamq.testing import MemoryBroker


def stats(
    ready: int = 0, leased: int = 0, delayed: int = 0, *, paused: bool = False, **counters: int
) -> StreamStats:
    return StreamStats(
        stream="images",
        ready={"high": 0, "normal": ready, "low": 0},
        leased=leased,
        delayed=delayed,
        dead=0,
        done=0,
        oldest_seconds=None,
        workers=1,
        paused=paused,
        counters=counters,
    )


def record(ms: int, duration: float, **more: str) -> DoneJob:
    return DoneJob(f"{ms}-0", "j", 1, duration, ms, **more)  # type: ignore[arg-type]  # an outcome


@pytest.mark.parametrize(
    ("load", "needed", "because"),
    [
        (Load(stats(), 0.0, 2.0), 0, "nothing comes and nothing is there"),
        (Load(stats(), 10.0, 2.0), 2, "10 a second of 2 s each are 20 at once, and a worker has 10"),
        (Load(stats(), 10.1, 2.0), 3, "a little more than two workers is three"),
        (Load(stats(), 15.0, 2.0), 3, "30 slots are three workers, not four for a rounding"),
        (Load(stats(), 0.001, 0.1), 1, "something comes now and then"),
        (Load(stats(ready=6000), 0.0, 0.1), 1, "6,000 of 0.1 s are done by ten slots in a minute"),
        (Load(stats(ready=100_000), 0.0, 0.1), 17, "100,000 of 0.1 s: not the ten thousand that would hold them"),
        (Load(stats(ready=100_000), 20.0, 1.0), 169, "what waits and what comes"),
        (Load(stats(ready=50), 0.0, 3600.0), 5, "more workers than jobs are of no use"),
        (Load(stats(leased=50), 0.0, 3600.0), 5, "long jobs keep their workers"),
        (Load(stats(leased=50), 0.0, 0.01), 1, "short ones are over before a worker is"),
        (Load(stats(leased=3600), 1.0, 3600.0), 360, "what runs is not counted twice"),
        (Load(stats(delayed=9), 0.0, 1.0), 1, "somebody must be up when they are due"),
        (Load(stats(ready=500, leased=3, paused=True), 9.0, 9.0), 1, "paused: who holds something stays"),
        (Load(stats(ready=95), 0.0, None), 10, "no duration is known: all in hand at once"),
    ],
)  # fmt: skip
def test_workers_needed(load: Load, needed: int, because: str) -> None:
    assert load.workers_needed(10) == needed, because


def test_a_shorter_time_for_what_waits_needs_more_workers() -> None:
    load = Load(stats(ready=6000), 0.0, 1.0)
    assert [load.workers_needed(10, within=seconds) for seconds in (600, 60, 6, 0)] == [1, 10, 100, 600]


def test_what_came_in_is_what_has_ended_and_what_is_there_more_than_before() -> None:
    before = look(stats(ready=100, leased=5, done=1000), 50.0)
    now = look(stats(ready=40, leased=10, done=1100, dead=2, retried=3, cancelled=1, snoozed=77), 60.0)
    assert measure(stats(), [], now=now, before=before).arriving == pytest.approx(5.1)


def test_a_stream_that_was_flushed_has_no_negative_arrivals() -> None:
    assert measure(stats(), [], now=Look(2.0, 0), before=Look(1.0, 5000)).arriving == 0


def test_with_one_look_what_comes_in_is_what_was_done_of_late() -> None:
    records = [record(1_000_000 - 500 * n, 0.5) for n in range(11)]
    records += [record(1_000_000 - int(RECENT) * 1000, 99.0), record(5, 99.0)]
    load = measure(stats(), [record(1_000_000, 50.0, outcome="cancelled"), *records])
    assert (load.arriving, load.duration) == (2.0, 0.5)
    assert measure(stats(), [record(5, 1.5)]) == Load(stats(), 0.0, 1.5)


async def test_the_gauge_follows_what_comes_in_from_scrape_to_scrape() -> None:
    clock, registry = ManualClock(), CollectorRegistry()
    broker = MemoryBroker(clock)
    gauges = QueueGauges(registry, broker, slots={"images": 5}, clock=clock)

    async def minute(jobs: int, call: str) -> float | None:
        """So many jobs come and are done, 3 s each; then somebody scrapes."""
        new = [NewJob(payload=b"{}", id=f"{call}-{n}") for n in range(jobs)]
        await broker.enqueue("images", new, call_id=call)
        turn = await broker.turn("images", "w", sequence=2 * int(call) + 1, free=jobs)
        clock.advance(60)
        done = [Done(lease, duration=3.0) for lease in turn.leases]
        await broker.turn("images", "w", sequence=2 * int(call) + 2, finished=done)
        await gauges.refresh()
        return registry.get_sample_value("streamq_workers_needed", {"stream": "images"})

    await gauges.refresh()
    assert await minute(100, "0") == 1
    assert await minute(400, "1") == 4
    assert await minute(20, "2") == 1
    assert await minute(0, "3") == 0
