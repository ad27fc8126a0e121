"""What a history must not contain. Pure: everything it judges is handed to it.

Facts at the end come from the database and from Redis; the history says what happened on the way and when.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from tests.faults.nemesis.crew import AT_ONCE, RETRY, Work
from tests.faults.nemesis.history import Event
from tests.faults.nemesis.ledger import Entry

#: Milliseconds by which the wall clock of the worker and the server's may differ in one reading.
CLOCK_SLACK = 1
#: Jobs that are named in a complaint.
_NAMED = 5


class End(msgspec.Struct, frozen=True):
    """What Redis holds when nothing moves any more."""

    #: Job id -> how often it ended as done.
    done: Mapping[str, int]
    #: Job id -> reasons of its dead letters.
    dead: Mapping[str, Sequence[str]]
    #: Ready, leased, delayed or parked.
    left: int
    #: Uniqueness keys that are still held.
    unique_held: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the checker found; jobs by number where it says jobs."""

    jobs: int
    faults: Mapping[str, int]
    #: Jobs that were running when their worker was killed or frozen.
    hit: int
    deliveries: int
    #: Acknowledged to the producer, and neither done nor dead nor waiting, or done without an effect.
    lost: Sequence[int]
    #: Ended, and nobody had enqueued them.
    invented: Sequence[int]
    #: Ready, leased, delayed or parked after the end.
    stuck: int
    #: More than one effect.
    doubled: Sequence[int]
    #: Ended more than once, or both done and dead, or ran again after its end had been accepted.
    ended_twice: Sequence[int]
    #: An effect by a delivery after a newer one had begun.
    stale_effects: Sequence[int]
    #: Fences that did not rise, an attempt or a crash that was not counted or counted for nothing.
    order: Sequence[int]
    #: Ran again, and nothing had happened to its worker.
    unexplained: Sequence[int]
    early: Sequence[int]
    #: Always failing, and not exactly as many attempts as the policy has; or dead for nothing.
    retries: Sequence[int]
    unique_held: int
    #: Began while as many of their limit's key as may were running.
    crowded: Sequence[int]
    #: Of stale workers, refused: their ends by the broker, their effects by the database.
    refused_ends: int
    refused_effects: int
    #: Their last delivery was told that its end was refused, and yet that end stands. A worker that was taken for
    #: dead may be told so; where nothing but its connection was hit, it must not.
    disowned: Sequence[int]
    #: Deliveries that a worker began after it had thawed and when a newer one had begun already.
    zombies: int
    #: Seconds from a kill to the next start of each job it hit.
    recovery: Sequence[float]
    #: Seconds after their due time at which delayed jobs started, sorted.
    lateness: Sequence[float]

    @property
    def broken(self) -> dict[str, object]:
        """What must be empty or zero and is not."""
        found = {
            "lost": self.lost,
            "invented": self.invented,
            "stuck": self.stuck,
            "doubled": self.doubled,
            "ended twice": self.ended_twice,
            "stale effects": self.stale_effects,
            "order": self.order,
            "unexplained": self.unexplained,
            "early": self.early,
            "retries": self.retries,
            "unique keys held": self.unique_held,
            "crowded": self.crowded,
        }
        return {
            name: what if isinstance(what, int) else list(what[:_NAMED])
            for name, what in found.items()
            if what
        }

    def share(self, part: float) -> float:
        """That quantile of the recovery times, seconds; 0 where nothing was hit."""
        return quantile(self.recovery, part)


