"""One check of a rule, step by step and with nothing kept: what `rules test` runs.

The judgement is made as if the value had been confirmed: the question is what a change would do,
not how often it must be seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from sentinel.cli.exits import CommandError, Exit
from sentinel.decide.judge import judge
from sentinel.decide.normalise import normalise
from sentinel.decide.values import describe, value_json
from sentinel.errors import CheckFailure
from sentinel.extract import Extractor
from sentinel.model import Extracted, Fetched, Rule, RuleState, Value, Verdict

#: Bytes of a page that is read from a file.
MAX_FILE = 32 * 1024 * 1024

_TYPES = {".json": "application/json", ".xml": "application/xml", ".txt": "text/plain"}


class Step(msgspec.Struct, frozen=True):
    """One stage of the check."""

    name: Literal["fetch", "extract", "normalise", "compare", "conditions"]
    ok: bool
    detail: str


class Trial(msgspec.Struct, frozen=True):
    """What a check would have come to."""

    rule: Rule
    steps: tuple[Step, ...]
    raw: str | None = None
    value: Value | None = None
    error_code: str | None = None
    #: None where the check ended before it.
    verdict: Verdict | None = None


class _Stopped(Exception):  # noqa: N818 - never leaves this module
    """A stage said no."""

    def __init__(self, name: Literal["fetch", "extract", "normalise"], failure: CheckFailure) -> None:
        super().__init__(str(failure))
        self.step = Step(name, ok=False, detail=f"{failure.code}: {failure.detail}".rstrip(": "))
        self.code = failure.code


async def try_rule(
    rule: Rule,
    bring: Callable[[], Awaitable[Fetched]],
    extractor: Extractor,
    *,
    state: RuleState | None = None,
    earlier: Fetched | None = None,
    now: float,
    timezone: str = "UTC",
) -> Trial:
    """Check `rule` on the page that `bring` brings.

    It is compared with the value on the page `earlier`, else with the stable one of `state`. Raises
    CommandError when no value can be read from `earlier`.
    """
    before = await _earlier_state(rule, earlier, extractor, state or RuleState())
    steps: list[Step] = []
    raw: str | None = None
    try:
        page = await _fetch(bring, steps)
        extracted = await _extract(rule, page, extractor, steps)
        raw = extracted.raw
        value = _normalise(rule, extracted, before, steps)
    except _Stopped as stopped:
        return Trial(rule, (*steps, stopped.step), raw=raw, error_code=stopped.code)
    verdict = _judge(rule, before, raw, value, now=now, timezone=timezone)
    steps += [_compared(before, value, verdict), _conditions(rule, verdict)]
    return Trial(rule, tuple(steps), raw=raw, value=value, verdict=verdict)


def page_of(path: Path, url: str) -> Fetched:
    """A page from a file. Raises CommandError."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise CommandError(Exit.FAILED, f"{path} is larger than {MAX_FILE} bytes")
        body = path.read_bytes()
    except OSError as error:
        raise CommandError(Exit.NOT_FOUND, f"{path} cannot be read: {error.strerror}") from error
    content_type = _TYPES.get(path.suffix.lower(), "text/html")
    return Fetched(
        url=url,
        final_url=url,
        status=200,
        headers={"content-type": f"{content_type}; charset=utf-8"},
        body=body,
        text=body.decode("utf-8", "replace"),
    )


async def _earlier_state(
    rule: Rule, earlier: Fetched | None, extractor: Extractor, state: RuleState
) -> RuleState:
    if earlier is None:
        return state
    try:
        extracted = await _extract(rule, earlier, extractor, [])
        value = _normalise(rule, extracted, state, [])
    except _Stopped as stopped:
        detail = f"no value can be read from the page to compare with: {stopped.step.detail}"
        raise CommandError(Exit.FAILED, detail) from stopped
    return RuleState(stable=value, stable_raw=extracted.raw)


async def _fetch(bring: Callable[[], Awaitable[Fetched]], steps: list[Step]) -> Fetched:
    try:
        page = await bring()
    except CheckFailure as failure:
        raise _Stopped("fetch", failure) from failure
    if page.blocked is not None:
        raise _Stopped("fetch", CheckFailure(page.blocked, page.block_detail))
    size = f"{len(page.body):,} bytes, {page.content_type or 'no type'}"
    steps.append(Step("fetch", ok=True, detail=f"{page.status}, {size}, {page.final_url}"))
    return page


async def _extract(rule: Rule, page: Fetched, extractor: Extractor, steps: list[Step]) -> Extracted:
    try:
        found = await extractor.extract(page, rule.extraction, allow_empty=rule.normal.empty == "value")
    except CheckFailure as failure:
        raise _Stopped("extract", failure) from failure
    by = "" if found.selector_index == 0 else f" by fallback selector {found.selector_index}"
    steps.append(Step("extract", ok=True, detail=f"{found.raw[:200]!r}{by}"))
    return found


def _normalise(rule: Rule, extracted: Extracted, state: RuleState, steps: list[Step]) -> Value:
    try:
        found = normalise(extracted, rule.normal, separator=state.decimal_separator)
    except CheckFailure as failure:
        raise _Stopped("normalise", failure) from failure
    doubt = f"; it would be confirmed once more: {found.implausible}" if found.implausible else ""
    steps.append(Step("normalise", ok=True, detail=f"{rule.normal.kind} {describe(found.value)}{doubt}"))
    return found.value


def _judge(rule: Rule, state: RuleState, raw: str, value: Value, *, now: float, timezone: str) -> Verdict:
    at_once = msgspec.structs.replace(rule.alert_policy, require_consecutive=1, cooldown_seconds=0)
    fresh = msgspec.structs.replace(state, candidate=None, candidate_count=0)
    return judge(
        msgspec.structs.replace(rule, alert_policy=at_once), fresh, raw, value, now=now, timezone=timezone
    )


def _compared(before: RuleState, value: Value, verdict: Verdict) -> Step:
    if before.stable is None:
        return Step("compare", ok=True, detail="nothing to compare with: the first good value is no change")
    if verdict.change is None:
        return Step("compare", ok=True, detail=f"unchanged: {describe(value)}")
    percent = "" if verdict.change.percent is None else f" ({verdict.change.percent:+.1f} %)"
    words = f"{verdict.change.kind}: {describe(before.stable)} -> {describe(value)}{percent}"
    return Step("compare", ok=True, detail=words)


def _conditions(rule: Rule, verdict: Verdict) -> Step:
    count = len(rule.alert_policy.conditions)
    if not verdict.fired:
        return Step("conditions", ok=True, detail=f"none of {count} met")
    met = ", ".join(f"{one.condition} ({one.severity})" for one in verdict.fired)
    channels = ", ".join(rule.alert_policy.channels) or "no channel"
    return Step("conditions", ok=True, detail=f"{met}; would tell {channels}")


def trial_document(trial: Trial) -> dict[str, object]:
    """`sentinel.rule_test/1`."""
    change = trial.verdict.change if trial.verdict is not None else None
    fired = trial.verdict.fired if trial.verdict is not None else ()
    return {
        "schema": "sentinel.rule_test/1",
        "rule_id": trial.rule.id,
        "steps": [{"name": s.name, "ok": s.ok, "detail": s.detail} for s in trial.steps],
        "raw": trial.raw,
        "value": value_json(trial.value),
        "error_code": trial.error_code,
        "changed": change is not None,
        "change_kind": change.kind if change is not None else None,
        "would_alert": [{"condition": one.condition, "severity": one.severity} for one in fired],
    }
