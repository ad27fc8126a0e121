"""Limits by key in the in-memory broker: lua/lib/limits.lua, noun for noun."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping
from typing import Protocol

import msgspec

from streamq.job import Envelope
from streamq.keys import LANES, Lane
from streamq.limits import Limit
from streamq.wire import envelope_of

Fields = dict[bytes, bytes]
#: Lane and entry id.
Place = tuple[Lane, str]


class ParkedJob(msgspec.Struct, frozen=True):
    """A job that waits for others of its group."""

    #: Lane, before (0) or behind (1) the others, order of arrival.
    order: tuple[int, int, int]
    lane: Lane
    fields: Fields
    envelope: Envelope


class Group:
    """Jobs that depend on each other: of one limit key, or of one uniqueness key whose holder runs."""

    def __init__(self) -> None:
        #: Who has a slot -> whether it runs (else it lies ready in its lane).
        self.held: dict[Place | str, bool] = {}
        self.parked: list[ParkedJob] = []
        #: When the next start would come if all came evenly, µs.
        self.arrival = 0

    @property
    def ready(self) -> int:
        """Slots of jobs that have not started."""
        return sum(not runs for runs in self.held.values())


class Lanes(Protocol):
    """What limits need of the stream they are of."""

    def add_ready(self, lane: Lane, fields: Fields, now_ms: int) -> str:
        """Append a job to its lane; the entry id."""
        ...

    def drop(self, place: Place) -> None:
        """Acknowledge and delete an entry."""
        ...

    def knock_for(self, due_ms: int) -> None:
        """Somebody has to look at a group then."""
        ...

    def count_parked(self) -> int:
        """One more job is parked: how many were, ever."""
        ...


class KeyLimits:
    """Who may start of one stream. Groups are `l<limit key>` and `u<uniqueness key>`; times are ms."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.groups: dict[str, Group] = {}
        #: Group -> when somebody has to look again.
        self.due: dict[str, int] = {}
        #: Jobs that may be replaced while they wait -> where in a lane they lie.
        self.places: dict[str, Place] = {}

    def of(self, group: str) -> Group:
        """The group of that name."""
        return self.groups.setdefault(group, Group())

    def parked(self) -> list[ParkedJob]:
        """All of them, group by group."""
        return [one for name in sorted(self.groups) for one in self.groups[name].parked]

    def find(self, job_id: str) -> tuple[str, ParkedJob] | None:
        """A parked job, and its group's name."""
        for name, group in self.groups.items():
            for one in group.parked:
                if one.envelope.id == job_id:
                    return name, one
        return None

    # --- on the way into a lane -----------------------------------------------------------------

    def make_ready(self, lane: Lane, fields: Fields, now: int) -> None:
        """A job may start from now on: into its lane, or beside it until its key lets it."""
        envelope = _envelope(lane, fields)
        behind, unique = fields.get(b"behind", b"").decode(), envelope.unique
        if behind and unique and f"id/{behind}" in self.of(f"u{unique}").held:
            self._park(f"u{unique}", lane, fields)
        elif envelope.limit is not None and (
            self.of(_name(envelope.limit)).parked or self._wait(envelope.limit, now) != 0
        ):
            self._park(_name(envelope.limit), lane, fields)
            self.advance(_name(envelope.limit), now)
        else:
            self._put(lane, fields, now)

    def _put(self, lane: Lane, fields: Fields, now: int) -> None:
        envelope = _envelope(lane, fields)
        place = (lane, self._lanes.add_ready(lane, fields, now))
        if envelope.limit is not None:
            self.of(_name(envelope.limit)).held[place] = False
        if envelope.replace:
            self.places[envelope.id] = place

    def _park(self, name: str, lane: Lane, fields: Fields, *, front: bool = False) -> None:
        order = (LANES.index(lane), 0 if front else 1, self._lanes.count_parked())
        job = ParkedJob(order, lane, fields, _envelope(lane, fields))
        insort(self.of(name).parked, job, key=lambda one: one.order)

    def take_out(self, name: str, job: ParkedJob) -> None:
        """It is parked no longer."""
        self.of(name).parked.remove(job)

    def _wait(self, limit: Limit, now: int) -> int | None:
        """Microseconds until one more may be made ready; None: when another has started or ended."""
        group = self.of(_name(limit))
        if limit.running is not None and len(group.held) >= limit.running:
            return None
        if limit.interval_us is None:
            return 0
        ready = group.ready
        wait = self._rate_wait(group, limit, now, ready)
        return None if wait and ready else wait

    def _rate_wait(self, group: Group, limit: Limit, now: int, ready: int) -> int:
        arrival = max(group.arrival, now * 1000)
        return max(0, arrival + (ready - limit.burst + 1) * (limit.interval_us or 0) - now * 1000)

    def advance(self, name: str, now: int) -> None:
        """Make ready what may start of a group, and say when somebody has to look again."""
        group = self.of(name)
        while group.parked:
            head = group.parked[0]
            limit = head.envelope.limit
            if name.startswith("u"):
                if group.held:
                    return
            elif limit is not None and _name(limit) == name:
                wait = self._wait(limit, now)
                if wait is None:
                    return
                if wait:
                    self.look_at(name, now + math.ceil(wait / 1000))
                    return
            group.parked.pop(0)
            fields = head.fields | {b"eligible": b"%d" % now}
            if limit is not None and _name(limit) == name:
                self._put(head.lane, fields, now)
            else:
                self.make_ready(head.lane, fields, now)
        self.due.pop(name, None)

    def look_at(self, name: str, due_ms: int) -> None:
        """Somebody looks at the group again then."""
        self.due[name] = due_ms
        if due_ms <= min(self.due.values()):
            self._lanes.knock_for(due_ms)

    def look_again(self, now: int) -> None:
        """Groups whose time has come."""
        for name in [name for name, due in self.due.items() if due <= now]:
            del self.due[name]
            if name.startswith("u"):
                self.of(name).held.clear()
            self.advance(name, now)

    # --- out of a lane --------------------------------------------------------------------------

    def may_start(self, place: Place, fields: Fields, now: int) -> bool:
        """Whether an entry that was just handed over may start; if not it is parked."""
        lane, entry_id = place
        envelope = envelope_of(entry_id, lane, fields)
        limit = envelope.limit
        if limit is None:
            return True
        group = self.of(_name(limit))
        if group.held.get(place):
            return True
        had_slot = group.held.pop(place, None) is not None
        full = limit.running is not None and len(group.held) >= limit.running
        free = had_slot or (not group.parked and not full)
        if free and limit.interval_us is not None:
            free = not self._rate_wait(group, limit, now, 0 if had_slot else group.ready)
            if free:
                group.arrival = max(group.arrival, now * 1000) + limit.interval_us
        if free:
            group.held[place] = True
            if limit.interval_us is not None:
                self.advance(_name(limit), now)
            return True
        self._lanes.drop(place)
        enqueued = {b"id": envelope.id.encode(), b"enqueued": b"%d" % envelope.enqueued_ms}
        self._park(_name(limit), lane, fields | enqueued, front=had_slot)
        self.advance(_name(limit), now)
        return False

    def left_lane(self, envelope: Envelope, entry_id: str, now: int) -> None:
        """An entry is gone for good: its slot is free."""
        if envelope.replace:
            self.places.pop(envelope.id, None)
        if envelope.limit is not None:
            self.let_go(_name(envelope.limit), (envelope.lane, entry_id), now)

    def let_go(self, name: str, place: Place | str, now: int) -> None:
        """A slot is free; the next one may have it."""
        if self.of(name).held.pop(place, None) is not None:
            self.advance(name, now)

    def keep_slot(self, envelope: Envelope, old: str, new: str) -> None:
        """It is ready again under another entry id."""
        lane = envelope.lane
        if envelope.limit is not None:
            held = self.of(_name(envelope.limit)).held
            if held.pop((lane, old), None) is not None:
                held[lane, new] = False
        if envelope.replace:
            self.places[envelope.id] = (lane, new)

    def ended(self, unique: str, job_id: str, now: int) -> None:
        """A job has ended that does not own its uniqueness key any more: who waits for that may start."""
        self.let_go(f"u{unique}", f"id/{job_id}", now)

    def wait_behind(self, unique: str, job_id: str, until_ms: int) -> None:
        """Whoever comes next of that key waits until the job has ended, not longer than that."""
        self.of(f"u{unique}").held[f"id/{job_id}"] = True
        self.look_at(f"u{unique}", until_ms)


def _name(limit: Limit) -> str:
    return f"l{limit.key}"


def _envelope(lane: Lane, fields: Mapping[bytes, bytes]) -> Envelope:
    return envelope_of("0-0", lane, fields)
