"""The JSON lines of the streams' commands, exactly as shared/cli.md names them."""

from __future__ import annotations

import msgspec

from sentinel.cli.values import iso, iso_ms
from streamq import Cron, Every, Limit, Receipt, RecurringJob
from streamq.admin import WorkerView
from streamq.broker import Cancellation, DeadJob, DoneJob, PendingEntry, Sighting, StreamStats
from streamq.why import SILENT


def stats_line(stats: StreamStats) -> dict[str, object]:
    """`streamq.stats/1`; `ready` is all lanes together, `parked` told where there are any."""
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
    } | ({"parked": stats.parked} if stats.parked else {})


def drained_line(stats: StreamStats, *, drained: bool) -> dict[str, object]:
    """`streamq.drained/1`."""
    return {
        "schema": "streamq.drained/1",
        "stream": stats.stream,
        "drained": drained,
        "ready": sum(stats.ready.values()),
        "leased": stats.leased,
        "delayed": stats.delayed,
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


def letter_line(stream: str, letter: DeadJob) -> dict[str, object]:
    """`streamq.dead/1` with everything that a dead letter has."""
    return dead_line(stream, letter) | {
        "lane": letter.envelope.lane,
        "headers": letter.envelope.headers,
        "traceback": letter.traceback,
    }


def job_line(seen: Sighting) -> dict[str, object]:
    """`streamq.job/1`: null is what a job of that state has not; `result` where its value is kept."""
    envelope, letter, record = seen.envelope, seen.dead, seen.done
    due_ms = seen.server_ms + seen.due_in * 1000
    ended = letter.died_ms if letter else record.finished_ms if record else None
    leased = seen.state == "leased"
    return {
        "schema": "streamq.job/1",
        "stream": seen.stream,
        "job_id": seen.job_id,
        "state": seen.state,
        "lane": envelope.lane if envelope else None,
        "attempt": envelope.attempt if envelope else record.attempt if record else None,
        "crashes": envelope.crashes if envelope else None,
        "enqueued_at": iso_ms(envelope.enqueued_ms) if envelope else None,
        "entry_id": seen.entry_id,
        "before": seen.before if seen.state in ("ready", "parked") else None,
        "worker": seen.worker,
        "held_seconds": round(seen.held_seconds, 3) if leased else None,
        "silent_seconds": round(seen.silent_seconds, 3) if leased else None,
        "due_at": iso_ms(round(due_ms)) if seen.state == "delayed" else None,
        "ended_at": None if ended is None else iso_ms(ended),
        "duration_seconds": record.duration if record else None,
        "reason": letter.reason if letter else None,
        "error": letter.error if letter else None,
        "note": (envelope.note or None) if envelope else None,
        "tries": [
            {"attempt": one.attempt, "ready_at": iso_ms(one.ready_ms), "error": one.error}
            for one in (envelope.tries if envelope else ())
        ],
        "cancel_asked": seen.cancel_asked,
        "headers": envelope.headers if envelope else None,
        "payload": payload_of(envelope.payload) if envelope else None,
    } | _result(record)


def _result(record: DoneJob | None) -> dict[str, object]:
    """What was kept of the returned value, or why nothing was; told of streams that keep values."""
    if record is not None and record.result is not None:
        return {"result": payload_of(record.result)}
    return {"no_result": record.no_result} if record is not None and record.no_result else {}


def cancellation_line(stream: str, made: Cancellation) -> dict[str, object]:
    """`streamq.cancelled/1`."""
    return {
        "schema": "streamq.cancelled/1",
        "stream": stream,
        "job_id": made.job_id,
        "found": made.found,
        "worker": made.worker,
        "state": made.state,
        "looked": made.looked,
    }


def worker_state(view: WorkerView) -> str:
    """up, quiet, silent (no heartbeat for long), or unknown (nobody watches over it)."""
    if not view.listed:
        return "unknown"
    if view.heard_seconds is not None and view.heard_seconds > SILENT:
        return "silent"
    return "quiet" if view.quiet else "up"


def worker_line(view: WorkerView) -> dict[str, object]:
    """`streamq.worker/1`."""
    heard = view.heard_seconds
    return {
        "schema": "streamq.worker/1",
        "worker": view.name,
        "state": worker_state(view),
        "heard_seconds": None if heard is None else round(heard, 3),
        "in_hand": view.in_hand,
        "slots": view.slots,
        "streams": {
            stream: {"in_hand": one.in_hand, "slots": one.facts.slots} for stream, one in view.streams.items()
        },
    }


def recurring_line(job: RecurringJob) -> dict[str, object]:
    """`streamq.recurring/1`."""
    return {
        "schema": "streamq.recurring/1",
        "stream": job.stream,
        "schedule_id": job.schedule.id,
        "when": timing_of(job),
        "next_due_at": None if job.next_due is None else iso(job.next_due),
        "last_tick_at": None if job.last_tick is None else iso(job.last_tick),
        "paused": job.paused,
        "declared": job.declared,
        "runs": job.runs,
        "overlapped": job.overlapped,
        "catch_up": job.schedule.catch_up,
        "overlap": job.schedule.overlap,
        "limit": _limit_line(job.schedule.limit),
        "payload": payload_of(bytes(job.schedule.payload)),
    }


def _limit_line(limit: Limit | None) -> dict[str, object] | None:
    if limit is None:
        return None
    return {"key": limit.key, "running": limit.running, "rate": limit.rate, "burst": limit.burst}


def limit_of(job: RecurringJob) -> str:
    """`tenant-7: 2 running, 0.5/s, burst 3`; `-` for one without."""
    limit = job.schedule.limit
    if limit is None:
        return "-"
    terms = [] if limit.running is None else [f"{limit.running} running"]
    if limit.rate is not None:
        terms.append(f"{limit.rate:g}/s" + (f", burst {limit.burst}" if limit.burst > 1 else ""))
    return f"{limit.key}: {', '.join(terms)}"


def timing_of(job: RecurringJob) -> str:
    """`every 60 s`, `0 3 * * * (Europe/Bratislava)`."""
    match job.schedule.when:
        case Every(seconds):
            return f"every {seconds:g} s"
        case Cron(expression, timezone):
            return f"{expression} ({timezone})"


def receipt_line(stream: str, receipt: Receipt) -> dict[str, object]:
    """`streamq.receipt/1`; `replaced` where it took the place of one that waited."""
    return {
        "schema": "streamq.receipt/1",
        "stream": stream,
        "job_id": receipt.job_id,
        "created": receipt.created,
    } | ({"replaced": True} if receipt.replaced else {})


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
