"""A rule, as it is or as a file would have it, over the checks that were made: what `rules replay` runs.

A check is judged by its stored page where the page was kept, else by the text that was read from it
then, which serves as long as the rule reads the same place. Where neither is there, that is told, and
the check counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

import msgspec

from sentinel.cli.entries import place_of
from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.output import Output
from sentinel.cli.values import iso
from sentinel.decide.conditions import Before, needed_days
from sentinel.decide.replay import Outcome, PastCheck, Replay
from sentinel.decide.values import describe, value_json
from sentinel.errors import CheckFailure
from sentinel.extract import Extractor
from sentinel.model import (
    Change,
    Extracted,
    Fetched,
    FieldsValue,
    JsonValue,
    PriceValue,
    RowsValue,
    Rule,
    RuleState,
)
from sentinel.store import Observation, Place, RunRecord, Store, StoredAlert, StoredRule
from sentinel.store.runs import MAX_RAW

#: Rows read in one call.
PAGE: Final = 1000
#: Codes of what comes after the page is there: another rule may fare better.
_OURS: Final = ("EXTRACT_", "VALUE_", "SELECTOR_")

T = TypeVar("T")

#: The page that a run fetched, or None: it was not kept.
Bodies = Callable[[RunRecord, Rule], Awaitable[Fetched | None]]


class Replayed(msgspec.Struct, frozen=True):
    """A rule's version over stored checks, beside what really happened."""

    rule: Rule
    since: float
    until: float
    #: Checks that were made; of these: judged by their page, by the text read then, by a failure.
    checks: int
    by_page: int
    by_text: int
    failed: int
    #: Checks of which nothing is known, and why, with how many there are of each.
    unknown: dict[str, int]
    #: What the version would have told or held back, oldest first.
    outcomes: tuple[Outcome, ...]
    #: What was told or held back in truth, oldest first.
    real: tuple[StoredAlert, ...]
    #: Changes that met no condition.
    quiet_changes: int
    #: Checks made before the rule was last edited: what really happened is of an earlier version.
    before_edit: int


async def replay_rule(
    store: Store,
    stored: StoredRule,
    rule: Rule,
    extractor: Extractor,
    bodies: Bodies,
    *,
    days: float,
    now: float,
) -> Replayed:
    """`rule` over the stored checks of `stored.rule` in the last `days`.

    Raises CommandError where the two watch different pages.
    """
    if rule.url != stored.rule.url:
        hint = "rules test FILE --url tries a rule on another page"
        raise CommandError(Exit.FAILED, f"{rule.id} watches {stored.rule.url}, not {rule.url}", hint)
    since = now - days * 86400.0
    runs = await _newer(lambda after: store.runs(rule.id, PAGE, after=after), place_of, since)
    observed = await _newer(lambda after: store.history(rule.id, PAGE, after=after), place_of, since)
    alerts = await _newer(lambda after: store.alerts(PAGE, rule_id=rule.id, after=after), _place, since)
    reader = _Reader(stored.rule, rule, extractor, bodies, {one.run_id: one for one in observed})
    replay = Replay(
        rule,
        state=await _before(store, stored.rule, rule, since),
        past=await believed_before(store, rule, since) if reader.same_place else (),
        timezone=stored.workspace.timezone,
    )
    outcomes = [replay.judge(check) async for check in reader.checks(list(reversed(runs)))]
    return Replayed(
        rule=rule,
        since=since,
        until=now,
        checks=len(outcomes),
        by_page=reader.by_page,
        by_text=reader.by_text,
        failed=sum(one.failure is not None for one in outcomes),
        unknown=dict(Counter(one.check.unknown for one in outcomes if one.check.unknown)),
        outcomes=tuple(one for one in outcomes if one.alert is not None),
        real=tuple(one for one in reversed(alerts) if one.kind == "change"),
        quiet_changes=sum(one.alert is None and _change(one) is not None for one in outcomes),
        before_edit=sum(run.started_at < stored.updated_at for run in runs),
    )


