"""Tells what no check can: that a rule is not checked, never changes, or cannot be read.

    every minute ─▶ rules that cannot be read ─▶ RULE_INVALID
                 ─▶ rules that never change ───▶ RULE_SILENT
                 ─▶ rules that nobody checks ──▶ SYSTEM_QUEUE_DELAY, each by itself, or one for the workspace
                                                 where they are many or where no worker takes checks

Beside every worker, one that only delivers alerts too, in the one that leads. Two at once tell nothing twice
(sentinel.store.watches). After a start, a pause or a sleep of the machine it gives the checks a while to
catch up before it calls any of them late.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from sentinel.decide.health import PATIENCE, overdue_from
from sentinel.decide.hours import told
from sentinel.errors import ERROR_CODES, Severity, TemporaryFailure
from sentinel.events import AlertRecorded, Observer, ignore
from sentinel.jobs import RULES_RUN
from sentinel.relay import Relay
from sentinel.store import Store, Trouble, Waiting
from streamq import Broker, StreamqError
from streamq.clock import Clock

log = logging.getLogger("sentinel.watchdog")

#: Seconds between two looks.
LOOK_EVERY: Final = 60.0
#: Rules of a workspace that are told one by one; more are one alert.
FEW: Final = 5
#: Jobs that are asked for in one look, whether they wait on purpose.
ASKED: Final = 200

_DELAY: Final = ERROR_CODES["SYSTEM_QUEUE_DELAY"]
_SILENT: Final = ERROR_CODES["RULE_SILENT"]


class Watchdog:
    """Looks after the rules, for as long as the worker runs."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        relay: Relay,
        clock: Clock,
        *,
        observer: Observer = ignore,
        leads: Callable[[], bool] = lambda: True,
        every: float = LOOK_EVERY,
    ) -> None:
        """`leads`: asked before each look; False: another worker does it. `every`: seconds between two."""
        self._store = store
        self._broker = broker
        self._relay = relay
        self._clock = clock
        self._observer = observer
        self._leads = leads
        self._every = every
        #: From when on the checks had their chance; the last look; since when nobody was seen to take checks.
        self._settled_from = clock.time()
        self._looked_at = clock.time()
        self._nobody_since: float | None = None
        #: When checks that were put off were to be made: they are not late at that very moment.
        self._put_off: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await anyio.sleep(self._every * (0.75 + random.random() / 2))  # noqa: S311 - not all at once
            if not self._leads():
                continue
            try:
                await self.look()
            except (TemporaryFailure, StreamqError) as error:
                log.warning("watchdog_trouble", extra={"error": str(error)})
            except Exception:
                # Jobs must not stop because something beside them is broken.
                log.exception("watchdog_failed")

    async def look(self) -> int:
        """Tell what there is to tell; how many alerts. Raises StoreUnavailable, BrokerUnavailable."""
        now = self._clock.time()
        if now - self._looked_at > 3 * self._every:
            self._settled_from = now
        self._looked_at = now
        written = await self._store.tell_invalid(now, tell=self._tell)
        silent = [_silent(one, now) for one in await self._store.silent()]
        written += await self._keep("silent", silent, now, nobody=False)
        if await self._may_judge(now):
            written += await self._overdue(now)
        if written:
            log.warning("troubles_told", extra={"alerts": written})
            self._relay.poke()
        return written

    async def _may_judge(self, now: float) -> bool:
        """Whether a check that was not made should have been."""
        stats = await self._broker.stats(RULES_RUN)
        if stats.paused:
            self._settled_from = now
            return False
        # A worker that was killed stays on the list until another takes its jobs.
        heard = [one.heard_seconds for one in await self._broker.workers(RULES_RUN) if one.beat is not None]
        if any(seconds is None or seconds < PATIENCE for seconds in heard):
            self._nobody_since = None
        elif self._nobody_since is None:
            self._nobody_since = now
        return now - self._settled_from >= PATIENCE

    async def _overdue(self, now: float) -> int:
        waiting = await self._store.waiting(now, patience=PATIENCE)
        nobody = self._nobody_since is not None and now - self._nobody_since >= PATIENCE
        if nobody:
            return await self._keep("overdue", [_late(one, now) for one in waiting], now, nobody=True)
        late = {
            one.rule_id
            for one in waiting
            if overdue_from(one.rule.schedule, one.since, seed=one.rule_id) <= now
        }
        # Where one is overdue, what else waits in its workspace shows whether it is that rule or all of them.
        spaces = {one.workspace_id for one in waiting if one.rule_id in late}
        found = []
        self._put_off = {one.rule_id: due for one in waiting if (due := self._put_off.get(one.rule_id))}
        for number, one in enumerate(one for one in waiting if one.workspace_id in spaces):
            if number < ASKED and await self._waits_on_purpose(one, now):
                late.discard(one.rule_id)
            else:
                found.append(one)
        many = {space for space, count in Counter(one.workspace_id for one in found).items() if count > FEW}
        told_of = [one for one in found if one.rule_id in late or one.workspace_id in many]
        return await self._keep("overdue", [_late(one, now) for one in told_of], now, nobody=False)

    async def _waits_on_purpose(self, one: Waiting, now: float) -> bool:
        """Its job was put off (its host's rate, Retry-After): it is due only then."""
        if one.job_id is not None:
            seen = await self._broker.find(RULES_RUN, one.job_id)
            if seen.state == "delayed":
                self._put_off[one.rule_id] = now + seen.due_in
        due = self._put_off.get(one.rule_id)
        return due is not None and overdue_from(one.rule.schedule, due, seed=one.rule_id) > now

    async def _keep(self, kind: str, found: Sequence[Trouble], now: float, *, nobody: bool) -> int:
        """Few by themselves, many as one for their workspace."""
        spaces: dict[str, list[Trouble]] = {}
        for one in found:
            spaces.setdefault(one.workspace_id, []).append(one)
        going_on: list[Trouble] = []
        unsaid: list[tuple[str, str]] = []
        for space, troubles in spaces.items():
            if nobody or len(troubles) > FEW:
                going_on.append(_together(space, kind, troubles, nobody=nobody))
                unsaid += [(one.workspace_id, one.rule_id) for one in troubles]
            else:
                going_on += troubles
                unsaid.append((space, ""))  # over when none is left, not when they are few
        return await self._store.keep_troubles(kind, going_on, now, unsaid=unsaid, tell=self._tell)

    def _tell(self, alert_id: str, severity: Severity, result: str) -> None:
        self._observer(AlertRecorded(alert_id, severity, result))


