"""Small steps that clean a raw text before it is read as a value."""

from __future__ import annotations

from typing import Final, get_args, get_type_hints

from sentinel.errors import CheckFailure, Problem
from sentinel.extract import regex
from sentinel.extract.hints import did_you_mean, shown
from sentinel.model import Postprocess, PostprocessStep

OPS: Final[tuple[str, ...]] = get_args(get_type_hints(Postprocess)["op"])
#: Need a pattern, so they have no short form.
_WITH_PATTERN: Final = ("replace", "regex_extract")
#: Characters one `replace` may add.
MAX_GROWTH: Final = 1 << 20


def apply(text: str, steps: list[PostprocessStep]) -> str:
    """The text after all steps, in order.

    Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND where `regex_extract` finds nothing,
    RULE_INVALID for a step that is not one.
    """
    for step in steps:
        text = _one(text, long_form(step))
    return text


def long_form(step: PostprocessStep) -> Postprocess:
    """A step as a struct, however it was written. Raises CheckFailure RULE_INVALID."""
    if isinstance(step, Postprocess):
        return step
    if problem := trouble(step):
        raise CheckFailure("RULE_INVALID", f"{problem.message} {problem.hint}".strip())
    return Postprocess(op=step)  # type: ignore[arg-type] # trouble() has checked that it is one of OPS


def _one(text: str, step: Postprocess) -> str:
    match step.op:
        case "trim":
            return text.strip()
        case "lowercase":
            return text.lower()
        case "uppercase":
            return text.upper()
        case "collapse_whitespace":
            return " ".join(text.split())
        case "replace":
            growth = len(step.replacement) - len(step.pattern)
            if growth > 0 and text.count(step.pattern) * growth > MAX_GROWTH:
                raise CheckFailure("EXTRACT_PARSE_ERROR", f"replace made more than {MAX_GROWTH} characters")
            return text.replace(step.pattern, step.replacement)
        case "regex_extract":
            found = regex.search(regex.compiled(step.pattern), text, step.group)
            if found is None:
                raise CheckFailure(
                    "EXTRACT_SELECTOR_NOT_FOUND", "regex_extract matches nothing in the text found"
                )
            return found


def trouble(step: PostprocessStep) -> Problem | None:
    """What is wrong with a step (path `op`, `pattern`, `group` or empty), or None."""
    if isinstance(step, str):
        if step not in OPS:
            return Problem("", f"no such step {shown(step)}", did_you_mean(step, OPS))
        if step in _WITH_PATTERN:
            return Problem("", f"{step} needs a pattern", f"write it long: {{op: {step}, pattern: ...}}")
        return None
    if step.op == "replace" and not step.pattern:
        return Problem("pattern", "replace needs the text to find", "pattern: TEXT, replacement: TEXT")
    if step.op == "regex_extract" and (problem := regex.trouble(step.pattern, group=step.group)):
        where = "group" if "was asked for" in problem.message else "pattern"
        return Problem(where, problem.message, problem.hint)
    return None