def quantile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def check(events: Sequence[Event], effects: Sequence[Entry], end: End, works: Mapping[int, Work]) -> Verdict:
    """`events` in the order of time, `effects` in the order of their commits, `works` by job number."""
    acknowledged = {
        job for event in events if event.kind == "enqueued" for job in range(event.job, event.last + 1)
    }
    by_job: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.job >= 0 and event.kind != "enqueued":
            by_job[event.job].append(event)
    faults = [event for event in events if event.kind in ("kill", "freeze", "thaw", "cut", "restart", "gone")]
    trouble = _Trouble(faults)
    written = Counter(_number(entry.job) for entry in effects if entry.what == "effect")
    done = {_number(job): times for job, times in end.done.items()}
    dead = {_number(job): reasons for job, reasons in end.dead.items()}
    ends = Counter(done)
    ends.update({job: len(reasons) for job, reasons in dead.items()})

    early, retries, order, unexplained, again = [], [], [], [], []
    lateness: list[float] = []
    deliveries = zombies = 0
    for job in sorted(acknowledged):
        mine = trouble.without_zombies(by_job[job])
        zombies += len(by_job[job]) - len(mine)
        starts = [event for event in mine if event.kind == "start"]
        deliveries += len(starts)
        if not _in_order(mine):
            order.append(job)
        if any(not trouble.explains(a, b, mine) for a, b in pairwise(starts)):
            unexplained.append(job)
        if _ran_after_its_end(mine):
            again.append(job)
        due_ms = works[job].due_ms
        if due_ms and starts:
            late_ms = starts[0].wall_ms - due_ms
            lateness.append(late_ms / 1000)
            if late_ms < -CLOCK_SLACK:
                early.append(job)
        if _retries_wrong(works[job], mine, dead.get(job, ())):
            retries.append(job)

    accounted = set(ends)
    lost = acknowledged - accounted if not end.left else set()
    lost |= {job for job in done if not written[job]}
    return Verdict(
        jobs=len(acknowledged),
        faults=Counter(event.kind for event in faults),
        hit=trouble.hits(by_job),
        deliveries=deliveries,
        lost=sorted(lost),
        invented=sorted(accounted - works.keys()),
        stuck=end.left,
        doubled=sorted(job for job, times in written.items() if times > 1),
        ended_twice=sorted({job for job, times in ends.items() if times > 1} | set(again)),
        stale_effects=_stale(effects),
        order=order,
        unexplained=unexplained,
        early=early,
        retries=retries,
        unique_held=end.unique_held,
        crowded=_crowded(events, works),
        refused_ends=sum(event.verdict == "lease_lost" for event in events),
        refused_effects=sum(event.verdict == "stale" for event in events),
        disowned=[job for job in sorted(acknowledged & ends.keys()) if _refused_at_last(by_job[job])],
        zombies=zombies,
        recovery=trouble.recovery(by_job),
        lateness=sorted(lateness),
    )


def _number(name: str) -> int:
    """Of the job; -1: nobody has made a job of that name."""
    found = name.rpartition("job-")[2]
    return int(found) if found.isdigit() else -1


def _stale(effects: Iterable[Entry]) -> list[int]:
    newest: dict[str, int] = {}
    stale = []
    for entry in effects:
        if entry.what == "begin":
            newest[entry.job] = max(newest.get(entry.job, 0), entry.fence)
        elif entry.fence < newest.get(entry.job, 0):
            stale.append(_number(entry.job))
    return stale


def _crowded(events: Iterable[Event], works: Mapping[int, Work]) -> list[int]:
    """A job runs from its start until it has done its part, or its newest delivery has; one whose worker was killed
    keeps its place until it runs again.
    """
    running: dict[str, set[int]] = defaultdict(set)
    newest: dict[int, int] = {}
    crowded = []
    for event in events:
        made = works.get(event.job)
        if made is None or not made.limit or event.fence < newest.get(event.job, 0):
            continue
        if event.kind == "start":
            newest[event.job] = event.fence
            running[made.limit].add(event.job)
            if len(running[made.limit]) > AT_ONCE:
                crowded.append(event.job)
        elif event.kind in ("raised", "snoozed", "effect"):
            running[made.limit].discard(event.job)
    return crowded


