"""One job has its process to itself, so that what the death of the process says is said of that job.

       a suspect is taken            nothing else in hand         it has left our hands
 open ───────────────────▶ closed ─────────────────────▶ alone ────────────────────────▶ open
                              │                            └─ a lease later: the broker is told that it is
                              │                               not alone any more ──────────────────▶ open
                              └─ a lease later: it runs beside the others ─────────────────────────▶ open

A suspect is a job whose next crash would spend its crash budget. While it is closed, nobody takes jobs here
and what has not started is given back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread

from streamq.broker import Lease
from streamq.clock import Clock

log = logging.getLogger("streamq.worker")

#: Renewals that a closed time has beside its lease: to tell that a job is alone, and that it is no longer.
BEATS: Final = 2


class Suspect(Protocol):
    """What is known here of a job in hand."""

    lease: Lease


class Member(Protocol):
    """What is asked of each consumer of the process."""

    def make_room(self) -> None:
        """Give back what has not started, sleep at the broker no more, and take a turn."""
        ...

    def has_at_most(self, suspect: Suspect) -> bool:
        """Nothing else is in hand, nor on its way."""
        ...

    def still_has(self, suspect: Suspect) -> bool:
        """It is in hand: it waits, runs, or the broker has not answered yet to what came of it."""
        ...

    def look_again(self) -> None:
        """Take a turn."""
        ...


class Isolation:
    """Shared by the consumers of one process; used on their event loop."""

    def __init__(self, members: Sequence[Member], *, lease: float, renew: float, clock: Clock) -> None:
        """`members`: all consumers, also those that come later."""
        self._members = members
        self._lease = lease
        self._renew = renew
        self._clock = clock
        #: For whom the others make room; None: it is open.
        self.suspect: Suspect | None = None
        #: The suspect as long as it has not started.
        self.waiting: Suspect | None = None
        #: Whose fault it would be if the process died now, as every heartbeat tells; also set by the heart.
        self.to_blame: Suspect | None = None
        #: Tells the broker now what a heartbeat of that consumer tells. Blocking; raises nothing.
        self.beat: Callable[[Any], None] = _no_heart
        #: Monotonic seconds when it is open again, whatever went wrong.
        self._until = 0.0
        self._looked = anyio.Event()

    def __repr__(self) -> str:
        state = "open" if self.suspect is None else "closed" if self.waiting else "alone"
        return f"<Isolation {state}>"

    @property
    def closed(self) -> bool:
        """Nobody takes jobs now."""
        return self.suspect is not None and self.left > 0

    @property
    def left(self) -> float:
        """Seconds until it opens by itself."""
        return self._until - self._clock.monotonic()

    def close(self, suspect: Suspect) -> None:
        """Have the others make room for it; `accompany` from now on."""
        self.suspect = self.waiting = suspect
        self._keep_closed()
        for member in self._members:
            member.make_room()

    def look(self) -> None:
        """Something may have left somebody's hands."""
        self._looked.set()

    async def accompany(self, suspect: Suspect, owner: Member, start: Callable[[], None]) -> None:
        """Have it started when it is alone, or when its time is over; open when it has left our hands."""
        try:
            with anyio.move_on_after(self._lease):
                await self._wait(lambda: self.waiting is not suspect or self._has_all_to_itself(suspect))
            if self.waiting is suspect and self._has_all_to_itself(suspect):
                self._keep_closed()
                await self._tell(owner, to_blame=suspect)
                self._start(suspect, start)
                with anyio.move_on_after(self._lease):
                    await self._wait(lambda: not owner.still_has(suspect))
                if owner.still_has(suspect):
                    # What kills the process from here on may be another.
                    await self._tell(owner, to_blame=None)
            self._start(suspect, start)
        finally:
            self.suspect = self.waiting = self.to_blame = None
            for member in self._members:
                member.look_again()

    def _keep_closed(self) -> None:
        self._until = self._clock.monotonic() + self._lease + BEATS * self._renew

    def _start(self, suspect: Suspect, start: Callable[[], None]) -> None:
        """Unless it has started, or was given back, cancelled or lost meanwhile."""
        if self.waiting is suspect:
            self.waiting = None
            if self.to_blame is suspect:
                log.info("job_isolated", extra=_fields(suspect))
            start()

    def _has_all_to_itself(self, suspect: Suspect) -> bool:
        return all(member.has_at_most(suspect) for member in self._members)

    async def _wait(self, so: Callable[[], bool]) -> None:
        while not so():
            self._looked = anyio.Event()
            await self._looked.wait()

    async def _tell(self, owner: Member, *, to_blame: Suspect | None) -> None:
        """Have the broker know, within one renewal's time; the beats that follow say the same.

        Not heard in time (the broker is away, and nobody takes anything), what it knows is old until the next
        beat: a crash just then buries nobody, or the job that was named.
        """
        self.to_blame = to_blame
        with anyio.move_on_after(self._renew):
            # Not one of the threads that handlers run in: those may all be taken.
            await anyio.to_thread.run_sync(
                self.beat, owner, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )


def _no_heart(_: Member) -> None:
    """Nobody beats here."""


def _fields(suspect: Suspect) -> dict[str, Any]:
    envelope = suspect.lease.envelope
    return {"stream": suspect.lease.stream, "job_id": envelope.id, "crashes": envelope.crashes}
