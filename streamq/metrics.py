"""What workers and streams do, as Prometheus metrics.

`Metrics` is an observer (streamq.events): give it to a worker and to producers. `QueueGauges` tells
how much lies in the streams; that is the same wherever it is asked, so one place per deployment
tells it (`leads`), or `sum()` would count it twice.

Counting costs a worker about a microsecond an event: plain integers here, turned into
prometheus-client's families only when somebody scrapes. Observers run on the worker's event loop;
only `BrokerTrouble` may come from a heartbeat's thread, where a race costs one count.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import anyio
import msgspec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streamq.broker import Broker, StreamStats
from streamq.clock import Clock, SystemClock
from streamq.errors import StreamqError
from streamq.events import (
    BrokerTrouble,
    Event,
    JobEnded,
    JobsEnqueued,
    JobsReclaimed,
    JobStarted,
    ReadCompleted,
    TickFired,
)
from streamq.load import RECORDS, Load, Look, look, measure

#: Outcomes that are exported. `released` is none: the job is where it was before.
OUTCOMES: Final = ("done", "retried", "snoozed", "dead", "cancelled", "lease_lost")

#: Seconds a handler runs: from a cache hit to a slow browser.
DURATION_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
#: Seconds from eligible to started: a backlog may be hours old.
WAIT_BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
#: Seconds past the due time; the engine promises milliseconds.
LATENESS_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300)
#: Seconds the event loop came back late.
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: Seconds between two looks at the event loop's lag.
LAG_INTERVAL: Final = 0.5
#: Kinds of trouble told apart at most: labels must stay few whatever a server says.
MAX_KINDS: Final = 32
#: Seconds a look at the streams is good for.
GAUGES_MAX_AGE: Final = 1.0
#: Seconds a look at the streams may take before the scrape does without.
GAUGES_TIMEOUT: Final = 2.0
#: Seconds over which what comes into a stream is counted, for `streamq_workers_needed`.
ARRIVALS_OVER: Final = 60.0


class _Histogram:
    """Counts per bucket; cheap to feed, made cumulative when told."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def tell(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            total += count
            # The client's own spelling of a bound; the function carries no types.
            buckets.append((floatToGoString(bound), total))  # type: ignore[no-untyped-call]
        family.add_metric(labels, buckets, self._sum)


class _Stream:
    """The numbers of one stream."""

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.created = 0
        self.duplicate = 0
        self.replaced = 0
        self.reclaimed = 0
        self.duration = _Histogram(DURATION_BUCKETS)
        self.wait = _Histogram(WAIT_BUCKETS)
        self.lateness = _Histogram(LATENESS_BUCKETS)
        #: Partition -> monotonic seconds.
        self.last_reads: dict[int, float] = {}


class _Load(msgspec.Struct, frozen=True):
    slots: Callable[[], int]
    running: Callable[[], int]


