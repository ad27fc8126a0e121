"""What is remembered of a rule's elements, and what a healed reading means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from sentinel.model import Extracted, Field, Healed, Lost, Remembered, Rule

#: Checks in a row by a healed selector after which that is told; what was told counts one more.
TELL_AT: Final = 2
#: Health that a rule has at most while it works by a healed selector: degraded.
AT_MOST: Final = 69.0
_METHODS: Final = ("css", "xpath")


def origin(part: Field) -> str:
    """What an element is found by: another selector may mean another element."""
    asked = part.extraction
    return f"{asked.method} {asked.selector} {asked.attribute} {asked.context or ''}".strip()


def lost_part(known: Remembered | None, part: Field) -> Lost | None:
    """What to look for if the part's selectors find nothing; None: nothing is known, or it is not to be."""
    if known is None or known.refused or known.of != origin(part) or part.extraction.method not in _METHODS:
        return None
    return Lost(known, part.normal)


def remember(before: Mapping[str, Remembered], extracted: Extracted, rule: Rule) -> dict[str, Remembered]:
    """What is known of a rule's elements after a good reading."""
    after: dict[str, Remembered] = {}
    for name, part in rule.parts.items():
        found = extracted if extracted.fields is None else extracted.fields.get(name)
        known = before.get(name)
        if known is not None and known.of != origin(part):
            known = None
        if found is not None and found.fingerprint is not None and part.extraction.method in _METHODS:
            known = Remembered(origin(part), found.fingerprint)
        elif found is not None and found.healed is not None and known is not None:
            known = msgspec.structs.replace(known, healed=_again(known.healed, found.healed))
        if known is not None:
            after[name] = known
    return after


def healed_in(elements: Mapping[str, Remembered]) -> tuple[Healed, ...]:
    """The healed selectors a rule works by."""
    return tuple(one.healed for one in elements.values() if one.healed is not None)


def doubt(healed: Sequence[Healed]) -> str | None:
    """Why a value that was read so needs one reading more."""
    return "it was read by a healed selector" if healed else None


def words(healed: Sequence[Healed]) -> str:
    """Old and new side by side, for a run's detail."""
    return "; ".join(
        f"{one.instead_of} found nothing, read by css {one.selector!r}"
        f" (likeness {one.score:.2f}, the next best {one.second:.2f})"
        for one in healed
    )


def _again(before: Healed | None, now: Healed) -> Healed:
    if before is None or before.selector != now.selector:
        return now
    return msgspec.structs.replace(before, seen=min(before.seen + 1, TELL_AT + 1))
