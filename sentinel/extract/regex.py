"""Patterns people write, run by RE2 only: linear time, bounded memory.

Python's own engine would hold the interpreter for as long as a pattern likes; `(a+)+$` on forty
letters is enough. So no pattern of a user ever reaches it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import re2

from sentinel.errors import CheckFailure, Problem
from sentinel.extract import html
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step

#: Characters in a pattern.
MAX_PATTERN: Final = 1_000
#: Bytes RE2 may use for a compiled pattern and its caches.
MAX_MEMORY: Final = 64 << 20

# What RE2 leaves out because it cannot be done in linear time.
_LOOK_AROUND: Final = re.compile(r"\(\?<?[=!]")
_BACK_REFERENCE: Final = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[1-9]|\(\?P=|\\k[<{'])")
_POSSESSIVE: Final = re.compile(r"(?<!\\)[*+?}]\+|\(\?>")


def read(page: Page, step: Step) -> Found:
    """The first group of the first match, or the whole match where the pattern has no group.

    Searched in the visible text, then in the source (values often stand only in a script);
    with `attribute: html` in the source alone. Raises CheckFailure EXTRACT_SELECTOR_NOT_FOUND,
    RULE_INVALID.
    """
    pattern = compiled(step.selector)
    for text in haystacks(page, step):
        if (value := search(pattern, text)) is not None:
            return Found(raw=html.tidy(value))
    raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", "the pattern matches nothing on the page")


def haystacks(page: Page, step: Step) -> list[str]:
    """What is searched, in order."""
    if not page.is_markup:
        return [page.text]
    source = page.text if step.context is None else page.root(step.context).html or ""
    if step.attribute == "html":
        return [source]
    return [html.visible_text(page.root(step.context)), source]


def search(pattern: Any, text: str, group: int | None = None) -> str | None:
    """What a compiled pattern (`compiled`; re2 has no types) finds: a group, or by default the first one."""
    match = pattern.search(text.encode("utf-8", "replace").decode())
    if match is None:
        return None
    if group is None:
        group = 1 if pattern.groups else 0
    return match.group(group) or ""


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """A pattern ready to search with. Raises CheckFailure RULE_INVALID."""
    if problem := trouble(pattern):
        raise CheckFailure("RULE_INVALID", f"{problem.message} {problem.hint}".strip())
    return re2.compile(pattern, _options())


def trouble(pattern: str, *, group: int = 0) -> Problem | None:
    """What is wrong with a pattern, in RE2's words, with a hint, or None."""
    if not pattern:
        return Problem("", "a pattern is needed", r"for example `Price: ([\d.,]+)`")
    if len(pattern) > MAX_PATTERN:
        return Problem("", f"a pattern may have {MAX_PATTERN} characters, this one has {len(pattern)}", "")
    try:
        groups = re2.compile(pattern, _options()).groups
    except (re2.error, UnicodeError) as exc:
        return Problem("", f"not a pattern: {_words(exc)}", _hint(pattern))
    if group > groups:
        return Problem(
            "", f"the pattern has {groups} groups, group {group} was asked for", "groups are counted from 1"
        )
    return None


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False  # it would print people's patterns to stderr
    options.max_mem = MAX_MEMORY
    return options


def _words(exc: Exception) -> str:
    reason = exc.args[0] if exc.args else exc
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _hint(pattern: str) -> str:
    if _LOOK_AROUND.search(pattern):
        return (
            "look-ahead and look-behind are not supported: match what is around and put ( ) about the value"
        )
    if _BACK_REFERENCE.search(pattern):
        return "back-references are not supported"
    if _POSSESSIVE.search(pattern):
        return "possessive and atomic groups are not supported, nor needed: the engine never backtracks"
    return "the syntax is RE2's"
