"""JSONPath over a JSON page, or over JSON in a `<script>`: a bounded part of RFC 9535.

`$` · `.name` `['name']` · `[0]` `[-1]` · `[1:3]` · `[*]` `.*` · `..name` `..[0]` `..*` ·
`[0,2]` `['a','b']` · `[?@.name]` `[?@.stock > 0]` `[?(@.sku == 'A1')]`. One match is told as its
own text, several as a JSON array of them.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

import msgspec

from sentinel.errors import CheckFailure, Problem
from sentinel.extract import html
from sentinel.extract.hints import shown
from sentinel.extract.page import Page
from sentinel.extract.step import Found, Step

# `Any` in this module is a value of somebody's JSON.

MAX_SEGMENTS: Final = 64
#: Values looked at for one path: `$..*..*..*` asks for their cube.
MAX_VISITS: Final = 500_000
MAX_MATCHES: Final = 10_000

#: Some APIs put this before the JSON so that it is not a script.
_GUARD_PREFIX: Final = re.compile(r"^\ufeff?\s*(?:\)\]\}',?|while\s*\(1\);|for\s*\(;;\);)?\s*")
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")

_NAME: Final = re.compile(r"[^\W\d][\w-]*")
_INTEGER: Final = re.compile(r"-?\d{1,9}(?!\d)")
_QUOTED: Final = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"")
_SLICE: Final = re.compile(r"(-?\d{1,9})?\s*:\s*(-?\d{1,9})?(?:\s*:\s*(-?\d{1,9})?)?")
_COMPARISON: Final = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*")
_LITERAL: Final = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?|true|false|null")
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def read(page: Page, step: Step) -> Found:
    """What the path finds.

    Raises CheckFailure EXTRACT_PARSE_ERROR where there is no JSON or the path costs too much,
    EXTRACT_SELECTOR_NOT_FOUND, RULE_INVALID.
    """
    try:
        path = parsed(step.selector)
    except _BadPathError as exc:
        raise CheckFailure("RULE_INVALID", f"{shown(step.selector)} is not a JSONPath: {exc}") from exc
    matches = find(path, _document(page, step))
    if not matches:
        raise CheckFailure("EXTRACT_SELECTOR_NOT_FOUND", f"nothing matches {step.selector!r}")
    value = matches[0] if len(matches) == 1 else matches
    raw = _told(value)
    return Found(raw=raw, json=as_json(raw) if isinstance(value, str) else "null" if value is None else None)


def trouble(path: str) -> Problem | None:
    """What is wrong with a path, with a hint, or None."""
    try:
        parsed(path)
    except _BadPathError as exc:
        return Problem("", f"{shown(path)} is not a JSONPath: {exc}", "for example `$.data.items[0].price`")
    return None


def as_json(text: str) -> str:
    """A text as JSON writes it."""
    return json.dumps(text, ensure_ascii=False)


# --- the document ---------------------------------------------------------------------------------


def load(text: str) -> Any:
    """Somebody's JSON, numbers exact. Raises ValueError: also for NaN, a key twice, too deep, too large."""
    try:
        return json.loads(
            text,
            parse_float=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def _document(page: Page, step: Step) -> Any:
    text = page.text
    if page.is_markup:
        if step.context is None:
            raise CheckFailure(
                "EXTRACT_PARSE_ERROR",
                "the page is HTML, not JSON; for JSON in a script name it: context: script#ID",
            )
        text = page.root(step.context).text(deep=True)
    try:
        return load(text[_GUARD_PREFIX.match(text).end() :])  # type: ignore[union-attr] # matches the empty text too
    except ValueError as exc:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"not JSON: {str(exc)[:200]}") from exc


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as exc:
        raise ValueError(f"not a number: {text[:40]}") from exc
    if value and not -400 < value.adjusted() < 309:
        raise ValueError("a number outside what JSON readers agree on")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object names a key twice")
    return made


def _told(value: Any) -> str:
    match value:
        case str():
            return html.printable(value)
        case None:
            return ""
    try:
        return _ENCODER.encode(value).decode()
    except (RecursionError, msgspec.MsgspecError, OverflowError) as exc:
        raise CheckFailure("EXTRACT_PARSE_ERROR", "the match cannot be written as JSON") from exc


# --- the path -------------------------------------------------------------------------------------


class _BadPathError(ValueError):
    """Not a path; the text says why."""


class Filter(msgspec.Struct, frozen=True):
    """`?@.a.b == literal`, or `?@.a.b` alone: it is there."""

    path: tuple[Segment, ...]
    compare: str | None
    literal: Any


Selector = str | int | slice | Filter | None
"""One thing in brackets: a name, a place, a range, a condition, or None for everything."""


class Segment(msgspec.Struct, frozen=True):
    """One step of a path."""

    selectors: tuple[Any, ...]
    #: `..`: here and everywhere below.
    deep: bool = False


@lru_cache(maxsize=256)
def parsed(path: str) -> tuple[Segment, ...]:
    """The steps of a path. Raises a ValueError that says what is wrong and where."""
    reader = _Reader(path.strip())
    if not reader.take("$"):
        raise _BadPathError("it must begin with $")
    segments = reader.segments()
    if reader.rest:
        raise _BadPathError(f"{reader.rest[:20]!r} at character {reader.at + 1} is not understood")
    return segments


