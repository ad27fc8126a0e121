"""The handler of `alerts:dispatch`: brings an alert to a channel.

One job is one delivery, with retries of its own, so that what becomes of one channel does not touch
the others. A job that names several channels (or one, but is not that delivery's own) is split into
theirs and is then done. One delivery row per channel says how far that is: a channel that accepted is
never asked again. At least once, as near to once as the other side allows: an attempt whose answer
was lost is repeated under the same message id.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
from collections.abc import Callable
from typing import Final, Literal, NoReturn

import anyio
import msgspec

from sentinel.channels import Senders, Sent
from sentinel.decide.endpoint import TOO_MANY_WAIT, Breaker
from sentinel.errors import (
    EndpointGone,
    HoldReason,
    NotFound,
    NotYet,
    SendFailed,
    SendLater,
    SendRefused,
    TemporaryFailure,
)
from sentinel.events import DeliveryEnded, Observer, ignore
from sentinel.handlers.shares import Crowded, Shares
from sentinel.jobs import (
    ALERTS_DISPATCH,
    DISPATCH_ALERT_RETRY,
    DispatchAlert,
    alert_job_id,
    delivery_job_id,
    delivery_policy,
)
from sentinel.model import Channel, Document
from sentinel.render import document
from sentinel.store import DeliveryTicket, Store, StoredAlert
from sentinel.store import Outcome as Written
from streamq import Broker, DeadLetter, InvalidJob, Job, NewJob, Queue, Retry, RetryIn, Snooze
from streamq.clock import Clock
from streamq.events import Observer as QueueObserver

log = logging.getLogger("sentinel.dispatch")

#: Channels one job may name: payloads come from anywhere.
MAX_CHANNELS: Final = 100
#: An endpoint that says "at once" means soon, not a tight loop (seconds).
MIN_RETRY_AFTER: Final = 1.0
#: Seconds that a delivery waits at least where it has to.
MIN_SNOOZE: Final = 0.05
#: Deliveries a second that come back to an endpoint for which they waited, and seconds over which they are
#: spread at most.
SPREAD_RATE: Final = 10.0
MAX_SPREAD: Final = 60.0
#: Seconds after which a delivery comes again whose channel held its share of this process's slots.
CROWDED_WAIT: Final = 1.0
#: Why a delivery waits, for people who ask.
_WHY: Final[dict[HoldReason, str]] = {
    "order": "an older alert of its rule comes first",
    "retry_after": "its endpoint asked to be left alone",
    "breaker": "its endpoint does not work; one delivery at a time tries it",
    "rate": "its channel's rate limit",
    "slots": "its endpoint is slow and holds its share of the worker's slots",
}
#: Seconds that writing down an attempt may take once it was made, whoever cancels meanwhile.
RECORD_WAIT: Final = 10.0

#: Ids as the rest of sentinel makes them (sentinel.model.Id); others name nothing that is stored.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,119}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
#: Characters of one part of a message id; a longer part is replaced by its hash.
_MAX_PART: Final = 200


class DeliveryFailed(TemporaryFailure):
    """A channel did not accept the alert for now."""


class DispatchAlertHandler:
    """Callable with a job; built once per process from the parts that it uses."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        senders: Senders,
        clock: Clock,
        *,
        observer: Observer = ignore,
        queue_observer: QueueObserver | None = None,
        retry: Retry = DISPATCH_ALERT_RETRY,
        breaker: Breaker = Breaker(),  # noqa: B008 - frozen
        channel_slots: int = 5,
        poke: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        """`queue_observer` is told of the jobs that a split adds; `retry` is the stream's policy.

        `channel_slots`: deliveries of one channel that this process has in hand at the same time.
        `poke` is called when there is something in the outbox; `rng` spreads those who wait for the
        same endpoint.
        """
        self._store = store
        self._broker = broker
        self._queue = Queue(ALERTS_DISPATCH, broker, observer=queue_observer)
        self._senders = senders
        self._clock = clock
        self._observer = observer
        self._retry = retry
        self._breaker = breaker
        self._shares = Shares(channel_slots)
        self._poke = poke
        self._rng = rng or random.Random()  # noqa: S311 - spreads waits

    async def __call__(self, job: Job[DispatchAlert]) -> None:
        """Try the delivery once, or split the job into its deliveries.

        Raises RetryIn or DeliveryFailed while the channel is worth another attempt (on the last one
        it is a dead letter, `exhausted`), DeadLetter `delivery_refused` when it needs a person,
        `alert_not_found`, `invalid_payload`; Snooze while its turn has not come (an older alert of
        its rule, the endpoint's wish or trouble, the channel's rate); StaleWorker when a later
        delivery of the job has taken over.
        """
        alert = await self._load(job.payload)
        whole = alert_job_id(job.id, job.payload)
        if whole is None:
            await self._split(job, alert)
            return
        await self._deliver(job, alert, message_id(whole, job.payload.channels[0]))

    async def _load(self, payload: DispatchAlert) -> StoredAlert:
        """The alert, which must be of the workspace that the payload says. Raises DeadLetter."""
        if len(payload.channels) > MAX_CHANNELS:
            raise DeadLetter("invalid_payload", f"more than {MAX_CHANNELS} channels")
        nowhere = DeadLetter("alert_not_found", f"no alert {payload.alert_id[:120]!r} in the workspace")
        if not _ID.fullmatch(payload.alert_id):
            raise nowhere
        try:
            alert = await self._store.alert(payload.alert_id)
        except NotFound as exc:
            raise nowhere from exc
        if alert.workspace_id != payload.workspace_id:
            raise nowhere
        return alert

    async def _split(self, job: Job[DispatchAlert], alert: StoredAlert) -> None:
        """A job for each channel that has not accepted the alert; the same ones however often it is done.

        Raises DeadLetter when something among the channels is not the id of one: the others have
        their jobs.
        """
        known = [channel_id for channel_id in job.payload.channels if _ID.fullmatch(channel_id)]
        waiting = await self._store.open_deliveries(alert.id, known, self._clock.time())
        try:
            parts = [self._part(job, channel_id) for channel_id in waiting]
        except InvalidJob as exc:
            raise DeadLetter("invalid_payload", str(exc)) from exc
        receipts = await self._queue.enqueue_jobs(parts)
        log.info(
            "alert_split",
            extra={
                "job_id": job.id,
                "alert_id": alert.id,
                "channels": len(waiting),
                "added": sum(receipt.created for receipt in receipts),
            },
        )
        if strange := [channel_id[:120] for channel_id in job.payload.channels if channel_id not in known]:
            raise DeadLetter("invalid_payload", "not the id of a channel: " + ", ".join(strange))

    def _part(self, job: Job[DispatchAlert], channel_id: str) -> NewJob:
        """The job of one delivery, of a job that names it."""
        policy = delivery_policy(job.payload, channel_id, lane=job.lane)
        return self._queue.new_job(
            msgspec.structs.replace(job.payload, channels=(channel_id,)),
            job_id=delivery_job_id(job.id, channel_id),
            lane=policy.lane,
            unique=policy.unique,
            unique_for=policy.unique_for,
            headers=job.headers,
        )

    async def _deliver(self, job: Job[DispatchAlert], alert: StoredAlert, message: str) -> None:
        """Wait for its turn, claim, send unless it is settled, write down what came of it.

        Raises as __call__ does.
        """
        (channel_id,) = job.payload.channels
        if not _ID.fullmatch(channel_id):
            raise DeadLetter("invalid_payload", f"not the id of a channel: {channel_id[:120]}")
        try:
            async with self._shares.share((alert.workspace_id, channel_id)):
                await self._deliver_now(job, alert, channel_id, message)
        except Crowded:
            raise self._held(job, None, "slots", CROWDED_WAIT + self._spread(1)) from None

    async def _deliver_now(
        self, job: Job[DispatchAlert], alert: StoredAlert, channel_id: str, message: str
    ) -> None:
        """As _deliver, with a share of this process's slots."""
        await self._wait_turn(job, alert, channel_id)
        ticket = await self._claim(job, alert, channel_id, message)
        channel = ticket.channel
        if ticket.settled in ("sent", "skipped"):
            return
        if channel is not None and not channel.enabled:
            await self._mute(ticket)
            return
        if ticket.settled == "dead":
            raise DeadLetter("delivery_refused", f"{channel_id}: refused before")
        if ticket.unreadable is not None:
            await self._failed(job, ticket, SendLater(ticket.unreadable), 0.0, asked=False)
        words = _document(alert)
        began = self._clock.monotonic()
        try:
            sent = await self._send(channel, words, ticket.message_id)
        except SendFailed as failed:
            await self._failed(job, ticket, failed, self._clock.monotonic() - began)
        else:
            await self._sent(ticket, words, sent, self._clock.monotonic() - began)

    # --- whose turn it is -------------------------------------------------------------------------

    async def _wait_turn(self, job: Job[DispatchAlert], alert: StoredAlert, channel_id: str) -> None:
        """Raises Snooze while it is somebody else's turn, or nobody's."""
        now = self._clock.time()
        prospect = await self._store.prospect(alert, channel_id, now, breaker=self._breaker)
        channel = prospect.channel
        if prospect.hold is not None:
            spread = 0.0 if prospect.hold.reason == "order" else self._spread(prospect.waiting)
            raise self._held(job, channel, prospect.hold.reason, prospect.hold.until - now + spread)
        if channel is None or not channel.enabled or channel.rate_per_minute is None:
            return
        wait = await self._broker.limit(
            ALERTS_DISPATCH,
            f"channel:{alert.workspace_id}:{channel_id}",
            rate=channel.rate_per_minute / 60.0,
            burst=1,
            who=job.id,
        )
        if wait > 0:
            raise self._held(job, channel, "rate", wait)

    async def _claim(
        self, job: Job[DispatchAlert], alert: StoredAlert, channel_id: str, message: str
    ) -> DeliveryTicket:
        """The delivery in our hands, the channel as it is at this moment. Raises Snooze, StaleWorker."""
        now = self._clock.time()
        try:
            return await self._store.claim_delivery(
                alert.id, channel_id, job.id, job.fence, now, message_id=message, breaker=self._breaker
            )
        except NotYet as later:
            raise self._held(job, None, later.reason, later.until - now + self._spread(1)) from later

    def _spread(self, waiting: int) -> float:
        """Seconds to come later than one might, so that those who wait do not come all at once."""
        return self._rng.uniform(0.0, min(MAX_SPREAD, max(1.0, waiting / SPREAD_RATE)))

    def _held(
        self, job: Job[DispatchAlert], channel: Channel | None, reason: HoldReason, seconds: float
    ) -> Snooze:
        alert_id, (channel_id,) = job.payload.alert_id, job.payload.channels
        kind = "unknown" if channel is None else channel.type
        self._observer(DeliveryEnded(alert_id, kind, "held"))
        log.debug(
            "delivery_held",
            extra={
                "job_id": job.id,
                "alert_id": alert_id,
                "channel_id": channel_id,
                "reason": reason,
                "seconds": round(seconds, 3),
            },
        )
        return Snooze(max(seconds, MIN_SNOOZE), why=_WHY[reason])

    # --- sending ----------------------------------------------------------------------------------

    async def _send(self, channel: Channel | None, words: Document, message_id: str) -> Sent:
        """Hand over to the channel's sender. Raises SendFailed, whatever goes wrong."""
        if channel is None:
            raise SendRefused("there is no such channel")
        sender = self._senders.get(channel.type)
        if sender is None:
            raise SendRefused(f"nothing here sends to {channel.type} channels")
        try:
            return await sender.send(channel, words, message_id=message_id)
        except SendFailed:
            raise
        except Exception as exc:
            # A sender's bug is this channel's trouble: raised further, it would cut off the others in
            # the middle of their sends.
            log.exception("sender_broke", extra={"channel_type": channel.type})
            raise SendLater(f"a fault of ours: {type(exc).__name__}") from exc

    # --- one clause per outcome -----------------------------------------------------------------

    async def _sent(self, ticket: DeliveryTicket, words: Document, sent: Sent, latency: float) -> None:
        await self._write(
            ticket,
            "sent",
            http_status=sent.http_status,
            provider_id=sent.provider_id,
            error=sent.note,
            latency=latency,
        )
        self._observe(ticket, "sent", max(0.0, self._clock.time() - words.occurred_at))

    async def _failed(
        self,
        job: Job[DispatchAlert],
        ticket: DeliveryTicket,
        failed: SendFailed,
        latency: float,
        *,
        asked: bool = True,
    ) -> NoReturn:
        """Raises what the job needs now; `asked` False: nobody was."""
        later = isinstance(failed, SendLater)
        wait = _asked_for(failed)
        delay = self._retry.delay_after(job.attempt) if later and not job.last_attempt else None
        if delay is not None and failed.retry_after is not None:
            delay = wait
        await self._write(
            ticket,
            "failed" if later else "dead",
            http_status=failed.http_status,
            error=failed.detail,
            latency=latency,
            last_attempt=job.last_attempt,
            delay=delay,
            wait=wait if later else None,
            asked=asked,
            disables=isinstance(failed, EndpointGone),
        )
        if isinstance(failed, EndpointGone):
            log.warning("channel_disabled", extra={"channel_id": ticket.channel_id, "detail": failed.detail})
        self._observe(ticket, "retry" if later and not job.last_attempt else "dead")
        told = f"{ticket.channel_id}: {failed.detail}"
        if not later:
            raise DeadLetter("delivery_refused", told) from failed
        if failed.retry_after is None or wait is None or job.last_attempt:
            raise DeliveryFailed(told) from failed
        raise RetryIn(wait, told) from failed

    async def _mute(self, ticket: DeliveryTicket) -> None:
        if ticket.settled is None:
            await self._write(ticket, "dead", error="the channel is disabled", asked=False)
            self._observe(ticket, "skipped")

    async def _write(
        self,
        ticket: DeliveryTicket,
        outcome: Written,
        *,
        http_status: int | None = None,
        error: str | None = None,
        provider_id: str | None = None,
        latency: float | None = None,
        last_attempt: bool = False,
        delay: float | None = None,
        wait: float | None = None,
        asked: bool = True,
        disables: bool = False,
    ) -> None:
        """Write the attempt down; `delay`: seconds until the next. Raises StaleWorker, TemporaryFailure.

        Shielded: an attempt that was made and is forgotten is made twice.
        """
        try:
            with anyio.fail_after(RECORD_WAIT, shield=True):
                now = self._clock.time()
                await self._store.record_attempt(
                    ticket,
                    outcome,
                    now=now,
                    http_status=http_status,
                    error=error,
                    provider_id=provider_id,
                    latency=latency,
                    last_attempt=last_attempt,
                    next_at=None if delay is None else now + delay,
                    wait=wait,
                    asked=asked,
                    disables=disables,
                    breaker=self._breaker,
                )
        except TimeoutError as exc:
            raise DeliveryFailed(f"an attempt could not be written down within {RECORD_WAIT:g} s") from exc
        if ticket.channel is not None and ticket.channel.fallback is not None and outcome != "sent":
            self._poke()  # there may be a job for it

    def _observe(
        self,
        ticket: DeliveryTicket,
        outcome: Literal["sent", "retry", "dead", "skipped"],
        seconds: float | None = None,
    ) -> None:
        kind = "unknown" if ticket.channel is None else ticket.channel.type
        self._observer(DeliveryEnded(ticket.alert_id, kind, outcome, seconds))
        log.info(
            "delivery_ended",
            extra={
                "job_id": ticket.job_id,
                "alert_id": ticket.alert_id,
                "channel_id": ticket.channel_id,
                "message_id": ticket.message_id,
                "attempt": ticket.attempt,
                "outcome": outcome,
            },
        )


def _asked_for(failed: SendFailed) -> float | None:
    """Seconds that an endpoint wants to be left alone, by everybody."""
    if failed.retry_after is not None:
        return max(failed.retry_after, MIN_RETRY_AFTER)
    return TOO_MANY_WAIT if failed.http_status == 429 else None


def message_id(job_id: str, channel_id: str) -> str:
    """The name for the other side of what job `job_id` brings to a channel.

    Without dots, which Standard Webhooks forbids, and without anything that does not belong in a
    header: such characters are written `~2e~`, so that different ids stay different.
    """
    return f"{_part(job_id)}:{_part(channel_id)}"


def _part(text: str) -> str:
    safe = _UNSAFE.sub(lambda found: f"~{ord(found[0]):x}~", text)
    if len(safe) <= _MAX_PART:
        return safe
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _document(alert: StoredAlert) -> Document:
    return document(
        alert_id=alert.id,
        workspace_id=alert.workspace_id,
        rule_id=alert.rule_id,
        kind=alert.kind,
        severity=alert.severity,
        title=alert.title,
        body=alert.body,
        occurred_at=alert.created_at,
    )
