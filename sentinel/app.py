"""The only place that builds everything: from settings to a running worker."""

from __future__ import annotations

import contextlib
import logging
import secrets as random_secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
import httpx
import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from sentinel.backing import blobs_of, fetcher_of, redis_at, store_of
from sentinel.channels import (
    AppriseSender,
    ConsoleSender,
    Credentials,
    DiscordSender,
    DiscreetSender,
    EmailSender,
    HttpExchange,
    NtfySender,
    PagerDutySender,
    Senders,
    SlackSender,
    TeamsSender,
    TelegramSender,
    TemplatedSender,
    WebhookSender,
)
from sentinel.closer import Closer
from sentinel.credentials import ChannelCredentials, Concealer, Keyring
from sentinel.decide.endpoint import Breaker
from sentinel.errors import TemporaryFailure
from sentinel.extract.contained import Extractor, open_extractor
from sentinel.fetch.fetcher import Fetcher
from sentinel.fetch.guard import NetworkPolicy, mail_dialer, open_client, trusted_context
from sentinel.handlers.check_rule import CheckRuleHandler
from sentinel.handlers.dispatch_alert import DispatchAlertHandler
from sentinel.jobs import (
    ALERTS_DISPATCH,
    DISPATCH_ALERT_RETRY,
    RETENTION,
    RULES_RUN,
    RUN_RULE_RETRY,
    DispatchAlert,
    RunRule,
)
from sentinel.lasting import lasting
from sentinel.model import Health
from sentinel.relay import Relay
from sentinel.render import (
    to_discord,
    to_email,
    to_json,
    to_ntfy,
    to_pagerduty,
    to_plain,
    to_slack,
    to_teams,
    to_telegram,
    to_text,
)
from sentinel.render.contained import open_templates
from sentinel.scheduler import Scheduler
from sentinel.settings import RedisChoice, Settings
from sentinel.store import Store
from sentinel.store.blobs import Blobs
from sentinel.upkeep import Pace, Upkeep
from sentinel.watchdog import Watchdog
from sentinel.web.endpoint import Check, CheckFunction, Pages, serving
from sentinel.web.metrics import RuleGauges, SentinelMetrics
from streamq import Handlers, RedisBroker, Worker, WorkerOptions, WorkerResult
from streamq.clock import Clock, SystemClock
from streamq.consumer import StreamConsumer
from streamq.metrics import Metrics, QueueGauges, watch_loop_lag

log = logging.getLogger("sentinel.app")