def _late(one: Waiting, now: float) -> Trouble:
    return Trouble(
        workspace_id=one.workspace_id,
        rule_id=one.rule_id,
        since=one.since,
        code=_DELAY.code,
        severity=_DELAY.severity,
        title="not checked",
        detail=f"due at {_when(one.since)}, {_long(now - one.since)} ago, and nobody has checked it since",
        rules=(one.rule_id,),
    )


def _silent(one: Waiting, now: float) -> Trouble:
    expected = one.rule.expected_change_every or 0
    return Trouble(
        workspace_id=one.workspace_id,
        rule_id=one.rule_id,
        since=one.since,
        code=_SILENT.code,
        severity=_SILENT.severity,
        title=f"no change for {_long(now - one.since)}",
        detail=f"the last change was at {_when(one.since)}; one was expected every {_long(expected)}",
        rules=(one.rule_id,),
    )


def _together(space: str, kind: str, troubles: Sequence[Trouble], *, nobody: bool) -> Trouble:
    first = min(troubles, key=lambda one: one.since)
    rules = tuple(one.rule_id for one in troubles)
    few = ", ".join(rules[:20]) + (f" and {len(rules) - 20} more" if len(rules) > 20 else "")
    count = f"{len(rules)} rule{'s are' if len(rules) != 1 else ' is'}"
    title = f"{count} not checked" if kind == "overdue" else f"{len(rules)} rules without a change"
    return Trouble(
        workspace_id=space,
        rule_id="",
        since=first.since,
        code=first.code,
        severity="critical" if nobody else first.severity,
        title=f"{title}: no worker takes checks" if nobody else title,
        detail=f"{few}; the oldest since {_when(first.since)}",
        recommendation="Start one: sentinel-worker run --stream rules:run" if nobody else "",
        rules=rules,
    )


def _when(moment: float) -> str:
    return told(moment, "UTC", now=0.0)  # with its day


def _long(seconds: float) -> str:
    """For people: the two largest units would be one too many."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