class Metrics(Collector):
    """Counts the events it is called with; an observer for workers and producers."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        streams: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        """`streams` are told from the start, as zeros: a rate needs a first value."""
        self._clock = clock or SystemClock()
        self._streams = {name: _Stream() for name in streams}
        self._lag = _Histogram(LAG_BUCKETS)
        self._trouble: dict[str, int] = {}
        self._loads: dict[str, _Load] = {}
        registry.register(self)

    def __call__(self, event: Event) -> None:
        """Count one event."""
        match event:  # the frequent ones first
            case JobEnded():
                self._job_ended(event)
            case JobStarted():
                self._job_started(event)
            case ReadCompleted():
                self._of(event.stream).last_reads[event.partition] = self._clock.monotonic()
            case JobsEnqueued():
                numbers = self._of(event.stream)
                numbers.created += event.created
                numbers.duplicate += event.duplicate
                numbers.replaced += event.replaced
            case TickFired():
                self._of(event.stream).lateness.observe(event.lateness)
            case JobsReclaimed():
                self._of(event.stream).reclaimed += event.ready + event.dead
            case BrokerTrouble():
                self._trouble_met(event.kind)

    def watch_load(self, stream: str, *, slots: Callable[[], int], running: Callable[[], int]) -> None:
        """Ask these at every scrape: jobs a worker may run at once, and jobs it runs."""
        self._loads[stream] = _Load(slots, running)

    def loop_was_late(self, seconds: float) -> None:
        """The event loop came back that much later than asked."""
        self._lag.observe(seconds)

    # --- events ---

    def _of(self, stream: str) -> _Stream:
        found = self._streams.get(stream)
        if found is None:
            found = self._streams[stream] = _Stream()
        return found

    def _job_started(self, event: JobStarted) -> None:
        numbers = self._of(event.stream)
        numbers.wait.observe(event.waited)
        if event.lateness is not None:
            numbers.lateness.observe(event.lateness)

    def _job_ended(self, event: JobEnded) -> None:
        numbers = self._of(event.stream)
        numbers.duration.observe(event.duration)
        if event.outcome in numbers.outcomes:
            numbers.outcomes[event.outcome] += 1

    def _trouble_met(self, kind: str) -> None:
        if kind not in self._trouble and len(self._trouble) >= MAX_KINDS:
            kind = "other"
        self._trouble[kind] = self._trouble.get(kind, 0) + 1

    # --- telling ---

    def collect(self) -> Iterable[Metric]:
        """Everything counted so far, as prometheus-client asks for it."""
        yield from self._counters()
        yield from self._histograms()
        yield from self._worker_gauges()

    def _counters(self) -> Iterable[Metric]:
        jobs = CounterMetricFamily(
            "streamq_jobs", "Deliveries that ended, by outcome.", labels=["stream", "outcome"]
        )
        enqueued = CounterMetricFamily(
            "streamq_jobs_enqueued", "Jobs handed over by producers.", labels=["stream", "result"]
        )
        reclaimed = CounterMetricFamily(
            "streamq_jobs_reclaimed", "Jobs taken back from workers that died.", labels=["stream"]
        )
        for stream, numbers in self._streams.items():
            for outcome, count in numbers.outcomes.items():
                jobs.add_metric([stream, outcome], count)
            enqueued.add_metric([stream, "created"], numbers.created)
            enqueued.add_metric([stream, "duplicate"], numbers.duplicate)
            enqueued.add_metric([stream, "replaced"], numbers.replaced)
            reclaimed.add_metric([stream], numbers.reclaimed)
        errors = CounterMetricFamily("streamq_redis_errors", "Calls to Redis that failed.", labels=["kind"])
        for kind, count in self._trouble.items():
            errors.add_metric([kind], count)
        return jobs, enqueued, reclaimed, errors

    def _histograms(self) -> Iterable[Metric]:
        duration = HistogramMetricFamily(
            "streamq_job_duration_seconds", "Time a handler ran.", labels=["stream"]
        )
        wait = HistogramMetricFamily(
            "streamq_job_wait_seconds", "Time from eligible to started.", labels=["stream"]
        )
        lateness = HistogramMetricFamily(
            "streamq_delay_lateness_seconds",
            "Time a delayed job started after it was due.",
            labels=["stream"],
        )
        for stream, numbers in self._streams.items():
            numbers.duration.tell(duration, [stream])
            numbers.wait.tell(wait, [stream])
            numbers.lateness.tell(lateness, [stream])
        lag = HistogramMetricFamily(
            "streamq_worker_loop_lag_seconds", "Time the event loop came back late.", labels=[]
        )
        self._lag.tell(lag, [])
        return duration, wait, lateness, lag

    def _worker_gauges(self) -> Iterable[Metric]:
        slots = GaugeMetricFamily(
            "streamq_worker_slots", "Jobs this worker may run at once.", labels=["stream"]
        )
        jobs = GaugeMetricFamily("streamq_worker_jobs", "Jobs this worker runs.", labels=["stream"])
        for stream, load in self._loads.items():
            slots.add_metric([stream], load.slots())
            jobs.add_metric([stream], load.running())
        last_read = GaugeMetricFamily(
            "streamq_worker_last_read_seconds",
            "Time since this worker's last completed read.",
            labels=["stream"],
        )
        now = self._clock.monotonic()
        for stream, numbers in self._streams.items():
            if numbers.last_reads:
                last_read.add_metric([stream], now - min(numbers.last_reads.values()))
        return slots, jobs, last_read


async def watch_loop_lag(metrics: Metrics, clock: Clock | None = None) -> None:
    """Measure, until cancelled, how late the event loop is: what a blocking handler costs the others."""
    clock = clock or SystemClock()
    while True:
        asked = clock.monotonic()
        await anyio.sleep(LAG_INTERVAL)
        metrics.loop_was_late(max(0.0, clock.monotonic() - asked - LAG_INTERVAL))


class QueueGauges(Collector):
    """How much lies in the streams, looked up when somebody scrapes (at most once a second).

    A scrape is two steps, for a broker answers asynchronously and prometheus-client does not wait:
    `await refresh()`, then `generate_latest(registry)`.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        broker: Broker,
        *,
        slots: Mapping[str, int],
        leads: Callable[[str], bool] = lambda _: True,
        clock: Clock | None = None,
    ) -> None:
        """`slots` is stream -> jobs one worker runs at once, `leads` whether a stream is told here.

        Where several workers export, `leads(stream)` must be true in one of them: the worker whose name is
        the lowest among the stream's heartbeats is a choice that needs no talk, and that moves on
        within a lease when that worker dies.
        """
        self._broker = broker
        self._slots = dict(slots)
        self._leads = leads
        self._clock = clock or SystemClock()
        self._looked_at: float | None = None
        self._loads: tuple[Load, ...] = ()
        #: Stream -> looks of the last minute, oldest first, and the one before them.
        self._looks: dict[str, list[Look]] = {}
        self._lock = anyio.Lock()
        registry.register(self)

    async def refresh(self) -> None:
        """Look, unless somebody just did. When the broker does not answer, nothing is told."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._looked_at is not None and now - self._looked_at < GAUGES_MAX_AGE:
                return
            self._loads = await self._look()
            self._looked_at = self._clock.monotonic()

    async def _look(self) -> tuple[Load, ...]:
        # An old number is worse than none: alerts have "absent" for the latter.
        with anyio.move_on_after(GAUGES_TIMEOUT):
            try:
                return tuple([await self._load(name) for name in self._slots if self._leads(name)])
            except StreamqError:
                return ()
        return ()

    async def _load(self, stream: str) -> Load:
        stats = await self._broker.stats(stream)
        now = look(stats, self._clock.monotonic())
        records = await self._broker.done(stream, limit=RECORDS)
        looks = self._looks.setdefault(stream, [])
        while len(looks) > 1 and looks[1].at <= now.at - ARRIVALS_OVER:
            del looks[0]
        load = measure(stats, records, now=now, before=looks[0] if looks else None)
        looks.append(now)
        return load

    def collect(self) -> Iterable[Metric]:
        """What `refresh` found."""
        jobs = GaugeMetricFamily("streamq_stream_jobs", "Jobs in the stream.", labels=["stream", "state"])
        oldest = GaugeMetricFamily(
            "streamq_stream_oldest_job_seconds",
            "Age of the oldest job that waits; 0: none.",
            labels=["stream"],
        )
        paused = GaugeMetricFamily(
            "streamq_stream_paused", "1 while the stream is paused.", labels=["stream"]
        )
        needed = GaugeMetricFamily(
            "streamq_workers_needed",
            "Workers like this one that keep up with what arrives and work off what waits within a minute.",
            labels=["stream"],
        )
        for load in self._loads:
            stats = load.stats
            for state, count in _states(stats).items():
                jobs.add_metric([stats.stream, state], count)
            oldest.add_metric([stats.stream], stats.oldest_seconds or 0.0)
            paused.add_metric([stats.stream], int(stats.paused))
            slots = stats.concurrency or self._slots[stats.stream]
            needed.add_metric([stats.stream], load.workers_needed(slots))
        return jobs, oldest, paused, needed


def _states(stats: StreamStats) -> dict[str, int]:
    return {
        "ready": sum(stats.ready.values()),
        "leased": stats.leased,
        "delayed": stats.delayed,
        "parked": stats.parked,
        "dead": stats.dead,
        "done": stats.done,
    }
