"""The judgement: rule + stored state + new reading -> new state, change, alerts. No clock, no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from sentinel.decide import healing as healings
from sentinel.decide import health
from sentinel.decide.compare import compare, lost_separator
from sentinel.decide.conditions import Before, Scene, evaluate, from_last_told
from sentinel.decide.confirm import Step, confirm
from sentinel.decide.rows import aligned
from sentinel.decide.rows import summary as summary_of
from sentinel.decide.schedule import zone_of
from sentinel.decide.values import describe, same, value_json
from sentinel.errors import ERROR_CODES, Severity
from sentinel.model import (
    AlertDraft,
    Change,
    FieldsValue,
    Fired,
    Healed,
    JsonValue,
    RowsValue,
    Rule,
    RuleState,
    TextValue,
    Value,
    Verdict,
)

_RANK: Final[dict[Severity, int]] = {"info": 0, "warning": 1, "critical": 2}
#: A page with less than this share of its characters is looked at once more, unless it was small anyway.
SHRUNK: Final = 0.4
SMALL_PAGE: Final = 2_000
#: New values in a row that were gone at the next look, until it is told that the rule flaps.
UNSETTLED: Final = 6
#: Characters of a dedupe key's value part; longer ones are told by their hash.
_KEY_PART: Final = 60
#: Characters of a text or of data that a title quotes.
_TITLE_PART: Final = 40


def judge(
    rule: Rule,
    state: RuleState,
    raw: str | None,
    value: Value,
    *,
    now: float,
    timezone: str = "UTC",
    implausible: str | None = None,
    page_size: int | None = None,
    past: Sequence[Before] = (),
    healed: Sequence[Healed] = (),
) -> Verdict:
    """What a good reading means. `now` in seconds since the epoch; `timezone` the workspace's.

    `page_size`: characters of the page it was read from, where they are known. `past`: what was believed
    before, as far back as `needed_days` of the rule's conditions says. `healed`: the healed selectors it
    was read by.
    """
    policy = rule.alert_policy
    value = _aligned(state.stable, value)
    implausible = implausible or _shrunk(state, page_size) or healings.doubt(healed)
    doubtful = implausible is not None or lost_separator(state.stable, value)
    step = confirm(state, value, required=policy.require_consecutive, implausible=doubtful)
    change = compare(state.stable, value) if step.changed and state.stable is not None else None
    alerts: list[AlertDraft] = []
    well = _after_good_run(state, step, raw, now, changed=change is not None, doubt=implausible)
    met: tuple[Fired, ...] = ()
    if step.confirmed:
        scene = _scene(rule, state, step, change, now, past)
        outcome = evaluate(policy, scene)
        met = outcome.met
        well = msgspec.structs.replace(
            well, told=outcome.told, disarmed=outcome.disarmed, page_size=page_size or state.page_size
        )
        if met:
            shown = scene.since_told.change if outcome.late else change
            alerts.append(_change_alert(rule, state, step, shown, met, now=now, timezone=timezone))
        well = _remembering(rule, state, well, next(iter(alerts), None), now)
    well, unstable = _settling(rule, state, well, value, now)
    alerts += unstable
    if healed:
        well = _held_down(state, well)
        alerts += [_healed_alert(rule, one, now) for one in healed if one.seen == healings.TELL_AT]
    if state.health_state == "broken" and well.health_state != "broken":
        alerts.append(_recovery_alert(rule, now))
        well = msgspec.structs.replace(well, broken_told_at=None)
    waiting = policy.confirm.within if policy.confirm is not None and not step.confirmed else None
    return Verdict(
        state=well,
        value=value,
        change=change,
        confirmed=step.confirmed,
        fired=met,
        alerts=tuple(alerts),
        confirm_in=waiting,
    )


def judge_not_modified(
    rule: Rule, state: RuleState, *, now: float, timezone: str = "UTC", healed: Sequence[Healed] = ()
) -> Verdict:
    """The page is as it was at the last good run: that run's reading, once more.

    Raises ValueError where there was none; then nothing should have been asked conditionally.
    """
    reading = state.candidate or state.stable
    if reading is None:
        raise ValueError("there is no earlier reading to go by")
    waits = state.candidate is not None
    return judge(
        rule,
        state,
        state.candidate_raw if waits else state.stable_raw,
        reading,
        now=now,
        timezone=timezone,
        implausible=state.candidate_doubt if waits else None,
        healed=healed,
    )


def judge_failure(rule: Rule, state: RuleState, code: str, detail: str, *, now: float) -> Verdict:
    """What a run that ended with an error code means: for the rule's health only.

    Neither the stable value nor the candidate is touched: a failure is never shown as a change.
    """
    score = health.after_failure(state.health, code)
    condition = health.state_of(score, state.health_state)
    told = state.broken_told_at
    alerts: tuple[AlertDraft, ...] = ()
    if condition == "broken" and (told is None or now - told >= health.REMIND_EVERY):
        alerts = (_broken_alert(rule, code, detail, now, reminder=told is not None),)
        told = now
    ill = msgspec.structs.replace(
        state,
        health=score,
        health_state=condition,
        fail_streak=state.fail_streak + 1,
        backoff=state.backoff + 1,
        last_run_at=now,
        broken_told_at=told,
    )
    return Verdict(state=ill, alerts=alerts)


def _scene(  # noqa: PLR0917 - all that there is, in the order of its making
    rule: Rule, state: RuleState, step: Step, change: Change | None, now: float, past: Sequence[Before]
) -> Scene:
    return Scene(
        before=state.stable,
        after=step.stable,
        change=change,
        now=now,
        first=state.stable is None,
        currencies={name: part.normal.currency for name, part in rule.parts.items()},
        past=past,
        told=state.told,
        disarmed=state.disarmed,
        owed=() if cooling_until(rule, state, now) is not None else state.owed,
        told_value=state.stable if state.told_value is None else state.told_value,
    )


def _remembering(
    rule: Rule, before: RuleState, after: RuleState, alert: AlertDraft | None, now: float
) -> RuleState:
    """What was told and when, and what a cooldown has kept from being told."""
    needed = rule.alert_policy.cooldown_seconds > 0 or from_last_told(rule.alert_policy)
    known = before.stable if before.told_value is None else before.told_value
    if alert is None or alert.suppressed is not None:
        owed = before.owed if cooling_until(rule, before, now) is not None else ()
        held = () if alert is None else alert.conditions
        told_value = after.stable if known is None else known
        return msgspec.structs.replace(
            after,
            owed=tuple(dict.fromkeys((*owed, *held))),
            told_value=told_value if needed else None,
        )
    return msgspec.structs.replace(
        after,
        owed=tuple(one for one in before.owed if one not in alert.conditions)
        if cooling_until(rule, before, now) is not None
        else (),
        told_value=after.stable if needed else None,
        last_alert_at=now,
        last_alert_severity=alert.severity,
    )


def _aligned(stable: Value | None, value: Value) -> Value:
    """The reading, rows whose keys come more than once numbered as they were."""
    if isinstance(stable, RowsValue) and isinstance(value, RowsValue):
        return aligned(stable, value)
    if isinstance(stable, FieldsValue) and isinstance(value, FieldsValue):
        fields = {
            name: aligned(before, one)
            if isinstance(one, RowsValue) and isinstance(before := stable.fields.get(name), RowsValue)
            else one
            for name, one in value.fields.items()
        }
        return msgspec.structs.replace(value, fields=fields)
    return value


def _shrunk(state: RuleState, page_size: int | None) -> str | None:
    """A page that lost most of itself may be half loaded, or another page."""
    if page_size is None or state.page_size is None or state.page_size < SMALL_PAGE:
        return None
    if page_size >= state.page_size * SHRUNK:
        return None
    return f"the page shrank from {state.page_size} characters to {page_size}"


def _settling(
    rule: Rule, before: RuleState, after: RuleState, value: Value, now: float
) -> tuple[RuleState, list[AlertDraft]]:
    """Count candidates that came to nothing; tell once of a value that never holds still."""
    if after.last_change_at != before.last_change_at:
        count = 0
    elif before.candidate is not None and not same(before.candidate, value):
        count = before.unsettled + 1
    elif after.candidate is None:
        count = max(0, before.unsettled - 1)
    else:
        count = before.unsettled
    told = before.unstable_told_at if count else None
    alerts = []
    if count >= UNSETTLED and told is None:
        told = now
        alerts.append(_unstable_alert(rule, before, value, count, now))
    return msgspec.structs.replace(after, unsettled=min(count, UNSETTLED), unstable_told_at=told), alerts


def _unstable_alert(rule: Rule, state: RuleState, value: Value, count: int, now: float) -> AlertDraft:
    known = ERROR_CODES["EXTRACT_UNSTABLE"]
    seen = " / ".join(dict.fromkeys((describe(state.stable), describe(state.candidate), describe(value))))
    return AlertDraft(
        kind="health",
        severity="warning",
        title=f"{rule.title}: {known.title}",
        body={
            "rule": rule.title,
            "url": rule.url,
            "code": known.code,
            "detail": f"{count} new values in a row were gone at the next look: {seen}"[:500],
            "recommendation": known.recommendation,
        },
        dedupe_key=f"{rule.id}:unstable:{now:.0f}",
        channels=tuple(rule.alert_policy.channels),
    )


def _held_down(before: RuleState, well: RuleState) -> RuleState:
    """A rule that works by a healed selector watches, and is degraded until a person has looked."""
    score = min(well.health, healings.AT_MOST)
    if score < health.BROKEN:
        return msgspec.structs.replace(well, health=score, health_state=before.health_state)
    return msgspec.structs.replace(well, health=score, health_state="degraded")


def _healed_alert(rule: Rule, healed: Healed, now: float) -> AlertDraft:
    known = ERROR_CODES["SELECTOR_HEALED"]
    return AlertDraft(
        kind="health",
        severity="info",
        title=f"{rule.title}: works by a healed selector",
        body={
            "rule": rule.title,
            "url": rule.url,
            "code": known.code,
            "detail": healings.words((healed,))[:500],
            "recommendation": f"{known.recommendation} sentinel-worker rules heal {rule.id}",
        },
        dedupe_key=f"{rule.id}:healed:{now:.0f}",
        channels=tuple(rule.alert_policy.channels),
    )


def _after_good_run(
    state: RuleState, step: Step, raw: str | None, now: float, *, changed: bool, doubt: str | None
) -> RuleState:
    score = health.after_success(state.health)
    waits = step.candidate is not None
    return msgspec.structs.replace(
        state,
        stable=step.stable,
        stable_raw=raw if step.confirmed and (raw is not None or changed) else state.stable_raw,
        candidate=step.candidate,
        candidate_count=step.candidate_count,
        candidate_raw=raw if waits else None,
        candidate_doubt=doubt if waits else None,
        health=score,
        health_state=health.state_of(score, state.health_state),
        fail_streak=0,
        backoff=0,
        last_run_at=now,
        last_good_at=now,
        last_change_at=now if changed else state.last_change_at,
    )


def _change_alert(
    rule: Rule,
    state: RuleState,
    step: Step,
    change: Change | None,
    met: Sequence[Fired],
    *,
    now: float,
    timezone: str,
) -> AlertDraft:
    """Of a change, or (None) of what is still so though nothing changed."""
    policy = rule.alert_policy
    again = change is None
    change = change or Change(kind="value_changed", before=step.stable, after=step.stable)
    severity = max((one.severity for one in met), key=_RANK.__getitem__)
    until = cooling_until(rule, state, now, severity)
    conditions = tuple(one.condition for one in met)
    return AlertDraft(
        kind="change",
        severity=severity,
        title=f"{rule.title}: {f'still {describe(change.after)}' if again else _told(change)}",
        body=_change_body(rule, change, met, again=again),
        # Told again on purpose: it is no duplicate of what was told before.
        dedupe_key=_dedupe_key(rule, conditions, change.after, now, timezone) + f":{now:.0f}" * again,
        channels=tuple(policy.channels),
        suppressed=None if until is None else "cooldown",
        suppressed_until=until,
        conditions=conditions,
    )


def cooling_until(rule: Rule, state: RuleState, now: float, severity: Severity | None = None) -> float | None:
    """When the rule's cooldown ends, or None: it is over, there is none, or `severity` passes it.

    What is more severe than the alert that began it passes: an info must not silence what is critical.
    """
    if state.last_alert_at is None:
        return None
    told = state.last_alert_severity
    if severity is not None and told is not None and _RANK[severity] > _RANK[told]:
        return None
    until = state.last_alert_at + rule.alert_policy.cooldown_seconds
    return until if now < until else None


def _told(change: Change) -> str:  # noqa: PLR0911 - one clause per kind
    """What changed, for a title: a long text in it would hide what the difference shows."""
    if change.rows is not None:
        return summary_of(change.rows)
    if len(change.fields) == 1:
        ((name, only),) = change.fields.items()
        return f"{name} {_told(only)}"
    was, now = describe(change.before), describe(change.after)
    if change.before is None or max(len(was), len(now)) <= _TITLE_PART:
        return f"{was} -> {now}"
    match change.after:
        case TextValue():
            return "the text changed"
        case JsonValue():
            return "the data changed"
        case FieldsValue() if change.fields:
            return ", ".join(f"{name} {_told(one)}" for name, one in change.fields.items())
    return f"{was} -> {now}"


def _change_body(
    rule: Rule, change: Change, met: Sequence[Fired], *, again: bool
) -> dict[str, Any]:  # Any: JSON
    sides = {name: (one.before, one.after) for name, one in change.fields.items()}
    if not sides and isinstance(change.after, FieldsValue):
        sides = {name: (one, one) for name, one in change.after.fields.items()}
    return {
        "rule": rule.title,
        "url": rule.url,
        "fields": [
            {"name": name, "before": value_json(before), "after": value_json(after)} | _order_of(after)
            for name, (before, after) in (sides or {rule.type: (change.before, change.after)}).items()
        ],
        "change": {
            "kind": None if again else change.kind,
            "percent": None if change.percent is None else str(change.percent),
        },
        "conditions": [{"condition": one.condition, "severity": one.severity} for one in met],
    }


def _order_of(value: Value | None) -> dict[str, bool]:
    """Whether another order of its rows is to be told."""
    return {"ordered": value.ordered} if isinstance(value, JsonValue | RowsValue) else {}


def _dedupe_key(rule: Rule, conditions: Sequence[str], value: Value | None, now: float, timezone: str) -> str:
    """Rule, conditions, value, and the day where the workspace is."""
    day = datetime.fromtimestamp(now, zone_of(timezone)).date().isoformat()
    # Rows and fields are described in part: of them the whole counts.
    whole = value_json(_compared(value)) if isinstance(value, RowsValue | FieldsValue) else None
    written = describe(value) if whole is None else msgspec.json.encode(whole, order="sorted").decode()
    parts = ("+".join(conditions), written)
    told = [
        part if len(part) <= _KEY_PART else hashlib.sha256(part.encode()).hexdigest()[:16] for part in parts
    ]
    if told[1] == parts[1] and isinstance(value, TextValue):
        told[1] = value.hash[:16]
    return f"{rule.id}:{told[0]}:{told[1].replace(' ', '_')}:{day}"


def _compared(value: RowsValue | FieldsValue) -> RowsValue | FieldsValue:
    """Without what is only shown: "3 minutes ago" and "4 minutes ago" are the same alert."""
    if isinstance(value, RowsValue):
        return msgspec.structs.replace(value, shown={})
    fields = {
        name: msgspec.structs.replace(one, shown={}) if isinstance(one, RowsValue) else one
        for name, one in value.fields.items()
    }
    return msgspec.structs.replace(value, fields=fields)


def _broken_alert(rule: Rule, code: str, detail: str, now: float, *, reminder: bool) -> AlertDraft:
    known = ERROR_CODES.get(code)
    what = known.title if known is not None else code
    return AlertDraft(
        kind="health",
        severity="warning",
        title=f"{rule.title}: {'still ' if reminder else ''}not watching: {what}",
        body={
            "rule": rule.title,
            "url": rule.url,
            "code": code,
            "detail": detail[:500],
            "recommendation": known.recommendation if known is not None else "",
        },
        dedupe_key=f"{rule.id}:broken:{now:.0f}",
        channels=tuple(rule.alert_policy.channels),
    )


def _recovery_alert(rule: Rule, now: float) -> AlertDraft:
    return AlertDraft(
        kind="recovery",
        severity="info",
        title=f"{rule.title}: watching again",
        body={"rule": rule.title, "url": rule.url},
        dedupe_key=f"{rule.id}:recovered:{now:.0f}",
        channels=tuple(rule.alert_policy.channels),
    )
