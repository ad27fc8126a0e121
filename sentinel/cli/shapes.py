"""The JSON lines of the streams' commands, exactly as shared/cli.md names them."""

from __future__ import annotations

import msgspec

from sentinel.cli.values import iso_ms
from streamq import Receipt
from streamq.broker import DeadJob, PendingEntry, StreamStats


def stats_line(stats: StreamStats) -> dict[str, object]:
    """`streamq.stats/1`; `ready` is all lanes together."""
    return {
        "schema": "streamq.stats/1",
        "stream": stats.stream,
        "ready": sum(stats.ready.values()),
        "leased": stats.leased,
        "delayed": stats.delayed,
        "dead": stats.dead,
        "done": stats.done,
        "oldest_seconds": None if stats.oldest_seconds is None else round(stats.oldest_seconds, 3),
        "workers": stats.workers,
        "paused": stats.paused,
    }


def pending_line(stream: str, entry: PendingEntry) -> dict[str, object]:
    """`streamq.pending/1`."""
    return {
        "schema": "streamq.pending/1",
        "stream": stream,
        "entry_id": entry.entry_id,
        "job_id": entry.envelope.id,
        "worker": entry.worker,
        "idle_seconds": round(entry.idle_seconds, 3),
        "deliveries": entry.deliveries,
        "attempt": entry.envelope.attempt,
        "crashes": entry.envelope.crashes,
        "payload": payload_of(entry.envelope.payload),
    }


def dead_line(stream: str, letter: DeadJob) -> dict[str, object]:
    """`streamq.dead/1`."""
    return {
        "schema": "streamq.dead/1",
        "stream": stream,
        "job_id": letter.envelope.id,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "crashes": letter.envelope.crashes,
        "enqueued_at": iso_ms(letter.envelope.enqueued_ms),
        "died_at": iso_ms(letter.died_ms),
        "payload": payload_of(letter.envelope.payload),
    }


def receipt_line(stream: str, receipt: Receipt) -> dict[str, object]:
    """`streamq.receipt/1`."""
    return {
        "schema": "streamq.receipt/1",
        "stream": stream,
        "job_id": receipt.job_id,
        "created": receipt.created,
    }


def payload_of(data: bytes) -> object:
    """The payload as JSON where it is JSON, else as text with what is no text replaced."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return data.decode("utf-8", "replace")


def what_of(data: bytes) -> str:
    """What a job is about, in one word: the alert's or the rule's id."""
    payload = payload_of(data)
    if isinstance(payload, dict):
        for name in ("alertId", "ruleId"):
            if isinstance(payload.get(name), str):
                return str(payload[name])
    return "?"