def _in_order(mine: Sequence[Event]) -> bool:
    """Fences rise; of attempt and crashes exactly the one is counted that happened.

    A delivery whose reply was lost never started: its crash is counted all the same, so crashes may rise by
    more than one.
    """
    previous: Event | None = None
    left: dict[int, str] = {}
    for event in mine:
        if event.kind in ("raised", "snoozed"):
            left[event.fence] = event.kind
        if event.kind != "start":
            continue
        if previous is not None:
            attempts, crashes = event.attempt - previous.attempt, event.crashes - previous.crashes
            how = left.get(previous.fence)
            if event.fence <= previous.fence or attempts < 0 or crashes < 0:
                return False
            if attempts > (how == "raised") or (not attempts and not crashes and how != "snoozed"):
                return False
        elif event.attempt != 1:
            return False
        previous = event
    return True


def _ran_after_its_end(mine: Sequence[Event]) -> bool:
    over = False
    for event in mine:
        if event.kind == "start" and over:
            return True
        over = over or (event.kind == "ended" and event.verdict in ("done", "dead"))
    return False


def _refused_at_last(mine: Sequence[Event]) -> bool:
    last = next((event for event in reversed(mine) if event.kind in ("start", "ended")), None)
    return last is not None and last.verdict == "lease_lost"


def _retries_wrong(made: Work, mine: Sequence[Event], reasons: Sequence[str]) -> bool:
    if not made.dies:
        return bool(reasons)
    attempts = {event.attempt for event in mine if event.kind == "raised"}
    return list(reasons) != ["exhausted"] or attempts != set(range(1, RETRY.attempts + 1))


class _Trouble:
    """What was done to whom, and when."""

    def __init__(self, faults: Sequence[Event]) -> None:
        self._of: dict[int, list[Event]] = defaultdict(list)
        for fault in faults:
            self._of[fault.worker].append(fault)

    def _between(self, worker: int, first: float, last: float) -> bool:
        """Something happened to the worker, or to everybody (worker 0), within that time."""
        for whom in (worker, 0):
            times = [fault.at for fault in self._of[whom]]
            at = bisect_left(times, first)
            if at < len(times) and times[at] <= last:
                return True
        return False

    def without_zombies(self, mine: Sequence[Event]) -> list[Event]:
        """Without the starts of workers that were frozen between being handed a job and starting it."""
        newest, found = 0, []
        for event in mine:
            if event.kind == "start":
                frozen = any(
                    fault.kind == "freeze" and fault.at < event.at for fault in self._of[event.worker]
                )
                if event.fence < newest and frozen:
                    continue
                newest = max(newest, event.fence)
            found.append(event)
        return found

    def explains(self, a: Event, b: Event, mine: Sequence[Event]) -> bool:
        """Why `b` follows `a`: it failed or snoozed, or its worker had met a fault before `b`."""
        if any(event.fence == a.fence and event.kind in ("raised", "snoozed") for event in mine):
            return True
        # A worker that was frozen shortly before it started the job may have lost the lease meanwhile.
        return self._between(a.worker, a.at - 5.0, b.at)

    def _hit(
        self, by_job: Mapping[int, Sequence[Event]], kinds: tuple[str, ...]
    ) -> list[tuple[Event, Event, int]]:
        """Each start that was running when such a fault hit its worker: (start, fault, place among the job's)."""
        found = []
        for mine in by_job.values():
            ended_at = {(event.worker, event.attempt): event.at for event in mine if event.kind == "ended"}
            for place, event in enumerate(mine):
                if event.kind != "start":
                    continue
                until = ended_at.get((event.worker, event.attempt))
                for fault in self._of[event.worker]:
                    if fault.kind in kinds and fault.at > event.at and (until is None or fault.at < until):
                        found.append((event, fault, place))
                        break
        return found

    def hits(self, by_job: Mapping[int, Sequence[Event]]) -> int:
        return len(self._hit(by_job, ("kill", "freeze")))

    def recovery(self, by_job: Mapping[int, Sequence[Event]]) -> list[float]:
        """A job that had done its part when its worker was killed may be due later by itself: not counted."""
        found = []
        for start, fault, place in self._hit(by_job, ("kill",)):
            mine = by_job[start.job]
            if any(event.fence == start.fence and event.kind in ("raised", "snoozed") for event in mine):
                continue
            again = next((event.at for event in mine[place + 1 :] if event.kind == "start"), None)
            if again is not None:
                found.append(again - fault.at)
        return found
