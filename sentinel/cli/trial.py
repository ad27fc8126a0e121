"""One check of a rule, step by step and with nothing kept: what `rules test` runs.

The judgement is made as if the value had been confirmed: the question is what a change would do,
not how often it must be seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import msgspec

from sentinel.cli.exits import CommandError, Exit
from sentinel.cli.values import iso
from sentinel.decide.conditions import Before
from sentinel.decide.confirm import confirm
from sentinel.decide.judge import judge
from sentinel.decide.normalise import normalise_rule
from sentinel.decide.text import shorten
from sentinel.decide.values import describe, value_json
from sentinel.errors import CheckFailure
from sentinel.extract import Extractor
from sentinel.extract.matches import each_alone
from sentinel.fetch import charset
from sentinel.fetch.blocks import classify
from sentinel.handlers import walls
from sentinel.model import Extracted, Extraction, Fetched, Rule, RuleState, Value, Verdict

#: Characters of a reading that are shown.
SHOWN: Final = 120
_NOTHING: Final = {
    "EXTRACT_SELECTOR_NOT_FOUND": "no match",
    "EXTRACT_SCHEMA_NOT_FOUND": "the page says nothing of it to machines",
    "EXTRACT_EMPTY_VALUE": "an empty text",
}
#: Bytes of a page that is read from a file.
MAX_FILE = 32 * 1024 * 1024

_TYPES = {".json": "application/json", ".xml": "application/xml", ".txt": "text/plain"}


StepName = Literal["fetch", "classify", "extract", "normalise", "confirm", "compare", "conditions"]


class Step(msgspec.Struct, frozen=True):
    """One stage of the check."""

    name: StepName
    ok: bool
    detail: str
    #: What is well now and may not stay so.
    warnings: tuple[str, ...] = ()


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

    def __init__(self, name: StepName, failure: CheckFailure, detail: str = "") -> None:
        super().__init__(str(failure))
        told = detail or f"{failure.code}: {failure.detail}".rstrip(": ")
        self.step = Step(name, ok=False, detail=told)
        self.code = failure.code
        #: What had been read by then.
        self.raw: str | None = None


async def try_rule(
    rule: Rule,
    bring: Callable[[], Awaitable[Fetched]],
    extractor: Extractor,
    *,
    state: RuleState | None = None,
    earlier: Fetched | None = None,
    past: Sequence[Before] = (),
    again: Callable[[Fetched, str], Awaitable[Fetched | None]] | None = None,
    now: float,
    timezone: str = "UTC",
) -> Trial:
    """Check `rule` on the page that `bring` brings; on another that `again` brings where it finds nothing.

    It is compared with the value on the page `earlier`, else with the stable one of `state`. Raises
    CommandError when no value can be read from `earlier`.
    """
    before = await _earlier_state(rule, earlier, extractor, state or RuleState())
    steps: list[Step] = []
    try:
        page = await _fetch(bring, steps)
        try:
            raw, value = await _read(rule, page, extractor, before, steps)
        except _Stopped as stopped:
            page = await _fetch(partial(_other, again, page, stopped), steps)
            raw, value = await _read(rule, page, extractor, before, steps)
    except _Stopped as stopped:
        return Trial(rule, (*steps, stopped.step), raw=stopped.raw, error_code=stopped.code)
    verdict = _judge(rule, before, raw, value, now=now, timezone=timezone, past=past)
    steps += [
        _confirmed(rule, before, value),
        _compared(before, value, verdict),
        _conditions(rule, verdict),
    ]
    return Trial(rule, tuple(steps), raw=raw, value=value, verdict=verdict)


async def _other(
    again: Callable[[Fetched, str], Awaitable[Fetched | None]] | None, page: Fetched, stopped: _Stopped
) -> Fetched:
    """Another look at the page; raises `stopped` where there is none."""
    found = None if again is None else await again(page, stopped.code)
    if found is None:
        raise stopped
    return found


def page_of(path: Path, url: str) -> Fetched:
    """A page from a file. Raises CommandError."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise CommandError(Exit.FAILED, f"{path} is larger than {MAX_FILE} bytes")
        body = path.read_bytes()
    except OSError as error:
        raise CommandError(Exit.NOT_FOUND, f"{path} cannot be read: {error.strerror}") from error
    headers = {"content-type": _TYPES.get(path.suffix.lower(), "text/html")}
    text = charset.decode(body, "")
    block = classify(200, headers, text)
    return Fetched(
        url=url,
        final_url=url,
        status=200,
        headers=headers,
        body=body,
        text=text,
        blocked=block.code if block else None,
        block_detail=block.detail if block else "",
        block_confidence=block.confidence if block else 0.0,
        block_by_words=block is not None and block.by_words,
    )


