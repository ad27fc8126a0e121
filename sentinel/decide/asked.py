"""What a rule asks of a text, answered while all of it is there: its beginning is what is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import re2

from sentinel.decide.text import MAX_SNIPPET, visible
from sentinel.model import Clause, Extracted, FieldsValue, FieldValue, Rule, TextValue, Value

#: Conditions on a text.
_ASKING: Final = frozenset({"text_contains", "text_matches"})


def answered(value: Value, extracted: Extracted, rule: Rule) -> Value:
    """`value`, and of each text in it that is longer than what is kept, what the rule's conditions find."""
    clauses = list(_asking(rule.alert_policy.conditions))
    if not clauses:
        return value
    if isinstance(value, FieldsValue):
        read: Mapping[str, Extracted] = extracted.fields or {}
        fields: dict[str, FieldValue | None] = {
            name: _answered(one, read[name].raw, [asks for asks in clauses if asks.field == name])
            if isinstance(one, TextValue) and name in read
            else one
            for name, one in value.fields.items()
        }
        return msgspec.structs.replace(value, fields=fields)
    return _answered(value, extracted.raw, clauses) if isinstance(value, TextValue) else value


def says(clause: Clause, value: TextValue) -> bool:
    """Whether it is so of the whole text; of its beginning, where it was not asked when that was there."""
    known = (value.answers or {}).get(_name(clause))
    return found(clause, value.text) if known is None else known


def found(clause: Clause, text: str) -> bool:
    """Whether a text contains or matches what `clause` asks."""
    if clause.type == "text_contains":
        return str(clause.value or "").casefold() in text.casefold()
    pattern = _pattern(str(clause.value or ""))
    return pattern is not None and bool(pattern.search(text))


def _answered(value: TextValue, raw: str, clauses: Sequence[Clause]) -> TextValue:
    if len(raw) <= MAX_SNIPPET or not clauses:
        return value
    whole = visible(raw)
    if len(whole) <= MAX_SNIPPET:
        return value
    answers = {_name(clause): found(clause, whole) for clause in clauses}
    return msgspec.structs.replace(value, answers=answers)


def _asking(clauses: Sequence[Clause]) -> Iterator[Clause]:
    for clause in clauses:
        if clause.type in _ASKING:
            yield clause
        yield from _asking(clause.parts)


def _name(clause: Clause) -> str:
    """What it asks, whatever its id is: an edited condition must not get the old one's answer."""
    return hashlib.sha256(f"{clause.type} {clause.value}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re2._Regexp[str] | None:
    """RE2, because a pattern of a user's must take linear time; None where it is none (import refuses it)."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 16 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None
