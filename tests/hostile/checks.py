"""What may become of a check of a rule, by the words of the lists."""

from __future__ import annotations

import yaml

from sentinel.errors import ERROR_CODES, RuleFileError
from sentinel.fetch.guard import NetworkPolicy
from sentinel.rulefile import load
from tests.hostile.rows import Judge
from tests.hostile.stage import FINE, Stage

#: Codes of what was refused before anything was dialled.
REFUSED = ("FETCH_BAD_URL", "FETCH_REFUSED_ADDRESS", "RULE_INVALID")
#: Seconds that a check may take at most, whatever it meets: the limit of the child is 10 of its CPU, and
#: the others run beside it.
LONGEST = 90.0


def import_problems(rule: dict[str, object] | None = None, channel: dict[str, object] | None = None) -> str:
    """What `rules import` says of a rule or a channel that is otherwise good; '' if it takes it."""
    written = {
        "id": "r",
        "url": "https://example.com/",
        "type": "text",
        "extraction": {"method": "css", "selector": "#v"},
    }
    file = {
        "channels": [{"id": "c", "type": "console"} | (channel or {})],
        "rules": [written | (rule or {})],
    }
    try:
        load(yaml.safe_dump(file, allow_unicode=False), NetworkPolicy())
    except RuleFileError as error:
        problems = [f"{problem.path}: {problem.message}" for problem in error.problems]
        return "; ".join(problems) or "refused without a word"
    return ""


def is_storable(text: str) -> bool:
    """Whether a database could hold it at all."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def code_of(stage: Stage, rule: str) -> str | None:
    """The error code of its check; None: it gave a value; 'NOTHING': it did not end."""
    run = stage.run_of(rule)
    return "NOTHING" if run is None else run.result.error_code


def told(stage: Stage, rule: str) -> str:
    """What came of a check, in a line."""
    run = stage.run_of(rule)
    if run is None:
        return "its check did not end"
    if run.result.error_code is None:
        return f"it was read: {(stage.value(rule) or '')[:80]!r}"
    return f"{run.result.error_code}: {run.result.error_detail}"


def refused(stage: Stage, rule: str) -> str:
    """It was refused, in words for people."""
    run = stage.run_of(rule)
    if run is None or run.result.error_code not in REFUSED:
        return told(stage, rule)
    return _words(run.result.error_detail)


def read(stage: Stage, rule: str, value: str = FINE) -> str:
    """It was read as usual."""
    return "" if code_of(stage, rule) is None and stage.value(rule) == value else told(stage, rule)


def error_clean(stage: Stage, rule: str) -> str:
    """It ended with an error code that means something, in words for people, in time."""
    run = stage.run_of(rule)
    if run is None or run.result.error_code not in ERROR_CODES or run.result.error_code == "UNKNOWN":
        return told(stage, rule)
    return _words(run.result.error_detail) or bounded(stage, rule)


def bounded(stage: Stage, rule: str) -> str:
    """It ended in time, with a value or a clean error."""
    run = stage.run_of(rule)
    if run is None:
        return told(stage, rule)
    if run.result.error_code is not None and run.result.error_code not in ERROR_CODES:
        return told(stage, rule)
    seconds = (run.finished_at or run.started_at) - run.started_at
    return f"it took {seconds:.1f} s" if seconds > LONGEST else ""


def judge(stage: Stage, rule: str, expected: str, *, value: str = FINE) -> Judge | None:
    """The judge of one of the words that any check may be expected to end with; None: none of them."""
    judges = {"refuse": refused, "error_clean": error_clean, "timeout_clean": error_clean, "bounded": bounded}
    if (one := judges.get(expected)) is not None:
        return lambda: one(stage, rule)
    if expected in ("allow", "ignore", "decode_utf8_replace", "no_file_written", "read"):
        return lambda: read(stage, rule, value)
    if expected.startswith("error_or_"):
        return lambda: "" if code_of(stage, rule) is None else error_clean(stage, rule)
    return None


def _words(detail: str | None) -> str:
    if not detail or len(detail) < 5 or not detail.isprintable():
        return f"the detail is not fit for people: {detail!r}"
    return ""
