"""A rule over checks that were made before: what it would have told, had it been there then.

The same judgement as a check's own (`judge`, `judge_failure`, `judge_not_modified`), one reading
after the other. No clock, no I/O: times are those of the checks.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sentinel.decide.conditions import Before, needed_days
from sentinel.decide.judge import judge, judge_failure, judge_not_modified
from sentinel.decide.normalise import Normalised, normalise_rule
from sentinel.errors import CheckFailure
from sentinel.model import AlertDraft, Extracted, Rule, RuleState, Value, Verdict


class PastCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check as it is remembered. With none of the four, what the page said is not known."""

    run_id: int
    #: Seconds since the epoch.
    at: float
    #: What the rule reads there.
    extracted: Extracted | None = None
    #: The value, where what it was read from is not kept whole.
    value: Value | None = None
    #: 304: the page was as before.
    not_modified: bool = False
    failure: CheckFailure | None = None
    #: Characters of its page, where that was kept.
    page_size: int | None = None
    #: Why nothing is known, for people.
    unknown: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a check would have come to."""

    check: PastCheck
    #: None: nothing is known of the check, and the rule's state stays.
    verdict: Verdict | None = None
    value: Value | None = None
    failure: CheckFailure | None = None
    #: The alert of a change, told or not.
    alert: AlertDraft | None = None
    #: Why it would not have been told by itself: cooldown, duplicate.
    suppressed: str | None = None


class Replay:
    """Checks in the order they were made, each judged by what those before left behind."""

    def __init__(
        self,
        rule: Rule,
        *,
        state: RuleState | None = None,
        past: Sequence[Before] = (),
        timezone: str = "UTC",
    ) -> None:
        """`state`, `past`: what was known, and believed before, when the first of the checks was made."""
        self._rule = rule
        self._timezone = timezone
        self._state = state or RuleState()
        self._days = needed_days(rule.alert_policy)
        self._past = sorted(past, key=lambda one: one.at) if self._days is not None else []
        #: Dedupe keys of what was told.
        self._told: set[str] = set()

    def judge(self, check: PastCheck) -> Outcome:
        """The next check."""
        try:
            read = self._read(check)
        except CheckFailure as failure:
            return self._failed(check, failure)
        if check.failure is not None:
            return self._failed(check, check.failure)
        verdict = self._judged(check, read)
        if verdict is None:
            return Outcome(check=check)
        self._state = verdict.state
        if self._days is not None and verdict.change is not None and verdict.change.before is not None:
            self._past.append(Before(check.at, verdict.change.before))
        alert = next((one for one in verdict.alerts if one.kind == "change"), None)
        return Outcome(
            check=check, verdict=verdict, value=verdict.value, alert=alert, suppressed=self._why_not(alert)
        )

    def _read(self, check: PastCheck) -> Normalised | None:
        if check.extracted is not None:
            known = self._state
            return normalise_rule(
                check.extracted, self._rule, separator=known.decimal_separator, stable=known.stable
            )
        return None if check.value is None else Normalised(check.value)

    def _judged(self, check: PastCheck, read: Normalised | None) -> Verdict | None:
        state = self._state
        if read is None:
            seen = state.stable is not None or state.candidate is not None
            if not check.not_modified or not seen:
                return None
            return judge_not_modified(self._rule, state, now=check.at, timezone=self._timezone)
        if read.separator is not None:
            state = msgspec.structs.replace(state, decimal_separator=read.separator)
        return judge(
            self._rule,
            state,
            check.extracted.raw if check.extracted is not None else None,
            read.value,
            now=check.at,
            timezone=self._timezone,
            implausible=read.implausible,
            page_size=check.page_size,
            past=self._seen_before(check.at),
        )

    def _seen_before(self, now: float) -> list[Before]:
        """What was believed until a moment that conditions still look at."""
        since = now - float(self._days or 0) * 86_400
        return [one for one in self._past if one.at >= since]

    def _failed(self, check: PastCheck, failure: CheckFailure) -> Outcome:
        verdict = judge_failure(self._rule, self._state, failure.code, failure.detail, now=check.at)
        self._state = verdict.state
        return Outcome(check=check, verdict=verdict, failure=failure)

    def _why_not(self, alert: AlertDraft | None) -> str | None:
        if alert is None:
            return None
        if alert.suppressed is not None:
            return alert.suppressed
        if alert.dedupe_key in self._told:
            return "duplicate"
        self._told.add(alert.dedupe_key)
        return None