class _Reader:
    """What is known of each check."""

    def __init__(
        self, old: Rule, new: Rule, extractor: Extractor, bodies: Bodies, observed: dict[int, Observation]
    ) -> None:
        self._rule = new
        self._extractor = extractor
        self._bodies = bodies
        self._observed = observed
        self.same_place = old.extraction == new.extraction
        self._same_kind = old.normal == new.normal and old.fields == new.fields
        #: A page that comes twice in a row is read once.
        self._last: tuple[str, Extracted | CheckFailure] | None = None
        self.by_page = self.by_text = 0

    async def checks(self, runs: Sequence[RunRecord]) -> AsyncIterator[PastCheck]:
        for run in runs:
            if run.status != "running":
                yield await self._check(run)

    async def _check(self, run: RunRecord) -> PastCheck:
        at, code = run.finished_at or run.started_at, run.result.error_code
        if code is not None and not code.startswith(_OURS):
            return PastCheck(
                run_id=run.run_id, at=at, failure=CheckFailure(code, run.result.error_detail or "")
            )
        if run.result.not_modified:
            return PastCheck(run_id=run.run_id, at=at, not_modified=True)
        page = await self._bodies(run, self._rule)
        if page is not None:
            return await self._by_page(run, at, page)
        return self._by_memory(run, at)

    async def _by_page(self, run: RunRecord, at: float, page: Fetched) -> PastCheck:
        self.by_page += 1
        found = await self._read(run.result.content_hash or "", page)
        if isinstance(found, CheckFailure):
            return PastCheck(run_id=run.run_id, at=at, failure=found)
        return PastCheck(run_id=run.run_id, at=at, extracted=found, page_size=len(page.text))

    async def _read(self, content: str, page: Fetched) -> Extracted | CheckFailure:
        if self._last is not None and content and self._last[0] == content:
            return self._last[1]
        found: Extracted | CheckFailure
        try:
            found = await self._extractor.read(page, self._rule)
        except CheckFailure as failure:
            found = failure
        self._last = (content, found)
        return found

    def _by_memory(self, run: RunRecord, at: float) -> PastCheck:
        """By what was read then, where that is what the rule would read."""
        code = run.result.error_code
        if not self.same_place or (code is not None and not self._same_kind):
            return PastCheck(run_id=run.run_id, at=at, unknown="its page was not kept")
        if code is not None:
            return PastCheck(
                run_id=run.run_id, at=at, failure=CheckFailure(code, run.result.error_detail or "")
            )
        seen = self._observed.get(run.run_id)
        if seen is None:
            return PastCheck(run_id=run.run_id, at=at, unknown="its page and its value are gone")
        check = _remembered(seen, at, self._rule, same_kind=self._same_kind)
        self.by_text += check.unknown == ""
        return check


def _remembered(seen: Observation, at: float, rule: Rule, *, same_kind: bool) -> PastCheck:
    # Of rows and fields the text is told for people; what they were is in the value.
    whole = isinstance(seen.value, RowsValue | FieldsValue)
    if seen.raw is not None and len(seen.raw) < MAX_RAW and not whole:
        hint = seen.value.currency if isinstance(seen.value, PriceValue) else None
        beside = (
            hint if rule.extraction is not None and rule.extraction.method in ("schema", "auto") else None
        )
        # A text of an API is told without the quotes that make it JSON.
        json = seen.value.canonical if isinstance(seen.value, JsonValue) else None
        extracted = Extracted(raw=seen.raw, currency=beside, json=json)
        return PastCheck(run_id=seen.run_id, at=at, extracted=extracted)
    if same_kind:
        return PastCheck(run_id=seen.run_id, at=at, value=seen.value)
    return PastCheck(
        run_id=seen.run_id, at=at, unknown=f"its page was not kept, and of its text {MAX_RAW} characters"
    )


async def _before(store: Store, old: Rule, new: Rule, since: float) -> RuleState:
    """What the rule would have known when the first of the checks was made."""
    if old.extraction != new.extraction:
        return RuleState()
    earlier = [one for one in await store.history(old.id, 50, before=since) if one.confirmed]
    if not earlier:
        return RuleState()
    check = _remembered(
        earlier[0], earlier[0].at, new, same_kind=(old.normal, old.fields) == (new.normal, new.fields)
    )
    seen = Replay(new).judge(check)
    return RuleState() if seen.verdict is None else RuleState(stable=seen.value, stable_raw=earlier[0].raw)


async def believed_before(store: Store, rule: Rule, moment: float) -> list[Before]:
    """What was believed until some time before `moment`, as far back as the rule's conditions look."""
    days = needed_days(rule.alert_policy)
    if days is None:
        return []
    values = await store.replaced_values(rule.id, moment - float(days) * 86_400)
    return [Before(at, value) for at, value in values if at < moment]


