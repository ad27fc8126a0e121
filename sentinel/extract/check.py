"""What is wrong with an extraction, found when the rule is saved and not in the night."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sentinel.errors import Problem
from sentinel.extract import auto, css, jsonpath, postprocess, regex, schema, xpath
from sentinel.extract.hints import did_you_mean, shown
from sentinel.extract.step import Step
from sentinel.model import Extraction, ExtractMethod

_ATTRIBUTE: Final = re.compile(r"text|html|value|attr:[A-Za-z_][A-Za-z0-9_:.-]*")
_TROUBLE: Final[dict[str, Callable[[str], Problem | None]]] = {
    "css": css.trouble,
    "xpath": xpath.trouble,
    "text": css.trouble,
    "table": css.trouble,
    "regex": regex.trouble,
    "jsonpath": jsonpath.trouble,
    "schema": schema.trouble,
    "auto": auto.trouble,
}


def check_extraction(extraction: Extraction) -> list[Problem]:
    """Every problem, with its path inside the extraction (`selector`, `fallbackSelectors[0].method`)."""
    problems = _check_context(extraction.context)
    own = Step(method=extraction.method, selector=extraction.selector, attribute=extraction.attribute)
    problems += check_step(own, "")
    for index, fallback in enumerate(extraction.fallback_selectors):
        step = Step(method=fallback.method, selector=fallback.selector, attribute=fallback.attribute)
        problems += check_step(step, f"fallbackSelectors[{index}].")
    problems += _check_rows(extraction)
    if extraction.content != "page" and "text" not in _methods(extraction):
        hint = "leave it out, or use method: text"
        problems.append(Problem("content", "content: main is for the method text", hint))
    if extraction.content != "page" and extraction.attribute != "text":
        problems.append(Problem("attribute", "main content is told as text", "leave it out"))
    for index, step_written in enumerate(extraction.postprocess):
        if problem := postprocess.trouble(step_written):
            problems.append(
                _at(f"postprocess[{index}]" + (f".{problem.path}" if problem.path else ""), problem)
            )
    return problems


def check_step(step: Step, prefix: str) -> list[Problem]:
    """Every problem of one selector; `prefix` goes before the field's name."""
    problems = []
    if problem := _selector_trouble(step):
        problems.append(_at(f"{prefix}selector", problem))
    if not _ATTRIBUTE.fullmatch(step.attribute):
        hint = did_you_mean(step.attribute, ("text", "html", "value", "attr:NAME"))
        problems.append(Problem(f"{prefix}attribute", f"no such attribute {shown(step.attribute)}", hint))
    return problems


def _selector_trouble(step: Step) -> Problem | None:
    if step.method == "feed" or (step.method in ("text", "table") and not step.selector.strip()):
        return None  # the whole page
    return _TROUBLE[step.method](step.selector)


def _check_context(context: str | None) -> list[Problem]:
    if context is None:
        return []
    problem = css.trouble(context)
    return [_at("context", problem)] if problem else []


def _methods(extraction: Extraction) -> set[ExtractMethod]:
    return {extraction.method, *(fallback.method for fallback in extraction.fallback_selectors)}


def _check_rows(extraction: Extraction) -> list[Problem]:
    """`row`, `key` and `columns` say something, and where they are CSS it is CSS."""
    methods = _methods(extraction)
    if methods.isdisjoint(("table", "feed")):
        given = {"row": extraction.row, "key": extraction.key, "columns": extraction.columns}
        return [
            Problem(name, f"{name} is for the methods table and feed", "leave it out")
            for name, value in given.items()
            if value
        ]
    if "table" not in methods or extraction.row is None:
        return []
    problem = css.trouble(extraction.row)
    return [_at("row", problem)] if problem else []


def _at(path: str, problem: Problem) -> Problem:
    return Problem(path, problem.message, problem.hint)
