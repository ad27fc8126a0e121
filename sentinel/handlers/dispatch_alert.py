"""The handler of `alerts:dispatch`: brings one alert to each of its channels.

One delivery row per channel says how far that is: a channel that accepted is never asked again, and
what becomes of one channel does not touch the others. At least once, as near to once as the other
side allows: an attempt whose answer was lost is repeated under the same message id.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from typing import Final, Literal

import anyio
import msgspec

from sentinel.channels import Senders, Sent
from sentinel.errors import (
    EndpointGone,
    NotFound,
    SendFailed,
    SendLater,
    SendRefused,
    StaleWorker,
    TemporaryFailure,
)
from sentinel.events import DeliveryEnded, Observer, ignore
from sentinel.jobs import DISPATCH_ALERT_RETRY, DispatchAlert
from sentinel.model import Channel, Document
from sentinel.render import document
from sentinel.store import DeliveryTicket, Store, StoredAlert
from sentinel.store import Outcome as Written
from streamq import DeadLetter, Job, Retry, RetryIn
from streamq.clock import Clock

log = logging.getLogger("sentinel.dispatch")

#: Channels one job may name: payloads come from anywhere.
MAX_CHANNELS: Final = 100
#: Channels of one job that are asked at the same time: all hanging, 100 take five sends' deadlines.
MAX_AT_ONCE: Final = 20
#: An endpoint that says "at once" means soon, not a tight loop (seconds).
MIN_RETRY_AFTER: Final = 1.0
#: Seconds that writing down an attempt may take once it was made, whoever cancels meanwhile.
RECORD_WAIT: Final = 10.0

#: Ids as the rest of sentinel makes them (sentinel.model.Id); others name nothing that is stored.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,119}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
#: Characters of one part of a message id; a longer part is replaced by its hash.
_MAX_PART: Final = 200


class DeliveryFailed(TemporaryFailure):
    """A channel did not accept the alert for now."""


class Outcome(msgspec.Struct, frozen=True):
    """How one channel stands after this attempt of the job."""

    channel: str
    #: sent: accepted, now or before. later: worth another attempt. dead: needs a person.
    #: muted: the channel is switched off, so nothing is owed.
    kind: Literal["sent", "later", "dead", "muted"]
    detail: str = ""
    #: Seconds the other side asked us to wait.
    retry_after: float | None = None


class DispatchAlertHandler:
    """Callable with a job; built once per process from the parts that it uses."""

    def __init__(
        self,
        store: Store,
        senders: Senders,
        clock: Clock,
        *,
        observer: Observer = ignore,
        retry: Retry = DISPATCH_ALERT_RETRY,
    ) -> None:
        """`retry` is the stream's policy, for channels that do not say when to come again."""
        self._store = store
        self._senders = senders
        self._clock = clock
        self._observer = observer
        self._retry = retry

    async def __call__(self, job: Job[DispatchAlert]) -> None:
        """Try every channel that is not settled yet.

        Raises RetryIn or DeliveryFailed while a channel is worth another attempt (on the last one
        it is a dead letter, `exhausted`), DeadLetter `delivery_refused` when all have ended and one
        needs a person, `alert_not_found`, `invalid_payload`; StaleWorker when a later delivery of
        the job has taken over.
        """
        alert = await self._load(job.payload)
        outcomes = await self._tell_all(job, alert)
        self._conclude(job, outcomes)

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

    async def _tell_all(self, job: Job[DispatchAlert], alert: StoredAlert) -> list[Outcome]:
        """Each channel once, side by side. Raises StaleWorker when all have ended and one was stale."""
        words = _document(alert)
        outcomes: list[Outcome] = []
        stale: list[StaleWorker] = []
        slots = anyio.CapacityLimiter(MAX_AT_ONCE)

        async def tell(channel_id: str) -> None:
            async with slots:
                try:
                    outcomes.append(await self._tell(job, words, channel_id))
                except StaleWorker as exc:
                    stale.append(exc)
                except TemporaryFailure as exc:  # the store's: this channel is tried again
                    outcomes.append(Outcome(channel_id, "later", str(exc)))

        async with anyio.create_task_group() as group:
            for channel_id in dict.fromkeys(job.payload.channels):
                group.start_soon(tell, channel_id)
        if stale:
            raise stale[0]
        return outcomes

    async def _tell(self, job: Job[DispatchAlert], words: Document, channel_id: str) -> Outcome:
        """One channel's part: claim, send unless it is settled, write down what came of it.

        Raises StaleWorker, TemporaryFailure (of the store).
        """
        if not _ID.fullmatch(channel_id):
            return Outcome(channel_id[:120], "dead", "not the id of a channel")
        ticket = await self._store.claim_delivery(
            words.alert_id, channel_id, job.id, job.fence, self._clock.time()
        )
        channel = await self._channel(ticket)
        if ticket.settled == "sent":
            return Outcome(channel_id, "sent")
        if channel is not None and not channel.enabled:
            return await self._mute(ticket, channel)
        if ticket.settled == "dead":
            return Outcome(channel_id, "dead", "refused before")
        began = self._clock.monotonic()
        try:
            sent = await self._send(channel, words, message_id(job.id, channel_id))
        except SendFailed as failed:
            latency = self._clock.monotonic() - began
            return await self._failed(job, ticket, channel, failed, latency)
        return await self._sent(ticket, words, channel, sent, self._clock.monotonic() - began)

    async def _channel(self, ticket: DeliveryTicket) -> Channel | None:
        try:
            return await self._store.channel(ticket.workspace_id, ticket.channel_id)
        except NotFound:
            return None

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

    async def _sent(
        self, ticket: DeliveryTicket, words: Document, channel: Channel | None, sent: Sent, latency: float
    ) -> Outcome:
        await self._write(
            ticket, "sent", http_status=sent.http_status, provider_id=sent.provider_id, latency=latency
        )
        self._observe(ticket, channel, "sent", max(0.0, self._clock.time() - words.occurred_at))
        return Outcome(ticket.channel_id, "sent")

    async def _failed(
        self,
        job: Job[DispatchAlert],
        ticket: DeliveryTicket,
        channel: Channel | None,
        failed: SendFailed,
        latency: float,
    ) -> Outcome:
        later = isinstance(failed, SendLater)
        await self._write(
            ticket,
            "failed" if later else "dead",
            http_status=failed.http_status,
            error=failed.detail,
            latency=latency,
            last_attempt=job.last_attempt,
            disables=isinstance(failed, EndpointGone),
        )
        if isinstance(failed, EndpointGone):
            log.warning("channel_disabled", extra={"channel_id": ticket.channel_id, "detail": failed.detail})
        self._observe(ticket, channel, "retry" if later and not job.last_attempt else "dead")
        return Outcome(ticket.channel_id, "later" if later else "dead", failed.detail, failed.retry_after)

    async def _mute(self, ticket: DeliveryTicket, channel: Channel) -> Outcome:
        if ticket.settled is None:
            await self._write(ticket, "dead", error="the channel is disabled")
            self._observe(ticket, channel, "skipped")
        return Outcome(ticket.channel_id, "muted")

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
        disables: bool = False,
    ) -> None:
        """Write the attempt down. Raises StaleWorker, TemporaryFailure.

        Shielded: an attempt that was made and is forgotten is made twice.
        """
        try:
            with anyio.fail_after(RECORD_WAIT, shield=True):
                await self._store.record_attempt(
                    ticket,
                    outcome,
                    now=self._clock.time(),
                    http_status=http_status,
                    error=error,
                    provider_id=provider_id,
                    latency=latency,
                    last_attempt=last_attempt,
                    disables=disables,
                )
        except TimeoutError as exc:
            raise DeliveryFailed(f"an attempt could not be written down within {RECORD_WAIT:g} s") from exc

    def _observe(
        self,
        ticket: DeliveryTicket,
        channel: Channel | None,
        outcome: Literal["sent", "retry", "dead", "skipped"],
        seconds: float | None = None,
    ) -> None:
        kind = "unknown" if channel is None else channel.type
        self._observer(DeliveryEnded(ticket.alert_id, kind, outcome, seconds))
        log.info(
            "delivery_ended",
            extra={
                "job_id": ticket.job_id,
                "alert_id": ticket.alert_id,
                "channel_id": ticket.channel_id,
                "attempt": ticket.attempt,
                "outcome": outcome,
            },
        )

    def _conclude(self, job: Job[DispatchAlert], outcomes: Sequence[Outcome]) -> None:
        """What the job needs now; nothing is raised when every channel has what it should."""
        later = [outcome for outcome in outcomes if outcome.kind == "later"]
        dead = [outcome for outcome in outcomes if outcome.kind == "dead"]
        if later:
            asked = [outcome.retry_after for outcome in later if outcome.retry_after is not None]
            if not asked or job.last_attempt:
                raise DeliveryFailed(_told(later))
            # Not before anybody's Retry-After, nor before the policy's turn for those who gave none.
            policy = self._retry.delay_after(job.attempt) if len(asked) < len(later) else None
            raise RetryIn(max(*asked, policy or 0.0, MIN_RETRY_AFTER), _told(later))
        if dead:
            raise DeadLetter("delivery_refused", _told(dead))


def message_id(job_id: str, channel_id: str) -> str:
    """The name of a delivery for the other side: the same on every try of the job, another per channel.

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


def _told(outcomes: Sequence[Outcome]) -> str:
    """`ops: HTTP 500; tty: ...`, bounded by whoever keeps it."""
    return "; ".join(f"{outcome.channel}: {outcome.detail}" for outcome in outcomes)
