"""Looks for one job in the in-memory broker, in the order the Redis one does."""

from __future__ import annotations

import msgspec

from streamq.broker import Sighting
from streamq.testing.stores import StreamStore
from streamq.wire import envelope_of


def look_for(store: StreamStore, stream: str, job_id: str, now: int, look: int) -> Sighting:
    """Where it is; at most `look` entries of each lane are looked at."""
    unknown = Sighting(
        stream=stream, job_id=job_id, state="unknown", server_ms=now, cancel_asked=job_id in store.cancels
    )
    return (
        _delayed(store, unknown)
        or _parked(store, unknown)
        or _in_lanes(store, unknown, look)
        or _ended(store, unknown, look)
    ) or msgspec.structs.replace(
        unknown,
        looked=sum(min(look, len(lane.log.entries)) for lane in store.lanes.values()),
        looked_at_all=all(len(lane.log.entries) <= look for lane in store.lanes.values()),
    )


def _delayed(store: StreamStore, seen: Sighting) -> Sighting | None:
    for job in store.delayed:
        if job.fields.get(b"id") == seen.job_id.encode():
            return msgspec.structs.replace(
                seen,
                state="delayed",
                envelope=envelope_of(f"{job.due_ms}-0", job.lane, job.fields),
                due_in=(job.due_ms - seen.server_ms) / 1000,
            )
    return None


def _parked(store: StreamStore, seen: Sighting) -> Sighting | None:
    found = store.by_key.find(seen.job_id)
    if found is None:
        return None
    name, job = found
    group, due = store.by_key.of(name), store.by_key.due.get(name)
    behind = None
    if name.startswith("u"):
        behind = next((str(who).removeprefix("id/") for who in group.held), "")
    return msgspec.structs.replace(
        seen,
        state="parked",
        envelope=job.envelope,
        before=group.parked.index(job),
        running=len(group.held),
        behind=behind,
        free_in=None if due is None or behind is not None else (due - seen.server_ms) / 1000,
    )


def _in_lanes(store: StreamStore, seen: Sighting, look: int) -> Sighting | None:
    for name, lane in store.lanes.items():
        for looked, (entry_id, fields) in enumerate(lane.log.entries.items()):
            envelope = envelope_of(entry_id, name, fields)
            if envelope.id != seen.job_id or (looked >= look and entry_id != seen.job_id):
                continue
            seen = msgspec.structs.replace(seen, envelope=envelope, entry_id=entry_id)
            held = lane.pending.get(entry_id)
            if held is None:
                return msgspec.structs.replace(seen, state="ready", before=lane.ready.index(entry_id))
            silent = (seen.server_ms - held.touched_ms) / 1000
            _, facts = store.facts.get(held.worker, (0, None))
            since = [t.since_ms for t in facts.taken if t.key == f"{name}/{entry_id}"] if facts else []
            return msgspec.structs.replace(
                seen,
                state="leased",
                worker=held.worker,
                held_seconds=max(silent, (seen.server_ms - since[0]) / 1000) if since else silent,
                silent_seconds=silent,
            )
    return None


def _ended(store: StreamStore, seen: Sighting, look: int) -> Sighting | None:
    seen = msgspec.structs.replace(seen, cancel_asked=False)
    record = next((one for _, one in store.done.newest_first()[:look] if one.job_id == seen.job_id), None)
    letter = next(
        (one for _, one in store.dead.newest_first()[:look] if one.envelope.id == seen.job_id), None
    )
    if letter is not None and (record is None or letter.died_ms >= record.finished_ms):
        return msgspec.structs.replace(
            seen, state="dead", envelope=letter.envelope, entry_id=letter.entry_id, dead=letter
        )
    if record is None:
        return None
    return msgspec.structs.replace(seen, state=record.outcome, entry_id=record.entry_id, done=record)
