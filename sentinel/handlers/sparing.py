"""Sparing hosts: whether a check may go to its host now, and what is remembered of how that went."""

from __future__ import annotations

import functools
import logging
from typing import Final

from sentinel.decide.host import Gone, Host
from sentinel.errors import CheckFailure
from sentinel.fetch.fetcher import Fetcher
from sentinel.fetch.guard import NetworkPolicy, check_url
from sentinel.fetch.politeness import are_kin, host_key, rate_key
from sentinel.fetch.robots import MAX_BYTES, RobotsFiles
from sentinel.jobs import RULES_RUN
from sentinel.model import Rule
from sentinel.store import Store, StoredRule
from streamq import Broker, Snooze
from streamq.clock import Clock

log = logging.getLogger("sentinel.check")

#: Only to take a URL apart: whether it may be asked is the fetcher's to say.
_ANY: Final = NetworkPolicy(allow_private=True)


class Sparing:
    """What every check asks before it goes, and tells when it is back."""

    def __init__(
        self, store: Store, broker: Broker, fetcher: Fetcher, clock: Clock, rate: float | None
    ) -> None:
        """`rate`: fetches started per second and host over all workers; None: no host is spared."""
        self._store = store
        self._broker = broker
        self._fetcher = fetcher
        self._clock = clock
        self._rate = rate
        self._robots = RobotsFiles(clock.time)

    async def look_up(self, rule_id: str) -> tuple[StoredRule, Host | None]:
        """A rule, and what is known against its host (None: nothing). Raises NotFound, StoreUnavailable."""
        return await self._store.rule_and_host(rule_id, _host_of)

    async def ask(
        self, stored: StoredRule, trouble: Host | None, job_id: str, *, by_hand: bool
    ) -> Gone | None:
        """None: the check may go. Gone: it need not be made, and how it ends.

        `trouble` as `look_up` told it. Raises Snooze until the host may be asked; StoreUnavailable,
        BrokerUnavailable.
        """
        gone = None if trouble is None else await self._ask_host(stored, by_hand=by_hand)
        if gone is not None:
            return gone
        gone, delay = await self._ask_robots(stored)
        if gone is None:
            await self._wait_turn(stored.rule, job_id, delay, by_hand=by_hand)
        return gone

    async def note(
        self, stored: StoredRule, final_url: str, failure: CheckFailure | None, *, was_well: bool
    ) -> None:
        """Remember what came of it of the rule's host; one that sends on to another has answered.

        `was_well`: nothing was known against it when the check began, and a good check adds nothing to
        that. Should another have failed meanwhile, the next good one says that it has come back.
        """
        rule = stored.rule
        if self._rate is None:
            return
        if rate_key(final_url) != rate_key(rule.url):
            # Too late to wait for its turn, but those that come after wait for this one.
            await self._broker.limit(
                RULES_RUN, f"host:{rate_key(final_url)}", rate=self._rate, burst=max(1, int(self._rate))
            )
        told = failure if failure is not None and are_kin(final_url, rule.url) else None
        if told is None and was_well:
            return
        await self._store.note_check(
            stored.workspace.id,
            _host_of(rule),
            rule.id,
            self._clock.time(),
            code=None if told is None else told.code,
            detail="" if told is None else told.detail,
            retry_after=None if told is None else told.retry_after,
        )

    async def _ask_host(self, stored: StoredRule, *, by_hand: bool) -> Gone | None:
        """Spare a host in trouble; raises Snooze until it may be asked. Gone: it need not be.

        Who tests a rule by hand wants to know: that goes, and the log says what would have held it.
        """
        if self._rate is None:
            return None
        rule, now = stored.rule, self._clock.time()
        host = _host_of(rule)
        answer = await self._store.admit_check(stored.workspace.id, host, rule.id, now, by_hand=by_hand)
        if answer is None:
            return None
        if by_hand:
            log.warning(
                "host_not_spared", extra={"rule_id": rule.id, "host": host, "reason": str(answer.why)}
            )
            return None
        if isinstance(answer, Gone):
            return answer
        raise Snooze(answer.until - now, why=f"{host} {answer.why}")

    async def _ask_robots(self, stored: StoredRule) -> tuple[Gone | None, float | None]:
        """Why the page may not be looked at, or the seconds that its site wants between two looks."""
        rule = stored.rule
        if stored.workspace.robots == "ignore":
            return None, None
        try:
            url = check_url(rule.url, _ANY)
        except CheckFailure:
            return None, None  # the check itself says what is wrong with it
        get = functools.partial(self._fetcher.fetch_file, profile=rule.fetch, most=MAX_BYTES)
        try:
            robots = await self._robots.of(url, get, by=rule.fetch.proxy or "")
        except CheckFailure as failure:
            return Gone(failure.code, failure.detail), None
        line = robots.forbids(url.raw_path.decode("ascii"))
        if line is not None:
            return Gone("FETCH_ROBOTS", f"robots.txt of {url.host} forbids it: {str(line)[:300]}"), None
        return None, robots.delay

    async def _wait_turn(self, rule: Rule, job_id: str, delay: float | None, *, by_hand: bool) -> None:
        """Keep to the host's rate; raises Snooze until the next fetch of that host may start.

        `delay`: seconds that the host itself wants between two. A person waits for the rate, but not
        behind the rules of the host, of which thousands may wait.
        """
        rates = [rate for rate in (self._rate, 1 / delay if delay else None) if rate is not None]
        if not rates:
            return
        rate = min(rates)
        wait = await self._broker.limit(
            RULES_RUN,
            f"host:{rate_key(rule.url)}",
            rate=rate,
            burst=max(1, int(rate)),
            who=job_id,
            urgent=by_hand,
        )
        if wait > 0:
            raise Snooze(wait, why="its host's rate limit")


def _host_of(rule: Rule) -> str:
    return host_key(rule.url, rule.fetch.proxy)
