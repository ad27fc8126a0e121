"""What checks, changes, alerts and deliveries come to, as Prometheus metrics.

`SentinelMetrics` is an observer (sentinel.events). Labels are words from short lists, never a URL,
a host or an id; a word that is in no list counts as `other`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, get_args

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sentinel.errors import ERROR_CODES, SentinelError
from sentinel.events import AlertRecorded, ChangeConfirmed, DeliveryEnded, Event, RunEnded
from sentinel.model import ChangeKind, Health

#: Seconds a fetch takes: loopback to the longest timeout.
FETCH_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
#: Bytes on the wire: an empty answer to the largest page the fetcher accepts.
SIZE_BUCKETS: Final = (1e3, 1e4, 5e4, 1e5, 2.5e5, 5e5, 1e6, 2.5e6, 5e6, 1e7, 2.5e7)
#: Seconds from change seen to accepted: the last retry is nearly nine minutes after the first try.
DELIVERY_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
#: Seconds a look at the rules is good for, and may take.
RULES_MAX_AGE: Final = 1.0
RULES_TIMEOUT: Final = 2.0

_MODES: Final = frozenset(("http", "headless", "solver", "none"))
_OUTCOMES: Final = frozenset(("ok", *ERROR_CODES))
_KINDS: Final = frozenset(get_args(ChangeKind))
_HEALTH: Final[tuple[Health, ...]] = get_args(Health)
#: Why an alert is not sent, and `queued`: it is.
_RESULTS: Final = frozenset(
    ("queued", "duplicate", "cooldown", "quiet_hours", "incident", "digest", "no_channels", "disabled")
)
#: Ways to tell somebody, those of later versions included.
_CHANNELS: Final = frozenset(
    ("webhook", "console", "email", "slack", "discord", "teams", "telegram", "ntfy", "apprise")
)


def _known(word: str, words: frozenset[str]) -> str:
    return word if word in words else "other"


class SentinelMetrics:
    """Counts the events it is called with."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = Counter(
            "sentinel_runs", "Checks that ended, by outcome.", ["mode", "outcome"], registry=registry
        )
        self._fetch_seconds = Histogram(
            "sentinel_fetch_duration_seconds",
            "Time of a fetch.",
            ["mode"],
            buckets=FETCH_BUCKETS,
            registry=registry,
        )
        self._fetch_bytes = Histogram(
            "sentinel_fetch_bytes",
            "Size of a fetched page on the wire.",
            ["mode"],
            buckets=SIZE_BUCKETS,
            registry=registry,
        )
        self._changes = Counter("sentinel_changes", "Confirmed changes.", ["kind"], registry=registry)
        self._alerts = Counter(
            "sentinel_alerts",
            "Alerts recorded; result: queued, or why not.",
            ["severity", "result"],
            registry=registry,
        )
        self._deliveries = Counter(
            "sentinel_deliveries", "Channels tried.", ["channel_kind", "outcome"], registry=registry
        )
        self._delivery_seconds = Histogram(
            "sentinel_delivery_seconds",
            "Time from change seen to accepted.",
            ["channel_kind"],
            buckets=DELIVERY_BUCKETS,
            registry=registry,
        )
        #: Pages open in the browser.
        self.browser_pages = Gauge("sentinel_browser_pages", "Pages open in the browser.", registry=registry)
        #: Times the browser was started anew.
        self.browser_restarts = Counter(
            "sentinel_browser_restarts", "Times the browser was started anew.", registry=registry
        )

    def __call__(self, event: Event) -> None:
        """Count one event."""
        match event:
            case RunEnded():
                self._run_ended(event)
            case ChangeConfirmed():
                self._changes.labels(_known(event.kind, _KINDS)).inc()
            case AlertRecorded():
                self._alerts.labels(event.severity, _known(event.result, _RESULTS)).inc()
            case DeliveryEnded():
                self._delivery_ended(event)

    def _run_ended(self, event: RunEnded) -> None:
        mode = _known(event.mode, _MODES)
        self._runs.labels(mode, _known(event.outcome, _OUTCOMES)).inc()
        if event.fetch_seconds is not None:
            self._fetch_seconds.labels(mode).observe(event.fetch_seconds)
        if event.fetch_bytes is not None:
            self._fetch_bytes.labels(mode).observe(event.fetch_bytes)

    def _delivery_ended(self, event: DeliveryEnded) -> None:
        kind = _known(event.channel_kind, _CHANNELS)
        self._deliveries.labels(kind, event.outcome).inc()
        if event.seconds is not None:
            self._delivery_seconds.labels(kind).observe(event.seconds)


class RuleGauges(Collector):
    """How many rules are well, looked up in the database when somebody scrapes.

    As streamq.metrics.QueueGauges: one place per deployment tells it, in two steps.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        count: Callable[[], Awaitable[Mapping[Health, int]]],
        *,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`count` looks; `leads` says whether it is told here."""
        self._count = count
        self._leads = leads
        self._found: Mapping[Health, int] | None = None
        self._looked_at: float | None = None
        registry.register(self)

    async def refresh(self) -> None:
        """Look, unless somebody just did. When the database does not answer, nothing is told."""
        now = anyio.current_time()
        if self._looked_at is not None and now - self._looked_at < RULES_MAX_AGE:
            return
        self._looked_at = now
        found = None
        with anyio.move_on_after(RULES_TIMEOUT):
            try:
                found = await self._count() if self._leads() else None
            except SentinelError:
                found = None
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """What `refresh` found."""
        rules = GaugeMetricFamily("sentinel_rules", "Enabled rules, by health.", labels=["health"])
        if self._found is not None:
            for health in _HEALTH:
                rules.add_metric([health], self._found.get(health, 0))
        return (rules,)
