from __future__ import annotations

import shutil

import anyio
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streamq.broker import StreamStats
from streamq.clock import ManualClock
from streamq.errors import BrokerUnavailable
from streamq.events import (
    BrokerTrouble,
    JobEnded,
    JobsEnqueued,
    JobsReclaimed,
    JobStarted,
    Outcome,
    ReadCompleted,
)
from streamq.job import NewJob
from streamq.metrics import MAX_KINDS, OUTCOMES, Metrics, QueueGauges
from streamq.testing.memory import MemoryBroker

S = "rules:run"


def ended(outcome: Outcome, duration: float = 0.1) -> JobEnded:
    return JobEnded(stream=S, job_id="j", attempt=1, outcome=outcome, duration=duration)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


class CountingBroker(MemoryBroker):
    """Counts the looks, and may be away."""

    looks = 0
    away = False

    async def stats(self, stream: str) -> StreamStats:
        self.looks += 1
        if self.away:
            raise BrokerUnavailable
        return await super().stats(stream)


def test_every_outcome_is_counted_and_a_release_is_none() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, streams=[S])

    for outcome in (*OUTCOMES, "done", "released"):
        metrics(ended(outcome))

    counted = {o: value(registry, "streamq_jobs_total", stream=S, outcome=o) for o in OUTCOMES}
    assert counted == dict.fromkeys(OUTCOMES, 1.0) | {"done": 2.0}
    assert value(registry, "streamq_jobs_total", stream=S, outcome="released") is None


def test_a_known_stream_is_told_as_zeros_before_anything_happened() -> None:
    registry = CollectorRegistry()
    Metrics(registry, streams=[S])

    assert value(registry, "streamq_jobs_total", stream=S, outcome="dead") == 0
    assert value(registry, "streamq_jobs_enqueued_total", stream=S, result="created") == 0
    assert value(registry, "streamq_worker_last_read_seconds", stream=S) is None


def test_histograms_count_into_the_bucket_that_holds_the_value() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    metrics(JobStarted(stream=S, job_id="a", attempt=1, waited=0.1, lateness=None))
    metrics(JobStarted(stream=S, job_id="b", attempt=1, waited=7200.0, lateness=0.003))
    metrics(ended("done", duration=0.3))

    assert value(registry, "streamq_job_wait_seconds_bucket", stream=S, le="0.025") == 0
    assert value(registry, "streamq_job_wait_seconds_bucket", stream=S, le="0.1") == 1
    assert value(registry, "streamq_job_wait_seconds_bucket", stream=S, le="3600.0") == 1
    assert value(registry, "streamq_job_wait_seconds_bucket", stream=S, le="+Inf") == 2
    assert value(registry, "streamq_job_wait_seconds_sum", stream=S) == pytest.approx(7200.1)
    assert value(registry, "streamq_delay_lateness_seconds_count", stream=S) == 1
    assert value(registry, "streamq_job_duration_seconds_bucket", stream=S, le="0.5") == 1


def test_producers_reclaims_and_trouble_are_counted() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    metrics(JobsEnqueued(stream=S, created=5, duplicate=2))
    metrics(JobsReclaimed(stream=S, worker="w", ready=3, dead=1))
    metrics(BrokerTrouble(kind="unavailable", detail="no answer"))

    assert value(registry, "streamq_jobs_enqueued_total", stream=S, result="created") == 5
    assert value(registry, "streamq_jobs_enqueued_total", stream=S, result="duplicate") == 2
    assert value(registry, "streamq_jobs_reclaimed_total", stream=S) == 4
    assert value(registry, "streamq_redis_errors_total", kind="unavailable") == 1


def test_kinds_of_trouble_stay_few_whatever_is_told() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    for number in range(1000):
        metrics(BrokerTrouble(kind=f"kind-{number}", detail=""))

    assert generate_latest(registry).count(b"streamq_redis_errors_total{") == MAX_KINDS + 1
    assert value(registry, "streamq_redis_errors_total", kind="other") == 1000 - MAX_KINDS


def test_a_worker_s_load_and_its_last_read_are_asked_at_every_scrape() -> None:
    clock, registry = ManualClock(), CollectorRegistry()
    metrics = Metrics(registry, clock=clock)
    running = [2]
    metrics.watch_load(S, slots=lambda: 5, running=lambda: running[0])
    metrics(ReadCompleted(stream=S))

    clock.advance(7)
    running[0] = 4

    assert value(registry, "streamq_worker_slots", stream=S) == 5
    assert value(registry, "streamq_worker_jobs", stream=S) == 4
    assert value(registry, "streamq_worker_last_read_seconds", stream=S) == 7