async def _earlier_state(
    rule: Rule, earlier: Fetched | None, extractor: Extractor, state: RuleState
) -> RuleState:
    if earlier is None:
        return state
    try:
        _look_for_a_wall(earlier, [])
        raw, value = await _read(rule, earlier, extractor, state, [])
    except _Stopped as stopped:
        detail = f"no value can be read from the page to compare with: {stopped.step.detail}"
        raise CommandError(Exit.FAILED, detail) from stopped
    return RuleState(stable=value, stable_raw=raw)


async def _fetch(bring: Callable[[], Awaitable[Fetched]], steps: list[Step]) -> Fetched:
    try:
        page = await bring()
    except CheckFailure as failure:
        raise _Stopped("fetch", failure) from failure
    size = f"{len(page.body):,} bytes, {page.content_type or 'no type'}"
    way = f", by {page.mode}" if page.timings else ""  # a saved page came by no way
    because = f" ({page.fallback_reason})" if page.fallback_reason else ""
    steps.append(Step("fetch", ok=True, detail=f"{page.status}, {size}, {page.final_url}{way}{because}"))
    _look_for_a_wall(page, steps)
    return page


def _look_for_a_wall(page: Fetched, steps: list[Step]) -> None:
    if page.blocked is None:
        steps.append(Step("classify", ok=True, detail="a page, no wall before it"))
        return
    told = f"{page.blocked}: {page.block_detail} ({page.block_confidence:.0%} sure)"
    if walls.stands(page):
        raise _Stopped("classify", CheckFailure(page.blocked, page.block_detail), told)
    doubt = f"{told}, by its words alone: a page all the same if the rule finds its value"
    steps.append(Step("classify", ok=True, detail=doubt))


async def _read(
    rule: Rule, page: Fetched, extractor: Extractor, before: RuleState, steps: list[Step]
) -> tuple[str, Value]:
    """Extract -> normalise, as a check does it: what reads like a wall is none where the value is there."""
    raw: str | None = None
    try:
        extracted = await _extract(rule, page, extractor, steps)
        raw = extracted.raw
        value = _normalise(rule, extracted, before, steps)
        if walls.is_behind(page, rule, extracted, value):
            return raw, value
    except _Stopped as stopped:
        if page.blocked is None:
            stopped.raw = raw
            raise
    wall = _Stopped("extract", CheckFailure(page.blocked or "", page.block_detail))
    wall.raw = raw
    raise wall


async def _extract(rule: Rule, page: Fetched, extractor: Extractor, steps: list[Step]) -> Extracted:
    tries: list[str] = []
    try:
        found = await extractor.read(page, rule)
    except CheckFailure as failure:
        await _tell_tries(rule, page, extractor, None, tries)
        detail = "; ".join([*tries, f"{failure.code}: {failure.detail}".rstrip(": ")])
        raise _Stopped("extract", failure, detail) from failure
    await _tell_tries(rule, page, extractor, found, tries)
    warnings = await _ambiguous(rule, page, extractor, found)
    detail = "; ".join([*(tries or [shorten(found.raw, SHOWN)]), *(f"warning: {one}" for one in warnings)])
    steps.append(Step("extract", ok=True, detail=detail, warnings=warnings))
    return found


async def _tell_tries(
    rule: Rule, page: Fetched, extractor: Extractor, found: Extracted | None, tries: list[str]
) -> None:
    """Each selector that was tried, what it matched and how often."""
    for index, step in enumerate(each_alone(rule.extraction) if rule.extraction else ()):
        name = f"{step.method} {step.selector!r}" if step.selector else step.method
        if found is not None and index == found.selector_index:
            many = _many(await extractor.count(page, step))
            tries.append(f"{name}: {many}{shorten(found.raw, SHOWN)!r}{_sure(found)}")
            return
        try:
            alone = await extractor.extract(page, step, money=rule.normal.kind == "price")
        except CheckFailure as failure:
            words = _NOTHING.get(failure.code, failure.detail)
            many = _many(await extractor.count(page, step))
            tries.append(f"{name}: {many or words}".removesuffix(", first "))
        else:
            tries.append(f"{name}: {shorten(alone.raw, SHOWN)!r}")