class _Reader:
    """Reads a path from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    @property
    def rest(self) -> str:
        return self.text[self.at :]

    def take(self, literal: str) -> bool:
        if self.text.startswith(literal, self.at):
            self.at += len(literal)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def spaces(self) -> None:
        while self.rest[:1].isspace():
            self.at += 1

    def segments(self) -> tuple[Segment, ...]:
        found: list[Segment] = []
        while self.rest[:1] in (".", "["):
            found.append(self.segment())
            if len(found) > MAX_SEGMENTS:
                raise _BadPathError(f"it has more than {MAX_SEGMENTS} steps")
        return tuple(found)

    def segment(self) -> Segment:
        deep = self.take("..")
        if self.take("["):
            return Segment(self.bracketed(), deep)
        if not deep:
            self.take(".")
        if self.take("*"):
            return Segment((None,), deep)
        if name := self.match(_NAME):
            return Segment((name[0],), deep)
        raise _BadPathError(f"a name is missing at character {self.at + 1}")

    def bracketed(self) -> tuple[Any, ...]:
        selectors = []
        while True:
            self.spaces()
            selectors.append(self.selector())
            self.spaces()
            if self.take("]"):
                return tuple(selectors)
            if not self.take(","):
                raise _BadPathError(f"`]` is missing at character {self.at + 1}")

    def selector(self) -> Selector:
        if self.take("*"):
            return None
        if self.take("?"):
            return self.condition()
        if quoted := self.match(_QUOTED):
            return _unquoted(quoted)
        if (found := _SLICE.match(self.text, self.at)) is not None:
            self.at = found.end()
            start, stop, step = (int(part) if part else None for part in found.groups())
            if step == 0:
                raise _BadPathError("a range cannot have step 0")
            return slice(start, stop, step)
        if number := self.match(_INTEGER):
            return int(number[0])
        raise _BadPathError(f"not understood at character {self.at + 1}")

    def condition(self) -> Filter:
        self.spaces()
        wrapped = self.take("(")
        self.spaces()
        if not self.take("@"):
            raise _BadPathError("a condition begins with @")
        path = self.segments()
        compare = literal = None
        if sign := self.match(_COMPARISON):
            compare, literal = sign[1], self.literal()
        self.spaces()
        if wrapped and not self.take(")"):
            raise _BadPathError(
                "`)` is missing; one comparison with a text, number, true, false or null is known"
            )
        return Filter(path, compare, literal)

    def literal(self) -> Any:
        if quoted := self.match(_QUOTED):
            return _unquoted(quoted)
        if plain := self.match(_LITERAL):
            return json.loads(plain[0], parse_float=Decimal)
        raise _BadPathError("a condition compares with a text, a number, true, false or null")


def _unquoted(match: re.Match[str]) -> str:
    inside = match[1] if match[1] is not None else match[2]
    return re.sub(r"\\(.)", r"\1", inside, flags=re.DOTALL)


# --- the search -----------------------------------------------------------------------------------


class _Budget:
    """Visits that are left."""

    def __init__(self) -> None:
        self.left = MAX_VISITS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise CheckFailure("EXTRACT_PARSE_ERROR", f"the path looks at more than {MAX_VISITS} values")


def find(path: tuple[Segment, ...], document: Any) -> list[Any]:
    """Every match, in document order. Raises CheckFailure EXTRACT_PARSE_ERROR over the limits."""
    matches = _walk(path, document, _Budget())
    if len(matches) > MAX_MATCHES:
        raise CheckFailure("EXTRACT_PARSE_ERROR", f"the path has more than {MAX_MATCHES} matches")
    return matches


def _walk(path: tuple[Segment, ...], document: Any, budget: _Budget) -> list[Any]:
    here = [document]
    for segment in path:
        found: list[Any] = []
        for value in here:
            for place in _below(value, budget) if segment.deep else (value,):
                for selector in segment.selectors:
                    for child in _children(place, selector, budget):
                        budget.spend()
                        found.append(child)
        here = found
    return here


def _below(value: Any, budget: _Budget) -> Iterator[Any]:
    """A value and everything below it, parents first."""
    waiting = [value]
    while waiting:
        budget.spend()
        value = waiting.pop()
        yield value
        waiting.extend(reversed(list(_all(value))))


def _all(value: Any) -> list[Any]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
    return []


def _children(value: Any, selector: Any, budget: _Budget) -> list[Any]:
    match selector, value:
        case None, _:
            return _all(value)
        case str(), dict():
            return [value[selector]] if selector in value else []
        case int(), list():
            return [value[selector]] if -len(value) <= selector < len(value) else []
        case slice(), list():
            return value[selector]
        case Filter(), _:
            return [child for child in _all(value) if _holds(selector, child, budget)]
    return []


def _holds(condition: Filter, value: Any, budget: _Budget) -> bool:
    found = _walk(condition.path, value, budget)
    if condition.compare is None:
        return bool(found)
    if len(found) != 1:
        return condition.compare == "!=" and condition.literal is not None
    left, right = found[0], condition.literal
    if _rank(left) != _rank(right):
        return condition.compare == "!="
    if condition.compare in ("==", "!=") or _rank(left) in ("number", "text"):
        return _OPERATORS[condition.compare](left, right)
    return False


def _rank(value: Any) -> str:
    match value:
        case bool():
            return "truth"
        case int() | Decimal():
            return "number"
        case str():
            return "text"
        case None:
            return "null"
    return "other"