async def _newer(
    page: Callable[[Place | None], Awaitable[list[T]]], place: Callable[[T], Place], since: float
) -> list[T]:
    """Every row since then, newest first, page by page; of those of one moment none is left out."""
    found: list[T] = []
    after: Place | None = None
    while True:
        rows = await page(after)
        found += [row for row in rows if place(row).at >= since]
        if len(rows) < PAGE or place(rows[-1]).at < since:
            return found
        after = place(rows[-1])


def _place(alert: StoredAlert) -> Place:
    return Place(alert.created_at, alert.id)


def _change(outcome: Outcome) -> Change | None:
    return None if outcome.verdict is None else outcome.verdict.change


# --- telling --------------------------------------------------------------------------------------


def replay_document(found: Replayed) -> dict[str, object]:
    """`sentinel.replay/1`."""
    return {
        "schema": "sentinel.replay/1",
        "rule_id": found.rule.id,
        "since": iso(found.since),
        "until": iso(found.until),
        "checks": found.checks,
        "by_page": found.by_page,
        "by_text": found.by_text,
        "failed": found.failed,
        "unknown": found.unknown,
        "before_edit": found.before_edit,
        "quiet_changes": found.quiet_changes,
        "would_alert": [_would(one) for one in found.outcomes],
        "alerted": [_did(one) for one in found.real],
    }


def _would(outcome: Outcome) -> dict[str, object]:
    change = _change(outcome)
    return {
        "run_id": str(outcome.check.run_id),
        "at": iso(outcome.check.at),
        "before": value_json(change.before) if change else None,
        "after": value_json(outcome.value),
        "change_kind": change.kind if change else None,
        "conditions": list(outcome.alert.conditions) if outcome.alert else [],
        "severity": outcome.alert.severity if outcome.alert else None,
        "suppressed": outcome.suppressed,
    }


def _did(alert: StoredAlert) -> dict[str, object]:
    return {
        "alert_id": alert.id,
        "run_id": None if alert.run_id is None else str(alert.run_id),
        "at": iso(alert.created_at),
        "title": alert.title,
        "conditions": list(alert.conditions),
        "severity": alert.severity,
        "suppressed": alert.suppressed,
    }


def show_replay(out: Output, found: Replayed, *, edited: bool) -> None:
    """The count, then both sides by time, then what is not known."""
    days = round((found.until - found.since) / 86400)
    told = sum(one.suppressed is None for one in found.outcomes)
    really = sum(one.suppressed is None for one in found.real)
    which = "as the file has it, it" if edited else "it"
    out.line(f"{found.rule.id}: {which} would have alerted {_times(told)} in {days} days")
    out.line(f"in truth it alerted {_times(really)}")
    rows = _side_by_side(found)
    if rows:
        out.table(("AT", "WOULD HAVE TOLD", "DID TELL", "CHANGE"), rows)
    for line in _notes(found):
        out.line(line)


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _side_by_side(found: Replayed) -> list[tuple[str, str, str, str]]:
    real = {alert.run_id: alert for alert in found.real}
    rows: list[tuple[float, str, str, str]] = []
    for one in found.outcomes:
        alert = real.pop(one.check.run_id, None)
        did = "-" if alert is None else _told(alert.conditions, alert.suppressed)
        change = _change(one)
        words = "" if change is None else f"{describe(change.before)} -> {describe(change.after)}"
        would = _told(one.alert.conditions if one.alert else (), one.suppressed)
        rows.append((one.check.at, would, did, words))
    rows += [
        (alert.created_at, "-", _told(alert.conditions, alert.suppressed), alert.title)
        for alert in real.values()
    ]
    return [(iso(at)[:19], would, did, words) for at, would, did, words in sorted(rows)]


def _told(conditions: Sequence[str], suppressed: str | None) -> str:
    return ", ".join(conditions) + (f" ({suppressed})" if suppressed else "")


def _notes(found: Replayed) -> list[str]:
    by = f"{found.by_page} by their stored page, {found.by_text} by the text read then"
    notes = [f"{found.checks} checks: {by}, {found.failed} failed"]
    notes += [f"{count} count for nothing: {why}" for why, count in found.unknown.items()]
    if found.quiet_changes:
        notes.append(f"{found.quiet_changes} changes met no condition")
    if found.before_edit:
        notes.append(f"{found.before_edit} checks are older than the last edit of the rule")
    return notes