async def test_queue_gauges_tell_what_lies_in_the_stream() -> None:
    clock, registry = ManualClock(), CollectorRegistry()
    broker = MemoryBroker(clock)
    jobs = [NewJob(payload=b"{}", id=f"j{n}", delay=60.0 if n > 5 else 0.0) for n in range(8)]
    await broker.enqueue(S, jobs, call_id="c")
    await broker.turn(S, "w1", sequence=1, free=2)
    await broker.set_paused(S, paused=True)
    clock.advance(9)
    gauges = QueueGauges(registry, broker, slots={S: 5})

    await gauges.refresh()

    states = {
        s: value(registry, "streamq_stream_jobs", stream=S, state=s)
        for s in ("ready", "leased", "delayed", "dead", "done")
    }
    assert states == {"ready": 4, "leased": 2, "delayed": 2, "dead": 0, "done": 0}
    assert value(registry, "streamq_stream_oldest_job_seconds", stream=S) == pytest.approx(9, abs=0.1)
    assert value(registry, "streamq_stream_paused", stream=S) == 1
    assert value(registry, "streamq_workers_needed", stream=S) == 1


async def test_scrapes_within_a_second_share_one_look() -> None:
    clock, registry = ManualClock(), CollectorRegistry()
    broker = CountingBroker(clock)
    gauges = QueueGauges(registry, broker, slots={S: 5}, clock=clock)

    await gauges.refresh()
    await gauges.refresh()
    clock.advance(1.5)
    await gauges.refresh()

    assert broker.looks == 2


async def test_only_the_place_that_leads_tells_a_stream() -> None:
    registry = CollectorRegistry()
    gauges = QueueGauges(
        registry, MemoryBroker(), slots={S: 5, "other": 1}, leads=lambda name: name == "other"
    )

    await gauges.refresh()

    assert value(registry, "streamq_stream_paused", stream=S) is None
    assert value(registry, "streamq_stream_paused", stream="other") == 0


async def test_old_numbers_are_dropped_when_the_broker_is_away() -> None:
    clock, registry = ManualClock(), CollectorRegistry()
    broker = CountingBroker(clock)
    gauges = QueueGauges(registry, broker, slots={S: 5}, clock=clock)
    await gauges.refresh()

    broker.away = True
    clock.advance(2)
    await gauges.refresh()

    assert value(registry, "streamq_stream_paused", stream=S) is None


@pytest.mark.parametrize(
    ("ready", "leased", "delayed", "paused", "needed"),
    [
        (0, 0, 0, False, 0),
        (1, 0, 0, False, 1),
        (11, 4, 0, False, 3),
        (11, 5, 0, False, 4),
        (0, 0, 1, False, 1),
        (100, 0, 0, True, 0),
        (100, 3, 0, True, 1),
    ],
)
def test_workers_needed_covers_what_is_ready_and_in_hand(
    ready: int, leased: int, delayed: int, paused: bool, needed: int
) -> None:
    stats = StreamStats(
        stream=S,
        ready={"high": 0, "normal": ready, "low": 0},
        leased=leased,
        delayed=delayed,
        dead=9,
        done=9,
        oldest_seconds=None,
        workers=1,
        paused=paused,
        counters={},
    )

    assert stats.workers_needed(5) == needed


async def test_promtool_accepts_every_name() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool found")
    registry = CollectorRegistry()
    metrics = Metrics(registry, streams=[S])
    metrics(JobStarted(stream=S, job_id="a", attempt=1, waited=0.1, lateness=0.1))
    metrics(BrokerTrouble(kind="full", detail=""))
    metrics.watch_load(S, slots=lambda: 5, running=lambda: 0)
    metrics(ReadCompleted(stream=S))
    metrics.loop_was_late(0.2)
    gauges = QueueGauges(registry, MemoryBroker(), slots={S: 5})
    await gauges.refresh()

    with anyio.fail_after(60):
        checked = await anyio.run_process(
            [promtool, "check", "metrics"], input=generate_latest(registry), check=False
        )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