#: Both streams, in the order a burst looks at them: checks fill alerts, never the other way.
STREAMS: Final = (RULES_RUN, ALERTS_DISPATCH)
#: Seconds one check, and one dispatch of an alert to all its channels, may take. A fetch may take what
#: its profile says, 300 s at most, and must then end as FETCH_TIMEOUT, not as a handler that hung. A second
#: look by a browser and a picture may each wait a minute for their turn and take a minute.
CHECK_TIMEOUT: Final = 600.0
DISPATCH_TIMEOUT: Final = 120.0


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How `run` was called, beyond the settings."""

    streams: tuple[str, ...] = STREAMS
    #: Seconds to wait for what becomes due; None: not a burst.
    burst_wait: float | None = None
    #: A worker name that is unique among the living; a worker started under it takes over at once.
    name: str | None = None
    handle_signals: bool = True


class Parts(msgspec.Struct, frozen=True):
    """What one process is built of."""

    settings: Settings
    store: Store
    blobs: Blobs
    broker: RedisBroker
    fetcher: Fetcher
    extractor: Extractor
    relay: Relay
    senders: Senders
    registry: CollectorRegistry
    metrics: Metrics
    sentinel_metrics: SentinelMetrics
    clock: Clock


def policy_of(settings: Settings) -> NetworkPolicy:
    """Where rules and webhooks may go."""
    return NetworkPolicy(allow_private=settings.allow_private_networks)


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    concealer: Concealer | None = None,
    write: Callable[[str], object] | None = None,
    migrate: bool = False,
    clock: Clock | None = None,
) -> AsyncIterator[Parts]:
    """Everything a worker needs, connected and checked; closed with the block.

    `environ` is asked for channel secrets by name only, and `concealer` learns them. `write` is where
    console channels write.
    """
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(store_of(settings, migrate=migrate))
        url = await stack.enter_async_context(redis_at(settings.redis))
        broker = await stack.enter_async_context(RedisBroker.from_url(url, client_name="sentinel-worker"))
        facts = await broker.check(allow_eviction=settings.allow_eviction)
        log.info(
            "redis_found", extra={name: facts[name] for name in ("server", "version", "where", "appendonly")}
        )
        registry = CollectorRegistry()
        metrics, sentinel_metrics = Metrics(registry, streams=STREAMS), SentinelMetrics(registry)
        fetcher = await stack.enter_async_context(
            fetcher_of(
                settings,
                tell_pages=sentinel_metrics.browser_pages.set,
                tell_restart=sentinel_metrics.browser_restarts.inc,
            )
        )
        extractor = await stack.enter_async_context(open_extractor())
        senders = await stack.enter_async_context(
            open_senders(settings, environ, concealer or Concealer(), clock, write=write)
        )
        yield Parts(
            settings,
            store,
            blobs_of(settings),
            broker,
            fetcher,
            extractor,
            Relay(store, broker, clock, observer=metrics),
            senders,
            registry,
            metrics,
            sentinel_metrics,
            clock,
        )


@contextlib.asynccontextmanager
async def open_senders(
    settings: Settings,
    environ: Mapping[str, str],
    concealer: Concealer,
    clock: Clock,
    *,
    write: Callable[[str], object] | None = None,
) -> AsyncIterator[Senders]:
    """Every way to tell somebody, none of which repeats a secret; see `opened`."""
    credentials = ChannelCredentials(environ, Keyring(settings.secret_keys), concealer)
    async with open_client(policy_of(settings)) as client, open_templates() as templates:
        senders: Senders = {
            **http_senders(client, credentials, clock.time),
            "apprise": AppriseSender(settings.apprise_schemes, credentials, to_plain),
            "email": EmailSender(
                mail_dialer(policy_of(settings)),
                credentials,
                to_email,
                clock.time,
                default_url=settings.smtp_url,
                tls=trusted_context(),
            ),
            "console": ConsoleSender(write or _to_stdout, to_text),
        }
        yield {
            kind: DiscreetSender(TemplatedSender(sender, templates.words), concealer)
            for kind, sender in senders.items()
        }


def http_senders(client: httpx.AsyncClient, credentials: Credentials, now: Callable[[], float]) -> Senders:
    """Those that POST through `client`; `now` gives seconds since the epoch."""
    http = HttpExchange(client, now)
    return {
        "webhook": WebhookSender(client, credentials, to_json, now),
        "slack": SlackSender(http, credentials, to_slack),
        "discord": DiscordSender(http, credentials, to_discord),
        "teams": TeamsSender(http, credentials, to_teams),
        "telegram": TelegramSender(http, credentials, to_telegram),
        "ntfy": NtfySender(http, credentials, to_ntfy),
        "pagerduty": PagerDutySender(http, credentials, to_pagerduty),
    }


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def handlers_of(parts: Parts) -> Handlers:
    """The two handlers, by the policies of the contract."""
    settings = parts.settings
    handlers = Handlers()
    check = CheckRuleHandler(
        parts.store,
        parts.broker,
        fetcher=parts.fetcher,
        extractor=parts.extractor,
        relay=parts.relay,
        blobs=parts.blobs,
        clock=parts.clock,
        rate_per_domain=settings.rate_per_domain if settings.rate_limiting else None,
        observer=parts.sentinel_metrics,
    )
    dispatch = DispatchAlertHandler(
        parts.store,
        parts.broker,
        parts.senders,
        parts.clock,
        observer=parts.sentinel_metrics,
        queue_observer=parts.metrics,
        breaker=Breaker(after=settings.endpoint_failures),
        channel_slots=max(1, settings.concurrency_alerts // 2),
        poke=parts.relay.poke,
    )
    handlers.on(
        RULES_RUN,
        RunRule,
        concurrency=settings.concurrency_rules,
        retry=RUN_RULE_RETRY,
        timeout=CHECK_TIMEOUT,
        hard_limit=2 * CHECK_TIMEOUT,
        retention=RETENTION,
    )(check)
    handlers.on(
        ALERTS_DISPATCH,
        DispatchAlert,
        concurrency=settings.concurrency_alerts,
        retry=DISPATCH_ALERT_RETRY,
        timeout=DISPATCH_TIMEOUT,
        hard_limit=2 * CHECK_TIMEOUT,
        retention=RETENTION,
    )(dispatch)
    return handlers


async def outbox_waits(store: Store, clock: Clock) -> bool:
    """Whether committed rows still call for jobs; a burst is not over before. A database that is away
    for now has not said no.
    """
    try:
        return (await store.counts(clock.time())).outbox_now > 0
    except TemporaryFailure as error:
        log.warning("store_trouble", extra={"error": str(error)})
        return True


async def work(
    parts: Parts, options: RunOptions, *, started: Callable[[Worker, int | None], None] | None = None
) -> WorkerResult:
    """Run a worker with everything beside it until it is stopped (or its burst is over).

    `started` is told the worker and the port of /metrics. Raises BrokerUnavailable, BrokerRefused.
    """
    settings = parts.settings
    scheduler = Scheduler(parts.store, parts.relay, parts.clock)
    schedules = settings.scheduler and RULES_RUN in options.streams
    closer = Closer(parts.store, parts.relay, parts.clock, observer=parts.sentinel_metrics)

    async def also_busy() -> bool:
        if (schedules and not scheduler.caught_up) or not closer.caught_up:
            return True
        return await outbox_waits(parts.store, parts.clock)

    worker = Worker(
        parts.broker,
        handlers_of(parts),
        streams=[stream for stream in STREAMS if stream in options.streams],
        name=options.name,
        options=WorkerOptions(
            lease=settings.lease_seconds,
            renew=settings.renew_seconds,
            drain_timeout=settings.drain_timeout,
            burst_wait=options.burst_wait,
            max_jobs=settings.max_jobs,
            max_memory=settings.max_memory_mib,
        ),
        observers=[parts.metrics],
        clock=parts.clock,
        also_busy=also_busy,
    )
    await _divide(parts, options.streams)
    async with anyio.create_task_group() as beside, _endpoint(parts, worker) as port:
        beside.start_soon(lasting, parts.relay.run)
        beside.start_soon(watch_loop_lag, parts.metrics)
        if schedules:

            async def schedule() -> None:
                await scheduler.run(once=options.burst_wait is not None)

            beside.start_soon(lasting, schedule)

        async def close() -> None:
            await closer.run(once=options.burst_wait is not None)

        beside.start_soon(lasting, close)
        if options.burst_wait is None:  # a burst is over before there is anything to mend
            beside.start_soon(lasting, _upkeep(parts, worker).run)
            beside.start_soon(lasting, _watchdog(parts, worker).run)
        if started is not None:
            started(worker, port)
        try:
            result = await worker.run(handle_signals=options.handle_signals)
        finally:
            beside.cancel_scope.cancel()
    return result


async def _divide(parts: Parts, streams: Sequence[str]) -> None:
    """Give the streams the partitions they shall have at least."""
    wanted = parts.settings.partitions
    if wanted > 1:
        for stream in streams:
            if await parts.broker.partitions(stream) < wanted:
                await parts.broker.set_partitions(stream, wanted)


def _upkeep(parts: Parts, worker: Worker) -> Upkeep:
    patience = parts.settings.restore_seconds
    first = worker.consumers[0].stream
    return Upkeep(
        parts.store,
        parts.broker,
        parts.clock,
        blobs=parts.blobs,
        pace=Pace(restore_after=patience, restore_every=patience / 2),
        leads=lambda: worker.leads(first),
    )


def _watchdog(parts: Parts, worker: Worker) -> Watchdog:
    first = worker.consumers[0].stream
    return Watchdog(
        parts.store,
        parts.broker,
        parts.relay,
        parts.clock,
        observer=parts.sentinel_metrics,
        leads=lambda: worker.leads(first),
    )


@contextlib.asynccontextmanager
async def _endpoint(parts: Parts, worker: Worker) -> AsyncIterator[int | None]:
    """/metrics, /healthz and /readyz beside the worker, where a port was asked for."""
    if parts.settings.metrics_port is None:
        yield None
        return
    slots = {}
    for consumer in worker.consumers:
        if consumer.partition == 0:
            slots[consumer.stream] = consumer.concurrency
            _watch_load(parts.metrics, worker, consumer)
    queues = QueueGauges(
        parts.registry,
        parts.broker,
        slots=slots,
        leads=worker.leads,
        clock=parts.clock,
    )
    first = worker.consumers[0]

    async def count() -> Mapping[Health, int]:
        return (await parts.store.counts(parts.clock.time())).rules

    rules = RuleGauges(parts.registry, count, leads=lambda: worker.leads(first.stream))

    async def exposition() -> bytes:
        await queues.refresh()
        await rules.refresh()
        return generate_latest(parts.registry)

    pages = Pages(metrics=exposition, checks=_checks(parts, worker))
    async with serving(pages, host=parts.settings.metrics_host, port=parts.settings.metrics_port) as port:
        log.info("endpoint_open", extra={"port": port})
        yield port


def _watch_load(metrics: Metrics, worker: Worker, consumer: StreamConsumer) -> None:
    stream = consumer.stream
    metrics.watch_load(stream, slots=lambda: consumer.concurrency, running=lambda: worker.running(stream))


def _checks(parts: Parts, worker: Worker) -> Mapping[str, CheckFunction]:
    async def consumes() -> Check:
        seconds = worker.last_read_seconds
        return Check(ok=worker.ready, detail=f"last completed read {seconds:.1f} s ago")

    async def database() -> Check:
        await parts.store.check_schema()
        return Check(ok=True)

    return {"worker": consumes, "database": database}


def new_webhook_secret() -> str:
    """A signing secret in the form Standard Webhooks gives it."""
    import base64  # noqa: PLC0415 - for `demo` alone

    return "whsec_" + base64.b64encode(random_secrets.token_bytes(32)).decode()


def embedded_choice(state_dir: Path) -> RedisChoice:
    """The embedded Redis of a state folder."""
    return RedisChoice(kind="embedded", folder=state_dir / "redis")


def names(streams: Sequence[str] | None) -> tuple[str, ...]:
    """Streams to work on: those named, or both."""
    return tuple(streams) if streams else STREAMS