async def _ambiguous(rule: Rule, page: Fetched, extractor: Extractor, found: Extracted) -> tuple[str, ...]:
    """Selectors that gave a value and match more elements than the one that is read."""
    read: list[tuple[str, Extraction, Extracted]] = []
    if rule.extraction is not None:
        read = [("", rule.extraction, found)]
    else:
        given = found.fields or {}
        read = [(f"field {name}: ", rule.fields[name].extraction, one) for name, one in given.items()]
    told = []
    for prefix, extraction, one in read:
        step = next(islice(each_alone(extraction), one.selector_index, None), None)
        if step is None or step.method not in ("css", "xpath"):
            continue  # healed, or a method that chooses by itself
        count = await extractor.count(page, step)
        if count is not None and count > 1:
            many = f"{count} elements match {step.selector!r} and the first is read"
            told.append(f"{prefix}{many}: say more, or give a context")
    return tuple(told)


def _many(count: int | None) -> str:
    return f"{count} match{'' if count == 1 else 'es'}, first " if count else ""


def _sure(found: Extracted) -> str:
    return f" ({found.confidence:.0%} sure)" if found.confidence < 1 else ""


def _normalise(rule: Rule, extracted: Extracted, state: RuleState, steps: list[Step]) -> Value:
    try:
        found = normalise_rule(extracted, rule, separator=state.decimal_separator, stable=state.stable)
    except CheckFailure as failure:
        raise _Stopped("normalise", failure) from failure
    doubt = f"; it would be confirmed once more: {found.implausible}" if found.implausible else ""
    steps.append(Step("normalise", ok=True, detail=f"{rule.normal.kind} {describe(found.value)}{doubt}"))
    return found.value


def _judge(
    rule: Rule, state: RuleState, raw: str, value: Value, *, now: float, timezone: str, past: Sequence[Before]
) -> Verdict:
    at_once = msgspec.structs.replace(rule.alert_policy, require_consecutive=1, cooldown_seconds=0)
    fresh = msgspec.structs.replace(state, candidate=None, candidate_count=0)
    believed = msgspec.structs.replace(rule, alert_policy=at_once)
    return judge(believed, fresh, raw, value, now=now, timezone=timezone, past=past)


def _confirmed(rule: Rule, before: RuleState, value: Value) -> Step:
    """What anti-flap would make of the reading; the steps after it judge as if it had been believed."""
    needed = rule.alert_policy.require_consecutive
    step = confirm(before, value, required=needed)
    if step.confirmed and step.changed:
        words = f"believed: reading {needed} of {needed}"
    elif step.confirmed:
        words = "the first value is believed at once" if before.stable is None else "as the value believed"
    else:
        words = f"reading {step.candidate_count} of {needed} that a new value needs; judged as if it had them"
    return Step("confirm", ok=True, detail=words)


def _compared(before: RuleState, value: Value, verdict: Verdict) -> Step:
    if before.stable is None:
        return Step("compare", ok=True, detail="nothing to compare with: the first good value is no change")
    if verdict.change is None:
        return Step("compare", ok=True, detail=f"unchanged: {describe(value)}")
    percent = "" if verdict.change.percent is None else f" ({verdict.change.percent:+.1f} %)"
    words = f"{verdict.change.kind}: {describe(before.stable)} -> {describe(value)}{percent}"
    return Step("compare", ok=True, detail=words)


def _conditions(rule: Rule, verdict: Verdict) -> Step:
    if not verdict.fired:
        count = len(rule.alert_policy.conditions)
        words = f"none of {count} met" if count else "none are written, so any change is told; there is none"
        return Step("conditions", ok=True, detail=words)
    met = ", ".join(f"{one.condition} ({one.severity})" for one in verdict.fired)
    channels = ", ".join(rule.alert_policy.channels) or "whom the workspace's routes say"
    until = next((one.suppressed_until for one in verdict.alerts if one.suppressed == "cooldown"), None)
    held = "" if until is None else f"; but the rule's cooldown holds it back until {iso(until)[:19]}"
    return Step("conditions", ok=True, detail=f"{met}; would tell {channels}{held}")


def trial_document(trial: Trial) -> dict[str, object]:
    """`sentinel.rule_test/1`."""
    change = trial.verdict.change if trial.verdict is not None else None
    fired = trial.verdict.fired if trial.verdict is not None else ()
    return {
        "schema": "sentinel.rule_test/1",
        "rule_id": trial.rule.id,
        "steps": [{"name": s.name, "ok": s.ok, "detail": s.detail} for s in trial.steps],
        "warnings": [warning for step in trial.steps for warning in step.warnings],
        "raw": trial.raw,
        "value": value_json(trial.value),
        "error_code": trial.error_code,
        "changed": change is not None,
        "change_kind": change.kind if change is not None else None,
        "would_alert": [{"condition": one.condition, "severity": one.severity} for one in fired],
    }
